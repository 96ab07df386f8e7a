//! The programs, and the time that they are told.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use roomkeeper_crds::{
    CalendarSubscription,
    condition::{self, Type},
};
use serde_json::{Value, json};

use super::{
    Settings,
    endpoint::Endpoint,
    people::{self, Mailbox, People},
    tally::{Figures, Graph, Known, Tally},
    troubles::Troubles,
};
use crate::{
    chance::Chance,
    install,
    system::{Daemon, System},
    wait,
};

/// Longest step, so that what happens by the hour happens.
const STEP: SignedDuration = SignedDuration::from_hours(3);
/// Longest step while a mailbox has no subscription: what failed is tried again after half an hour at the latest.
const SHORT_STEP: SignedDuration = SignedDuration::from_mins(35);
/// Steps after the two weeks, for what is open then.
const LAST_STEPS: usize = 60;
/// Longest real time for what is due to be done.
const SETTLE: Duration = Duration::from_mins(2);
/// Longest real time for all subscriptions to be made.
const SUBSCRIBE: Duration = Duration::from_mins(10);
/// Time between two looks at what is due.
const LOOK: Duration = Duration::from_millis(50);
/// Longest real time until the operator begins with what is due.
const WORK: Duration = Duration::from_secs(5);
/// Leases are long, so that a busy machine costs none; a killed one's is given back.
const LEASE: [&str; 6] =
    ["--lease-duration", "60s", "--lease-renew-deadline", "50s", "--lease-retry-period", "1s"];
const LEASE_NAME: &str = "roomkeeper-operator";
/// Program with a clock that can be moved.
const OPERATOR: &str = "roomkeeper-operator-rehearsal";
/// Single answers that go wrong.
const ANSWERS: [&str; 13] = [
    "throttled",
    "unavailable",
    "unavailableRetryAfter",
    "internalServerError",
    "badGateway",
    "gatewayTimeout",
    "timeout",
    "extensionServiceUnavailable",
    "extensionUnauthorized",
    "insufficientClaims",
    "connectionReset",
    "unauthorized",
    "tokenThrottled",
];

pub(super) struct Rehearsal<'a> {
    system: &'a System,
    client: Client,
    operator: Daemon,
    endpoint: Endpoint,
    clock_file: PathBuf,
    ahead: SignedDuration,
    tally: Tally,
    chance: Chance,
    seed: u64,
    mailboxes: Vec<Mailbox>,
}

