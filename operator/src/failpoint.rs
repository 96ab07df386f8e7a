//! Places at which a crash must do no harm: each remote call and each write, with a failpoint before and after it.
//!
//! With the feature `rehearsal`, which no shipped program has, the process ends abruptly at the failpoints that the environment
//! names. Without the feature nothing is left of this but the names.

use std::fmt;

use roomkeeper_crds::{AccessScope, BookingRecord, CalendarSubscription, ConsentRecord};

macro_rules! places {
    ($($(#[$meta:meta])* $place:ident),+ $(,)?) => {
        /// A place, named for the call and for why it is made.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Place { $($(#[$meta])* $place),+ }

        impl Place {
            /// Every place.
            pub const ALL: &'static [Self] = &[$(Self::$place),+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$place => stringify!($place)),+ }
            }
        }
    };
}

places! {
    /// The Secret with the keys behind clientState is made.
    MakeKeys,
    /// A scope asks for a token.
    Token,
    /// GET of a group.
    ReadGroup,
    /// GET of a group's members, all pages.
    ReadMembers,
    /// GET of a user, to learn the object id.
    ResolveUser,
    /// GET of a user whose mailbox Graph did not find.
    ResolveUserWithoutMailbox,
    /// POST of a subscription.
    Create,
    /// PATCH of a subscription.
    Renew,
    /// POST that authorises a subscription again.
    Reauthorize,
    /// GET of a subscription that the status knows of.
    Verify,
    /// GET of a subscription that a sweep saw.
    ReadSighted,
    /// GET of a subscription that is in the way of a new one.
    ReadConflicting,
    /// GET of the list of subscriptions, all pages. By a sweep, and where Graph does not say which one is in the way.
    List,
    /// GET of the list of subscriptions at the end of a scope.
    ListLeftovers,
    /// DELETE of a subscription in whose stead another is made.
    DeleteReplaced,
    /// DELETE of a subscription of nobody's that is in the way of a new one.
    DeleteConflicting,
    /// DELETE of a subscription whose calendar may not be subscribed any more.
    DeleteDenied,
    /// DELETE of a subscription at the end of its object.
    DeleteFinal,
    /// DELETE of a subscription of nobody's that a sweep saw.
    DeleteSwept,
    /// DELETE of a subscription of nobody's at the end of a scope.
    DeleteLeftover,
    /// A CalendarSubscription is read past the cache.
    LiveCalendarSubscription,
    /// A ConsentRecord is read past the cache.
    LiveConsentRecord,
    /// An AccessScope is read past the cache.
    LiveAccessScope,
    /// A CalendarSubscription is made from a consent.
    MakeCalendarSubscription,
    /// A consent is withdrawn with the deletion of its CalendarSubscription.
    WithdrawConsent,
    /// The status of an AccessScope is written.
    StatusOfAccessScope,
    /// The status of a CalendarSubscription is written.
    StatusOfCalendarSubscription,
    /// The status of a ConsentRecord is written.
    StatusOfConsentRecord,
    /// The status of a BookingRecord is written.
    StatusOfBookingRecord,
    /// A finalizer is put on an AccessScope.
    FinalizerOnAccessScope,
    /// A finalizer is put on a CalendarSubscription.
    FinalizerOnCalendarSubscription,
    /// A finalizer is taken off an AccessScope.
    FinalizerOffAccessScope,
    /// A finalizer is taken off a CalendarSubscription.
    FinalizerOffCalendarSubscription,
    /// Calls to a booking product are set aside.
    ReserveCalls,
    /// PUT of a booking.
    PutBooking,
    /// DELETE of a booking.
    CancelBooking,
    /// A BookingRecord is deleted that expired, or whose calendar may not be read any more.
    DeleteBookingRecord,
    /// A ConsentRecord is deleted that was withdrawn long ago.
    DeleteConsentRecord,
}

/// Where the process may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failpoint {
    /// What is to happen at the place has not been begun.
    Before(Place),
    /// It has ended, well or not, and nothing has come of it yet.
    After(Place),
}

impl Failpoint {
    /// Every failpoint.
    pub fn all() -> impl Iterator<Item = Self> {
        Place::ALL.iter().flat_map(|place| [Self::Before(*place), Self::After(*place)])
    }

    /// The place.
    pub const fn place(self) -> Place {
        match self {
            Self::Before(place) | Self::After(place) => place,
        }
    }
}

impl fmt::Display for Failpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self {
            Self::Before(_) => "Before",
            Self::After(_) => "After",
        };
        write!(f, "{side}{}", self.place().as_str())
    }
}

