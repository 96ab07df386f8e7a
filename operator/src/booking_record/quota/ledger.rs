//! What may be sent to a booking product, and what was. Pure: times are arguments.
//!
//! Calls are set aside in the status of the AccessScope, a chunk at a time, before they are made. A chunk serves for some seconds
//! and no longer. Within a process an exact log says what was sent; another process takes each chunk for used up at its end. So a
//! crash wastes what is left of a chunk, and never leads to a call too many. What a process surely did not use it gives back.

pub mod week;

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::access_scope::{BookingQuota, BookingQuotaStatus, QuotaChunk};

/// How long a chunk serves.
const CHUNK: Duration = Duration::from_secs(10);
/// The window of the quota per minute.
const MINUTE: Duration = Duration::from_mins(1);
/// Longest time between the moment at which a call is let through and the one at which it is sent: a token may have to be got for it.
const UNDERWAY: SignedDuration = SignedDuration::from_secs(90);
/// Time for which chunks are remembered after their end: the window, and calls that are under way when it ends.
const REMEMBERED: SignedDuration = SignedDuration::from_secs(150);
/// A chunk that serves longer than this was written by a clock that went wrong.
const ABSURD: SignedDuration = SignedDuration::from_mins(5);
/// Chunks in the status; the schema has the same bound.
const CHUNKS: usize = 64;
/// A cancellation that was told to wait and did not come back within this time after is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// One call in so many is left to cancellations.
const FOR_CANCELLATIONS: u32 = 20;

/// Two readings of the time.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time that has passed, evenly, since some moment of the process.
    pub passed: Duration,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It frees a space.
    Cancel,
    /// It takes one.
    Put,
}

/// Which quota is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// That of a minute.
    Minute,
    /// That of a week.
    Week,
}

impl Window {
    /// Its name as a label of metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Week => "week",
        }
    }
}

/// Nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Of which quota.
    pub window: Window,
    /// When to come back.
    pub wait: Duration,
}

/// Answer to the question for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It may be made.
    Yes,
    /// Only after a further chunk was set aside.
    NoChunk,
    /// Not now.
    No(Exhausted),
}

/// A chunk of this process.
#[derive(Clone, Debug)]
pub struct Chunk {
    until: Timestamp,
    serves_until: Duration,
    span: Timestamp,
    reserved: u32,
    used: u32,
    /// As the status has it.
    written: u32,
}

/// A status to be written, and what it means.
#[derive(Clone, Debug)]
pub struct Reservation {
    /// What the status says.
    pub status: BookingQuotaStatus,
    /// The chunk that is set aside with it, or that nothing is left.
    chunk: Result<Chunk, Exhausted>,
    own: Vec<Chunk>,
    others: Vec<QuotaChunk>,
    week_left: u32,
}

/// What one process knows of one scope.
#[derive(Debug, Default)]
pub struct Ledger {
    own: Vec<Chunk>,
    others: Vec<QuotaChunk>,
    /// When calls ended, by the time passed.
    ended: VecDeque<Duration>,
    underway: u32,
    size: u32,
    week_left: u32,
    left: Option<(u32, u32)>,
    /// Until when nothing is left of the week for this purpose, under this quota.
    dry: Option<(BookingQuota, Purpose, Timestamp)>,
    /// The last place that was told to a waiting booking.
    line: Duration,
    /// Cancellations that wait, by who asked, and until when they were told to.
    cancellations: HashMap<String, Duration>,
}

impl Ledger {
    /// Asks for one call.
    pub fn take(&mut self, quota: &BookingQuota, purpose: Purpose, who: &str, now: Now) -> Taken {
        self.forget(now);
        if purpose == Purpose::Cancel {
            self.cancellations.remove(who);
        }
        if let Some(exhausted) = self.minute(quota, purpose, who, now) {
            return Taken::No(exhausted);
        }
        let usable = |chunk: &&mut Chunk| chunk.used < chunk.reserved && now.passed < chunk.serves_until;
        if let Some(chunk) = self.own.iter_mut().find(usable) {
            chunk.used += 1;
            self.underway += 1;
            return Taken::Yes;
        }
        match &self.dry {
            Some((under, of, until)) if under == quota && *of == purpose && *until > now.wall => {
                let wait = Duration::try_from(until.duration_since(now.wall)).unwrap_or_default();
                Taken::No(self.send_away(quota, purpose, who, Window::Week, wait, now))
            }
            _ => Taken::NoChunk,
        }
    }

    /// A call that was let through has ended.
    pub fn ended(&mut self, passed: Duration) {
        self.underway = self.underway.saturating_sub(1);
        self.ended.push_back(passed);
    }

