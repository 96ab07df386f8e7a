//! `calendarView/delta`: what changed in a window since the last round (graph-facts §7).

use std::sync::Mutex;

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{content::Event, handlers, render, store::MailboxKey, window::Window};
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

/// A change of what tokens are good for, as the control API takes it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeltaChange {
    /// All tokens are answered with 410 and a `Location` to begin again at.
    #[serde(default)]
    reset: bool,
    /// All tokens have expired.
    #[serde(default)]
    expire: bool,
}

/// Which tokens are still good.
#[derive(Debug, Default)]
pub(crate) struct DeltaTokens(Mutex<(u64, u64)>);

impl DeltaTokens {
    pub(crate) fn change(&self, change: DeltaChange) -> Result<(), String> {
        if change.reset == change.expire {
            return Err("give one of reset and expire as true".to_owned());
        }
        let mut generations = lock(&self.0);
        if change.reset {
            generations.0 += 1;
        } else {
            generations.1 += 1;
        }
        Ok(())
    }

    fn current(&self) -> (u64, u64) {
        *lock(&self.0)
    }
}

/// Where a round goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    /// A first round: after that event by its number; changes from `since` on come in the next round.
    Snapshot { after: Option<u64>, since: u64 },
    /// A later round: changes from that one on.
    Changes { since: u64 },
}

/// What a token holds. Clients follow whole URLs: the window is baked in.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    mailbox: MailboxKey,
    app: Uuid,
    generations: (u64, u64),
    start: Timestamp,
    end: Timestamp,
    place: Place,
}

impl Token {
    fn write(&self) -> Option<String> {
        let text = serde_json::to_vec(self).ok()?;
        let digest = Sha256::digest(&text);
        let bytes: Vec<u8> = digest.iter().take(8).copied().chain(text).collect();
        Some(BASE64URL_NOPAD.encode(&bytes))
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (digest, text) = bytes.split_at_checked(8)?;
        if !Sha256::digest(text).starts_with(digest) {
            return None;
        }
        serde_json::from_slice(text).ok()
    }
}

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
        window.without_series(calendars.all(mailbox))?;
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
    window.without_series(calendars.all(mailbox))?;
    let size = call.prefer.page_size.unwrap_or(DEFAULT_PAGE);
    let whole = |event: &Event| Value::Object(render::event(event, None, &[], &call.prefer));
    let next = |place: Place| Token { generations, place, ..token };
    match token.place {
        Place::Snapshot { after, since } => {
            let mut entries =
                calendars.numbered_after(mailbox, after).filter(|(_, event)| window.holds_event(event));
            let page: Vec<(u64, &Event)> = entries.by_ref().take(size).collect();
            let values = page.iter().map(|(_, event)| whole(event)).collect();
            match page.last().filter(|_| entries.next().is_some()) {
                Some((last, _)) => {
                    let token = next(Place::Snapshot { after: Some(*last), since });
                    answer(call, values, "nextLink", "$skiptoken", &token)
                }
                None => answer(call, values, "deltaLink", "$deltatoken", &next(Place::Changes { since })),
            }
        }
        Place::Changes { since } => {
            let changes = calendars.history(mailbox, since).ok_or_else(|| expired(generations.1))?;
            // An event that changed twice comes twice, each time as it is now. What left the window, or was never in it,
            // reads as removed.
            let values: Vec<Value> = changes
                .iter()
                .take(size)
                .map(|(id, immutable_id)| if call.prefer.immutable_ids { immutable_id } else { id })
                .map(|id| match calendars.get(mailbox, id) {
                    Some(event) if window.holds_event(event) => whole(event),
                    _ => json!({"@removed": {"reason": "deleted"}, "id": id}),
                })
                .collect();
            let token = next(Place::Changes { since: since.saturating_add(values.len() as u64) });
            if values.len() < changes.len() {
                answer(call, values, "nextLink", "$skiptoken", &token)
            } else {
                answer(call, values, "deltaLink", "$deltatoken", &token)
            }
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
