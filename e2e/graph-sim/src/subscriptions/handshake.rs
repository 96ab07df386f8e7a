//! The validation of a notification URL (graph-facts §2).

use std::time::Duration;

use http::{StatusCode, header};
use url::Url;
use uuid::Uuid;

use crate::{app::App, errors::GraphError};

/// Time that the endpoint has.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are looked at.
const ANSWER_BYTES: usize = 16 * 1024;

/// An https URL, as it was written.
pub(super) fn notification_url(member: &str, text: &str) -> Result<(), GraphError> {
    let refused = |why: &str| {
        Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "InvalidRequest",
            format!("The value of '{member}' is not valid: {why}."),
        ))
    };
    let Ok(url) = Url::parse(text) else { return refused("it is no absolute URL") };
    if url.scheme() != "https" {
        return refused("the scheme must be https");
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return refused("it must have neither a fragment nor credentials");
    }
    Ok(())
}

/// Asks the endpoint to echo a text.
pub(super) async fn validate(app: &App, notification_url: &str) -> Result<(), GraphError> {
    let token = format!(
        "Validation: Testing client application reachability for subscription Request-Id: {}",
        Uuid::new_v4()
    );
    let encoded: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    let separator = if notification_url.contains('?') { '&' } else { '?' };
    let request = app
        .outbound
        .post(format!("{notification_url}{separator}validationToken={encoded}"))
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CONTENT_LENGTH, "0");
    let exchange = async {
        let mut response = request.send().await.ok()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES {
                break;
            }
        }
        Some((response.status(), response.headers().get(header::CONTENT_TYPE).cloned(), body))
    };
    let Some(answer) = app.clock.bound(LIMIT, exchange).await else {
        return Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "InvalidRequest",
            "Subscription validation request timed out.",
        ));
    };
    match answer {
        Some((StatusCode::OK, content_type, body)) => {
            let plain = content_type.is_some_and(|value| {
                let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
                media.eq_ignore_ascii_case("text/plain")
            });
            if plain && body == token.as_bytes() { Ok(()) } else { Err(failed("")) }
        }
        Some((status, ..)) => {
            let name = status.canonical_reason().unwrap_or("Unknown").replace([' ', '-', '\''], "");
            Err(failed(&format!(" HTTP status code is '{name}'.")))
        }
        None => Err(failed("")),
    }
}

fn failed(detail: &str) -> GraphError {
    GraphError::new(
        StatusCode::BAD_REQUEST,
        "ValidationError",
        format!(
            "Subscription validation request failed.{detail} Notification endpoint must respond with 200 OK to validation request."
        ),
    )
}
