//! Two weeks in the life of many subscriptions, in minutes: one clock for Graph and operator, faults of every kind, and an
//! operator that is killed again and again.
//!
//! Time is moved from one due renewal to the next, and stands still until all that is due is done.

mod people;
mod tally;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::{Api, Client, api::ListParams};
use roomkeeper_controlplane::ControlPlane;
use roomkeeper_crds::{
    CalendarSubscription,
    condition::{self, Type},
};
use serde_json::json;

pub use self::tally::Figures;
use self::tally::Tally;
use crate::{
    install,
    system::{Daemon, System},
    wait,
};

/// How long it takes.
const LENGTH: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Longest step, so that what happens by the hour happens.
const STEP: SignedDuration = SignedDuration::from_hours(3);
/// Longest real time for what is due to be done.
const SETTLE: Duration = Duration::from_mins(2);
/// Longest real time for all subscriptions to be made.
const SUBSCRIBE: Duration = Duration::from_mins(10);
/// Time between two looks at what is due.
const LOOK: Duration = Duration::from_millis(50);
/// Leases are short, because nobody takes over while time stands still.
const LEASE: [&str; 6] =
    ["--lease-duration", "2s", "--lease-renew-deadline", "1500ms", "--lease-retry-period", "300ms"];
/// Program with a clock that can be moved.
const OPERATOR: &str = "roomkeeper-operator-rehearsal";

/// What is to be rehearsed.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Tenants, each with an app registration and a scope of its own.
    pub tenants: usize,
    /// Mailboxes over all tenants.
    pub mailboxes: usize,
    /// Share of Graph's answers that are faults.
    pub faults: f64,
    /// How often the operator is killed.
    pub kills: usize,
    /// Seed of faults and kills.
    pub seed: u64,
}

/// Plays the two weeks. `say` is told how far it has come.
///
/// # Errors
/// When a program does not start, or what is due is not done.
pub async fn play(
    control_plane: &ControlPlane,
    folder: &Path,
    settings: Settings,
    say: impl Fn(&str),
) -> anyhow::Result<Figures> {
    let people = people::People::new(settings.tenants, settings.mailboxes);
    let system = System::start(control_plane, folder, &people.world()).await?;
    let client = control_plane.admin_client().await?;
    install::namespace(&client, people::NAMESPACE).await?;
    let _webhook = system.webhook("webhook", &[]).await?;
    let mut rehearsal = Rehearsal::start(&system, client, settings).await?;
    say("subscribing");
    people.arrive(&rehearsal.client, &system.graph.origin, &system.example("01-rbac.yaml")?).await?;
    wait::until("every subscription", SUBSCRIBE, async || {
        Ok((rehearsal.living().await? == settings.mailboxes).then_some(()))
    })
    .await?;
    rehearsal.faults(settings.faults).await?;
    let kill_every = LENGTH / i32::try_from(settings.kills + 1)?;
    let (began, mut next_kill) = (rehearsal.now(), kill_every);
    let mut told = 0;
    loop {
        let passed = rehearsal.now().duration_since(began);
        if passed >= LENGTH {
            break;
        }
        if passed.as_hours() / 24 > told {
            told = passed.as_hours() / 24;
            say(&format!("day {told} of 14"));
        }
        rehearsal.step(LENGTH - passed).await?;
        if passed >= next_kill {
            rehearsal.kill().await?;
            next_kill += kill_every;
        }
        rehearsal.settle().await?;
    }
    rehearsal.faults(0.0).await?;
    rehearsal.finish(settings).await
}

/// The programs, and the time that they are told.
struct Rehearsal<'a> {
    system: &'a System,
    client: Client,
    operator: Daemon,
    clock_file: PathBuf,
    ahead: SignedDuration,
    tally: Tally,
    seed: u64,
    mailboxes: usize,
}

impl<'a> Rehearsal<'a> {
    async fn start(system: &'a System, client: Client, settings: Settings) -> anyhow::Result<Self> {
        let clock_file = system.folder().join("ahead");
        write(&clock_file, SignedDuration::ZERO)?;
        let operator = operator(system, &clock_file).await?;
        Ok(Self {
            system,
            client,
            operator,
            clock_file,
            ahead: SignedDuration::ZERO,
            tally: Tally::default(),
            seed: settings.seed,
            mailboxes: settings.mailboxes,
        })
    }

