//! What the two weeks came to, by Graph's log, by what lived at Graph, and by the operator's audit and log.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Context as _;
use jiff::Timestamp;
use kube::ResourceExt as _;
use roomkeeper_crds::CalendarSubscription;
use serde_json::Value;

use super::spread::busiest_minute_ratio;

/// What the operator writes into its log before an expiry is mended.
const TOLD: &str = "ran out before it could be renewed";

/// Figures of a rehearsal.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Subscriptions that ran out at Graph.
    pub expired: usize,
    /// Ends that were not the operator's doing and that it did not notice: nothing was made in their stead, the calendar was not
    /// to be read again, or an expiry was not told.
    pub unnoticed: usize,
    /// Subscriptions that were made while the one before had not ended, and those that lived beside another.
    pub duplicates: usize,
    /// Subscriptions at Graph that no object knows of, in the end.
    pub orphans: usize,
    /// Subscriptions that were made in the stead of another.
    pub recreated: usize,
    /// Renewals in the busiest minute against the mean of the minutes in which renewals were due, 1 at the least.
    pub busiest_minute_ratio: f64,
    /// Renewals that succeeded.
    pub renewals: usize,
    /// Single answers that went wrong.
    pub faults: u64,
    /// Validations of the endpoint that failed.
    pub handshakes_failed: usize,
    /// Lifecycle events, removals and states of Graph.
    pub troubles: usize,
    /// Kinds of everything that went wrong.
    pub kinds: usize,
    /// How often the operator was killed.
    pub kills: usize,
    /// Kills after which something was left half done.
    pub kills_at_work: usize,
}

/// What an object says in the end.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) user_id: String,
    pub(super) subscription: String,
    /// When the calendar was last to be read again.
    pub(super) resync: Option<Timestamp>,
}

impl Known {
    pub(super) fn of(object: &CalendarSubscription) -> Option<Self> {
        let status = object.status.as_ref()?;
        Some(Self {
            name: object.name_any(),
            user_id: status.user_id.clone()?,
            subscription: status.subscription.as_ref()?.id.clone(),
            resync: status.resync.as_ref().map(|resync| resync.requested.0),
        })
    }
}

/// What Graph says in the end.
pub(super) struct Graph {
    pub(super) living: Vec<Value>,
    pub(super) requests: Vec<Value>,
    pub(super) injected: Value,
}

/// A subscription that was seen alive and then no more.
#[derive(Debug)]
struct End {
    id: String,
    user: String,
    at: Timestamp,
}

/// Counts as it goes.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// User of each that lived at the last look.
    living: HashMap<String, String>,
    ends: Vec<End>,
    /// Ends that Graph was told to bring about: id to time.
    removed: HashMap<String, Timestamp>,
    /// More than one for a mailbox at the same time.
    beside: usize,
    kills: usize,
    kills_at_work: usize,
}

impl Tally {
    /// Looks at what lives; returns the subscription of each user. Looks are closer together than any life is long, so that
    /// none begins and runs out between two of them.
    pub(super) fn saw(
        &mut self,
        living: &[Value],
        now: Timestamp,
    ) -> anyhow::Result<HashMap<String, String>> {
        let mut by_id = HashMap::new();
        let mut by_user = HashMap::new();
        for one in living {
            let (id, user) = (text(one, "id")?, text(one, "userId")?);
            by_id.insert(id.to_owned(), user.to_owned());
            let other = by_user.insert(user.to_owned(), id.to_owned());
            self.beside += usize::from(other.is_some());
        }
        for (id, user) in std::mem::take(&mut self.living) {
            if !by_id.contains_key(&id) {
                self.ends.push(End { id, user, at: now });
            }
        }
        self.living = by_id;
        Ok(by_user)
    }

    /// A subscription is ended by Graph itself.
    pub(super) fn removed(&mut self, user: &str, id: &str, now: Timestamp) {
        self.living.entry(id.to_owned()).or_insert_with(|| user.to_owned());
        self.removed.insert(id.to_owned(), now);
    }

    /// The operator was killed; `at_work`: something was left half done.
    pub(super) fn killed(&mut self, at_work: bool) {
        self.kills += 1;
        self.kills_at_work += usize::from(at_work);
    }

