//! The ingest over real TLS, with a client that writes exactly the bytes it is told to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[allow(dead_code)]
mod faults;

use async_trait::async_trait;
use faults::{Disk, event_id};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use prometheus::{Registry, TextEncoder};
use roomkeeper_service::client_state::KeyRing;
use roomkeeper_service::https::{self, ServeLimits, tls_config};
use roomkeeper_webhook_server::http::ingest::{IngestLimits, IngestState, OriginCheck, OriginError, router};
use roomkeeper_webhook_server::metrics::ingest::IngestMetrics;
use roomkeeper_webhook_server::metrics::queue;
use roomkeeper_webhook_server::queue::embedded::{EmbeddedQueue, Options};
use roomkeeper_webhook_server::queue::{Health, Item, Queue};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_mins(1);
const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
const UID: &str = "0b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11";
const NOTIFICATIONS: &str = "/notifications/k1/0b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11";
const LIFECYCLE: &str = "/lifecycle/k1/0b0f1d4e-6f0b-4f3c-9e2e-6b1d8a2c4e11";

struct Server {
    address: SocketAddr,
    connector: TlsConnector,
    keys: KeyRing,
    disk: Disk,
    queue: Arc<EmbeddedQueue>,
    registry: Registry,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Setup {
    limits: IngestLimits,
    serve: ServeLimits,
    queue: Options,
    origins: Option<Arc<dyn OriginCheck>>,
    keys: Option<KeyRing>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn keys() -> KeyRing {
    KeyRing::from_secret(&Secret { data: Some(KeyRing::generate().unwrap()), ..Secret::default() }).unwrap()
}

async fn serve(setup: Setup) -> Server {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let tls = tls_config(certified.cert.pem().as_bytes(), certified.signing_key.serialize_pem().as_bytes())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let disk = Disk::default();
    let queue = Arc::new(EmbeddedQueue::open_on(Box::new(disk.clone()), &setup.queue).unwrap());
    let keys = setup.keys.unwrap_or_else(keys);
    let origins = setup.origins.unwrap_or_else(|| Arc::new(keys.clone()));
    let registry = Registry::new();
    let metrics = IngestMetrics::new(&registry).unwrap();
    queue::register(&registry, queue.clone()).unwrap();
    let state = IngestState::new(queue.clone(), origins, metrics, setup.limits);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let task =
        tokio::spawn(https::serve(listener, Arc::new(tls), router(state), setup.serve, shutdown.clone()));
    Server {
        address,
        connector: TlsConnector::from(Arc::new(client)),
        keys,
        disk,
        queue,
        registry,
        shutdown,
        task,
    }
}

async fn read_answer(mut stream: TlsStream<TcpStream>) -> Option<Answer> {
    let mut bytes = Vec::new();
    // The end of the connection without close_notify is as good as one with it here.
    let _ =
        timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("the server closes the connection");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head, body: bytes[end + 4..].to_vec() })
}

impl Server {
    async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        self.connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    }

    /// Sends bytes and reads to the end of the connection.
    async fn raw(&self, bytes: &[u8]) -> Option<Answer> {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        read_answer(stream).await
    }

    async fn request(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let mut bytes = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes).await.expect("an answer")
    }

    async fn post(&self, items: &[Value]) -> Answer {
        let body = json!({ "value": items }).to_string();
        self.request(
            "POST",
            NOTIFICATIONS,
            "Content-Type: application/json; charset=utf-8\r\n",
            body.as_bytes(),
        )
        .await
    }

    fn client_state(&self, uid: &str) -> String {
        self.keys.sign(uid, TENANT).unwrap().expose_secret().to_owned()
    }

    fn notification(&self, event: &str) -> Value {
        json!({
            "subscriptionId": "f37536ac-b308-4bc7-b239-b2b51cd2ff24",
            "subscriptionExpirationDateTime": "2026-05-26T23:29:18.2277768+00:00",
            "changeType": "updated",
            "resource": format!("Users/{USER}/Events/{event}"),
            "resourceData": {"@odata.type": "#Microsoft.Graph.Event", "id": event},
            "clientState": self.client_state(UID),
            "tenantId": TENANT,
        })
    }

    fn forged(&self, event: &str) -> Value {
        let mut notification = self.notification(event);
        notification["tenantId"] = json!("00000000-0000-0000-0000-000000000001");
        notification
    }

    async fn stored(&self) -> Vec<Item> {
        let later = Timestamp::now() + Duration::from_hours(1);
        let leased = self.queue.lease(later, 1000, DEADLINE).await.unwrap();
        leased.into_iter().map(|leased| leased.item).collect()
    }

    async fn stored_ids(&self) -> BTreeSet<String> {
        self.stored().await.iter().map(event_id).collect()
    }

    /// Requests answered so, for so, until now.
    fn count(&self, code: &str, reason: &str) -> u64 {
        let line = format!("roomkeeper_webhook_requests_total{{code=\"{code}\",reason=\"{reason}\"}}");
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        text.lines().find_map(|own| own.strip_prefix(&line)).map_or(0, |value| value.trim().parse().unwrap())
    }

    fn metric(&self, line: &str) -> String {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap();
        let value = text.lines().find_map(|own| own.strip_prefix(line));
        value.map_or_else(|| panic!("no {line} in\n{text}"), |value| value.trim().to_owned())
    }
}

