//! Faults on demand: the one place that knows what is to go wrong.

mod answers;
mod target;

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use serde::{Deserialize, Serialize};

pub(crate) use self::{answers::broken, target::Target};
use crate::app::lock;

/// Longest latency that can be asked for, in milliseconds.
const LONGEST_MS: u64 = 600_000;

/// What can go wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// 429 with `Retry-After`; nothing was done.
    Throttled,
    /// 503; nothing was done.
    Unavailable,
    /// 503 with `Retry-After`; nothing was done.
    UnavailableRetryAfter,
    /// 500; nothing was done.
    InternalServerError,
    /// 502; nothing was done.
    BadGateway,
    /// 504; nothing was done.
    GatewayTimeout,
    /// The request is carried out, and its answer breaks off.
    Timeout,
    /// 403 that wraps a transient outage (graph-facts §1.6); nothing was done. On subscriptions only.
    ExtensionServiceUnavailable,
    /// 401 that wraps the mailbox server's refusal of the token (graph-facts §1.6); nothing was done. On subscriptions only.
    ExtensionUnauthorized,
    /// 403 by Conditional Access (graph-facts §11); nothing was done.
    InsufficientClaims,
    /// The connection breaks; nothing was done.
    ConnectionReset,
    /// 401 for a token that is good; nothing was done.
    Unauthorized,
    /// 503 with AADSTS90033 at the token endpoint; no token was issued.
    TokenThrottled,
}

/// Faults that come by themselves.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Random {
    /// The same seed leads to the same faults for the same requests in the same order.
    seed: u64,
    /// Share of the requests, 0 to 1.
    share: f64,
    kinds: Vec<Kind>,
}

/// A change of faults, as the control API takes it. Absent members stay as they are; 0 is off.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Change {
    latency_ms: Option<u64>,
    not_found_after_change_ms: Option<u64>,
    subscription_post_latency_ms: Option<u64>,
    random: Option<Random>,
    retry_after_seconds: Option<u32>,
    shorter_expiry_minutes: Option<u32>,
    patch_keeps_expiry: Option<bool>,
    lose_notifications: Option<f64>,
    lose_is_missed: Option<bool>,
    duplicate_notifications: Option<bool>,
    reorder_notifications: Option<bool>,
    lose_lifecycle_notifications: Option<f64>,
    duplicate_lifecycle_notifications: Option<bool>,
    /// Members that each object of an answer to a GET holds unasked; empty is off.
    leak_members: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "switches that do not depend on each other")]
struct Active {
    latency: Duration,
    not_found_after_change: Duration,
    subscription_post_latency: Duration,
    random: Random,
    /// Requests since the random faults were set.
    asked: u64,
    retry_after: Option<u32>,
    shorter_expiry: Option<u32>,
    patch_keeps_expiry: bool,
    lose_notifications: f64,
    lose_is_missed: bool,
    duplicate_notifications: bool,
    reorder_notifications: bool,
    lose_lifecycle_notifications: f64,
    duplicate_lifecycle_notifications: bool,
    leak_members: serde_json::Map<String, serde_json::Value>,
    leaked: u64,
    published: u64,
    injected: BTreeMap<Kind, u64>,
    lost: u64,
    lost_lifecycle: u64,
}

/// The faults that are switched on.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Active>);

/// What becomes of one notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is sent.
    Sent,
    /// It is sent twice.
    Twice,
    /// It is lost.
    Lost,
}

