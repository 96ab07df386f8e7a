//! A record as the pure steps' tests see it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::booking_record::{
    AddInProperties, BookingRecordSpec, BookingState, Sensitivity, SubscriptionRef,
};

/// A single event from one time to another, without spaces.
pub(super) fn spec(from: &str, to: &str) -> BookingRecordSpec {
    let time = |text: &str| Time(text.parse().unwrap());
    BookingRecordSpec {
        attendees: Vec::new(),
        i_cal_u_id: "u".to_owned(),
        change_key: "k".to_owned(),
        date_time_from: time(from),
        date_time_to: time(to),
        event_id: "AAMk=".to_owned(),
        is_all_day: false,
        last_modified_date_time: time("2026-11-23T12:00:00Z"),
        location: None,
        organizer: None,
        recurrence_pattern: None,
        sensitivity: Sensitivity::Normal,
        series_master_id: None,
        subject: None,
        single_value_extended_properties: AddInProperties::default(),
        state: BookingState::Booked,
        subscription_ref: SubscriptionRef { name: "user1".to_owned() },
    }
}
