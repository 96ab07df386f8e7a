//! Where a life is played: a namespace, a Graph, a booking product, one clock, and an operator that dies where it is told to.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{AccessScope, CalendarSubscription, condition::Type};
use roomkeeper_operator::failpoint::{
    Place,
    rehearsal::{FOLDER, POINTS, count},
};
use roomkeeper_service::client_state::{KeyRing, SECRET_NAME};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::{
    clock::Time,
    crash::Crash,
    graph::Connected,
    phoenix::Phoenix,
    product::Product,
    site::{Conditioned, Site, until},
    world::{CLIENT, TENANT, scope, tenant, user},
};

/// The build that has the places.
const PROGRAM: &str = env!("CARGO_BIN_EXE_roomkeeper-operator-rehearsal");

/// People of the tenant.
pub const USERS: usize = 9;
/// Nobody consented for this one.
pub const NOBODY: usize = 9;

/// Longest wait for the last crash, which may come after everything that the life waits for.
const LAST: Duration = Duration::from_secs(10);

/// Lines of the operator's log that are shown with a failure.
const LAST_LINES: usize = 60;

pub struct Stage {
    pub connected: &'static Connected,
    pub product: Product,
    pub time: Mutex<Time>,
    pub phoenix: Phoenix,
    crashes: Vec<Crash>,
    folder: PathBuf,
}

impl Stage {
    pub async fn new(crashes: Vec<Crash>) -> Self {
        // Lives as long as the test program: the operator that rises again borrows it.
        let connected: &'static Connected = Box::leak(Box::new(Connected::to(&tenant(USERS)).await));
        let product = Product::start(&connected.site).await;
        let time = Time::new(connected);
        let folder = connected.site.folder.path().join("failpoints");
        std::fs::create_dir(&folder).unwrap();
        plant(connected, NOBODY, "gone", "nobody").await;
        let mut flags = connected.flags();
        flags.extend(["--allowed-host", product.origin.strip_prefix("https://").unwrap()].map(str::to_owned));
        flags.extend(["--booking-ca", product.ca.to_str().unwrap()].map(str::to_owned));
        // So many programs on few cores are slow, and none is to lose its lease by that. A dead one's is given back.
        let lease =
            ["--lease-duration", "60s", "--lease-renew-deadline", "50s", "--lease-retry-period", "1s"];
        flags.extend(lease.map(str::to_owned));
        let points: Vec<String> = crashes.iter().map(|(point, time)| format!("{point}@{time}")).collect();
        let ((variable, file), points, counted) = (time.variable(), points.join(","), folder.clone());
        let program = move || {
            connected
                .site
                .build(PROGRAM, "a", &flags)
                .env(variable, &file)
                .env(POINTS, &points)
                .env(FOLDER, &counted)
        };
        let phoenix = Phoenix::start(connected, program).await;
        Self { connected, product, time: Mutex::new(time), phoenix, crashes, folder }
    }

    pub fn site(&self) -> &'static Site {
        &self.connected.site
    }

    pub fn crashes_in_words(&self) -> String {
        let words: Vec<String> = self.crashes.iter().map(|(point, time)| format!("{point}@{time}")).collect();
        words.join(" ")
    }

    /// Whether a crash at one of these places is still to come.
    pub fn awaits(&self, places: &[Place]) -> bool {
        self.crashes
            .iter()
            .any(|(point, time)| places.contains(&point.place()) && count(&self.folder, *point) < *time)
    }

    /// The crashes that did not come.
    pub async fn missed(&self) -> Vec<String> {
        let began = Instant::now();
        while self.awaits(Place::ALL) && began.elapsed() < LAST {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let missed = self.crashes.iter().filter(|(point, time)| count(&self.folder, *point) < *time);
        missed.map(|(point, time)| format!("{point}@{time}")).collect()
    }

    /// Applies the scope with its booking product, and waits until it is ready; returns its uid.
    pub async fn scope(&self) -> String {
        let yaml = scope("contoso", &self.connected.graph.origin);
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: booking, namespace: NAMESPACE}\n\
                      stringData: {X-Api-Key: demo-booking-key}\n";
        let booking = format!(
            "  booking: {{url: \"{}\", secretName: booking}}\n  retention: {{withdrawnConsents: 24h}}\n",
            self.product.origin
        );
        self.site().apply(&format!("{secret}---\n{yaml}{booking}")).await;
        let scope = self.site().condition::<AccessScope>("contoso", Type::Ready, "True/Succeeded").await;
        scope.uid().unwrap()
    }

    /// Puts a subscription at Graph that no status knows of; returns its id.
    pub async fn plant(&self, number: usize, key_id: &str, uid: &str) -> String {
        plant(self.connected, number, key_id, uid).await
    }

    /// The keys behind clientState.
    pub async fn keys(&self) -> (Secret, KeyRing) {
        let secret = self.site().api::<Secret>().get(SECRET_NAME).await.unwrap();
        let ring = KeyRing::from_secret(&secret).unwrap();
        (secret, ring)
    }

    pub async fn merge<K: Conditioned>(&self, name: &str, patch: Value) {
        let api = self.site().api::<K>();
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    }

    /// Says as the worker what was heard.
    pub async fn report(&self, name: &str, delivery: Value) {
        let body = json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription", "metadata": {"name": name},
            "status": {"delivery": delivery},
        });
        let params = PatchParams::apply("roomkeeper-worker").force();
        self.site()
            .api::<CalendarSubscription>()
            .patch_status(name, &params, &Patch::Apply(&body))
            .await
            .unwrap();
    }

    pub async fn subscription(&self, name: &str) -> CalendarSubscription {
        self.site().api::<CalendarSubscription>().get(name).await.unwrap()
    }

    pub async fn ready(&self, name: &str, reason: &str) -> CalendarSubscription {
        self.site().condition(name, Type::Ready, &format!("True/{reason}")).await
    }

    pub async fn gone<K: Conditioned>(&self, name: &str) {
        let api = self.site().api::<K>();
        until(&format!("the end of {name}"), async || match api.get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(object) => Err(format!("{object:?}")),
        })
        .await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.site().folder.path().join("a.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
            eprintln!("with crashes at {}; the operator's last words:\n{last}", self.crashes_in_words());
        }
    }
}

async fn plant(connected: &Connected, number: usize, key_id: &str, uid: &str) -> String {
    let id = uuid::Uuid::new_v4().to_string();
    let url = |kind: &str| format!("{}/{kind}/{key_id}/{uid}", connected.endpoint.url);
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 30);
    let one = json!({
        "id": id, "userId": user(number), "notificationUrl": url("notifications"),
        "lifecycleNotificationUrl": url("lifecycle"), "clientState": "planted", "expirationDateTime": expires,
    });
    let body = json!({"tenantId": TENANT, "applicationId": CLIENT, "value": [one]});
    connected.graph.control("subscriptions", &body).await;
    id
}
