//! A log that cannot be written: what is refused, what is kept, and how it goes on.

use std::fs;

use roomkeeper_graph::audit::{
    AuditEntry, AuditError, AuditSink,
    chain::{ChainedAudit, decode, read_all, split},
};

use super::fixture::{SCOPE, at, log, note};

fn outcome(minute: u64) -> AuditEntry {
    AuditEntry::Outcome {
        time: at(minute),
        scope: SCOPE.into(),
        purpose: roomkeeper_graph::Purpose::UserLookup,
        client_request_id: uuid::Uuid::nil(),
        attempt: 1,
        status: Some(200),
        request_id: None,
        duration_ms: 5,
        retry_after_seconds: None,
        fault: None,
    }
}

/// Types of the entries, and the texts of notes.
fn told(dir: &std::path::Path) -> Vec<String> {
    let lines = read_all(dir).unwrap();
    let member = |line: &roomkeeper_graph::audit::chain::Line, name: &str| {
        line.entry.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    };
    lines
        .iter()
        .map(|line| match member(line, "type").as_str() {
            "note" => member(line, "text"),
            other => other.to_owned(),
        })
        .collect()
}

#[tokio::test]
async fn outcomes_are_kept_and_come_first_once_the_log_can_be_written_and_the_hole_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let audit = ChainedAudit::open(dir.path(), "operator-0", 1).unwrap();
    audit.record(note(1, "before")).await.unwrap();
    // The next segment cannot be made: where the folder was there is a file.
    let (folder, aside) = (audit.folder(&log()), dir.path().join("aside"));
    fs::rename(folder.path(), &aside).unwrap();
    fs::write(folder.path(), b"").unwrap();

    audit.follow_up(outcome(2));
    let refused = audit.record(note(3, "refused")).await.unwrap_err();
    assert!(matches!(refused, AuditError::Write { .. }), "{refused}");
    let failing = audit.failing();
    assert_eq!(failing.len(), 1);
    assert_eq!((failing[0].scope.as_str(), &failing[0].error), (SCOPE, &refused));
    assert!(audit.check(SCOPE).await.is_err());
    audit.check("rooms/other").await.unwrap();
    // Others are not concerned.
    let other = AuditEntry::Note {
        time: at(4),
        scope: "rooms/other".into(),
        caused_by: roomkeeper_graph::Cause::new("Test/rooms/a"),
        text: "other".into(),
    };
    audit.record(other).await.unwrap();

    fs::remove_file(folder.path()).unwrap();
    fs::rename(&aside, folder.path()).unwrap();
    audit.check(SCOPE).await.unwrap();
    assert_eq!(audit.failing(), []);
    assert_eq!((audit.failures(), audit.lost()), (2, 0));
    audit.record(note(5, "after")).await.unwrap();

    let told = told(dir.path());
    assert_eq!(told.len(), 5, "{told:?}");
    assert_eq!((told[0].as_str(), told[1].as_str()), ("before", "outcome"));
    assert!(told[2].starts_with("this log could not be written since "), "{told:?}");
    assert!(told[2].contains(": 2 entries were refused; "), "{told:?}");
    assert_eq!((told[3].as_str(), told[4].as_str()), ("after", "other"));
}

#[tokio::test]
async fn all_is_read_but_a_line_that_is_not_finished() {
    let dir = tempfile::tempdir().unwrap();
    for writer in ["operator-0", "webhook-0"] {
        let audit = ChainedAudit::open(dir.path(), writer, 1_000).unwrap();
        for minute in 1..=7 {
            audit.record(note(minute, "x")).await.unwrap();
        }
    }
    let audit = ChainedAudit::open(dir.path(), "operator-0", 1_000).unwrap();
    let folder = audit.folder(&log());
    let last = folder.segment(*folder.segments().unwrap().last().unwrap());
    let mut bytes = fs::read(&last).unwrap();
    let whole = bytes.len();
    bytes.truncate(whole - 1);
    fs::write(&last, &bytes).unwrap();
    let lines = read_all(dir.path()).unwrap();
    assert_eq!(lines.len(), 13);
    let numbers: Vec<u64> = lines.iter().map(|line| line.number).collect();
    assert_eq!(numbers, (1..=6).chain(1..=7).collect::<Vec<_>>());
    assert!(split(&bytes).0.iter().all(|line| decode(line).is_ok()));
    fs::write(&last, b"{}\n").unwrap();
    assert!(read_all(dir.path()).unwrap_err().to_string().ends_with("has a line that is none"));
}
