//! The calls on events.

use std::{borrow::Cow, sync::Arc};

use http::{Method, StatusCode};
use serde_json::Value;

use super::{
    Change,
    attendee_copies::{end, follow},
    content::{Event, Person},
    ids,
    list::{View, list},
    series::{self, Slot, occurrence},
    store::{MailboxKey, change},
    write,
};
use crate::{
    app::lock,
    errors::GraphError,
    graph::{Call, Reply},
    notify::publish,
    subscriptions::ChangeType,
    world::User,
};

/// `/users/{id}/events`.
pub(crate) async fn collection(call: &Call<'_>, user: &str) -> Result<Reply, GraphError> {
    if call.request.method != Method::POST {
        return list(call, user).await;
    }
    let user = enter(call, user)?;
    let _slot = slot(call, &user)?;
    call.query.only(&[])?;
    let body = call.request.json()?;
    slow(call).await;
    create(call, &user, &body)
}

/// A read of somebody's calendar: what is read may be old by the time that it arrives.
pub(super) async fn read(
    call: &Call<'_>,
    user: &str,
    answer: impl FnOnce(&User) -> Result<Reply, GraphError>,
) -> Result<Reply, GraphError> {
    let user = enter(call, user)?;
    let _slot = slot(call, &user)?;
    let reply = answer(&user)?;
    slow(call).await;
    Ok(reply)
}

/// `/users/{id}/events/{id}`, and with `in_calendar` `/users/{id}/calendar/events/{id}`, where only the calendar's own
/// folder is looked at.
pub(crate) async fn item(
    call: &Call<'_>,
    user: &str,
    id: &str,
    in_calendar: bool,
) -> Result<Reply, GraphError> {
    let user = enter(call, user)?;
    let _slot = slot(call, &user)?;
    well_formed(id)?;
    if call.request.method == Method::GET {
        // What is read may be old by the time that it arrives.
        let reply = get(call, &user, id, in_calendar);
        slow(call).await;
        return reply;
    }
    call.query.only(&[])?;
    let body = if call.request.method == Method::PATCH { Some(call.request.json()?) } else { None };
    slow(call).await;
    if !in_calendar && lock(&call.app.calendars).deleted(mailbox(call, &user), id).is_some() {
        return Err(GraphError::not_simulated("writes to deleted items"));
    }
    match body {
        Some(body) => update(call, &user, id, &body),
        None => delete(call, &user, id),
    }
}

pub(super) fn well_formed(id: &str) -> Result<(), GraphError> {
    if ids::is_well_formed(id) {
        return Ok(());
    }
    Err(GraphError::new(StatusCode::BAD_REQUEST, "ErrorInvalidIdMalformed", "Id is malformed."))
}

async fn slow(call: &Call<'_>) {
    call.app.clock.pause(call.app.faults.calendar_latency()).await;
}

fn slot(call: &Call<'_>, user: &User) -> Result<super::concurrency::Slot, GraphError> {
    call.app.concurrency.enter(call.caller.tenant, call.caller.client_id, user.id)
}

