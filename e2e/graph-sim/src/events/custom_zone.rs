//! Events in zones that have no name, as old clients made them: none can be made by Graph's own calls.

use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;

use super::{
    attendee_copies::follow,
    store::change,
    zone::{Moment, Zone},
};
use crate::{
    app::{App, lock},
    notify::publish,
    subscriptions::ChangeType,
};

/// Which event gets which zone, as the control API takes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CustomZone {
    user_id: Uuid,
    /// Either id of an event or a series.
    event_id: String,
    /// Such as `<+01>-1` or `CET-1CEST,M3.5.0,M10.5.0/3`.
    posix: String,
}

/// Puts the event into the zone, with the times that it has by the clock on the wall. `None` when there is no such event.
pub(crate) fn set_custom_zone(app: &Arc<App>, asked: &CustomZone) -> Result<Option<()>, String> {
    let zone = Zone::custom(&asked.posix)
        .ok_or_else(|| format!("posix: '{}' is no rule of a time zone in POSIX's form", asked.posix))?;
    let now = app.clock.now();
    let directory = lock(&app.directory);
    let mut calendars = lock(&app.calendars);
    let Some(mailbox) = calendars.mailbox_of(asked.user_id) else { return Ok(None) };
    let Some(event) = calendars.get_mut(mailbox, &asked.event_id) else { return Ok(None) };
    let before = event.clone();
    let shared = &mut event.shared;
    let by_the_wall = |moment: &Moment| match &before.shared.recurrence {
        Some(rule) if !before.shared.is_all_day => rule.zone.local(moment.instant()),
        _ => moment.local,
    };
    for moment in [&mut shared.start, &mut shared.end] {
        *moment = Moment { local: by_the_wall(moment), zone: zone.clone() };
    }
    if let Some(rule) = &mut shared.recurrence {
        rule.zone = zone;
    }
    shared.changes = Arc::default();
    event.private.changes = Arc::default();
    event.touch(now);
    let after = event.clone();
    let mut changes = vec![change(mailbox, &after, ChangeType::Updated)];
    changes.extend(follow(&mut calendars, &directory, mailbox.0, Some(&before), &after, now));
    calendars.record(&changes);
    drop((calendars, directory));
    publish(app, changes);
    Ok(Some(()))
}
