//! From consent to a living subscription for many people, against the limit for writes that is in force: the burst that the
//! limit allows at once, and its rate from then on.

use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{Api, api::PostParams};
use roomkeeper_controlplane::{ControlPlane, StartOptions, process::scratch_dir};
use roomkeeper_crds::ConsentRecord;
use roomkeeper_e2e::{
    scene::{NAMESPACE, install_scope},
    system::System,
    wait, world,
};

use crate::report::Report;

const PEOPLE: usize = 1_500;
/// The operator's default: the strictest limit that was ever published.
const WRITES: f64 = 500.0;
const WRITES_PER_20_S: u32 = 500;
const PER_SECONDS: f64 = 20.0;
const WAIT: Duration = Duration::from_mins(10);

pub(crate) async fn run() -> anyhow::Result<Report> {
    eprintln!("subscribe: starting");
    let control_plane = ControlPlane::start(StartOptions::default()).await?;
    let folder = scratch_dir("roomkeeper-bench")?;
    // Graph refuses what is beyond the operator's own limit: without that, nobody would see it passed.
    let mut world = world::contoso(PEOPLE);
    if let Some(world) = world.as_object_mut() {
        world.insert("subscriptionWritesPer20s".to_owned(), WRITES_PER_20_S.into());
    }
    let system = System::start(&control_plane, folder.path(), &world).await?;
    let client = control_plane.admin_client().await?;
    let _webhook = system.webhook("webhook", &[]).await?;
    let operator = system.operator("operator", &["--subscription-writes", "500"]).await?;
    let scope_uid = install_scope(&system, &client, str::to_owned).await?;
    let consents: Api<ConsentRecord> = Api::namespaced(client.clone(), NAMESPACE);
    let records = (1..=PEOPLE)
        .map(|number| world::consent(number, &scope_uid))
        .collect::<anyhow::Result<Vec<ConsentRecord>>>()?;
    eprintln!("subscribe: {PEOPLE} people consent");
    let (api, params) = (&consents, &PostParams::default());
    let began = Instant::now();
    stream::iter(records)
        .map(|record| async move { api.create(params, &record).await.map(drop) })
        .buffer_unordered(32)
        .try_collect::<Vec<()>>()
        .await?;
    let line = format!("roomkeeper_subscriptions{{state=\"active\"}} {PEOPLE}");
    wait::until(&line, WAIT, async || Ok(operator.metrics().await?.contains(&line).then_some(()))).await?;
    let seconds = began.elapsed().as_secs_f64();
    let requests = system.graph.requests().await?;
    let throttled = requests
        .iter()
        .filter(|one| one.get("status").and_then(serde_json::Value::as_u64) == Some(429))
        .count();
    system.stop();
    control_plane.stop().await?;
    #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
    let (people, throttled) = (PEOPLE as f64, throttled as f64);
    let least = (people - WRITES) / (WRITES / PER_SECONDS);
    let mut report = Report::default();
    report.put("people", people);
    report.put("seconds", seconds);
    report.put("least_seconds_by_the_limit", least);
    report.put("ratio_to_limit", least / seconds);
    report.put("throttled_by_graph", throttled);
    Ok(report)
}
