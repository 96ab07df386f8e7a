//! What goes wrong at Graph beside single answers: lifecycle events, subscriptions that vanish without a word, lives that come
//! back shorter or are not extended, and mailboxes that a policy closes for a while.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::people::Mailbox;
use crate::chance::Chance;
use crate::simulator::Simulator;

/// How long a state of Graph lasts: longer than a step, so that renewals meet it.
const LASTING: SignedDuration = SignedDuration::from_hours(10);
/// A life that is shorter than what is asked for, and longer than a step and what follows it.
const SHORTER_MINUTES: u32 = 26 * 60;

/// One kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Graph says that notifications were missed.
    Missed,
    /// Graph asks to authorise again.
    ReauthorizationRequired,
    /// Graph says that it removed the subscription.
    SubscriptionRemoved,
    /// The subscription is gone, and nobody says so.
    RemovedSilently,
    /// The subscription is gone, and a policy keeps it from being made again for a while.
    Denied,
    /// Graph grants shorter lives than it is asked for.
    ShorterLife,
    /// Graph answers renewals with the end of before.
    LifeKept,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Missed,
        Self::ReauthorizationRequired,
        Self::SubscriptionRemoved,
        Self::RemovedSilently,
        Self::Denied,
        Self::ShorterLife,
        Self::LifeKept,
    ];

    /// Whether it befalls one mailbox rather than all.
    fn is_of_a_mailbox(self) -> bool {
        !matches!(self, Self::ShorterLife | Self::LifeKept)
    }

    /// Whether a subscription ends by it.
    pub(super) fn ends_one(self) -> bool {
        matches!(self, Self::SubscriptionRemoved | Self::RemovedSilently | Self::Denied)
    }
}

/// A trouble to come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// Time since the beginning.
    at: SignedDuration,
    /// Index of the mailbox, where it befalls one.
    pub(super) mailbox: usize,
}

/// All of them, and those that last.
#[derive(Debug)]
pub(super) struct Troubles {
    to_come: Vec<Trouble>,
    /// Denied mailboxes, and until when.
    denied: BTreeMap<usize, Timestamp>,
    shorter_until: Option<Timestamp>,
    kept_until: Option<Timestamp>,
    pub(super) befallen: BTreeMap<Kind, usize>,
}

impl Troubles {
    /// Each kind befalls that share of the mailboxes, at times and mailboxes by chance; a state of Graph comes once.
    pub(super) fn by_chance(
        chance: &mut Chance,
        share: f64,
        mailboxes: usize,
        length: SignedDuration,
    ) -> Self {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few hundred"
        )]
        let of_each = ((mailboxes as f64 * share).ceil() as usize).max(1);
        // The last day is for what comes of them.
        let hours = usize::try_from(length.as_hours() - 24).unwrap_or(1);
        let mut to_come = Vec::new();
        for kind in Kind::ALL {
            for _ in 0..if kind.is_of_a_mailbox() { of_each } else { 1 } {
                let hour = i64::try_from(chance.below(hours)).unwrap_or(0);
                let (at, mailbox) = (SignedDuration::from_hours(hour), chance.below(mailboxes));
                to_come.push(Trouble { kind, at, mailbox });
            }
        }
        to_come.sort_by_key(|trouble| std::cmp::Reverse(trouble.at));
        Self {
            to_come,
            denied: BTreeMap::new(),
            shorter_until: None,
            kept_until: None,
            befallen: BTreeMap::new(),
        }
    }

    /// Those whose time has come.
    pub(super) fn due(&mut self, passed: SignedDuration) -> Vec<Trouble> {
        let mut due = Vec::new();
        while let Some(trouble) = self.to_come.pop_if(|trouble| trouble.at <= passed) {
            due.push(trouble);
        }
        due
    }

    /// Brings one about, for a mailbox with that living subscription.
    pub(super) async fn befall(
        &mut self,
        graph: &Simulator,
        trouble: Trouble,
        mailboxes: &[Mailbox],
        subscription: &str,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let lifecycle = async |event: &str| {
            let body = json!({"subscriptionId": subscription, "lifecycleEvent": event});
            graph.post("/_sim/lifecycle", &body).await.map(drop)
        };
        let until = now.saturating_add(LASTING)?;
        match trouble.kind {
            Kind::Missed => lifecycle("missed").await?,
            Kind::ReauthorizationRequired => lifecycle("reauthorizationRequired").await?,
            Kind::SubscriptionRemoved => lifecycle("subscriptionRemoved").await?,
            Kind::RemovedSilently => {
                graph.post("/_sim/subscriptions/remove", &json!({"subscriptionId": subscription})).await?;
            }
            Kind::Denied => {
                self.denied.insert(trouble.mailbox, until);
                self.tell_policies(graph, mailboxes, trouble.mailbox).await?;
                lifecycle("subscriptionRemoved").await?;
            }
            Kind::ShorterLife => {
                self.shorter_until = Some(until);
                graph.post("/_sim/faults", &json!({"shorterExpiryMinutes": SHORTER_MINUTES})).await?;
            }
            Kind::LifeKept => {
                self.kept_until = Some(until);
                graph.post("/_sim/faults", &json!({"patchKeepsExpiry": true})).await?;
            }
        }
        *self.befallen.entry(trouble.kind).or_default() += 1;
        Ok(())
    }

    /// Ends what has lasted long enough; returns the mailboxes that are open again.
    pub(super) async fn end(
        &mut self,
        graph: &Simulator,
        mailboxes: &[Mailbox],
        now: Timestamp,
    ) -> anyhow::Result<Vec<usize>> {
        if self.shorter_until.take_if(|until| *until <= now).is_some() {
            graph.post("/_sim/faults", &json!({"shorterExpiryMinutes": 0})).await?;
        }
        if self.kept_until.take_if(|until| *until <= now).is_some() {
            graph.post("/_sim/faults", &json!({"patchKeepsExpiry": false})).await?;
        }
        let open: Vec<usize> =
            self.denied.iter().filter(|(_, until)| **until <= now).map(|(mailbox, _)| *mailbox).collect();
        for mailbox in &open {
            self.denied.remove(mailbox);
            self.tell_policies(graph, mailboxes, *mailbox).await?;
        }
        Ok(open)
    }

    /// Tells Graph which mailboxes of the tenant of that one are closed.
    async fn tell_policies(&self, graph: &Simulator, mailboxes: &[Mailbox], of: usize) -> anyhow::Result<()> {
        let Some(one) = mailboxes.get(of) else { return Ok(()) };
        let deny: Vec<&str> = self
            .denied
            .keys()
            .filter_map(|denied| mailboxes.get(*denied))
            .filter(|denied| denied.tenant_id == one.tenant_id)
            .map(|denied| denied.user_id.as_str())
            .collect();
        let body = json!({
            "tenantId": one.tenant_id, "clientId": one.client_id, "deny": deny, "effectiveInSeconds": 0,
        });
        graph.post("/_sim/policies", &body).await.map(drop)
    }
}
