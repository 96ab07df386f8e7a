//! kill -9 at random moments under load: what was answered is found again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[allow(dead_code)]
mod faults;

use faults::{event, event_id};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roomkeeper_webhook_server::queue::Queue;
use roomkeeper_webhook_server::queue::embedded::{EmbeddedQueue, Options};
use std::collections::BTreeSet;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const KILLS: usize = 100;
const VISIBILITY: Duration = Duration::from_hours(1);
/// Set for the process that is to be killed: folder of the queue, and number of the run.
const CHILD: &str = "ROOMKEEPER_QUEUE_CRASH_CHILD";

fn open(folder: &Path) -> EmbeddedQueue {
    let options = Options {
        max_attempts: u16::MAX,
        debounce: Duration::ZERO,
        // So that changes of the file are interrupted too.
        renew_after: Duration::from_millis(20),
        ..Options::default()
    };
    EmbeddedQueue::open(folder, &options).unwrap()
}

fn later() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

/// One write per line, so that a line is there as a whole or not at all.
fn say(line: &str) {
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// Appends from 32 tasks and says what was acknowledged; one more works items off, and says so *before* each ack.
async fn load(folder: &Path, run: &str) {
    let queue = Arc::new(open(folder));
    say("open");
    for task in 0..32 {
        let (queue, run) = (Arc::clone(&queue), run.to_owned());
        tokio::spawn(async move {
            for call in 0.. {
                let id = format!("{run}-{task}-{call}");
                queue.append(vec![event(&id, false, 0)]).await.unwrap();
                say(&format!("stored {id}"));
            }
        });
    }
    loop {
        for leased in queue.lease(later(), 4, VISIBILITY).await.unwrap() {
            say(&format!("worked {}", event_id(&leased.item)));
            queue.ack(&leased.lease).await.unwrap();
        }
    }
}

#[derive(Debug, Default)]
struct Seen {
    stored: BTreeSet<String>,
    worked: BTreeSet<String>,
}

/// Runs the load in a process of its own and kills it after so many lines; takes in all that it said until its end.
fn kill_one(folder: &Path, run: usize, lines: usize, seen: &mut Seen) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "what_was_acknowledged_outlives_kill_9", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{run}:{}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut line, mut said) = (String::new(), 0);
    while out.read_line(&mut line).unwrap() > 0 {
        // The last line may be cut off.
        if let Some(whole) = line.strip_suffix('\n') {
            if let Some(id) = whole.strip_prefix("stored ") {
                seen.stored.insert(id.to_owned());
            } else if let Some(id) = whole.strip_prefix("worked ") {
                seen.worked.insert(id.to_owned());
            }
            said += usize::from(!whole.is_empty());
        }
        if said == lines {
            child.kill().unwrap();
        }
        line.clear();
    }
    let status = child.wait().unwrap();
    assert!(!status.success(), "the process was to be killed, not to end");
}

async fn found(folder: &Path) -> BTreeSet<String> {
    let queue = open(folder);
    let mut ids = BTreeSet::new();
    loop {
        let leased = queue.lease(later(), 1000, VISIBILITY).await.unwrap();
        if leased.is_empty() {
            queue.close().await;
            return ids;
        }
        ids.extend(leased.iter().map(|leased| event_id(&leased.item)));
    }
}

#[test]
fn what_was_acknowledged_outlives_kill_9() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Ok(child) = env::var(CHILD) {
        let (run, folder) = child.split_once(':').unwrap();
        runtime.block_on(load(Path::new(folder), run));
        return;
    }
    let chosen: u64 = env::var("ROOMKEEPER_QUEUE_CRASH_SEED")
        .map_or_else(|_| rand::rng().random(), |seed| seed.parse().expect("a number"));
    println!("ROOMKEEPER_QUEUE_CRASH_SEED={chosen}");
    let mut random = StdRng::seed_from_u64(chosen);
    let folder = tempfile::tempdir().unwrap();
    let mut seen = Seen::default();
    for run in 0..KILLS {
        // The test runner's own first line counts too, so some runs die while the queue is being opened.
        let lines = if run % 10 == 0 { 1 } else { random.random_range(1..400) };
        kill_one(folder.path(), run, lines, &mut seen);
    }
    let found = runtime.block_on(found(folder.path()));
    let lost: Vec<_> =
        seen.stored.iter().filter(|id| !found.contains(*id) && !seen.worked.contains(*id)).collect();
    println!(
        "{KILLS} kills, {} stored, {} worked, {} found",
        seen.stored.len(),
        seen.worked.len(),
        found.len()
    );
    assert!(seen.stored.len() > KILLS, "the load must have run");
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}
