//! Writes the CustomResourceDefinitions as YAML, one file each.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;

/// Write Roomkeeper's CustomResourceDefinitions as YAML.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Folders to write into; each gets one file per kind.
    #[arg(required = true)]
    out: Vec<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    for folder in &args.out {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        for crd in roomkeeper_crds::all() {
            let name = crd.metadata.name.clone().context("a CRD without a name")?;
            let path = folder.join(format!("{name}.yaml"));
            fs::write(&path, serde_yaml::to_string(&crd)?)
                .with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(())
}