impl<'a> Rehearsal<'a> {
    pub(super) async fn start(
        system: &'a System,
        client: Client,
        settings: Settings,
        mailboxes: Vec<Mailbox>,
    ) -> anyhow::Result<Self> {
        let clock_file = system.folder().join("ahead");
        write(&clock_file, SignedDuration::ZERO)?;
        let endpoint = Endpoint::start(system, settings.seed).await?;
        let operator = operator(system, &client, &clock_file).await?;
        Ok(Self {
            system,
            client,
            operator,
            endpoint,
            clock_file,
            ahead: SignedDuration::ZERO,
            tally: Tally::default(),
            chance: Chance::new(settings.seed),
            seed: settings.seed,
            mailboxes,
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// Has everybody subscribed, while nothing goes wrong.
    pub(super) async fn subscribe(&mut self, people: &People) -> anyhow::Result<()> {
        let roles = self.system.example("01-rbac.yaml")?;
        people.arrive(&self.client, &self.system.graph.origin, &roles).await?;
        wait::until("every subscription", SUBSCRIBE, async || {
            let living = self.system.graph.subscriptions().await?.len();
            Ok((living == self.mailboxes.len()).then_some(()))
        })
        .await?;
        self.look().await.map(drop)
    }

    /// Has that share of answers go wrong, at Graph and at the endpoint.
    pub(super) async fn faults(&self, share: f64) -> anyhow::Result<()> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        self.endpoint.fail((share * 1000.0).round() as usize);
        let random = json!({"seed": self.seed, "share": share, "kinds": ANSWERS});
        let body = json!({"random": random, "retryAfterSeconds": 1});
        self.system.graph.post("/_sim/faults", &body).await.map(drop)
    }

    /// Has time pass until the next renewal is due, `most` at the most. Returns whether one is due then.
    pub(super) async fn step(&mut self, most: SignedDuration) -> anyhow::Result<bool> {
        let (now, objects) = (self.now(), self.objects().await?);
        let next = objects.iter().filter_map(renew_at).filter(|due| *due > now).min();
        let longest = if objects.iter().all(|object| renew_at(object).is_some()) { STEP } else { SHORT_STEP };
        let until = next.map_or(longest, |next| next.duration_since(now)).min(longest).min(most);
        // To the end of that minute: renewals of one minute are done together, and those of the next one are not.
        let end = ((now + until).as_second() / 60 + 1) * 60;
        let by = SignedDuration::from_secs(end - now.as_second());
        // Graph first: an operator ahead of Graph would ask for lives that are too long.
        self.system.graph.post("/_sim/clock", &json!({"advanceSeconds": by.as_secs()})).await?;
        self.ahead += by;
        write(&self.clock_file, self.ahead)?;
        Ok(next.is_some_and(|next| next <= now + by))
    }

    /// Waits until no renewal is due any more, and looks at what there is.
    pub(super) async fn settle(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let (now, objects) = (self.now(), self.objects().await?);
            let due = objects.iter().filter_map(renew_at).filter(|due| *due <= now).count();
            if due == 0 {
                break;
            }
            self.raise().await?;
            ensure!(
                began.elapsed() < SETTLE,
                "{due} of {} subscriptions are due and not looked after\n{}",
                objects.len(),
                self.operator.process.log_tail(20)
            );
            tokio::time::sleep(LOOK).await;
        }
        self.hand_lifecycle_on().await?;
        self.look().await.map(drop)
    }

    /// What lives at Graph now, by user.
    async fn look(&mut self) -> anyhow::Result<HashMap<String, String>> {
        let living = self.system.graph.subscriptions().await?;
        self.tally.saw(&living, self.now())
    }

    /// An operator that ended by itself is missed, and started again as Kubernetes would.
    async fn raise(&mut self) -> anyhow::Result<()> {
        if self.operator.process.try_wait()?.is_some() {
            self.operator = operator(self.system, &self.client, &self.clock_file).await?;
        }
        Ok(())
    }

    /// Kills the operator once it has sent a number of requests, by chance, and then some moment later, by chance.
    pub(super) async fn kill_at_work(&mut self) -> anyhow::Result<()> {
        let (sent, began) = (self.sent().await?, Instant::now());
        let requests = 1 + self.chance.below(4);
        let moment = Duration::from_millis(u64::try_from(self.chance.below(15))?);
        while self.sent().await? < sent + requests && began.elapsed() < WORK {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(moment).await;
        self.operator.process.kill()?;
        let now = self.now();
        let open = self.objects().await?.iter().filter_map(renew_at).any(|due| due <= now);
        self.tally.killed(open);
        self.operator = operator(self.system, &self.client, &self.clock_file).await?;
        Ok(())
    }

    /// Requests that Graph has counted.
    async fn sent(&self) -> anyhow::Result<usize> {
        let counters = self.system.graph.get("/_sim/counters").await?;
        let requests = counters.get("requests").and_then(Value::as_object).context("no member requests")?;
        Ok(usize::try_from(requests.values().filter_map(Value::as_u64).sum::<u64>())?)
    }

    /// Brings about what is due, and ends what has lasted long enough.
    pub(super) async fn trouble(
        &mut self,
        troubles: &mut Troubles,
        passed: SignedDuration,
    ) -> anyhow::Result<()> {
        for mailbox in troubles.end(&self.system.graph, &self.mailboxes, self.now()).await? {
            self.ask(mailbox).await?;
        }
        for trouble in troubles.due(passed) {
            let living = self.look().await?;
            let Some(mailbox) = self.mailboxes.get(trouble.mailbox) else { continue };
            // Nothing more can befall one that has none at this moment.
            let Some(id) = living.get(&mailbox.user_id) else { continue };
            let now = self.now();
            if trouble.kind.ends_one() {
                self.tally.removed(&mailbox.user_id, id, now);
            }
            troubles.befall(&self.system.graph, trouble, &self.mailboxes, id, now).await?;
        }
        Ok(())
    }

    /// A person asks for another try, as the page about a policy that denies says.
    async fn ask(&self, mailbox: usize) -> anyhow::Result<()> {
        let Some(mailbox) = self.mailboxes.get(mailbox) else { return Ok(()) };
        for object in self.objects().await? {
            if user(&object) == Some(&mailbox.user_id) {
                let at = self.now().to_string();
                let ask = json!({"metadata": {"annotations": {"roomkeeper.dev/reconcile-requested-at": at}}});
                let (params, patch) = (PatchParams::default(), Patch::Merge(&ask));
                self.api().patch(&object.name_any(), &params, &patch).await?;
            }
        }
        Ok(())
    }

    /// Writes into the status what Graph said about the life of subscriptions, in the stead of the worker.
    async fn hand_lifecycle_on(&mut self) -> anyhow::Result<()> {
        let said = self.endpoint.take_lifecycle();
        if said.is_empty() {
            return Ok(());
        }
        let objects = self.objects().await?;
        for (subscription, event) in said {
            let of = |object: &&CalendarSubscription| {
                let known = object.status.as_ref().and_then(|status| status.subscription.as_ref());
                known.is_some_and(|known| known.id == subscription)
            };
            // It was replaced since.
            let Some(object) = objects.iter().find(of) else { continue };
            let notice = json!({"receivedAt": self.now().to_string(), "subscriptionId": subscription});
            let patch = json!({"status": {"delivery": {"lifecycle": {event: notice}}}});
            let params =
                PatchParams { field_manager: Some("roomkeeper-worker".to_owned()), ..PatchParams::default() };
            self.api().patch_status(&object.name_any(), &params, &Patch::Merge(&patch)).await?;
        }
        Ok(())
    }

    fn api(&self) -> Api<CalendarSubscription> {
        Api::namespaced(self.client.clone(), people::NAMESPACE)
    }

    async fn objects(&self) -> anyhow::Result<Vec<CalendarSubscription>> {
        // From the watch cache of the API server: the list is read after every step.
        Ok(self.api().list(&ListParams::default().match_any()).await?.items)
    }

    /// Waits until everything is at rest, and counts.
    pub(super) async fn finish(mut self, mut troubles: Troubles) -> anyhow::Result<Figures> {
        let count = self.mailboxes.len();
        for _ in 0..LAST_STEPS {
            self.trouble(&mut troubles, SignedDuration::ZERO).await?;
            let objects = self.objects().await?;
            let living = self.look().await?.len();
            if living == count && objects.iter().filter(|object| is_ready(object)).count() == count {
                break;
            }
            self.step(SHORT_STEP).await?;
            self.settle().await?;
        }
        self.raise().await?;
        wait::until("every object ready again", SETTLE, async || {
            let ready = self.objects().await?.iter().filter(|object| is_ready(object)).count();
            Ok((ready == count).then_some(()))
        })
        .await?;
        self.look().await?;
        let known: Vec<Known> = self.objects().await?.iter().filter_map(Known::of).collect();
        ensure!(known.len() == count, "{} of the objects know a subscription", known.len());
        let graph = Graph {
            living: self.system.graph.subscriptions().await?,
            requests: self.system.graph.requests().await?,
            injected: self.system.graph.get("/_sim/faults").await?,
        };
        let log = fs::read_to_string(self.operator.process.log())?;
        let audit = self.operator.audit_entries()?;
        let mut figures = self.tally.conclude(&known, &graph, &audit, &log)?;
        figures.handshakes_failed = self.endpoint.failed();
        figures.troubles = troubles.befallen.values().sum();
        figures.kinds += troubles.befallen.len() + usize::from(self.endpoint.failed() > 0);
        Ok(figures)
    }
}

fn is_ready(object: &CalendarSubscription) -> bool {
    let Some(status) = &object.status else { return false };
    status.subscription.is_some() && condition::is_true(&status.conditions, Type::Ready)
}

fn user(object: &CalendarSubscription) -> Option<&String> {
    object.status.as_ref()?.user_id.as_ref()
}

fn renew_at(object: &CalendarSubscription) -> Option<Timestamp> {
    Some(object.status.as_ref()?.subscription.as_ref()?.renew_at.0)
}

/// Starts an operator, after the time in which the lease of a dead one runs out.
async fn operator(system: &System, client: &Client, clock_file: &Path) -> anyhow::Result<Daemon> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), install::NAMESPACE);
    if leases.get_opt(LEASE_NAME).await?.is_some() {
        let free = json!({"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}});
        leases.patch(LEASE_NAME, &PatchParams::default(), &Patch::Merge(&free)).await?;
    }
    let variable = ("ROOMKEEPER_CLOCK_FILE", clock_file);
    system.operator_program(OPERATOR, "operator", &LEASE, Some(variable)).await
}

/// Renamed into place: a reader never sees half a number.
fn write(file: &Path, ahead: SignedDuration) -> anyhow::Result<()> {
    let next = file.with_extension("next");
    fs::write(&next, ahead.as_secs().to_string())?;
    fs::rename(next, file)?;
    Ok(())
}
