//! What an auditor is given straight from the writers, alone and beside what was exported.

use roomkeeper_graph::audit::chain::File;

use super::{
    damage::damaged,
    fixture::{Writer, codes, judge, kept},
};

/// Copies of two writers' whole logs; one of them has exported.
pub(crate) async fn copies() -> (Vec<File>, File) {
    let dir = tempfile::tempdir().unwrap();
    let mut one = Writer::open(dir.path().join("one"), "operator-0");
    let mut two = Writer::open(dir.path().join("two"), "webhook-0");
    one.write(5, "a").await;
    one.export(&[&two]);
    one.write(2, "a").await;
    two.write(4, "b").await;
    let mut files = one.copy(1, &[&two]);
    files.extend(two.copy(1, &[&one]));
    (files, kept(&[&one, &two]))
}

/// What was exported, and a copy of what was not yet.
pub(crate) async fn export_and_rest() -> Vec<File> {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    writer.write(5, "a").await;
    let mut files = writer.export(&[]);
    writer.write(3, "b").await;
    files.extend(writer.copy(6, &[]));
    files
}

#[tokio::test]
async fn copies_are_complete_with_and_without_what_the_api_server_keeps() {
    let (mut files, kept) = copies().await;
    for _ in 0..2 {
        let report = judge(&files);
        assert!(report.is_complete(), "{report:?}");
        let ends: Vec<_> = report.logs.iter().map(|log| (log.writer.as_str(), log.last)).collect();
        assert_eq!(ends, [("operator-0", 7), ("webhook-0", 4)]);
        files.push(kept.clone());
    }
}

#[tokio::test]
async fn a_damaged_copy_is_never_complete() {
    let (files, kept) = copies().await;
    for (what, mut files) in damaged(&files) {
        assert!(!judge(&files).is_complete(), "{what}");
        files.push(kept.clone());
        assert!(!judge(&files).is_complete(), "{what}, with what the API server keeps");
    }
}

#[tokio::test]
async fn a_copy_of_the_rest_completes_what_was_exported_and_proves_nothing_without_it() {
    let mut files = export_and_rest().await;
    assert!(judge(&files).is_complete());
    // Without the whole copy it is the export alone, which is complete as well; and of a writer that is gone with all that names it nobody knows.
    let is_whole = |what: &str| what.starts_with("remove the export") || what.starts_with("remove writer");
    for (what, files) in damaged(&files).into_iter().filter(|(what, _)| !is_whole(what)) {
        assert!(!judge(&files).is_complete(), "{what}");
    }
    let rest = files.iter().position(|file| file.name.contains(".6-")).unwrap();
    let rest = files.split_off(rest);
    assert!(judge(&files).is_complete());
    assert_eq!(codes(&judge(&rest)), ["missing-lines"]);
}
