//! One request that is claimed: permission → page → compare → append, page by page.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, booking_record::BookingState, calendar_subscription::Delivery,
    name::log_hash,
};
use roomkeeper_graph::{Cause, Decision, GoneReason, ManifestId, PageToken, UserId};
use tokio::time::{Instant, timeout};

use super::{
    compare::{Calendar, Difference, Kind, Ledger},
    pace::Pace,
    request::CLAIM,
    run::Resyncs,
};
use crate::{
    queue::{EventItem, Failure, Item},
    worker::{
        ReadError,
        event::Subject,
        outcome::Setback,
        permit::Permit,
        reader::{self, ReadFault},
        records,
        subscriptions::ObjectName,
    },
};

/// A change younger than that may still be notified.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_mins(10);

/// Longest wait for an answer of the API server.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// What was done for a request so far. Kept over a failure, so that the list goes on where it stopped.
pub(super) struct Progress {
    pub(super) requested: Timestamp,
    pub(super) began: Instant,
    calendar: Option<Reading>,
}

struct Reading {
    ledger: Ledger,
    next: Next,
    /// Records of the events that are in the queue on behalf of this request.
    appended: HashSet<String>,
    unnotified: u32,
}

enum Next {
    First,
    Page(PageToken),
    /// Every page was read; what is missing is to be appended.
    Missing,
    Nothing,
}

/// What the answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Changes that were never notified.
    Compared(u32),
    /// The calendar may not be read.
    Denied,
    /// There is no mailbox to read.
    Unreadable,
}

impl Answer {
    /// `delivery` with this answer in it.
    pub(super) fn told(self, delivery: Delivery, requested: Timestamp) -> Delivery {
        let unnotified = match self {
            Self::Compared(changes) => changes,
            Self::Denied | Self::Unreadable => 0,
        };
        Delivery {
            resync_handled: Some(Time(requested)),
            unnotified_changes: Some(unnotified),
            resync_claim: None,
            ..delivery
        }
    }
}

impl Progress {
    pub(super) fn new(requested: Timestamp) -> Self {
        Self { requested, began: Instant::now(), calendar: None }
    }

    /// Whether it is worth going on with: what was read at its beginning is not too old.
    pub(super) fn is_of(&self, requested: Timestamp) -> bool {
        self.requested == requested && self.began.elapsed() < 20 * CLAIM
    }
}

impl Resyncs {
    /// Reads what is left to read.
    pub(super) async fn read(
        &self,
        name: &ObjectName,
        subscription: &CalendarSubscription,
        progress: &mut Progress,
    ) -> Result<Answer, Setback> {
        let Some(user_id) = subscription.status.as_ref().and_then(|status| status.user_id.clone()) else {
            return Err(Setback::Unsettled);
        };
        let Ok(user) = UserId::parse(&user_id) else { return Ok(Answer::Unreadable) };
        let scope =
            ObjectName { namespace: name.namespace.clone(), name: subscription.spec.scope_ref.name.clone() };
        let Some(scope) = self.scope(&scope).await? else { return Ok(Answer::Denied) };
        // The question about this calendar, in the words of the one about an event of it.
        let question = EventItem {
            tenant_id: scope.spec.tenant_id.to_ascii_lowercase(),
            user_id: user.as_str().to_owned(),
            event_id: String::new(),
            subscription_uid: subscription.metadata.uid.clone().unwrap_or_default(),
            deleted: false,
            found: true,
            version: None,
            received_at: Timestamp::now(),
        };
        let cause = Cause::new(format!("CalendarSubscription/{}/{}", name.namespace, name.name));
        let subject = Subject { item: &question, name: name.clone(), user, cause, may_be_gone: false };
        loop {
            let Some(permit) = self.permit(&subject).await? else { return Ok(Answer::Denied) };
            let Ok(manifest) = ManifestId::parse(&permit.scope.spec.add_in.manifest_id) else {
                return Err(Setback::Failed(Failure::Rejected));
            };
            let reading = match &mut progress.calendar {
                Some(reading) => reading,
                unread => unread.insert(self.records(&subject, &permit, manifest).await?),
            };
            let differences = match &reading.next {
                Next::Nothing => return Ok(Answer::Compared(reading.unnotified)),
                Next::Missing => {
                    let missing = reading.ledger.missing();
                    self.append(&subject, reading, missing).await?;
                    reading.next = Next::Nothing;
                    continue;
                }
                Next::First => self.page(&subject, permit, manifest, None).await?,
                Next::Page(page) => self.page(&subject, permit, manifest, Some(page)).await?,
            };
            let page = match differences {
                Page::Read(page) => page,
                Page::Answer(answer) => return Ok(answer),
            };
            let differences = reading.ledger.page(&page.events, Timestamp::now());
            self.append(&subject, reading, differences).await?;
            reading.next = page.next.map_or(Next::Missing, Next::Page);
        }
    }

