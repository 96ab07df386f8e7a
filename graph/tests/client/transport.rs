//! The path that every request takes, against a server that misbehaves on purpose.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::{CLIENT, SHORT, Server, TENANT, client, json, silence};
use roomkeeper_graph::{
    Cause, Decision, EventId, GoneReason, GraphError, GroupId, ManifestId, MemberClass, Problem, Purpose,
    Reason, SubscriptionId, TransportFault, UserId,
    audit::{AuditEntry, AuditError, AuditSink, MemoryAudit},
    http::{Http, HttpSettings, Outcome, RequestObserver, SendGate},
};

const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";

fn cause() -> Cause {
    Cause::new("CalendarSubscription/rooms/user1")
}

fn user_body() -> String {
    format!(r#"{{"@odata.context":"x","id":"{USER}","userPrincipalName":"user1@contoso.example"}}"#)
}

fn ids() -> (UserId, EventId, ManifestId) {
    (
        UserId::parse(USER).unwrap(),
        EventId::parse("AAMkAD=").unwrap(),
        ManifestId::parse("0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f").unwrap(),
    )
}

#[tokio::test]
async fn a_request_carries_the_headers_and_its_audit_entry_tells_the_exact_url() {
    let server = Server::start().await;
    let audit = Arc::new(MemoryAudit::new());
    let client = server.client(server.http(), audit.clone());
    server.will_answer([json(200, user_body())]);
    assert_eq!(client.user(&cause(), "user1@contoso.example").await.unwrap().id.as_str(), USER);

    let seen = server.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    let (token, call) = (&seen[0], &seen[1]);
    assert_eq!(
        (token.method.as_str(), token.uri.path()),
        ("POST", format!("/{TENANT}/oauth2/v2.0/token").as_str())
    );
    assert_eq!(token.headers["content-type"], "application/x-www-form-urlencoded");
    assert!(!token.headers.contains_key("authorization"));
    let mut form: Vec<_> = url::form_urlencoded::parse(token.body.as_bytes()).into_owned().collect();
    form.sort();
    let scope = format!("{}.default", server.origin);
    let expected = [
        ("client_id", CLIENT),
        ("client_secret", "demo~./+&="),
        ("grant_type", "client_credentials"),
        ("scope", &scope),
    ];
    assert_eq!(form, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));

    assert_eq!(call.headers["authorization"], "Bearer token-1");
    assert_eq!(call.headers["prefer"], r#"IdType="ImmutableId", outlook.timezone="UTC""#);

    let entries = audit.entries();
    assert_eq!(entries.len(), 4, "each call is announced and its outcome told: {entries:?}");
    for (entry, seen, expected) in
        [(&entries[0], token, Purpose::Token), (&entries[2], call, Purpose::UserLookup)]
    {
        let AuditEntry::Call {
            scope,
            tenant_id,
            client_id,
            purpose,
            method,
            url,
            caused_by,
            client_request_id,
            attempt,
            ..
        } = entry
        else {
            panic!("{entry:?}")
        };
        assert_eq!(
            (scope.as_str(), tenant_id.as_str(), client_id.as_str()),
            ("rooms/contoso", TENANT, CLIENT)
        );
        assert_eq!((*purpose, method.as_str(), *attempt), (expected, seen.method.as_str(), 1));
        assert_eq!(*url, format!("{}{}", server.origin.as_str().trim_end_matches('/'), seen.uri));
        assert_eq!(*caused_by, cause());
        assert_eq!(seen.headers["client-request-id"], client_request_id.to_string());
    }
}

#[tokio::test]
async fn without_a_durable_entry_nothing_is_sent() {
    let server = Server::start().await;
    let audit = Arc::new(MemoryAudit::new());
    let client = server.client(server.http(), audit.clone());
    let refusal = AuditError::Write { cause: "disk full".into() };
    audit.refuse(Some(refusal.clone()));
    let error = client.user(&cause(), USER).await.unwrap_err();
    assert_eq!(error, GraphError::Audit { purpose: Purpose::Token, cause: refusal.clone() });
    assert!(server.seen().is_empty());

    audit.refuse(None);
    client.acquire_token(&cause()).await.unwrap();
    audit.refuse(Some(refusal.clone()));
    let error = client.user(&cause(), USER).await.unwrap_err();
    assert_eq!(error, GraphError::Audit { purpose: Purpose::UserLookup, cause: refusal });
    assert_eq!(error.decision(), Decision::Retry);
    assert_eq!(server.seen().len(), 1);

    audit.refuse(None);
    server.will_answer([json(200, user_body())]);
    client.user(&cause(), USER).await.unwrap();
}

#[derive(Default)]
struct Gate(AtomicBool);

impl SendGate for Gate {
    fn check(&self) -> Result<(), &'static str> {
        if self.0.load(Ordering::SeqCst) { Err("the lease has run out") } else { Ok(()) }
    }
}

