//! BookingRecord: one booked event, with the listed properties and nothing else.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rule;

/// Most bytes of a BookingRecord's spec as JSON.
pub const SPEC_LIMIT_BYTES: usize = 32 * 1024;

/// One booked event. Written by the worker alone; deleted when the booking has ended.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "roomkeeper.dev",
    version = "v1alpha1",
    kind = "BookingRecord",
    namespaced,
    doc = "A BookingRecord is one event that holds a booking. It is written by Roomkeeper alone and deleted when the booking has ended.",
    status = "BookingRecordStatus",
    derive = "PartialEq",
    shortname = "booking",
    category = "roomkeeper",
    annotation("helm.sh/resource-policy", "keep"),
    annotation("kustomize.toolkit.fluxcd.io/substitute", "disabled"),
    selectable = ".spec.subscriptionRef.name",
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
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state"),
    printcolumn(name = "From", type_ = "string", json_path = ".spec.dateTimeFrom"),
    printcolumn(name = "To", type_ = "string", json_path = ".spec.dateTimeTo"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Location", type_ = "string", json_path = ".spec.location", priority = "1"),
    printcolumn(name = "Organizer", type_ = "string", json_path = ".spec.organizer", priority = "1")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.dateTimeTo >= self.dateTimeFrom").message("dateTimeTo must not lie before dateTimeFrom"))]
#[x_kube(
    validation = Rule::new("self.eventId == oldSelf.eventId && self.subscriptionRef == oldSelf.subscriptionRef")
        .message("eventId and subscriptionRef are immutable: another event is another BookingRecord")
)]
pub struct BookingRecordSpec {
    /// Addresses of the attendees of the event.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500), inner(length(max = 320)))]
    pub attendees: Vec<String>,
    /// Id of the event that is the same in every calendar.
    #[serde(rename = "iCalUId")]
    #[schemars(length(min = 1, max = 1024))]
    pub i_cal_u_id: String,
    /// Version of the event in Exchange.
    #[schemars(length(min = 1, max = 256))]
    pub change_key: String,
    /// Start of the event; of a series that of its first occurrence.
    pub date_time_from: Time,
    /// End of the event; of a series that of its first occurrence.
    pub date_time_to: Time,
    /// Immutable id of the single event or the series master.
    #[schemars(length(min = 1, max = 1024))]
    pub event_id: String,
    /// Whether the event lasts whole days. All its times are then midnights of the place of the space, written as if in UTC.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_all_day: bool,
    /// When the event last changed.
    pub last_modified_date_time: Time,
    /// Location of the booked resource; the location text of the event is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub location: Option<String>,
    /// Address of the organizer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub organizer: Option<String>,
    /// How the event repeats, as data; only on a series master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recurrence_pattern: Option<Recurrence>,
    /// Sensitivity of the event.
    pub sensitivity: Sensitivity,
    /// Id of the series that the event belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub series_master_id: Option<String>,
    /// Subject of the event; absent where `booking.privateSubject` masks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub subject: Option<String>,
    /// What the add-in left on the event.
    pub single_value_extended_properties: AddInProperties,
    /// Whether the bookings should stand.
    pub state: BookingState,
    /// The CalendarSubscription through which the event was read.
    pub subscription_ref: SubscriptionRef,
}

/// Sensitivity of an event, with Graph's names.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Sensitivity {
    /// Anyone with access to the calendar sees it.
    Normal,
    /// Marked personal.
    Personal,
    /// Marked private.
    Private,
    /// Marked confidential.
    Confidential,
}

/// How a series repeats: Graph's `patternedRecurrence`, with Graph's names, and the occurrences that follow from it within
/// the horizon. Only the occurrences are booked; pattern and range are kept as data.
///
/// Source: the `recurrencePattern` and `recurrenceRange` complex types of the Graph v1.0 metadata.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Recurrence {
    /// On which days.
    pub pattern: RecurrencePattern,
    /// Over which time.
    pub range: RecurrenceRange,
    /// Occurrences are listed up to this time; absent where no occurrence lies beyond it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_until: Option<Time>,
    /// Starts of the occurrences that are as the series says and last as long as its first one. As Graph tells them; those
    /// that were over when the series was read may be missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub occurrences: Vec<Time>,
    /// Occurrences that differ: moved, of another length in UTC, or with other spaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub exceptions: Vec<OccurrenceException>,
}

/// One occurrence that is not as the series says.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OccurrenceException {
    /// Start that the series would give it; absent where Graph does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_start: Option<Time>,
    /// Start.
    pub date_time_from: Time,
    /// End.
    pub date_time_to: Time,
    /// What the add-in left on this occurrence; absent where it is as on the series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub single_value_extended_properties: Option<AddInProperties>,
}

