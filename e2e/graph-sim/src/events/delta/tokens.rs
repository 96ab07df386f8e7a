//! What links of `calendarView/delta` hold, and which of them are still good.

use std::sync::Mutex;

use data_encoding::BASE64URL_NOPAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{app::lock, events::store::MailboxKey};

/// A change of what tokens are good for, as the control API takes it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DeltaChange {
    /// All tokens are answered with 410 and a `Location` to begin again at.
    #[serde(default)]
    reset: bool,
    /// All tokens have expired.
    #[serde(default)]
    expire: bool,
}

/// Which tokens are still good.
#[derive(Debug, Default)]
pub(crate) struct DeltaTokens(Mutex<(u64, u64)>);

impl DeltaTokens {
    pub(crate) fn change(&self, change: DeltaChange) -> Result<(), String> {
        if change.reset == change.expire {
            return Err("give one of reset and expire as true".to_owned());
        }
        let mut generations = lock(&self.0);
        if change.reset {
            generations.0 += 1;
        } else {
            generations.1 += 1;
        }
        Ok(())
    }

    pub(super) fn current(&self) -> (u64, u64) {
        *lock(&self.0)
    }
}

/// Where a round goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// A first round: after that event by its number; changes from `since` on come in the next round.
    Snapshot { after: Option<u64>, since: u64 },
    /// A later round: changes from that one on.
    Changes { since: u64 },
}

/// What a token holds. Clients follow whole URLs: the window is baked in.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Token {
    pub(super) mailbox: MailboxKey,
    pub(super) app: Uuid,
    pub(super) generations: (u64, u64),
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) place: Place,
}

impl Token {
    pub(super) fn write(&self) -> Option<String> {
        let text = serde_json::to_vec(self).ok()?;
        let digest = Sha256::digest(&text);
        let bytes: Vec<u8> = digest.iter().take(8).copied().chain(text).collect();
        Some(BASE64URL_NOPAD.encode(&bytes))
    }

    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (digest, text) = bytes.split_at_checked(8)?;
        if !Sha256::digest(text).starts_with(digest) {
            return None;
        }
        serde_json::from_slice(text).ok()
    }
}
