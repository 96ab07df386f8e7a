//! What Graph itself has no call for: `/_sim/…`.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, header, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    app::{App, lock},
    errors::GraphError,
    events::DeltaChange,
    faults,
    login::{UserTokenRequest, user_token},
    request::is_own_origin,
    subscriptions,
};

/// Longest single advance of the clock, in seconds: a year.
const LONGEST_ADVANCE: u64 = 366 * 86_400;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

pub(crate) fn answer(app: &Arc<App>, parts: &Parts, body: Result<Bytes, GraphError>) -> Response {
    let result = body.map_err(|error| (error.status, error.message)).and_then(|body| run(app, parts, &body));
    let (status, body) = match result {
        Ok(body) => (StatusCode::OK, body),
        Err((status, message)) => (status, json!({"error": {"code": status.as_str(), "message": message}})),
    };
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn run(app: &Arc<App>, parts: &Parts, body: &Bytes) -> Result<Value, (StatusCode, String)> {
    if parts.uri.query().is_some() {
        return Err(bad("the control API takes no query"));
    }
    let path = parts.uri.path();
    match (&parts.method, path) {
        (&Method::GET, "/_sim/counters") => Ok(app.journal.counters()),
        (&Method::GET, "/_sim/requests") => to_value(&app.journal.requests()),
        (&Method::GET, "/_sim/subscriptions") => to_value(&lock(&app.subscriptions).all(app.clock.now())),
        (&Method::POST, "/_sim/subscriptions") => {
            let planted = subscriptions::plant(app, read(body)?).map_err(bad)?;
            Ok(json!({"planted": planted}))
        }
        (&Method::GET, "/_sim/notifications") => to_value(&app.notifier.deliveries()),
        (&Method::POST, "/_sim/faults") => {
            let change: faults::Change = read(body)?;
            app.faults.change(change).map_err(bad)?;
            Ok(json!({}))
        }
        (&Method::POST, "/_sim/delta") => {
            let change: DeltaChange = read(body)?;
            app.delta.change(change).map_err(bad)?;
            Ok(json!({}))
        }
        (&Method::POST, "/_sim/clock") => {
            let advance: Advance = read(body)?;
            if advance.advance_seconds > LONGEST_ADVANCE {
                return Err(bad(format!("advanceSeconds must be at most {LONGEST_ADVANCE}")));
            }
            app.clock.advance(Duration::from_secs(advance.advance_seconds));
            Ok(json!({"now": app.clock.now()}))
        }
        (&Method::POST, "/_sim/user-token") => {
            let asked: UserTokenRequest = read(body)?;
            let host = parts.uri.authority().map(|authority| authority.as_str().to_owned()).or_else(|| {
                parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(str::to_owned)
            });
            let origin = host.map(|host| format!("https://{host}")).filter(|origin| is_own_origin(origin));
            user_token(app, &origin.ok_or_else(|| bad("the Host header is not this simulator's"))?, &asked)
                .map_err(bad)
        }
        (
            _,
            "/_sim/counters"
            | "/_sim/requests"
            | "/_sim/subscriptions"
            | "/_sim/notifications"
            | "/_sim/faults"
            | "/_sim/clock"
            | "/_sim/delta"
            | "/_sim/user-token",
        ) => Err((StatusCode::METHOD_NOT_ALLOWED, format!("{path} does not take {}", parts.method))),
        _ => Err((StatusCode::NOT_FOUND, format!("the control API has no {path}"))),
    }
}

fn bad(message: impl Into<String>) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, message.into())
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, (StatusCode, String)> {
    serde_json::from_slice(body).map_err(|error| bad(error.to_string()))
}

fn to_value(value: &impl serde::Serialize) -> Result<Value, (StatusCode, String)> {
    serde_json::to_value(value).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
