//! What a page of `calendarView/delta` says of one event.
//!
//! Of series the documentation only says that occurrences and exceptions come. The rest is what users saw, in the threads of
//! microsoftgraph: the master comes along (ridafkih/keeper.sh#409), an occurrence has a few properties only
//! (microsoft-graph-docs-contrib#34, microsoft-graph-docs#7632), a series is never split over pages and an occurrence that was
//! deleted is not told (microsoft-graph-docs#4501).

use serde_json::{Map, Value, json};

use crate::{
    events::{
        content::{Event, PartOf},
        render,
        series::{exceptions, occurrence, within},
        window::Window,
    },
    odata::Prefer,
};

/// All that comes with an occurrence, beside its id and etag.
const OF_OCCURRENCE: &[&str] = &["seriesMasterId", "type", "start", "end"];

fn typed(mut shown: Map<String, Value>) -> Value {
    shown.insert("@odata.type".to_owned(), "#microsoft.graph.event".into());
    Value::Object(shown)
}

fn whole(event: &Event, prefer: &Prefer) -> Value {
    typed(render::event(event, None, &[], prefer))
}

pub(super) fn removed(id: &str) -> Value {
    json!({"@odata.type": "#microsoft.graph.event", "id": id, "@removed": {"reason": "deleted"}})
}

/// An event as it is now: itself, and of a series all that lies in the window. Nothing where nothing does.
pub(super) fn held(event: &Event, window: Window, prefer: &Prefer) -> Vec<Value> {
    if event.shared.recurrence.is_none() {
        return window.holds_event(event).then(|| whole(event, prefer)).into_iter().collect();
    }
    let slots = within(event, window);
    let master = (!slots.is_empty()).then(|| whole(event, prefer));
    let occurrences = slots.iter().map(|slot| {
        let one = occurrence(event, slot);
        match one.part_of {
            Some(PartOf { is_exception: true, .. }) => whole(&one, prefer),
            _ => typed(render::event(&one, Some(OF_OCCURRENCE), &[], prefer)),
        }
    });
    master.into_iter().chain(occurrences).collect()
}

/// An event that changed, as it is now. What left the window, or was never in it, reads as removed: the documentation says so of
/// every event outside, and an exception is one.
pub(super) fn changed(event: &Event, window: Window, prefer: &Prefer) -> Vec<Value> {
    let mut entries = held(event, window, prefer);
    if entries.is_empty() {
        entries.push(removed(render::id(event, prefer)));
    }
    let outside = |one: &Event| !window.holds(one.shared.start.instant(), one.shared.end.instant());
    let was_inside = |one: &Event| {
        let length = event.shared.end.instant().duration_since(event.shared.start.instant());
        let original = one.part_of.as_ref().map(|part| part.original_start);
        original.is_some_and(|start| window.holds(start, start.saturating_add(length).unwrap_or(start)))
    };
    let left = exceptions(event).into_iter().filter(|one| outside(one) && was_inside(one));
    entries.extend(left.map(|one| removed(render::id(&one, prefer))));
    entries
}
