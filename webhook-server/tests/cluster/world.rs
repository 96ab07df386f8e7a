//! A scope, a user, a consent and a subscription, as the operator leaves them.

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use roomkeeper_crds::{AccessScope, BookingRecord, CalendarSubscription, ConsentRecord, name};
use roomkeeper_webhook_server::queue::{EventItem, Item};
use serde_json::{Value, json};

use super::cluster::{Cluster, cluster};

pub const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
pub const APP: &str = "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11";
pub const MANIFEST: &str = "3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21";
pub const AUDIENCE: &str = "1d9d3c55-7a0e-4d0b-8c39-5a3f6f1b2c77";
pub const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
pub const EVENT: &str = "AAMkAD_event-1=";

pub struct World {
    pub cluster: Cluster,
    pub namespace: String,
    pub consent: ConsentRecord,
    pub subscription: CalendarSubscription,
}

impl World {
    /// A namespace of its own with everything that allows reading.
    pub async fn new(prefix: &str) -> Self {
        Self::with(prefix, json!({})).await
    }

    /// The same, with `more` in the scope's spec.
    pub async fn with(prefix: &str, more: Value) -> Self {
        let cluster = cluster().await;
        let namespace = cluster.plane.namespace(prefix).await.unwrap();
        let scope = scope(&cluster, &namespace, more).await;
        let consent = ConsentRecord::new(
            &name::consent_record(&scope.uid().unwrap(), USER, 0),
            serde_json::from_value(json!({
                "scope": {"name": "contoso", "uid": scope.uid(), "tenantId": TENANT, "clientId": APP},
                "user": {"id": USER, "principalName": "user1@contoso.example"},
                "granted": {"at": Timestamp::now(), "method": "AddIn", "noticeVersion": "2026-01"},
            }))
            .unwrap(),
        );
        let post = PostParams::default();
        let consents: Api<ConsentRecord> = Api::namespaced(cluster.admin.clone(), &namespace);
        let consent = consents.create(&post, &consent).await.unwrap();
        let subscriptions: Api<CalendarSubscription> = Api::namespaced(cluster.admin.clone(), &namespace);
        let subscription = CalendarSubscription::new(
            "user1",
            serde_json::from_value(json!({"scopeRef": {"name": "contoso"}, "user": "user1@contoso.example"}))
                .unwrap(),
        );
        subscriptions.create(&post, &subscription).await.unwrap();
        let status = json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
            "status": {
                "userId": USER,
                "consent": {"name": consent.name_any(), "grantedAt": consent.spec.granted.at},
            },
        });
        let operator = PatchParams::apply("roomkeeper-operator");
        let subscription =
            subscriptions.patch_status("user1", &operator, &Patch::Apply(&status)).await.unwrap();
        Self { cluster, namespace, consent, subscription }
    }

    pub fn item(&self) -> Item {
        Item::V1Event(EventItem {
            tenant_id: TENANT.to_owned(),
            user_id: USER.to_owned(),
            event_id: EVENT.to_owned(),
            subscription_uid: self.subscription.uid().unwrap(),
            deleted: false,
            found: false,
            version: None,
            received_at: Timestamp::now(),
        })
    }

    /// The notification of that version of the event.
    pub fn told(&self, version: u32) -> Item {
        match self.item() {
            Item::V1Event(event) => {
                Item::V1Event(EventItem { version: Some(format!("version-{version}")), ..event })
            }
            Item::V1Lifecycle(_) => unreachable!(),
        }
    }

    pub fn deleted_item(&self) -> Item {
        match self.item() {
            Item::V1Event(event) => Item::V1Event(EventItem { deleted: true, ..event }),
            Item::V1Lifecycle(_) => unreachable!(),
        }
    }

    pub fn records(&self) -> Api<BookingRecord> {
        Api::namespaced(self.cluster.admin.clone(), &self.namespace)
    }

    pub fn subscriptions(&self) -> Api<CalendarSubscription> {
        Api::namespaced(self.cluster.admin.clone(), &self.namespace)
    }

    pub fn consents(&self) -> Api<ConsentRecord> {
        Api::namespaced(self.cluster.admin.clone(), &self.namespace)
    }

    pub fn record_name() -> String {
        name::booking_record(TENANT, USER, EVENT)
    }

    pub async fn record(&self) -> Option<BookingRecord> {
        self.records().get_opt(&Self::record_name()).await.unwrap()
    }

    pub async fn all_records(&self) -> Vec<BookingRecord> {
        self.records().list(&ListParams::default()).await.unwrap().items
    }

    pub async fn withdraw(&self) {
        let withdrawn =
            json!({"spec": {"withdrawn": {"at": Timestamp::now(), "by": "support", "reason": "T-1"}}});
        self.consents()
            .patch(&self.consent.name_any(), &PatchParams::default(), &Patch::Merge(&withdrawn))
            .await
            .unwrap();
    }
}

/// The scope `contoso`, with `more` merged into its spec.
pub async fn scope(cluster: &Cluster, namespace: &str, more: Value) -> AccessScope {
    let mut spec = json!({
        "tenantId": TENANT, "clientId": APP,
        "credentials": {"clientSecret": {"secretName": "contoso-graph"}},
        "policies": [{"mode": "RestrictAccess", "groupId": "5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10"}],
        "addIn": {"manifestId": MANIFEST, "audience": AUDIENCE},
        "consent": {"noticeVersion": "2026-01"},
    });
    for (member, value) in more.as_object().unwrap() {
        spec[member] = value.clone();
    }
    let scope = AccessScope::new("contoso", serde_json::from_value(spec).unwrap());
    let scopes: Api<AccessScope> = Api::namespaced(cluster.admin.clone(), namespace);
    scopes.create(&PostParams::default(), &scope).await.unwrap()
}