    /// Sets a chunk aside, in view of the status as it is.
    pub fn reserve(
        &mut self,
        status: &BookingQuotaStatus,
        quota: &BookingQuota,
        purpose: Purpose,
        now: Now,
    ) -> Reservation {
        self.forget(now);
        let mut status = status.clone();
        week::tidy(&mut status.week, now.wall);
        for chunk in &mut status.recent {
            if chunk.until.0.duration_since(now.wall) > ABSURD {
                chunk.until = Time(end_of_chunk(now.wall));
            }
        }
        status.recent.retain(|chunk| counts(chunk, now.wall));
        let own = self.settle(&mut status, now);
        while status.recent.len() >= CHUNKS {
            let oldest = status.recent.remove(0);
            if let Some(next) = status.recent.first_mut() {
                next.until = Time(next.until.0.max(oldest.until.0));
                next.reserved = next.reserved.saturating_add(oldest.reserved);
            }
        }
        let others: Vec<QuotaChunk> =
            status.recent.iter().filter(|chunk| !is_own(&own, chunk)).cloned().collect();
        self.others.clone_from(&others);
        let room = share(quota.per_week, purpose).saturating_sub(week::total(&status.week));
        let minute = self.room(quota, purpose, now);
        let size = self.next_size(quota, now).min(minute).min(room);
        let chunk = if room == 0 {
            let until = week::room_at(&status.week, share(quota.per_week, purpose));
            let wait = Duration::try_from(until.duration_since(now.wall)).unwrap_or_default();
            Err(Exhausted { window: Window::Week, wait })
        } else if minute == 0 {
            Err(Exhausted { window: Window::Minute, wait: self.until_room(now) })
        } else {
            let mut until = end_of_chunk(now.wall);
            while status.recent.iter().any(|chunk| chunk.until.0 == until) {
                until = until.checked_add(SignedDuration::from_secs(1)).unwrap_or(until);
            }
            let span = week::add(&mut status.week, size, now.wall);
            status.recent.push(QuotaChunk { until: Time(until), reserved: size });
            let serves_until = now.passed.saturating_add(CHUNK);
            Ok(Chunk { until, serves_until, span, reserved: size, used: 0, written: size })
        };
        status.recent.sort_by_key(|chunk| chunk.until.0);
        let used = week::total(&status.week);
        let of_bookings = share(quota.per_week, Purpose::Put);
        status.exhausted_until =
            (used >= of_bookings).then(|| Time(week::room_at(&status.week, of_bookings)));
        let week_left = quota.per_week.saturating_sub(used);
        Reservation { status, chunk, own, others, week_left }
    }

    /// A reservation was written.
    pub fn written(
        &mut self,
        reservation: Reservation,
        quota: &BookingQuota,
        purpose: Purpose,
        who: &str,
        now: Now,
    ) -> Option<Exhausted> {
        // Nothing can have been taken out of older chunks meanwhile: a further one is asked for only when those are of no use.
        self.own = reservation.own;
        self.others = reservation.others;
        self.week_left = reservation.week_left;
        match reservation.chunk {
            Ok(chunk) => {
                self.size = chunk.reserved;
                self.own.push(chunk);
                self.dry = None;
                None
            }
            Err(exhausted) => {
                if exhausted.window == Window::Week {
                    let until = now.wall.checked_add(exhausted.wait).unwrap_or(Timestamp::MAX);
                    self.dry = Some((quota.clone(), purpose, until));
                }
                Some(self.send_away(quota, purpose, who, exhausted.window, exhausted.wait, now))
            }
        }
    }

    /// Notes what is left within the minute and within the week.
    pub fn note_left(&mut self, quota: &BookingQuota, now: Now) {
        self.forget(now);
        self.left = Some((self.room(quota, Purpose::Cancel, now), self.week_left));
    }

    /// What was left within the minute and within the week when that was last noted.
    pub fn left(&self) -> Option<(u32, u32)> {
        self.left
    }

    /// Calls that may still be let through within the minute.
    fn room(&self, quota: &BookingQuota, purpose: Purpose, now: Now) -> u32 {
        let soon = now.passed.saturating_add(MINUTE);
        let waiting = match purpose {
            Purpose::Cancel => 0,
            Purpose::Put => self.cancellations.values().filter(|told| **told <= soon).count(),
        };
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        share(quota.per_minute, purpose).saturating_sub(self.spent()).saturating_sub(waiting)
    }

    /// Calls that count for the minute.
    fn spent(&self) -> u32 {
        let ended = u32::try_from(self.ended.len()).unwrap_or(u32::MAX);
        let others = self.others.iter().fold(0_u32, |sum, chunk| sum.saturating_add(chunk.reserved));
        ended.saturating_add(self.underway).saturating_add(others)
    }

