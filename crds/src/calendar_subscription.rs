//! CalendarSubscription: one user's calendar, kept alive as a Graph change-notification subscription.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule;

/// A CalendarSubscription asks to follow one user's calendar. Nothing is subscribed without a standing consent.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "roomkeeper.dev",
    version = "v1alpha1",
    kind = "CalendarSubscription",
    namespaced,
    doc = "A CalendarSubscription asks to follow one user's calendar. Nothing is subscribed without a standing ConsentRecord and a place within the AccessScope.",
    status = "CalendarSubscriptionStatus",
    derive = "PartialEq",
    shortname = "calsub",
    category = "roomkeeper",
    annotation("helm.sh/resource-policy", "keep"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    selectable = ".spec.scopeRef.name",
    selectable = ".spec.user",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Subscribed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Subscribed\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Scope", type_ = "string", json_path = ".spec.scopeRef.name"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.subscription.expiresAt"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct CalendarSubscriptionSpec {
    /// The AccessScope of the same namespace that this calendar belongs to. Immutable.
    #[x_kube(validation = rule::immutable("scopeRef", "delete this CalendarSubscription and create another one"))]
    pub scope_ref: ScopeRef,

    /// User principal name or object id of the user, in lower case. Immutable.
    #[schemars(length(min = 1, max = 320))]
    #[x_kube(validation = Rule::new("self == self.lowerAscii()").message("user must be written in lower case, so that one user has one spelling"))]
    #[x_kube(validation = Rule::new("self.matches('^([^@/?#\\\\s]+@[^@/?#\\\\s]+|[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12})$')").message("user must be a user principal name such as user1@contoso.example or an object id (GUID)"))]
    #[x_kube(validation = rule::immutable("user", "delete this CalendarSubscription and create another one"))]
    pub user: String,

    /// True ends the Graph subscription and keeps object and consent.
    #[serde(default)]
    pub suspend: bool,

    /// What deleting this object means for the consent.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// Reference to an AccessScope of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ScopeRef {
    /// Name of the AccessScope.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("scopeRef.name"))]
    pub name: String,
}

/// What deleting a CalendarSubscription means for the consent.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDelete {
    /// The consent stands: a prune or a rename must not falsify the register.
    #[default]
    KeepConsent,
    /// The consent is withdrawn. Set on objects that the operator made from a consent.
    WithdrawConsent,
}

/// What the operator saw; `delivery` is the worker's.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct CalendarSubscriptionStatus {
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Object id of the user, resolved once; from then on only the id is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub user_id: Option<String>,
    /// The consent that allows this subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<ConsentRef>,
    /// The living Graph subscription.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<GraphSubscription>,
    /// What the operator asks of the worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync: Option<Resync>,
    /// What the worker reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Delivery>,
    /// `Allowed`, `Subscribed`, `Delivering`, `Ready`; `Reconciling` and `Stalled` only while True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rule::conditions")]
    pub conditions: Vec<Condition>,
    /// The last value of the annotation `roomkeeper.dev/reconcile-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_handled_reconcile_at: Option<String>,
    /// The last value of the annotation `roomkeeper.dev/renew-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_handled_renew_at: Option<String>,
}

/// The consent that allows a subscription.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ConsentRef {
    /// Name of the ConsentRecord.
    #[schemars(length(max = 253))]
    pub name: String,
    /// When it was granted, as the record claims.
    pub granted_at: Time,
}

/// A Graph subscription that was proven to live.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct GraphSubscription {
    /// Id given by Graph.
    #[schemars(length(max = 64))]
    pub id: String,
    /// End of life as Graph returned it.
    pub expires_at: Time,
    /// When it will be renewed.
    pub renew_at: Time,
    /// When it was made.
    pub created_at: Time,
    /// When it was last authorised: made, renewed or reauthorised. A second authorisation within 10 minutes is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorized_at: Option<Time>,
    /// Id of the key that signs its clientState. The key stays valid until no subscription names it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub key_id: Option<String>,
}

