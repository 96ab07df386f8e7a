//! Events on objects: when `Ready` turns, and for what is done by exception. Never one per retry.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use roomkeeper_crds::condition::{self, Status, Summary, Type};

/// Longest wait for the API server to take an event.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Most characters of a note.
const NOTE_CHARS: usize = 900;

/// Publishes events.
#[derive(Clone)]
pub struct Events(Recorder);

impl Events {
    /// For this replica.
    pub fn new(client: Client, identity: &str) -> Self {
        let reporter =
            Reporter { controller: "roomkeeper-operator".to_owned(), instance: Some(identity.to_owned()) };
        Self(Recorder::new(client, reporter))
    }

    /// Tells of a transition of `Ready`, if there is one between the two lists.
    pub async fn transition<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        before: &[Condition],
        after: &[Condition],
    ) {
        if let Some((type_, reason, note)) = transition(before, after) {
            self.publish(object, type_, &reason, note).await;
        }
    }

    /// Warns of something that was done by exception.
    pub async fn warn<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, note: String) {
        self.publish(object, EventType::Warning, reason, note).await;
    }

    /// Tells of something that was done, and is as it should be.
    pub async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, reason: &str, note: String) {
        self.publish(object, EventType::Normal, reason, note).await;
    }

    async fn publish<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        type_: EventType,
        reason: &str,
        note: String,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note.chars().take(NOTE_CHARS).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference = object.object_ref(&());
        // An event is a courtesy: the status says the same, so that a lost one is logged and no more.
        match tokio::time::timeout(TIMEOUT, self.0.publish(&event, &reference)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, reason, "an event was not taken"),
            Err(_elapsed) => tracing::debug!(reason, "an event was not taken in time"),
        }
    }
}

/// The event that follows from a change of `Ready`. First sight is none.
fn transition(before: &[Condition], after: &[Condition]) -> Option<(EventType, String, String)> {
    let now = condition::get(after, Type::Ready)?;
    let same = condition::get(before, Type::Ready)
        .is_some_and(|before| before.status == now.status && before.reason == now.reason);
    if same || now.reason == Summary::Pending.as_str() {
        return None;
    }
    let type_ = if now.status == Status::False.as_str() { EventType::Warning } else { EventType::Normal };
    Some((type_, now.reason.clone(), now.message.clone()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::summary;

    fn conditions(summary: summary::Summary) -> Vec<Condition> {
        let mut conditions = Vec::new();
        summary::put(&mut conditions, summary, None, Timestamp::UNIX_EPOCH);
        conditions
    }

    #[test]
    fn only_transitions_are_told() {
        let unproven = conditions(summary::Summary::Unproven { message: String::new() });
        let working = |message: &str| {
            conditions(summary::Summary::Working { reason: "Throttled", message: message.to_owned() })
        };
        let ready = conditions(summary::Summary::Ready { reason: "Succeeded", message: "yes".to_owned() });
        assert_eq!(transition(&[], &unproven), None);
        assert_eq!(transition(&working("a"), &working("b")), None, "the same trouble in other words");
        assert_eq!(
            transition(&unproven, &working("a")),
            Some((EventType::Warning, "Throttled".to_owned(), "a".to_owned()))
        );
        assert_eq!(
            transition(&working("a"), &ready),
            Some((EventType::Normal, "Succeeded".to_owned(), "yes".to_owned()))
        );
    }
}
