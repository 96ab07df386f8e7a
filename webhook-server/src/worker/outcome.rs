//! How work on an item ended: closed sets, for metrics and for the queue.

use std::time::Duration;

use crate::queue::Failure;

/// The item is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A BookingRecord was created.
    Created,
    /// A BookingRecord got another spec.
    Replaced,
    /// A BookingRecord was set to Cancelled.
    Cancelled,
    /// The BookingRecord says it already.
    Unchanged,
    /// The version that the notification tells of was read before: Graph was not asked.
    Duplicate,
    /// The event books nothing and has no record.
    Unbooked,
    /// The booking is over; its record is left to expire.
    Ended,
    /// Not even a BookingRecord that says why the event cannot be booked could hold it; an existing record is left as it is.
    Unfit,
    /// Reading is not allowed: consent, scope or subscription say so. Nothing was read.
    Denied,
    /// The notification speaks of another user than the CalendarSubscription.
    WrongUser,
    /// The CalendarSubscription is not known, or not set up, after several looks.
    UnknownSubscription,
    /// The item's ids are not of a form that Graph uses.
    Invalid,
    /// A lifecycle notification was passed on.
    Lifecycle,
}

impl Outcome {
    /// Every outcome, for metrics that start at zero.
    pub const ALL: [Self; 13] = [
        Self::Created,
        Self::Replaced,
        Self::Cancelled,
        Self::Unchanged,
        Self::Duplicate,
        Self::Unbooked,
        Self::Ended,
        Self::Unfit,
        Self::Denied,
        Self::WrongUser,
        Self::UnknownSubscription,
        Self::Invalid,
        Self::Lifecycle,
    ];

    /// As in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Replaced => "replaced",
            Self::Cancelled => "cancelled",
            Self::Unchanged => "unchanged",
            Self::Duplicate => "duplicate",
            Self::Unbooked => "unbooked",
            Self::Ended => "ended",
            Self::Unfit => "unfit",
            Self::Denied => "denied",
            Self::WrongUser => "wrong_user",
            Self::UnknownSubscription => "unknown_subscription",
            Self::Invalid => "invalid",
            Self::Lifecycle => "lifecycle",
        }
    }

    /// Whether a BookingRecord was written.
    pub fn wrote(self) -> bool {
        matches!(self, Self::Created | Self::Replaced | Self::Cancelled)
    }
}

/// The item is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// Something failed: again after a growing wait.
    Failed(Failure),
    /// Graph asked to wait for exactly this time.
    Wait(Duration),
    /// The event was not found, which right after a notification proves nothing yet.
    Missing,
    /// The CalendarSubscription is not known or not set up yet, which right after its creation is normal.
    Unsettled,
}
