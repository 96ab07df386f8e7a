//! One event notification: read → decide → apply.
//!
//! The record is looked at before Graph is read, and written only if it still is what was looked at. Whoever loses that
//! race starts over with a fresh read, so that an older state of the event can never overwrite a newer one, and a
//! record that was deleted does not come back from a read made before.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use roomkeeper_crds::{
    BookingRecord, BookingRecordSpec,
    name::{booking_record, log_hash},
};
use roomkeeper_graph::{
    Cause, Event, EventHead, EventId, ManifestId, UserId,
    audit::{AuditEntry, AuditSink},
};

use super::{
    decide::{self, Verdict, Write},
    delivery::{self, DeliveryReports},
    mailbox::{Mailboxes, Place},
    outcome::{Outcome, Setback},
    permission::{Answer, Denial, Permissions},
    permit::Permit,
    reader::{self, ReadError, ReadFault, Reader, Wanted},
    records::{Records, Written},
    spec,
    subscriptions::{ObjectName, Subscriptions},
};
use crate::queue::{EventItem, Failure};

/// Times that one attempt starts over: after a lost race, or for a series' master.
const STARTS: u32 = 4;

/// Times that a permit is asked for again because preparing took longer than it holds.
const ASKS: u32 = 3;

/// What work on items needs.
pub(super) struct Parts {
    pub(super) subscriptions: Subscriptions,
    pub(super) permissions: Arc<dyn Permissions>,
    pub(super) reader: Arc<dyn Reader>,
    pub(super) records: Records,
    pub(super) delivery: DeliveryReports,
    pub(super) audit: Arc<dyn AuditSink>,
    pub(super) mailboxes: Mailboxes,
}

/// What became of one start.
enum Start {
    Done(Outcome),
    /// From the beginning, and if that happens too often, with this failure.
    Over(Failure),
    /// The event is one of this series.
    Series(EventId),
}

/// Ids of the item, checked.
pub(super) struct Subject<'a> {
    pub(super) item: &'a EventItem,
    pub(super) name: ObjectName,
    pub(super) user: UserId,
    pub(super) cause: Cause,
    /// Not found is not news: Graph said `deleted`, or it was looked for often enough.
    pub(super) may_be_gone: bool,
}

impl Parts {
    /// Works on one change at its place in the mailbox. `found_missing` is how often the event was not found before.
    pub(super) async fn event(
        &self,
        item: &EventItem,
        place: &Place,
        found_missing: u32,
    ) -> Result<Outcome, Setback> {
        let (Ok(user), Ok(mut event)) = (UserId::parse(&item.user_id), EventId::parse(&item.event_id)) else {
            return Ok(Outcome::Invalid);
        };
        let Some(name) = self.subscriptions.find(&item.subscription_uid) else {
            return Err(Setback::Unsettled);
        };
        let cause = Cause::new(format!("CalendarSubscription/{}/{}", name.namespace, name.name));
        let may_be_gone = item.deleted || found_missing >= super::MISSING_LOOKS;
        let mut subject = Subject { item, name, user, cause, may_be_gone };
        let mut last = Failure::Conflict;
        for _ in 0..STARTS {
            match self.start(&subject, &event, place).await? {
                Start::Done(outcome) => return Ok(outcome),
                Start::Over(failure) => last = failure,
                Start::Series(master) => {
                    event = master;
                    // The notification was of the occurrence: nothing is known of the master yet.
                    subject.may_be_gone = found_missing >= super::MISSING_LOOKS;
                }
            }
        }
        Err(Setback::Failed(last))
    }

