//! The program itself, with the rights that the chart gives it: from a POST to the public listener to the record.

use std::{collections::BTreeMap, path::Path, time::Duration};

use jiff::{Timestamp, ToSpan as _};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, ResourceExt as _, api::PostParams, core::ObjectMeta};
use least_data::canary;
use roomkeeper_controlplane::process::{Program, ScratchDir, Signal, Supervised, scratch_dir};
use roomkeeper_crds::booking_record::BookingState;
use roomkeeper_service::client_state::{KeyRing, SECRET_NAME};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    authority::Authority,
    cluster::{Cluster, INSTALLATION, until},
    world::{EVENT, MANIFEST, TENANT, USER, World},
};

const START: Duration = Duration::from_secs(30);

static KEYS: OnceCell<BTreeMap<String, ByteString>> = OnceCell::const_new();

/// The Secret that the operator makes on its first start.
pub async fn client_state_keys(cluster: &Cluster) -> KeyRing {
    let data = KEYS
        .get_or_init(|| async {
            let data = KeyRing::generate().unwrap();
            let metadata = ObjectMeta { name: Some(SECRET_NAME.to_owned()), ..ObjectMeta::default() };
            let secret = Secret { metadata, data: Some(data.clone()), ..Secret::default() };
            let secrets: Api<Secret> = Api::namespaced(cluster.admin.clone(), INSTALLATION);
            secrets.create(&PostParams::default(), &secret).await.unwrap();
            data
        })
        .await;
    KeyRing::from_secret(&Secret { data: Some(data.clone()), ..Secret::default() }).unwrap()
}

pub struct Webhook {
    process: Supervised,
    pub public: String,
    admin: String,
    pub client: reqwest::Client,
    folder: ScratchDir,
}

impl Webhook {
    async fn start(world: &World, authority: &Authority) -> Self {
        Self::start_with(world, authority, |_, program| program).await
    }

    /// With more arguments; files for them can be put into the folder given.
    pub async fn start_with(
        world: &World,
        authority: &Authority,
        more: impl FnOnce(&Path, Program) -> Program,
    ) -> Self {
        let folder = scratch_dir("webhook").unwrap();
        let path = |name: &str| folder.path().join(name);
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(path("tls.crt"), certificate.cert.pem()).unwrap();
        std::fs::write(path("tls.key"), certificate.signing_key.serialize_pem()).unwrap();
        std::fs::write(path("graph-ca.crt"), &authority.ca).unwrap();
        let user = format!("system:serviceaccount:{INSTALLATION}:roomkeeper-webhook");
        let groups = ["system:serviceaccounts", "system:serviceaccounts:roomkeeper-system"];
        let program = Program::new(env!("CARGO_BIN_EXE_roomkeeper-webhook-server"))
            .env("KUBECONFIG", world.cluster.plane.kubeconfig_for(&user, &groups).unwrap())
            .args([
                "--namespace",
                INSTALLATION,
                "--watch-namespace",
                &world.namespace,
                "--identity",
                "webhook-0",
            ])
            .args(["--public-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--debounce", "50ms"])
            .args(["--allowed-host", authority.origin.strip_prefix("https://").unwrap()])
            .arg("--tls-cert")
            .arg(path("tls.crt"))
            .arg("--tls-key")
            .arg(path("tls.key"))
            .arg("--graph-ca")
            .arg(path("graph-ca.crt"))
            .arg("--queue-dir")
            .arg(path("queue"))
            .arg("--audit-dir")
            .arg(path("audit"));
        let program = more(folder.path(), program);
        let process = Supervised::spawn(program, &path("webhook.log")).unwrap();
        let public = process.wait_line("public listening on ", START).await.unwrap();
        let admin = process.wait_line("admin listening on ", START).await.unwrap();
        let ca = reqwest::Certificate::from_pem(certificate.cert.pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_merge([ca]).build().unwrap();
        let webhook = Self { process, public, admin: format!("http://{admin}"), client, folder };
        until("readiness", async || {
            let answer = webhook.client.get(format!("{}/readyz", webhook.admin)).send().await.unwrap();
            answer.status().is_success().then_some(())
        })
        .await;
        webhook
    }

    async fn notify(&self, world: &World, keys: &KeyRing, event: &str) {
        let uid = world.subscription.uid().unwrap();
        let resource = format!("Users/{USER}/Events/{event}");
        let body = json!({"value": [{
            "subscriptionId": "f37536ac-b308-4bc7-b239-b2b51cd2ff24",
            "subscriptionExpirationDateTime": "2027-05-26T23:29:18.2277768+00:00",
            "changeType": "updated", "resource": resource,
            "resourceData": {"@odata.type": "#Microsoft.Graph.Event", "@odata.id": resource, "id": event},
            "clientState": keys.sign(&uid, TENANT).unwrap().expose_secret(), "tenantId": TENANT,
        }]});
        let url = format!("{}/notifications/{}/{uid}", self.public, keys.current_id());
        let answer = self.client.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 202);
    }

    async fn metrics(&self) -> String {
        let answer = self.client.get(format!("{}/metrics", self.admin)).send().await.unwrap();
        answer.text().await.unwrap()
    }

    async fn wait_for(&self, outcome: &str, count: usize) {
        let line = format!("roomkeeper_worker_items_total{{outcome=\"{outcome}\"}} {count}");
        until(&line, async || self.metrics().await.contains(&line).then_some(())).await;
    }

