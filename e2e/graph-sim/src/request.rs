//! A request as received, split strictly.

use axum::body::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::{
    errors::GraphError,
    odata::{Query, parse},
};

/// Bytes of a body; beyond, 413.
pub(crate) const BODY_LIMIT: usize = 4 * 1024 * 1024;

pub(crate) struct Request {
    pub(crate) method: Method,
    /// Path as sent, without the query.
    pub(crate) raw_path: String,
    pub(crate) raw_query: Option<String>,
    /// Decoded segments, the version or the tenant first. `name('key')` counts as two.
    pub(crate) segments: Vec<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Under which name the simulator was called: `https://host:port`.
    pub(crate) origin: String,
}

/// What is wrong with a request line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A path that is no list of segments.
    Path,
    /// A name that is not the simulator's.
    Host,
    /// A header that may occur once and occurs again, or is no text.
    Header(&'static str),
}

/// Headers with one value. Which of two is meant cannot be known.
const SINGLE: &[&str] = &[
    "authorization",
    "client-request-id",
    "consistencylevel",
    "content-type",
    "host",
    "if-match",
    "if-none-match",
];

impl Request {
    pub(crate) fn new(method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> Result<Self, Malformed> {
        for name in SINGLE {
            let mut values = headers.get_all(*name).iter();
            if values.next().is_some_and(|value| value.to_str().is_err()) || values.next().is_some() {
                return Err(Malformed::Header(name));
            }
        }
        let named = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = uri.authority().map(http::uri::Authority::as_str);
        // HTTP/2 has its own member for the name; a Host header beside it must say the same.
        if authority.is_some() && named.is_some() && authority != named {
            return Err(Malformed::Host);
        }
        let host = authority.or(named).ok_or(Malformed::Host)?;
        let origin = format!("https://{host}");
        if !is_own_origin(&origin) {
            return Err(Malformed::Host);
        }
        Ok(Self {
            method,
            raw_path: uri.path().to_owned(),
            raw_query: uri.query().map(str::to_owned),
            segments: segments(uri.path()).ok_or(Malformed::Path)?,
            headers,
            body,
            origin,
        })
    }

    pub(crate) fn query(&self) -> Result<Query, GraphError> {
        Query::parse(self.raw_query.as_deref().unwrap_or_default())
    }

    /// Text of a header that occurs at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The JSON body of a write.
    pub(crate) fn json(&self) -> Result<Value, GraphError> {
        if self.body.is_empty() {
            return Err(GraphError::bad_request("Empty Payload. JSON content expected."));
        }
        let Some(content_type) = self.header("content-type") else {
            return Err(GraphError::bad_request(
                "Write requests (excluding DELETE) must contain the Content-Type header declaration.",
            ));
        };
        let media = content_type.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/json") {
            return Err(GraphError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "InvalidRequest",
                format!("The content type '{media}' is not supported. Use application/json."),
            ));
        }
        parse(&self.body).map_err(|_| {
            GraphError::bad_request(
                "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.",
            )
        })
    }

    /// Calls without a body may not have one.
    pub(crate) fn no_body(&self) -> Result<(), GraphError> {
        if self.body.is_empty() {
            Ok(())
        } else {
            Err(GraphError::bad_request("This request must not have a body."))
        }
    }
}

/// Whether an origin names this machine; the port may be another's, where something forwards to the simulator.
pub(crate) fn is_own_origin(origin: &str) -> bool {
    url::Url::parse(origin).is_ok_and(|url| {
        url.scheme() == "https"
            && matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"))
            && url.path() == "/"
            && url.query().is_none()
            && url.username().is_empty()
    })
}

fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut all = Vec::new();
    for raw in path.split('/') {
        if raw.is_empty() {
            return None;
        }
        let decoded = percent_decode_str(raw).decode_utf8().ok()?;
        // Percent signs that start no escape are left as they are by the decoder; Graph refuses them.
        if raw.split('%').skip(1).any(|rest| !rest.get(..2).is_some_and(is_hex)) {
            return None;
        }
        match keyed(&decoded) {
            Some((name, key)) => all.extend([name, key]),
            None => all.push(decoded.into_owned()),
        }
    }
    Some(all)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `users('id')`, the other form of `users/id`.
fn keyed(segment: &str) -> Option<(String, String)> {
    let (name, rest) = segment.split_once("('")?;
    let key = rest.strip_suffix("')")?;
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| (name.to_owned(), key.replace("''", "'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_strictly() {
        let split = |path: &str| segments(path).map(|all| all.join("|"));
        assert_eq!(split("/v1.0/users/a%2Fb/events/x%3D").as_deref(), Some("v1.0|users|a/b|events|x="));
        assert_eq!(split("/v1.0/users('o''neil@x')/events").as_deref(), Some("v1.0|users|o'neil@x|events"));
        assert_eq!(split("/v1.0/subscriptions/").as_deref(), Some("v1.0|subscriptions"));
        for bad in ["/", "", "/v1.0//users", "/v1.0/%zz", "/v1.0/%f", "/v1.0/%ff", "/v1.0/users//"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn encoded_segments_come_back_whole(parts in proptest::collection::vec("[^'(]+", 1..5)) {
            let encode = |part: &String| {
                percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC).to_string()
            };
            let path = format!("/{}", parts.iter().map(encode).collect::<Vec<_>>().join("/"));
            proptest::prop_assert_eq!(segments(&path), Some(parts));
        }
    }

    #[test]
    fn only_loopback_names_are_served() {
        for good in ["https://127.0.0.1:8443", "https://localhost:1", "https://[::1]:9"] {
            assert!(is_own_origin(good), "{good}");
        }
        for bad in [
            "https://graph.microsoft.com",
            "http://localhost:1",
            "https://u@localhost",
            "https://localhost/x",
        ] {
            assert!(!is_own_origin(bad), "{bad}");
        }
    }
}