    async fn start(&self, subject: &Subject<'_>, event: &EventId, place: &Place) -> Result<Start, Setback> {
        let permit = match self.permit(subject).await? {
            Ok(permit) => permit,
            Err(outcome) => return Ok(Start::Done(outcome)),
        };
        self.report_receiving(subject.item, &permit).await;
        let Ok(manifest) = ManifestId::parse(&permit.scope.spec.add_in.manifest_id) else {
            return Err(Setback::Failed(Failure::Rejected));
        };
        if let Err(error) = self.reader.prepare(&permit.scope, &subject.cause).await {
            return started_over(subject, place, &error);
        }
        let item = subject.item;
        let record = ObjectName {
            namespace: subject.name.namespace.clone(),
            name: booking_record(&item.tenant_id, &item.user_id, event.as_str()),
        };
        let existing = self.records.get(&record).await.map_err(Setback::Failed)?;
        let wanted =
            Wanted { cause: subject.cause.clone(), user: subject.user, event: event.clone(), manifest };

        let permit = match self.still(permit, subject).await? {
            Ok(permit) => permit,
            Err(outcome) => return Ok(Start::Done(outcome)),
        };
        let head = match permit.during(self.reader.head(&permit.scope, &wanted)).await {
            Ok(head) => Some(head),
            Err(error) => match reader::fault(&error) {
                ReadFault::Setback(Setback::Missing) if subject.may_be_gone => None,
                _ => return started_over(subject, place, &error),
            },
        };
        self.record_notification(subject, &permit, event, head.as_ref()).await?;

        let site = Site { parts: self, record: &record, existing: existing.as_ref(), permit: &permit };
        let Some(head) = head else { return site.without_booking().await };
        match decide::verdict(&head, &manifest) {
            Verdict::NoBooking => return site.without_booking().await,
            Verdict::Malformed(error) => return Ok(Start::Done(malformed(item, &error))),
            Verdict::OfSeries | Verdict::Books(_) => {}
        }

        let permit = match self.still(permit, subject).await? {
            Ok(permit) => permit,
            Err(outcome) => return Ok(Start::Done(outcome)),
        };
        let full = match permit.during(self.reader.full(&permit.scope, &wanted)).await {
            Ok(full) => full,
            Err(error) => return started_over(subject, place, &error),
        };
        let site = Site { parts: self, record: &record, existing: existing.as_ref(), permit: &permit };
        site.with_event(item, &full, &manifest).await
    }

    /// A fresh permit, or the outcome where there is none.
    pub(super) async fn permit(&self, subject: &Subject<'_>) -> Result<Result<Permit, Outcome>, Setback> {
        match self.permissions.ask(&subject.name, subject.item).await.map_err(Setback::Failed)? {
            Answer::Allowed(permit) => Ok(Ok(*permit)),
            Answer::Unsettled => Err(Setback::Unsettled),
            Answer::Locked => Err(Setback::Failed(Failure::AccessDenied)),
            Answer::Denied(Denial::WrongUser) => {
                let (user, subscription) =
                    (log_hash(&subject.item.user_id), log_hash(&subject.item.subscription_uid));
                tracing::warn!(user, subscription, "dropped a notification of another user's calendar");
                Ok(Err(Outcome::WrongUser))
            }
            Answer::Denied(denial) => {
                tracing::debug!(?denial, "a notification was dropped unread");
                Ok(Err(Outcome::Denied))
            }
        }
    }

    /// The same permit while it holds, else a fresh one.
    pub(super) async fn still(
        &self,
        permit: Permit,
        subject: &Subject<'_>,
    ) -> Result<Result<Permit, Outcome>, Setback> {
        let mut permit = permit;
        for _ in 0..ASKS {
            if permit.holds() {
                break;
            }
            permit = match self.permit(subject).await? {
                Ok(permit) => permit,
                Err(outcome) => return Ok(Err(outcome)),
            };
        }
        Ok(Ok(permit))
    }

    /// A failure is no reason to hold the notification up: the next one tries again.
    async fn report_receiving(&self, item: &EventItem, permit: &Permit) {
        let delivery = permit.subscription.status.as_ref().and_then(|status| status.delivery.as_ref());
        if item.found || !delivery::is_news(delivery, item.received_at) {
            return;
        }
        if let Err(failure) = self.delivery.receiving(&permit.subscription, item.received_at).await {
            tracing::warn!(failure = failure.as_str(), "status.delivery.state could not be written yet");
        }
    }

    async fn record_notification(
        &self,
        subject: &Subject<'_>,
        permit: &Permit,
        event: &EventId,
        head: Option<&EventHead>,
    ) -> Result<(), Setback> {
        if subject.item.found {
            // Nothing was notified; the reads have entries of their own.
            return Ok(());
        }
        let entry = AuditEntry::Notification {
            time: Timestamp::now(),
            scope: scope_name(permit),
            tenant_id: subject.item.tenant_id.clone(),
            user_id: subject.user,
            event_id: event.clone(),
            i_cal_u_id: head.map(|head| head.i_cal_u_id.clone()),
            caused_by: subject.cause.clone(),
        };
        self.audit.record(entry).await.map_err(|error| {
            tracing::error!(%error, "the audit does not take the notification");
            Setback::Failed(Failure::AuditUnavailable)
        })
    }
}

