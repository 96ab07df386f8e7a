//! AccessScope: which calendars of a tenant may be touched at all, and with which credential.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    audit_export::{Audit, AuditStatus},
    condition::{self, CredentialsValid, MembersResolved, Type},
    rule,
};

/// An AccessScope says which calendars of one Microsoft 365 tenant Roomkeeper may touch at all, and with which credential.
/// One per cloud, tenant and app registration.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "roomkeeper.dev",
    version = "v1alpha1",
    kind = "AccessScope",
    namespaced,
    doc = "An AccessScope says which calendars of one Microsoft 365 tenant Roomkeeper may touch at all, and with which credential. One per cloud, tenant and app registration.",
    status = "AccessScopeStatus",
    derive = "PartialEq",
    shortname = "ascope",
    category = "roomkeeper",
    annotation("helm.sh/resource-policy", "keep"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Members", type_ = "integer", json_path = ".status.members.count"),
    printcolumn(name = "Active", type_ = "integer", json_path = ".status.subscriptions.active"),
    printcolumn(name = "Pending", type_ = "integer", json_path = ".status.subscriptions.pending"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Tenant", type_ = "string", json_path = ".spec.tenantId", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.cloud) && has(self.endpoints))")
        .message("cloud and endpoints exclude each other: name a Microsoft cloud, or the endpoints of a private one")
)]
pub struct AccessScopeSpec {
    /// Microsoft Entra tenant (GUID). Immutable.
    #[schemars(length(max = 36))]
    #[x_kube(validation = rule::guid("tenantId"))]
    #[x_kube(validation = rule::immutable("tenantId", "create another AccessScope for another tenant"))]
    pub tenant_id: String,

    /// Application (client) id of the app registration (GUID). Immutable.
    #[schemars(length(max = 36))]
    #[x_kube(validation = rule::guid("clientId"))]
    #[x_kube(validation = rule::immutable("clientId", "create another AccessScope for another app registration"))]
    pub client_id: String,

    /// Microsoft cloud of the tenant. Global when neither `cloud` nor `endpoints` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud: Option<Cloud>,

    /// Endpoints of a private cloud or a test. Every host must be on the operator's allow list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,

    /// Credential of the app registration.
    pub credentials: Credentials,

    /// Groups that widen or narrow the scope, decided as Exchange decides application access policies: DenyAccess beats
    /// RestrictAccess; with any RestrictAccess policy only members are within; nested groups count.
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(
        merge_strategy = ListMerge::Map(vec!["groupId".to_owned()]),
        validation = Rule::new("self.size() > 0").message("policies must name at least one group: without one the whole tenant would be within the scope")
    )]
    pub policies: Vec<Policy>,

    /// How the members of the groups are kept current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,

    /// The Outlook add-in whose property marks an event as booked.
    pub add_in: AddIn,

    /// What users are asked.
    pub consent: Consent,

    /// Where bookings are made. Without it, BookingRecords are kept and nothing is booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booking: Option<Booking>,

    /// How long BookingRecords are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,

    /// What becomes of the audit of this scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,

    /// True ends the Graph subscriptions of this scope and keeps objects and consents.
    #[serde(default)]
    pub suspend: bool,
}

/// Microsoft clouds; tokens never carry over from one to another.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    /// Worldwide, GCC included.
    Global,
    /// US Government L4 (GCC High).
    USGov,
    /// US Government L5 (DoD).
    USGovDoD,
    /// China, operated by 21Vianet.
    China,
}

impl Cloud {
    /// Origin of the pages at which people and applications sign in ("National cloud deployments" of the Graph documentation).
    pub const fn login(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com",
            Self::USGov | Self::USGovDoD => "https://login.microsoftonline.us",
            Self::China => "https://login.chinacloudapi.cn",
        }
    }
}

/// Endpoints of a private cloud or a test.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Origin of the token endpoint, such as `https://login.example`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^https://[A-Za-z0-9.:_\\\\[\\\\]-]+/?$')").message("authority must be an https origin such as https://login.example, without path"))]
    pub authority: String,
    /// Origin of Graph, without `/v1.0`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^https://[A-Za-z0-9.:_\\\\[\\\\]-]+/?$')").message("graph must be an https origin such as https://graph.example, without path"))]
    pub graph: String,
}

