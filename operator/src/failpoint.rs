//! Places at which a crash must do no harm: before and after each remote call and each write.
//!
//! With the feature `rehearsal`, which no shipped program has, the process ends abruptly at the place that the environment
//! names. Without the feature nothing is left of this but the names.

macro_rules! failpoints {
    ($($(#[$meta:meta])* $point:ident),+ $(,)?) => {
        /// A place.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Failpoint { $($(#[$meta])* $point),+ }

        impl Failpoint {
            /// Every place.
            pub const ALL: &'static [Self] = &[$(Self::$point),+];

            /// Its name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$point => stringify!($point)),+ }
            }
        }
    };
}

failpoints! {
    /// POST of a subscription.
    BeforeCreate,
    /// POST of a subscription.
    AfterCreate,
    /// PATCH of a subscription.
    BeforeRenew,
    /// PATCH of a subscription.
    AfterRenew,
    /// POST that authorises a subscription again.
    BeforeReauthorize,
    /// POST that authorises a subscription again.
    AfterReauthorize,
    /// GET of a subscription.
    BeforeVerify,
    /// GET of a subscription.
    AfterVerify,
    /// DELETE of a subscription.
    BeforeDelete,
    /// DELETE of a subscription.
    AfterDelete,
    /// GET of the list of subscriptions.
    BeforeList,
    /// GET of the list of subscriptions.
    AfterList,
    /// GET of a user.
    BeforeResolveUser,
    /// GET of a user.
    AfterResolveUser,
    /// A status is written.
    BeforeStatus,
    /// A status is written.
    AfterStatus,
    /// A finalizer is put on.
    BeforeFinalizerAdded,
    /// A finalizer is put on.
    AfterFinalizerAdded,
    /// A finalizer is taken off.
    BeforeFinalizerRemoved,
    /// A finalizer is taken off.
    AfterFinalizerRemoved,
    /// A consent is withdrawn with the deletion of its CalendarSubscription.
    BeforeWithdraw,
    /// A consent is withdrawn with the deletion of its CalendarSubscription.
    AfterWithdraw,
    /// A CalendarSubscription is made from a consent.
    BeforeSubscriptionObject,
    /// A CalendarSubscription is made from a consent.
    AfterSubscriptionObject,
}

/// Names the place at which the process ends.
#[cfg(feature = "rehearsal")]
pub const VARIABLE: &str = "ROOMKEEPER_FAILPOINT";

/// The work has come to this place.
#[cfg(not(feature = "rehearsal"))]
#[inline]
pub fn hit(_: Failpoint) {}

/// The work has come to this place: ends the process here if the environment says so.
#[cfg(feature = "rehearsal")]
pub fn hit(point: Failpoint) {
    use std::io::Write as _;
    if std::env::var(VARIABLE).is_ok_and(|name| name == point.as_str()) {
        // Whoever waits for this line sees the process end, and need not know more.
        let _told = writeln!(std::io::stdout(), "failpoint {}", point.as_str());
        std::process::abort();
    }
}

/// Brackets a call with two places.
pub async fn around<T>(before: Failpoint, after: Failpoint, call: impl Future<Output = T>) -> T {
    hit(before);
    let result = call.await;
    hit(after);
    result
}
