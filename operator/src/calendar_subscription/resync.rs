//! Requests to read a calendar's booked events again. The operator asks in `status.resync`, the worker answers in
//! `status.delivery.resyncHandled`. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::{
    CalendarSubscriptionStatus,
    calendar_subscription::{LifecycleEvent, Resync, ResyncReason},
};

use crate::backoff::jitter_of;

/// Share of the time of silence by which the requests of quiet calendars are spread, so that what was made together does not
/// ask together.
const SPREAD: f64 = 0.1;

/// The same for the requests that come to every calendar: never later than their time, and this share of it sooner.
const PERIODIC_SPREAD: f64 = 0.25;

/// How far the horizon moves on before a calendar is read again for that.
const ROLL: SignedDuration = SignedDuration::from_hours(24);

/// The value that was answered last.
fn handled(status: &CalendarSubscriptionStatus) -> Option<Timestamp> {
    status.delivery.as_ref()?.resync_handled.as_ref().map(|handled| handled.0)
}

/// When the calendar was last asked to be read again.
fn asked(status: &CalendarSubscriptionStatus) -> Option<Timestamp> {
    status.resync.as_ref().map(|resync| resync.requested.0)
}

/// Whether a request is not answered yet.
pub fn is_open(status: &CalendarSubscriptionStatus) -> bool {
    asked(status).is_some_and(|asked| handled(status).is_none_or(|handled| handled < asked))
}

/// The request as it is to stand after another one: merged with an open one, of which the more severe reason and the later
/// time remain.
pub fn requested(status: &CalendarSubscriptionStatus, reason: ResyncReason, now: Timestamp) -> Resync {
    let open = status.resync.as_ref().filter(|_| is_open(status));
    // A value that was answered already would pass for answered.
    let fresh = handled(status).map(next_second);
    let at = [open.map(|open| open.requested.0), fresh].into_iter().flatten().fold(now, Timestamp::max);
    let reason = match open {
        Some(open) if severity(open.reason) > severity(reason) => open.reason,
        _ => reason,
    };
    Resync { requested: Time(at), reason }
}

/// How much may have been missed.
fn severity(reason: ResyncReason) -> u8 {
    match reason {
        ResyncReason::Periodic => 0,
        ResyncReason::Requested => 1,
        ResyncReason::Silence => 2,
        ResyncReason::Created => 3,
        ResyncReason::Missed => 4,
        ResyncReason::Recreated => 5,
        ResyncReason::SubscriptionRemoved => 6,
    }
}

/// What Graph told about lost notifications after the calendar was last asked to be read again, and when it last did.
pub fn told_of_loss(status: &CalendarSubscriptionStatus) -> Option<(ResyncReason, Timestamp)> {
    let lifecycle = status.delivery.as_ref()?.lifecycle.as_ref()?;
    let told = |event| {
        // Times are written in whole seconds: it may have come after a request of the same second.
        let at = next_second(lifecycle.of(event)?.received_at.0);
        asked(status).is_none_or(|asked| asked < at).then_some(at)
    };
    let missed = told(LifecycleEvent::Missed);
    match told(LifecycleEvent::SubscriptionRemoved) {
        Some(removed) => {
            let last = missed.map_or(removed, |missed| missed.max(removed));
            Some((ResyncReason::SubscriptionRemoved, last))
        }
        None => Some((ResyncReason::Missed, missed?)),
    }
}

/// The request that a subscription made or taken over just now calls for.
pub fn on_new(status: &CalendarSubscriptionStatus, now: Timestamp) -> Resync {
    let reason = match told_of_loss(status) {
        Some((ResyncReason::SubscriptionRemoved, _)) => ResyncReason::SubscriptionRemoved,
        // Every subscription asks when it is made: one that asked before was not the first.
        _ if status.resync.is_some() || status.subscription.is_some() => ResyncReason::Recreated,
        _ => ResyncReason::Created,
    };
    let at = told_of_loss(status).map_or(now, |(_, told)| told.max(now));
    requested(status, reason, at)
}