    pub(super) fn conclude(
        &self,
        known: &[Known],
        graph: &Graph,
        audit: &[Value],
        log: &str,
    ) -> anyhow::Result<Figures> {
        let calls = Calls::of(&graph.requests, audit)?;
        let ids: HashSet<&str> = known.iter().map(|one| one.subscription.as_str()).collect();
        let mut orphans = 0;
        for one in &graph.living {
            orphans += usize::from(!ids.contains(text(one, "id")?));
        }
        let injected = graph.injected.get("injected").and_then(Value::as_object).context("no injected")?;
        let mut figures = Figures {
            duplicates: self.beside,
            orphans,
            busiest_minute_ratio: busiest_minute_ratio(&calls.renewals),
            renewals: calls.renewals.len(),
            faults: injected.values().filter_map(Value::as_u64).sum(),
            kinds: injected.len(),
            kills: self.kills,
            kills_at_work: self.kills_at_work,
            ..Figures::default()
        };
        for object in known {
            self.judge(object, &calls, log, &mut figures);
        }
        Ok(figures)
    }

    /// Adds what became of one mailbox.
    fn judge(&self, object: &Known, calls: &Calls, log: &str, figures: &mut Figures) {
        let own = |end: &&End| end.user == object.user_id;
        let deleted = calls.deleted.get(&object.name);
        let mut ended: HashSet<&str> = self.ends.iter().filter(own).map(|end| end.id.as_str()).collect();
        ended.extend(deleted.into_iter().flatten().map(String::as_str));
        let made = calls.made.get(&object.name).copied().unwrap_or_default();
        // The first follows nothing; every other one an end.
        figures.duplicates += made.saturating_sub(ended.len() + 1);
        figures.unnoticed += (ended.len() + 1).saturating_sub(made);
        figures.recreated += made.saturating_sub(1);
        let by_itself = |end: &&End| {
            own(end) && !self.removed.contains_key(&end.id) && !calls.deleted_ids.contains(&end.id)
        };
        let expired = self.ends.iter().filter(by_itself).count();
        let needle = format!("/{}\"", object.name);
        let told = log.lines().filter(|line| line.contains(TOLD) && line.contains(&needle)).count();
        figures.expired += expired;
        figures.unnoticed += expired.saturating_sub(told);
        let last_removal = self
            .ends
            .iter()
            .filter(own)
            .filter(|end| !calls.deleted_ids.contains(&end.id))
            .map(|end| self.removed.get(&end.id).copied().unwrap_or(end.at))
            .max();
        // Whatever was to be read again after the last one: each request stands until a later one. It is written in whole seconds,
        // so that one of the same second came after it.
        let seconds = |at: Timestamp| at.as_second();
        let read_again =
            last_removal.is_none_or(|end| object.resync.is_some_and(|asked| seconds(asked) >= seconds(end)));
        figures.unnoticed += usize::from(!read_again);
    }
}

/// What Graph's log and the operator's audit tell together: the log knows no mailboxes, and the audit no answers.
#[derive(Debug, Default)]
struct Calls {
    /// Subscriptions made, by the name of the object.
    made: BTreeMap<String, usize>,
    /// Ids of subscriptions deleted, by the name of the object.
    deleted: BTreeMap<String, HashSet<String>>,
    /// Ids of subscriptions deleted by whatever object.
    deleted_ids: HashSet<String>,
    renewals: Vec<Timestamp>,
}

impl Calls {
    fn of(requests: &[Value], audit: &[Value]) -> anyhow::Result<Self> {
        let member =
            |entry: &'_ Value, name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
        let causes: HashMap<String, String> = audit
            .iter()
            .filter_map(|entry| Some((member(entry, "clientRequestId")?, member(entry, "causedBy")?)))
            .collect();
        let mut calls = Self::default();
        for one in requests {
            let (method, path) = (text(one, "method")?, text(one, "path")?);
            let Some(below) = path.strip_prefix("/v1.0/subscriptions") else { continue };
            let id = member(one, "clientRequestId").unwrap_or_default();
            let name = causes.get(&id).and_then(|cause| cause.rsplit('/').next()).unwrap_or_default();
            match (method, one.get("status").and_then(Value::as_u64), below.strip_prefix('/')) {
                ("POST", Some(201), None) => *calls.made.entry(name.to_owned()).or_default() += 1,
                ("DELETE", Some(204), Some(id)) => {
                    calls.deleted.entry(name.to_owned()).or_default().insert(id.to_owned());
                    calls.deleted_ids.insert(id.to_owned());
                }
                ("PATCH", Some(200), Some(_)) => calls.renewals.push(text(one, "time")?.parse()?),
                _ => {}
            }
        }
        Ok(calls)
    }
}

