//! Two weeks in the life of many subscriptions, in minutes: one clock for Graph and operator, faults of every kind, and an
//! operator that is killed again and again in the middle of its work.
//!
//! Time is moved from one due renewal to the next, and stands still until all that is due is done. What came of it is told by
//! Graph's log and the operator's audit, not by what the operator says of itself.

mod endpoint;
mod people;
mod rehearsal;
mod spread;
mod tally;
mod troubles;

use std::path::Path;

use jiff::SignedDuration;
use roomkeeper_controlplane::ControlPlane;

pub use self::tally::Figures;
use self::{rehearsal::Rehearsal, troubles::Troubles};
use crate::{install, system::System};

/// How long it takes.
const LENGTH: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What is to be rehearsed.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Tenants, each with an app registration and a scope of its own.
    pub tenants: usize,
    /// Mailboxes over all tenants.
    pub mailboxes: usize,
    /// Share of Graph's answers and of the endpoint's that are faults, and of the mailboxes that each other trouble befalls.
    pub faults: f64,
    /// How often the operator is killed.
    pub kills: usize,
    /// Seed of faults, troubles and kills.
    pub seed: u64,
}

impl Settings {
    /// With the seed that the environment names, to play again what went wrong.
    #[must_use]
    pub fn seeded_by_environment(mut self) -> Self {
        let seed = std::env::var("ROOMKEEPER_FORTNIGHT_SEED").ok().and_then(|seed| seed.parse().ok());
        self.seed = seed.unwrap_or(self.seed);
        self
    }
}

/// Plays the two weeks. `say` is told how far it has come.
///
/// # Errors
/// When a program does not start, or what is due is not done.
pub async fn play(
    control_plane: &ControlPlane,
    folder: &Path,
    settings: Settings,
    say: impl Fn(&str),
) -> anyhow::Result<Figures> {
    say(&format!("seed {}", settings.seed));
    let people = people::People::new(settings.tenants, settings.mailboxes);
    let system = System::start(control_plane, folder, &people.world()).await?;
    let client = control_plane.admin_client().await?;
    install::namespace(&client, people::NAMESPACE).await?;
    let mut rehearsal = Rehearsal::start(&system, client, settings, people.mailboxes()).await?;
    say("subscribing");
    rehearsal.subscribe(&people).await?;
    rehearsal.faults(settings.faults).await?;
    let mut troubles = Troubles::by_chance(rehearsal.chance(), settings.faults, settings.mailboxes, LENGTH);
    let kill_every = LENGTH / i32::try_from(settings.kills + 1)?;
    let (began, mut next_kill, mut told) = (rehearsal.now(), kill_every, 0);
    loop {
        let passed = rehearsal.now().duration_since(began);
        if passed >= LENGTH {
            break;
        }
        if passed.as_hours() / 24 > told {
            told = passed.as_hours() / 24;
            say(&format!("day {told} of 14"));
        }
        let work_comes = rehearsal.step(LENGTH - passed).await?;
        // One that has nothing to do can be killed at any time without harm.
        if work_comes && passed >= next_kill {
            rehearsal.kill_at_work().await?;
            next_kill += kill_every;
        }
        rehearsal.settle().await?;
        rehearsal.trouble(&mut troubles, passed).await?;
    }
    say("what is open comes to its end");
    rehearsal.faults(0.0).await?;
    rehearsal.finish(troubles).await
}
