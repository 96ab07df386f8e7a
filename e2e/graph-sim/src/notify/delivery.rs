//! One POST and its repetitions (graph-facts §3.2, the text of 2026).

use std::{sync::Arc, time::Duration};

use http::header;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    log::State,
    lost,
    payload::{Collection, Payload},
    queue::{Item, push},
};
use crate::app::{App, lock};

/// Time for the first attempt.
const FIRST: Duration = Duration::from_secs(3);
/// Time for each further one.
const FURTHER: Duration = Duration::from_secs(10);
/// Wait before the second attempt; doubled each time. Graph does not document its intervals.
const BACK_OFF: Duration = Duration::from_secs(1);
/// Longest wait between two attempts.
const LONGEST_BACK_OFF: Duration = Duration::from_mins(15);
/// How long Graph tries.
const GIVE_UP: Duration = Duration::from_hours(4);

/// Tries until it is delivered, its subscriptions are gone, or the time is over. The permit is for the first attempt.
pub(super) async fn deliver(app: Arc<App>, mut batch: Vec<Item>, permit: Option<OwnedSemaphorePermit>) {
    let end = app.clock.after(GIVE_UP);
    let mut limit = FIRST;
    let mut back_off = BACK_OFF;
    let mut permit = permit;
    let mut overtaken: Vec<Item> =
        batch.iter_mut().filter_map(|item| item.then.take()).map(|item| *item).collect();
    loop {
        batch.retain(|item| is_wanted(&app, item));
        if batch.is_empty() {
            overtaken.drain(..).for_each(|item| push(&app, item));
            return;
        }
        let status = tokio::select! {
            () = app.shutdown.cancelled() => return,
            status = attempt(&app, &batch, limit) => status,
        };
        drop(permit.take());
        overtaken.drain(..).for_each(|item| push(&app, item));
        let delivered = status.is_some_and(|status| (200..300).contains(&status));
        let now = app.clock.now();
        for item in &batch {
            app.notifier.log.attempt(item.entry, now, status);
            if delivered {
                app.notifier.log.state(item.entry, State::Delivered);
            }
        }
        if delivered {
            return;
        }
        let next = app.clock.after(back_off);
        if next > end {
            for item in &batch {
                app.notifier.log.state(item.entry, State::GivenUp);
                if matches!(item.notification, Payload::Change(_)) {
                    lost(&app, item.subscription);
                }
            }
            return;
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = app.clock.sleep_until(next) => {}
        }
        limit = FURTHER;
        back_off = back_off.saturating_mul(2).min(LONGEST_BACK_OFF);
    }
}

/// Expired and deleted subscriptions send nothing.
fn is_wanted(app: &App, item: &Item) -> bool {
    if item.last {
        return true;
    }
    let now = app.clock.now();
    let wanted = lock(&app.subscriptions).get(item.subscription, now).is_some();
    if !wanted {
        app.notifier.log.state(item.entry, State::SubscriptionGone);
    }
    wanted
}

async fn attempt(app: &App, batch: &[Item], limit: Duration) -> Option<u16> {
    let url = &batch.first()?.url;
    let body =
        serde_json::to_vec(&Collection { value: batch.iter().map(|item| &item.notification).collect() })
            .ok()?;
    let send = app
        .outbound
        .post(url)
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .body(body)
        .send();
    let response = app.clock.bound(limit, send).await?.ok()?;
    Some(response.status().as_u16())
}
