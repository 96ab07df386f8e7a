//! The calls on `/subscriptions`.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    authorization::roles,
    draft,
    handshake::{notification_url, validate},
    store::{AddFault, Subscription},
};
use crate::{
    app::lock,
    errors::GraphError,
    graph::{Call, Reply},
    odata::{Members, PageToken, guid},
};

/// Subscriptions on a page; Graph does not document its number.
const PAGE: usize = 100;

/// Within the quota, and with exactly the read permission, unless the world is lenient (graph-facts §1.5, §5).
fn permitted(call: &Call<'_>, operation: &str) -> Result<(), GraphError> {
    let (app, caller) = (call.app, &call.caller);
    let writes = call.request.method != http::Method::GET;
    app.quota.subscription(
        app.settings.limits,
        (caller.tenant, caller.client_id),
        writes,
        app.clock.now(),
    )?;
    if call.caller.has_any(roles(call.app.settings.strict_subscription_role)) {
        return Ok(());
    }
    Err(GraphError::extension(StatusCode::FORBIDDEN, operation, "Forbidden", "Forbidden"))
}

fn refused(fault: &AddFault) -> GraphError {
    match fault {
        AddFault::Duplicate(id) => GraphError::new(
            StatusCode::CONFLICT,
            "ObjectIdentifierInUse",
            format!("Subscription Id {id} already exists for the requested combination"),
        ),
        AddFault::MailboxQuota => GraphError::extension(
            StatusCode::FORBIDDEN,
            "Create",
            "Forbidden",
            "The mailbox has reached its limit of 1000 subscriptions.",
        ),
    }
}

fn not_found() -> GraphError {
    GraphError::new(StatusCode::NOT_FOUND, "ResourceNotFound", "The object was not found.")
}

/// The subscription, if it is the caller's: another app's does not exist for it.
fn own(call: &Call<'_>, id: &str) -> Result<Subscription, GraphError> {
    let id = guid(id).ok_or_else(not_found)?;
    let now = call.app.clock.now();
    let mut all = lock(&call.app.subscriptions);
    let one = all.get(id, now).ok_or_else(not_found)?;
    if one.application_id == call.caller.client_id && one.tenant_id == call.caller.tenant {
        Ok(one.clone())
    } else {
        Err(not_found())
    }
}

/// What is left when the user is gone (graph-facts §1.6): the list shows it, and nothing can be done about it.
fn of_a_user(call: &Call<'_>, one: &Subscription, operation: &str) -> Result<(), GraphError> {
    if lock(&call.app.directory).user(one.tenant_id, one.user_id).is_some() {
        return Ok(());
    }
    if call.request.method == http::Method::GET {
        let message = "There was an error processing a storage extension.";
        return Err(GraphError::new(StatusCode::NOT_FOUND, "ExtensionError", message));
    }
    let reason = format!("The requested user '{}@{}' is invalid.", one.user_id, one.tenant_id);
    Err(GraphError::extension(StatusCode::NOT_FOUND, operation, "NotFound", &reason))
}

/// The whole object, nulls included. clientState is told to its creator, once (graph-facts §1.1, §1.5).
fn render(one: &Subscription, client_state: Option<&str>) -> Value {
    json!({
        "id": one.id,
        "resource": one.resource,
        "applicationId": one.application_id,
        "changeType": one.change_type,
        "clientState": client_state,
        "notificationUrl": one.notification_url,
        "notificationQueryOptions": Value::Null,
        "lifecycleNotificationUrl": one.lifecycle_notification_url,
        "expirationDateTime": format!("{:.7}", one.expires),
        "creatorId": one.creator_id,
        "includeResourceData": one.include_resource_data,
        "latestSupportedTlsVersion": one.latest_supported_tls_version,
        "encryptionCertificate": Value::Null,
        "encryptionCertificateId": Value::Null,
        "notificationUrlAppId": Value::Null,
    })
}

fn entity(call: &Call<'_>, one: &Subscription, client_state: Option<&str>) -> Value {
    let mut body = render(one, client_state);
    if let Some(body) = body.as_object_mut() {
        body.insert("@odata.context".to_owned(), call.context("subscriptions/$entity").into());
    }
    body
}

