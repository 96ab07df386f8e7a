//! What the audit is told of a call after it was made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use roomkeeper_graph::{
    Cause, GraphError, Purpose,
    audit::{AuditEntry, AuditError, CallFault, MemoryAudit},
    http::SendGate,
};
use uuid::Uuid;

use crate::support::{Server, json, silence};

const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
const REQUEST_ID: &str = "3f3a8f5e-7c8e-4f60-9a2b-1d2c3b4a5f60";

fn cause() -> Cause {
    Cause::new("CalendarSubscription/rooms/user1")
}

#[derive(Debug, PartialEq)]
struct Told {
    status: Option<u16>,
    request_id: Option<String>,
    retry_after: Option<u64>,
    fault: Option<CallFault>,
}

fn told(status: Option<u16>, fault: Option<CallFault>) -> Told {
    Told { status, request_id: None, retry_after: None, fault }
}

/// The outcomes of user look-ups, each proved to follow its own announcement.
fn outcomes(audit: &MemoryAudit) -> Vec<Told> {
    let mut announced: Vec<(Uuid, u32)> = Vec::new();
    let mut told = Vec::new();
    for entry in audit.entries() {
        match entry {
            AuditEntry::Call { purpose: Purpose::UserLookup, client_request_id, attempt, .. } => {
                announced.push((client_request_id, attempt));
            }
            AuditEntry::Outcome {
                scope,
                purpose: Purpose::UserLookup,
                client_request_id,
                attempt,
                status,
                request_id,
                retry_after_seconds,
                fault,
                ..
            } => {
                assert_eq!(announced.last(), Some(&(client_request_id, attempt)));
                assert_eq!(scope, "rooms/contoso");
                let request_id = request_id.map(|id| id.to_string());
                told.push(Told { status, request_id, retry_after: retry_after_seconds, fault });
            }
            _ => {}
        }
    }
    assert_eq!(told.len(), announced.len());
    told
}

/// Open for the token and its announcement, and shut when the look-up is to be sent.
#[derive(Default)]
struct Once(AtomicUsize);

impl SendGate for Once {
    fn check(&self) -> Result<(), &'static str> {
        if self.0.fetch_add(1, Ordering::SeqCst) == 0 { Ok(()) } else { Err("the lease has run out") }
    }
}

/// The disk fails between the announcement and the answer.
struct Fails(Arc<MemoryAudit>, AtomicUsize);

impl SendGate for Fails {
    fn check(&self) -> Result<(), &'static str> {
        if self.1.fetch_add(1, Ordering::SeqCst) == 1 {
            self.0.refuse(Some(AuditError::Write { cause: "disk full".into() }));
        }
        Ok(())
    }
}

#[tokio::test]
async fn answers_are_told_with_status_ids_and_waits_and_without_their_data() {
    let server = Server::start().await;
    let audit = Arc::new(MemoryAudit::new());
    let client = server.client(server.http(), audit.clone());
    let found = json(200, format!(r#"{{"id":"{USER}","userPrincipalName":"canary@contoso.example"}}"#));
    server.will_answer([
        found.header("request-id", REQUEST_ID).header("x-secret", "canary"),
        json(429, r#"{"error":{"code":"canary","message":"canary"}}"#).header("retry-after", "7"),
        json(302, "canary").header("location", "https://canary.example/"),
        json(200, " ".repeat(9 * 1_024 * 1_024)),
    ]);
    client.user(&cause(), USER).await.unwrap();
    for _ in 0..3 {
        client.user(&cause(), USER).await.unwrap_err();
    }
    assert_eq!(
        outcomes(&audit),
        [
            Told { request_id: Some(REQUEST_ID.into()), ..told(Some(200), None) },
            Told { retry_after: Some(7), ..told(Some(429), None) },
            told(Some(302), Some(CallFault::Redirect)),
            told(Some(200), Some(CallFault::TooLarge)),
        ]
    );
    let text = serde_json::to_string(&audit.entries()).unwrap();
    for secret in ["canary", "token-1", "demo~"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_has_an_outcome_too() {
    let server = Server::start().await;
    let audit = Arc::new(MemoryAudit::new());
    let client = server.client(server.http(), audit.clone());
    server.will_answer([silence()]);
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { client.user(&cause(), USER).await })
    };
    let sent = async {
        while server.graph_seen().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), sent).await.unwrap();
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(outcomes(&audit), [told(None, Some(CallFault::Abandoned))]);
}

#[tokio::test]
async fn a_server_that_is_not_there_and_a_shut_gate_are_told() {
    let (server, other) = (Server::start().await, Server::start().await);
    let audit = Arc::new(MemoryAudit::new());
    let client = server.client(server.http().with_gate(Arc::new(Once::default())), audit.clone());
    client.user(&cause(), USER).await.unwrap_err();
    assert_eq!(outcomes(&audit), [told(None, Some(CallFault::Held))]);

    let audit = Arc::new(MemoryAudit::new());
    let client = server.client(other.http(), audit.clone());
    client.user(&cause(), USER).await.unwrap_err();
    let entries = audit.entries();
    assert!(
        matches!(
            &entries[1],
            AuditEntry::Outcome {
                purpose: Purpose::Token,
                status: None,
                fault: Some(CallFault::Connect),
                ..
            }
        ),
        "{entries:?}"
    );
}

/// The answer is used, and the next call waits until the outcome of this one is in the log.
#[tokio::test]
async fn an_outcome_that_cannot_be_written_stops_the_next_call_and_not_this_one() {
    let server = Server::start().await;
    let audit = Arc::new(MemoryAudit::new());
    let found = json(200, format!(r#"{{"id":"{USER}","userPrincipalName":"user1@contoso.example"}}"#));
    server.will_answer([found.clone(), found]);
    let gate = Arc::new(Fails(audit.clone(), AtomicUsize::new(0)));
    let client = server.client(server.http().with_gate(gate), audit.clone());
    client.user(&cause(), USER).await.unwrap();
    let error = client.user(&cause(), USER).await.unwrap_err();
    assert!(matches!(error, GraphError::Audit { .. }), "{error}");
    assert_eq!(server.graph_seen().len(), 1);
    audit.refuse(None);
    client.user(&cause(), USER).await.unwrap();
    assert_eq!(outcomes(&audit), [told(Some(200), None), told(Some(200), None)]);
}