/// A request to read the calendar's booked events again.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Resync {
    /// When it was asked for. Answered once `delivery.resyncHandled` is not earlier.
    pub requested: Time,
    /// Why.
    pub reason: ResyncReason,
}

/// Why a calendar is read again.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResyncReason {
    /// The subscription is new: what was booked before it was not notified.
    Created,
    /// The subscription was made anew: changes in between were not notified.
    Recreated,
    /// Graph told that notifications were not delivered.
    Missed,
    /// Graph removed the subscription.
    SubscriptionRemoved,
    /// Nothing was heard for a long time.
    Silence,
    /// Every calendar is read again once in a long while, whatever was heard of it.
    Periodic,
    /// A person asked.
    Requested,
}

/// What the worker reports; written on change, otherwise at most every 6 hours.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// Whether notifications arrive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DeliveryState>,
    /// The last lifecycle notification of each kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// When a notification was last received, to within 6 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_received_at: Option<Time>,
    /// The value of `resync.requested` that was answered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync_handled: Option<Time>,
    /// Changes that the resync answered last found and that had never been notified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0))]
    pub unnotified_changes: Option<u32>,
    /// Which worker reads the calendar again right now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync_claim: Option<ResyncClaim>,
}

/// The claim of one worker to a resync. Another worker may take it over once it has run out.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ResyncClaim {
    /// Identity of the worker.
    #[schemars(length(max = 253))]
    pub holder: String,
    /// Until when.
    pub until: Time,
}

/// State of delivery, with the names of the reasons of `Delivering`.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryState {
    /// Notifications arrive.
    Receiving,
    /// Nothing has arrived yet.
    NoTrafficYet,
}

/// The last lifecycle notification of each kind. They ask for different things, so that none stands for another or hides it;
/// of one kind the latest stands.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// Some notifications were not delivered: the calendar has to be read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<LifecycleNotice>,
    /// Graph removed the subscription: it has to be made again, and the calendar read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_removed: Option<LifecycleNotice>,
    /// Graph asks to authorise again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reauthorization_required: Option<LifecycleNotice>,
}

/// A lifecycle notification of Graph.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleNotice {
    /// When it was taken. Of several that were taken before one was reported, the latest.
    pub received_at: Time,
    /// Graph subscription that it speaks of.
    #[schemars(length(max = 64))]
    pub subscription_id: String,
}

/// Lifecycle notifications of Graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LifecycleEvent {
    /// Some notifications were not delivered.
    Missed,
    /// Graph removed the subscription.
    SubscriptionRemoved,
    /// Graph asks to authorise again.
    ReauthorizationRequired,
}

impl LifecycleEvent {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Missed, Self::SubscriptionRemoved, Self::ReauthorizationRequired];
}

impl Lifecycle {
    /// The last one of a kind.
    pub fn of(&self, event: LifecycleEvent) -> Option<&LifecycleNotice> {
        match event {
            LifecycleEvent::Missed => self.missed.as_ref(),
            LifecycleEvent::SubscriptionRemoved => self.subscription_removed.as_ref(),
            LifecycleEvent::ReauthorizationRequired => self.reauthorization_required.as_ref(),
        }
    }

    /// Puts one in the place of an earlier one of its kind. A repeated one, or one that is older, changes nothing.
    pub fn note(&mut self, event: LifecycleEvent, notice: &LifecycleNotice) {
        let known = match event {
            LifecycleEvent::Missed => &mut self.missed,
            LifecycleEvent::SubscriptionRemoved => &mut self.subscription_removed,
            LifecycleEvent::ReauthorizationRequired => &mut self.reauthorization_required,
        };
        if known.as_ref().is_none_or(|known| known.received_at <= notice.received_at) {
            *known = Some(notice.clone());
        }
    }
}
