//! Every damage is found, at whatever place.

use proptest::prelude::*;
use roomkeeper_graph::audit::chain::{Damage, File, FileKind};

use super::fixture::{SCOPE, Writer, codes, judge, kept, old_copy, two_writers};

/// A log file's lines with their line feeds.
fn lines(file: &File) -> Vec<Vec<u8>> {
    file.bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

fn is_log(file: &File) -> bool {
    file.kind() == FileKind::Part
}

/// Every single damage that a line or a file can take, with a name.
pub(crate) fn damaged(files: &[File]) -> Vec<(String, Vec<File>)> {
    let mut all = Vec::new();
    let mut add = |what: &str, at: usize, lines: Option<Vec<Vec<u8>>>| {
        let mut copy = files.to_vec();
        match lines {
            Some(lines) => copy[at].bytes = lines.concat(),
            None => drop(copy.remove(at)),
        }
        all.push((format!("{what} {}", files[at].name), copy));
    };
    for (at, file) in files.iter().enumerate() {
        add("remove", at, None);
        if !is_log(file) {
            continue;
        }
        let lines = lines(file);
        for n in 0..lines.len() {
            let changed = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
                let mut lines = lines.clone();
                change(&mut lines);
                Some(lines)
            };
            add(&format!("remove line {n} of"), at, changed(&|l| drop(l.remove(n))));
            add(&format!("double line {n} of"), at, changed(&|l| l.insert(n, l[n].clone())));
            add(&format!("cut before line {n} of"), at, changed(&|l| l.truncate(n)));
            add(
                &format!("cut in line {n} of"),
                at,
                changed(&|l| {
                    l.truncate(n + 1);
                    l[n].truncate(40);
                }),
            );
            add(
                &format!("change line {n} of"),
                at,
                changed(&|l| {
                    let text = String::from_utf8(l[n].clone()).unwrap();
                    l[n] = text.replace("Test/rooms/a", "Test/rooms/b").into_bytes();
                }),
            );
            add(
                &format!("insert after line {n} of"),
                at,
                changed(&|l| {
                    let text = String::from_utf8(l[n].clone()).unwrap();
                    l.insert(n + 1, text.replace("\"note\"", "\"more\"").into_bytes());
                }),
            );
            if n > 0 {
                add(&format!("swap line {n} of"), at, changed(&|l| l.swap(n - 1, n)));
            }
        }
    }
    let manifests: Vec<usize> =
        (0..files.len()).filter(|at| files[*at].kind() == FileKind::Manifest).collect();
    // Nobody tells of the export that was made last, but what the API server keeps.
    for &last in &manifests[..manifests.len() - 1] {
        let before = files[..last].iter().rposition(|file| !is_log(file)).map_or(0, |n| n + 1);
        let mut copy = files.to_vec();
        copy.drain(before..=last);
        all.push((format!("remove the export of {}", files[last].name), copy));
    }
    for writer in ["operator-0", "webhook-0"] {
        let mut copy = files.to_vec();
        copy.retain(|file| !file.name.contains(writer));
        all.push((format!("remove writer {writer}"), copy));
    }
    all
}

#[tokio::test]
async fn an_undamaged_export_is_complete_with_and_without_what_the_api_server_keeps() {
    let (mut files, kept) = two_writers().await;
    for _ in 0..2 {
        let report = judge(&files);
        assert!(report.is_complete(), "{report:?}");
        let ends: Vec<_> = report.logs.iter().map(|log| (log.writer.as_str(), log.last)).collect();
        assert_eq!(ends, [("operator-0", 10), ("webhook-0", 6)]);
        files.reverse();
        files.push(kept.clone());
    }
}

#[tokio::test]
async fn every_single_damage_is_found() {
    let (files, kept) = two_writers().await;
    let damaged = damaged(&files);
    assert!(damaged.len() > 100, "{}", damaged.len());
    for (what, mut files) in damaged {
        assert!(!judge(&files).is_intact(), "{what}");
        files.push(kept.clone());
        assert!(!judge(&files).is_intact(), "{what}, with what the API server keeps");
    }
}