#[derive(Default)]
struct Observed {
    requests: Mutex<Vec<(Purpose, Option<u16>, Outcome)>>,
    unrequested: Mutex<Vec<(Purpose, MemberClass, u64)>>,
}

impl RequestObserver for Observed {
    fn observe(&self, operation: Purpose, status: Option<u16>, outcome: Outcome, _: Duration) {
        self.requests.lock().unwrap().push((operation, status, outcome));
    }

    fn unrequested(&self, operation: Purpose, class: MemberClass, count: u64) {
        self.unrequested.lock().unwrap().push((operation, class, count));
    }
}

#[tokio::test]
async fn a_shut_gate_holds_requests_and_the_observer_sees_each_request_once() {
    let server = Server::start().await;
    let (gate, observed) = (Arc::new(Gate::default()), Arc::new(Observed::default()));
    let audit = Arc::new(MemoryAudit::new());
    let http = server.http().with_gate(gate.clone()).with_observer(observed.clone());
    let client = server.client(http, audit.clone());
    server
        .will_answer([json(200, user_body()), json(404, r#"{"error":{"code":"Request_ResourceNotFound"}}"#)]);
    client.user(&cause(), USER).await.unwrap();
    let error = client.user(&cause(), USER).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Gone(GoneReason::UserNotFound));
    gate.0.store(true, Ordering::SeqCst);
    let error = client.user(&cause(), USER).await.unwrap_err();
    assert_eq!(error, GraphError::Held { purpose: Purpose::UserLookup, why: "the lease has run out" });
    gate.0.store(false, Ordering::SeqCst);
    audit.refuse(Some(AuditError::Closed));
    client.user(&cause(), USER).await.unwrap_err();
    assert_eq!(server.graph_seen().len(), 2);
    assert_eq!(
        *observed.requests.lock().unwrap(),
        [
            (Purpose::Token, Some(200), Outcome::Success),
            (Purpose::UserLookup, Some(200), Outcome::Success),
            (Purpose::UserLookup, Some(404), Outcome::Refused),
            (Purpose::UserLookup, None, Outcome::Held),
            (Purpose::UserLookup, None, Outcome::AuditRefused),
        ]
    );
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_request_repeated_once() {
    let server = Server::start().await;
    let audit = Arc::new(MemoryAudit::new());
    let client = server.client(server.http(), audit.clone());
    let refused = || {
        json(
            401,
            r#"{"error":{"code":"InvalidAuthenticationToken","message":"Access token has expired or is not yet valid."}}"#,
        )
    };
    server.will_answer([refused(), json(200, user_body())]);
    client.user(&cause(), USER).await.unwrap();
    let sent: Vec<_> = server.graph_seen().iter().map(|s| s.headers["authorization"].clone()).collect();
    assert_eq!(sent, ["Bearer token-1", "Bearer token-2"]);
    let attempts: Vec<_> = audit
        .entries()
        .iter()
        .filter_map(|entry| match entry {
            AuditEntry::Call { purpose, attempt, .. } => Some((*purpose, *attempt)),
            _ => None,
        })
        .collect();
    assert_eq!(
        attempts,
        [(Purpose::Token, 1), (Purpose::UserLookup, 1), (Purpose::Token, 1), (Purpose::UserLookup, 2)]
    );

    server.will_answer([refused()]);
    let error = client.user(&cause(), USER).await.unwrap_err();
    assert_eq!(error.decision(), Decision::TokenRejected);
    assert_eq!(server.graph_seen().len(), 3, "what refuses a token just given refuses the next one too");
}

#[tokio::test]
async fn redirects_are_refused() {
    let server = Server::start().await;
    let client = server.client(server.http(), Arc::new(MemoryAudit::new()));
    let elsewhere = format!("{}v1.0/elsewhere", server.origin);
    server.will_answer([json(302, "").header("location", &elsewhere)]);
    let error = client.user(&cause(), USER).await.unwrap_err();
    assert!(matches!(error, GraphError::Transport { fault: TransportFault::Redirect, .. }), "{error}");
    assert_eq!(server.graph_seen().len(), 1);
    server.will_answer_token([json(307, "").header("location", &elsewhere)]);
    let other = server.client(server.http(), Arc::new(MemoryAudit::new()));
    let error = other.acquire_token(&cause()).await.unwrap_err();
    assert!(matches!(error, GraphError::Transport { fault: TransportFault::Redirect, .. }), "{error}");
    assert_eq!(server.graph_seen().len(), 1);
}

#[tokio::test]
async fn an_answer_has_a_bound_on_time_and_size() {
    let server = Server::start().await;
    let settings = HttpSettings {
        extra_ca_pem: Some(server.ca_pem.clone()),
        request_timeout: SHORT,
        ..HttpSettings::default()
    };
    let client = server.client(Http::new(&settings).unwrap(), Arc::new(MemoryAudit::new()));
    client.acquire_token(&cause()).await.unwrap();
    server.will_answer([silence()]);
    let error = client.user(&cause(), USER).await.unwrap_err();
    assert!(matches!(error, GraphError::Transport { fault: TransportFault::Timeout, .. }), "{error}");
    assert_eq!(error.decision(), Decision::Retry);

    let patient = server.client(server.http(), Arc::new(MemoryAudit::new()));
    server.will_answer([json(200, " ".repeat(9 * 1_024 * 1_024))]);
    let error = patient.user(&cause(), USER).await.unwrap_err();
    let limit = 8 * 1_024 * 1_024;
    assert!(
        matches!(error, GraphError::Transport { fault: TransportFault::TooLarge { limit: l }, .. } if l == limit)
    );
}

#[tokio::test]
async fn a_server_with_a_foreign_certificate_gets_nothing() {
    let (server, other) = (Server::start().await, Server::start().await);
    let client = server.client(other.http(), Arc::new(MemoryAudit::new()));
    let error = client.user(&cause(), USER).await.unwrap_err();
    assert!(matches!(error, GraphError::Transport { fault: TransportFault::Connect, .. }), "{error}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn pages_are_followed_unchanged_with_the_same_headers_and_only_within_the_list() {
    let server = Server::start().await;
    let client = server.client(server.http(), Arc::new(MemoryAudit::new()));
    let group = GroupId::parse("5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10").unwrap();
    let path = format!("v1.0/groups/{group}/transitiveMembers/microsoft.graph.user");
    let next = format!("{}{path}?$skiptoken=a%2Bb%20c&x=%7B", server.origin);
    let member = |n: u32| format!(r#"{{"id":"00000000-0000-0000-0000-{n:012}"}}"#);
    server.will_answer([
        json(
            200,
            format!(
                r#"{{"@odata.count":3,"value":[{},{}],"@odata.nextLink":"{next}"}}"#,
                member(1),
                member(2)
            ),
        ),
        json(200, format!(r#"{{"value":[],"@odata.nextLink":"{next}2"}}"#)),
        json(200, format!(r#"{{"value":[{},{}]}}"#, member(2), member(3))),
    ]);
    let members = client.transitive_members(&cause(), &group).await.unwrap();
    assert_eq!(members.len(), 3);
    let seen = server.graph_seen();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[1].uri.query(), Some("$skiptoken=a%2Bb%20c&x=%7B"));
    for request in &seen {
        assert_eq!(request.headers["consistencylevel"], "eventual");
        assert!(request.headers.contains_key("prefer"));
    }

    let evil = Server::start().await;
    for foreign in [format!("{}{path}?x", evil.origin), format!("{}v1.0/users?$top=999", server.origin)] {
        server.will_answer([json(200, format!(r#"{{"value":[],"@odata.nextLink":"{foreign}"}}"#))]);
        let error = client.transitive_members(&cause(), &group).await.unwrap_err();
        assert!(
            matches!(error, GraphError::Transport { fault: TransportFault::ForeignPageLink, .. }),
            "{error}"
        );
    }
    assert!(evil.seen().is_empty());
    assert_eq!(server.graph_seen().len(), 5);
}

fn head_with_a_body() -> String {
    r#"{"@odata.etag":"W/\"k\"","id":"AAMkAD=","iCalUId":"u","changeKey":"k","lastModifiedDateTime":"2026-11-20T08:00:00Z",
        "isOrganizer":true,"type":"singleInstance","isCancelled":false,"bodyPreview":"canary","body":{"content":"canary"},
        "subject":"canary","canary":"canary"}"#
        .to_owned()
}

#[tokio::test]
async fn members_that_were_not_asked_for_are_stripped_counted_and_audited() {
    let server = Server::start().await;
    let (audit, observed) = (Arc::new(MemoryAudit::new()), Arc::new(Observed::default()));
    let client = server.client(server.http().with_observer(observed.clone()), audit.clone());
    let (user, event, manifest) = ids();
    server.will_answer([json(200, head_with_a_body())]);
    let head = client.event_minimal(&cause(), &user, &event, &manifest).await.unwrap();
    assert_eq!(head.add_in_value, None);
    assert!(!format!("{head:?}").contains("canary"));
    assert_eq!(client.unrequested_members(), 4);
    let classes = [(MemberClass::Body, 2), (MemberClass::Listed, 1), (MemberClass::Other, 1)];
    let told = classes.map(|(class, count)| (Purpose::EventMinimalRead, class, count));
    assert_eq!(*observed.unrequested.lock().unwrap(), told);
    let entries = audit.entries();
    let [
        ..,
        AuditEntry::Call { client_request_id: sent, .. },
        AuditEntry::Outcome { client_request_id: answered, .. },
        last,
    ] = &entries[..]
    else {
        panic!("{entries:?}")
    };
    assert_eq!(answered, sent);
    let AuditEntry::UnrequestedMembers { purpose, client_request_id, caused_by, members, .. } = last else {
        panic!("{last:?}")
    };
    assert_eq!((*purpose, client_request_id, caused_by), (Purpose::EventMinimalRead, sent, &cause()));
    assert_eq!(*members, classes.into());
    assert!(!serde_json::to_string(&entries).unwrap().contains("canary"));
}

/// Takes calls and nothing else.
#[derive(Default)]
struct CallsOnly;

#[async_trait::async_trait]
impl AuditSink for CallsOnly {
    async fn record(&self, entry: AuditEntry) -> Result<(), AuditError> {
        if matches!(entry, AuditEntry::Call { .. }) { Ok(()) } else { Err(AuditError::Closed) }
    }

    fn follow_up(&self, _: AuditEntry) {}
}

#[tokio::test]
async fn an_answer_whose_violation_cannot_be_audited_is_not_handed_on() {
    let server = Server::start().await;
    let client = server.client(server.http(), Arc::new(CallsOnly));
    let (user, event, manifest) = ids();
    server.will_answer([json(200, head_with_a_body())]);
    let error = client.event_minimal(&cause(), &user, &event, &manifest).await.unwrap_err();
    assert!(matches!(error, GraphError::Audit { purpose: Purpose::EventMinimalRead, .. }), "{error}");
    assert_eq!(client.unrequested_members(), 4);
}

#[tokio::test]
async fn an_answer_of_another_form_names_the_member_only() {
    let server = Server::start().await;
    let client = server.client(server.http(), Arc::new(MemoryAudit::new()));
    let (user, event, manifest) = ids();
    server.will_answer([json(200, r#"{"id":"AAMkAD=","iCalUId":"canary"}"#), json(200, "canary")]);
    let error = client.event_minimal(&cause(), &user, &event, &manifest).await.unwrap_err();
    assert!(
        matches!(error, GraphError::UnexpectedAnswer { member: "changeKey", problem: Problem::Missing, .. }),
        "{error}"
    );
    let error = client.event_full(&cause(), &user, &event, &manifest).await.unwrap_err();
    assert!(matches!(error, GraphError::UnexpectedAnswer { member: "(body)", .. }), "{error}");
    assert!(!error.to_string().contains("canary"));
}

#[tokio::test]
async fn graphs_waiting_time_reaches_the_caller() {
    let server = Server::start().await;
    let client = server.client(server.http(), Arc::new(MemoryAudit::new()));
    let throttled = r#"{"error":{"code":"ApplicationThrottled","message":"Application is over its MailboxConcurrency limit."}}"#;
    server.will_answer([
        json(429, throttled).header("retry-after", "7"),
        json(503, "<html>").header("retry-after", "8"),
    ]);
    let id = SubscriptionId::parse("f37536ac-b308-4bc7-b239-b2b51cd2ff24").unwrap();
    let error = client.get_subscription(&cause(), &id).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Wait(Duration::from_secs(7)));
    let error = client.get_subscription(&cause(), &id).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Wait(Duration::from_secs(8)));
}

#[tokio::test]
async fn faults_of_the_token_endpoint_keep_their_meaning_and_are_not_retried_inside() {
    let server = Server::start().await;
    for (answer, expected) in [
        (json(429, "").header("retry-after", "5"), Decision::Wait(Duration::from_secs(5))),
        (json(503, "<html>"), Decision::Retry),
        (
            json(
                401,
                r#"{"error":"invalid_client","error_description":"AADSTS7000222: expired canary","error_codes":[7000222]}"#,
            ),
            Decision::UserMustAct(Reason::AuthFailed),
        ),
        (json(200, r#"{"token_type":"Bearer","expires_in":3599}"#), Decision::Retry),
        (json(200, r#"{"token_type":"Bearer","access_token":"canary"}"#), Decision::Retry),
        (json(200, "canary"), Decision::Retry),
    ] {
        let before = server.seen().len();
        server.will_answer_token([answer]);
        let client = server.client(server.http(), Arc::new(MemoryAudit::new()));
        let error = client.acquire_token(&cause()).await.unwrap_err();
        assert_eq!(error.decision(), expected, "{error}");
        assert!(
            !error.to_string().contains("canary") && !format!("{error:?}").contains("canary"),
            "{error:?}"
        );
        assert_eq!(server.seen().len(), before + 1);
    }
}

#[tokio::test]
async fn a_malformed_argument_is_refused_before_anything_is_sent() {
    let server = Server::start().await;
    let audit = Arc::new(MemoryAudit::new());
    let client = client(&server.origin, server.http(), audit.clone(), "demo");
    let error = client.user(&cause(), "canary/../me").await.unwrap_err();
    assert_eq!(error.decision(), Decision::UserMustAct(Reason::BadRequest));
    assert!(!error.to_string().contains("canary"), "{error}");
    assert!(audit.entries().is_empty());
    assert!(!format!("{client:?}").contains("demo"));
}
