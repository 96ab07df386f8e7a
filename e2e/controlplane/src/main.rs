//! Builds the control plane's programs, and runs a control plane for a person.

use std::io::{self, Write};

use clap::{Parser, Subcommand};
use roomkeeper_controlplane::{ControlPlane, StartOptions, assets};
use tokio::signal::unix::{SignalKind, signal};

/// A real kube-apiserver and etcd for tests and the demo.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build kube-apiserver, etcd and kubectl into the cache folder unless they are there
    Build,
    /// Print the folder with kube-apiserver, etcd and kubectl, building them if need be
    Assets,
    /// Print the folder with helm and kubeconform, building them if need be
    ChartTools,
    /// Start a control plane, print its KUBECONFIG, and stop it on Ctrl-C
    Run {
        /// A further flag of kube-apiserver, as --api-server-flag=--v=4; may be repeated
        #[arg(long = "api-server-flag", allow_hyphen_values = true)]
        api_server_flags: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Build => assets::locate_or_build().map(drop).map_err(Into::into),
        Command::Assets => print(&assets::locate_or_build()?.dir.display().to_string()).map_err(Into::into),
        Command::ChartTools => print(&assets::chart_tools()?.display().to_string()).map_err(Into::into),
        Command::Run { api_server_flags } => {
            let runtime = tokio::runtime::Runtime::new()?;
            let result = runtime.block_on(run(StartOptions { api_server_flags, ..StartOptions::default() }));
            // After a Ctrl-C during the build, nobody waits for it: it ends with this process.
            runtime.shutdown_background();
            result
        }
    }
}

async fn run(options: StartOptions) -> anyhow::Result<()> {
    // Before anything is started, so that an early Ctrl-C is not lost.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let ended = async {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
    };
    tokio::pin!(ended);
    let control_plane = tokio::select! {
        started = ControlPlane::start(options) => started?,
        () = &mut ended => return Ok(()),
    };
    print(&format!("export KUBECONFIG={}", control_plane.admin_kubeconfig_path().display()))?;
    print(&format!("ready {}", control_plane.url()))?;
    ended.await;
    control_plane.stop().await.map_err(Into::into)
}

/// A reader that closed the pipe is an error here, not a panic.
fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
