//! Items that Exchange moves within a mailbox: their default ids change, the immutable ones stay (graph-facts §3.4, §6.2).

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::{App, lock},
    notify::publish,
};

/// Which event is moved, as the control API takes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Relocation {
    user_id: Uuid,
    /// Either of its ids.
    event_id: String,
}

/// Moves it and tells its new ids; `None` when there is no such event.
pub(crate) fn relocate(app: &Arc<App>, asked: &Relocation) -> Option<Value> {
    let mut calendars = lock(&app.calendars);
    let mailbox = calendars.mailbox_of(asked.user_id)?;
    let changes = calendars.relocate(mailbox, &asked.event_id, app.clock.now())?;
    calendars.record(&changes);
    drop(calendars);
    // It is the same event in the same calendar: nobody is told of a deletion.
    let [_, moved] = changes;
    let ids = json!({"id": moved.id, "immutableId": moved.immutable_id});
    publish(app, vec![moved]);
    Some(ids)
}
