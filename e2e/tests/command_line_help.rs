//! The help of every program, as golden files in `docs/command-line`. `make generate` writes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{fs, process::Command};

use roomkeeper_e2e::programs;

#[test]
fn the_golden_files_are_current() {
    let folder = programs::repository().join("docs/command-line");
    let write = std::env::var_os("ROOMKEEPER_WRITE_GOLDENS").is_some();
    let commands: [(&str, &[&str]); 20] = [
        ("roomkeeper-operator", &["--help"]),
        ("roomkeeper-webhook-server", &["--help"]),
        ("kubectl-roomkeeper", &["--help"]),
        ("kubectl-roomkeeper", &["unsubscribe", "--help"]),
        ("kubectl-roomkeeper", &["explain", "--help"]),
        ("kubectl-roomkeeper", &["consents", "--help"]),
        ("kubectl-roomkeeper", &["consents", "list", "--help"]),
        ("kubectl-roomkeeper", &["consents", "export", "--help"]),
        ("kubectl-roomkeeper", &["audit", "--help"]),
        ("kubectl-roomkeeper", &["audit", "verify", "--help"]),
        ("kubectl-roomkeeper", &["audit", "report", "--help"]),
        ("kubectl-roomkeeper", &["audit", "export", "--help"]),
        ("kubectl-roomkeeper", &["resync", "--help"]),
        ("kubectl-roomkeeper", &["renew", "--help"]),
        ("kubectl-roomkeeper", &["status", "--help"]),
        ("kubectl-roomkeeper", &["admin-consent-url", "--help"]),
        ("kubectl-roomkeeper", &["prepare-uninstall", "--help"]),
        ("kubectl-roomkeeper", &["completion", "--help"]),
        ("graph-sim", &["--help"]),
        ("booking-sim", &["--help"]),
    ];
    let mut stale = Vec::new();
    for (program, arguments) in commands {
        // Defaults that come from the environment of the caller are no part of the help.
        let output =
            Command::new(programs::path(program).unwrap()).args(arguments).env_clear().output().unwrap();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let name = std::iter::once(program)
            .chain(arguments.iter().copied().filter(|argument| !argument.starts_with('-')))
            .collect::<Vec<_>>()
            .join("-");
        let path = folder.join(format!("{name}.txt"));
        let text = String::from_utf8(output.stdout).unwrap();
        if write {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, text).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "stale: run 'make generate' and commit: {stale:?}");
}
