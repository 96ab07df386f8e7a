//! Many subscribed people at once. One of them is subscribed and booked by the programs themselves; the others are copies of
//! what that led to, put into etcd and into the Graph simulator directly, because a hundred thousand through the API take half
//! an hour.

use std::{fmt::Debug, time::Duration};

use anyhow::Context as _;
use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use roomkeeper_controlplane::ControlPlane;
use roomkeeper_crds::{
    BookingRecord, CalendarSubscription, ConsentRecord,
    condition::{self, Type},
    name,
};
use roomkeeper_e2e::{
    scene::{NAMESPACE, install_scope},
    system::System,
    wait, world,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

/// etcd takes that many operations in one transaction.
const TRANSACTION: usize = 128;
/// Subscriptions that the simulator takes in one call.
const PLANTED: usize = 2_000;
const WAIT: Duration = Duration::from_mins(2);

/// The one who was subscribed by the programs, as JSON, and what differs between people.
pub(crate) struct Population {
    http: reqwest::Client,
    etcd: String,
    prefix: String,
    scope_uid: String,
    consent: String,
    subscription: String,
    record: String,
    model: Person,
    count: usize,
}

/// What of one person's objects is not the same for all.
#[derive(Clone)]
struct Person {
    user_id: String,
    principal_name: String,
    uid: String,
    consent_uid: String,
    subscription_id: String,
    subscription_name: String,
    consent_name: String,
}

impl Population {
    /// Subscribes the first person, with a running operator and webhook server.
    pub(crate) async fn first(
        control_plane: &ControlPlane,
        system: &System,
        client: &Client,
    ) -> anyhow::Result<Self> {
        let scope_uid = install_scope(system, client, str::to_owned).await?;
        let user_id = world::user_id(1);
        let consents: Api<ConsentRecord> = Api::namespaced(client.clone(), NAMESPACE);
        let consent = world::consent(1, &scope_uid)?;
        let consent_name = consent.name_any();
        consents.create(&PostParams::default(), &consent).await?;
        let subscription_name = name::calendar_subscription(&scope_uid, &user_id);
        let subscriptions: Api<CalendarSubscription> = Api::namespaced(client.clone(), NAMESPACE);
        let subscription = ready("the first subscription", &subscriptions, &subscription_name, |object| {
            Some(&object.status.as_ref()?.conditions)
        })
        .await?;
        let records: Api<BookingRecord> = Api::namespaced(client.clone(), NAMESPACE);
        let record_name = name::booking_record(world::TENANT, &user_id, "event");
        let record: BookingRecord = serde_json::from_value(record(&record_name, &subscription_name)?)?;
        records.create(&PostParams::default(), &record).await?;
        let record = ready("the first booking", &records, &record_name, |object| {
            Some(&object.status.as_ref()?.conditions)
        })
        .await?;
        let consent = consents.get(&consent_name).await?;
        let known = subscription.status.as_ref().and_then(|status| status.subscription.as_ref());
        let model = Person {
            uid: subscription.uid().context("uid")?,
            consent_uid: consent.uid().context("uid")?,
            subscription_id: known.context("a Graph subscription")?.id.clone(),
            principal_name: world::principal_name(1),
            user_id,
            subscription_name,
            consent_name,
        };
        let (etcd, prefix) = control_plane.etcd().context("a control plane with an etcd of its own")?;
        Ok(Self {
            http: reqwest::Client::new(),
            etcd,
            prefix,
            scope_uid,
            consent: stored(&consent)?,
            subscription: stored(&subscription)?,
            record: stored(&record)?,
            model,
            count: 1,
        })
    }

    /// Adds copies of the first until there are that many.
    pub(crate) async fn grow(&mut self, system: &System, count: usize) -> anyhow::Result<()> {
        let people: Vec<Person> = (self.count + 1..=count).map(|number| self.person(number)).collect();
        for some in people.chunks(PLANTED) {
            self.plant(system, some).await?;
        }
        let mut puts = Vec::new();
        for person in &people {
            puts.push(self.put("consentrecords", &person.consent_name, &self.copy(&self.consent, person)));
            puts.push(self.put(
                "calendarsubscriptions",
                &person.subscription_name,
                &self.copy(&self.subscription, person),
            ));
        }
        self.commit(puts).await?;
        self.count = count;
        Ok(())
    }

    /// One BookingRecord for each person.
    pub(crate) async fn book(&self) -> anyhow::Result<()> {
        let first = name::booking_record(world::TENANT, &self.model.user_id, "event");
        let puts = (2..=self.count).map(|number| {
            let person = self.person(number);
            let name = name::booking_record(world::TENANT, &person.user_id, "event");
            let text = self.copy(&self.record, &person).replace(&first, &name);
            self.put("bookingrecords", &name, &text)
        });
        self.commit(puts.collect()).await
    }

    fn person(&self, number: usize) -> Person {
        let user_id = world::user_id(number);
        let id = |kind: u32| Uuid::from_u128((u128::from(kind) << 96) | number as u128).to_string();
        Person {
            principal_name: world::principal_name(number),
            uid: id(1),
            consent_uid: id(2),
            subscription_id: id(3),
            subscription_name: name::calendar_subscription(&self.scope_uid, &user_id),
            consent_name: name::consent_record(&self.scope_uid, &user_id, 0),
            user_id,
        }
    }

    fn copy(&self, text: &str, person: &Person) -> String {
        let model = &self.model;
        [
            (&model.user_id, &person.user_id),
            (&model.principal_name, &person.principal_name),
            (&model.uid, &person.uid),
            (&model.consent_uid, &person.consent_uid),
            (&model.subscription_id, &person.subscription_id),
            (&model.subscription_name, &person.subscription_name),
            (&model.consent_name, &person.consent_name),
        ]
        .into_iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from.as_str(), to))
    }

    fn put(&self, resource: &str, name: &str, text: &str) -> Value {
        let key = format!("{}/roomkeeper.dev/{resource}/{NAMESPACE}/{name}", self.prefix);
        json!({"requestPut": {"key": BASE64.encode(key.as_bytes()), "value": BASE64.encode(text.as_bytes())}})
    }

    async fn commit(&self, puts: Vec<Value>) -> anyhow::Result<()> {
        for some in puts.chunks(TRANSACTION) {
            let answer = self
                .http
                .post(format!("{}/v3/kv/txn", self.etcd))
                .json(&json!({"success": some}))
                .send()
                .await?;
            let status = answer.status();
            anyhow::ensure!(status.is_success(), "etcd: {status} {}", answer.text().await?);
        }
        Ok(())
    }

    async fn plant(&self, system: &System, people: &[Person]) -> anyhow::Result<()> {
        let model: CalendarSubscription = serde_json::from_str(&self.subscription)?;
        let known = model.status.and_then(|status| status.subscription).context("a Graph subscription")?;
        let key_id = known.key_id.unwrap_or_default();
        let expires = known.expires_at.0;
        let value: Vec<Value> = people
            .iter()
            .map(|person| {
                let url = |kind: &str| format!("{}/{kind}/{key_id}/{}", system.public_url(), person.uid);
                json!({
                    "id": person.subscription_id, "userId": person.user_id, "notificationUrl": url("notifications"),
                    "lifecycleNotificationUrl": url("lifecycle"), "clientState": "planted", "expirationDateTime": expires,
                })
            })
            .collect();
        let body = json!({"tenantId": world::TENANT, "applicationId": world::CLIENT, "value": value});
        system.graph.post("/_sim/subscriptions", &body).await.map(drop)
    }
}