    fn audit(&self) -> Vec<Value> {
        let lines = roomkeeper_graph::audit::chain::read_all(&self.folder.path().join("audit")).unwrap();
        lines.into_iter().map(|line| Value::Object(line.entry)).collect()
    }
}

/// Credential of the scope, readable by name as in `docs/examples`.
async fn credential(world: &World) {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/examples");
    for file in ["01-rbac.yaml", "02-secrets.yaml"] {
        let text = std::fs::read_to_string(examples.join(file)).unwrap();
        let text = text.replace("namespace: contoso\n", &format!("namespace: {}\n", world.namespace));
        world.cluster.plane.apply_yaml(&text).await.unwrap();
    }
}

fn event(id: &str, booked: bool) -> Value {
    let start = Timestamp::from_second(Timestamp::now().as_second()).unwrap() + 24.hours();
    let time = |at: Timestamp| json!({"dateTime": at.strftime("%Y-%m-%dT%H:%M:%S.0000000").to_string(), "timeZone": "UTC"});
    let mut event = json!({
        "@odata.etag": "W/\"k1\"", "id": id, "iCalUId": "040000008200E0", "changeKey": "k1",
        "lastModifiedDateTime": "2026-11-20T08:00:00.1234567Z", "isOrganizer": true, "type": "singleInstance",
        "isCancelled": false, "isAllDay": false, "subject": canary::SUBJECT, "sensitivity": "private",
        "start": time(start), "end": time(start + 1.hour()), "location": {"displayName": "elsewhere"},
        "organizer": {"emailAddress": {"name": "User One", "address": "user1@contoso.example"}},
        "attendees": [{"type": "required", "emailAddress": {"name": "G", "address": "guest@fabrikam.example"}}],
        "seriesMasterId": null, "recurrence": null, "body": {"content": "nobody reads this"},
    });
    if booked {
        let value = json!({"version": 1, "resources": [{"id": "room-101", "location": "HQ 1.01"}]});
        event["singleValueExtendedProperties"] = json!([{
            "id": format!("String {{00020329-0000-0000-C000-000000000046}} Name cecp-{MANIFEST}"), "value": value.to_string(),
        }]);
    }
    event
}

#[tokio::test]
async fn from_notification_to_record_and_no_further() {
    let authority = Authority::start().await;
    let endpoints = json!({"authority": authority.origin, "graph": authority.origin});
    let world = World::with("end-to-end", json!({"endpoints": endpoints})).await;
    credential(&world).await;
    let keys = client_state_keys(&world.cluster).await;
    let webhook = Webhook::start(&world, &authority).await;

    authority.calendar.put(event("unbooked", false));
    webhook.notify(&world, &keys, "unbooked").await;
    webhook.wait_for("unbooked", 1).await;
    let reads = authority.calendar.reads();
    assert_eq!(reads.len(), 1, "only the minimal read");
    assert!(!reads[0].contains("subject"), "{}", reads[0]);
    assert!(world.all_records().await.is_empty());

    authority.calendar.put(event(EVENT, true));
    webhook.notify(&world, &keys, EVENT).await;
    let record = until("the record", async || world.record().await).await;
    assert_eq!(record.spec.state, BookingState::Booked);
    assert_eq!(record.spec.subject, None, "the subject of a private event is masked");
    assert_eq!(record.spec.location.as_deref(), Some("HQ 1.01"), "the resource's own location");
    assert_eq!(record.spec.attendees, ["guest@fabrikam.example"]);
    assert_eq!(authority.calendar.reads().len(), 3);
    assert!(authority.calendar.reads().iter().all(|query| !query.contains("body")));
    let kinds: Vec<Value> = webhook.audit().iter().map(|entry| entry["purpose"].clone()).collect();
    for purpose in ["token", "eventMinimalRead", "eventFullRead"] {
        assert!(kinds.contains(&purpose.into()), "{purpose} is in the audit");
    }
    assert_eq!(webhook.audit().iter().filter(|entry| entry["type"] == "notification").count(), 2);

    let url = format!("{}/api/scopes/{}/contoso/consent", webhook.public, world.namespace);
    let consent = webhook.client.post(url).bearer_auth(authority.token(|_| ()));
    let answer = consent.json(&json!({"noticeVersion": "2026-01"})).send().await.unwrap();
    assert_eq!(answer.status(), 200, "the consent stands already");

    world.withdraw().await;
    authority.calendar.put(event(EVENT, false));
    webhook.notify(&world, &keys, EVENT).await;
    webhook.wait_for("denied", 1).await;
    assert_eq!(authority.calendar.reads().len(), 3, "nothing was read after the withdrawal");
    assert_eq!(world.record().await.unwrap().spec.state, BookingState::Booked);

    webhook.process.signal(Signal::SIGTERM).unwrap();
    let status = webhook.process.wait(START).await.unwrap();
    assert!(status.success(), "{status}\n{}", webhook.process.log_tail(20));
    let log = std::fs::read_to_string(webhook.process.log()).unwrap();
    let client_state = format!("v1.{}", keys.current_id());
    for secret in ["Budget", "guest@fabrikam", "user1@contoso", "app-token", &client_state, EVENT] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
