//! Group commit: a thread of its own takes whatever waits, makes it durable at once, and only then answers.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

use super::AuditError;

/// Items that may wait for the thread; beyond, callers wait for room.
const QUEUE: usize = 4_096;
/// Items that are made durable together at most.
const BATCH: usize = 1_024;

/// An item and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    item: T,
    done: oneshot::Sender<Result<(), AuditError>>,
}

/// What the thread does with a batch.
pub(super) trait Commit: Send + 'static {
    /// What a caller hands over.
    type Item: Send + 'static;

    /// Makes the items durable; one answer for each, in their order.
    fn commit(&mut self, batch: &[Self::Item]) -> Vec<Result<(), AuditError>>;
}

/// Starts the thread. It ends when the last sender is gone and nothing waits.
pub(super) fn start<C: Commit>(mut log: C) -> io::Result<mpsc::Sender<Waiting<C::Item>>> {
    let (queue, mut waiting) = mpsc::channel(QUEUE);
    thread::Builder::new().name("audit".into()).spawn(move || {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
            let (items, callers): (Vec<_>, Vec<_>) =
                batch.drain(..).map(|Waiting { item, done }| (item, done)).unzip();
            let answers = log.commit(&items);
            if let Some(Err(error)) = answers.iter().find(|answer| answer.is_err()) {
                let entries = answers.iter().filter(|answer| answer.is_err()).count();
                tracing::error!(%error, entries, "audit entries refused");
            }
            for (caller, answer) in callers.into_iter().zip(answers) {
                // A caller that went away needs no answer.
                let _ = caller.send(answer);
            }
        }
    })?;
    Ok(queue)
}

/// Hands an item to the thread and waits until it is durable.
pub(super) async fn submit<T>(queue: &mpsc::Sender<Waiting<T>>, item: T) -> Result<(), AuditError> {
    let (done, answer) = oneshot::channel();
    queue.send(Waiting { item, done }).await.map_err(|_| AuditError::Closed)?;
    answer.await.map_err(|_| AuditError::Closed)?
}
