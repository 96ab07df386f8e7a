//! The sweep: what Graph has against what the cluster knows. Finds what a crash left behind, what an earlier public URL or
//! key left behind, and what vanished unnoticed.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use kube::ResourceExt as _;
use roomkeeper_crds::{AccessScope, CalendarSubscription};
use roomkeeper_graph::{Cause, Decision, GraphClient, GraphError, Subscription, SubscriptionId};

use super::{
    address::Addresses,
    apply::{delete, list},
    sightings::Sighting,
    watched::Swept,
};
use crate::{access_scope, context::Context, failpoint::Place, key::Key};

/// The second sweep of a leadership: a request that the leader before had sent can arrive after the first sweep, but not
/// later than the time-out of its sender.
const SECOND: Duration = Duration::from_mins(2);
/// Every later one.
const REGULAR: Duration = Duration::from_hours(6);
/// After a failure, and twice as long after each further one.
const RETRY: Duration = Duration::from_mins(1);
/// Longest wait for the next list while Graph gives none.
const LONGEST_RETRY: Duration = Duration::from_mins(15);

/// What the cluster knows of a CalendarSubscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its uid.
    pub uid: String,
    /// Whether it belongs to the scope that is swept.
    pub in_scope: bool,
    /// The Graph subscription in its status.
    pub remote: Option<SubscriptionId>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sorted {
    /// By uid, what its reconciler has to look at; an empty list: its subscription was not seen.
    pub sightings: HashMap<String, Vec<Sighting>>,
    /// Ours, but of nobody: to be deleted.
    pub dead: Vec<SubscriptionId>,
    /// Of other installations: left alone.
    pub foreign: usize,
}

/// Sorts what was listed. Pure.
pub fn sort(listed: &[Subscription], known: &[Known], addresses: Addresses<'_>, current_key: &str) -> Sorted {
    let by_id: HashMap<SubscriptionId, &Known> =
        known.iter().filter_map(|one| Some((one.remote?, one))).collect();
    let owners: HashMap<&str, &Known> = known.iter().map(|one| (one.uid.as_str(), one)).collect();
    let mut by_owner: HashMap<&str, Vec<Sighting>> = HashMap::new();
    let mut sorted = Sorted::default();
    for subscription in listed {
        let address = subscription.notification_url.as_deref().and_then(|url| addresses.identify(url));
        let current = address.as_ref().is_some_and(|address| address.key_id == current_key);
        // The status knows a subscription by its id even when the public URL was another one when it was made.
        let owner = match (&address, by_id.get(&subscription.id)) {
            (Some(address), _) => owners.get(address.uid.as_str()).copied(),
            (None, Some(known)) => Some(*known),
            (None, None) => {
                sorted.foreign += 1;
                continue;
            }
        };
        match owner {
            Some(known) => {
                by_owner.entry(&known.uid).or_default().push(Sighting { id: subscription.id, current });
            }
            None => sorted.dead.push(subscription.id),
        }
    }
    for one in known.iter().filter(|one| one.in_scope) {
        let sightings = by_owner.remove(one.uid.as_str()).unwrap_or_default();
        let as_it_should_be = match (one.remote, sightings.as_slice()) {
            (None, []) => true,
            (Some(remote), [only]) => only.id == remote && only.current,
            _ => false,
        };
        if !as_it_should_be {
            sorted.sightings.insert(one.uid.clone(), sightings);
        }
    }
    sorted
}

/// Sweeps a scope if it is time; returns when the next sweep is due. A failure is logged and tried again soon.
pub async fn if_due(context: &Context, scope: &AccessScope, key: &Key, uid: &str) -> Duration {
    let now = context.process.clock.now();
    if !context.memory.sweep_due(uid, now) {
        let at = context.memory.sweep_at(uid).unwrap_or(now);
        return Duration::try_from(at.duration_since(now)).unwrap_or_default();
    }
    let next = match sweep(context, scope, key).await {
        Ok(undone) => {
            let regular = if context.memory.swept(uid) == 0 { SECOND } else { REGULAR };
            let failures = context.watched.sweep_ended(key, undone.count > 0);
            if failures == 0 { regular } else { retry(failures, undone.wait).min(regular) }
        }
        Err(error) => {
            tracing::warn!(scope = %key, %error, "the sweep failed; tried again");
            let wait = match &error {
                SweepError::Graph(error) => asked_wait(error),
                SweepError::Access(_) => None,
            };
            let failures = context.watched.sweep_ended(key, true);
            retry(failures, wait).min(LONGEST_RETRY.max(wait.unwrap_or_default()))
        }
    };
    if let Ok(at) = now.checked_add(next) {
        context.memory.set_sweep_at(uid, at);
    }
    next
}

/// How long to wait after so many failures in a row, and not less than Graph asked for.
fn retry(failures: u32, wait: Option<Duration>) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    RETRY.saturating_mul(factor).max(wait.unwrap_or_default())
}

