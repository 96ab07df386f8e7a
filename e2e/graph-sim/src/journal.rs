//! What was asked: every request, and counts of them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
};

use http::Method;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    app::lock,
    request_log::{Line, RequestLog},
};

/// Requests that are kept; older ones are dropped.
const KEPT: usize = 200_000;

/// Characters of a path that are kept.
const LONGEST_PATH: usize = 8_192;
/// Characters of a method or header that are kept.
const LONGEST_HEADER: usize = 256;

/// One request. Tokens and bodies are never kept.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Logged {
    time: Timestamp,
    method: String,
    /// Path and query, exactly as sent.
    path: String,
    template: Option<&'static str>,
    /// Absent while the answer is being made.
    status: Option<u16>,
    tenant_id: Option<Uuid>,
    client_id: Option<Uuid>,
    client_request_id: Option<String>,
    user_agent: Option<String>,
}

/// Which request of the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(u64);

/// A request as it arrives.
pub(crate) struct Arrival<'a> {
    pub(crate) time: Timestamp,
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    pub(crate) client_request_id: Option<&'a str>,
    pub(crate) user_agent: Option<&'a str>,
}

#[derive(Debug, Default)]
struct Inner {
    dropped: u64,
    log: VecDeque<Logged>,
    requests: BTreeMap<String, u64>,
    without_select: BTreeMap<&'static str, u64>,
    forbidden: BTreeMap<&'static str, u64>,
    has_attachments: u64,
}

impl Inner {
    fn at(&mut self, ticket: Ticket) -> Option<&mut Logged> {
        let index = usize::try_from(ticket.0.checked_sub(self.dropped)?).ok()?;
        self.log.get_mut(index)
    }
}

/// A method as it is counted: anybody can make up any other.
fn counted(method: &Method) -> &str {
    let known = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ];
    if known.contains(method) { method.as_str() } else { "other" }
}

/// The beginning of what a stranger may have made long.
fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[derive(Debug, Default)]
pub(crate) struct Journal {
    inner: Mutex<Inner>,
    /// What stays when the simulator is gone.
    file: Option<RequestLog>,
}

impl Journal {
    pub(crate) fn new(file: Option<RequestLog>) -> Self {
        Self { inner: Mutex::default(), file }
    }

    pub(crate) fn arrived(&self, arrival: &Arrival<'_>) -> Ticket {
        if let Some(file) = &self.file {
            let Arrival { method, path, user_agent, .. } = *arrival;
            file.write(&Line::Request { method: method.as_str(), path, user_agent });
        }
        let mut inner = lock(&self.inner);
        if inner.log.len() >= KEPT && inner.log.pop_front().is_some() {
            inner.dropped += 1;
        }
        let ticket = Ticket(inner.dropped + inner.log.len() as u64);
        inner.log.push_back(Logged {
            time: arrival.time,
            method: short(arrival.method.as_str(), LONGEST_HEADER),
            path: short(arrival.path, LONGEST_PATH),
            template: None,
            status: None,
            tenant_id: None,
            client_id: None,
            client_request_id: arrival.client_request_id.map(|id| short(id, LONGEST_HEADER)),
            user_agent: arrival.user_agent.map(|agent| short(agent, LONGEST_HEADER)),
        });
        ticket
    }

    pub(crate) fn routed(&self, ticket: Ticket, method: &Method, template: &'static str) {
        let mut inner = lock(&self.inner);
        *inner.requests.entry(format!("{} {template}", counted(method))).or_default() += 1;
        if let Some(logged) = inner.at(ticket) {
            logged.template = Some(template);
        }
    }

    pub(crate) fn by(&self, ticket: Ticket, tenant: Uuid, client_id: Uuid) {
        if let Some(logged) = lock(&self.inner).at(ticket) {
            (logged.tenant_id, logged.client_id) = (Some(tenant), Some(client_id));
        }
    }

    pub(crate) fn answered(&self, ticket: Ticket, status: u16) {
        if let Some(logged) = lock(&self.inner).at(ticket) {
            logged.status = Some(status);
        }
    }

    /// A read without `$select` where one is possible.
    pub(crate) fn without_select(&self, ticket: Ticket, template: &'static str) {
        let mut inner = lock(&self.inner);
        *inner.without_select.entry(template).or_default() += 1;
        if let Some(file) = &self.file {
            let user_agent = inner.at(ticket).and_then(|logged| logged.user_agent.as_deref());
            file.write(&Line::WithoutSelect { template, user_agent });
        }
    }

    /// A body or an attachment was asked for.
    pub(crate) fn forbidden(&self, ticket: Ticket, field: &'static str) {
        let mut inner = lock(&self.inner);
        *inner.forbidden.entry(field).or_default() += 1;
        if let Some(file) = &self.file {
            let user_agent = inner.at(ticket).and_then(|logged| logged.user_agent.as_deref());
            file.write(&Line::Forbidden { field, user_agent });
        }
    }

    pub(crate) fn has_attachments(&self) {
        lock(&self.inner).has_attachments += 1;
    }

    pub(crate) fn counters(&self) -> Value {
        let inner = lock(&self.inner);
        json!({
            "requests": inner.requests,
            "withoutSelect": inner.without_select.values().sum::<u64>(),
            "withoutSelectByTemplate": inner.without_select,
            "forbiddenFields": inner.forbidden.values().sum::<u64>(),
            "forbiddenFieldsByName": inner.forbidden,
            "hasAttachmentsSelected": inner.has_attachments,
        })
    }

    pub(crate) fn requests(&self) -> Vec<impl Serialize + use<>> {
        lock(&self.inner).log.iter().cloned().collect()
    }
}
