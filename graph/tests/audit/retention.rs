//! Retention by prefix: the rest still verifies, and no more can be taken away.

use roomkeeper_graph::audit::chain::{File, Start};

use super::fixture::{Writer, at, codes, judge, kept, log};

/// Exports after retention dropped the first lines, those of before included; where the log starts.
pub(crate) async fn retained() -> (Vec<File>, Start) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    let folder = writer.audit.folder(&log());
    let mut files = Vec::new();
    for _ in 0..4 {
        writer.write(6, "a").await;
        files.extend(writer.export(&[]));
    }
    assert_eq!(folder.plan_start(at(0), 24).unwrap(), Start::FIRST);
    assert_eq!(folder.plan_start(at(100), 0).unwrap(), Start::FIRST);
    let start = folder.plan_start(at(13), 24).unwrap();
    assert!(start.number > 6 && start.number <= 13, "{start:?}");
    writer.checkpoint(start);
    let wrong = Start { number: start.number, previous: Start::FIRST.previous };
    assert!(folder.drop_before(wrong).is_err());
    assert!(folder.drop_before(Start { number: start.number + 1, ..start }).is_err());
    assert!(folder.drop_before(start).unwrap() > 0);
    assert_eq!(folder.start().unwrap(), start);
    assert_eq!(folder.drop_before(start).unwrap(), 0);
    writer.reopen();
    writer.write(2, "after").await;
    files.extend(writer.export(&[]));
    files.push(kept(&[&writer]));
    (files, start)
}

/// Last line of a log file, from its name.
pub(crate) fn last_of(file: &File) -> Option<u64> {
    file.name.strip_suffix(".jsonl")?.rsplit_once('-').and_then(|(_, last)| last.parse().ok())
}

#[tokio::test]
async fn after_retention_the_rest_verifies_and_no_more_can_be_taken() {
    let (mut files, start) = retained().await;
    let report = judge(&files);
    assert!(report.is_complete(), "with the old exports still there: {report:?}");

    // Retention takes away whole files of exports too; those that reach beyond the start stay.
    files.retain(|file| last_of(file).is_none_or(|last| last >= start.number));
    let report = judge(&files);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.logs[0].last, 26);
    let manifests = ["rooms_contoso.operator-0.1.manifest.json"];
    files.retain(|file| !manifests.contains(&file.name.as_str()));
    assert!(judge(&files).is_complete());

    let next = files.iter().position(|file| last_of(file).is_some()).unwrap();
    files.remove(next);
    assert_eq!(codes(&judge(&files)), ["missing-file", "missing-lines"]);
}

#[tokio::test]
async fn retention_never_takes_the_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    writer.write(9, "a").await;
    let folder = writer.audit.folder(&log());
    std::fs::write(folder.segment(10), b"").unwrap();
    let start = folder.plan_start(at(100), 9).unwrap();
    folder.drop_before(start).unwrap();
    let head = writer.head();
    writer.reopen();
    assert_eq!(writer.head(), head);
}
