//! What this leadership asked of Graph for each scope, what came back, and when to ask again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use roomkeeper_graph::GraphClient;

use super::plan::Answers;

/// By the scope's uid.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<String, Scope>>);

#[derive(Debug, Default)]
struct Scope {
    answers: Option<Answers>,
    ask_at: Option<Timestamp>,
    /// Something changed since Graph was last begun to be asked: the answer may be about what was before.
    overtaken: bool,
    failures: u32,
    sweep_at: Option<Timestamp>,
    sweeps: u32,
    client: Option<GraphClient>,
    max_minutes: Option<u32>,
    seen: Option<u64>,
    warned_at: Option<Timestamp>,
    deletion: Option<Deletion>,
}

#[derive(Debug)]
struct Deletion {
    remote: usize,
    progress_at: Timestamp,
}

impl Scope {
    /// Graph is asked at the next opportunity, also where it is being asked right now.
    fn hurry(&mut self) {
        (self.ask_at, self.overtaken) = (None, true);
    }
}

/// Time between two warnings of the same scope.
const WARNED: SignedDuration = SignedDuration::from_hours(24);

impl Memory {
    /// What came back last, and whether it is time to ask again: for another generation, request or confirmation it always is.
    pub fn answers(
        &self,
        uid: &str,
        generation: i64,
        (requested, confirmed): (Option<&str>, Option<&str>),
        now: Timestamp,
    ) -> (Option<Answers>, bool) {
        let mut all = self.all();
        let scope = all.entry(uid.to_owned()).or_default();
        let due = match &scope.answers {
            None => true,
            Some(answers) => {
                answers.generation != generation
                    || answers.requested.as_deref() != requested
                    || answers.confirmed.as_deref() != confirmed
                    || scope.ask_at.is_none_or(|at| at <= now)
            }
        };
        (scope.answers.clone(), due)
    }

    /// Keeps an answer, and counts failures in a row, which are returned.
    pub fn answered(&self, uid: &str, answers: Answers) -> u32 {
        let mut all = self.all();
        let scope = all.entry(uid.to_owned()).or_default();
        scope.failures = if answers.is_good() { 0 } else { scope.failures.saturating_add(1) };
        scope.answers = Some(answers);
        scope.failures
    }

    /// Graph is about to be asked.
    pub fn asking(&self, uid: &str) {
        self.all().entry(uid.to_owned()).or_default().overtaken = false;
    }

    /// When to ask again, unless the answer was overtaken by [`Self::ask_now`] or [`Self::doubt`]: then it is at the next opportunity.
    pub fn ask_at(&self, uid: &str, at: Timestamp) {
        let mut all = self.all();
        let scope = all.entry(uid.to_owned()).or_default();
        scope.ask_at = (!scope.overtaken).then_some(at);
    }

    /// Time until Graph is asked again, if that is set.
    pub fn until_ask(&self, uid: &str, now: Timestamp) -> Option<std::time::Duration> {
        let at = self.all().get(uid).and_then(|scope| scope.ask_at)?;
        Some(std::time::Duration::try_from(at.duration_since(now)).unwrap_or_default())
    }

    /// Asks again at the next opportunity: a call was refused for a reason that concerns the whole scope. Returns whether
    /// that is news; where trouble is known already, its own times hold.
    pub fn doubt(&self, uid: &str) -> bool {
        let mut all = self.all();
        let Some(scope) = all.get_mut(uid) else { return false };
        let news = scope.ask_at.is_some() && scope.answers.as_ref().is_some_and(Answers::is_good);
        if news {
            scope.hurry();
        }
        news
    }

    /// Asks again at the next opportunity, whatever came back last.
    pub fn ask_now(&self, uid: &str) {
        if let Some(scope) = self.all().get_mut(uid) {
            scope.hurry();
        }
    }

    /// Whether it is time for another warning; if so, it counts as given.
    pub fn may_warn(&self, uid: &str, now: Timestamp) -> bool {
        let mut all = self.all();
        let scope = all.entry(uid.to_owned()).or_default();
        let may = scope.warned_at.is_none_or(|at| now.duration_since(at) >= WARNED);
        if may {
            scope.warned_at = Some(now);
        }
        may
    }