impl Faults {
    /// Switches faults on and off; an error says which member is out of bounds.
    pub(crate) fn change(&self, change: Change) -> Result<(), String> {
        for (name, value) in [
            ("latencyMs", change.latency_ms),
            ("notFoundAfterChangeMs", change.not_found_after_change_ms),
            ("subscriptionPostLatencyMs", change.subscription_post_latency_ms),
        ] {
            if let Some(value) = value.filter(|value| *value > LONGEST_MS) {
                return Err(format!("{name} is {value}; it must be at most {LONGEST_MS}"));
            }
        }
        let share = change.random.as_ref().map(|random| random.share);
        for (name, value) in [
            ("random.share", share),
            ("loseNotifications", change.lose_notifications),
            ("loseLifecycleNotifications", change.lose_lifecycle_notifications),
        ] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(format!("{name} is {value}; it must be 0 to 1"));
            }
        }
        if let Some(random) =
            change.random.as_ref().filter(|random| random.share > 0.0 && random.kinds.is_empty())
        {
            return Err(format!(
                "random.kinds is empty, and random.share {}: name what is to go wrong",
                random.share
            ));
        }
        let mut active = lock(&self.0);
        if let Some(latency) = change.latency_ms {
            active.latency = Duration::from_millis(latency);
        }
        if let Some(gap) = change.not_found_after_change_ms {
            active.not_found_after_change = Duration::from_millis(gap);
        }
        if let Some(latency) = change.subscription_post_latency_ms {
            active.subscription_post_latency = Duration::from_millis(latency);
        }
        if let Some(random) = change.random {
            active.random = random;
            active.asked = 0;
        }
        active.retry_after = change.retry_after_seconds.or(active.retry_after);
        if let Some(minutes) = change.shorter_expiry_minutes {
            active.shorter_expiry = Some(minutes).filter(|minutes| *minutes > 0);
        }
        active.patch_keeps_expiry = change.patch_keeps_expiry.unwrap_or(active.patch_keeps_expiry);
        active.lose_notifications = change.lose_notifications.unwrap_or(active.lose_notifications);
        active.lose_is_missed = change.lose_is_missed.unwrap_or(active.lose_is_missed);
        active.duplicate_notifications =
            change.duplicate_notifications.unwrap_or(active.duplicate_notifications);
        active.reorder_notifications = change.reorder_notifications.unwrap_or(active.reorder_notifications);
        active.lose_lifecycle_notifications =
            change.lose_lifecycle_notifications.unwrap_or(active.lose_lifecycle_notifications);
        active.duplicate_lifecycle_notifications =
            change.duplicate_lifecycle_notifications.unwrap_or(active.duplicate_lifecycle_notifications);
        if let Some(members) = change.leak_members {
            active.leak_members = members;
        }
        Ok(())
    }

    /// How long an event cannot be read after a change of it (graph-facts §3.4).
    pub(crate) fn not_found_after_change(&self) -> Duration {
        lock(&self.0).not_found_after_change
    }

    /// How often each kind was injected, and how many notifications were lost.
    pub(crate) fn injected(&self) -> serde_json::Value {
        let active = lock(&self.0);
        serde_json::json!({
            "injected": active.injected,
            "lostNotifications": active.lost,
            "lostLifecycleNotifications": active.lost_lifecycle,
            "leakedMembers": active.leaked,
        })
    }

    /// What goes wrong with the request that came just now, if anything.
    pub(crate) fn next(&self, target: &Target) -> Option<Kind> {
        self.strike(target, |_| true)
    }

    /// What goes wrong with a request within a batch: it has no connection of its own that could break.
    pub(crate) fn next_of_step(&self, target: &Target) -> Option<Kind> {
        self.strike(target, |kind| !matches!(kind, Kind::Timeout | Kind::ConnectionReset))
    }

    fn strike(&self, target: &Target, possible: impl Fn(Kind) -> bool) -> Option<Kind> {
        let mut active = lock(&self.0);
        if active.random.share <= 0.0 {
            return None;
        }
        active.asked += 1;
        let (strikes, which) = dice(active.random.seed, active.asked);
        if strikes >= active.random.share {
            return None;
        }
        let fits = |kind: &&Kind| {
            possible(**kind)
                && match kind {
                    Kind::TokenThrottled => *target == Target::Token,
                    Kind::ExtensionServiceUnavailable | Kind::ExtensionUnauthorized => {
                        matches!(target, Target::Subscriptions(_))
                    }
                    _ => !matches!(target, Target::Token | Target::Login),
                }
        };
        let fitting: Vec<Kind> = active.random.kinds.iter().filter(fits).copied().collect();
        let kind = *fitting.get(usize::try_from(which).ok()?.checked_rem(fitting.len())?)?;
        *active.injected.entry(kind).or_default() += 1;
        Some(kind)
    }

    /// Adds to an answer what nobody asked for, to each object of a list.
    pub(crate) fn leak(&self, answer: &mut serde_json::Value) {
        let mut active = lock(&self.0);
        if active.leak_members.is_empty() {
            return;
        }
        let objects = match answer.get_mut("value") {
            Some(serde_json::Value::Array(all)) => all.iter_mut().collect(),
            _ => vec![answer],
        };
        for object in objects.into_iter().filter_map(serde_json::Value::as_object_mut) {
            for (name, value) in active.leak_members.clone() {
                object.insert(name, value);
                active.leaked += 1;
            }
        }
    }

    /// Seconds that `Retry-After` names.
    pub(crate) fn retry_after(&self) -> u32 {
        lock(&self.0).retry_after.unwrap_or(1)
    }

    /// Life that a subscription gets at the most, in minutes, whatever was asked for.
    pub(crate) fn shorter_expiry(&self) -> Option<u32> {
        lock(&self.0).shorter_expiry
    }

    /// Whether a PATCH answers with the expiry of before (microsoft-graph-docs-contrib#4751).
    pub(crate) fn patch_keeps_expiry(&self) -> bool {
        lock(&self.0).patch_keeps_expiry
    }

    /// What becomes of the next notification.
    pub(crate) fn fate(&self) -> Fate {
        let mut active = lock(&self.0);
        active.published += 1;
        let (strikes, _) = dice(active.random.seed ^ 0x5eed, active.published);
        if strikes < active.lose_notifications {
            active.lost += 1;
            return Fate::Lost;
        }
        if active.duplicate_notifications { Fate::Twice } else { Fate::Sent }
    }

    /// What becomes of the next lifecycle notification.
    pub(crate) fn lifecycle_fate(&self) -> Fate {
        let mut active = lock(&self.0);
        active.published += 1;
        let (strikes, _) = dice(active.random.seed ^ 0x5eed, active.published);
        if strikes < active.lose_lifecycle_notifications {
            active.lost_lifecycle += 1;
            return Fate::Lost;
        }
        if active.duplicate_lifecycle_notifications { Fate::Twice } else { Fate::Sent }
    }

    /// Whether `missed` follows what was lost.
    pub(crate) fn tells_losses(&self) -> bool {
        lock(&self.0).lose_is_missed
    }

    /// Whether what was published later may be sent first.
    pub(crate) fn reorders(&self) -> bool {
        lock(&self.0).reorder_notifications
    }

    /// How long a calendar call takes.
    pub(crate) fn calendar_latency(&self) -> Duration {
        lock(&self.0).latency
    }

    /// How long the answer to POST /subscriptions is held back once the subscription exists.
    pub(crate) fn subscription_post_latency(&self) -> Duration {
        lock(&self.0).subscription_post_latency
    }
}

