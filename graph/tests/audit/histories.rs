//! Whatever happened to a log in an orderly way, it verifies; and a line that is missing then is found.

use proptest::prelude::*;
use roomkeeper_graph::audit::chain::File;

use super::fixture::{Writer, at, judge, kept, log};

/// What can happen to a log.
#[derive(Debug, Clone, Copy)]
enum Step {
    Write(u64),
    Checkpoint,
    Restart,
    /// The last bytes of the newest segment are half a line, and the pod starts again.
    Crash(usize),
    Export,
    /// Lines older than this share of the time so far go.
    Retain(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..6_u64).prop_map(Step::Write),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Restart),
        1 => (1..300_usize).prop_map(Step::Crash),
        3 => Just(Step::Export),
        1 => (0..100_u64).prop_map(Step::Retain),
    ]
}

async fn lived(steps: &[Step]) -> (Vec<File>, u64, u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path().into(), "operator-0");
    let folder = writer.audit.folder(&log());
    let mut files = Vec::new();
    for step in steps {
        match step {
            Step::Write(lines) => writer.write(*lines, "a").await,
            Step::Checkpoint => drop(writer.checkpoint(folder.start().unwrap())),
            Step::Restart => writer.reopen(),
            Step::Crash(bytes) => {
                if let Some(newest) = folder.segments().unwrap().last() {
                    let path = folder.segment(*newest);
                    let mut all = std::fs::read(&path).unwrap();
                    let half = all.iter().copied().chain(*b"{\"number\":").take(*bytes);
                    let half: Vec<_> = half.take_while(|b| *b != b'\n').collect();
                    all.extend(half);
                    std::fs::write(&path, all).unwrap();
                }
                writer.reopen();
            }
            Step::Export => files.extend(writer.export(&[])),
            Step::Retain(share) => {
                let before = at(writer.head().number * share / 100);
                let start = folder.plan_start(before, writer.exported).unwrap();
                writer.checkpoint(start);
                if folder.segments().unwrap().contains(&start.number) {
                    folder.drop_before(start).unwrap();
                }
            }
        }
    }
    files.extend(writer.export(&[]));
    files.push(kept(&[&writer]));
    (files, folder.start().unwrap().number, writer.head().number)
}

#[test]
fn every_history_verifies_and_a_line_less_does_not() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    proptest!(ProptestConfig::with_cases(64), |(
        steps in prop::collection::vec(step(), 1..16),
        gone in any::<prop::sample::Index>(),
    )| {
        let (mut files, start, end) = runtime.block_on(lived(&steps));
        let report = judge(&files);
        prop_assert!(report.is_complete(), "{report:?}");
        if end >= start {
            let number = start + u64::try_from(gone.index(usize::try_from(end - start + 1).unwrap())).unwrap();
            let line = format!("{{\"number\":{number},");
            let mut removed = 0;
            for file in files.iter_mut().filter(|file| !file.name.ends_with(".manifest.json")) {
                let lines = file.bytes.split_inclusive(|b| *b == b'\n');
                let rest = lines.filter(|bytes| !bytes.starts_with(line.as_bytes())).collect::<Vec<_>>().concat();
                removed += file.bytes.len() - rest.len();
                file.bytes = rest;
            }
            if end > 0 {
                prop_assert!(removed > 0);
                prop_assert!(!judge(&files).is_intact(), "without line {number}");
            }
        }
    });
}
