//! A calendar in memory behind the worker's `Reader`, whose answers can be held.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use jiff::{Timestamp, ToSpan as _};
use least_data::canary;
use roomkeeper_crds::AccessScope;
use roomkeeper_graph::{
    BookedEvent, BookedPage, Cause, Decision, Event, EventHead, EventId, EventType, GoneReason, GraphError,
    ManifestId, Occurrence, OccurrencePage, PageToken, Purpose, Refusal, Sensitivity, UserId, Window,
};
use roomkeeper_webhook_server::worker::{Listing, ReadError, Reader, Wanted};
use serde_json::json;
use tokio::sync::oneshot;

use super::world::EVENT;

/// What everybody sees.
#[derive(Default)]
pub struct Calendar {
    events: Mutex<HashMap<String, Event>>,
}

impl Calendar {
    pub fn put(&self, event: Event) {
        self.events.lock().unwrap().insert(event.head.id.as_str().to_owned(), event);
    }

    pub fn remove(&self, id: &str) {
        self.events.lock().unwrap().remove(id);
    }

    /// What a list of the booked events holds.
    fn booked(&self) -> Vec<BookedEvent> {
        let events = self.events.lock().unwrap();
        let booked = events.values().filter(|event| event.head.add_in_value.is_some());
        booked
            .map(|event| BookedEvent {
                head: event.head.clone(),
                start: event.start,
                end: event.end,
                is_all_day: event.is_all_day,
                recurrence: event.recurrence.clone(),
            })
            .collect()
    }

    fn get(&self, wanted: &Wanted, purpose: Purpose) -> Result<Event, ReadError> {
        self.events.lock().unwrap().get(wanted.event.as_str()).cloned().ok_or_else(|| {
            ReadError::Graph(GraphError::Refused(Box::new(Refusal {
                purpose,
                status: 404,
                code: "ErrorItemNotFound".to_owned(),
                inner_status: None,
                request_id: None,
                client_request_id: uuid::Uuid::nil(),
                decision: Decision::Gone(GoneReason::EventNotFound),
            })))
        })
    }
}

/// One worker's way to the calendar.
pub struct Reads {
    calendar: Arc<Calendar>,
    log: Mutex<Vec<Purpose>>,
    hold: Mutex<Option<(oneshot::Sender<()>, oneshot::Receiver<()>)>>,
}

/// A full read whose answer has left Graph and has not reached the worker yet.
pub struct Held {
    reached: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

impl Held {
    pub async fn reached(&mut self) {
        (&mut self.reached).await.unwrap();
    }

    pub fn release(self) {
        self.release.send(()).unwrap();
    }
}

impl Reads {
    pub fn of(calendar: &Arc<Calendar>) -> Arc<Self> {
        Arc::new(Self { calendar: Arc::clone(calendar), log: Mutex::default(), hold: Mutex::default() })
    }

    /// Holds the answer of the next full read.
    pub fn hold_next(&self) -> Held {
        let (reached_sender, reached) = oneshot::channel();
        let (release, released) = oneshot::channel();
        *self.hold.lock().unwrap() = Some((reached_sender, released));
        Held { reached, release }
    }

    pub fn log(&self) -> Vec<Purpose> {
        self.log.lock().unwrap().clone()
    }

    pub fn full_reads(&self) -> usize {
        self.log().iter().filter(|purpose| **purpose == Purpose::EventFullRead).count()
    }
}

#[async_trait]
impl Reader for Reads {
    async fn prepare(&self, _: &AccessScope, _: &Cause) -> Result<(), ReadError> {
        Ok(())
    }

    async fn head(&self, _: &AccessScope, wanted: &Wanted) -> Result<EventHead, ReadError> {
        self.log.lock().unwrap().push(Purpose::EventMinimalRead);
        self.calendar.get(wanted, Purpose::EventMinimalRead).map(|event| event.head)
    }

