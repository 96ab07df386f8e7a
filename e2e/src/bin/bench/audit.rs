//! Calls to Graph with the audit on the disk, against the same calls without one: same client, same simulator, same run, in turns.
//!
//! A call costs the audit two entries. The first is durable before the request leaves, and shares its fsync with whatever is under
//! way; the second does not hold the answer up.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use roomkeeper_e2e::{outlook::Meeting, scene::Scene, wait, world};
use roomkeeper_graph::{
    Cause, ClientSettings, Credential, EventId, GraphClient, ManifestId, UserId,
    audit::{AuditEntry, AuditError, AuditSink, chain::ChainedAudit},
    cloud::Endpoints,
    http::{Http, HttpSettings},
};
use roomkeeper_service::audit::SEGMENT;
use tokio::time::Instant;

use crate::{report::Report, sighting::quantile};

/// Calls of one turn.
const CALLS: usize = 4_000;
/// Turns with and without.
const TURNS: usize = 3;
/// Calls in flight.
const IN_FLIGHT: usize = 32;
/// Mailboxes that are read in turn, each far below Graph's limits for one.
const USERS: usize = 64;

pub(crate) async fn run() -> anyhow::Result<Report> {
    eprintln!("audit: starting");
    let scene = Scene::start(&world::contoso(USERS)).await?;
    let outlook = scene.system.outlook().await?;
    let from = Timestamp::from_second(Timestamp::now().as_second())? + SignedDuration::from_hours(48);
    let mut events = Vec::new();
    for number in 1..=USERS {
        let meeting = Meeting {
            subject: "Planning of the next quarter".to_owned(),
            from,
            to: from + SignedDuration::from_hours(1),
            rooms: vec![format!("room-{number}")],
        };
        let user = world::user_id(number);
        let event = outlook.create(&user, &meeting).await?;
        events.push((UserId::parse(&user)?, EventId::parse(&event)?));
    }
    let folder = scene.system.folder().join("bench-audit");
    let audit = Arc::new(ChainedAudit::open(&folder, "bench", SEGMENT)?);
    let audited = client(&scene, Arc::clone(&audit) as _)?;
    let unaudited = client(&scene, Arc::new(Unaudited))?;
    // Connections, tokens.
    turn(&audited, &events, CALLS / 4).await?;
    turn(&unaudited, &events, CALLS / 4).await?;
    let (mut with, mut without) = (Turn::default(), Turn::default());
    for number in 1..=TURNS {
        eprintln!("audit: turn {number} of {TURNS}, {CALLS} calls each");
        without.take(turn(&unaudited, &events, CALLS).await?);
        with.take(turn(&audited, &events, CALLS).await?);
    }
    let made = u64::try_from(2 * (CALLS * TURNS + CALLS / 4))?;
    // The last outcomes are on their way to the disk.
    wait::until("both entries of each call", Duration::from_secs(10), || async {
        let entries = audit.heads().values().map(|head| head.number).sum::<u64>();
        Ok((entries >= made).then_some(()))
    })
    .await?;
    anyhow::ensure!(audit.failures() == 0, "{} entries were not written", audit.failures());
    scene.end().await?;

    let mut report = Report::default();
    report.put("per_second", with.per_second());
    report.put("unaudited_per_second", without.per_second());
    report.put("p50_ms", quantile(&with.took, 0.5));
    report.put("unaudited_p50_ms", quantile(&without.took, 0.5));
    report.put("p99_ms", quantile(&with.took, 0.99));
    report.put("unaudited_p99_ms", quantile(&without.took, 0.99));
    report.put("p99_ratio", quantile(&with.took, 0.99) / quantile(&without.took, 0.99));
    Ok(report)
}

#[derive(Default)]
struct Turn {
    /// Milliseconds of each call.
    took: Vec<f64>,
    whole: Duration,
}

impl Turn {
    fn take(&mut self, other: Self) {
        self.took.extend(other.took);
        self.whole += other.whole;
    }

    fn per_second(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "some thousands")]
        let calls = self.took.len() as f64;
        calls / self.whole.as_secs_f64()
    }
}

async fn turn(client: &GraphClient, events: &[(UserId, EventId)], calls: usize) -> anyhow::Result<Turn> {
    let cause = Cause::new("CalendarSubscription/bench/bench");
    let manifest = ManifestId::parse(world::MANIFEST)?;
    let began = Instant::now();
    let took = stream::iter(events.iter().cycle().take(calls))
        .map(|(user, event)| {
            let (client, cause, manifest) = (client.clone(), &cause, &manifest);
            async move {
                let began = Instant::now();
                client.event_minimal(cause, user, event, manifest).await?;
                anyhow::Ok(began.elapsed().as_secs_f64() * 1_000.0)
            }
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(Turn { took, whole: began.elapsed() })
}

fn client(scene: &Scene, audit: Arc<dyn AuditSink>) -> anyhow::Result<GraphClient> {
    let origin: url::Url = scene.system.graph.origin.parse().context("the simulator's origin")?;
    let ca: &Path = &scene.system.folder().join("graph-tls/ca.crt");
    let http =
        Http::new(&HttpSettings { extra_ca_pem: Some(std::fs::read(ca)?), ..HttpSettings::default() })?;
    let settings = ClientSettings {
        scope: "bench/contoso".to_owned(),
        endpoints: Endpoints::new(url::Url::clone(&origin), origin)?,
        tenant_id: world::TENANT.to_owned(),
        client_id: world::CLIENT.to_owned(),
        credential: Credential::ClientSecret(world::CLIENT_SECRET.to_owned().into()),
    };
    Ok(GraphClient::new(settings, http, audit)?)
}

/// Keeps nothing.
struct Unaudited;

#[async_trait]
impl AuditSink for Unaudited {
    async fn record(&self, _: AuditEntry) -> Result<(), AuditError> {
        Ok(())
    }

    fn follow_up(&self, _: AuditEntry) {}
}