/// Credential of the app registration.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.workloadIdentity), has(self.clientCertificate), has(self.clientSecret)].filter(named, named).size() == 1").message("credentials must name exactly one credential: workloadIdentity, clientCertificate or clientSecret"))]
pub struct Credentials {
    /// Tokens of a service account of the same namespace, which the app registration trusts as a federated credential. No
    /// secret to store or to rotate: the first choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
    /// A certificate in a Secret of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificate>,
    /// A client secret in a Secret of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<ClientSecret>,
}

impl Credentials {
    /// The Secret that holds the credential, where one does.
    pub fn secret_name(&self) -> Option<&str> {
        let certificate = self.client_certificate.as_ref().map(|one| one.secret_name.as_str());
        certificate.or(self.client_secret.as_ref().map(|one| one.secret_name.as_str()))
    }
}

/// Which service account proves the application's identity.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// Service account of the same namespace. Its tokens are asked for with the audience `api://AzureADTokenExchange`; the
    /// federated credential of the app registration names the cluster's issuer and the subject
    /// `system:serviceaccount:<namespace>:<name>`. Both daemons may ask for them only when a Role of the namespace holds the
    /// name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("serviceAccountName"))]
    pub service_account_name: String,
}

/// Where the certificate is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// Secret of the same namespace with `tls.crt` (the certificate registered with the app, PEM) and `tls.key` (its RSA key, PEM),
    /// as type `kubernetes.io/tls` has them. Both daemons may read it only when a Role of the namespace holds its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("secretName"))]
    pub secret_name: String,
}

/// Where the client secret is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// Secret of the same namespace. Both daemons may read it only when a Role of the namespace holds its name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("secretName"))]
    pub secret_name: String,
    /// Key within the Secret.
    #[serde(default = "default_client_secret_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$')").message("key must be a key of the Secret: letters, digits, '-', '_' and '.'"))]
    pub key: String,
}

fn default_client_secret_key() -> String {
    "clientSecret".to_owned()
}

/// One group and what it means.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Whether members are let in or kept out.
    pub mode: PolicyMode,
    /// Object id of a mail-enabled security group.
    #[schemars(length(max = 36))]
    #[x_kube(validation = rule::guid("groupId"))]
    pub group_id: String,
}

/// Access right of a policy, named as in Exchange.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyMode {
    /// Only members are within the scope.
    RestrictAccess,
    /// Members are outside, whatever else says.
    DenyAccess,
}

/// How the members of the groups are kept current.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = rule::shorter("refreshInterval", "maxStaleness", "members would be out of date before they are read again"))]
pub struct Membership {
    /// Time between two reads of the groups.
    #[serde(default = "default_refresh_interval")]
    #[schemars(with = "String", length(max = 16))]
    #[x_kube(validation = rule::duration("refreshInterval", "10s"))]
    pub refresh_interval: Duration,
    /// Age from which a set of members that could not be refreshed is no proof any more.
    #[serde(default = "default_max_staleness")]
    #[schemars(with = "String", length(max = 16))]
    #[x_kube(validation = rule::duration("maxStaleness", "1m"))]
    pub max_staleness: Duration,
    /// Largest share of the living subscriptions, in percent, that one read of the groups may end. A read that would end more, and
    /// at least 10, is held back until a person confirms it with the annotation that the condition names. 100 holds nothing back.
    #[serde(default = "default_max_shrink_percent")]
    #[schemars(range(min = 0, max = 100))]
    pub max_shrink_percent: u8,
}

fn default_refresh_interval() -> Duration {
    std::time::Duration::from_mins(15).into()
}

fn default_max_staleness() -> Duration {
    std::time::Duration::from_hours(24).into()
}

fn default_max_shrink_percent() -> u8 {
    20
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            refresh_interval: default_refresh_interval(),
            max_staleness: default_max_staleness(),
            max_shrink_percent: default_max_shrink_percent(),
        }
    }
}

/// The Outlook add-in.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AddIn {
    /// Id of the add-in's manifest: its property on an event is `cecp-<manifestId>`.
    #[schemars(length(max = 36))]
    #[x_kube(validation = rule::guid("manifestId"))]
    pub manifest_id: String,
    /// Audience of the tokens that the add-in sends to the consent endpoint: the application id of the add-in.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-A-Za-z0-9._~:/]+$')").message("audience must be an application id or an application id URI"))]
    pub audience: String,
}

