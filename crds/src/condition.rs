//! Condition types, their reasons, and the upsert that keeps `lastTransitionTime` while the status stays.
//!
//! `Ready` is the summary of every kind. `Reconciling` and `Stalled` are abnormal-true: they are present only while True
//! (kstatus), so that Flux and Argo CD read them without configuration.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Defines a closed set of names together with its texts.
macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// Every member, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as it stands in the object.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// Types of conditions over all kinds.
    Type {
        /// Summary: the object does what it should, or policy says that there is nothing to do.
        Ready,
        /// Abnormal-true: not there yet, heals by itself.
        Reconciling,
        /// Abnormal-true: a person must act.
        Stalled,
        /// AccessScope: a token was obtained with the credential.
        CredentialsValid,
        /// AccessScope: the members of the policy groups are known.
        MembersResolved,
        /// CalendarSubscription: consent and scope allow to read this calendar.
        Allowed,
        /// CalendarSubscription: a Graph subscription lives.
        Subscribed,
        /// CalendarSubscription: notifications arrive.
        Delivering,
        /// BookingRecord: the booking product has what the record says.
        Delivered,
        /// AccessScope: calls to the booking product are left in this week.
        BookingQuotaAvailable,
        /// AccessScope: the operator can enter in the scope's audit what it does.
        AuditWritable,
        /// AccessScope: the last export of the audit is whole at its destination.
        AuditExported,
    }
}

names! {
    /// Reasons of `CredentialsValid`.
    CredentialsValid {
        /// A token was obtained.
        TokenAcquired,
        /// The Secret named does not exist.
        SecretNotFound,
        /// The operator may not read the Secret named.
        SecretForbidden,
        /// The Secret has no such key, or it is empty.
        KeyMissing,
        /// The certificate or its key cannot be read, do not belong together, or the certificate has ended.
        CertificateInvalid,
        /// The service account named does not exist.
        ServiceAccountNotFound,
        /// The operator may not ask for tokens of the service account named.
        ServiceAccountForbidden,
        /// Entra refused the credential.
        AuthFailed,
        /// Entra does not know the tenant.
        TenantUnknown,
        /// The application lacks a permission.
        PermissionMissing,
        /// A host that the scope names is not on the operator's allow list.
        HostNotAllowed,
        /// The token endpoint or the API server could not be reached; tried again.
        Unreachable,
    }
}

names! {
    /// Reasons of `MembersResolved`.
    MembersResolved {
        /// All policy groups were read.
        Resolved,
        /// A group does not exist.
        GroupNotFound,
        /// A group is not a mail-enabled security group.
        GroupNotEligible,
        /// The directory asked to wait.
        DirectoryThrottled,
        /// The application may not read groups.
        PermissionMissing,
        /// The last read failed; the last good set is still used, or has become too old to be proof.
        RefreshFailed,
        /// The last read would end more subscriptions than `membership.maxShrinkPercent` allows; the set before still serves.
        ShrinkHeld,
        /// No credential yet.
        CredentialsNotValid,
    }
}

names! {
    /// Reasons of `Allowed`.
    Allowed {
        /// A standing consent exists and the user is within the scope.
        ConsentGranted,
        /// Nobody has ticked the box yet.
        AwaitingConsent,
        /// The consent was withdrawn.
        ConsentWithdrawn,
        /// The scope asks for consent to its current notice, and the consent is to an older one.
        NoticeOutdated,
        /// The policies of the scope leave the user out.
        OutOfScope,
        /// Microsoft 365 denies this application the mailbox.
        PolicyDenied,
        /// The directory does not know the user.
        UserNotFound,
        /// The scope cannot decide yet.
        ScopeNotReady,
        /// The subscription or its scope is suspended.
        Suspended,
        /// Another, older CalendarSubscription serves the same user.
        Duplicate,
    }
}

names! {
    /// Reasons of `Subscribed`.
    Subscribed {
        /// Graph made the subscription.
        Created,
        /// Graph extended the subscription.
        Renewed,
        /// A subscription of ours was found and taken over.
        Adopted,
        /// Extending failed; the subscription still lives.
        RenewalFailed,
        /// The subscription ran out.
        Expired,
        /// Graph removed the subscription.
        RemovedRemotely,
        /// Graph asked to authorise again.
        ReauthorizationRequired,
        /// The mailbox has too many subscriptions.
        QuotaExceeded,
        /// Graph asked to wait.
        Throttled,
        /// The user has no usable mailbox.
        MailboxUnavailable,
        /// Graph could not validate the notification URL.
        EndpointValidationFailed,
        /// Another installation holds the subscription.
        ForeignSubscription,
        /// `Allowed` is not True.
        NotAllowed,
        /// The remote side could not be reached or failed; tried again.
        RemoteError,
    }
}

names! {
    /// Reasons of `Delivering`.
    Delivering {
        /// Notifications arrive.
        Receiving,
        /// Nothing has arrived yet.
        NoTrafficYet,
        /// The calendar is being read again.
        Resyncing,
        /// Changes were found that were never notified.
        Gap,
    }
}

