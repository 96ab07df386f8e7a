//! What a cloud's stand-in does with tokens of a service account, and what passed through its hands.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What it does with the next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mood {
    /// Exchanges those that are proven.
    #[default]
    Honest,
    /// Refuses them all, and quotes them as it does so.
    Refusing,
    /// Gives for them what the storage does not take.
    Worthless,
}

#[derive(Default)]
struct Known {
    mood: Mood,
    count: usize,
    /// Tokens that came, and what was given for them.
    secrets: Vec<String>,
}

/// Exchanges of one stand-in.
#[derive(Default)]
pub(crate) struct Exchanges(Mutex<Known>);

impl Exchanges {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mood(&self) -> Mood {
        self.known().mood
    }

    pub(crate) fn turn(&self, mood: Mood) {
        self.known().mood = mood;
    }

    /// A secret came, or was given away.
    pub(crate) fn keep(&self, secret: &str) {
        self.known().secrets.push(secret.to_owned());
    }

    /// Something was given for a token.
    pub(crate) fn made(&self) {
        self.known().count += 1;
    }

    /// How often something was given for a token.
    pub(crate) fn count(&self) -> usize {
        self.known().count
    }

    /// Everything that nobody else may see.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.known().secrets.clone()
    }
}