/// On which days a series repeats.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RecurrencePattern {
    /// `daily`, `weekly`, `absoluteMonthly`, `relativeMonthly`, `absoluteYearly` or `relativeYearly`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 32))]
    pub type_: String,
    /// Units between two occurrences.
    pub interval: i32,
    /// 1 to 12; 0 where the type does not use it.
    #[serde(default)]
    pub month: i32,
    /// 1 to 31; 0 where the type does not use it.
    #[serde(default)]
    pub day_of_month: i32,
    /// `sunday` to `saturday`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7), inner(length(max = 16)))]
    pub days_of_week: Vec<String>,
    /// First day of a week.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub first_day_of_week: Option<String>,
    /// `first` to `fourth`, or `last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub index: Option<String>,
}

/// Over which time a series repeats.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RecurrenceRange {
    /// `endDate`, `noEnd` or `numbered`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 16))]
    pub type_: String,
    /// First day, `YYYY-MM-DD`.
    #[schemars(length(min = 1, max = 10))]
    pub start_date: String,
    /// Last day, `YYYY-MM-DD`; `0001-01-01` without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub end_date: Option<String>,
    /// Zone in which the days are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub recurrence_time_zone: Option<String>,
    /// Number of occurrences of a `numbered` range; 0 otherwise.
    #[serde(default)]
    pub number_of_occurrences: i32,
}

/// Whether the bookings should stand.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookingState {
    /// Each resource is to be booked.
    Booked,
    /// Each booking is to be cancelled at the product.
    Cancelled,
}

/// Reference to a CalendarSubscription of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionRef {
    /// Name of the CalendarSubscription.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rule::object_name("subscriptionRef.name"))]
    pub name: String,
}

/// Longest reason in [`AddInProperties::invalid`], in characters.
pub const INVALID_LIMIT: usize = 256;

/// What the add-in left on the event.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct AddInProperties {
    /// Why the property is not understood, or the event cannot be booked. Nothing of its value is quoted, and nothing is booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = INVALID_LIMIT))]
    pub invalid: Option<String>,
    /// The booked spaces.
    #[schemars(length(max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["resourceId".to_owned()]))]
    pub resources: Vec<BookedResource>,
}

/// One booked space.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct BookedResource {
    /// Id of the space at the booking product.
    #[schemars(length(min = 1, max = 128))]
    pub resource_id: String,
    /// Id of the extended property that this came from.
    #[schemars(length(min = 1, max = 256))]
    pub property_id: String,
    /// Manifest id of the add-in.
    #[schemars(length(max = 36))]
    #[x_kube(validation = rule::guid("manifestId"))]
    pub manifest_id: String,
    /// Where the space is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub location: Option<String>,
    /// Version of the add-in that wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub add_in_version: Option<String>,
    /// Equipment of the space.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 128)))]
    pub attributes: Vec<String>,
    /// Seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 0, max = 100_000))]
    pub capacity: Option<u32>,
    /// Mailbox paired with the space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub mailbox: Option<String>,
    /// Attendees whom the add-in names for the product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 320)))]
    pub attendees: Vec<String>,
    /// E-mail address of whoever booked the space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 320))]
    pub owner: Option<String>,
}

/// What the operator did at the booking product.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
pub struct BookingRecordStatus {
    /// `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One entry per resource that was ever sent to the product and not cancelled there since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 40))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["resourceId".to_owned()]))]
    pub bookings: Vec<Booking>,
    /// When this record is deleted: end of the event plus `retention.afterEnd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Hash of what was last written back onto the event (`booking.writeBack`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub written_back: Option<String>,
    /// `Delivered`, `Ready`; `Reconciling` and `Stalled` only while True.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "rule::conditions")]
    pub conditions: Vec<Condition>,
    /// The last value of the annotation `roomkeeper.dev/reconcile-requested-at` that was acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub last_handled_reconcile_at: Option<String>,
}

/// One resource's booking at the product.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Booking {
    /// Id of the space.
    #[schemars(length(min = 1, max = 128))]
    pub resource_id: String,
    /// Id of the booking at the product, once made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub booking_id: Option<String>,
    /// What the product said last.
    pub state: ProductState,
    /// The product's reason for a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub reason: Option<String>,
    /// Hash of what was sent: an equal hash means that the product has it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub sent: Option<String>,
}

/// What the product said last about a booking.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductState {
    /// Booked.
    Accepted,
    /// Refused.
    Rejected,
    /// Not sent yet, or to be sent again.
    Pending,
    /// Cancelled.
    Cancelled,
}

impl BookingRecordSpec {
    /// The booked resources by id.
    pub fn resources_by_id(&self) -> BTreeMap<&str, &BookedResource> {
        self.single_value_extended_properties
            .resources
            .iter()
            .map(|resource| (resource.resource_id.as_str(), resource))
            .collect()
    }
}