pub(crate) async fn create(call: &Call<'_>) -> Result<Reply, GraphError> {
    call.query.only(&[])?;
    let body = call.request.json()?;
    permitted(call, "Create")?;
    let one = draft::read(call, &body)?;
    let app = call.app;
    lock(&app.subscriptions).check(&one, app.clock.now()).map_err(|fault| refused(&fault))?;
    validate(app, &one.notification_url).await?;
    if let Some(url) = &one.lifecycle_notification_url {
        validate(app, url).await?;
    }
    // The same could have been asked for during the handshakes.
    lock(&app.subscriptions).add(one.clone(), app.clock.now()).map_err(|fault| refused(&fault))?;
    app.clock.pause(app.faults.subscription_post_latency()).await;
    Ok(Reply::created(entity(call, &one, one.client_state.as_deref())))
}

pub(crate) fn get(call: &Call<'_>, id: &str) -> Result<Reply, GraphError> {
    call.query.only(&[])?;
    permitted(call, "Read")?;
    let one = own(call, id)?;
    of_a_user(call, &one, "Read")?;
    Ok(Reply::ok(entity(call, &one, None)))
}

pub(crate) fn list(call: &Call<'_>) -> Result<Reply, GraphError> {
    call.query.only(&["$skiptoken"])?;
    permitted(call, "Read")?;
    let place = PageToken::read(call)?;
    let after = place.after().and_then(|after| u64::try_from(after).ok());
    let mut all = lock(&call.app.subscriptions);
    let mut own =
        all.of_app(call.caller.tenant, call.caller.client_id, after, call.app.clock.now()).peekable();
    let mut last = None;
    let mut page = Vec::new();
    while let Some((number, one)) = own.next_if(|_| page.len() < place.size(PAGE)) {
        last = Some(number);
        page.push(render(one, None));
    }
    let mut body = json!({"@odata.context": call.context("subscriptions"), "value": page});
    let link = own.peek().and_then(|_| place.link(call, last.map(u128::from)));
    if let (Some(link), Some(body)) = (link, body.as_object_mut()) {
        body.insert("@odata.nextLink".to_owned(), link.into());
    }
    Ok(Reply::ok(body))
}

/// Only expiry and notificationUrl can be changed (graph-facts §1.5).
pub(crate) async fn update(call: &Call<'_>, id: &str) -> Result<Reply, GraphError> {
    call.query.only(&[])?;
    let body = call.request.json()?;
    permitted(call, "Update")?;
    let one = own(call, id)?;
    of_a_user(call, &one, "Update")?;
    let mut members = Members::new(&body, "body", "subscription")?;
    let expiry = members.text("expirationDateTime")?.not_null("expirationDateTime", "Edm.DateTimeOffset")?;
    let url = members.text("notificationUrl")?.not_null("notificationUrl", "Edm.String")?;
    members.end().map_err(|_| {
        GraphError::new(
            StatusCode::BAD_REQUEST,
            "InvalidRequest",
            "Only the properties 'expirationDateTime' and 'notificationUrl' of a subscription can be updated.",
        )
    })?;
    if expiry.is_none() && url.is_none() {
        return Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "InvalidRequest",
            "Subscription must contain either the 'expirationDateTime' or 'notificationUrl' property and its value.",
        ));
    }
    let expires = expiry.map(|asked| draft::expiry(call, asked)).transpose()?;
    let expires = expires.filter(|_| !call.app.faults.patch_keeps_expiry());
    if let Some(url) = url {
        notification_url("notificationUrl", url)?;
        validate(call.app, url).await?;
    }
    let now = call.app.clock.now();
    let url = url.map(str::to_owned);
    let set = lock(&call.app.subscriptions).set(one.id, expires, url, expiry.is_some(), now);
    Ok(Reply::ok(entity(call, &set.ok_or_else(not_found)?, None)))
}

pub(crate) fn delete(call: &Call<'_>, id: &str) -> Result<Reply, GraphError> {
    call.query.only(&[])?;
    permitted(call, "Delete")?;
    let one = own(call, id)?;
    of_a_user(call, &one, "Delete")?;
    let removed = lock(&call.app.subscriptions).remove(one.id, call.app.clock.now());
    removed.map(|_| Reply::no_content()).ok_or_else(not_found)
}

/// Keeps the expiry (graph-facts §1.5).
pub(crate) fn reauthorize(call: &Call<'_>, id: &str) -> Result<Reply, GraphError> {
    call.query.only(&[])?;
    call.request.no_body()?;
    permitted(call, "Reauthorize")?;
    let one = own(call, id)?;
    of_a_user(call, &one, "Reauthorize")?;
    let noted = lock(&call.app.subscriptions).reauthorize(one.id, call.app.clock.now());
    noted.map(|()| Reply::no_content()).ok_or_else(not_found)
}