/// A number from 0 up to, not including, 1, and another one, by seed and count (the finaliser of SplitMix64).
fn dice(seed: u64, count: u64) -> (f64, u64) {
    let mut mixed = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let high = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
    (f64::from(high) / (f64::from(u32::MAX) + 1.0), mixed & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn faults(json: &str) -> Result<Faults, String> {
        let faults = Faults::default();
        faults.change(serde_json::from_str(json).unwrap()).map(|()| faults)
    }

    #[test]
    fn the_share_is_kept_and_the_same_seed_does_the_same() {
        let random =
            r#"{"random": {"seed": 7, "share": 0.05, "kinds": ["throttled", "timeout", "tokenThrottled"]}}"#;
        let (one, two) = (faults(random).unwrap(), faults(random).unwrap());
        let target = Target::of(&Method::GET, "/v1.0/subscriptions");
        let run = |faults: &Faults| (0..10_000).map(|_| faults.next(&target)).collect::<Vec<_>>();
        let (first, second) = (run(&one), run(&two));
        assert_eq!(first, second);
        let struck = first.iter().flatten().count();
        assert!((350..650).contains(&struck), "{struck}");
        assert!(!first.contains(&Some(Kind::TokenThrottled)), "that is for the token endpoint");
        assert!((0..10_000).all(|_| faults("{}").unwrap().next(&target).is_none()));
    }

    #[test]
    fn what_cannot_be_names_the_member() {
        assert!(faults(r#"{"loseNotifications": 2}"#).unwrap_err().starts_with("loseNotifications is 2"));
        assert!(
            faults(r#"{"random": {"seed": 1, "share": 0.5, "kinds": []}}"#)
                .unwrap_err()
                .contains("random.kinds")
        );
        assert!(faults(r#"{"latencyMs": 600001}"#).unwrap_err().starts_with("latencyMs"));
    }
}