/// What users are asked.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Consent {
    /// Version of the notice that users read before they tick the box.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[-A-Za-z0-9._]+$')").message("noticeVersion must be a short version such as 2026-01: letters, digits, '-', '_' and '.'"))]
    pub notice_version: String,
    /// True: consents to an older notice do not count.
    #[serde(default)]
    pub require_current_notice: bool,
    /// True: a CalendarSubscription is created from each consent. False: people and GitOps write them.
    #[serde(default)]
    pub create_subscriptions: bool,
    /// True: users may withdraw their consent in the add-in. False: only support withdraws.
    #[serde(default)]
    pub self_service_withdrawal: bool,
    /// The organisation's own notice, in one language or more, shown below what the add-in says itself. Whoever changes it changes
    /// `noticeVersion` too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["language".to_owned()]))]
    pub notices: Vec<Notice>,
}

/// The organisation's own notice in one language.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Language of the text as a tag such as `en`, `de` or `pt-BR`. Who reads none of them gets `en`, or else the first.
    #[schemars(length(min = 2, max = 35))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$')").message("language must be a language tag such as en, de or pt-BR"))]
    pub language: String,
    /// Plain text, with an empty line between paragraphs.
    #[schemars(length(min = 1, max = 4000))]
    pub text: String,
}

/// The room-booking product's API.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Booking {
    /// Base URL. Its host must be on the operator's allow list.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rule::https_url("url"))]
    pub url: String,
    /// Secret of the same namespace whose keys and values are sent as headers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("secretName"))]
    pub secret_name: Option<String>,
    /// Client credentials (OAuth 2.0) by which tokens for the product are obtained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<BookingOAuth>,
    /// Most calls to the product. Kept over restarts and changes of the leader, and never overspent.
    #[serde(default)]
    pub quota: BookingQuota,
    /// Whether the bookings' ids and states are written onto the event, into a property of Roomkeeper's own. Needs the
    /// permission `Calendars.ReadWrite`.
    #[serde(default)]
    pub write_back: WriteBack,
    /// Whether the subject of a private or confidential event is stored and sent.
    #[serde(default)]
    pub private_subject: PrivateSubject,
}

/// Client credentials (RFC 6749, section 4.4) for the product.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BookingOAuth {
    /// Token endpoint. Its host must be on the operator's allow list.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = rule::https_url("tokenUrl"))]
    pub token_url: String,
    /// Scope to ask for, where the endpoint wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[!#-\\\\[\\\\]-~]+( [!#-\\\\[\\\\]-~]+)*$')").message("scope must be one or more words separated by single spaces, without quotes or backslashes"))]
    pub scope: Option<String>,
    /// Secret of the same namespace with the keys `clientId` and `clientSecret`.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("secretName"))]
    pub secret_name: String,
}

/// Most calls to the product, over all bookings of the scope.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.perWeek >= self.perMinute").message("perWeek must not be less than perMinute"))]
pub struct BookingQuota {
    /// Within any 60 seconds.
    #[serde(default = "default_per_minute")]
    #[schemars(with = "i32", range(min = 1, max = 100_000))]
    pub per_minute: u32,
    /// Within any seven days.
    #[serde(default = "default_per_week")]
    #[schemars(with = "i32", range(min = 1, max = 100_000_000))]
    pub per_week: u32,
}

fn default_per_minute() -> u32 {
    500
}

fn default_per_week() -> u32 {
    50_000
}

impl Default for BookingQuota {
    fn default() -> Self {
        Self { per_minute: default_per_minute(), per_week: default_per_week() }
    }
}

/// Whether the outcome of a booking is written onto its event.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WriteBack {
    /// Nothing is written to calendars.
    #[default]
    None,
    /// Ids and states go into the named property `roomkeeper-<manifestId>` of the event.
    Property,
}

/// What becomes of the subject of a private or confidential event.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PrivateSubject {
    /// It is read from Graph, dropped, and neither stored nor sent.
    #[default]
    Mask,
    /// It is kept like any other.
    Store,
}

/// How long a BookingRecord is kept.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Time between the end of the booking and the deletion of its record; none if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 16))]
    #[x_kube(validation = rule::duration("afterEnd", "0s"))]
    pub after_end: Option<Duration>,
    /// What becomes of the records of a calendar that may not be read any more: consent withdrawn, out of scope, or its
    /// CalendarSubscription deleted.
    #[serde(default)]
    pub on_unsubscribe: OnUnsubscribe,
    /// What becomes of the bookings at the product when the records are purged.
    #[serde(default)]
    pub purged_bookings: PurgedBookings,
    /// Time between a withdrawal and the deletion of its ConsentRecord; for good if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(max = 16))]
    #[x_kube(validation = rule::duration("withdrawnConsents", "1h"))]
    pub withdrawn_consents: Option<Duration>,
}

