//! The program on small workspaces, with the real cargo.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

const POLICY: &str = "
licences: [MIT]
banned: []
exactlyOne: []
duplicates: {}
layers: {top: [], middle: [], bottom: []}
direct: {}
";

fn member(root: &Path, name: &str, rest: &str) {
    let folder = root.join(name);
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::write(folder.join("src/lib.rs"), "").unwrap();
    let manifest = format!(
        "[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\nlicense = \"MIT\"\n{rest}"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
}

/// `top` links `middle`, whose feature links `bottom`.
fn workspace(policy: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let members = "[workspace]\nresolver = \"3\"\nmembers = [\"top\", \"middle\", \"bottom\"]\n";
    fs::write(dir.path().join("Cargo.toml"), members).unwrap();
    member(dir.path(), "top", "[dependencies]\nmiddle = { path = \"../middle\" }\n");
    let optional = "[features]\ndeep = [\"dep:bottom\"]\n[dependencies]\nbottom = { path = \"../bottom\", optional = true }\n";
    member(dir.path(), "middle", optional);
    member(dir.path(), "bottom", "[dev-dependencies]\ntop = { path = \"../top\" }\n");
    fs::write(dir.path().join("dependency-policy.yaml"), policy).unwrap();
    let locked =
        Command::new("cargo").args(["generate-lockfile", "--offline"]).current_dir(dir.path()).output();
    let locked = locked.unwrap();
    assert!(locked.status.success(), "{}", String::from_utf8_lossy(&locked.stderr));
    dir
}

fn run(folder: &Path) -> (Option<i32>, String, String) {
    let program = Command::new(env!("CARGO_BIN_EXE_dependency-policy")).current_dir(folder).output();
    let Output { status, stdout, stderr } = program.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_good_workspace_passes_with_one_line_of_counts_from_any_of_its_folders() {
    let dir = workspace(POLICY);
    for folder in ["", "top/src"] {
        let (status, said, faults) = run(&dir.path().join(folder));
        assert_eq!((status, faults.as_str()), (Some(0), ""));
        assert_eq!(
            said,
            "dependency-policy: 3 crates, 3 of them in programs, 3 of the workspace's own: nothing to object to\n"
        );
    }
}

#[test]
fn each_fault_is_a_line_and_the_status_says_so() {
    let dir = workspace(&POLICY.replace("top: []", "top: [middle, bottom]").replace("[MIT]", "[ISC]"));
    let (status, said, faults) = run(dir.path());
    assert_eq!((status, said.as_str()), (Some(1), ""));
    let lines: Vec<&str> = faults.lines().collect();
    assert_eq!(lines.len(), 4, "three licences, one layer: {faults}");
    assert!(lines.iter().all(|line| line.starts_with("dependency-policy: ")), "{faults}");
    assert!(faults.contains("top 0.1.0: must not depend on middle 0.1.0: top > middle;"), "{faults}");
}

/// What only a feature brings in counts, what only tests bring in does not.
#[test]
fn features_count_and_tests_do_not() {
    let dir =
        workspace(&POLICY.replace("middle: []", "middle: [bottom]").replace("bottom: []", "bottom: [top]"));
    let (status, _, faults) = run(dir.path());
    assert_eq!(status, Some(1));
    assert_eq!(faults.lines().count(), 1, "{faults}");
    assert!(faults.contains("middle 0.1.0: must not depend on bottom 0.1.0: middle > bottom;"), "{faults}");
}

#[test]
fn what_cannot_be_read_is_a_fault_of_its_own() {
    let dir = workspace("licences: [MTI]");
    let (status, _, faults) = run(dir.path());
    assert_eq!(status, Some(1));
    assert!(faults.contains("dependency-policy.yaml") && faults.contains("banned"), "{faults}");
    fs::remove_file(dir.path().join("dependency-policy.yaml")).unwrap();
    let (status, _, faults) = run(dir.path());
    assert_eq!(status, Some(1));
    assert!(faults.contains("dependency-policy.yaml"), "{faults}");
    fs::write(dir.path().join("dependency-policy.yaml"), POLICY).unwrap();
    fs::remove_file(dir.path().join("Cargo.lock")).unwrap();
    let (status, _, faults) = run(dir.path());
    assert_eq!(status, Some(1), "a resolution that is not committed is no resolution");
    assert!(faults.contains("--locked"), "{faults}");
    assert_eq!(faults.lines().count(), 1, "{faults}");
}
