//! What is read of an event after its minimal read: the listed fields, and of a series its occurrences. Each request has a permit
//! that is no older than it may be.

use jiff::Timestamp;
use roomkeeper_crds::booking_record::{BookedResource, Recurrence};
use roomkeeper_graph::{Event, EventId, ManifestId, Occurrence, Window};

use super::{
    event::{Parts, Start, Subject, started_over},
    mailbox::Place,
    outcome::Setback,
    permit::Permit,
    reader::Wanted,
    series::{self, MAX_OCCURRENCES},
    spec::{self, SpecError},
};
use crate::queue::Failure;

/// What a read came to: the answer with the permit that it was read with, or the end of this start.
pub(super) type Step<T> = Result<(Permit, T), Start>;

/// One event that is being read.
pub(super) struct Reading<'a> {
    pub(super) parts: &'a Parts,
    pub(super) subject: &'a Subject<'a>,
    pub(super) wanted: &'a Wanted,
    pub(super) place: &'a Place,
}

/// A series as it was read.
pub(super) struct ReadSeries {
    recurrence: Result<Recurrence, SpecError>,
    occurrences: Vec<Occurrence>,
    window: Window,
}

impl ReadSeries {
    /// Pattern and range with the occurrences that book these spaces.
    pub(super) fn filled(
        &self,
        event: &Event,
        resources: &[BookedResource],
        manifest: &ManifestId,
    ) -> Result<Recurrence, SpecError> {
        let mut recurrence = self.recurrence.clone()?;
        let found = (self.occurrences.as_slice(), &self.window);
        series::fill(&mut recurrence, event, found, resources, manifest)?;
        Ok(recurrence)
    }

    /// As much of it as a record holds that books nothing.
    pub(super) fn outlined(&self, event: &Event) -> Option<Recurrence> {
        let mut recurrence = self.recurrence.clone().ok()?;
        series::outline(&mut recurrence, event, (&self.occurrences, &self.window));
        Some(recurrence)
    }
}

impl Reading<'_> {
    /// The series that the event is one of.
    pub(super) async fn master(&self, permit: Permit) -> Result<Step<EventId>, Setback> {
        let permit = match self.parts.still(permit, self.subject).await? {
            Ok(permit) => permit,
            Err(outcome) => return Ok(Err(Start::Done(outcome))),
        };
        match permit.during(self.parts.reader.master(&permit.scope, self.wanted)).await {
            Ok(Some(master)) => Ok(Ok((permit, master))),
            // Graph promises the id on every occurrence and exception.
            Ok(None) => Err(Setback::Failed(Failure::Rejected)),
            Err(error) => Ok(Err(started_over(self.subject, self.place, &error)?)),
        }
    }

    /// The listed fields.
    pub(super) async fn event(&self, permit: Permit) -> Result<Step<Event>, Setback> {
        let permit = match self.parts.still(permit, self.subject).await? {
            Ok(permit) => permit,
            Err(outcome) => return Ok(Err(Start::Done(outcome))),
        };
        match permit.during(self.parts.reader.full(&permit.scope, self.wanted)).await {
            Ok(event) => Ok(Ok((permit, event))),
            Err(error) => Ok(Err(started_over(self.subject, self.place, &error)?)),
        }
    }

    /// The occurrences, where it is a series.
    pub(super) async fn series(
        &self,
        permit: Permit,
        event: &Event,
    ) -> Result<Step<Option<ReadSeries>>, Setback> {
        let Some(recurrence) = &event.recurrence else { return Ok(Ok((permit, None))) };
        let recurrence = spec::recurrence(recurrence);
        let window = self.parts.horizon.window(Timestamp::now());
        let (mut permit, mut occurrences, mut next) = (permit, Vec::new(), None);
        loop {
            permit = match self.parts.still(permit, self.subject).await? {
                Ok(permit) => permit,
                Err(outcome) => return Ok(Err(Start::Done(outcome))),
            };
            let page = self.parts.reader.occurrences(&permit.scope, self.wanted, &window, next.as_ref());
            match permit.during(page).await {
                Ok(page) => {
                    occurrences.extend(page.occurrences);
                    next = page.next;
                }
                Err(error) => return Ok(Err(started_over(self.subject, self.place, &error)?)),
            }
            // More than a record holds is as good as all of them.
            if next.is_none() || occurrences.len() > MAX_OCCURRENCES {
                return Ok(Ok((permit, Some(ReadSeries { recurrence, occurrences, window }))));
            }
        }
    }
}
