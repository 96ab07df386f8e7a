//! `make demo`: the whole scenario on this machine, one line per step with what was seen. Exit 0 only if each was seen.

mod audit;
mod narrator;
mod scene;
mod story;

use std::process::ExitCode;

use clap::Parser;
use roomkeeper_controlplane::{ControlPlane, StartOptions, process};
use roomkeeper_e2e::{system::System, world};

use crate::{narrator::Narrator, scene::Scene};

/// Show Roomkeeper's main scenario on a real kube-apiserver and the simulators.
#[derive(Parser)]
struct Args {
    /// Leave everything running afterwards until Ctrl-C, and print the KUBECONFIG line
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    roomkeeper_service::tls::install_provider();
    let args = Args::parse();
    let mut narrator = Narrator::start();
    match run(&args, &mut narrator).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            narrator.failed(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args, narrator: &mut Narrator) -> anyhow::Result<()> {
    let stop = roomkeeper_service::shutdown::token()?;
    let folder = process::scratch_dir("roomkeeper-demo")?;
    let control_plane = ControlPlane::start(StartOptions::default()).await?;
    narrator.seen(&format!("kube-apiserver serves at {}", control_plane.url()));
    let system = System::start(&control_plane, folder.path(), &world::contoso(2)).await?;
    narrator.seen("CRDs and RBAC of the chart are applied");
    narrator.seen(&format!("Graph simulator serves at {}", system.graph.origin));
    narrator.seen(&format!("booking simulator serves at {}", system.booking.origin));
    let mut scene = Scene::set(control_plane, system, narrator).await?;
    let told = tokio::select! {
        told = story::tell(&mut scene) => told,
        () = stop.cancelled() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Err(error) = &told {
        scene.show_logs(error);
    }
    if args.keep && !stop.is_cancelled() {
        scene.print_how_to_look();
        stop.cancelled().await;
    }
    let ended = scene.end().await;
    told.and(ended)
}
