//! Exports that fail and crash anywhere leave neither a gap nor an overlap.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::BASE64;
use flate2::read::GzDecoder;
use futures::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use object_store::{ObjectStore as _, ObjectStoreExt as _, memory::InMemory, path::Path};
use proptest::prelude::*;
use roomkeeper_graph::audit::{
    AuditEntry, AuditSink, Cause,
    chain::{ChainedAudit, Checkpoint, CheckpointChain, File, Head, Known, Report, Start, verify},
};

use super::*;

const SCOPE: &str = "rooms/contoso";

fn key() -> SigningKey {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap();
    let der = BASE64.encode(pair.to_pkcs8v1().unwrap().as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    SigningKey::from_pem(pem.as_bytes()).unwrap()
}

fn log() -> LogName {
    LogName::of_scope(SCOPE).unwrap()
}

fn at(minute: i64) -> Timestamp {
    let ten: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    ten + SignedDuration::from_mins(minute)
}

/// Which of the next effects fail: before they are done, or after, which to the caller looks the same and is what a crash right
/// after them is.
#[derive(Debug, Default)]
struct Faults(Mutex<Vec<Fault>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Before,
    After,
}

impl Faults {
    fn set(&self, faults: &[Fault]) {
        *self.0.lock().unwrap() = faults.iter().rev().copied().collect();
    }

    fn next(&self) -> Fault {
        self.0.lock().unwrap().pop().unwrap_or(Fault::None)
    }
}

/// The destination.
#[derive(Clone)]
struct Bucket {
    objects: Arc<InMemory>,
    faults: Arc<Faults>,
}

#[async_trait]
impl Put for Bucket {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), UploadError> {
        let failed = || UploadError { name: name.to_owned(), cause: "as the test wants".to_owned() };
        let fault = self.faults.next();
        if fault == Fault::Before {
            return Err(failed());
        }
        let path = Path::from(name);
        // What is uploaded again is what was uploaded before.
        if let Ok(before) = self.objects.get(&path).await {
            assert_eq!(before.bytes().await.unwrap(), bytes, "{name}");
        }
        self.objects.put(&path, bytes.into()).await.unwrap();
        if fault == Fault::After { Err(failed()) } else { Ok(()) }
    }
}

impl Bucket {
    async fn files(&self) -> Vec<File> {
        let all: Vec<_> = self.objects.list(None).try_collect().await.unwrap();
        let mut files = Vec::new();
        for one in all {
            let bytes = self.objects.get(&one.location).await.unwrap().bytes().await.unwrap();
            let name = one.location.filename().unwrap();
            files.push(match name.strip_suffix(".gz") {
                Some(name) => {
                    let mut plain = Vec::new();
                    GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
                    File { name: name.to_owned(), bytes: plain }
                }
                None => File { name: name.to_owned(), bytes: bytes.to_vec() },
            });
        }
        files
    }
}

/// What the API server keeps of each writer: its last checkpoint.
type Register = Arc<Mutex<BTreeMap<String, Signed<Checkpoint>>>>;

/// One pod with its volume.
struct Pod {
    writer: String,
    dir: PathBuf,
    audit: ChainedAudit,
    chain: Mutex<CheckpointChain>,
    start: Mutex<Start>,
    register: Register,
    faults: Arc<Faults>,
    minute: Mutex<i64>,
}

impl Pod {
    /// Starts, or starts again, with the volume and with what the API server keeps.
    fn start(writer: &str, dir: PathBuf, register: &Register, faults: &Arc<Faults>, minute: i64) -> Self {
        let audit = ChainedAudit::open(&dir, writer, 700).unwrap();
        let head = audit.heads().get(&log()).copied().unwrap_or(Head::EMPTY);
        let last = register.lock().unwrap().get(writer).cloned();
        let chain = CheckpointChain::resume(writer, log(), last, head).unwrap();
        let start = audit.folder(&log()).start().unwrap();
        Self {
            writer: writer.to_owned(),
            dir,
            audit,
            chain: Mutex::new(chain),
            start: Mutex::new(start),
            register: register.clone(),
            faults: faults.clone(),
            minute: Mutex::new(minute),
        }
    }

    fn restarted(self) -> Self {
        let Self { writer, dir, audit, register, faults, minute, .. } = self;
        drop(audit);
        let minute = *minute.lock().unwrap();
        Self::start(&writer, dir, &register, &faults, minute)
    }

    fn tick(&self) -> Timestamp {
        let mut minute = self.minute.lock().unwrap();
        *minute += 1;
        at(*minute)
    }

    async fn write(&self, lines: usize) {
        for _ in 0..lines {
            let entry = AuditEntry::Note {
                time: self.tick(),
                scope: SCOPE.to_owned(),
                caused_by: Cause::new("Test/rooms/a"),
                text: "something".to_owned(),
            };
            self.audit.record(entry).await.unwrap();
        }
    }

