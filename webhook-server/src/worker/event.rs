//! One event notification: read → decide → apply.
//!
//! The record is looked at before Graph is read, and written only if it still is what was looked at. Whoever loses that
//! race starts over with a fresh read, so that an older state of the event can never overwrite a newer one, and a
//! record that was deleted does not come back from a read made before. That a record is absent may be known from a watch: the
//! create tells whether it was so. A create cannot be made to depend on what was looked
//! at: one that took long enough for others to create and delete the record meanwhile is followed by a fresh look.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use roomkeeper_crds::{
    BookingRecordSpec,
    booking_record::BookedResource,
    name::{booking_record, log_hash},
};
use roomkeeper_graph::{
    Cause, Event, EventHead, EventId, ManifestId, UserId,
    audit::{AuditEntry, AuditSink},
};

use super::{
    covered::Covered,
    decide::{self, Verdict, Write},
    delivery::{self, DeliveryReports},
    mailbox::{Mailboxes, Place},
    outcome::{Outcome, Setback},
    permission::{Answer, Denial, Permissions},
    permit::Permit,
    reader::{self, ReadError, ReadFault, Reader, Wanted},
    reading::{ReadSeries, Reading},
    records::{Look, Records, Written},
    series::Horizon,
    spec::{self, Keeping},
    subscriptions::{ObjectName, Subscriptions},
};
use crate::queue::{EventItem, Failure};

/// Times that one attempt starts over: after a lost race, or for a series' master.
const STARTS: u32 = 4;

/// Times that a permit is asked for again because preparing took longer than it holds.
const ASKS: u32 = 3;

/// From the look at an absent record to the answer to its create: beyond it, others may have created and deleted it meanwhile.
const PROMPT: Duration = Duration::from_secs(1);

/// What work on items needs.
pub(super) struct Parts {
    pub(super) subscriptions: Subscriptions,
    pub(super) permissions: Arc<dyn Permissions>,
    pub(super) reader: Arc<dyn Reader>,
    pub(super) records: Records,
    pub(super) delivery: DeliveryReports,
    pub(super) audit: Arc<dyn AuditSink>,
    pub(super) mailboxes: Mailboxes,
    pub(super) horizon: Horizon,
    pub(super) covered: Covered,
}

/// What became of one start.
pub(super) enum Start {
    Done(Outcome),
    /// From the beginning, and if that happens too often, with this failure.
    Over(Failure),
    /// The event is one of this series.
    Series(EventId),
}

/// What the minimal read gave.
enum Seen {
    /// There was no answer, or none was asked for.
    Nothing,
    /// The event is not there.
    Gone,
    Head(EventHead),
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
        // Of an earlier start too: who lost a race to a record of this version has read it all the same.
        let mut seen = Seen::Nothing;
        for _ in 0..STARTS {
            // On the heap: two reads and a write are more than a task should be moved around with.
            match Box::pin(self.start(&subject, &event, place, &mut seen)).await? {
                Start::Done(outcome) => {
                    match &seen {
                        Seen::Nothing => {}
                        Seen::Gone => self.covered.read(item, None),
                        Seen::Head(head) => self.covered.read(item, Some(head)),
                    }
                    return Ok(outcome);
                }
                Start::Over(failure) => last = failure,
                Start::Series(master) => {
                    (event, seen) = (master, Seen::Nothing);
                    // The notification was of the occurrence: nothing is known of the master yet.
                    subject.may_be_gone = found_missing >= super::MISSING_LOOKS;
                }
            }
        }
        Err(Setback::Failed(last))
    }

    /// `seen` is set to what the minimal read gave, once there is an answer.
    async fn start(
        &self,
        subject: &Subject<'_>,
        event: &EventId,
        place: &Place,
        seen: &mut Seen,
    ) -> Result<Start, Setback> {
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
        let looked = Instant::now();
        let mut look = self.records.look(&record).await.map_err(Setback::Failed)?;
        let is_covered = |look: &Look| {
            let spec = look.record.as_ref().map(|record| &record.spec);
            event.as_str() == item.event_id && self.covered.holds(item, spec)
        };
        if !look.live && is_covered(&look) {
            look = self.records.ask(&record).await.map_err(Setback::Failed)?;
        }
        if is_covered(&look) {
            let known = look.record.as_ref().map(|record| record.spec.i_cal_u_id.clone());
            self.record_notification(subject, &permit, event, known).await?;
            return Ok(Start::Done(Outcome::Duplicate));
        }
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
        let known = head.as_ref().map(|head| head.i_cal_u_id.clone());
        self.record_notification(subject, &permit, event, known).await?;
        *seen = head.clone().map_or(Seen::Gone, Seen::Head);

        let site = |permit| Site { parts: self, item, record: &record, look: &look, looked, permit };
        let Some(head) = head else { return site(&permit).without_booking().await };
        let verdict = decide::verdict(&head, &manifest);
        if verdict == Verdict::NoBooking {
            return site(&permit).without_booking().await;
        }
        let reading = Reading { parts: self, subject, wanted: &wanted, place };
        if verdict == Verdict::OfSeries {
            return Ok(match reading.master(permit).await? {
                Ok((_, master)) => Start::Series(master),
                Err(start) => start,
            });
        }
        let (permit, event) = match reading.event(permit).await? {
            Ok(read) => read,
            Err(start) => return Ok(start),
        };
        // The event may have changed since the minimal read: the newer answer decides.
        let properties = match decide::verdict(&event.head, &manifest) {
            Verdict::Books(resources) => Ok(resources),
            Verdict::Malformed(error) => Err(error.to_string()),
            Verdict::NoBooking => return site(&permit).without_booking().await,
            // What was no part of a series is one now: another look tells which.
            Verdict::OfSeries => return Ok(Start::Over(Failure::Conflict)),
        };
        let (permit, series) = match reading.series(permit, &event).await? {
            Ok(read) => read,
            Err(start) => return Ok(start),
        };
        site(&permit).with_event(item, &event, properties, series, &manifest).await
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
        i_cal_u_id: Option<String>,
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
            i_cal_u_id,
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
    item: &'a EventItem,
    record: &'a ObjectName,
    /// As it stood before Graph was read.
    look: &'a Look,
    /// When that was.
    looked: Instant,
    permit: &'a Permit,
}

