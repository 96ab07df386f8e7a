//! Group commit: a thread of its own takes whatever waits, makes it durable at once, and only then answers.

use std::{
    io,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::AuditError;

/// Items that are made durable together at most.
const BATCH: usize = 1_024;

/// How long items that nobody waits for are held back for one that somebody does: the next announcement then does not wait
/// for a sync of its own after theirs.
const LINGER: Duration = Duration::from_millis(20);

/// An item and who waits for it, if anybody does.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    item: T,
    done: Option<oneshot::Sender<Result<(), AuditError>>>,
}

/// Where items are handed over. It has no bound of its own: each caller waits for what it announces, and follows up once.
pub(super) type Queue<T> = mpsc::Sender<Waiting<T>>;

/// What the thread does with a batch.
pub(super) trait Commit: Send + 'static {
    /// What a caller hands over.
    type Item: Send + 'static;

    /// Makes the items durable; one answer for each, in their order.
    fn commit(&mut self, batch: &[Self::Item]) -> Vec<Result<(), AuditError>>;
}

/// Starts the thread. It ends when the last sender is gone and nothing waits.
pub(super) fn start<C: Commit>(mut log: C) -> io::Result<Queue<C::Item>> {
    let (queue, waiting) = mpsc::channel();
    thread::Builder::new().name("audit".into()).spawn(move || {
        let mut batch = Vec::with_capacity(BATCH);
        while gather(&waiting, &mut batch) {
            let (items, callers): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|Waiting { item, done }| (item, done)).unzip();
            let answers = log.commit(&items);
            if let Some(Err(error)) = answers.iter().find(|answer| answer.is_err()) {
                let entries = answers.iter().filter(|answer| answer.is_err()).count();
                tracing::error!(%error, entries, "audit entries refused");
            }
            for (caller, answer) in callers.into_iter().zip(answers) {
                // A caller that went away needs no answer.
                let _ = caller.map(|caller| caller.send(answer));
            }
        }
    })?;
    Ok(queue)
}

/// Fills the empty batch with what waits; false once the last sender is gone and nothing waits.
fn gather<T>(waiting: &mpsc::Receiver<Waiting<T>>, batch: &mut Vec<Waiting<T>>) -> bool {
    let Ok(first) = waiting.recv() else { return false };
    batch.push(first);
    let until = Instant::now() + LINGER;
    loop {
        batch.extend(waiting.try_iter().take(BATCH.saturating_sub(batch.len())));
        if batch.len() >= BATCH || batch.iter().any(|item| item.done.is_some()) {
            return true;
        }
        match waiting.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(item) => batch.push(item),
            // Time is up, or nobody can add anything.
            Err(_) => return true,
        }
    }
}

/// Hands an item to the thread and waits until it is durable.
pub(super) async fn submit<T>(queue: &Queue<T>, item: T) -> Result<(), AuditError> {
    let (done, answer) = oneshot::channel();
    queue.send(Waiting { item, done: Some(done) }).map_err(|_| AuditError::Closed)?;
    answer.await.map_err(|_| AuditError::Closed)?
}

/// Hands an item to the thread.
pub(super) fn hand_over<T>(queue: &Queue<T>, item: T) -> Result<(), AuditError> {
    queue.send(Waiting { item, done: None }).map_err(|_| AuditError::Closed)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;

    /// Tells the size of each batch, and waits for leave and the answer.
    struct Held {
        began: std_mpsc::Sender<usize>,
        leave: std_mpsc::Receiver<Result<(), AuditError>>,
    }

    impl Commit for Held {
        type Item = u32;

        fn commit(&mut self, batch: &[u32]) -> Vec<Result<(), AuditError>> {
            self.began.send(batch.len()).unwrap();
            vec![self.leave.recv().unwrap(); batch.len()]
        }
    }

    #[tokio::test]
    async fn callers_wait_for_the_batch_and_share_its_fate() {
        let (began, at) = std_mpsc::channel();
        let (leave, wait) = std_mpsc::channel();
        let queue = start(Held { began, leave: wait }).unwrap();
        let one = |n| {
            let queue = queue.clone();
            tokio::spawn(async move { submit(&queue, n).await })
        };
        let first = one(0);
        let at = tokio::task::spawn_blocking(move || {
            assert_eq!(at.recv().unwrap(), 1);
            at
        })
        .await
        .unwrap();
        let rest: Vec<_> = (1..=50).map(one).collect();
        // The runtime has one thread: after a turn each task has handed over and waits.
        tokio::task::yield_now().await;
        hand_over(&queue, 51).unwrap();
        assert!(!first.is_finished() && rest.iter().all(|task| !task.is_finished()));
        let refused = Err(AuditError::Write { cause: "sync failed".into() });
        leave.send(Ok(())).unwrap();
        leave.send(refused.clone()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(()));
        for task in rest {
            assert_eq!(task.await.unwrap(), refused);
        }
        assert_eq!(at.recv().unwrap(), 51);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_committed_with_the_next_or_by_itself() {
        let (began, at) = std_mpsc::channel();
        let (leave, wait) = std_mpsc::channel();
        let queue = start(Held { began, leave: wait }).unwrap();
        hand_over(&queue, 1).unwrap();
        leave.send(Ok(())).unwrap();
        assert_eq!(at.recv_timeout(Duration::from_secs(30)), Ok(1));
        for n in 2..5 {
            hand_over(&queue, n).unwrap();
        }
        // The last words before the end.
        drop(queue);
        leave.send(Ok(())).unwrap();
        assert_eq!(at.recv_timeout(Duration::from_secs(30)), Ok(3));
        assert!(at.recv_timeout(Duration::from_secs(30)).is_err(), "the thread has ended");
    }
}
