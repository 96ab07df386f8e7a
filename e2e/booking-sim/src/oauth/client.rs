//! How a client says who it is: `client_secret_basic` or `client_secret_post` (RFC 6749 section 2.3.1).

use axum::http::{HeaderMap, header};

use super::{Denied, form::Form};
use crate::OAuthClient;

/// Who asks, as it says.
pub(super) struct Attempt {
    id: String,
    secret: String,
}

impl Attempt {
    pub(super) fn read(headers: &HeaderMap, form: &Form) -> Result<Self, Denied> {
        let denied = |description| Denied { error: "invalid_client", description };
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (basic, second) = (values.next(), values.next());
        let posted = form.get("client_secret");
        if second.is_some() || (basic.is_some() && posted.is_some()) {
            let description = "more than one way of authentication is used";
            return Err(Denied { error: "invalid_request", description });
        }
        let attempt = match basic {
            Some(value) => {
                let text = value.to_str().ok().and_then(|text| text.split_once(' '));
                let text = text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Basic"));
                text.and_then(|(_, text)| Self::decode(text)).ok_or(denied("Authorization is no Basic"))?
            }
            None => match (form.get("client_id"), posted) {
                (Some(id), Some(secret)) => Self { id: id.to_owned(), secret: secret.to_owned() },
                _ => return Err(denied("the client does not authenticate itself")),
            },
        };
        match form.get("client_id") {
            Some(id) if id != attempt.id => Err(Denied {
                error: "invalid_request",
                description: "client_id is another than in Authorization",
            }),
            _ => Ok(attempt),
        }
    }

    /// Both halves are form-encoded before they are joined.
    fn decode(text: &str) -> Option<Self> {
        let bytes = data_encoding::BASE64.decode(text.trim().as_bytes()).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (id, secret) = text.split_once(':')?;
        Some(Self { id: decoded(id)?, secret: decoded(secret)? })
    }

    pub(super) fn is(&self, client: &OAuthClient) -> bool {
        self.id == client.id && self.secret == client.secret
    }
}

/// One form-encoded value. A name or a second value cannot hide in it.
fn decoded(text: &str) -> Option<String> {
    if text.contains(['&', '=']) {
        return None;
    }
    let pair = format!("v={text}");
    url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
}
