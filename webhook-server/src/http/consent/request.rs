//! What is taken of a request, and nothing else.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, Uri, header},
};
use roomkeeper_service::https::{self, NoBearer};
use serde::Deserialize;
use tokio::time::timeout;

use super::{answer::Answer, token::Refused};

/// Largest body, in bytes.
const MAX_BODY: usize = 4 * 1024;
/// For a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest version that a record can hold, in characters.
const MAX_VERSION: usize = 64;
/// Longest language tag.
const MAX_LANGUAGE: usize = 35;

/// What the page sends when the box is ticked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Ticked {
    pub(super) notice_version: String,
    #[serde(default)]
    pub(super) add_in_version: Option<String>,
}

/// The one bearer token of the request.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, Refused> {
    https::bearer(headers).map_err(|error| match error {
        NoBearer::Missing => Refused::Missing,
        NoBearer::Malformed => Refused::Malformed,
    })
}

/// Only what can be the name of an object reaches a URL of the API server.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    (1..=253).contains(&text.len())
        && text.bytes().all(plain)
        && !text.starts_with('.')
        && !text.contains("..")
}

/// The language that the page asks for.
pub(super) fn language(uri: &Uri) -> Option<String> {
    let query = uri.query().unwrap_or_default();
    let (_, language) = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "language")?;
    (language.len() <= MAX_LANGUAGE).then(|| language.into_owned())
}

/// The body of a consent.
pub(super) async fn ticked(headers: &HeaderMap, body: Body) -> Result<Ticked, Answer> {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Answer::MediaType);
    }
    let bytes = match timeout(BODY_TIMEOUT, axum::body::to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(Answer::TooLarge),
        Err(_elapsed) => return Err(Answer::Timeout),
    };
    let ticked: Ticked = serde_json::from_slice(&bytes).map_err(|_| {
        Answer::BadRequest(
            "the body must be {\"noticeVersion\": text, \"addInVersion\": text} without other members",
        )
    })?;
    if let Some(version) = &ticked.add_in_version
        && (version.is_empty()
            || version.chars().count() > MAX_VERSION
            || version.chars().any(char::is_control))
    {
        return Err(Answer::BadRequest("addInVersion must have 1 to 64 characters"));
    }
    Ok(ticked)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn exactly_one_bearer_token_is_taken() {
        assert_eq!(bearer(&headers(&["Bearer a.b.c"])), Ok("a.b.c"));
        assert_eq!(bearer(&headers(&["bearer a.b.c"])), Ok("a.b.c"));
        for none in [&[][..], &["Bearer"], &["Basic dTpw"], &["Bearer a", "Bearer b"]] {
            assert_eq!(bearer(&headers(none)), Err(Refused::Missing), "{none:?}");
        }
    }

    #[test]
    fn only_names_of_objects_reach_the_api_server() {
        for name in ["contoso", "a-1", "a.b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "..", ".", "A", "a/b", "a%2fb", "a b", "a..b", &"a".repeat(254)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn the_language_is_one_member_of_the_query() {
        let of = |uri: &'static str| language(&Uri::from_static(uri));
        assert_eq!(of("/?language=de"), Some("de".to_owned()));
        assert_eq!(of("/?a=b&language=pt-BR&language=de"), Some("pt-BR".to_owned()));
        assert_eq!(of("/"), None);
        assert_eq!(of("/?language=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), None);
    }

    #[tokio::test]
    async fn only_the_documented_body_is_taken() {
        let mut json = HeaderMap::new();
        json.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        let taken = ticked(&json, Body::from(r#"{"noticeVersion":"2026-01"}"#)).await.ok().unwrap();
        assert_eq!((taken.notice_version.as_str(), taken.add_in_version), ("2026-01", None));
        for (body, label) in [
            (String::new(), "bad_request"),
            ("[]".to_owned(), "bad_request"),
            (r#"{"addInVersion":"1"}"#.to_owned(), "bad_request"),
            (r#"{"noticeVersion":1}"#.to_owned(), "bad_request"),
            (r#"{"noticeVersion":"1","userId":"x"}"#.to_owned(), "bad_request"),
            (r#"{"noticeVersion":"1","addInVersion":""}"#.to_owned(), "bad_request"),
            (format!(r#"{{"noticeVersion":"1","addInVersion":"{}"}}"#, "1".repeat(65)), "bad_request"),
            (" ".repeat(MAX_BODY + 1), "too_large"),
        ] {
            let answer = ticked(&json, Body::from(body.clone())).await.err().unwrap();
            assert_eq!(answer.label(), label, "{body}");
        }
        let answer = ticked(&HeaderMap::new(), Body::from("{}")).await.err().unwrap();
        assert_eq!(answer.label(), "media_type");
    }
}
