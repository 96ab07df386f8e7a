//! What a replica does while it leads.

use std::{
    sync::{Arc, RwLock},
    time::Duration,
};

use roomkeeper_crds::{AccessScope, BookingRecord, CalendarSubscription, ConsentRecord};
use roomkeeper_service::health::Gate;
use tokio::{
    sync::mpsc::unbounded_channel,
    task::{JoinError, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    access_scope, calendar_subscription,
    context::{Context, Process},
    controller,
    kept::Kept,
    keys,
    watch::follow,
};

/// Time between two looks at the keys behind clientState.
const KEYS: Duration = Duration::from_secs(10);

/// A part of the leadership ended that should not have.
#[derive(Debug, thiserror::Error)]
pub enum LeadError {
    /// A task panicked.
    #[error("a task of the operator failed: {0}")]
    Task(#[from] JoinError),
    /// A watch ended.
    #[error("a watch ended")]
    Watch,
}

/// Watches and reconciles until `draining`, and then until what is under way has ended. Dropping it ends all at once.
///
/// # Errors
/// When a part ends by itself, which is a mistake in this program; the caller gives the lease up.
pub async fn lead(
    process: Arc<Process>,
    keys_gate: &Gate,
    draining: CancellationToken,
) -> Result<(), LeadError> {
    let ring = tokio::select! {
        ring = keys::load(&process.kube, &process.settings.namespace, keys_gate) => ring,
        () = draining.cancelled() => return Ok(()),
    };
    let (scope_queue, scope_requests) = unbounded_channel();
    let (subscription_queue, subscription_requests) = unbounded_channel();
    let (consent_queue, consent_requests) = unbounded_channel();
    let (booking_queue, booking_requests) = unbounded_channel();
    let holds = crate::holds::Holds::new(process.clock.clone());
    let context = Arc::new(Context {
        process,
        keys: RwLock::new(Arc::new(ring)),
        scopes: Kept::new(scope_queue),
        subscriptions: Kept::new(subscription_queue),
        consents: Kept::new(consent_queue),
        bookings: Kept::new(booking_queue),
        directory: access_scope::directory::Directory::default(),
        memory: access_scope::memory::Memory::default(),
        watched: crate::calendar_subscription::watched::Watched::default(),
        sightings: crate::calendar_subscription::sightings::Sightings::default(),
        bursts: crate::calendar_subscription::bulk::Bursts::default(),
        holds,
        quotas: crate::booking_record::quota::Quotas::default(),
        deletions: crate::booking_record::deletions::Deletions::default(),
        purges: crate::booking_record::purge::Purges::default(),
        horizons: crate::calendar_subscription::horizon::Horizons::default(),
        conflicts: crate::booking_record::conflicts::Conflicts::default(),
        mailboxes: crate::booking_record::write_back::Mailboxes::default(),
        failures: std::sync::Mutex::default(),
    });

    let mut watches = JoinSet::new();
    watches.spawn(follow::<AccessScope>(Arc::clone(&context)));
    watches.spawn(follow::<CalendarSubscription>(Arc::clone(&context)));
    watches.spawn(follow::<ConsentRecord>(Arc::clone(&context)));
    watches.spawn(follow::<BookingRecord>(Arc::clone(&context)));
    watches.spawn(access_scope::counts(Arc::clone(&context)));
    watches.spawn(access_scope::credential::follow_secrets(Arc::clone(&context)));
    watches.spawn(refresh_keys(Arc::clone(&context)));
    watches.spawn(calendar_subscription::rotation::pace(Arc::clone(&context)));
    #[cfg(feature = "rehearsal")]
    watches.spawn(crate::clock::rehearsal::follow(Arc::clone(&context)));

    // A decision needs the objects around it: nothing is decided before every list is complete.
    let complete = async {
        context.scopes.complete().await;
        context.subscriptions.complete().await;
        context.consents.complete().await;
        context.bookings.complete().await;
    };
    tokio::select! {
        () = complete => {}
        ended = watches.join_next() => return Err(ended_early(ended)),
        () = draining.cancelled() => return Ok(()),
    }
    tracing::info!(
        scopes = context.scopes.len(),
        subscriptions = context.subscriptions.len(),
        consents = context.consents.len(),
        bookings = context.bookings.len(),
        "lists complete; reconciling"
    );

    let mut controllers = JoinSet::new();
    controllers.spawn(controller::run::<AccessScope>(Arc::clone(&context), scope_requests, draining.clone()));
    controllers.spawn(controller::run::<CalendarSubscription>(
        Arc::clone(&context),
        subscription_requests,
        draining.clone(),
    ));
    controllers.spawn(controller::run::<ConsentRecord>(
        Arc::clone(&context),
        consent_requests,
        draining.clone(),
    ));
    controllers.spawn(controller::run::<BookingRecord>(context, booking_requests, draining.clone()));
    loop {
        tokio::select! {
            ended = watches.join_next() => return Err(ended_early(ended)),
            ended = controllers.join_next() => match ended {
                None => return Ok(()),
                Some(Ok(())) if draining.is_cancelled() => {}
                Some(Ok(())) => return Err(LeadError::Watch),
                Some(Err(error)) => return Err(error.into()),
            },
        }
    }
}

fn ended_early(ended: Option<Result<(), JoinError>>) -> LeadError {
    match ended {
        Some(Err(error)) => LeadError::Task(error),
        _ => LeadError::Watch,
    }
}

/// Takes over new keys. Subscriptions made with another key than the current one are then made anew, each at its turn; those
/// made with a key that was taken away at once, because nothing of theirs is believed any more.
async fn refresh_keys(context: Arc<Context>) {
    loop {
        tokio::time::sleep(KEYS).await;
        let process = &context.process;
        let ring = match keys::read_or_make(&process.kube, &process.settings.namespace).await {
            Ok(ring) => ring,
            Err(error) => {
                tracing::warn!(%error, "the keys for clientState could not be read; the known ones stay");
                continue;
            }
        };
        let before = context.ring();
        let signs_anew = ring.current_id() != before.current_id();
        let lost = before.ids().filter(|id| !ring.knows(id)).count();
        if signs_anew {
            tracing::info!(key_id = ring.current_id(), "another key signs clientState from now on");
        }
        context.set_ring(ring);
        if lost > 0 {
            let ring = context.ring();
            let holders = context.watched.signed_by(|id| !ring.knows(id));
            tracing::warn!(
                keys = lost,
                subscriptions = holders.len(),
                "keys for clientState were taken away; what they signed is made anew"
            );
            context.subscriptions.trigger_all(holders);
        }
        if signs_anew {
            // For what a status does not know the key of.
            context.memory.sweep_all();
            context.scopes.trigger_all(context.scopes.keys());
        }
    }
}
