//! Restarts and crashes: the log goes on where it was durable.

use roomkeeper_graph::audit::{
    AuditEntry, AuditError, AuditSink,
    chain::{ChainedAudit, CheckpointChain, NotContinued, Start},
};

use super::fixture::{Writer, judge, kept, log, note};

#[tokio::test]
async fn a_restart_goes_on_in_the_same_chain() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    let mut files = Vec::new();
    for _ in 0..6 {
        writer.write(2, "a").await;
        let head = writer.head();
        writer.reopen();
        assert_eq!(writer.head(), head);
        files.extend(writer.export(&[]));
    }
    files.push(kept(&[&writer]));
    let report = judge(&files);
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.logs[0].last, 12);
    assert!(writer.audit.folder(&log()).segments().unwrap().len() > 2);
}

#[tokio::test]
async fn a_crash_at_any_byte_of_the_last_line_leaves_an_intact_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    writer.write(4, "a").await;
    let before = writer.head();
    writer.checkpoint(Start::FIRST);
    writer.write(1, "the last line").await;
    let folder = writer.audit.folder(&log());
    let path = folder.segment(*folder.segments().unwrap().last().unwrap());
    let whole = std::fs::read(&path).unwrap();
    let line = whole.len() - whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    for cut in 1..=line {
        std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        writer.reopen();
        assert_eq!(writer.head(), before, "{cut}");
    }
    // What lost pages look like: zeros, and then lines that do not belong to the chain.
    let text = String::from_utf8(whole[whole.len() - line..].to_vec()).unwrap();
    let other = text.replace(&before.hash.to_string(), &"7".repeat(64)).into_bytes();
    assert_ne!(other, text.as_bytes());
    for torn in [vec![0; 500], other, [&[0; 100][..], b"\n", &whole].concat()] {
        let mut bytes = whole[..whole.len() - line].to_vec();
        bytes.extend(&torn);
        std::fs::write(&path, bytes).unwrap();
        writer.reopen();
        assert_eq!(writer.head(), before);
    }
    writer.write(3, "after").await;
    let report = judge(&writer.export(&[]));
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.logs[0].last, 7);
}

#[tokio::test]
async fn a_segment_that_was_begun_and_not_written_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    writer.write(3, "a").await;
    let (head, folder) = (writer.head(), writer.audit.folder(&log()));
    std::fs::write(folder.segment(head.number + 1), b"").unwrap();
    writer.reopen();
    assert_eq!(writer.head(), head);
    writer.write(1, "b").await;
    assert_eq!(folder.segments().unwrap().last(), Some(&(head.number + 1)));
    assert!(judge(&writer.export(&[])).is_complete());
}

#[tokio::test]
async fn a_log_that_is_behind_its_checkpoint_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    writer.write(2, "a").await;
    let old = writer.head();
    writer.write(2, "b").await;
    let last = writer.checkpoint(Start::FIRST);
    let resume = |writer_name: &str, head| {
        CheckpointChain::resume(writer_name, log(), Some(last.clone()), head).map(|_| ())
    };
    assert_eq!(resume("operator-0", writer.head()), Ok(()));
    assert_eq!(resume("operator-0", old), Err(NotContinued::Behind { found: 2, stated: 4 }));
    assert!(matches!(resume("operator-1", writer.head()), Err(NotContinued::Foreign { .. })));
}

#[tokio::test]
async fn each_scope_has_its_log_and_what_has_none_goes_to_the_system_log() {
    let dir = tempfile::tempdir().unwrap();
    let audit = ChainedAudit::open(dir.path(), "operator-0", 1_000).unwrap();
    let scoped = |scope: &str| {
        let mut entry = note(1, "a");
        if let AuditEntry::Note { scope: to, .. } = &mut entry {
            *to = scope.to_owned();
        }
        entry
    };
    for scope in ["a/b", "", "a/c", "a/b"] {
        audit.record(scoped(scope)).await.unwrap();
    }
    let refused = audit.record(scoped("../../etc")).await;
    assert!(matches!(refused, Err(AuditError::Encode { .. })), "{refused:?}");
    let ends: Vec<_> = audit.heads().into_iter().map(|(log, head)| (log.to_string(), head.number)).collect();
    assert_eq!(ends, [("a/b".into(), 2), ("a/c".into(), 1), ("system".into(), 1)]);
    assert!(matches!(
        ChainedAudit::open(dir.path(), "a/b", 1).map(|_| ()),
        Err(AuditError::WriterName { .. })
    ));
}

#[tokio::test]
async fn a_log_that_cannot_be_read_refuses_its_entries_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    writer.write(6, "a").await;
    let head = writer.head();
    let folder = writer.audit.folder(&log());
    let sealed = folder.segment(1);
    let bytes = std::fs::read(&sealed).unwrap();
    std::fs::write(&sealed, b"").unwrap();
    let audit = ChainedAudit::open(dir.path(), "operator-0", 1_000).unwrap();
    let refused = audit.record(note(5, "b")).await.unwrap_err();
    assert!(refused.to_string().contains("00000000000000000001.jsonl has no line"), "{refused}");
    let mut other = note(5, "b");
    if let AuditEntry::Note { scope, .. } = &mut other {
        "rooms/other".clone_into(scope);
    }
    audit.record(other).await.unwrap();
    std::fs::write(&sealed, bytes).unwrap();
    audit.record(note(5, "b")).await.unwrap();
    // The entry, and before it the note of the hole.
    assert_eq!(audit.heads().get(&log()).map(|head| head.number), Some(head.number + 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_entries_are_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    let audit = std::sync::Arc::new(ChainedAudit::open(dir.path(), "operator-0", 20_000).unwrap());
    let tasks: Vec<_> = (0..300)
        .map(|n| {
            let audit = audit.clone();
            tokio::spawn(async move { audit.record(note(n, &n.to_string())).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    writer.reopen();
    let report = judge(&writer.export(&[]));
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.logs[0].last, 300);
}