    async fn export(&self, bucket: &Bucket) -> Result<Exported, ExportError> {
        let (log, key, folder) = (log(), key(), self.audit.folder(&log()));
        let exporter = Exporter {
            writer: &self.writer,
            log: &log,
            folder: &folder,
            key: &key,
            earlier_keys: &[],
            checkpoints: self,
            destination: bucket,
        };
        exporter.run(self.tick()).await
    }

    /// Drops every segment that was exported, as retention does: stated first.
    async fn retain(&self) {
        let exported = self.last(&log()).await.unwrap().map_or(0, |last| last.statement.exported);
        let folder = self.audit.folder(&log());
        let start = folder.plan_start(at(1_000_000), exported).unwrap();
        *self.start.lock().unwrap() = start;
        if self.state(&log(), exported).await.is_ok() && start != Start::FIRST {
            folder.drop_before(start).unwrap();
        } else {
            *self.start.lock().unwrap() = folder.start().unwrap();
        }
    }
}

#[async_trait]
impl Checkpoints for Pod {
    async fn last(&self, _: &LogName) -> Result<Option<Signed<Checkpoint>>, CheckpointError> {
        Ok(self.register.lock().unwrap().get(&self.writer).cloned())
    }

    async fn state(&self, log: &LogName, exported: u64) -> Result<Signed<Checkpoint>, CheckpointError> {
        let failed = || CheckpointError { cause: "as the test wants".to_owned() };
        let fault = self.faults.next();
        if fault == Fault::Before {
            return Err(failed());
        }
        let head = self.audit.heads().get(log).copied().unwrap_or(Head::EMPTY);
        let start = *self.start.lock().unwrap();
        let mut chain = self.chain.lock().unwrap();
        let stated = chain.next(head, start, exported, self.tick(), &key()).unwrap().clone();
        self.register.lock().unwrap().insert(self.writer.clone(), stated.clone());
        if fault == Fault::After { Err(failed()) } else { Ok(stated) }
    }

    async fn others(&self, _: &LogName) -> Result<Vec<Known>, CheckpointError> {
        let all = self.register.lock().unwrap();
        let others = all.iter().filter(|(writer, _)| **writer != self.writer);
        Ok(others
            .map(|(writer, last)| Known { writer: writer.clone(), checkpoints: vec![last.envelope.clone()] })
            .collect())
    }
}

async fn judged(bucket: &Bucket, register: &Register) -> Report {
    let mut files = bucket.files().await;
    let kept: String =
        register.lock().unwrap().values().flat_map(|last| [last.envelope.clone(), "\n".to_owned()]).collect();
    files.push(File { name: "kept.checkpoints.jsonl".to_owned(), bytes: kept.into_bytes() });
    verify(&files, &[key().public()])
}

fn parts(files: &[File], writer: &str) -> Vec<(u64, u64)> {
    let mut parts: Vec<(u64, u64)> = files
        .iter()
        .filter_map(|file| {
            let range =
                file.name.strip_prefix(&format!("rooms_contoso.{writer}."))?.strip_suffix(".jsonl")?;
            let (first, last) = range.split_once('-')?;
            Some((first.parse().unwrap(), last.parse().unwrap()))
        })
        .collect();
    parts.sort_unstable();
    parts
}

