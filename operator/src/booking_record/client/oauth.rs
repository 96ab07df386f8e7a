//! Tokens of the client credentials grant (RFC 6749 section 4.4): kept until shortly before their end, one request at a time for each.

mod endpoint;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex as Sync, PoisonError},
    time::Duration,
};

use reqwest::header::{HeaderValue, InvalidHeaderValue};
use roomkeeper_graph::http::SendGate;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::{sync::Mutex, time::Instant};
use url::Url;

pub(super) use self::endpoint::TokenError;

/// A token is not used in the last part of its life, at most this long: the request must still arrive, and clocks differ.
const MARGIN: Duration = Duration::from_mins(1);
/// After the product's 401 ended a token, its successors are kept for this long: what refuses every token is not mended by more of them.
const FORBEARANCE: Duration = Duration::from_mins(1);
/// What the endpoint refused is not asked again before this long: many records share a token.
const REFUSED: Duration = Duration::from_secs(30);
/// The same where it failed.
const FAILED: Duration = Duration::from_secs(5);

/// Who asks where for a token. The secret never shows.
#[derive(Clone, Debug)]
pub(super) struct Login {
    /// Token endpoint.
    pub(super) url: Url,
    /// Scope to ask for.
    pub(super) scope: Option<String>,
    /// Client, as its Secret has it.
    pub(super) client: OAuthClient,
}

/// A client and its secret.
#[derive(Clone, Debug)]
pub(super) struct OAuthClient {
    pub(super) id: String,
    pub(super) secret: SecretString,
    /// Name of the Secret, for messages.
    pub(super) from: String,
}

/// What one token is good for. A changed secret is another one: its refusals and tokens say nothing about the new one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    url: Url,
    client_id: String,
    scope: Option<String>,
    secret_hash: [u8; 32],
}

impl Wanted {
    fn of(login: &Login) -> Self {
        let secret = login.client.secret.expose_secret().as_bytes();
        Self {
            url: login.url.clone(),
            client_id: login.client.id.clone(),
            scope: login.scope.clone(),
            secret_hash: Sha256::digest(secret).into(),
        }
    }
}

/// A token in use.
#[derive(Clone)]
pub(super) struct Token {
    secret: SecretString,
    usable_until: Instant,
    /// Tells it from its successors.
    number: u64,
}

impl Token {
    /// Value of `Authorization`.
    pub(super) fn authorization(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.secret.expose_secret()))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

#[derive(Default)]
struct Slot {
    current: Option<Token>,
    /// Given to all until then.
    failed: Option<(Instant, TokenError)>,
    dropped_at: Option<Instant>,
    issued: u64,
}

impl Slot {
    fn is_idle(&self, now: Instant) -> bool {
        self.current.as_ref().is_none_or(|token| token.usable_until <= now)
            && self.failed.as_ref().is_none_or(|(until, _)| *until <= now)
    }
}

/// All tokens. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Tokens(Arc<Sync<HashMap<Wanted, Arc<Mutex<Slot>>>>>);

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tokens")
    }
}

impl Tokens {
    /// A token that is good for a request now.
    #[expect(
        clippy::disallowed_types,
        reason = "the booking product is called here, and no host of Microsoft"
    )]
    pub(super) async fn get(
        &self,
        http: &reqwest::Client,
        gate: &dyn SendGate,
        login: &Login,
    ) -> Result<Token, TokenError> {
        let slot = self.slot(login);
        // Who comes while a request is on its way waits here, and finds its outcome.
        let mut slot = slot.lock().await;
        let now = Instant::now();
        if let Some(token) = slot.current.as_ref().filter(|token| token.usable_until > now) {
            return Ok(token.clone());
        }
        if let Some((until, error)) = &slot.failed
            && *until > now
        {
            return Err(error.waiting(until.duration_since(now)));
        }
        match endpoint::ask(http, gate, login).await {
            Ok(answer) => {
                let life = answer.life;
                slot.issued += 1;
                let token = Token {
                    secret: answer.secret,
                    usable_until: now + life.saturating_sub(MARGIN.min(life / 5)),
                    number: slot.issued,
                };
                slot.current = Some(token.clone());
                slot.failed = None;
                Ok(token)
            }
            Err(error) => {
                let pause = match &error {
                    TokenError::Wait(wait) => *wait,
                    error if error.is_stalled() => REFUSED,
                    _ => FAILED,
                };
                slot.current = None;
                slot.failed = Some((Instant::now() + pause, error.clone()));
                Err(error)
            }
        }
    }

    /// The product refused a token. Says whether another one is worth a try.
    pub(super) async fn refused(&self, login: &Login, token: &Token) -> bool {
        let slot = self.slot(login);
        let mut slot = slot.lock().await;
        let now = Instant::now();
        // Another call with the same token was faster.
        if slot.current.as_ref().is_none_or(|current| current.number != token.number) {
            return true;
        }
        if slot.dropped_at.is_some_and(|at| now.duration_since(at) < FORBEARANCE) {
            return false;
        }
        slot.dropped_at = Some(now);
        slot.current = None;
        true
    }

    fn slot(&self, login: &Login) -> Arc<Mutex<Slot>> {
        let wanted = Wanted::of(login);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = all.get(&wanted) {
            return Arc::clone(slot);
        }
        // Those of earlier secrets and of scopes that are gone. One that is locked is in use.
        let now = Instant::now();
        all.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|slot| !slot.is_idle(now))
        });
        Arc::clone(all.entry(wanted).or_default())
    }
}
