//! `Ready`, and beside it `Reconciling` or `Stalled` while they are True. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use roomkeeper_crds::condition::{self, Desired, Status, Summary as Reason, Type};

/// What an object's conditions come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Summary {
    /// As it should be.
    Ready {
        /// Why.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// Nothing is proven yet.
    Unproven {
        /// For people.
        message: String,
    },
    /// Not there yet; heals by itself.
    Working {
        /// Why not.
        reason: &'static str,
        /// Cause, object and fix.
        message: String,
    },
    /// A person must act.
    Stalled {
        /// Why.
        reason: &'static str,
        /// Cause, object and fix.
        message: String,
    },
}

/// Puts the summary into the conditions.
pub fn put(conditions: &mut Vec<Condition>, summary: Summary, generation: Option<i64>, now: Timestamp) {
    let (status, abnormal, reason, message) = match summary {
        Summary::Ready { reason, message } => (Status::True, None, reason, message),
        Summary::Unproven { message } => {
            (Status::Unknown, Some(Type::Reconciling), Reason::Pending.as_str(), message)
        }
        Summary::Working { reason, message } => (Status::False, Some(Type::Reconciling), reason, message),
        Summary::Stalled { reason, message } => (Status::False, Some(Type::Stalled), reason, message),
    };
    for type_ in [Type::Reconciling, Type::Stalled] {
        if abnormal == Some(type_) {
            let desired = Desired { type_, status: Status::True, reason, message: message.clone() };
            condition::set(conditions, desired, generation, now);
        } else {
            condition::clear(conditions, type_);
        }
    }
    condition::set(conditions, Desired { type_: Type::Ready, status, reason, message }, generation, now);
}

/// The present, in whole seconds as Kubernetes writes times, so that what is written reads back equal.
pub fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(conditions: &[Condition]) -> Vec<(&str, &str)> {
        conditions.iter().map(|one| (one.type_.as_str(), one.status.as_str())).collect()
    }

    #[test]
    fn the_abnormal_ones_exclude_each_other_and_vanish() {
        let mut conditions = Vec::new();
        let mut put = |summary| {
            super::put(&mut conditions, summary, Some(1), Timestamp::UNIX_EPOCH);
            types(&conditions).iter().map(|(a, b)| format!("{a}={b}")).collect::<Vec<_>>().join(" ")
        };
        let message = String::new;
        assert_eq!(put(Summary::Unproven { message: message() }), "Reconciling=True Ready=Unknown");
        assert_eq!(put(Summary::Stalled { reason: "A", message: message() }), "Ready=False Stalled=True");
        assert_eq!(put(Summary::Working { reason: "A", message: message() }), "Ready=False Reconciling=True");
        assert_eq!(put(Summary::Ready { reason: "A", message: message() }), "Ready=True");
    }
}
