//! What of events is shown, and lists of them.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    content::Event,
    filter::Filter,
    handlers::{applied, mailbox, not_found, read, well_formed},
    render::{self, PROPERTIES},
    series::{Entry, exceptions, within},
    window::Window,
};
use crate::{
    app::lock,
    errors::GraphError,
    graph::{Call, Reply},
    metadata::EVENT_LINKS,
    odata::{PageToken, PropertyId, expand, number, select},
    world::User,
};

/// Events on a page without `$top`.
const DEFAULT_PAGE: usize = 10;
/// Largest page of Outlook.
const LARGEST_PAGE: usize = 1_000;
/// Furthest that can be skipped.
const LARGEST_SKIP: usize = 1_000_000;

/// Options of a list.
const OPTIONS: &[&str] = &["$select", "$expand", "$filter", "$top", "$skip", "$count", "$skiptoken"];
/// Options of a list that are not simulated.
const GRAPHS: &[&str] = &["$orderby", "$search"];

/// What of an event is shown.
#[derive(Default)]
pub(super) struct View {
    pub(super) selected: Option<Vec<&'static str>>,
    pub(super) expanded: Vec<PropertyId>,
    /// What of the exceptions of a series is shown along with it.
    exceptions: Option<Box<View>>,
}

impl View {
    pub(super) fn of(call: &Call<'_>) -> Result<Self, GraphError> {
        let expanded = expand(&call.query, PROPERTIES)?;
        let exceptions = expanded.exceptions.map(|inner| {
            Box::new(Self { selected: inner.selected, expanded: inner.properties, exceptions: None })
        });
        let selected = select(&call.query, "event", PROPERTIES, &[EVENT_LINKS])?;
        Ok(Self { selected, expanded: expanded.properties, exceptions })
    }

    /// Of a list: exceptions come with a single series only.
    fn of_list(call: &Call<'_>) -> Result<Self, GraphError> {
        let view = Self::of(call)?;
        if view.exceptions.is_some() {
            return Err(GraphError::not_simulated("$expand=exceptionOccurrences on lists"));
        }
        Ok(view)
    }

    /// Everything that is shown without being asked for.
    pub(super) fn whole() -> Self {
        Self::default()
    }

    fn render(&self, call: &Call<'_>, event: &Event) -> Map<String, Value> {
        render::event(event, self.selected.as_deref(), &self.expanded, &call.prefer)
    }

    /// What of the type is there, in brackets; nothing when all of it is.
    fn columns(&self) -> String {
        let mut columns: Vec<String> = self.selected.iter().flatten().map(|&name| name.to_owned()).collect();
        if !self.expanded.is_empty() {
            columns.push("singleValueExtendedProperties()".to_owned());
        }
        if let Some(exceptions) = &self.exceptions {
            let inner = exceptions.columns();
            let inner = if inner.is_empty() { "()".to_owned() } else { inner };
            columns.push(format!("exceptionOccurrences{inner}"));
        }
        if columns.is_empty() { String::new() } else { format!("({})", columns.join(",")) }
    }

    fn context(&self, call: &Call<'_>, user: &User, name: &str, suffix: &str) -> String {
        call.context(&format!("users('{}')/{name}{}{suffix}", user.id, self.columns()))
    }

    pub(super) fn entity(&self, call: &Call<'_>, user: &User, event: &Event) -> Value {
        let mut body = self.render(call, event);
        if let Some(inner) = &self.exceptions {
            let all = exceptions(event);
            let all = all.iter().map(|exception| Value::Object(inner.render(call, exception))).collect();
            body.insert("exceptionOccurrences".to_owned(), Value::Array(all));
        }
        body.insert("@odata.context".to_owned(), self.context(call, user, "events", "/$entity").into());
        Value::Object(body)
    }
}

/// `GET …/events`.
pub(super) async fn list(call: &Call<'_>, user: &str) -> Result<Reply, GraphError> {
    read(call, user, |user| all(call, user)).await
}

/// `GET …/calendarView`.
pub(crate) async fn calendar_view(call: &Call<'_>, user: &str) -> Result<Reply, GraphError> {
    read(call, user, |user| view(call, user)).await
}