    /// One page, with a live permission and a place in the mailbox like any read of it.
    async fn page(
        &self,
        subject: &Subject<'_>,
        permit: Permit,
        manifest: ManifestId,
        page: Option<&PageToken>,
    ) -> Result<Page, Setback> {
        let parts = &self.worker.parts;
        let mailbox = parts.mailboxes.of(&subject.item.tenant_id, &subject.item.user_id);
        let place = mailbox.enter().await.map_err(Setback::Wait)?;
        let mut read = parts.reader.prepare(&permit.scope, &subject.cause).await.map(|()| None);
        if read.is_ok() {
            let permit = match parts.still(permit, subject).await? {
                Ok(permit) => permit,
                Err(_denied) => return Ok(Page::Answer(Answer::Denied)),
            };
            let page = self.listing.page(&permit.scope, &subject.cause, &subject.user, &manifest, page);
            read = permit.during(page).await.map(Some);
        }
        match read {
            Ok(Some(page)) => Ok(Page::Read(page)),
            Ok(None) => Err(Setback::Failed(Failure::Internal)),
            Err(error) if is_gone(&error) => {
                tracing::warn!(subscription = subject.cause.as_str(), %error, "there is no mailbox to read again");
                Ok(Page::Answer(Answer::Unreadable))
            }
            Err(error) => {
                let setback = match reader::fault(&error) {
                    ReadFault::PermitEnded => Setback::Failed(Failure::KubernetesUnavailable),
                    ReadFault::Setback(setback) => setback,
                };
                if let Setback::Wait(time) = setback {
                    place.hold(time);
                }
                tracing::warn!(subscription = subject.cause.as_str(), %error, "a calendar could not be read again yet");
                Err(setback)
            }
        }
    }

    async fn permit(&self, subject: &Subject<'_>) -> Result<Option<Permit>, Setback> {
        Ok(self.worker.parts.permit(subject).await?.ok())
    }

    async fn scope(&self, scope: &ObjectName) -> Result<Option<AccessScope>, Setback> {
        let api: Api<AccessScope> = Api::namespaced(self.client.clone(), &scope.namespace);
        match timeout(TIMEOUT, api.get_opt(&scope.name)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(Setback::Failed(records::failure(&error))),
            Err(_elapsed) => Err(Setback::Failed(Failure::KubernetesUnavailable)),
        }
    }

    async fn records(
        &self,
        subject: &Subject<'_>,
        permit: &Permit,
        manifest: ManifestId,
    ) -> Result<Reading, Setback> {
        let mut ledger = Ledger::new(Calendar {
            tenant_id: subject.item.tenant_id.clone(),
            user_id: subject.item.user_id.clone(),
            manifest,
            retention: permit.scope.spec.kept_after_end(),
            horizon: self.worker.parts.horizon,
        });
        let now = Timestamp::now();
        let take = |record: roomkeeper_crds::BookingRecord| {
            if let Some(name) = &record.metadata.name {
                ledger.record(name, record.spec, now);
            }
        };
        self.worker.parts.records.each(&subject.name, take).await.map_err(Setback::Failed)?;
        Ok(Reading { ledger, next: Next::First, appended: HashSet::new(), unnotified: 0 })
    }

    /// Hands differences to the queue; those that are there when it fails are not handed over again.
    async fn append(
        &self,
        subject: &Subject<'_>,
        reading: &mut Reading,
        differences: Vec<Difference>,
    ) -> Result<(), Setback> {
        let mut left = Vec::new();
        for difference in differences {
            let again = reading.appended.contains(&difference.record);
            if !again && !self.is_settled(subject, &difference).await? {
                left.push(difference);
            }
        }
        let old = Timestamp::now().checked_sub(ON_ITS_WAY).unwrap_or(Timestamp::MIN);
        for chunk in left.chunks(Pace::CHUNK) {
            let items: Vec<Item> = chunk.iter().map(|one| item(subject.item, &one.event_id)).collect();
            let held = self.pace.held(&items).await.map_err(Setback::Failed)?;
            self.pace.append(items).await.map_err(Setback::Failed)?;
            for (difference, held) in chunk.iter().zip(held) {
                if !held && difference.kind != Kind::Horizon && difference.last_modified < old {
                    reading.unnotified = reading.unnotified.saturating_add(1);
                }
                tracing::debug!(
                    event = log_hash(&difference.event_id),
                    kind = difference.kind.as_str(),
                    "an event differs"
                );
                self.metrics.difference(difference.kind);
                reading.appended.insert(difference.record.clone());
            }
        }
        Ok(())
    }

    /// Whether there is a record after all: made since, or under another CalendarSubscription of the same user.
    async fn is_settled(&self, subject: &Subject<'_>, difference: &Difference) -> Result<bool, Setback> {
        if difference.kind != Kind::New {
            return Ok(false);
        }
        let name = ObjectName { namespace: subject.name.namespace.clone(), name: difference.record.clone() };
        let found = self.worker.parts.records.get(&name).await.map_err(Setback::Failed)?;
        Ok(found.is_some_and(|record| {
            record.spec.state == BookingState::Booked
                && Some(&record.spec.change_key) == difference.change_key.as_ref()
        }))
    }
}

enum Page {
    Read(roomkeeper_graph::BookedPage),
    Answer(Answer),
}

fn item(question: &EventItem, event_id: &str) -> Item {
    Item::V1Event(EventItem {
        event_id: event_id.to_owned(),
        received_at: Timestamp::now(),
        ..question.clone()
    })
}

fn is_gone(error: &ReadError) -> bool {
    let ReadError::Graph(error) = error else { return false };
    matches!(error.decision(), Decision::Gone(GoneReason::UserNotFound | GoneReason::MailboxUnavailable))
}