#[tokio::test]
async fn what_is_found_says_what_was_done() {
    let (files, _) = two_writers().await;
    let damaged = damaged(&files);
    let found = |what: &str| {
        let (_, files) = damaged.iter().find(|(name, _)| name.starts_with(what)).unwrap();
        judge(files)
    };
    let report = found("remove writer webhook-0");
    let gone = Damage::MissingWriter { writer: "webhook-0".into(), scope: SCOPE.into() };
    assert_eq!(report.findings.iter().map(|f| &f.damage).collect::<Vec<_>>(), [&gone]);
    let report = found("change line 0 of rooms_contoso.operator-0.1-2.jsonl");
    assert_eq!(report.findings.len(), 1);
    assert_eq!(report.findings[0].to_string(), "rooms_contoso.operator-0.1-2.jsonl:2: chain");
    let report = found("change line 0 of rooms_contoso.operator-0.5-5.jsonl");
    let texts: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "rooms_contoso.operator-0.5-5.jsonl:1: not-as-stated",
            "rooms_contoso.operator-0.6-7.jsonl:1: chain"
        ]
    );
    let report = found("remove rooms_contoso.operator-0.3-4.jsonl");
    let texts: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "missing-lines 3 to 4 of operator-0 for rooms/contoso",
            "rooms_contoso.operator-0.3-4.jsonl: missing-file"
        ]
    );
}

#[tokio::test]
async fn an_old_copy_that_went_on_is_found_by_what_the_api_server_keeps() {
    let mut files = old_copy().await;
    let found = codes(&judge(&files));
    assert!(found.contains(&"not-as-stated") && found.contains(&"statement-chain"), "{found:?}");
    // Without it, nothing can tell.
    files.retain(|file| !file.name.ends_with(".checkpoints.jsonl"));
    assert!(judge(&files).is_complete());
}

#[tokio::test]
async fn two_continuations_of_one_log_are_a_fork() {
    let (mut files, _) = two_writers().await;
    let dir = tempfile::tempdir().unwrap();
    let mut other = Writer::open(dir.path().into(), "operator-0");
    other.write(10, "c").await;
    for _ in 0..3 {
        other.checkpoint(roomkeeper_graph::audit::chain::Start::FIRST);
    }
    files.push(kept(&[&other]));
    let found = codes(&judge(&files));
    assert!(found.contains(&"fork") && found.contains(&"not-as-stated"), "{found:?}");
}

#[tokio::test]
async fn old_exports_put_back_are_found_by_what_the_api_server_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    writer.write(5, "a").await;
    let mut files = writer.export(&[]);
    writer.write(5, "b").await;
    writer.export(&[]);
    assert!(judge(&files).is_complete());
    files.push(kept(&[&writer]));
    assert_eq!(codes(&judge(&files)), ["missing-lines"]);
}

/// One writer's export that names a writer which is gone before its first export, and one that never wrote.
pub(crate) async fn with_pending() -> Vec<File> {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().join("one"), "operator-0");
    let mut gone = Writer::open(dir.path().join("two"), "webhook-0");
    gone.write(4, "b").await;
    gone.checkpoint(roomkeeper_graph::audit::chain::Start::FIRST);
    writer.write(5, "a").await;
    let silent = Writer::open(dir.path().join("three"), "webhook-1");
    writer.export(&[&gone, &silent])
}

#[tokio::test]
async fn lines_that_were_not_exported_yet_are_pending_and_no_damage() {
    let report = judge(&with_pending().await);
    assert!(report.is_intact() && !report.is_complete(), "{report:?}");
    let pending: Vec<_> = report.logs.iter().map(|log| (log.pending, log.until.is_some())).collect();
    assert_eq!(pending, [(None, true), (Some(4), false), (None, false)]);
}

#[tokio::test]
async fn other_keys_prove_nothing() {
    let (files, _) = two_writers().await;
    let report = roomkeeper_graph::audit::chain::verify(&files, &[super::fixture::key(2).public()]);
    assert!(codes(&report).contains(&"unknown-key"));
}

#[test]
fn no_byte_can_be_another() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut files, kept) = runtime.block_on(two_writers());
    files.push(kept);
    proptest!(ProptestConfig::with_cases(1_500), |(
        file in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        flip in 1_u8..,
    )| {
        let mut files = files.clone();
        let bytes = &mut file.get_mut(&mut files).bytes;
        *byte.get_mut(bytes) ^= flip;
        prop_assert!(!judge(&files).is_intact());
    });
}