    async fn full(&self, _: &AccessScope, wanted: &Wanted) -> Result<Event, ReadError> {
        self.log.lock().unwrap().push(Purpose::EventFullRead);
        let answer = self.calendar.get(wanted, Purpose::EventFullRead);
        let hold = self.hold.lock().unwrap().take();
        if let Some((reached, release)) = hold {
            reached.send(()).unwrap();
            release.await.unwrap();
        }
        answer
    }

    async fn master(&self, _: &AccessScope, wanted: &Wanted) -> Result<Option<EventId>, ReadError> {
        let event = self.calendar.get(wanted, Purpose::EventMinimalRead)?;
        Ok(event.series_master_id.map(|id| EventId::parse(&id).unwrap()))
    }

    async fn occurrences(
        &self,
        _: &AccessScope,
        wanted: &Wanted,
        _: &Window,
        page: Option<&PageToken>,
    ) -> Result<OccurrencePage, ReadError> {
        assert_eq!(page, None, "there is one page");
        self.log.lock().unwrap().push(Purpose::Occurrences);
        // Of a series there is the first occurrence.
        let master = self.calendar.get(wanted, Purpose::Occurrences)?;
        let occurrence = Occurrence {
            is_cancelled: false,
            start: master.start,
            end: master.end,
            original_start: Some(master.start),
            add_in_value: master.head.add_in_value,
        };
        Ok(OccurrencePage { occurrences: vec![occurrence], next: None })
    }
}

/// One worker's way to the list, in one page.
pub struct Lists {
    calendar: Arc<Calendar>,
    /// Answers that are errors, before the first list.
    failures: AtomicUsize,
    asked: AtomicUsize,
}

impl Lists {
    pub fn of(calendar: &Arc<Calendar>) -> Arc<Self> {
        Self::failing(calendar, 0)
    }

    /// Fails that often at first.
    pub fn failing(calendar: &Arc<Calendar>, failures: usize) -> Arc<Self> {
        let failures = AtomicUsize::new(failures);
        Arc::new(Self { calendar: Arc::clone(calendar), failures, asked: AtomicUsize::new(0) })
    }

    /// Times that it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Listing for Lists {
    async fn page(
        &self,
        _: &AccessScope,
        _: &Cause,
        _: &UserId,
        _: &ManifestId,
        page: Option<&PageToken>,
    ) -> Result<BookedPage, ReadError> {
        assert_eq!(page, None, "there is one page");
        self.asked.fetch_add(1, Ordering::SeqCst);
        let less = |left: usize| left.checked_sub(1);
        if self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            return Err(ReadError::Graph(GraphError::Refused(Box::new(Refusal {
                purpose: Purpose::Resync,
                status: 503,
                code: "ServiceUnavailable".to_owned(),
                inner_status: None,
                request_id: None,
                client_request_id: uuid::Uuid::nil(),
                decision: Decision::Retry,
            }))));
        }
        Ok(BookedPage { events: self.calendar.booked(), next: None })
    }
}

/// What no log may hold.
pub fn subject(version: u32) -> String {
    format!("{} {version}", canary::SUBJECT)
}

/// The event tomorrow, in a version that shows in its change key and subject.
pub fn event(version: u32) -> Event {
    let start = Timestamp::from_second(Timestamp::now().as_second()).unwrap() + 24.hours();
    Event {
        head: EventHead {
            id: EventId::parse(EVENT).unwrap(),
            i_cal_u_id: "040000008200E0".to_owned(),
            change_key: format!("version-{version}"),
            last_modified: Timestamp::now(),
            is_organizer: true,
            event_type: EventType::SingleInstance,
            is_cancelled: false,
            add_in_value: Some(json!({"version": 1, "resources": [{"id": "room-101"}]}).to_string()),
        },
        subject: Some(subject(version)),
        start,
        end: start + 1.hour(),
        is_all_day: false,
        organizer: Some("user1@contoso.example".to_owned()),
        attendees: Vec::new(),
        sensitivity: Sensitivity::Normal,
        series_master_id: None,
        recurrence: None,
    }
}
