//! What of events is shown, and lists of them.

use serde_json::{Map, Value, json};

use super::{
    content::Event,
    filter::Filter,
    handlers::{applied, mailbox, read},
    render::{self, PROPERTIES},
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
pub(super) struct View {
    pub(super) selected: Option<Vec<&'static str>>,
    pub(super) expanded: Vec<PropertyId>,
}

impl View {
    pub(super) fn of(call: &Call<'_>) -> Result<Self, GraphError> {
        Ok(Self {
            selected: select(&call.query, "event", PROPERTIES, &[EVENT_LINKS])?,
            expanded: expand(&call.query)?,
        })
    }

    fn render(&self, call: &Call<'_>, event: &Event) -> Map<String, Value> {
        render::event(event, self.selected.as_deref(), &self.expanded, &call.prefer)
    }

    fn context(&self, call: &Call<'_>, user: &User, name: &str, suffix: &str) -> String {
        let mut columns = self.selected.clone().unwrap_or_default();
        if !self.expanded.is_empty() {
            columns.push("singleValueExtendedProperties()");
        }
        let columns = if columns.is_empty() { String::new() } else { format!("({})", columns.join(",")) };
        call.context(&format!("users('{}')/{name}{columns}{suffix}", user.id))
    }

    pub(super) fn entity(&self, call: &Call<'_>, user: &User, event: &Event) -> Value {
        let mut body = self.render(call, event);
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
    let view = View::of(call)?;
    let filter = call.query.get("$filter").map(Filter::parse).transpose()?;
    let part = part(call)?;
    let calendars = lock(&call.app.calendars);
    let matching: Vec<&Event> = calendars
        .all(mailbox(call, user))
        .filter(|event| filter.as_ref().is_none_or(|filter| filter.admits(event)))
        .collect();
    let context = view.context(call, user, "events", "");
    Ok(page(call, &view, &matching, &context, &part))
}

/// The events of a window, in the order of their start.
fn view(call: &Call<'_>, user: &User) -> Result<Reply, GraphError> {
    call.query.only_or(&[OPTIONS, &["startDateTime", "endDateTime"]].concat(), GRAPHS)?;
    let window = Window::read(&call.query)?;
    let view = View::of(call)?;
    let filter = call.query.get("$filter").map(Filter::parse).transpose()?;
    let part = part(call)?;
    let calendars = lock(&call.app.calendars);
    let all = || calendars.all(mailbox(call, user));
    window.without_series(all())?;
    let admitted = |event: &&Event| filter.as_ref().is_none_or(|filter| filter.admits(event));
    let mut matching: Vec<&Event> = all().filter(|event| window.holds(event)).filter(admitted).collect();
    matching.sort_by_key(|event| event.shared.start.instant());
    let context = view.context(call, user, "calendarView", "");
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
fn page(call: &Call<'_>, view: &View, matching: &[&Event], context: &str, part: &Part) -> Reply {
    let shown = matching.iter().skip(part.skip).take(part.place.size(part.top));
    let page: Vec<Value> = shown.map(|event| Value::Object(view.render(call, event))).collect();
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