impl AccessScopeSpec {
    /// How long a BookingRecord outlives the end of its booking.
    pub fn kept_after_end(&self) -> std::time::Duration {
        self.retention.as_ref().and_then(|retention| retention.after_end).map(Into::into).unwrap_or_default()
    }

    /// How long a ConsentRecord outlives its withdrawal; `None`: for good.
    pub fn kept_after_withdrawal(&self) -> Option<std::time::Duration> {
        self.retention.as_ref().and_then(|retention| retention.withdrawn_consents).map(Into::into)
    }
}

/// What becomes of the records of a calendar that may not be read any more.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnUnsubscribe {
    /// They are deleted at once.
    #[default]
    Purge,
    /// They stay until their bookings have ended.
    KeepUntilEnd,
}

/// What becomes of the bookings at the product when the records are purged.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PurgedBookings {
    /// They stay; the product and the organizer see to them.
    #[default]
    Keep,
    /// They are cancelled before the record is deleted.
    Cancel,
}

/// What the operator saw.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AccessScopeStatus {
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `CredentialsValid`, `MembersResolved`, `AuditExported`, `Ready`; `Reconciling` and `Stalled` only while True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rule::conditions")]
    pub conditions: Vec<Condition>,
    /// The users within the scope, as a figure: who they are stays in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
    /// CalendarSubscriptions of this scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<SubscriptionCounts>,
    /// A large shrink that is held back, or that was confirmed and is being carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrink: Option<Shrink>,
    /// Calls to the booking product that were set aside, so that the quota holds over restarts and changes of the leader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booking_quota: Option<BookingQuotaStatus>,
    /// How far the audit's exports are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditStatus>,
    /// When the certificate of the credential ends. Absent for credentials that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential_expires_at: Option<Time>,
    /// The last value of the annotation `roomkeeper.dev/reconcile-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_handled_reconcile_at: Option<String>,
}

impl AccessScopeStatus {
    /// Why the credential is of no use, as the reason of `CredentialsValid`. A token endpoint that cannot be reached for a moment
    /// is no such reason.
    pub fn credential_refused(&self) -> Option<&str> {
        self.refused(Type::CredentialsValid, |reason| reason != CredentialsValid::Unreachable.as_str())
    }

    /// Why Graph may not be asked although there are tokens, as the reason of `MembersResolved`: the tenant's administrator took the
    /// permission to read the groups away, and with it most likely the consent to the whole app.
    pub fn permission_refused(&self) -> Option<&str> {
        self.refused(Type::MembersResolved, |reason| reason == MembersResolved::PermissionMissing.as_str())
    }

    fn refused(&self, type_: Type, counts: impl FnOnce(&str) -> bool) -> Option<&str> {
        let found = condition::get(&self.conditions, type_)?;
        let is_false = found.status == condition::Status::False.as_str();
        (is_false && counts(&found.reason)).then_some(found.reason.as_str())
    }
}

/// The users within the scope, as a figure.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Members {
    /// Users within the scope.
    pub count: i64,
    /// When the groups were last read.
    pub resolved_at: Time,
}

/// A read of the groups that ends more subscriptions than `membership.maxShrinkPercent` lets through.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Shrink {
    /// When it was first seen.
    pub since: Time,
    /// Subscriptions that it would end, or has still to end once it is confirmed.
    pub ending: i64,
    /// Whether a person confirmed it.
    pub confirmed: bool,
}

/// Calls to the booking product that were set aside.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BookingQuotaStatus {
    /// Per span of six hours, in order; spans that left the week are dropped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    pub week: Vec<QuotaSpan>,
    /// Those of the last minutes, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub recent: Vec<QuotaChunk>,
    /// When calls go on, while the week's quota is used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exhausted_until: Option<Time>,
}

/// Calls that were set aside within six hours.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct QuotaSpan {
    /// Begin of the span.
    pub from: Time,
    /// Calls.
    #[schemars(with = "i32", range(min = 0))]
    pub reserved: u32,
}

/// Calls that were set aside at once.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct QuotaChunk {
    /// They may be made until then, and not after.
    pub until: Time,
    /// Calls.
    #[schemars(with = "i32", range(min = 0))]
    pub reserved: u32,
}

/// CalendarSubscriptions of a scope by state.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionCounts {
    /// With a living Graph subscription.
    pub active: i64,
    /// Without one, for now or because consent or scope say so.
    pub pending: i64,
    /// A person must act.
    pub stalled: i64,
}