/// When the silence becomes too long; `None` while there is no subscription or a request is open.
pub fn silent_at(status: &CalendarSubscriptionStatus, after: Duration, uid: &str) -> Option<Timestamp> {
    let made = status.subscription.as_ref()?.created_at.0;
    if is_open(status) {
        return None;
    }
    let heard = status.delivery.as_ref().and_then(|delivery| Some(delivery.last_received_at.as_ref()?.0));
    let last = [heard, asked(status)].into_iter().flatten().fold(made, Timestamp::max);
    last.checked_add(after.mul_f64(1.0 + SPREAD * jitter_of(uid))).ok()
}

/// When the calendar is read again whatever was heard of it; `None` while there is no subscription or a request is open.
pub fn periodic_at(status: &CalendarSubscriptionStatus, every: Duration, uid: &str) -> Option<Timestamp> {
    let made = status.subscription.as_ref()?.created_at.0;
    if is_open(status) {
        return None;
    }
    let last = asked(status).map_or(made, |asked| asked.max(made));
    last.checked_add(every.mul_f64(1.0 - PERIODIC_SPREAD * jitter_of(uid))).ok()
}

/// When so much time has passed since the series of the calendar were listed that it is read again for what has come within the
/// horizon, at most once a day; `None` while there is no subscription or a request is open.
pub fn horizon_at(
    status: &CalendarSubscriptionStatus,
    listed_until: Timestamp,
    horizon: Duration,
) -> Option<Timestamp> {
    status.subscription.as_ref()?;
    if is_open(status) {
        return None;
    }
    let moved_on = listed_until.checked_sub(horizon).and_then(|read| read.checked_add(ROLL)).ok()?;
    let rested = asked(status).and_then(|asked| asked.checked_add(ROLL).ok());
    Some(rested.map_or(moved_on, |rested| rested.max(moved_on)))
}

/// Changes that were never notified, found by reading after a silence, as long as the silent subscription is still the one.
pub fn gap(status: &CalendarSubscriptionStatus) -> Option<u32> {
    let resync = status.resync.as_ref().filter(|resync| resync.reason == ResyncReason::Silence)?;
    let made = status.subscription.as_ref()?.created_at.0;
    let unnotified = status.delivery.as_ref()?.unnotified_changes?;
    (!is_open(status) && made <= resync.requested.0 && unnotified > 0).then_some(unnotified)
}