/// As the API server stores it: without what it adds when it reads.
fn stored(object: &impl serde::Serialize) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(object)?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("resourceVersion");
    }
    Ok(value.to_string())
}

/// A BookingRecord of a calendar, for a meeting far ahead.
pub(crate) fn record(name: &str, subscription: &str) -> anyhow::Result<Value> {
    let from = Timestamp::from_second(Timestamp::now().as_second())?
        .checked_add(SignedDuration::from_hours(2_000))?;
    Ok(json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "BookingRecord",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"roomkeeper.dev/scope": "contoso"}},
        "spec": {
            "attendees": (2..8).map(world::principal_name).collect::<Vec<_>>(),
            "iCalUId": "040000008200E00074C5B7101A82E008", "changeKey": "DwAAABYAAAAXxlVK8zI/TZLFIn9D86hXAAAEB/jr",
            "dateTimeFrom": from, "dateTimeTo": from.checked_add(SignedDuration::from_hours(1))?,
            "eventId": "event", "lastModifiedDateTime": from, "location": "Headquarters, room-101",
            "organizer": world::principal_name(1), "sensitivity": "normal", "subject": "Planning of the next quarter",
            "singleValueExtendedProperties": {"resources": [{
                "resourceId": "room-101", "manifestId": world::MANIFEST,
                "propertyId": format!("String {{00020329-0000-0000-C000-000000000046}} Name cecp-{}", world::MANIFEST),
                "location": "Headquarters, room-101", "addInVersion": "1.4.0", "attributes": ["screen", "phone"], "capacity": 8,
                "attendees": [world::principal_name(2)], "owner": world::principal_name(3),
            }]},
            "state": "Booked", "subscriptionRef": {"name": subscription},
        },
    }))
}

/// Waits until an object is Ready.
async fn ready<K: DeserializeOwned + Clone + Debug>(
    what: &str,
    api: &Api<K>,
    name: &str,
    conditions: fn(&K) -> Option<&Vec<Condition>>,
) -> anyhow::Result<K> {
    let is_ready = |object: &K| conditions(object).is_some_and(|all| condition::is_true(all, Type::Ready));
    wait::until(what, WAIT, async || Ok(api.get_opt(name).await?.filter(is_ready))).await
}