fn bucket() -> Bucket {
    Bucket { objects: Arc::new(InMemory::new()), faults: Arc::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn a_crash_after_any_step_is_made_up_for_by_the_next_run() {
    // State, lines, manifest, state.
    for step in 0..4 {
        for fault in [Fault::Before, Fault::After] {
            for restart in [false, true] {
                runtime().block_on(async {
                    let (bucket, register, dir) =
                        (bucket(), Register::default(), tempfile::tempdir().unwrap());
                    let mut pod =
                        Pod::start("operator-0", dir.path().to_owned(), &register, &bucket.faults, 0);
                    pod.write(3).await;
                    pod.export(&bucket).await.unwrap();
                    pod.write(4).await;
                    bucket.faults.set(&[vec![Fault::None; step], vec![fault]].concat());
                    pod.export(&bucket).await.unwrap_err();
                    bucket.faults.set(&[]);
                    if restart {
                        pod = pod.restarted();
                    }
                    // Lines that came meanwhile go into an export of their own.
                    pod.write(2).await;
                    let exported = pod.export(&bucket).await.unwrap();
                    assert_eq!(exported.last, 9, "step {step} {fault:?}");
                    let report = judged(&bucket, &register).await;
                    assert!(report.is_complete(), "step {step} {fault:?}: {report:?}");
                    let parts = parts(&bucket.files().await, "operator-0");
                    assert!(parts == [(1, 3), (4, 9)] || parts == [(1, 3), (4, 7), (8, 9)], "{parts:?}");
                });
            }
        }
    }
}

#[test]
fn an_export_without_new_lines_still_says_how_far_everybody_is() {
    runtime().block_on(async {
        let (bucket, register, dir) = (bucket(), Register::default(), tempfile::tempdir().unwrap());
        let pod = Pod::start("operator-0", dir.path().to_owned(), &register, &bucket.faults, 0);
        pod.write(3).await;
        assert_eq!(pod.export(&bucket).await.unwrap(), Exported { lines: 3, last: 3 });
        assert_eq!(pod.export(&bucket).await.unwrap(), Exported { lines: 0, last: 3 });
        let files = bucket.files().await;
        assert_eq!(files.iter().filter(|file| file.name.ends_with(".manifest.json")).count(), 2);
        assert!(judged(&bucket, &register).await.is_complete());
    });
}

#[test]
fn a_pod_that_is_gone_stays_pending_and_its_successor_has_a_name_of_its_own() {
    runtime().block_on(async {
        let (bucket, register, dir) = (bucket(), Register::default(), tempfile::tempdir().unwrap());
        let gone = Pod::start("operator-0-a", dir.path().join("a"), &register, &bucket.faults, 0);
        gone.write(3).await;
        gone.export(&bucket).await.unwrap();
        gone.write(2).await;
        gone.state(&log(), 3).await.unwrap();
        drop(gone);
        let next = Pod::start("operator-0-b", dir.path().join("b"), &register, &bucket.faults, 50);
        next.write(4).await;
        next.export(&bucket).await.unwrap();
        let report = judged(&bucket, &register).await;
        assert!(report.is_intact() && !report.is_complete(), "{report:?}");
        let pending: Vec<_> = report.logs.iter().map(|log| (log.writer.as_str(), log.pending)).collect();
        assert_eq!(pending, [("operator-0-a", Some(5)), ("operator-0-b", None)]);
    });
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, usize),
    Export(usize, Vec<Fault>),
    Restart(usize),
    Retain(usize),
    State(usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![3 => Just(Fault::None), 1 => Just(Fault::Before), 1 => Just(Fault::After)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..2_usize, 1..6_usize).prop_map(|(pod, lines)| Step::Write(pod, lines)),
        4 => (0..2_usize, prop::collection::vec(fault(), 0..7)).prop_map(|(pod, faults)| Step::Export(pod, faults)),
        1 => (0..2_usize).prop_map(Step::Restart),
        1 => (0..2_usize).prop_map(Step::Retain),
        1 => (0..2_usize).prop_map(Step::State),
    ];
    prop::collection::vec(step, 1..20)
}

async fn play(steps: Vec<Step>) {
    let (bucket, register, dir) = (bucket(), Register::default(), tempfile::tempdir().unwrap());
    let pod = |name: &str| Some(Pod::start(name, dir.path().join(name), &register, &bucket.faults, 0));
    let mut pods = [pod("operator-0"), pod("webhook-0")];
    for step in steps {
        match step {
            Step::Write(n, lines) => pods[n].as_ref().unwrap().write(lines).await,
            Step::Export(n, faults) => {
                bucket.faults.set(&faults);
                let outcome = pods[n].as_ref().unwrap().export(&bucket).await;
                bucket.faults.set(&[]);
                if outcome.is_ok() {
                    let report = judged(&bucket, &register).await;
                    // The other one may be in the middle of an export that failed: then some of its files are not listed yet.
                    let own = &pods[n].as_ref().unwrap().writer;
                    let odd: Vec<_> =
                        report.findings.iter().filter(|one| one.file.contains(own.as_str())).collect();
                    assert_eq!(odd, Vec::<&roomkeeper_graph::audit::chain::Finding>::new());
                }
            }
            Step::Restart(n) => pods[n] = pods[n].take().map(Pod::restarted),
            Step::Retain(n) => pods[n].as_ref().unwrap().retain().await,
            Step::State(n) => {
                let pod = pods[n].as_ref().unwrap();
                let exported = pod.last(&log()).await.unwrap().map_or(0, |last| last.statement.exported);
                pod.state(&log(), exported).await.unwrap();
            }
        }
    }
    for pod in pods.iter().flatten() {
        pod.export(&bucket).await.unwrap();
    }
    let report = judged(&bucket, &register).await;
    assert!(report.is_complete(), "{report:?}");
    let files = bucket.files().await;
    for pod in pods.iter().flatten() {
        let (parts, head) =
            (parts(&files, &pod.writer), pod.audit.heads().get(&log()).map_or(0, |head| head.number));
        let mut next = 1;
        for (first, last) in &parts {
            assert_eq!(*first, next, "{}: {parts:?}", pod.writer);
            next = last + 1;
        }
        assert_eq!(next, head + 1, "{}: {parts:?}", pod.writer);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn exports_have_no_gap_and_no_overlap_whatever_fails(steps in steps()) {
        runtime().block_on(play(steps));
    }
}
