//! The one path that every request takes: announced in the audit, gate open, sent with a limit on time and size, and its
//! outcome told to the audit.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use reqwest::{Response, header};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::{
    audit::{AuditEntry, AuditSink, CallFault, Cause, Purpose},
    budget::{Account, Away, Lane, Place},
    catalogue::{self, ErrorAnswer},
    error::{GraphError, TransportFault},
    http::{Http, Outcome},
    request::{Body, Request},
    unrequested::Unrequested,
};

/// Immutable ids, and start and end in UTC; harmless where it does not apply.
const PREFER: &str = r#"IdType="ImmutableId", outlook.timezone="UTC""#;

/// Sends requests of one tenant and app.
pub(crate) struct Sender {
    pub(crate) http: Http,
    pub(crate) audit: Arc<dyn AuditSink>,
    pub(crate) scope: String,
    pub(crate) tenant_id: String,
    pub(crate) client_id: String,
    /// Origin of Graph.
    pub(crate) graph: String,
}

/// Which try of a call this is, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) cause: &'a Cause,
    /// Counts from 1.
    pub(crate) number: u32,
}

/// A complete answer, of whatever status.
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
    pub(crate) client_request_id: Uuid,
    request_id: Option<Uuid>,
    retry_after: Option<Duration>,
}

impl RawAnswer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// As the catalogue wants it.
    pub(crate) fn error(&self) -> ErrorAnswer<'_> {
        ErrorAnswer {
            status: self.status,
            retry_after: self.retry_after,
            request_id: self.request_id,
            client_request_id: self.client_request_id,
            body: &self.body,
        }
    }
}

impl Sender {
    /// Sends a request, with a token except to the token endpoint, and reads its answer.
    pub(crate) async fn send(
        &self,
        request: &Request,
        token: Option<&SecretString>,
        attempt: Attempt<'_>,
    ) -> Result<RawAnswer, GraphError> {
        let start = Instant::now();
        let client_request_id = Uuid::new_v4();
        let result = self.announce_and_send(request, token, attempt, client_request_id).await;
        if let Ok(RawAnswer { status: 429 | 503, retry_after: Some(time), body, .. }) = &result
            && !catalogue::concerns_one_mailbox(body)
            && let Some(budgets) = &self.http.budgets
        {
            budgets.pause(&self.account(), request.purpose(), *time);
        }
        if let Some(observer) = &self.http.observer {
            let (status, outcome) = match &result {
                Ok(answer) if answer.is_success() => (Some(answer.status), Outcome::Success),
                Ok(answer) => (Some(answer.status), Outcome::Refused),
                Err(GraphError::Audit { .. }) => (None, Outcome::AuditRefused),
                Err(GraphError::Held { .. }) => (None, Outcome::Held),
                Err(_) => (None, Outcome::Failed),
            };
            observer.observe(request.purpose(), status, outcome, start.elapsed());
        }
        result
    }

    /// A place in the budget of that purpose. It is taken before the token, the audit's entry and the gate, all of which are about
    /// what is sent now.
    pub(crate) async fn place(&self, purpose: Purpose, lane: Lane) -> Result<Place, GraphError> {
        match &self.http.budgets {
            Some(budgets) => {
                let place = budgets.place(&self.account(), purpose, lane).await;
                place.map_err(|away| match away {
                    Away::Paused(left) => GraphError::Paused { purpose, left },
                    Away::Exhausted(left) => GraphError::Exhausted { purpose, left },
                })
            }
            None => Ok(Place::default()),
        }
    }

    /// Tells observer and audit of members that an answer held unasked.
    pub(crate) async fn report_unrequested(
        &self,
        purpose: Purpose,
        client_request_id: Uuid,
        cause: &Cause,
        unrequested: &Unrequested,
    ) -> Result<(), GraphError> {
        if let Some(observer) = &self.http.observer {
            for (class, count) in unrequested.by_class() {
                observer.unrequested(purpose, *class, *count);
            }
        }
        let entry = AuditEntry::UnrequestedMembers {
            time: Timestamp::now(),
            scope: self.scope.clone(),
            tenant_id: self.tenant_id.clone(),
            purpose,
            client_request_id,
            caused_by: cause.clone(),
            members: unrequested.by_class().clone(),
        };
        self.audit.record(entry).await.map_err(|cause| GraphError::Audit { purpose, cause })
    }

    fn account(&self) -> Account {
        Account {
            graph: self.graph.clone(),
            tenant_id: self.tenant_id.clone(),
            client_id: self.client_id.clone(),
        }
    }

