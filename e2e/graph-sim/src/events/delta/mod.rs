//! `calendarView/delta`: what changed in a window since the last round (graph-facts §7).

mod entries;
mod tokens;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

pub(crate) use self::tokens::{DeltaChange, DeltaTokens};
use self::{
    entries::{changed, held, removed},
    tokens::{Place, Token},
};
use super::{handlers, store::MailboxKey, window::Window};
use crate::{
    app::lock,
    errors::GraphError,
    graph::{Call, Reply},
};

/// Entries of a page without `odata.maxpagesize`.
const DEFAULT_PAGE: usize = 10;
/// Options that cannot go with tracked changes.
const UNSUPPORTED: &[&str] =
    &["$select", "$expand", "$filter", "$orderby", "$search", "$top", "$skip", "$count"];

/// One page of a round.
fn page(call: &Call<'_>, mailbox: MailboxKey) -> Result<Reply, GraphError> {
    if UNSUPPORTED.iter().any(|option| call.query.get(option).is_some()) {
        return Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "ErrorInvalidUrlQuery",
            "The following parameters are not supported with change tracking over the 'CalendarView' resource: '$orderby, $filter, $select, $expand, $search, $top'.",
        ));
    }
    let generations = call.app.delta.current();
    let calendars = lock(&call.app.calendars);
    let Some(token) = token(call, mailbox)? else {
        let window = Window::read(&call.query)?;
        // The first answer may be empty and have more to follow, as Exchange often does it.
        let place = Place::Snapshot { after: None, since: calendars.history_end(mailbox) };
        let token = Token {
            mailbox,
            app: call.caller.client_id,
            generations,
            start: window.start,
            end: window.end,
            place,
        };
        return answer(call, Vec::new(), "nextLink", "$skiptoken", &token);
    };
    let window = Window { start: token.start, end: token.end };
    if token.generations.0 != generations.0 {
        return Err(begin_again(call, window));
    }
    if token.generations.1 != generations.1 {
        return Err(expired(generations.1));
    }
    let size = call.prefer.page_size.unwrap_or(DEFAULT_PAGE);
    let next = |place: Place| Token { generations, place, ..token };
    let mut values: Vec<Value> = Vec::new();
    match token.place {
        Place::Snapshot { after, since } => {
            let mut last = after;
            for (number, event) in calendars.numbered_after(mailbox, after) {
                let held = held(event, window, &call.prefer);
                if !held.is_empty() && values.len() >= size {
                    let token = next(Place::Snapshot { after: last, since });
                    return answer(call, values, "nextLink", "$skiptoken", &token);
                }
                values.extend(held);
                last = Some(number);
            }
            answer(call, values, "deltaLink", "$deltatoken", &next(Place::Changes { since }))
        }
        Place::Changes { since } => {
            let changes = calendars.history(mailbox, since).ok_or_else(|| expired(generations.1))?;
            // An event that changed twice comes twice, each time as it is now.
            let mut reached = since;
            for (id, immutable_id) in changes {
                if values.len() >= size {
                    let token = next(Place::Changes { since: reached });
                    return answer(call, values, "nextLink", "$skiptoken", &token);
                }
                let id = if call.prefer.immutable_ids { immutable_id } else { id };
                match calendars.get(mailbox, id) {
                    Some(event) => values.extend(changed(event, window, &call.prefer)),
                    None => values.push(removed(id)),
                }
                reached += 1;
            }
            answer(call, values, "deltaLink", "$deltatoken", &next(Place::Changes { since: reached }))
        }
    }
}

/// The token of a later request; `None` when a round begins.
fn token(call: &Call<'_>, mailbox: MailboxKey) -> Result<Option<Token>, GraphError> {
    let given = [call.query.get("$skiptoken"), call.query.get("$deltatoken")];
    // An empty token begins again: that is what `Location` of a reset leads to.
    let text = match given {
        [None, None | Some("")] => {
            call.query.only(&["startDateTime", "endDateTime", "$deltatoken"])?;
            return Ok(None);
        }
        [Some(text), None] | [None, Some(text)] => text,
        [Some(_), Some(_)] => return Err(invalid()),
    };
    call.query.only(&["$skiptoken", "$deltatoken"])?;
    let token = Token::read(text).ok_or_else(invalid)?;
    if token.mailbox != mailbox || token.app != call.caller.client_id {
        return Err(invalid());
    }
    Ok(Some(token))
}

fn answer(
    call: &Call<'_>,
    values: Vec<Value>,
    link: &str,
    option: &str,
    token: &Token,
) -> Result<Reply, GraphError> {
    let token = token.write().ok_or_else(invalid)?;
    let url = format!("{}{}?{option}={token}", call.request.origin, call.request.raw_path);
    let mut body = json!({"@odata.context": call.context("Collection(event)")});
    if let Some(body) = body.as_object_mut() {
        body.insert(format!("@odata.{link}"), url.into());
        body.insert("value".to_owned(), Value::Array(values));
    }
    let applied = call.prefer.applied().map_or_else(String::new, |applied| format!(", {applied}"));
    Ok(Reply::ok(body).with_header("preference-applied", &format!("odata.track-changes{applied}")))
}

fn invalid() -> GraphError {
    GraphError::new(StatusCode::BAD_REQUEST, "ErrorInvalidUrlQuery", "The sync token is not valid.")
}

/// 410 with the URL of a new round.
fn begin_again(call: &Call<'_>, window: Window) -> GraphError {
    let location = format!(
        "{}{}?startDateTime={}&endDateTime={}&$deltatoken=",
        call.request.origin, call.request.raw_path, window.start, window.end
    );
    let error = GraphError::new(
        StatusCode::GONE,
        "resyncRequired",
        "Resync required. Replace any local items with the server's version.",
    );
    match HeaderValue::from_str(&location) {
        Ok(location) => error.with_header(header::LOCATION, location),
        Err(_) => error,
    }
}

fn expired(generation: u64) -> GraphError {
    GraphError::new(
        StatusCode::GONE,
        "syncStateNotFound",
        format!("The sync state generation is not found; generation={generation}."),
    )
}

/// `GET …/calendarView/delta`.
pub(crate) async fn calendar_view_delta(call: &Call<'_>, user: &str) -> Result<Reply, GraphError> {
    handlers::read(call, user, |user| page(call, (call.caller.tenant, user.id))).await
}
