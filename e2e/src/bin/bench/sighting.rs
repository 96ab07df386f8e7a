//! When a watch showed what became of a BookingRecord.

use futures::TryStreamExt as _;
use jiff::Timestamp;
use kube::{
    Api,
    runtime::{WatchStreamExt as _, watcher, watcher::Event},
};
use roomkeeper_crds::BookingRecord;
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::Instant,
};

/// What one event of the watch told.
pub(crate) struct Sighting {
    /// As it is, or was last.
    pub(crate) record: BookingRecord,
    pub(crate) deleted: bool,
    pub(crate) at: Instant,
    /// The same by the clock on the wall.
    pub(crate) wall: Timestamp,
}

/// Watches from now on, until the receiver is dropped.
pub(crate) fn watch(api: Api<BookingRecord>) -> UnboundedReceiver<Sighting> {
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
        loop {
            let (record, deleted) = match events.try_next().await {
                Ok(Some(Event::Apply(record) | Event::InitApply(record))) => (record, false),
                Ok(Some(Event::Delete(record))) => (record, true),
                Ok(Some(Event::Init | Event::InitDone)) => continue,
                Ok(None) => return,
                Err(_) if sender.is_closed() => return,
                Err(error) => {
                    eprintln!("bench: the watch broke off: {error}");
                    continue;
                }
            };
            let sighting = Sighting { record, deleted, at: Instant::now(), wall: Timestamp::now() };
            if sender.send(sighting).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The value that so much of the values are not above.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousands, none below 0"
    )]
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