    fn minute(&mut self, quota: &BookingQuota, purpose: Purpose, who: &str, now: Now) -> Option<Exhausted> {
        if self.room(quota, purpose, now) > 0 {
            return None;
        }
        let wait = self.until_room(now);
        Some(self.send_away(quota, purpose, who, Window::Minute, wait, now))
    }

    /// When something of the minute becomes free.
    fn until_room(&self, now: Now) -> Duration {
        let own = self.ended.front().map(|ended| ended.saturating_add(MINUTE).saturating_sub(now.passed));
        let others = self.others.iter().map(|chunk| {
            let at = chunk.until.0.checked_add(REMEMBERED).unwrap_or(Timestamp::MAX);
            Duration::try_from(at.duration_since(now.wall)).unwrap_or_default()
        });
        // With everything under way, the first to end makes room a minute later.
        own.into_iter().chain(others).min().unwrap_or(MINUTE)
    }

    /// Tells when to come back: a cancellation as soon as there is room, each booking at a place of its own after that.
    fn send_away(
        &mut self,
        quota: &BookingQuota,
        purpose: Purpose,
        who: &str,
        window: Window,
        wait: Duration,
        now: Now,
    ) -> Exhausted {
        let earliest = now.passed.saturating_add(wait);
        let place = match purpose {
            Purpose::Cancel => {
                self.cancellations.insert(who.to_owned(), earliest);
                earliest
            }
            Purpose::Put => {
                let apart = MINUTE / quota.per_minute.max(1);
                self.line = self.line.max(earliest).saturating_add(apart);
                self.line
            }
        };
        Exhausted { window, wait: place.saturating_sub(now.passed) }
    }

    /// Gives back what was not used of chunks that do not serve any more. Returns the chunks as they are once that is written.
    fn settle(&self, status: &mut BookingQuotaStatus, now: Now) -> Vec<Chunk> {
        let mut own = self.own.clone();
        own.retain(|chunk| {
            status.recent.iter().any(|one| one.until.0 == chunk.until && one.reserved == chunk.written)
        });
        for chunk in own.iter_mut().filter(|chunk| now.passed >= chunk.serves_until) {
            let unused = chunk.written.saturating_sub(chunk.used);
            week::give_back(&mut status.week, chunk.span, unused);
            if let Some(one) = status.recent.iter_mut().find(|one| one.until.0 == chunk.until) {
                one.reserved = chunk.used;
            }
            (chunk.written, chunk.reserved) = (chunk.used, chunk.used);
        }
        status.recent.retain(|one| one.reserved > 0);
        own
    }

    /// Small at first, and larger while chunks are used up as long as they serve.
    fn next_size(&self, quota: &BookingQuota, now: Now) -> u32 {
        let largest = (quota.per_minute / 10).max(1);
        let wanted = match self.own.last() {
            Some(last) if now.passed < last.serves_until => self.size.saturating_mul(2),
            Some(last) => last.used,
            None => 1,
        };
        wanted.clamp(1, largest)
    }

    fn forget(&mut self, now: Now) {
        while self.ended.front().is_some_and(|ended| ended.saturating_add(MINUTE) <= now.passed) {
            self.ended.pop_front();
        }
        self.others.retain(|chunk| counts(chunk, now.wall));
        self.cancellations.retain(|_, told| told.saturating_add(PATIENCE) > now.passed);
    }
}

/// How much of a quota serves a purpose: whoever frees a space must not wait for those who take one.
fn share(quota: u32, purpose: Purpose) -> u32 {
    match purpose {
        Purpose::Cancel => quota,
        Purpose::Put => quota.saturating_sub(quota / FOR_CANCELLATIONS),
    }
}

fn is_own(own: &[Chunk], chunk: &QuotaChunk) -> bool {
    own.iter().any(|one| one.until == chunk.until.0 && one.written == chunk.reserved)
}

/// Whether calls of a chunk can lie within the last minute.
fn counts(chunk: &QuotaChunk, now: Timestamp) -> bool {
    chunk.until.0.checked_add(REMEMBERED).is_ok_and(|end| end > now)
}

/// In whole seconds, as times are written, and not before the time for which the chunk serves.
fn end_of_chunk(now: Timestamp) -> Timestamp {
    let seconds = now.as_second().saturating_add(1).saturating_add_unsigned(CHUNK.as_secs());
    Timestamp::from_second(seconds).unwrap_or(now)
}

const _: () = assert!(
    REMEMBERED.as_secs() >= UNDERWAY.as_secs() + 60,
    "a call that is under way when its chunk ends is within the window"
);
