//! `make demo` as a test: exit 0, every step seen, nothing left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::process::Command;

use roomkeeper_e2e::programs;

#[test]
fn the_whole_scenario_is_seen() {
    let scratch = tempfile::tempdir().unwrap();
    let output =
        Command::new(programs::path("demo").unwrap()).env("TMPDIR", scratch.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    for step in [
        "AccessScope contoso is Ready",
        "ticks the box",
        "an unbooked meeting",
        "exactly the listed fields",
        "record and booking move",
        "the booking is cancelled",
        "its record is gone",
        "nothing is lost",
        "leaves the group: unsubscribed",
        "stays unsubscribed",
        "asked for 0 times",
        "nothing is left behind",
    ] {
        assert!(told.contains(step), "not told: {step}\n{told}");
    }
    let left: Vec<_> =
        std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}
