//! `memory` and `restart`: an operator that looks after 10,000 and 100,000 subscribed people.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use roomkeeper_controlplane::{
    ControlPlane, StartOptions,
    process::{ScratchDir, scratch_dir},
};
use roomkeeper_e2e::{
    system::{Daemon, System},
    wait, world,
};

use crate::{population::Population, report::Report};

const SMALL: usize = 10_000;
const LARGE: usize = 100_000;
/// Longest wait for an operator to be through with everything.
const SETTLE: Duration = Duration::from_mins(10);
/// Time between two looks at the metrics.
const LOOK: Duration = Duration::from_millis(250);
/// Time without a reconciliation after which it is through.
const QUIET: Duration = Duration::from_secs(5);

/// Kinds of which there are many.
const KINDS: [&str; 3] = ["CalendarSubscription", "BookingRecord", "ConsentRecord"];

/// How long it took from the start of the program.
struct Synced {
    /// Until every subscription was counted as active.
    counted: Duration,
    /// Until every list was complete.
    listed: Duration,
    /// Until every object of every kind had been looked at.
    seen: Duration,
}

struct Place {
    control_plane: ControlPlane,
    system: System,
    population: Population,
    _webhook: Daemon,
    _folder: ScratchDir,
}

impl Place {
    async fn new(people: usize) -> anyhow::Result<Self> {
        let control_plane = ControlPlane::start(StartOptions::default()).await?;
        let folder = scratch_dir("roomkeeper-bench")?;
        let system = System::start(&control_plane, folder.path(), &world::contoso(people)).await?;
        let client = control_plane.admin_client().await?;
        let webhook = system.webhook("webhook", &[]).await?;
        let operator = system.operator("operator", &[]).await?;
        let population = Population::first(&control_plane, &system, &client).await?;
        // Asked to end, it gives the lease back.
        operator.process.stop(Duration::from_secs(25)).await?;
        Ok(Self { control_plane, system, population, _webhook: webhook, _folder: folder })
    }

    /// Starts an operator; returns it once it is synced, and how long what took.
    async fn start(&self, people: usize) -> anyhow::Result<(Daemon, Synced)> {
        let began = Instant::now();
        let operator = self.system.operator("operator", &[]).await?;
        let wait = async |line: String| {
            wait::until(&line, SETTLE, async || {
                Ok(operator.metrics().await?.lines().any(|one| one == line).then_some(()))
            })
            .await
        };
        wait(format!("roomkeeper_subscriptions{{state=\"active\"}} {people}")).await?;
        let counted = began.elapsed();
        // These figures are there once every list is complete, and go down to zero as object after object is looked at.
        for kind in KINDS {
            let name = format!("roomkeeper_objects_unseen{{kind=\"{kind}\"}} ");
            wait::until("every list", SETTLE, async || {
                Ok(operator.metrics().await?.contains(&name).then_some(()))
            })
            .await?;
        }
        let listed = began.elapsed();
        for kind in KINDS {
            wait(format!("roomkeeper_objects_unseen{{kind=\"{kind}\"}} 0")).await?;
        }
        Ok((operator, Synced { counted, listed, seen: began.elapsed() }))
    }

    async fn end(self) -> anyhow::Result<()> {
        self.system.stop();
        self.control_plane.stop().await?;
        Ok(())
    }
}

/// Memory with everything known and nothing under way.
pub(crate) async fn memory() -> anyhow::Result<Report> {
    eprintln!("memory: starting");
    let mut place = Place::new(LARGE).await?;
    let mut report = Report::default();
    for (people, key) in [(SMALL, "mib_10k"), (LARGE, "mib_100k")] {
        eprintln!("memory: {people} people");
        place.population.grow(&place.system, people).await?;
        let (operator, _) = place.start(people).await?;
        quiet(&operator).await?;
        report.put(key, mebibytes(&operator, "VmRSS")?);
        report.put(format!("{key}_peak"), mebibytes(&operator, "VmHWM")?);
        operator.process.stop(Duration::from_secs(25)).await?;
    }
    place.end().await?;
    Ok(report)
}

/// Time from the start of the program until it is synced: lists complete, every object of every kind looked at.
pub(crate) async fn restart() -> anyhow::Result<Report> {
    eprintln!("restart: starting");
    let mut place = Place::new(LARGE).await?;
    eprintln!("restart: {LARGE} people, each with a booking");
    place.population.grow(&place.system, LARGE).await?;
    place.population.book().await?;
    let (operator, synced) = place.start(LARGE).await?;
    let mut report = Report::default();
    report.put("seconds", synced.seen.as_secs_f64());
    report.put("seconds_until_lists_complete", synced.listed.as_secs_f64());
    report.put("seconds_until_all_counted", synced.counted.as_secs_f64());
    #[allow(clippy::cast_precision_loss, reason = "a hundred thousand")]
    report.put("looked_at_per_second", (KINDS.len() * LARGE) as f64 / synced.seen.as_secs_f64());
    report.put("mib_with_records", mebibytes(&operator, "VmRSS")?);
    report.put("mib_with_records_peak", mebibytes(&operator, "VmHWM")?);
    operator.process.stop(Duration::from_secs(25)).await?;
    place.end().await?;
    Ok(report)
}

/// Waits until the operator reconciles nothing more.
async fn quiet(operator: &Daemon) -> anyhow::Result<()> {
    let (began, mut since, mut last) = (Instant::now(), Instant::now(), String::new());
    while since.elapsed() < QUIET {
        anyhow::ensure!(began.elapsed() < SETTLE, "the operator does not come to rest:\n{last}");
        tokio::time::sleep(LOOK).await;
        let text = operator.metrics().await?;
        let counted =
            |line: &&str| line.starts_with("roomkeeper_reconcile_total") && !line.contains("AccessScope");
        let counts: Vec<&str> = text.lines().filter(counted).collect();
        let counts = counts.join("\n");
        if counts != last {
            (last, since) = (counts, Instant::now());
        }
    }
    Ok(())
}

fn mebibytes(operator: &Daemon, member: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{}/status", operator.process.pid()))?;
    let line =
        text.lines().find_map(|line| line.strip_prefix(member)).with_context(|| format!("no {member}"))?;
    let kib: f64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
