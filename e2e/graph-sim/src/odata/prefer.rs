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
        let (name, value) = one.split_once('=').ok_or_else(|| refused(one))?;
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        let unquoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
        match (name.as_str(), unquoted.unwrap_or(value)) {
            ("idtype", value) if value.eq_ignore_ascii_case("ImmutableId") => self.immutable_ids = true,
            ("outlook.timezone", value) => {
                let zone = Zone::named(value).ok_or_else(|| Zone::unsupported(value))?;
                self.zone = Some(zone);
            }
            ("odata.maxpagesize", value) => {
                let size = value.parse().ok().filter(|size| (1..=1_000).contains(size));
                self.page_size = Some(size.ok_or_else(|| refused(one))?);
            }
            _ => return Err(refused(one)),
        }
        Ok(())
    }

    /// `Preference-Applied` of an answer that holds events.
    pub(crate) fn applied(&self) -> Option<String> {
        let zone = self.zone.as_ref().map(|zone| format!("outlook.timezone=\"{}\"", zone.name()));
        let size = self.page_size.map(|size| format!("odata.maxpagesize={size}"));
        let applied: Vec<String> = zone.into_iter().chain(size).collect();
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
        for bad in
            ["respond-async", "IdType=\"Other\"", "odata.maxpagesize=0", "outlook.timezone=\"Mars\"", ""]
        {
            assert!(parse(&[bad]).is_err(), "{bad}");
        }
    }
}
