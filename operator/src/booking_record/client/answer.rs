//! What a product's answer means. Pure.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;

/// Most characters of a product's reason that are kept.
const REASON_CHARS: usize = 200;
/// Most characters of a booking's id that are kept.
const ID_CHARS: usize = 256;

/// The outcome of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The product has the booking.
    Booked {
        /// Its id there.
        booking_id: Option<String>,
    },
    /// The product has no such booking any more.
    Cancelled,
    /// The space is taken, the product says (409): it may become free.
    Conflict(String),
    /// The product refuses, for this reason, whoever holds the space (422).
    Refused(String),
    /// The product refused the token, which is dropped: the call may be sent once more at once.
    TokenRefused,
    /// The product asked to wait.
    Later(Duration),
    /// The product cannot be reached, failed, or does not know us.
    Unavailable {
        /// What happened.
        why: String,
        /// Whether a person must act.
        stalled: bool,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Booked {
    booking_id: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Reads an answer to a PUT or DELETE; `with_token`: to one that was sent with a token.
pub(super) fn read(
    method: &Method,
    status: u16,
    retry_after: Option<Duration>,
    body: &[u8],
    with_token: bool,
) -> Answer {
    match status {
        200..=299 | 404 | 410 if *method == Method::DELETE => Answer::Cancelled,
        200..=299 => {
            let id = serde_json::from_slice::<Booked>(body).ok().and_then(|booked| booked.booking_id);
            Answer::Booked { booking_id: id.map(|id| id.chars().take(ID_CHARS).collect()) }
        }
        409 => Answer::Conflict(reason(status, body)),
        422 => Answer::Refused(reason(status, body)),
        429 | 503 if retry_after.is_some() => Answer::Later(retry_after.unwrap_or_default()),
        401 | 403 if with_token => Answer::Unavailable {
            why: format!(
                "the product answered {status} to a fresh token: check spec.booking.oauth.scope, what the client of the Secret that spec.booking.oauth.secretName names may do at the product, and the headers in the Secret that spec.booking.secretName names"
            ),
            stalled: true,
        },
        401 | 403 => Answer::Unavailable {
            why: format!(
                "the product answered {status}: check the headers in the Secret that spec.booking.secretName names"
            ),
            stalled: true,
        },
        300..=399 => Answer::Unavailable {
            why: format!(
                "the product answered {status}, a redirect, which is refused: name the final URL in spec.booking.url"
            ),
            stalled: true,
        },
        _ => Answer::Unavailable { why: format!("the product answered {status}"), stalled: false },
    }
}

fn reason(status: u16, body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error }) if error.message.is_empty() => error.code,
        Ok(Refusal { error }) => format!("{}: {}", error.code, error.message),
        Err(_) => String::new(),
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(REASON_CHARS).collect();
    if text.is_empty() { format!("the product answered {status} without a reason") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_meaning() {
        let put = |status, body: &str| read(&Method::PUT, status, None, body.as_bytes(), false);
        let delete = |status| read(&Method::DELETE, status, None, b"", false);
        assert_eq!(
            put(201, r#"{"bookingId":"b1","state":"Booked"}"#),
            Answer::Booked { booking_id: Some("b1".to_owned()) }
        );
        assert_eq!(put(200, ""), Answer::Booked { booking_id: None });
        assert_eq!(
            put(409, r#"{"error":{"code":"Overlap","message":"room-101 is taken"}}"#),
            Answer::Conflict("Overlap: room-101 is taken".to_owned())
        );
        assert_eq!(
            put(422, "no json"),
            Answer::Refused("the product answered 422 without a reason".to_owned())
        );
        assert!(matches!(put(404, ""), Answer::Unavailable { stalled: false, .. }));
        assert!(matches!(put(401, ""), Answer::Unavailable { stalled: true, .. }));
        let Answer::Unavailable { why, stalled: true } = read(&Method::PUT, 403, None, b"", true) else {
            panic!()
        };
        assert!(why.contains("spec.booking.oauth"), "{why}");
        assert!(matches!(put(302, ""), Answer::Unavailable { stalled: true, .. }));
        assert!(matches!(put(500, ""), Answer::Unavailable { stalled: false, .. }));
        for gone in [200, 204, 404, 410] {
            assert_eq!(delete(gone), Answer::Cancelled);
        }
        let wait = Some(Duration::from_secs(7));
        assert_eq!(read(&Method::PUT, 429, wait, b"", false), Answer::Later(Duration::from_secs(7)));
        assert_eq!(read(&Method::DELETE, 503, wait, b"", false), Answer::Later(Duration::from_secs(7)));
        assert!(matches!(read(&Method::PUT, 503, None, b"", false), Answer::Unavailable { .. }));
    }

    #[test]
    fn a_reason_is_bounded() {
        let body = format!(r#"{{"error":{{"code":"Overlap","message":"{}"}}}}"#, "é".repeat(1000));
        let Answer::Conflict(reason) = read(&Method::PUT, 409, None, body.as_bytes(), false) else {
            panic!()
        };
        assert_eq!(reason.chars().count(), REASON_CHARS);
    }
}