/// Where a kind has something done to it. What has no place here does not compile.
pub trait At<What> {
    /// The place.
    const PLACE: Place;
}

/// Read past the cache.
#[derive(Debug)]
pub enum Live {}
/// Status written.
#[derive(Debug)]
pub enum Status {}
/// Finalizer put on.
#[derive(Debug)]
pub enum FinalizerOn {}
/// Finalizer taken off.
#[derive(Debug)]
pub enum FinalizerOff {}
/// Deleted.
#[derive(Debug)]
pub enum Delete {}

macro_rules! at {
    ($($what:ident of $kind:ident is $place:ident),+ $(,)?) => {
        $(impl At<$what> for $kind {
            const PLACE: Place = Place::$place;
        })+
    };
}

at! {
    Live of AccessScope is LiveAccessScope,
    Live of CalendarSubscription is LiveCalendarSubscription,
    Live of ConsentRecord is LiveConsentRecord,
    Status of AccessScope is StatusOfAccessScope,
    Status of CalendarSubscription is StatusOfCalendarSubscription,
    Status of ConsentRecord is StatusOfConsentRecord,
    Status of BookingRecord is StatusOfBookingRecord,
    FinalizerOn of AccessScope is FinalizerOnAccessScope,
    FinalizerOn of CalendarSubscription is FinalizerOnCalendarSubscription,
    FinalizerOff of AccessScope is FinalizerOffAccessScope,
    FinalizerOff of CalendarSubscription is FinalizerOffCalendarSubscription,
    Delete of BookingRecord is DeleteBookingRecord,
    Delete of ConsentRecord is DeleteConsentRecord,
}

/// Brings a call between its two failpoints.
#[cfg(not(feature = "rehearsal"))]
pub fn around<F: Future>(_: Place, call: F) -> F {
    call
}

/// Brings a call between its two failpoints.
#[cfg(feature = "rehearsal")]
pub async fn around<F: Future>(place: Place, call: F) -> F::Output {
    rehearsal::hit(Failpoint::Before(place));
    // On the heap: so many calls, each within this, would make the futures around them large.
    let result = Box::pin(call).await;
    rehearsal::hit(Failpoint::After(place));
    result
}

/// Ending abruptly.
#[cfg(feature = "rehearsal")]
pub mod rehearsal {
    use std::{
        fs::OpenOptions,
        io::{self, Write as _},
        path::Path,
        sync::{Mutex, PoisonError},
    };

    use super::Failpoint;

    /// Names where the process ends: `BeforeCreate@1,AfterVerify@3`, the number says at which time it comes there.
    pub const POINTS: &str = "ROOMKEEPER_FAILPOINTS";
    /// Names the folder in which is counted how often it came there, this process and those before it.
    pub const FOLDER: &str = "ROOMKEEPER_FAILPOINTS_FOLDER";

    /// How often a failpoint was come to, and ended at, is the length of its file.
    pub fn count(folder: &Path, point: Failpoint) -> u64 {
        std::fs::metadata(folder.join(point.to_string())).map_or(0, |file| file.len())
    }

    /// The work has come to this point: the process ends here if the environment says so.
    pub(super) fn hit(point: Failpoint) {
        /// Two that come to the same point at once are counted one after the other.
        static COUNTING: Mutex<()> = Mutex::new(());
        let Ok(armed) = std::env::var(POINTS) else { return };
        let name = point.to_string();
        let times = armed.split(',').filter_map(|one| one.split_once('@'));
        let times: Vec<u64> =
            times.filter(|(armed, _)| *armed == name).filter_map(|(_, time)| time.parse().ok()).collect();
        if times.is_empty() {
            return;
        }
        let _one_at_a_time = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
        match note(&name) {
            Ok(count) if !times.contains(&count) => {}
            Ok(count) => end(&format!("failpoint {name}@{count}")),
            Err(error) => end(&format!("failpoint {name} cannot be counted: {error}")),
        }
    }

    fn note(name: &str) -> io::Result<u64> {
        let folder = std::env::var_os(FOLDER).ok_or(io::ErrorKind::NotFound)?;
        let mut file = OpenOptions::new().create(true).append(true).open(Path::new(&folder).join(name))?;
        file.write_all(b".")?;
        Ok(file.metadata()?.len())
    }

    fn end(words: &str) -> ! {
        let _told = writeln!(io::stdout(), "{words}");
        std::process::abort()
    }
}