    async fn announce_and_send(
        &self,
        request: &Request,
        token: Option<&SecretString>,
        attempt: Attempt<'_>,
        client_request_id: Uuid,
    ) -> Result<RawAnswer, GraphError> {
        let purpose = request.purpose();
        let entry = AuditEntry::Call {
            time: Timestamp::now(),
            scope: self.scope.clone(),
            tenant_id: self.tenant_id.clone(),
            client_id: self.client_id.clone(),
            purpose,
            method: request.method().to_string(),
            url: request.url().to_string(),
            caused_by: attempt.cause.clone(),
            client_request_id,
            attempt: attempt.number,
        };
        self.audit.record(entry).await.map_err(|cause| GraphError::Audit { purpose, cause })?;
        let mut told = Told::new(self, purpose, client_request_id, attempt.number);
        if let Some(gate) = &self.http.gate
            && let Err(why) = gate.check()
        {
            told.end(Some(CallFault::Held));
            return Err(GraphError::Held { purpose, why });
        }
        let result = self.exchange(request, token, client_request_id, &mut told.seen).await;
        let shut = || self.http.gate.as_ref()?.check().err();
        match result {
            Ok(body) => {
                told.end(None);
                let Seen { status, request_id, retry_after } = told.seen;
                Ok(RawAnswer {
                    status: status.unwrap_or_default(),
                    body,
                    client_request_id,
                    request_id,
                    retry_after,
                })
            }
            // The gate was shut while a connection was made.
            Err(TransportFault::Connect) if let Some(why) = shut() => {
                told.end(Some(CallFault::Held));
                Err(GraphError::Held { purpose, why })
            }
            Err(fault) => {
                told.end(Some(fault.into()));
                Err(GraphError::Transport { purpose, fault, client_request_id })
            }
        }
    }

    async fn exchange(
        &self,
        request: &Request,
        token: Option<&SecretString>,
        client_request_id: Uuid,
        seen: &mut Seen,
    ) -> Result<Bytes, TransportFault> {
        let mut outgoing = self
            .http
            .client
            .request(request.method().clone(), request.url().clone())
            .timeout(self.http.request_timeout)
            .header(header::ACCEPT, "application/json")
            .header("client-request-id", client_request_id.to_string());
        outgoing = match request.body() {
            Body::None => outgoing,
            Body::Json(json) => outgoing.header(header::CONTENT_TYPE, "application/json").body(json.clone()),
            Body::Form(form) => {
                outgoing.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form.clone())
            }
        };
        if let Some(token) = token {
            outgoing = outgoing.bearer_auth(token.expose_secret()).header("Prefer", PREFER);
        }
        if request.minimal() {
            outgoing = outgoing.header("Prefer", "return=minimal");
        }
        if request.eventual() {
            outgoing = outgoing.header("ConsistencyLevel", "eventual");
        }
        let response = outgoing.send().await.map_err(|e| fault(&e))?;
        let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        seen.status = Some(response.status().as_u16());
        seen.request_id = text("request-id").and_then(|id| Uuid::try_parse(id).ok());
        seen.retry_after =
            text("retry-after").and_then(|value| catalogue::retry_after(value, SystemTime::now()));
        if response.status().is_redirection() {
            return Err(TransportFault::Redirect);
        }
        read(response, request.limit()).await
    }
}

/// The head of an answer, as far as it is known.
#[derive(Clone, Copy, Default)]
struct Seen {
    status: Option<u16>,
    request_id: Option<Uuid>,
    retry_after: Option<Duration>,
}

/// A call that was announced. Its outcome is told once, also when nobody waits for its answer any more.
///
/// The answer is used whether or not the outcome can be written: the call has been made, and to throw its answer away would
/// only cause another. Nor is the disk waited for. Both are safe because the outcome stands before everything that the log
/// takes later: until it is written, no further call of the scope is made.
struct Told<'a> {
    sender: &'a Sender,
    purpose: Purpose,
    client_request_id: Uuid,
    attempt: u32,
    began: Instant,
    seen: Seen,
    ended: bool,
}

impl<'a> Told<'a> {
    fn new(sender: &'a Sender, purpose: Purpose, client_request_id: Uuid, attempt: u32) -> Self {
        let (began, seen) = (Instant::now(), Seen::default());
        Self { sender, purpose, client_request_id, attempt, began, seen, ended: false }
    }

    fn end(&mut self, fault: Option<CallFault>) {
        self.ended = true;
        let whole_seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        self.sender.audit.follow_up(AuditEntry::Outcome {
            time: Timestamp::now(),
            scope: self.sender.scope.clone(),
            purpose: self.purpose,
            client_request_id: self.client_request_id,
            attempt: self.attempt,
            status: self.seen.status,
            request_id: self.seen.request_id,
            duration_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            retry_after_seconds: self.seen.retry_after.map(whole_seconds),
            fault,
        });
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(Some(CallFault::Abandoned));
        }
    }
}

async fn read(mut response: Response, limit: usize) -> Result<Bytes, TransportFault> {
    let announced = response.content_length().unwrap_or(0);
    if announced > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(TransportFault::TooLarge { limit });
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| fault(&e))? {
        if body.len() + chunk.len() > limit {
            return Err(TransportFault::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// The library's own text may quote the URL, which can name a person.
fn fault(error: &reqwest::Error) -> TransportFault {
    if error.is_timeout() {
        TransportFault::Timeout
    } else if error.is_connect() {
        TransportFault::Connect
    } else {
        TransportFault::Broken
    }
}
