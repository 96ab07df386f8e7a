//! What follows from a consent: a CalendarSubscription while it stands, and, once it was withdrawn, its end in the register. Pure.

use std::time::Duration;

use jiff::Timestamp;
use roomkeeper_crds::{AccessScope, ConsentRecord, name};

use super::retention::leaves_at;
use crate::key::Key;

/// What the decision needs besides the record.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The scope that the record names, if it is there, the same one, and not under deletion.
    pub scope: Option<AccessScope>,
    /// A CalendarSubscription of that scope for that user, whoever made it.
    pub existing: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing.
    Nothing,
    /// Enter the withdrawal in the audit, and note that.
    Audit,
    /// Nothing before this time has passed.
    Wait(Duration),
    /// It leaves the register, unless it was changed more recently than this time ago.
    Erase(Duration),
    /// Note that this CalendarSubscription follows from the consent.
    Note(String),
    /// Make a CalendarSubscription, and note it.
    Create(NewSubscription),
}

/// A CalendarSubscription to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSubscription {
    /// Where, and under which name.
    pub key: Key,
    /// Name of the scope.
    pub scope: String,
    /// Object id of the user.
    pub user_id: String,
}

/// Plans. Once `status.subscription` is set nothing follows any more: what a person deleted does not come back.
pub fn plan(key: &Key, record: &ConsentRecord, world: &World, now: Timestamp) -> Plan {
    if record.metadata.deletion_timestamp.is_some() {
        return Plan::Nothing;
    }
    if record.spec.withdrawn.is_some() {
        let audited = record.status.as_ref().is_some_and(|status| status.withdrawal_audited_at.is_some());
        return if audited { ended(record, world, now) } else { Plan::Audit };
    }
    let noted = record.status.as_ref().is_some_and(|status| status.subscription.is_some());
    if noted {
        return Plan::Nothing;
    }
    let Some(scope) = &world.scope else { return Plan::Nothing };
    if !scope.spec.consent.create_subscriptions {
        return Plan::Nothing;
    }
    if let Some(existing) = &world.existing {
        return Plan::Note(existing.clone());
    }
    let user_id = record.spec.user.id.clone();
    Plan::Create(NewSubscription {
        key: Key::new(&key.namespace, name::calendar_subscription(&record.spec.scope.uid, &user_id)),
        scope: record.spec.scope.name.clone(),
        user_id,
    })
}

/// A scope that is gone, or another one of the same name, says nothing about it.
fn ended(record: &ConsentRecord, world: &World, now: Timestamp) -> Plan {
    let kept = world.scope.as_ref().and_then(|scope| scope.spec.kept_after_withdrawal());
    let Some((kept, at)) = kept.and_then(|kept| Some((kept, leaves_at(record, kept)?))) else {
        return Plan::Nothing;
    };
    match Duration::try_from(at.duration_since(now)) {
        Ok(wait) if !wait.is_zero() => Plan::Wait(wait),
        _ => Plan::Erase(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = include_str!("../fixtures/access_scope.yaml");
    const RECORD: &str = include_str!("../fixtures/consent_record.yaml");

    fn record() -> ConsentRecord {
        serde_yaml::from_str(RECORD).unwrap()
    }

    fn world() -> World {
        World { scope: Some(serde_yaml::from_str(SCOPE).unwrap()), existing: None }
    }

    fn plan_for(record: &ConsentRecord, world: &World) -> Plan {
        plan(&Key::of(record), record, world, "2026-11-27T09:00:00Z".parse().unwrap())
    }

    #[test]
    fn one_subscription_follows_and_only_once() {
        let mut record = record();
        let Plan::Create(new) = plan_for(&record, &world()) else {
            panic!("{:?}", plan_for(&record, &world()))
        };
        assert_eq!(new.scope, "contoso");
        assert_eq!(new.user_id, record.spec.user.id);
        assert_eq!(new.key.name, name::calendar_subscription(&record.spec.scope.uid, &record.spec.user.id));
        // The state that the plan leaves.
        record.status.get_or_insert_default().subscription = Some(new.key.name);
        assert_eq!(plan_for(&record, &world()), Plan::Nothing);
    }

    #[test]
    fn one_that_a_person_wrote_is_taken() {
        let world = World { existing: Some("user1".to_owned()), ..world() };
        assert_eq!(plan_for(&record(), &world), Plan::Note("user1".to_owned()));
    }

    #[test]
    fn nothing_follows_without_scope_or_standing_consent_or_leave() {
        assert_eq!(plan_for(&record(), &World::default()), Plan::Nothing);
        let mut withdrawn = record();
        withdrawn.spec.withdrawn = Some(
            serde_yaml::from_str("{at: \"2026-11-23T11:00:00Z\", by: support, reason: ticket 1}").unwrap(),
        );
        assert_eq!(plan_for(&withdrawn, &world()), Plan::Audit);
        assert_eq!(plan_for(&withdrawn, &World::default()), Plan::Audit, "whatever has become of the scope");
        let mut by_hand = world();
        by_hand.scope.as_mut().unwrap().spec.consent.create_subscriptions = false;
        assert_eq!(plan_for(&record(), &by_hand), Plan::Nothing);
    }

    #[test]
    fn a_withdrawn_one_stays_for_good_or_as_long_as_the_scope_says() {
        let mut withdrawn = record();
        withdrawn.spec.withdrawn = Some(
            serde_yaml::from_str("{at: \"2026-11-26T09:00:00Z\", by: support, reason: ticket 1}").unwrap(),
        );
        let audited = serde_yaml::from_str("{withdrawalAuditedAt: \"2026-11-26T09:00:01Z\"}").unwrap();
        withdrawn.status = Some(audited);
        assert_eq!(plan_for(&withdrawn, &world()), Plan::Nothing);
        let kept = |text: &str| {
            let mut world = world();
            let retention = serde_yaml::from_str(&format!("{{withdrawnConsents: {text}}}")).unwrap();
            world.scope.as_mut().unwrap().spec.retention = Some(retention);
            world
        };
        assert_eq!(plan_for(&withdrawn, &kept("30h")), Plan::Wait(Duration::from_hours(6)));
        assert_eq!(plan_for(&withdrawn, &kept("24h")), Plan::Erase(Duration::from_hours(24)));
        assert_eq!(plan_for(&record(), &kept("1h")), plan_for(&record(), &world()), "a standing one stays");
    }
}
