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

    /// Starts an operator; returns it once it counts all people as subscribed, and how long that took.
    async fn start(&self, people: usize) -> anyhow::Result<(Daemon, Duration)> {
        let began = Instant::now();
        let operator = self.system.operator("operator", &[]).await?;
        let line = format!("roomkeeper_subscriptions{{state=\"active\"}} {people}");
        wait::until(&line, SETTLE, async || Ok(operator.metrics().await?.contains(&line).then_some(())))
            .await?;
        Ok((operator, began.elapsed()))
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

/// Time from the start of the program until it knows all objects: lists complete, every subscription looked at.
pub(crate) async fn restart() -> anyhow::Result<Report> {
    eprintln!("restart: starting");
    let mut place = Place::new(LARGE).await?;
    eprintln!("restart: {LARGE} people, each with a booking");
    place.population.grow(&place.system, LARGE).await?;
    place.population.book().await?;
    let (operator, known) = place.start(LARGE).await?;
    let mut report = Report::default();
    report.put("seconds", known.as_secs_f64());
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
