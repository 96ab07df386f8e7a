//! Keeps a token, refreshes it ahead of its expiry, and lets many callers share one request.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use secrecy::SecretString;
use tokio::time::Instant;
use uuid::Uuid;

use super::TokenSource;
use crate::{
    audit::{Cause, Purpose},
    error::{Decision, GraphError, TransportFault},
};

/// A token is refreshed in the background from this long before its expiry, plus up to [`JITTER`].
const AHEAD: Duration = Duration::from_mins(5);
/// Spreads the refreshes of many scopes.
const JITTER: Duration = Duration::from_mins(1);
/// A token is not used in its last seconds: the request must still arrive, and clocks differ.
const MARGIN: Duration = Duration::from_secs(30);
/// After a failed background refresh, the next one waits this long, or for as long as the endpoint asks.
const PAUSE: Duration = Duration::from_secs(15);
/// After a token was dropped because Graph refused it, its successors are kept for this long: what refuses every token is not
/// mended by asking for more of them.
const FORBEARANCE: Duration = Duration::from_mins(1);

/// A token in use.
pub(crate) struct Token {
    pub(crate) secret: SecretString,
    refresh_at: Instant,
    usable_until: Instant,
}

type Flight = Shared<BoxFuture<'static, Result<Arc<Token>, GraphError>>>;

/// The tokens of one tenant and app.
pub(crate) struct Tokens {
    source: Box<dyn TokenSource>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Token>>,
    flight: Option<Flight>,
    /// No new request before this time.
    pause: Option<Pause>,
    /// When Graph's refusal of a token last ended one.
    dropped_at: Option<Instant>,
}

struct Pause {
    until: Instant,
    error: GraphError,
    /// Asked for by the endpoint, so it binds callers without a token too.
    asked_for: bool,
}

enum Next {
    Ready(Arc<Token>),
    Wait(Flight),
}

impl Tokens {
    pub(crate) fn new(source: impl TokenSource) -> Arc<Self> {
        Arc::new(Self { source: Box::new(source), state: Mutex::default() })
    }

    /// A token that is good for a request now.
    pub(crate) async fn get(self: &Arc<Self>, cause: &Cause) -> Result<Arc<Token>, GraphError> {
        match self.next(cause)? {
            Next::Ready(token) => Ok(token),
            Next::Wait(flight) => flight.await,
        }
    }

    /// Graph refused this token: it is not handed out again. Returns whether there is another one to try, or may be; not so when
    /// one was dropped a moment ago.
    pub(crate) fn reject(&self, token: &Arc<Token>) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        if state.current.as_ref().is_none_or(|current| !Arc::ptr_eq(current, token)) {
            return true;
        }
        if state.dropped_at.is_some_and(|at| now.duration_since(at) < FORBEARANCE) {
            return false;
        }
        state.current = None;
        state.dropped_at = Some(now);
        true
    }

    fn next(self: &Arc<Self>, cause: &Cause) -> Result<Next, GraphError> {
        let now = Instant::now();
        let mut state = self.state();
        let usable = state.current.clone().filter(|token| now < token.usable_until);
        let pause = state.pause.as_ref().filter(|pause| now < pause.until);
        if let Some(token) = usable {
            if now >= token.refresh_at && pause.is_none() && state.flight.is_none() {
                state.flight = Some(self.depart(cause));
            }
            return Ok(Next::Ready(token));
        }
        if let Some(flight) = &state.flight {
            return Ok(Next::Wait(flight.clone()));
        }
        if let Some(Pause { until, error, asked_for: true }) = pause {
            return Err(shortened(error, until.duration_since(now)));
        }
        let flight = self.depart(cause);
        state.flight = Some(flight.clone());
        Ok(Next::Wait(flight))
    }

    /// Runs as a task of its own, so that it ends even if every caller goes away.
    fn depart(self: &Arc<Self>, cause: &Cause) -> Flight {
        let (tokens, cause) = (Arc::clone(self), cause.clone());
        let task = tokio::spawn(async move {
            let landing = Landing(&tokens);
            let result = tokens.source.acquire(&cause).await;
            let result = tokens.settle(result);
            drop(landing);
            result
        });
        async move { task.await.unwrap_or_else(|_| Err(interrupted())) }.boxed().shared()
    }

    fn settle(&self, result: Result<super::source::Acquired, GraphError>) -> Result<Arc<Token>, GraphError> {
        let now = Instant::now();
        let mut state = self.state();
        match result {
            Ok(acquired) => {
                let life = acquired.life;
                let ahead = (AHEAD + jitter()).min(life / 2);
                let margin = MARGIN.min(life / 10);
                let token = Arc::new(Token {
                    secret: acquired.secret,
                    refresh_at: now + life.saturating_sub(ahead),
                    usable_until: now + life.saturating_sub(margin),
                });
                state.current = Some(token.clone());
                state.pause = None;
                Ok(token)
            }
            Err(error) => {
                if matches!(error.decision(), Decision::UserMustAct(_)) {
                    // Withdrawn or wrong: what was given before must not serve on.
                    state.current = None;
                }
                let (pause, asked_for) = match error.decision() {
                    Decision::Wait(asked) => (asked, true),
                    _ => (PAUSE, false),
                };
                state.pause = Some(Pause { until: now + pause, error: error.clone(), asked_for });
                Err(error)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clears the flight when its task ends, however it ends.
struct Landing<'a>(&'a Tokens);

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.0.state().flight = None;
    }
}

/// The same refusal with the part of the waiting time that is left.
fn shortened(error: &GraphError, left: Duration) -> GraphError {
    match error {
        GraphError::Token(refusal) => {
            let mut refusal = refusal.clone();
            refusal.decision = Decision::Wait(left);
            GraphError::Token(refusal)
        }
        other => other.clone(),
    }
}

/// The task was stopped with its runtime.
fn interrupted() -> GraphError {
    GraphError::Transport {
        purpose: Purpose::Token,
        fault: TransportFault::Broken,
        client_request_id: Uuid::nil(),
    }
}

fn jitter() -> Duration {
    // A random UUID is randomness enough to spread refreshes.
    let (share, ..) = Uuid::new_v4().as_fields();
    JITTER.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