fn asked_wait(error: &GraphError) -> Option<Duration> {
    match error.decision() {
        Decision::Wait(wait) => Some(wait),
        _ => None,
    }
}

/// Whether only the subscription that the call was about is concerned, so that the next one is worth a call.
fn is_about_one(error: &GraphError) -> bool {
    matches!(error, GraphError::Refused(_))
        && !matches!(error.decision(), Decision::Wait(_) | Decision::TokenRejected)
}

/// What a sweep could not delete.
#[derive(Debug, Default, PartialEq, Eq)]
struct Undone {
    count: usize,
    /// How long Graph asked to be left alone.
    wait: Option<Duration>,
}

#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error("{0}")]
    Access(#[from] roomkeeper_service::scope_access::ScopeAccessError),
    #[error("{0}")]
    Graph(#[from] GraphError),
}

async fn sweep(context: &Context, scope: &AccessScope, key: &Key) -> Result<Undone, SweepError> {
    let client = context.process.clients.client_for(scope).await?;
    let cause = Cause::new(format!("AccessScope/{key}"));
    // Listed first: whatever is listed then has its object in the store, unless that object has gone since. What was made
    // between the two looks vanished, and is found alive by its reconciler.
    let listed = list(Place::List, &client, &cause).await?;
    let known = known(context, key);
    let uids: HashMap<String, Key> =
        known.iter().map(|(key, known)| (known.uid.clone(), key.clone())).collect();
    let known: Vec<Known> = known.into_iter().map(|(_, known)| known).collect();
    let sorted = sort(&listed, &known, addresses(context), context.ring().current_id());
    tracing::info!(
        scope = %key,
        listed = listed.len(),
        to_look_at = sorted.sightings.len(),
        dead = sorted.dead.len(),
        foreign = sorted.foreign,
        "swept the subscriptions at Graph"
    );
    let seen = Swept {
        ours: listed.len().saturating_sub(sorted.dead.len()).saturating_sub(sorted.foreign),
        dead: sorted.dead.len(),
        foreign: sorted.foreign,
    };
    let sums = context.watched.swept(key, seen, |scope| context.scopes.get(scope).is_some());
    for (label, count) in [("ours", sums.ours), ("dead", sums.dead), ("foreign", sums.foreign)] {
        let gauge = context.process.metrics.life.swept.with_label_values(&[label]);
        gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    for (uid, seen) in sorted.sightings {
        if let Some(key) = uids.get(&uid) {
            context.sightings.put(&uid, seen);
            context.subscriptions.trigger(key);
        }
    }
    Ok(end(key, &sorted.dead, |id| delete(Place::DeleteSwept, &client, &cause, id)).await)
}

/// Ends what is nobody's. One that cannot be ended keeps no other alive.
async fn end<'a, F>(
    scope: &Key,
    dead: &'a [SubscriptionId],
    delete: impl Fn(&'a SubscriptionId) -> F,
) -> Undone
where
    F: Future<Output = Result<(), GraphError>>,
{
    let mut undone = Undone::default();
    for (at, id) in dead.iter().enumerate() {
        let Err(error) = delete(id).await else { continue };
        tracing::warn!(%scope, subscription = %id, %error, "a subscription of nobody could not be ended; tried again");
        if !is_about_one(&error) {
            undone.count += dead.len().saturating_sub(at);
            undone.wait = asked_wait(&error);
            break;
        }
        undone.count += 1;
    }
    undone
}

/// Subscriptions at Graph that are ours and belong to CalendarSubscriptions of this scope, or to nobody.
///
/// # Errors
/// When Graph fails.
pub async fn leftovers(
    context: &Context,
    client: &GraphClient,
    cause: &Cause,
    scope: &Key,
) -> Result<Vec<SubscriptionId>, GraphError> {
    let elsewhere: HashSet<String> = known(context, scope)
        .into_iter()
        .filter(|(_, known)| !known.in_scope)
        .map(|(_, known)| known.uid)
        .collect();
    let listed = list(Place::ListLeftovers, client, cause).await?;
    let ours = |subscription: &Subscription| {
        let address = addresses(context).identify(subscription.notification_url.as_deref()?)?;
        (!elsewhere.contains(&address.uid)).then_some(subscription.id)
    };
    Ok(listed.iter().filter_map(ours).collect())
}

fn addresses(context: &Context) -> Addresses<'_> {
    Addresses { prefix: &context.process.settings.public_url }
}

fn known(context: &Context, scope: &Key) -> Vec<(Key, Known)> {
    let in_scope: HashSet<Key> =
        context.subscriptions.under(&access_scope::term(scope)).into_iter().collect();
    let of = |object: CalendarSubscription| {
        let remote = object.status.as_ref().and_then(|status| status.subscription.as_ref());
        let key = Key::of(&object);
        let known = Known {
            uid: object.uid()?,
            in_scope: in_scope.contains(&key),
            remote: remote.and_then(|remote| SubscriptionId::parse(&remote.id).ok()),
        };
        Some((key, known))
    };
    context.subscriptions.each().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::{future::ready, sync::Mutex};

    use futures::FutureExt as _;
    use jiff::Timestamp;
    use roomkeeper_graph::{Purpose, Reason, Refusal};
    use uuid::Uuid;

    use super::*;

    const OURS: Addresses<'static> = Addresses { prefix: "https://rooms.example" };

    fn id(number: u128) -> SubscriptionId {
        Uuid::from_u128(number).into()
    }

    fn listed(number: u128, url: &str) -> Subscription {
        Subscription {
            id: id(number),
            resource: "users/x/events".to_owned(),
            notification_url: Some(url.to_owned()),
            lifecycle_notification_url: None,
            expiration: Timestamp::UNIX_EPOCH,
            application_id: None,
            change_type: "created,updated,deleted".to_owned(),
        }
    }

    fn known(uid: &str, remote: Option<u128>) -> Known {
        Known { uid: uid.to_owned(), in_scope: true, remote: remote.map(id) }
    }

    fn seen(number: u128, current: bool) -> Sighting {
        Sighting { id: id(number), current }
    }

    fn refused(status: u16, decision: Decision) -> GraphError {
        GraphError::Refused(Box::new(Refusal {
            purpose: Purpose::DeleteSubscription,
            status,
            code: String::new(),
            inner_status: None,
            request_id: None,
            client_request_id: Uuid::nil(),
            decision,
        }))
    }

    /// Ends five, of which the second fails that way; returns which were asked for, and what is left.
    fn ended(status: u16, decision: Decision) -> (Vec<SubscriptionId>, Undone) {
        let dead: Vec<SubscriptionId> = (1..=5).map(id).collect();
        let asked = Mutex::new(Vec::new());
        let delete = |one: &SubscriptionId| {
            asked.lock().unwrap().push(*one);
            ready(if *one == id(2) { Err(refused(status, decision)) } else { Ok(()) })
        };
        let undone = end(&Key::new("n", "s"), &dead, delete).now_or_never().unwrap();
        (asked.into_inner().unwrap(), undone)
    }

    #[test]
    fn one_that_cannot_be_ended_keeps_no_other_alive() {
        let all: Vec<SubscriptionId> = (1..=5).map(id).collect();
        for (status, decision) in
            [(403, Decision::UserMustAct(Reason::PermissionMissing)), (500, Decision::Retry)]
        {
            assert_eq!(ended(status, decision), (all.clone(), Undone { count: 1, wait: None }));
        }
        let pause = Duration::from_secs(30);
        let (asked, undone) = ended(429, Decision::Wait(pause));
        assert_eq!((asked.len(), undone), (2, Undone { count: 4, wait: Some(pause) }), "left alone as asked");
        let (asked, undone) = ended(401, Decision::TokenRejected);
        assert_eq!((asked.len(), undone), (2, Undone { count: 4, wait: None }));
    }

    #[test]
    fn failures_in_a_row_are_tried_again_later_and_later() {
        let waits: Vec<u64> = (1..5).map(|failures| retry(failures, None).as_secs() / 60).collect();
        assert_eq!(waits, [1, 2, 4, 8]);
        assert!(retry(u32::MAX, None) > REGULAR, "bounded by whoever asks");
        assert_eq!(retry(1, Some(Duration::from_mins(7))), Duration::from_mins(7));
    }

    #[test]
    fn each_kind_of_subscription_goes_its_way() {
        let listed = [
            listed(1, "https://rooms.example/notifications/k2/good"),
            listed(2, "https://rooms.example/notifications/k2/lost"),
            listed(3, "https://rooms.example/notifications/k1/old-key"),
            listed(4, "https://earlier.example/notifications/k2/moved"),
            listed(5, "https://rooms.example/notifications/k2/nobody"),
            listed(6, "https://other.example/hook"),
            listed(7, "https://rooms.example/notifications/k2/twice"),
            listed(8, "https://rooms.example/notifications/k2/twice"),
        ];
        let cluster = [
            known("good", Some(1)),
            known("lost", None),
            known("old-key", Some(3)),
            known("moved", Some(4)),
            known("vanished", Some(99)),
            known("twice", Some(7)),
            known("never", None),
            Known { in_scope: false, ..known("elsewhere", Some(98)) },
        ];
        let sorted = sort(&listed, &cluster, OURS, "k2");
        assert_eq!(sorted.dead, [id(5)]);
        assert_eq!(sorted.foreign, 1);
        let expected = HashMap::from([
            ("lost".to_owned(), vec![seen(2, true)]),
            ("old-key".to_owned(), vec![seen(3, false)]),
            ("moved".to_owned(), vec![seen(4, false)]),
            ("vanished".to_owned(), vec![]),
            ("twice".to_owned(), vec![seen(7, true), seen(8, true)]),
        ]);
        assert_eq!(sorted.sightings, expected);
    }
}