impl Site<'_> {
    /// `properties` are the spaces, or the reason why there are none.
    async fn with_event(
        &self,
        item: &EventItem,
        event: &Event,
        properties: Result<Vec<BookedResource>, String>,
        series: Option<ReadSeries>,
        manifest: &ManifestId,
    ) -> Result<Start, Setback> {
        let scope = &self.permit.scope.spec;
        // The reference is immutable: a calendar that is followed by another object now keeps its records.
        let subscription = self
            .spec()
            .map(|spec| spec.subscription_ref.name.as_str())
            .or(self.permit.subscription.metadata.name.as_deref())
            .unwrap_or_default();
        let private_subject =
            scope.booking.as_ref().map(|booking| booking.private_subject).unwrap_or_default();
        let keeping = Keeping { private_subject, subscription };
        let booked = properties.and_then(|resources| {
            let recurrence = series.as_ref().map(|series| series.filled(event, &resources, manifest));
            let recurrence = recurrence.transpose().map_err(|error| error.to_string())?;
            spec::build(event, resources, recurrence, keeping).map_err(|error| error.to_string())
        });
        let desired = booked.or_else(|reason| {
            tracing::warn!(event = log_hash(&item.event_id), reason, "an event cannot be booked");
            let outline = series.as_ref().and_then(|series| series.outlined(event));
            spec::build_invalid(event, &reason, outline, keeping)
        });
        let desired = match desired {
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
        let (written, outcome) = match (write, &self.look.record) {
            (Write::Nothing(outcome), _) => {
                let appeared = !self.look.live
                    && self.parts.records.get(self.record).await.map_err(Setback::Failed)?.is_some();
                return Ok(if appeared { Start::Over(Failure::Conflict) } else { Start::Done(outcome) });
            }
            (Write::Create(spec), _) => {
                let scope = &self.permit.subscription.spec.scope_ref.name;
                let created = self.parts.records.create(self.record, scope, *spec).await;
                if created == Ok(Written::Done) && self.looked.elapsed() > PROMPT {
                    self.parts.covered.doubt(self.item);
                    return Ok(Start::Over(Failure::Conflict));
                }
                (created, Outcome::Created)
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
        self.look.record.as_ref().map(|record| &record.spec)
    }

    fn retention(&self) -> Duration {
        self.permit.scope.spec.kept_after_end()
    }
}

fn scope_name(permit: &Permit) -> String {
    let meta = &permit.scope.metadata;
    format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
}

/// What a failed read means to this start.
pub(super) fn started_over(
    subject: &Subject<'_>,
    place: &Place,
    error: &ReadError,
) -> Result<Start, Setback> {
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
