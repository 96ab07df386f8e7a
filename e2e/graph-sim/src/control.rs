//! What Graph itself has no call for: `/_sim/…`.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode, header, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::{App, lock},
    errors::GraphError,
    events::{DeltaChange, relocate, set_custom_zone},
    faults,
    login::{CredentialChange, FederatedEntry, Secret, UserTokenRequest, user_token},
    notify::{self, LifecycleEvent},
    request::is_own_origin,
    subscriptions,
    world::ROLES,
};

/// Longest single advance of the clock, in seconds: a year.
const LONGEST_ADVANCE: u64 = 366 * 86_400;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LifecycleRequest {
    subscription_id: Uuid,
    lifecycle_event: LifecycleEvent,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Removal {
    subscription_id: Uuid,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UserChange {
    user_id: Uuid,
    mailbox: Option<bool>,
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ApplicationChange {
    tenant_id: Uuid,
    client_id: Uuid,
    enabled: Option<bool>,
    roles: Option<Vec<String>>,
    secret: Option<String>,
    secrets: Option<Vec<Secret>>,
    certificates: Option<Vec<String>>,
    federated: Option<Vec<FederatedEntry>>,
    refuses_consent: Option<bool>,
}

/// Graph tells of a subscription; what it removes is gone before it is told.
fn lifecycle(app: &Arc<App>, asked: &LifecycleRequest) -> Result<Value, (StatusCode, String)> {
    let id = asked.subscription_id;
    let now = app.clock.now();
    let found = lock(&app.subscriptions).get(id, now).cloned().ok_or_else(|| unknown("subscription", id))?;
    if found.lifecycle_notification_url.is_none() {
        return Err((StatusCode::CONFLICT, format!("subscription {id} has no lifecycleNotificationUrl")));
    }
    match asked.lifecycle_event {
        LifecycleEvent::SubscriptionRemoved => drop(lock(&app.subscriptions).remove(id, now)),
        LifecycleEvent::ReauthorizationRequired => lock(&app.subscriptions).challenge(id, now),
        LifecycleEvent::Missed => {}
    }
    notify::lifecycle(app, &found, asked.lifecycle_event);
    Ok(json!({}))
}

fn user(app: &App, change: &UserChange) -> Result<Value, (StatusCode, String)> {
    let mut directory = lock(&app.directory);
    let found = match (change.deleted, change.mailbox) {
        (true, None) => directory.delete_user(change.user_id),
        (false, Some(mailbox)) => directory.set_mailbox(change.user_id, mailbox),
        _ => return Err(bad("give either mailbox or deleted: true")),
    };
    if found { Ok(json!({})) } else { Err(unknown("user", change.user_id)) }
}

fn application(app: &App, change: ApplicationChange) -> Result<Value, (StatusCode, String)> {
    if let Some(role) = change.roles.iter().flatten().find(|role| !ROLES.contains(&role.as_str())) {
        return Err(bad(format!("roles: {role} is no role that is simulated")));
    }
    let (tenant, client_id) = (change.tenant_id, change.client_id);
    let (strict, now) = (app.settings.strict_subscription_role, app.clock.now());
    let credentials = CredentialChange {
        secret: change.secret,
        secrets: change.secrets,
        certificates: change.certificates,
        federated: change.federated,
    };
    let mut refused = Ok(());
    let found = lock(&app.directory).change_application(tenant, client_id, |application| {
        refused = credentials.apply(&mut application.credentials);
        if refused.is_err() {
            return;
        }
        application.enabled = change.enabled.unwrap_or(application.enabled);
        application.refuses_consent = change.refuses_consent.unwrap_or(application.refuses_consent);
        if let Some(roles) = change.roles {
            application.roles = roles;
        }
        application.note_authorization(strict, now);
    });
    refused.map_err(|unusable| bad(format!("{} {}", unusable.field, unusable.rule)))?;
    if found { Ok(json!({})) } else { Err(unknown("application", client_id)) }
}

fn unknown(what: &str, id: Uuid) -> (StatusCode, String) {
    (StatusCode::NOT_FOUND, format!("there is no {what} {id}"))
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
        (&Method::GET, "/_sim/counters") => {
            let mut counters = app.journal.counters();
            if let Some(counters) = counters.as_object_mut() {
                counters.insert("peakConcurrency".to_owned(), app.concurrency.peak().into());
                counters.insert("overQuota".to_owned(), app.quota.refused().into());
                counters.insert("droppedNotifications".to_owned(), app.notifier.dropped().into());
                let too_soon = lock(&app.subscriptions).too_soon();
                counters.insert("reauthorizedAndRenewedWithin10Min".to_owned(), too_soon.into());
            }
            Ok(counters)
        }
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
        (&Method::POST, "/_sim/events/move") => relocate(app, &read(body)?)
            .ok_or_else(|| (StatusCode::NOT_FOUND, "there is no such event".to_owned())),
        (&Method::POST, "/_sim/events/zone") => {
            let found = set_custom_zone(app, &read(body)?).map_err(bad)?;
            found
                .map(|()| json!({}))
                .ok_or_else(|| (StatusCode::NOT_FOUND, "there is no such event".to_owned()))
        }
        (&Method::GET, "/_sim/faults") => Ok(app.faults.injected()),
        (&Method::POST, "/_sim/lifecycle") => lifecycle(app, &read(body)?),
        (&Method::POST, "/_sim/subscriptions/remove") => {
            let Removal { subscription_id } = read(body)?;
            let removed = lock(&app.subscriptions).remove(subscription_id, app.clock.now());
            removed.map(|_| json!({})).ok_or_else(|| unknown("subscription", subscription_id))
        }
        (&Method::POST, "/_sim/users") => user(app, &read(body)?),
        (&Method::POST, "/_sim/apps") => application(app, read(body)?),
        (&Method::POST, "/_sim/policies") => {
            app.policies.change(app, read(body)?).map_err(bad)?;
            Ok(json!({}))
        }
        (&Method::GET, "/_sim/clock") => Ok(json!({"now": app.clock.now()})),
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
            | "/_sim/events/move"
            | "/_sim/events/zone"
            | "/_sim/clock"
            | "/_sim/lifecycle"
            | "/_sim/subscriptions/remove"
            | "/_sim/users"
            | "/_sim/apps"
            | "/_sim/policies"
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