/// Where a decision is applied.
struct Site<'a> {
    parts: &'a Parts,
    record: &'a ObjectName,
    /// As it stood before Graph was read.
    existing: Option<&'a BookingRecord>,
    permit: &'a Permit,
}

impl Site<'_> {
    async fn with_event(
        &self,
        item: &EventItem,
        event: &Event,
        manifest: &ManifestId,
    ) -> Result<Start, Setback> {
        // The event may have changed since the minimal read: the newer answer decides.
        let resources = match decide::verdict(&event.head, manifest) {
            Verdict::Books(resources) => resources,
            Verdict::NoBooking => return self.without_booking().await,
            Verdict::Malformed(error) => return Ok(Start::Done(malformed(item, &error))),
            Verdict::OfSeries => return master(event),
        };
        let scope = &self.permit.scope.spec;
        let private_subject =
            scope.booking.as_ref().map(|booking| booking.private_subject).unwrap_or_default();
        // The reference is immutable: a calendar that is followed by another object now keeps its records.
        let subscription = self
            .spec()
            .map(|spec| spec.subscription_ref.name.as_str())
            .or(self.permit.subscription.metadata.name.as_deref())
            .unwrap_or_default();
        let desired = match spec::build(event, resources, private_subject, subscription) {
            Ok(desired) => desired,
            Err(error) => {
                tracing::warn!(event = log_hash(&item.event_id), %error, "an event does not fit into a BookingRecord");
                return Ok(Start::Done(Outcome::Unfit));
            }
        };
        let write = decide::with_booking(self.spec(), desired, self.retention(), Timestamp::now());
        self.apply(write).await
    }

    async fn without_booking(&self) -> Result<Start, Setback> {
        let write = decide::without_booking(self.spec(), self.retention(), Timestamp::now());
        self.apply(write).await
    }

    async fn apply(&self, write: Write) -> Result<Start, Setback> {
        let (written, outcome) = match (write, self.existing) {
            (Write::Nothing(outcome), _) => return Ok(Start::Done(outcome)),
            (Write::Create(spec), _) => {
                let scope = &self.permit.subscription.spec.scope_ref.name;
                (self.parts.records.create(self.record, scope, *spec).await, Outcome::Created)
            }
            (Write::Replace(spec, outcome), Some(existing)) => {
                (self.parts.records.replace(existing, self.record, *spec).await, outcome)
            }
            (Write::Replace(..), None) => return Err(Setback::Failed(Failure::Internal)),
        };
        match written.map_err(Setback::Failed)? {
            Written::Done => Ok(Start::Done(outcome)),
            Written::Conflict => Ok(Start::Over(Failure::Conflict)),
        }
    }

    fn spec(&self) -> Option<&BookingRecordSpec> {
        self.existing.map(|record| &record.spec)
    }

    fn retention(&self) -> Duration {
        self.permit.scope.spec.kept_after_end()
    }
}

fn scope_name(permit: &Permit) -> String {
    let meta = &permit.scope.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

fn master(event: &Event) -> Result<Start, Setback> {
    match event.series_master_id.as_deref().map(EventId::parse) {
        Some(Ok(master)) => Ok(Start::Series(master)),
        // Graph promises the id on every occurrence and exception.
        None | Some(Err(_)) => Err(Setback::Failed(Failure::Rejected)),
    }
}

fn malformed(item: &EventItem, error: &super::add_in::AddInError) -> Outcome {
    tracing::warn!(event = log_hash(&item.event_id), %error, "the add-in's property is not taken; a record stays as it is");
    Outcome::Malformed
}

/// What a failed read means to this start.
fn started_over(subject: &Subject<'_>, place: &Place, error: &ReadError) -> Result<Start, Setback> {
    match reader::fault(error) {
        // Asking takes longer than the answer holds: the surroundings are slow, the item is not to blame.
        ReadFault::PermitEnded => Ok(Start::Over(Failure::KubernetesUnavailable)),
        ReadFault::Setback(setback) => {
            if let Setback::Wait(time) = setback {
                place.hold(time);
            }
            if setback != Setback::Missing {
                let subscription = log_hash(&subject.item.subscription_uid);
                tracing::warn!(subscription, %error, "an event could not be read");
            }
            Err(setback)
        }
    }
}