/// The user whose calendar it is, when the caller may touch it.
fn enter(call: &Call<'_>, key: &str) -> Result<Arc<User>, GraphError> {
    let roles: &[&str] = if call.request.method == Method::GET {
        &["Calendars.Read", "Calendars.ReadWrite"]
    } else {
        &["Calendars.ReadWrite"]
    };
    if !call.caller.has_any(roles) {
        return Err(GraphError::new(
            StatusCode::FORBIDDEN,
            "ErrorAccessDenied",
            "Access is denied. Check credentials and try again.",
        ));
    }
    let user = lock(&call.app.directory).user_named(call.caller.tenant, key).ok_or_else(|| {
        GraphError::new(
            StatusCode::NOT_FOUND,
            "ErrorInvalidUser",
            format!("The requested user '{key}' is invalid."),
        )
    })?;
    let (app, caller) = (call.app, &call.caller);
    let now = app.clock.now();
    if !app.policies.allow(caller.tenant, caller.client_id, user.id, now) {
        return Err(GraphError::new(
            StatusCode::FORBIDDEN,
            "ErrorAccessDenied",
            "Access to OData is disabled.",
        ));
    }
    app.quota.mailbox(app.settings.limits, (caller.tenant, caller.client_id, user.id), now)?;
    if user.mailbox {
        return Ok(user);
    }
    Err(GraphError::new(
        StatusCode::NOT_FOUND,
        "MailboxNotEnabledForRESTAPI",
        "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    ))
}

pub(super) fn not_found() -> GraphError {
    GraphError::new(
        StatusCode::NOT_FOUND,
        "ErrorItemNotFound",
        "The specified object was not found in the store.",
    )
}

pub(super) fn mailbox(call: &Call<'_>, user: &User) -> MailboxKey {
    (call.caller.tenant, user.id)
}

/// `If-Match` with another version than the current one.
fn unchanged(call: &Call<'_>, event: &Event) -> Result<(), GraphError> {
    match call.request.header("if-match") {
        None | Some("*") => Ok(()),
        Some(etag) if etag == event.etag() => Ok(()),
        Some(_) => Err(GraphError::new(
            StatusCode::PRECONDITION_FAILED,
            "ErrorIrresolvableConflict",
            "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.",
        )),
    }
}

pub(super) fn applied(call: &Call<'_>, reply: Reply) -> Reply {
    match call.prefer.applied() {
        Some(applied) => reply.with_header("preference-applied", &applied),
        None => reply,
    }
}

fn get(call: &Call<'_>, user: &User, id: &str, in_calendar: bool) -> Result<Reply, GraphError> {
    call.query.only(&["$select", "$expand"])?;
    let view = View::of(call)?;
    let calendars = lock(&call.app.calendars);
    let mailbox = mailbox(call, user);
    let deleted = || calendars.deleted(mailbox, id).filter(|_| !in_calendar).map(|event| (event, None));
    let (event, slot) = calendars.locate(mailbox, id).or_else(deleted).ok_or_else(not_found)?;
    // Right after a change an item may not be found (graph-facts §3.4).
    if event.modified > call.app.clock.now() - call.app.faults.not_found_after_change() {
        return Err(not_found());
    }
    Ok(applied(call, Reply::ok(view.entity(call, user, &shown(event, slot)))))
}

/// A write shows the whole event.
fn whole(call: &Call<'_>, user: &User, event: &Event) -> Value {
    View::whole().entity(call, user, event)
}

/// The event itself, or an occurrence of it.
fn shown(event: &Event, slot: Option<Slot>) -> Cow<'_, Event> {
    slot.map_or(Cow::Borrowed(event), |slot| Cow::Owned(occurrence(event, &slot)))
}

fn create(call: &Call<'_>, user: &User, body: &Value) -> Result<Reply, GraphError> {
    let (shared, private) = write::create(body)?;
    let mailbox = mailbox(call, user);
    let now = call.app.clock.now();
    let directory = lock(&call.app.directory);
    let mut calendars = lock(&call.app.calendars);
    if let Some(transaction) = &private.transaction_id
        && calendars.all(mailbox).any(|event| event.private.transaction_id.as_ref() == Some(transaction))
    {
        return Err(GraphError::new(
            StatusCode::CONFLICT,
            "ErrorDuplicateTransactionId",
            "Your request can't be completed. The TransactionId was used by another event.",
        ));
    }
    let organizer = Person { name: user.display_name.clone(), address: user.address().to_owned() };
    let event = Event::new(now, user.id, organizer, shared, private);
    let shown = whole(call, user, &event);
    let mut changes = vec![calendars.add(mailbox, event.clone())];
    changes.extend(follow(&mut calendars, &directory, call.caller.tenant, None, &event, now));
    calendars.record(&changes);
    drop((calendars, directory));
    publish(call.app, changes);
    Ok(applied(call, Reply::created(shown)))
}

fn update(call: &Call<'_>, user: &User, id: &str, body: &Value) -> Result<Reply, GraphError> {
    let mailbox = mailbox(call, user);
    let now = call.app.clock.now();
    let directory = lock(&call.app.directory);
    let mut calendars = lock(&call.app.calendars);
    let (before, slot) = calendars.locate(mailbox, id).ok_or_else(not_found)?;
    unchanged(call, before)?;
    let before = before.clone();
    let mut after = before.clone();
    match &slot {
        // An edit of an occurrence is one of its series (graph-facts §3.4).
        Some(slot) => series::update(&mut after, slot, body)?,
        None => write::update(body, &mut after.shared, &mut after.private)?,
    }
    after.touch(now);
    *calendars.get_mut(mailbox, &before.id).ok_or_else(not_found)? = after.clone();
    let mut changes = vec![change(mailbox, &after, ChangeType::Updated)];
    changes.extend(follow(&mut calendars, &directory, call.caller.tenant, Some(&before), &after, now));
    calendars.record(&changes);
    drop((calendars, directory));
    publish(call.app, changes);
    if call.prefer.minimal {
        return Ok(applied(call, Reply::no_content()));
    }
    let slot = slot.and_then(|slot| series::on(&after, slot.date));
    Ok(applied(call, Reply::ok(whole(call, user, &shown(&after, slot)))))
}

fn delete(call: &Call<'_>, user: &User, id: &str) -> Result<Reply, GraphError> {
    let mailbox = mailbox(call, user);
    let now = call.app.clock.now();
    let directory = lock(&call.app.directory);
    let mut calendars = lock(&call.app.calendars);
    let (before, slot) = calendars.locate(mailbox, id).ok_or_else(not_found)?;
    unchanged(call, before)?;
    let mut changes: Vec<Change> = Vec::new();
    if let Some(slot) = slot {
        let before = before.clone();
        let mut after = before.clone();
        series::cancel(&mut after, slot.date);
        after.touch(now);
        *calendars.get_mut(mailbox, &before.id).ok_or_else(not_found)? = after.clone();
        changes.push(change(mailbox, &after, ChangeType::Updated));
        changes.extend(follow(&mut calendars, &directory, call.caller.tenant, Some(&before), &after, now));
    } else {
        let (event, deleted) = calendars.remove(mailbox, id).ok_or_else(not_found)?;
        changes.push(deleted);
        changes.extend(end(&mut calendars, &directory, call.caller.tenant, &event, now));
        if call.app.settings.deleted_stay_readable {
            calendars.bury(mailbox, event, now);
        }
    }
    calendars.record(&changes);
    drop((calendars, directory));
    publish(call.app, changes);
    Ok(Reply::no_content())
}
