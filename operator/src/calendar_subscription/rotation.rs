//! Has subscriptions made anew that have another public URL or key than today's, a few at a time, so that new consents and
//! due renewals do not wait behind all of them.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::ResourceExt as _;

use crate::{context::Context, key::Key};

/// Time between two looks while there is nothing to do.
const LOOK: Duration = Duration::from_secs(1);

/// Time between two looks while there is.
const TICK: Duration = Duration::from_millis(50);

/// How long one that is at its turn keeps others from theirs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives turns until dropped.
pub async fn pace(context: Arc<Context>) {
    // Half of what can be worked on at the same time stays free for everything else.
    let slots = usize::from(context.process.settings.concurrency / 2).max(1);
    let mut waiting = VecDeque::new();
    let mut at_turn: Vec<(Key, Instant)> = Vec::new();
    let mut looked: Option<Instant> = None;
    let mut others = 0;
    loop {
        tokio::time::sleep(if at_turn.is_empty() { LOOK } else { TICK }).await;
        at_turn.retain(|(key, since)| since.elapsed() < PATIENCE && is_outdated(&context, key));
        if looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            looked = Some(Instant::now());
            others = publish(&context, others);
            if waiting.is_empty() {
                waiting = outdated(&context).into();
            }
        }
        while at_turn.len() < slots
            && let Some(key) = waiting.pop_front()
        {
            if at_turn.iter().all(|(other, _)| *other != key) && is_outdated(&context, &key) {
                context.watched.give_turn(&key);
                context.subscriptions.trigger(&key);
                at_turn.push((key, Instant::now()));
            }
        }
    }
}

/// Subscriptions to be made anew, by what their status or a sweep says.
fn outdated(context: &Context) -> Vec<Key> {
    let ring = context.ring();
    let mut keys = context.watched.signed_by(|key_id| key_id != ring.current_id());
    for uid in context.sightings.outdated() {
        keys.extend(context.subscriptions.under(&super::uid_term(&uid)));
    }
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn is_outdated(context: &Context, key: &Key) -> bool {
    context.watched.is_signed_by_another(key, context.ring().current_id())
        || context
            .subscriptions
            .get(key)
            .and_then(|object| object.uid())
            .and_then(|uid| context.sightings.get(&uid))
            .is_some_and(|seen| seen.iter().any(|one| !one.current))
}

/// Puts the figures into the metric, and says when the keys of earlier times have no holder left.
fn publish(context: &Context, others_before: usize) -> usize {
    let ring = context.ring();
    let (current, others) = context.watched.holders(ring.current_id());
    let metrics = &context.process.metrics.life;
    for (label, count) in [("current", current), ("other", others)] {
        metrics.key_holders.with_label_values(&[label]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    // The holders first: whoever sees the new id must not see them counted by the earlier one.
    let known = metrics.current_key.get_metric_with_label_values(&[ring.current_id()]);
    if known.is_ok_and(|gauge| gauge.get() == 0) {
        metrics.current_key.reset();
        metrics.current_key.with_label_values(&[ring.current_id()]).set(1);
    }
    if others == 0 && others_before > 0 {
        tracing::info!(
            key_id = ring.current_id(),
            "every subscription is signed with the current key: earlier keys may be removed"
        );
    }
    others
}
