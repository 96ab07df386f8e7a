//! The `Prefer` header.

use http::HeaderMap;

use crate::{errors::GraphError, events::Zone};

/// What the client prefers; the values may be in one header or several (graph-facts §6.3).
#[derive(Clone, Debug, Default)]
pub(crate) struct Prefer {
    /// `IdType="ImmutableId"`.
    pub(crate) immutable_ids: bool,
    /// `outlook.timezone="…"`.
    pub(crate) zone: Option<Zone>,
    /// `odata.maxpagesize=…`.
    pub(crate) page_size: Option<usize>,
    /// `return=minimal`.
    pub(crate) minimal: bool,
}

impl Prefer {
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Self, GraphError> {
        let mut prefer = Self::default();
        for header in headers.get_all("prefer") {
            let text = header.to_str().map_err(|_| refused("(not ASCII)"))?;
            for one in split(text) {
                prefer.add(one.trim())?;
            }
        }
        Ok(prefer)
    }

    fn add(&mut self, one: &str) -> Result<(), GraphError> {
        if one.is_empty() {
            return Err(refused(one));
        }
        let (name, value) = one.split_once('=').unwrap_or((one, ""));
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        // The documentation shows texts in quotes and numbers without (graph-facts §6.2, §6.3).
        let quoted =
            || value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(|| refused(one));
        let again = match name.as_str() {
            "idtype" if quoted()?.eq_ignore_ascii_case("ImmutableId") => {
                std::mem::replace(&mut self.immutable_ids, true)
            }
            "idtype" => return Err(refused(one)),
            "outlook.timezone" => {
                let name = quoted()?;
                let zone = Zone::named(name).ok_or_else(|| Zone::unsupported(name))?;
                self.zone.replace(zone).is_some()
            }
            "odata.maxpagesize" => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                let size = value.parse().ok().filter(|size| digits && (1..=1_000).contains(size));
                self.page_size.replace(size.ok_or_else(|| refused(one))?).is_some()
            }
            "return" if value == "minimal" => std::mem::replace(&mut self.minimal, true),
            // Graph follows some others, and ignores the rest.
            _ => return Err(GraphError::not_simulated(&format!("the preference '{one}'"))),
        };
        // Which of two is meant cannot be known.
        if again { Err(refused(one)) } else { Ok(()) }
    }

    /// `Preference-Applied` of an answer that holds events.
    pub(crate) fn applied(&self) -> Option<String> {
        let zone = self.zone.as_ref().map(|zone| format!("outlook.timezone=\"{}\"", zone.name()));
        let size = self.page_size.map(|size| format!("odata.maxpagesize={size}"));
        let minimal = self.minimal.then(|| "return=minimal".to_owned());
        let applied: Vec<String> = zone.into_iter().chain(size).chain(minimal).collect();
        (!applied.is_empty()).then(|| applied.join(", "))
    }
}

fn refused(one: &str) -> GraphError {
    GraphError::bad_request(format!("The preference '{one}' in the Prefer header is not supported."))
}

/// Splits at commas outside of quotes.
fn split(text: &str) -> Vec<&str> {
    let mut quoted = false;
    text.split(|c| {
        if c == '"' {
            quoted = !quoted;
        }
        c == ',' && !quoted
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(values: &[&str]) -> Result<Prefer, GraphError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", value.parse().unwrap());
        }
        Prefer::parse(&headers)
    }

    #[test]
    fn preferences_combine() {
        for values in [
            vec![r#"IdType="ImmutableId", outlook.timezone="UTC""#],
            vec![r#"outlook.timezone="UTC""#, r#"IdType="ImmutableId""#],
        ] {
            let prefer = parse(&values).unwrap();
            assert!(prefer.immutable_ids);
            assert_eq!(prefer.applied().as_deref(), Some(r#"outlook.timezone="UTC""#));
        }
        let prefer = parse(&[r#"outlook.timezone="Europe/Berlin", odata.maxpagesize=200"#]).unwrap();
        assert_eq!((prefer.immutable_ids, prefer.page_size), (false, Some(200)));
    }

    #[test]
    fn others_are_refused() {
        let status = |values: &[&str]| parse(values).unwrap_err().status.as_u16();
        for bad in [
            "",
            "IdType=\"Other\"",
            "IdType=ImmutableId",
            "IdType",
            "odata.maxpagesize=0",
            "odata.maxpagesize=+5",
            "odata.maxpagesize=\"5\"",
            "outlook.timezone=\"Mars\"",
            "outlook.timezone=UTC",
            "outlook.timezone=\"UTC\", outlook.timezone=\"UTC\"",
            "IdType=\"ImmutableId\",",
        ] {
            assert_eq!(status(&[bad]), 400, "{bad}");
        }
        assert_eq!(status(&["odata.maxpagesize=5", "odata.maxpagesize=5"]), 400);
        for graphs in
            ["respond-async", "outlook.body-content-type=\"text\"", "return=representation", "unheard-of"]
        {
            assert_eq!(status(&[graphs]), 501, "{graphs}");
        }
    }
}
