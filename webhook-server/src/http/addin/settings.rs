//! What an installation says about its add-in: one set of values per served scope, out of a YAML or JSON file.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use url::Url;
use uuid::Uuid;

/// Office's script for the worldwide cloud.
const OFFICE_SCRIPT: &str = "https://appsforoffice.microsoft.com/lib/1/hosted/office.js";
/// Where Outlook on the web of the worldwide cloud shows the page.
const HOSTS: &str =
    "https://outlook.office.com https://outlook.office365.com https://outlook.cloud.microsoft";
/// Name of the delegated permission where none is given.
const PERMISSION: &str = "access_as_user";
/// Longest text of any setting, in characters.
const LONGEST: usize = 2_048;

/// The file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    /// Holds for each scope that does not say otherwise.
    #[serde(default)]
    defaults: Given,
    scopes: Vec<OfScope>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfScope {
    namespace: String,
    scope: String,
    #[serde(flatten)]
    given: BTreeMap<String, String>,
}

type Given = BTreeMap<String, String>;

/// What can be said, in the order in which it is missed.
const NAMES: [&str; 12] = [
    "publicUrl",
    "clientId",
    "appIdUri",
    "permission",
    "addInId",
    "displayName",
    "organisation",
    "supportUrl",
    "privacyUrl",
    "termsUrl",
    "officeScriptUrl",
    "hostOrigins",
];

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is no YAML, or not of the form.
    #[error("not readable: {0}")]
    Form(#[from] serde_yaml::Error),
    /// No scope is in it.
    #[error("it names no scope")]
    Empty,
    /// One scope is in it twice.
    #[error("scope {0} is there twice")]
    Twice(String),
    /// Something is not said.
    #[error("scope {scope} has no {}: give it there, or under defaults", names.join(", "))]
    Missing {
        /// Namespace and name.
        scope: String,
        /// Settings.
        names: Vec<&'static str>,
    },
    /// Something is not known.
    #[error("scope {scope}: there is no setting {name}")]
    Unknown {
        /// Namespace and name.
        scope: String,
        /// The setting.
        name: String,
    },
    /// Something is not as it must be.
    #[error("scope {scope}: {name} must be {form}")]
    Wrong {
        /// Namespace and name.
        scope: String,
        /// The setting.
        name: &'static str,
        /// What it must be.
        form: &'static str,
    },
}

/// Values of one scope, without those that its AccessScope says.
#[derive(Clone, Debug)]
pub(super) struct ScopeSettings {
    pub(super) namespace: String,
    pub(super) scope: String,
    pub(super) values: BTreeMap<String, String>,
}

/// Reads the file.
pub(super) fn read(text: &str) -> Result<Vec<ScopeSettings>, SettingsError> {
    let File { defaults, scopes } = serde_yaml::from_str(text)?;
    if scopes.is_empty() {
        return Err(SettingsError::Empty);
    }
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for OfScope { namespace, scope, given } in scopes {
        let whole = format!("{namespace}/{scope}");
        let merged = defaults.clone().into_iter().chain(given).collect();
        let values = complete(&whole, merged)?;
        if !seen.insert(whole.clone()) {
            return Err(SettingsError::Twice(whole));
        }
        all.push(ScopeSettings { namespace, scope, values });
    }
    Ok(all)
}

fn complete(scope: &str, mut values: Given) -> Result<Given, SettingsError> {
    if let Some(name) = values.keys().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(SettingsError::Unknown { scope: scope.to_owned(), name: name.clone() });
    }
    for (name, value) in
        [("permission", PERMISSION), ("officeScriptUrl", OFFICE_SCRIPT), ("hostOrigins", HOSTS)]
    {
        values.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    let missing = |name: &&str| *name != "appIdUri" && values.get(*name).is_none_or(String::is_empty);
    let names: Vec<_> = NAMES.into_iter().filter(missing).collect();
    if !names.is_empty() {
        return Err(SettingsError::Missing { scope: scope.to_owned(), names });
    }
    let check = Check { scope, values: &values };
    let public = check.url("publicUrl")?;
    let script = check.url("officeScriptUrl")?;
    for name in ["supportUrl", "privacyUrl", "termsUrl"] {
        check.url(name)?;
    }
    for name in ["clientId", "addInId"] {
        check.that(name, "a GUID", |value| Uuid::try_parse(value).is_ok())?;
    }
    let origin = |text: &str| {
        Url::parse(text)
            .is_ok_and(|url| url.scheme() == "https" && url.origin().ascii_serialization() == text)
    };
    let origins = |value: &str| value.split(' ').all(origin);
    check.that("hostOrigins", "https origins with a blank between them", origins)?;
    check.that("displayName", "1 to 30 characters", |value| value.chars().count() <= 30)?;
    check.that("organisation", "1 to 32 characters", |value| value.chars().count() <= 32)?;
    let no_slash = |value: &str| !value.ends_with('/');
    check.that("publicUrl", "an https URL without a slash at the end", no_slash)?;
    for name in NAMES {
        let plain = |value: &str| value.chars().count() <= LONGEST && !value.chars().any(char::is_control);
        check.that(name, "one line of up to 2,048 characters", plain)?;
    }
    let host = host(&public);
    let uri = format!("api://{host}/{}", values.get("clientId").map_or("", String::as_str));
    values.entry("appIdUri".to_owned()).or_insert(uri);
    values.insert("publicHost".to_owned(), host);
    values.insert("publicOrigin".to_owned(), public.origin().ascii_serialization());
    values.insert("officeScriptOrigin".to_owned(), script.origin().ascii_serialization());
    Ok(values)
}