fn text<'a>(object: &'a Value, member: &str) -> anyhow::Result<&'a str> {
    object.get(member).and_then(Value::as_str).with_context(|| format!("no member {member}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + hour * 3_600).unwrap()
    }

    fn known(resync: Option<i64>) -> Vec<Known> {
        let (name, user_id, subscription) = ("one".to_owned(), "u1".to_owned(), "s2".to_owned());
        vec![Known { name, user_id, subscription, resync: resync.map(at) }]
    }

    /// A log with that many successful POSTs by the object `one`, and the audit that tells of them.
    fn made(count: usize) -> (Vec<Value>, Vec<Value>) {
        let time = "2026-11-23T10:00:00Z";
        let request = |id: usize| json!({"method": "POST", "path": "/v1.0/subscriptions", "status": 201, "time": time, "clientRequestId": id.to_string()});
        let entry =
            |id: usize| json!({"clientRequestId": id.to_string(), "causedBy": "CalendarSubscription/n/one"});
        ((0..count).map(request).collect(), (0..count).map(entry).collect())
    }

    fn living(id: &str) -> Vec<Value> {
        vec![json!({"id": id, "userId": "u1"})]
    }

    fn conclude(tally: &Tally, resync: Option<i64>, posts: usize, log: &str) -> Figures {
        let (requests, audit) = made(posts);
        let graph = Graph { living: living("s2"), requests, injected: json!({"injected": {"throttled": 3}}) };
        tally.conclude(&known(resync), &graph, &audit, log).unwrap()
    }

    #[test]
    fn an_expiry_that_is_told_and_mended_is_noticed_and_every_other_is_not() {
        let mut tally = Tally::default();
        tally.saw(&living("s1"), at(0)).unwrap();
        // Recreated before the next look.
        tally.saw(&living("s2"), at(1)).unwrap();
        let told = format!("{{\"message\":\"a Graph subscription {TOLD}\",\"object\":\"n/one\"}}");
        let figures = conclude(&tally, Some(1), 2, &told);
        assert_eq!((figures.expired, figures.unnoticed, figures.duplicates), (1, 0, 0), "{figures:?}");
        assert_eq!(conclude(&tally, Some(1), 2, "").unnoticed, 1, "not told");
        assert_eq!(conclude(&tally, Some(0), 2, &told).unnoticed, 1, "not read again");
        let mut within = Tally::default();
        within.saw(&living("s1"), at(0)).unwrap();
        within.removed("u1", "s1", at(1) + jiff::SignedDuration::from_millis(700));
        within.saw(&living("s2"), at(2)).unwrap();
        assert_eq!(
            conclude(&within, Some(1), 2, "").unnoticed,
            0,
            "asked for within the second of the removal"
        );
        assert_eq!(conclude(&tally, Some(1), 1, &told).unnoticed, 1, "not made again");
    }

    #[test]
    fn one_made_before_the_end_of_the_one_before_is_a_duplicate() {
        let mut tally = Tally::default();
        tally.saw(&living("s2"), at(0)).unwrap();
        assert_eq!(conclude(&tally, None, 1, "").duplicates, 0);
        assert_eq!(conclude(&tally, None, 2, "").duplicates, 1);
        let both = [living("s1"), living("s2")].concat();
        tally.saw(&both, at(1)).unwrap();
        assert_eq!(conclude(&tally, None, 1, "").duplicates, 1, "beside each other");
    }

    #[test]
    fn what_graph_removed_is_no_expiry() {
        let mut tally = Tally::default();
        tally.saw(&living("s1"), at(0)).unwrap();
        tally.removed("u1", "s1", at(1));
        tally.saw(&living("s2"), at(2)).unwrap();
        let figures = conclude(&tally, Some(1), 2, "");
        assert_eq!((figures.expired, figures.unnoticed, figures.recreated), (0, 0, 1));
        assert_eq!((figures.faults, figures.kinds, figures.orphans), (3, 1, 0));
    }
}