fn next_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second())
        .and_then(|whole| whole.checked_add(SignedDuration::from_secs(1)))
        .unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REASONS: [ResyncReason; 7] = [
        ResyncReason::Created,
        ResyncReason::Recreated,
        ResyncReason::Missed,
        ResyncReason::SubscriptionRemoved,
        ResyncReason::Silence,
        ResyncReason::Requested,
        ResyncReason::Periodic,
    ];

    fn status(yaml: &str) -> CalendarSubscriptionStatus {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_request_is_open_until_it_is_answered() {
        let asked = "resync: {requested: \"2026-11-23T10:00:00Z\", reason: Missed}";
        assert!(!is_open(&status("{}")));
        assert!(is_open(&status(asked)));
        let answered =
            |at: &str| is_open(&status(&format!("{asked}\ndelivery: {{resyncHandled: \"{at}\"}}")));
        assert!(answered("2026-11-23T09:59:59Z"), "that was an earlier one");
        assert!(!answered("2026-11-23T10:00:00Z"));
    }

    #[test]
    fn a_second_request_is_merged_into_an_open_one_and_replaces_an_answered_one() {
        let now = time("2026-11-23T11:00:00Z");
        let open = status("resync: {requested: \"2026-11-23T10:00:00Z\", reason: Missed}");
        let merged = requested(&open, ResyncReason::Requested, now);
        assert_eq!((merged.requested.0, merged.reason), (now, ResyncReason::Missed));
        let merged = requested(&open, ResyncReason::Recreated, now);
        assert_eq!(merged.reason, ResyncReason::Recreated);
        let answered = status(
            "{resync: {requested: \"2026-11-23T10:00:00Z\", reason: Missed}, delivery: {resyncHandled: \"2026-11-23T10:00:00Z\"}}",
        );
        assert_eq!(requested(&answered, ResyncReason::Requested, now).reason, ResyncReason::Requested);
    }

    #[test]
    fn what_graph_told_is_asked_for_once() {
        let told = |event: &str, more: &str| {
            told_of_loss(&status(&format!(
                "{{delivery: {{lifecycle: {{{event}: {{receivedAt: \"2026-11-23T10:00:00.5Z\", subscriptionId: x}}}}}}{more}}}"
            )))
        };
        let at = time("2026-11-23T10:00:01Z");
        assert_eq!(told("missed", ""), Some((ResyncReason::Missed, at)));
        assert_eq!(told("subscriptionRemoved", ""), Some((ResyncReason::SubscriptionRemoved, at)));
        assert_eq!(told("reauthorizationRequired", ""), None);
        let asked = |second: u32| {
            format!(", resync: {{requested: \"2026-11-23T10:00:0{second}Z\", reason: Created}}")
        };
        assert_eq!(told("missed", &asked(0)), Some((ResyncReason::Missed, at)), "perhaps after it");
        assert_eq!(told("missed", &asked(1)), None);
    }

    #[test]
    fn a_loss_is_not_hidden_by_what_graph_tells_later() {
        let status = |asked: &str| {
            status(&format!(
                "{{resync: {{requested: \"{asked}\", reason: Created}}, delivery: {{lifecycle: {{\
                 missed: {{receivedAt: \"2026-11-23T10:00:00Z\", subscriptionId: x}}, \
                 subscriptionRemoved: {{receivedAt: \"2026-11-23T09:00:00Z\", subscriptionId: x}}, \
                 reauthorizationRequired: {{receivedAt: \"2026-11-23T11:00:00Z\", subscriptionId: x}}}}}}}}"
            ))
        };
        let last = time("2026-11-23T10:00:01Z");
        let told = |asked: &str| told_of_loss(&status(asked));
        assert_eq!(told("2026-11-23T08:00:00Z"), Some((ResyncReason::SubscriptionRemoved, last)));
        assert_eq!(told("2026-11-23T09:30:00Z"), Some((ResyncReason::Missed, last)));
        assert_eq!(told("2026-11-23T10:00:01Z"), None);
        let resync = on_new(&status("2026-11-23T08:00:00Z"), time("2026-11-23T09:59:00Z"));
        assert_eq!((resync.reason, resync.requested.0), (ResyncReason::SubscriptionRemoved, last));
    }

    #[test]
    fn every_calendar_is_read_again_in_the_end() {
        let periodic = |more: &str| {
            let status = status(&format!(
                "subscription: {{id: x, createdAt: \"2026-11-23T10:00:00Z\", renewAt: \"2026-11-28T10:00:00Z\", expiresAt: \"2026-11-30T10:00:00Z\"}}\n{more}"
            ));
            let at = periodic_at(&status, Duration::from_hours(8), "u")?;
            Some(at.duration_since(time("2026-11-23T00:00:00Z")).as_secs_f64() / 3600.0)
        };
        let within = |from: f64, at: Option<f64>| at.is_some_and(|at| at > from + 6.0 && at <= from + 8.0);
        assert!(within(10.0, periodic("")));
        let heard = "delivery: {lastReceivedAt: \"2026-11-23T15:00:00Z\"}";
        assert!(within(10.0, periodic(heard)), "also one that is heard of");
        let asked = "resync: {requested: \"2026-11-23T16:00:00Z\", reason: Missed}";
        assert_eq!(periodic(asked), None, "asked already");
        let answered = format!("{asked}\ndelivery: {{resyncHandled: \"2026-11-23T16:00:00Z\"}}");
        assert!(within(16.0, periodic(&answered)), "for whatever reason it was read");
        assert_eq!(periodic_at(&status("{}"), Duration::from_hours(8), "u"), None);
    }

    #[test]
    fn series_are_listed_further_once_a_day() {
        let horizon = Duration::from_hours(24 * 365);
        let at = |listed: &str, more: &str| {
            let status = status(&format!(
                "subscription: {{id: x, createdAt: \"2026-11-23T10:00:00Z\", renewAt: \"2026-11-28T10:00:00Z\", expiresAt: \"2026-11-30T10:00:00Z\"}}\n{more}"
            ));
            horizon_at(&status, time(listed), horizon).map(|at| at.to_string())
        };
        let listed = "2027-11-23T12:00:00Z";
        assert_eq!(at(listed, "").as_deref(), Some("2026-11-24T12:00:00Z"), "a day after it was read");
        let asked = "resync: {requested: \"2026-11-24T11:00:00Z\", reason: Missed}";
        assert_eq!(at(listed, asked), None, "asked already");
        let answered = format!("{asked}\ndelivery: {{resyncHandled: \"2026-11-24T11:00:00Z\"}}");
        assert_eq!(at(listed, &answered).as_deref(), Some("2026-11-25T11:00:00Z"), "once a day");
        assert_eq!(at("2027-12-23T12:00:00Z", &answered).as_deref(), Some("2026-12-24T12:00:00Z"));
        assert_eq!(horizon_at(&status("{}"), time(listed), horizon), None);
    }

    #[test]
    fn silence_counts_from_what_was_heard_last() {
        let silent = |more: &str| {
            let status = status(&format!(
                "subscription: {{id: x, createdAt: \"2026-11-23T10:00:00Z\", renewAt: \"2026-11-28T10:00:00Z\", expiresAt: \"2026-11-30T10:00:00Z\"}}\n{more}"
            ));
            let at = silent_at(&status, Duration::from_hours(10), "u")?;
            Some(at.duration_since(time("2026-11-23T00:00:00Z")).as_hours())
        };
        let spread = |from: i64| from + 10..=from + 11;
        assert!(spread(10).contains(&silent("").unwrap()));
        assert!(
            spread(15).contains(&silent("delivery: {lastReceivedAt: \"2026-11-23T15:00:00Z\"}").unwrap())
        );
        let asked = "resync: {requested: \"2026-11-23T16:00:00Z\", reason: Silence}";
        assert_eq!(silent(asked), None, "asked already");
        let answered = format!("{asked}\ndelivery: {{resyncHandled: \"2026-11-23T16:00:00Z\"}}");
        assert!(spread(16).contains(&silent(&answered).unwrap()));
        assert_eq!(silent_at(&status("{}"), Duration::from_hours(1), "u"), None, "nothing can be heard");
    }

    #[test]
    fn a_gap_is_what_reading_after_a_silence_found() {
        let found = |reason: &str, handled: &str, made: &str, changes: u32| {
            gap(&status(&format!(
                "{{subscription: {{id: x, createdAt: \"{made}\", renewAt: \"2026-11-28T10:00:00Z\", expiresAt: \"2026-11-30T10:00:00Z\"}}, \
                 resync: {{requested: \"2026-11-23T16:00:00Z\", reason: {reason}}}, \
                 delivery: {{resyncHandled: \"{handled}\", unnotifiedChanges: {changes}}}}}"
            )))
        };
        let (made, asked) = ("2026-11-23T10:00:00Z", "2026-11-23T16:00:00Z");
        assert_eq!(found("Silence", asked, made, 2), Some(2));
        assert_eq!(found("Silence", asked, made, 0), None);
        assert_eq!(found("Silence", "2026-11-23T15:00:00Z", made, 2), None, "not answered yet");
        assert_eq!(found("Missed", asked, made, 2), None, "Graph told of it");
        assert_eq!(found("Silence", asked, "2026-11-23T17:00:00Z", 2), None, "made anew since");
    }

    proptest! {
        /// However requests and answers follow each other, a request is never taken for answered before it is.
        #[test]
        fn a_new_request_is_always_open(
            steps in proptest::collection::vec((0_usize..7, 0_i64..3, any::<bool>()), 1..12),
        ) {
            let mut status = CalendarSubscriptionStatus::default();
            let mut now = time("2026-11-23T10:00:00Z");
            for (reason, later, answer) in steps {
                now += Duration::from_secs(u64::try_from(later).unwrap());
                let before = asked(&status);
                let resync = requested(&status, REASONS[reason], now);
                prop_assert!(before.is_none_or(|before| before <= resync.requested.0));
                prop_assert!(severity(resync.reason) >= severity(REASONS[reason]));
                status.resync = Some(resync.clone());
                prop_assert!(is_open(&status));
                if answer {
                    let delivery = roomkeeper_crds::calendar_subscription::Delivery {
                        resync_handled: Some(resync.requested),
                        ..Default::default()
                    };
                    status.delivery = Some(delivery);
                    prop_assert!(!is_open(&status));
                }
            }
        }
    }
}