names! {
    /// Reasons of `Delivered`.
    Delivered {
        /// The product has the bookings.
        Accepted,
        /// Not sent yet, or to be sent again.
        Pending,
        /// The product refused a booking; the message has its reason.
        Rejected,
        /// The quota of the scope is used up.
        QuotaExhausted,
        /// The product cannot be reached or failed.
        BackendUnavailable,
        /// The bookings were cancelled.
        Cancelled,
    }
}

names! {
    /// Reasons of `AuditWritable`.
    AuditWritable {
        /// The last entry was written.
        Written,
        /// The last entry could not be written: nothing is sent for this scope until one can be, unless the audit is told to fail open.
        WriteFailed,
    }
}

names! {
    /// Reasons of `BookingQuotaAvailable`.
    BookingQuotaAvailable {
        /// Calls are left.
        Available,
        /// All calls of the last seven days' quota were set aside; the message has the time from which calls are made again.
        WeekExhausted,
    }
}

names! {
    /// Reasons of `AuditExported`.
    AuditExported {
        /// The last export is whole at its destination.
        Exported,
        /// Nothing has been exported yet; the message says when it is due.
        NeverExported,
        /// The last export failed; it is tried again.
        ExportFailed,
        /// The destination's host, or its folder, is not one that the daemons' flags allow.
        DestinationNotAllowed,
        /// The Secret or the service account of the destination, or a key or annotation of it, is missing or may not be read.
        CredentialsMissing,
        /// The schedule or its time zone means nothing.
        ScheduleInvalid,
    }
}

names! {
    /// Reasons of `Ready`, `Reconciling` and `Stalled` that no other condition has.
    Summary {
        /// All is as it should be.
        Succeeded,
        /// First sight: nothing is proven yet.
        Pending,
        /// Work goes on.
        Progressing,
        /// Another scope serves the same cloud, tenant and application; the oldest wins.
        DuplicateApplication,
        /// A field holds a value that cannot work.
        InvalidSpec,
        /// BookingRecord: what the add-in left on the event is not understood, or does not fit; nothing is booked.
        InvalidProperty,
        /// The object named by a reference does not exist.
        ReferenceNotFound,
        /// The object is being deleted.
        Terminating,
    }
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`
    Unknown,
}

impl Status {
    /// The text in the object.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a condition should say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// Which condition.
    pub type_: Type,
    /// Its status.
    pub status: Status,
    /// A reason out of the set of that condition.
    pub reason: &'static str,
    /// Cause, object and fix, for people; no personal data.
    pub message: String,
}

/// Most bytes of a message; longer ones are cut at a character boundary.
const MESSAGE_LIMIT: usize = 4000;

/// Puts `desired` into `conditions`, keeping `lastTransitionTime` while the status stays. Returns whether anything changed.
pub fn set(
    conditions: &mut Vec<Condition>,
    desired: Desired,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let mut message = desired.message;
    if message.len() > MESSAGE_LIMIT {
        let end = (0..=MESSAGE_LIMIT).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(end);
    }
    let wanted = Condition {
        type_: desired.type_.as_str().to_owned(),
        status: desired.status.as_str().to_owned(),
        reason: desired.reason.to_owned(),
        message,
        observed_generation,
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|present| present.type_ == wanted.type_) {
        None => {
            conditions.push(wanted);
            true
        }
        Some(present) => {
            let last_transition_time = if present.status == wanted.status {
                present.last_transition_time.clone()
            } else {
                wanted.last_transition_time.clone()
            };
            let wanted = Condition { last_transition_time, ..wanted };
            let changed = *present != wanted;
            *present = wanted;
            changed
        }
    }
}

/// Takes an abnormal-true condition away. Returns whether it was there.
pub fn clear(conditions: &mut Vec<Condition>, type_: Type) -> bool {
    let before = conditions.len();
    conditions.retain(|present| present.type_ != type_.as_str());
    conditions.len() != before
}

/// The condition of that type, if present.
pub fn get(conditions: &[Condition], type_: Type) -> Option<&Condition> {
    conditions.iter().find(|present| present.type_ == type_.as_str())
}

/// Whether the condition of that type is present and True.
pub fn is_true(conditions: &[Condition], type_: Type) -> bool {
    get(conditions, type_).is_some_and(|present| present.status == Status::True.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desired(status: Status, message: &str) -> Desired {
        Desired {
            type_: Type::Ready,
            status,
            reason: Summary::Succeeded.as_str(),
            message: message.to_owned(),
        }
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let (first, later) = (Timestamp::from_second(10).unwrap(), Timestamp::from_second(20).unwrap());
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, desired(Status::False, "a"), Some(1), first));
        assert!(!set(&mut conditions, desired(Status::False, "a"), Some(1), later), "equal: no change");
        assert!(set(&mut conditions, desired(Status::False, "b"), Some(1), later));
        assert_eq!(conditions[0].last_transition_time.0, first);
        assert!(set(&mut conditions, desired(Status::True, "b"), Some(1), later));
        assert_eq!(conditions[0].last_transition_time.0, later);
        assert!(is_true(&conditions, Type::Ready));
        assert!(clear(&mut conditions, Type::Ready));
        assert!(!clear(&mut conditions, Type::Ready));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let mut conditions = Vec::new();
        set(&mut conditions, desired(Status::True, &"é".repeat(4000)), None, Timestamp::UNIX_EPOCH);
        assert_eq!(conditions[0].message.len(), 4000);
    }
}
