//! `admin-consent-url`: where the tenant's administrator grants the app registration its permissions.

use anyhow::Context as _;
use roomkeeper_crds::{AccessScope, AccessScopeSpec, access_scope::Cloud};
use url::Url;

use crate::{
    api::{Cluster, Where, told},
    args::AdminConsentUrl,
    exit::Failure,
};

/// The URL for the AccessScope of that name.
pub(crate) async fn run(cluster: &Cluster, request: &AdminConsentUrl) -> anyhow::Result<Url> {
    let Where::Namespace(namespace) = &cluster.place else {
        return Err(
            Failure::Usage("-A: name the namespace of the AccessScope with -n NAMESPACE".to_owned()).into()
        );
    };
    let scope =
        cluster.api::<AccessScope>(namespace).get_opt(&request.scope).await.map_err(told).with_context(
            || format!("get accessscope.roomkeeper.dev/{} in namespace {namespace}", request.scope),
        )?;
    let Some(scope) = scope else {
        return Err(Failure::NotFound(format!(
            "SCOPE {}: no AccessScope of that name in namespace {namespace}: check the name and -n NAMESPACE (kubectl get ascope -A lists them)",
            request.scope
        ))
        .into());
    };
    url(&scope.spec, request.redirect_uri.as_ref())
}

/// `{authority}/{tenant}/adminconsent?client_id=…` (Microsoft identity platform, "admin consent endpoint").
fn url(spec: &AccessScopeSpec, redirect: Option<&Url>) -> anyhow::Result<Url> {
    let authority = match &spec.endpoints {
        Some(own) => Url::parse(&own.authority).context("spec.endpoints.authority is no URL")?,
        None => Url::parse(spec.cloud.unwrap_or(Cloud::Global).login()).context("spec.cloud")?,
    };
    let mut url = authority
        .join(&format!("/{}/adminconsent", spec.tenant_id))
        .context("spec.tenantId cannot be part of a URL")?;
    url.query_pairs_mut().append_pair("client_id", &spec.client_id);
    if let Some(redirect) = redirect {
        url.query_pairs_mut().append_pair("redirect_uri", redirect.as_str());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(place: &str, value: &Value, redirect: Option<&str>) -> String {
        let mut spec = json!({
            "tenantId": "7f1d0cb7-93b9-405a-8dad-c21703b7af18",
            "clientId": "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11",
            "credentials": {"clientSecret": {"secretName": "graph"}},
            "policies": [],
            "addIn": {"manifestId": "3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21", "audience": "a"},
            "consent": {"noticeVersion": "1"},
        });
        spec.as_object_mut().unwrap().insert(place.to_owned(), value.clone());
        let redirect = redirect.map(|text| Url::parse(text).unwrap());
        url(&serde_json::from_value(spec).unwrap(), redirect.as_ref()).unwrap().to_string()
    }

    #[test]
    fn each_cloud_has_its_own_page() {
        let rest = "/7f1d0cb7-93b9-405a-8dad-c21703b7af18/adminconsent?client_id=9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11";
        for (cloud, host) in [
            ("Global", "https://login.microsoftonline.com"),
            ("USGov", "https://login.microsoftonline.us"),
            ("USGovDoD", "https://login.microsoftonline.us"),
            ("China", "https://login.chinacloudapi.cn"),
        ] {
            assert_eq!(of("cloud", &json!(cloud), None), format!("{host}{rest}"));
        }
        let own = json!({"authority": "https://login.example:8443", "graph": "https://graph.example"});
        assert_eq!(
            of("endpoints", &own, Some("https://portal.example/done?a=b")),
            format!(
                "https://login.example:8443{rest}&redirect_uri=https%3A%2F%2Fportal.example%2Fdone%3Fa%3Db"
            )
        );
    }
}
