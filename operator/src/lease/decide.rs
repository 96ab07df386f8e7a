//! What to do about the lease. Pure: time is an argument, as what passed on the local monotonic clock.

use std::time::Duration;

/// Times of the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// After this time without a change another replica may take the lease.
    pub duration: Duration,
    /// After this time without a renewal the holder stops.
    pub renew_deadline: Duration,
    /// Time between two looks.
    pub retry: Duration,
}

/// A lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its holder; `None` when it was released.
    pub holder: Option<String>,
    /// How long the holder asked to be believed.
    pub duration: Duration,
    /// How often it went from one holder to another.
    pub transitions: i32,
}

/// What a replica knows when it decides.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// The lease, if there is one.
    pub lease: Option<&'a Seen>,
    /// Time on the local clock since the lease was last seen to change. Clocks of other machines play no part.
    pub unchanged_for: Duration,
    /// Whether the lease is as this very process wrote it. The same identity alone is no proof: it could be a twin, or a
    /// predecessor whose last requests are still on their way.
    pub ours: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There is no lease: create it.
    Create,
    /// It is free or has run out: take it, with this number of transitions.
    Take {
        /// Transitions to write.
        transitions: i32,
    },
    /// It is ours: renew it.
    Renew,
    /// It is somebody else's: look again after this time.
    Wait(Duration),
}

/// Decides.
pub fn decide(observation: Observation<'_>, timing: Timing) -> Decision {
    let Some(lease) = observation.lease else { return Decision::Create };
    if observation.ours {
        return Decision::Renew;
    }
    let left = lease.duration.saturating_sub(observation.unchanged_for);
    if lease.holder.is_none() || left.is_zero() {
        return Decision::Take { transitions: lease.transitions.saturating_add(1) };
    }
    Decision::Wait(left.min(timing.retry))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMING: Timing = Timing {
        duration: Duration::from_secs(35),
        renew_deadline: Duration::from_secs(30),
        retry: Duration::from_secs(5),
    };

    fn held() -> Seen {
        Seen { holder: Some("other".to_owned()), duration: Duration::from_secs(35), transitions: 3 }
    }

    fn observation(lease: Option<&Seen>, unchanged: u64, ours: bool) -> Observation<'_> {
        Observation { lease, unchanged_for: Duration::from_secs(unchanged), ours }
    }

    #[test]
    fn each_case() {
        let (lease, free) = (held(), Seen { holder: None, ..held() });
        for (observation, expected) in [
            (observation(None, 0, false), Decision::Create),
            (observation(Some(&lease), 0, true), Decision::Renew),
            (observation(Some(&lease), 100, true), Decision::Renew),
            (observation(Some(&free), 0, false), Decision::Take { transitions: 4 }),
            (observation(Some(&lease), 35, false), Decision::Take { transitions: 4 }),
            (observation(Some(&lease), 0, false), Decision::Wait(Duration::from_secs(5))),
            (observation(Some(&lease), 33, false), Decision::Wait(Duration::from_secs(2))),
        ] {
            assert_eq!(decide(observation, TIMING), expected, "{observation:?}");
        }
    }

    proptest! {
        #[test]
        fn a_lease_that_still_runs_is_never_taken(unchanged_ms in 0_u64..35_000) {
            let lease = held();
            let observation = Observation { lease: Some(&lease), unchanged_for: Duration::from_millis(unchanged_ms), ours: false };
            prop_assert!(matches!(decide(observation, TIMING), Decision::Wait(wait) if !wait.is_zero() && wait <= TIMING.retry));
        }
    }
}