    fn now(&self) -> Timestamp {
        Timestamp::now().saturating_add(self.ahead).unwrap_or(Timestamp::MAX)
    }

    /// Has time pass until the next renewal is due, `most` at the most.
    async fn step(&mut self, most: SignedDuration) -> anyhow::Result<()> {
        let now = self.now();
        let next = self.objects().await?.iter().filter_map(renew_at).filter(|due| *due > now).min();
        let until = next.map_or(STEP, |next| next.duration_since(now)).min(STEP).min(most);
        // To the end of that minute: renewals of one minute are done together, and those of the next one are not.
        let end = ((now + until).as_second() / 60 + 1) * 60;
        let by = SignedDuration::from_secs(end - now.as_second());
        // Graph first: an operator ahead of Graph would ask for lives that are too long.
        self.system.graph.post("/_sim/clock", &json!({"advanceSeconds": by.as_secs()})).await?;
        self.ahead += by;
        write(&self.clock_file, self.ahead)
    }

    /// Waits until nothing is due any more, and looks whether every mailbox has its subscription.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let (now, objects) = (self.now(), self.objects().await?);
            let due = objects.iter().filter(|object| renew_at(object).is_none_or(|due| due <= now)).count();
            if due == 0 {
                break;
            }
            if self.operator.process.try_wait()?.is_some() {
                self.operator = operator(self.system, &self.clock_file).await?;
            }
            ensure!(
                began.elapsed() < SETTLE,
                "{due} of {} subscriptions are due and not looked after\n{}",
                objects.len(),
                self.operator.process.log_tail(20)
            );
            tokio::time::sleep(LOOK).await;
        }
        let living = self.living().await?;
        self.tally.note_expired(self.mailboxes.saturating_sub(living));
        Ok(())
    }

    async fn kill(&mut self) -> anyhow::Result<()> {
        self.operator.process.kill()?;
        self.operator = operator(self.system, &self.clock_file).await?;
        Ok(())
    }

    async fn faults(&self, share: f64) -> anyhow::Result<()> {
        let body = json!({"random": {"seed": self.seed, "share": share, "kinds": [
            "throttled", "unavailable", "badGateway", "timeout", "extensionServiceUnavailable", "connectionReset",
            "unauthorized", "tokenThrottled",
        ]}, "retryAfterSeconds": 1});
        self.system.graph.post("/_sim/faults", &body).await.map(drop)
    }

    async fn objects(&self) -> anyhow::Result<Vec<CalendarSubscription>> {
        let api: Api<CalendarSubscription> = Api::namespaced(self.client.clone(), people::NAMESPACE);
        // From the watch cache of the API server: the list is read after every step.
        Ok(api.list(&ListParams::default().match_any()).await?.items)
    }

    /// Subscriptions that live at Graph.
    async fn living(&self) -> anyhow::Result<usize> {
        Ok(self.system.graph.subscriptions().await?.len())
    }

    /// Waits until everything is at rest, and counts.
    async fn finish(self, settings: Settings) -> anyhow::Result<Figures> {
        wait::until("every object ready again", SETTLE, async || {
            let objects = self.objects().await?;
            let ready = objects.iter().filter(|object| is_ready(object)).count();
            Ok((ready == settings.mailboxes).then_some(()))
        })
        .await?;
        let known = self.objects().await?;
        let living = self.system.graph.subscriptions().await?;
        let requests = self.system.graph.requests().await?;
        let known: Vec<(String, String)> = known
            .iter()
            .filter_map(|object| {
                let status = object.status.as_ref()?;
                Some((status.user_id.clone()?, status.subscription.as_ref()?.id.clone()))
            })
            .collect();
        ensure!(known.len() == settings.mailboxes, "{} of the objects know a subscription", known.len());
        let injected = self.system.graph.get("/_sim/faults").await?;
        self.tally.conclude(&known, &living, &requests, &injected).context("the simulator's log")
    }
}

fn is_ready(object: &CalendarSubscription) -> bool {
    object.status.as_ref().is_some_and(|status| condition::is_true(&status.conditions, Type::Ready))
}

fn renew_at(object: &CalendarSubscription) -> Option<Timestamp> {
    Some(object.status.as_ref()?.subscription.as_ref()?.renew_at.0)
}

async fn operator(system: &System, clock_file: &Path) -> anyhow::Result<Daemon> {
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