#[tokio::test]
async fn the_handshake_reads_the_token_back_exactly() {
    let server = serve(Setup::default()).await;
    for (query, token) in [
        (
            "validationToken=Validation%3a+Testing+client+application+reachability+for+subscription+Request-Id%3A+1",
            "Validation: Testing client application reachability for subscription Request-Id: 1",
        ),
        ("validationToken=a%20b+c", "a b c"),
        ("validationToken=1%2B1%3D2+%25", "1+1=2 %"),
        ("validationToken=a=b", "a=b"),
        ("validationToken=%E2%82%AC%20%F0%9F%97%93", "€ 🗓"),
        ("validationToken=%3Cscript%3Ealert(1)%3C/script%3E", "<script>alert(1)</script>"),
        ("tenant=x&validationToken=after&validationToken=second", "after"),
    ] {
        for path in [NOTIFICATIONS, LIFECYCLE] {
            let answer =
                server.request("POST", &format!("{path}?{query}"), "Content-Type: text/plain\r\n", b"").await;
            assert_eq!((answer.status, str::from_utf8(&answer.body)), (200, Ok(token)), "{query}");
            assert!(answer.header("content-type").unwrap().starts_with("text/plain"));
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        }
    }
    let long = format!("{NOTIFICATIONS}?validationToken={}", "x".repeat(5000));
    for target in [long.as_str(), &format!("{NOTIFICATIONS}?validationToken=%zz")] {
        let answer = server.request("POST", target, "", b"").await;
        assert_eq!((answer.status, answer.body.len()), (400, 0));
    }
    let with_body =
        server.request("POST", &format!("{NOTIFICATIONS}?validationToken=t"), "", b"{\"value\":1}").await;
    assert_eq!((with_body.status, with_body.body.as_slice()), (200, b"t".as_slice()));
    assert_eq!(server.metric(r#"roomkeeper_webhook_requests_total{code="200",reason="validation"}"#), "15");
    assert_eq!(server.queue.stats().depth, 0);
}

#[tokio::test]
async fn what_is_no_notification_is_refused_with_an_empty_body() {
    let limits = IngestLimits { max_body_bytes: 2048, max_items: 3, ..IngestLimits::default() };
    let server = serve(Setup { limits, ..Setup::default() }).await;
    let json = "Content-Type: application/json\r\n";
    let good = json!({"value": [server.notification("A")]}).to_string();
    let padded = format!("{}{}", good, " ".repeat(2048));
    let many = json!({"value": [1, 2, 3, 4]}).to_string();
    for (method, target, headers, body, status) in [
        ("GET", NOTIFICATIONS, json, "", 405),
        ("PUT", LIFECYCLE, json, "{}", 405),
        ("POST", "/", json, good.as_str(), 404),
        ("POST", "/notifications/k1", json, &good, 404),
        ("POST", "/notifications/k1/a%2fb", json, &good, 404),
        ("POST", "/notifications/k1/%ff", json, &good, 404),
        ("POST", "/notifications/k1/..", json, &good, 404),
        ("POST", NOTIFICATIONS, "", &good, 415),
        ("POST", NOTIFICATIONS, "Content-Type: text/plain\r\n", &good, 415),
        ("POST", NOTIFICATIONS, "Content-Type: application/jsonp\r\n", &good, 415),
        ("POST", NOTIFICATIONS, json, "", 400),
        ("POST", NOTIFICATIONS, json, "{\"value\":", 400),
        ("POST", NOTIFICATIONS, json, "[]", 400),
        ("POST", NOTIFICATIONS, json, "{\"value\":null}", 400),
        ("POST", NOTIFICATIONS, json, &padded, 413),
        ("POST", NOTIFICATIONS, json, &many, 413),
    ] {
        let answer = server.request(method, target, headers, body.as_bytes()).await;
        assert_eq!((answer.status, answer.body.len()), (status, 0), "{method} {target} {headers} {body}");
    }
    let chunk = " ".repeat(3000);
    let chunked = format!(
        "POST {NOTIFICATIONS} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{json}Transfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{chunk}\r\n0\r\n\r\n",
        chunk.len()
    );
    assert_eq!(server.raw(chunked.as_bytes()).await.unwrap().status, 413);
    assert_eq!(server.queue.stats().depth, 0);
    assert_eq!(server.metric(r#"roomkeeper_webhook_requests_total{code="413",reason="too_large"}"#), "3");
}

#[tokio::test]
async fn one_bad_item_does_not_spoil_the_others() {
    let server = serve(Setup::default()).await;
    let mut other_subscription = server.notification("B");
    other_subscription["clientState"] = json!(server.client_state("11111111-6f0b-4f3c-9e2e-6b1d8a2c4e11"));
    let mut bad_resource = server.notification("C");
    bad_resource["resource"] = json!("users/me/messages/1");
    let mut repeated = server.notification("A");
    repeated["changeType"] = json!("deleted");
    let answer = server
        .post(&[
            server.notification("A"),
            server.forged("F"),
            json!(7),
            other_subscription,
            bad_resource,
            repeated,
        ])
        .await;
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    let stored = server.stored().await;
    assert_eq!(
        stored.iter().map(event_id).collect::<BTreeSet<_>>(),
        BTreeSet::from(["A".to_owned(), "B".to_owned()])
    );
    for item in stored {
        let Item::V1Event(event) = item else { panic!("not an event") };
        assert_eq!(event.deleted, event.event_id == "A");
        assert_eq!((event.tenant_id.as_str(), event.user_id.as_str()), (TENANT, USER));
        let uid = if event.event_id == "A" { UID } else { "11111111-6f0b-4f3c-9e2e-6b1d8a2c4e11" };
        assert_eq!(event.subscription_uid, uid);
    }
    for reason in ["bad_client_state", "malformed", "bad_resource"] {
        assert_eq!(
            server.metric(&format!("roomkeeper_webhook_items_dropped_total{{reason=\"{reason}\"}}")),
            "1"
        );
    }
    assert_eq!(server.metric("roomkeeper_queue_depth"), "2");
}

#[tokio::test]
async fn forged_notifications_are_answered_like_others_and_not_stored() {
    let server = serve(Setup::default()).await;
    let mut of_unknown_key = server.notification("A");
    of_unknown_key["clientState"] = json!(keys().sign(UID, TENANT).unwrap().expose_secret());
    let mut without = server.notification("A");
    without.as_object_mut().unwrap().remove("clientState");
    let answer = server.post(&[server.forged("A"), of_unknown_key, without]).await;
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    assert_eq!(server.queue.stats().depth, 0);
    assert_eq!(server.metric(r#"roomkeeper_webhook_items_dropped_total{reason="unknown_key"}"#), "1");
    assert_eq!(server.metric(r#"roomkeeper_webhook_items_dropped_total{reason="bad_client_state"}"#), "2");
    assert_eq!(server.post(&[]).await.status, 202);
}

#[tokio::test]
async fn lifecycle_notifications_are_taken_on_both_urls() {
    let server = serve(Setup::default()).await;
    let lifecycle = |event: &str, uid: &str| {
        json!({
            "subscriptionId": "f37536ac-b308-4bc7-b239-b2b51cd2ff24",
            "subscriptionExpirationDateTime": "2026-05-26T23:29:18.2277768+05:30",
            "tenantId": TENANT,
            "clientState": server.client_state(uid),
            "lifecycleEvent": event,
        })
    };
    for (path, event) in [(NOTIFICATIONS, "missed"), (LIFECYCLE, "subscriptionRemoved")] {
        let body = json!({"value": [lifecycle(event, UID)]}).to_string();
        let answer =
            server.request("POST", path, "Content-Type: application/json\r\n", body.as_bytes()).await;
        assert_eq!(answer.status, 202);
    }
    let stored = server.stored().await;
    let [Item::V1Lifecycle(item)] = stored.as_slice() else {
        panic!("one lifecycle item expected: {stored:?}")
    };
    assert_eq!(item.subscription_uid, UID);
    assert!(item.events.missed && item.events.subscription_removed && !item.events.reauthorization_required);
}

#[tokio::test]
async fn a_full_queue_is_answered_503_and_drops_nothing() {
    let queue = Options { max_items: 1, ..Options::default() };
    let server = serve(Setup { queue, ..Setup::default() }).await;
    assert_eq!(server.post(&[server.notification("A")]).await.status, 202);
    let answer = server.post(&[server.notification("B")]).await;
    assert_eq!((answer.status, answer.body.len()), (503, 0));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(server.metric(r#"roomkeeper_webhook_requests_total{code="503",reason="queue_full"}"#), "1");
    assert_eq!(server.stored_ids().await, BTreeSet::from(["A".to_owned()]));
}

#[tokio::test]
async fn a_failing_disk_is_answered_503_until_it_works_again() {
    let server = serve(Setup::default()).await;
    assert_eq!(server.post(&[server.notification("A")]).await.status, 202);
    server.disk.refuse_syncs(1);
    let answer = server.post(&[server.notification("B")]).await;
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some());
    timeout(DEADLINE, async {
        while server.queue.stats().storage_errors_total == 0 || server.queue.health() != Health::Serving {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(server.post(&[server.notification("B")]).await.status, 202);
    assert_eq!(server.stored_ids().await, BTreeSet::from(["A".to_owned(), "B".to_owned()]));
}

/// Starts a POST whose sync is held back, and returns once the sync has begun.
async fn post_held_back(server: &Arc<Server>, event: &'static str) -> JoinHandle<Answer> {
    server.disk.hold_syncs();
    let posting = tokio::spawn({
        let server = Arc::clone(server);
        async move { server.post(&[server.notification(event)]).await }
    });
    let disk = server.disk.clone();
    tokio::task::spawn_blocking(move || disk.wait_for_a_held_sync()).await.unwrap();
    posting
}

#[tokio::test(flavor = "multi_thread")]
async fn no_202_precedes_its_sync() {
    let server = Arc::new(serve(Setup::default()).await);
    let posting = post_held_back(&server, "A").await;
    // The server is alive and answers others meanwhile.
    let other = server.request("POST", &format!("{NOTIFICATIONS}?validationToken=t"), "", b"").await;
    assert_eq!(other.status, 200);
    assert!(!posting.is_finished(), "an answer came while the sync was held back");
    let syncs = server.disk.syncs();
    server.disk.release_syncs();
    assert_eq!(timeout(DEADLINE, posting).await.unwrap().unwrap().status, 202);
    assert!(server.disk.syncs() > syncs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_disk_and_too_many_requests_are_answered_503() {
    let limits =
        IngestLimits { max_in_flight: 1, append_timeout: Duration::from_secs(30), ..IngestLimits::default() };
    let server = Arc::new(serve(Setup { limits, ..Setup::default() }).await);
    let posting = post_held_back(&server, "A").await;
    let refused = server.post(&[server.notification("B")]).await;
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    server.disk.release_syncs();
    assert_eq!(timeout(DEADLINE, posting).await.unwrap().unwrap().status, 202);

    // A disk that hangs is answered in time, and what waits for it is bounded.
    let limits = IngestLimits { append_timeout: Duration::from_millis(50), ..IngestLimits::default() };
    let queue = Options { max_waiting_rows: 2, ..Options::default() };
    let server = Arc::new(serve(Setup { limits, queue, ..Setup::default() }).await);
    let posting = post_held_back(&server, "A").await;
    assert_eq!(timeout(DEADLINE, posting).await.unwrap().unwrap().status, 503);
    for reason in ["storage", "storage", "queue_full"] {
        let before = server.count("503", reason);
        assert_eq!(server.post(&[server.notification("B")]).await.status, 503);
        assert_eq!(server.count("503", reason), before + 1, "{reason}");
    }
    server.disk.release_syncs();
}

#[tokio::test]
async fn without_keys_nothing_is_judged() {
    let ring = keys();
    let (sender, receiver) = watch::channel(None);
    let setup = Setup { origins: Some(Arc::new(receiver)), keys: Some(ring.clone()), ..Setup::default() };
    let server = serve(setup).await;
    assert_eq!(server.post(&[server.notification("A")]).await.status, 503);
    assert_eq!(server.queue.stats().depth, 0);
    sender.send(Some(Arc::new(ring))).unwrap();
    assert_eq!(server.post(&[server.notification("A")]).await.status, 202);
    assert_eq!(server.queue.stats().depth, 1);
}

/// Keys whose Secret holds others than were read before, and can be read or cannot.
struct Rotated {
    ring: watch::Sender<Option<Arc<KeyRing>>>,
    secret: Mutex<Option<Arc<KeyRing>>>,
}

#[async_trait]
impl OriginCheck for Rotated {
    fn check(&self, client_state: &str, tenant_id: &str) -> Result<String, OriginError> {
        self.ring.subscribe().check(client_state, tenant_id)
    }

    async fn looked_again(&self) -> bool {
        let secret = self.secret.lock().unwrap().clone();
        secret.is_some_and(|ring| self.ring.send_replace(Some(ring)).is_some())
    }
}

#[tokio::test]
async fn an_unknown_key_is_dropped_only_when_the_secret_was_read_since() {
    let (old, new) = (Arc::new(keys()), keys());
    let rotated = Arc::new(Rotated { ring: watch::Sender::new(Some(old)), secret: Mutex::default() });
    let origins = Some(Arc::clone(&rotated) as Arc<dyn OriginCheck>);
    let server = serve(Setup { origins, keys: Some(new.clone()), ..Setup::default() }).await;
    assert_eq!(server.post(&[server.notification("A")]).await.status, 503, "it cannot be read");
    assert_eq!(server.queue.stats().depth, 0);
    *rotated.secret.lock().unwrap() = Some(Arc::new(keys()));
    assert_eq!(server.post(&[server.notification("A")]).await.status, 202, "nobody's");
    assert_eq!(server.queue.stats().depth, 0);
    *rotated.secret.lock().unwrap() = Some(Arc::new(new));
    assert_eq!(server.post(&[server.notification("A"), server.notification("B")]).await.status, 202);
    assert_eq!(server.queue.stats().depth, 2, "the first of a new key");
}

#[tokio::test]
async fn whoever_is_slow_is_cut_off() {
    let short = Duration::from_millis(100);
    let serve_limits =
        ServeLimits { header_read_timeout: short, tls_handshake_timeout: short, ..ServeLimits::default() };
    let limits = IngestLimits { body_timeout: short, ..IngestLimits::default() };
    let server = serve(Setup { limits, serve: serve_limits, ..Setup::default() }).await;

    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(
        timeout(DEADLINE, silent.read(&mut [0; 16])).await.expect("the handshake times out").unwrap_or(0),
        0
    );

    for part in ["", "POST ", "POST /notifications/k1/u HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let answer = server.raw(part.as_bytes()).await;
        assert!(answer.is_none_or(|answer| answer.status == 408), "after {part:?}");
    }
    let slow_body = format!(
        "POST {NOTIFICATIONS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: 100\r\n\r\n{{"
    );
    assert_eq!(server.raw(slow_body.as_bytes()).await.unwrap().status, 408);
    let headers = "X-Many: y\r\n".repeat(100);
    let answer = server.request("POST", NOTIFICATIONS, &headers, b"").await;
    assert_eq!(answer.status, 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_answered_before_the_end() {
    let mut server = serve(Setup::default()).await;
    let task = std::mem::replace(&mut server.task, tokio::spawn(async {}));
    let server = Arc::new(server);
    let posting = post_held_back(&server, "A").await;
    server.shutdown.cancel();
    timeout(DEADLINE, async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("no new connections are taken");
    assert!(!task.is_finished());
    server.disk.release_syncs();
    assert_eq!(timeout(DEADLINE, posting).await.unwrap().unwrap().status, 202);
    timeout(DEADLINE, task).await.unwrap().unwrap();
}
