//! `completion`: the script of a shell, from the command line's definition.

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;

/// Name of the program's file, by which kubectl finds it.
const PROGRAM: &str = "kubectl-roomkeeper";

/// The same without a hyphen: in the script for bash, clap_complete writes one in two ways, so that no subcommand is completed.
const PLAIN: &str = "kubectl_roomkeeper";

/// The script.
pub(crate) fn script(shell: Shell) -> anyhow::Result<String> {
    let name = if shell == Shell::Bash { PLAIN } else { PROGRAM };
    let mut command = Args::command().name(name).bin_name(name);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    let script = String::from_utf8(script).context("the completion script is no text")?;
    // At the end of a line it is the program that is completed, everywhere else a function of the script.
    Ok(script.replace(&format!(" {PLAIN}\n"), &format!(" {PROGRAM}\n")))
}