/// Host of a URL, with its port where it has one.
pub(super) fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

struct Check<'a> {
    scope: &'a str,
    values: &'a Given,
}

impl Check<'_> {
    fn that(
        &self,
        name: &'static str,
        form: &'static str,
        fits: impl Fn(&str) -> bool,
    ) -> Result<(), SettingsError> {
        match self.values.get(name) {
            Some(value) if !fits(value) => {
                Err(SettingsError::Wrong { scope: self.scope.to_owned(), name, form })
            }
            _ => Ok(()),
        }
    }

    fn url(&self, name: &'static str) -> Result<Url, SettingsError> {
        let wrong = || SettingsError::Wrong {
            scope: self.scope.to_owned(),
            name,
            form: "an https URL without user name",
        };
        let value = self.values.get(name).ok_or_else(wrong)?;
        let url = Url::parse(value).map_err(|_| wrong())?;
        let plain = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
        if plain { Ok(url) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
defaults:
  publicUrl: https://roomkeeper.contoso.example:8443/rooms
  clientId: 5a3c1e02-6f0d-4e57-9c1b-0c2d4f7a9b10
  addInId: c1f4f0de-2b0a-4b0e-8a1c-5d3a8f4f7a21
  displayName: Room bookings
  organisation: Contoso & Söhne
  supportUrl: https://support.contoso.example/rooms
  privacyUrl: https://contoso.example/privacy
  termsUrl: https://contoso.example/terms
scopes:
- {namespace: contoso, scope: contoso}
- {namespace: contoso, scope: other, organisation: Other}
";

    #[test]
    fn what_is_not_said_follows() {
        let all = read(FILE).unwrap();
        let value = |at: usize, name: &str| all[at].values[name].clone();
        assert_eq!((all[1].namespace.as_str(), all[1].scope.as_str()), ("contoso", "other"));
        assert_eq!(
            (value(0, "organisation"), value(1, "organisation")),
            ("Contoso & Söhne".into(), "Other".into())
        );
        assert_eq!(value(0, "publicOrigin"), "https://roomkeeper.contoso.example:8443");
        assert_eq!(value(0, "publicHost"), "roomkeeper.contoso.example:8443");
        assert_eq!(
            value(0, "appIdUri"),
            "api://roomkeeper.contoso.example:8443/5a3c1e02-6f0d-4e57-9c1b-0c2d4f7a9b10"
        );
        assert_eq!(value(0, "officeScriptOrigin"), "https://appsforoffice.microsoft.com");
        assert_eq!(value(0, "permission"), "access_as_user");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = |from: &str, to: &str| {
            assert!(FILE.contains(from), "{from}");
            read(&FILE.replace(from, to)).unwrap_err().to_string()
        };
        let terms = "  termsUrl: https://contoso.example/terms\n";
        assert_eq!(
            error(terms, ""),
            "scope contoso/contoso has no termsUrl: give it there, or under defaults"
        );
        assert_eq!(
            read("scopes: [{namespace: a, scope: b}]").unwrap_err().to_string(),
            "scope a/b has no publicUrl, clientId, addInId, displayName, organisation, supportUrl, privacyUrl, \
             termsUrl: give it there, or under defaults"
        );
        for (from, to, says) in [
            ("scope: other", "scope: contoso", "scope contoso/contoso is there twice"),
            ("organisation: Other", "orgnisation: Other", "there is no setting orgnisation"),
            ("example:8443/rooms", "example:8443/", "publicUrl must be an https URL without a slash"),
            ("https://roomkeeper", "http://roomkeeper", "publicUrl must be an https URL"),
            ("5a3c1e02-", "5a3c1e0-", "clientId must be a GUID"),
            ("Room bookings", "Room bookings of the whole of Contoso", "displayName must be 1 to 30"),
            (
                "organisation: Other",
                "hostOrigins: \"https://a.example/x\"",
                "hostOrigins must be https origins",
            ),
            ("organisation: Other", "organisation: \"a\\nb\"", "organisation must be one line"),
        ] {
            let error = error(from, to);
            assert!(error.contains(says), "{error}");
        }
        assert!(read("scopes: []").unwrap_err().to_string().contains("names no scope"));
        assert!(read("{").unwrap_err().to_string().starts_with("not readable"));
    }
}