    /// The scope is under deletion and so many Graph subscriptions are left: when their number last fell, or was seen first.
    pub fn progress(&self, uid: &str, remote: usize, now: Timestamp) -> Timestamp {
        let mut all = self.all();
        let scope = all.entry(uid.to_owned()).or_default();
        let deletion = scope.deletion.get_or_insert(Deletion { remote, progress_at: now });
        if remote < deletion.remote {
            *deletion = Deletion { remote, progress_at: now };
        }
        deletion.progress_at
    }

    /// Whether an answer for this generation has come in, good or bad.
    pub fn was_asked(&self, uid: &str, generation: i64) -> bool {
        self.all()
            .get(uid)
            .and_then(|scope| scope.answers.as_ref())
            .is_some_and(|answers| answers.generation == generation)
    }

    /// Whether a sweep is due.
    pub fn sweep_due(&self, uid: &str, now: Timestamp) -> bool {
        self.all().get(uid).is_none_or(|scope| scope.sweep_at.is_none_or(|at| at <= now))
    }

    /// When a sweep is due next.
    pub fn sweep_at(&self, uid: &str) -> Option<Timestamp> {
        self.all().get(uid).and_then(|scope| scope.sweep_at)
    }

    /// A sweep ended; returns how many ended well before it.
    pub fn swept(&self, uid: &str) -> u32 {
        let mut all = self.all();
        let scope = all.entry(uid.to_owned()).or_default();
        let before = scope.sweeps;
        scope.sweeps = scope.sweeps.saturating_add(1);
        before
    }

    /// When to sweep next.
    pub fn set_sweep_at(&self, uid: &str, at: Timestamp) {
        self.all().entry(uid.to_owned()).or_default().sweep_at = Some(at);
    }

    /// Every scope is swept at the next opportunity.
    pub fn sweep_all(&self) {
        for scope in self.all().values_mut() {
            scope.sweep_at = None;
        }
    }

    /// A client that works.
    pub fn keep_client(&self, uid: &str, client: &GraphClient) {
        self.all().entry(uid.to_owned()).or_default().client = Some(client.clone());
    }

    /// The last client that could be made. It may hold a token still good when the Secret went before the objects that
    /// need it, as in a namespace under deletion.
    pub fn last_client(&self, uid: &str) -> Option<GraphClient> {
        self.all().get(uid).and_then(|scope| scope.client.clone())
    }

    /// Longest life that Graph was found to take, in minutes.
    pub fn max_minutes(&self, uid: &str) -> Option<u32> {
        self.all().get(uid).and_then(|scope| scope.max_minutes)
    }

    /// Graph told its longest life.
    pub fn learn_max_minutes(&self, uid: &str, minutes: u32) {
        self.all().entry(uid.to_owned()).or_default().max_minutes = Some(minutes);
    }

    /// Whether the part of the scope that others depend on changed since the last call.
    pub fn is_news(&self, uid: &str, fingerprint: u64) -> bool {
        let mut all = self.all();
        all.entry(uid.to_owned()).or_default().seen.replace(fingerprint) != Some(fingerprint)
    }

    /// The scope is gone.
    pub fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Scope>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn a_change_while_graph_is_asked_leads_to_another_question() {
        let memory = Memory::default();
        memory.asking("a");
        memory.ask_now("a");
        memory.ask_at("a", at(3600));
        assert_eq!(memory.until_ask("a", at(0)), None, "the answer is about what was before");
        memory.asking("a");
        memory.ask_at("a", at(3600));
        assert_eq!(memory.until_ask("a", at(0)), Some(std::time::Duration::from_hours(1)));
    }

    #[test]
    fn a_scope_warns_once_a_day() {
        let memory = Memory::default();
        let day = WARNED.as_secs();
        let warned = [0, 60, day - 1, day, day + 60].map(|second| memory.may_warn("a", at(second)));
        assert_eq!(warned, [true, false, false, true, false]);
        assert!(memory.may_warn("b", at(60)), "another scope has its own");
    }

    #[test]
    fn a_deletion_goes_on_while_fewer_and_fewer_are_left() {
        let memory = Memory::default();
        let seen = [(0, 3), (60, 3), (120, 2), (180, 2), (240, 4), (300, 1)];
        let progress = seen.map(|(second, remote)| memory.progress("a", remote, at(second)));
        assert_eq!(progress, [0, 0, 120, 120, 120, 300].map(at));
    }
}