fn all(call: &Call<'_>, user: &User) -> Result<Reply, GraphError> {
    call.query.only_or(OPTIONS, GRAPHS)?;
    let view = View::of_list(call)?;
    let filter = call.query.get("$filter").map(Filter::parse).transpose()?;
    let part = part(call)?;
    let calendars = lock(&call.app.calendars);
    let matching: Vec<Entry<'_>> = calendars
        .all(mailbox(call, user))
        .filter(|event| filter.as_ref().is_none_or(|filter| filter.admits(event)))
        .map(Entry::Whole)
        .collect();
    let context = view.context(call, user, "events", "");
    Ok(page(call, &view, &matching, &context, &part))
}

/// The events of a window, in the order of their start.
fn view(call: &Call<'_>, user: &User) -> Result<Reply, GraphError> {
    call.query.only_or(&[OPTIONS, &["startDateTime", "endDateTime"]].concat(), GRAPHS)?;
    let window = Window::read(&call.query)?;
    let view = View::of_list(call)?;
    let filter = call.query.get("$filter").map(Filter::parse).transpose()?;
    let part = part(call)?;
    let calendars = lock(&call.app.calendars);
    let mut matching: Vec<Entry<'_>> = Vec::new();
    for event in calendars.all(mailbox(call, user)) {
        if window.holds_event(event) {
            matching.push(Entry::Whole(event));
        }
        matching.extend(within(event, window).into_iter().map(|slot| Entry::Occurrence(event, slot)));
    }
    if let Some(filter) = &filter {
        matching.retain(|entry| filter.admits(&entry.event()));
    }
    matching.sort_by_key(Entry::start);
    let context = view.context(call, user, "calendarView", "");
    Ok(page(call, &view, &matching, &context, &part))
}

/// `GET …/events/{id}/instances`.
pub(crate) async fn instances(call: &Call<'_>, user: &str, id: &str) -> Result<Reply, GraphError> {
    read(call, user, |user| occurrences(call, user, id)).await
}

/// The occurrences of a series that lie in a window, in the order of their start.
fn occurrences(call: &Call<'_>, user: &User, id: &str) -> Result<Reply, GraphError> {
    well_formed(id)?;
    let known =
        ["$select", "$expand", "$top", "$skip", "$count", "$skiptoken", "startDateTime", "endDateTime"];
    call.query.only_or(&known, &[GRAPHS, &["$filter"]].concat())?;
    let window = Window::read(&call.query)?;
    let view = View::of_list(call)?;
    let part = part(call)?;
    let calendars = lock(&call.app.calendars);
    let (master, slot) = calendars.locate(mailbox(call, user), id).ok_or_else(not_found)?;
    if slot.is_some() || master.shared.recurrence.is_none() {
        return Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "ErrorInvalidRequest",
            "Your request can't be completed. Instances can only be listed for a recurring series master.",
        ));
    }
    let matching: Vec<Entry<'_>> =
        within(master, window).into_iter().map(|slot| Entry::Occurrence(master, slot)).collect();
    let key: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let context = view.context(call, user, &format!("events('{key}')/instances"), "");
    Ok(page(call, &view, &matching, &context, &part))
}

/// Which part of a list is asked for.
struct Part {
    place: PageToken,
    top: usize,
    skip: usize,
    count: bool,
}

fn part(call: &Call<'_>) -> Result<Part, GraphError> {
    let top = number(call, "$top", LARGEST_PAGE, 1)?.or(call.prefer.page_size).unwrap_or(DEFAULT_PAGE);
    let skip = number(call, "$skip", LARGEST_SKIP, 0)?.unwrap_or(0);
    let place = PageToken::read(call)?;
    // The server's own links hold both.
    if place.after().is_some_and(|after| after != skip as u128) {
        return Err(GraphError::bad_request("The $skiptoken is not valid for this request."));
    }
    Ok(Part { place, top, skip, count: call.query.flag("$count")? })
}

/// One page of a list.
fn page(call: &Call<'_>, view: &View, matching: &[Entry<'_>], context: &str, part: &Part) -> Reply {
    let shown = matching.iter().skip(part.skip).take(part.place.size(part.top));
    let page: Vec<Value> = shown.map(|entry| Value::Object(view.render(call, &entry.event()))).collect();
    let reached = part.skip.saturating_add(page.len());
    let mut body = json!({"@odata.context": context, "value": page});
    if let Some(body) = body.as_object_mut() {
        if part.count {
            body.insert("@odata.count".to_owned(), matching.len().into());
        }
        let link = (reached < matching.len()).then(|| part.place.link_by_skip(call, reached)).flatten();
        if let Some(link) = link {
            body.insert("@odata.nextLink".to_owned(), link.into());
        }
    }
    applied(call, Reply::ok(body))
}
