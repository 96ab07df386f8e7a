//! What the product is told: the schema `BookingRequest` of `docs/booking-api.yaml`.

use roomkeeper_crds::booking_record::{RecurrencePattern, RecurrenceRange};
use serde::Serialize;

/// A booking as the product is told of it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Id of the space at the product.
    pub resource_id: String,
    /// Start, RFC 3339 in UTC; of a series that of its first occurrence.
    pub start: String,
    /// End, RFC 3339 in UTC; of a series that of its first occurrence.
    pub end: String,
    /// Whether it lasts whole days: midnights of the place of the space, written as if in UTC.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all_day: bool,
    /// Subject; null where it is masked.
    pub subject: Option<String>,
    /// Address of the organizer.
    pub organizer: Option<String>,
    /// Addresses of the attendees.
    pub attendees: Vec<String>,
    /// Id of the event that is the same in every calendar.
    #[serde(rename = "iCalUId")]
    pub i_cal_u_id: String,
    /// How it repeats; absent where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recurrence: Option<Series>,
}

/// A series: the booking is exactly its occurrences.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// On which days, for display.
    pub pattern: RecurrencePattern,
    /// Over which time, for display.
    pub range: RecurrenceRange,
    /// Occurrences are told up to here, RFC 3339 in UTC; null where these are all.
    pub until: Option<String>,
    /// 1 to 1000, in order of start, none twice.
    pub occurrences: Vec<Occurrence>,
}

/// One occurrence. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Occurrence {
    /// Start.
    pub start: String,
    /// End.
    pub end: String,
    /// Where the series had it, when it was moved from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_start: Option<String>,
}
