//! The bytes of one row: a fixed head that the engine reads and patches, and the item as JSON.
//!
//! The head repeats what scheduling needs, so that opening a queue of a million rows parses no JSON, and a merge or an
//! attempt patches bytes in place of rewriting the item.

use crate::queue::{Failure, Item, Key};
use jiff::Timestamp;

/// First byte of a row. A row that begins otherwise was written by another version.
const VERSION: u8 = 1;
/// Bytes in front of the JSON.
const HEAD: usize = 48;

/// Why a row cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the row is damaged or of an unknown version")]
pub(super) struct Undecodable;

/// The fixed part of a row. Times are milliseconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) flags: u8,
    pub(super) attempts: u16,
    /// Code of the last [`Failure`]; 0 = none.
    pub(super) failure: u8,
    pub(super) not_before: i64,
    pub(super) first_received: i64,
    pub(super) origin: u64,
    pub(super) key: Key,
}

impl Head {
    /// Of an item that was never handed out.
    pub(super) fn of(item: &Item) -> Self {
        let received = item.received_at().as_millisecond();
        Self {
            flags: item.flags(),
            attempts: 0,
            failure: 0,
            not_before: received,
            first_received: received,
            origin: item.origin(),
            key: item.key(),
        }
    }

    pub(super) fn read(row: &[u8]) -> Result<Self, Undecodable> {
        let mut rest = row;
        let [version] = take(&mut rest)?;
        if version != VERSION || row.len() < HEAD {
            return Err(Undecodable);
        }
        let [flags] = take(&mut rest)?;
        let attempts = u16::from_be_bytes(take(&mut rest)?);
        let [failure] = take(&mut rest)?;
        let [_, _, _] = take(&mut rest)?;
        Ok(Self {
            flags,
            attempts,
            failure,
            not_before: i64::from_be_bytes(take(&mut rest)?),
            first_received: i64::from_be_bytes(take(&mut rest)?),
            origin: u64::from_be_bytes(take(&mut rest)?),
            key: Key(take(&mut rest)?),
        })
    }

    fn bytes(&self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        let parts = [VERSION, self.flags]
            .into_iter()
            .chain(self.attempts.to_be_bytes())
            .chain([self.failure, 0, 0, 0])
            .chain(self.not_before.to_be_bytes())
            .chain(self.first_received.to_be_bytes())
            .chain(self.origin.to_be_bytes())
            .chain(self.key.0);
        out.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        out
    }

    /// Writes this head over the one that `row` begins with.
    pub(super) fn patch(&self, row: &mut [u8]) {
        row.iter_mut().zip(self.bytes()).for_each(|(to, from)| *to = from);
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        Failure::from_code(self.failure)
    }
}

/// The row of an item. Fails only where the item cannot be written as JSON, which its type rules out.
pub(super) fn encode(head: &Head, item: &Item) -> Result<Vec<u8>, serde_json::Error> {
    let mut row = Vec::with_capacity(HEAD + 384);
    row.extend_from_slice(&head.bytes());
    serde_json::to_writer(&mut row, item)?;
    Ok(row)
}

/// The item of a row as it stands after all merges.
pub(super) fn decode(row: &[u8]) -> Result<Item, Undecodable> {
    let head = Head::read(row)?;
    let json = row.get(HEAD..).ok_or(Undecodable)?;
    let item: Item = serde_json::from_slice(json).map_err(|_| Undecodable)?;
    let first = Timestamp::from_millisecond(head.first_received).map_err(|_| Undecodable)?;
    Ok(item.merged(head.flags, first))
}

/// When the notification that a row tells of arrived; `None` where the row cannot be read.
pub(super) fn received_at(row: &[u8]) -> Option<Timestamp> {
    decode(row).ok().map(|item| item.received_at())
}

fn take<const N: usize>(from: &mut &[u8]) -> Result<[u8; N], Undecodable> {
    let (head, rest) = from.split_first_chunk::<N>().ok_or(Undecodable)?;
    *from = rest;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{LifecycleEvents, LifecycleItem};
    use proptest::prelude::*;

    fn item() -> Item {
        Item::V1Lifecycle(LifecycleItem {
            tenant_id: "t".to_owned(),
            subscription_uid: "u".to_owned(),
            subscription_id: "s".to_owned(),
            events: LifecycleEvents { missed: true, ..LifecycleEvents::default() },
            received_at: Timestamp::from_millisecond(1_767_225_600_123).unwrap(),
        })
    }

    #[test]
    fn a_row_comes_back_as_it_went_in_and_a_patch_merges() {
        let head = Head::of(&item());
        let mut row = encode(&head, &item()).unwrap();
        assert_eq!(Head::read(&row), Ok(head));
        assert_eq!(decode(&row), Ok(item()));

        let other = LifecycleEvents { subscription_removed: true, ..LifecycleEvents::default() };
        let Item::V1Lifecycle(mut merged) = item() else { panic!("not a lifecycle item") };
        merged.events.subscription_removed = true;
        let Item::V1Lifecycle(mut arriving) = item() else { panic!("not a lifecycle item") };
        arriving.events = other;
        let patched = Head { flags: head.flags | Item::V1Lifecycle(arriving).flags(), attempts: 3, ..head };
        patched.patch(&mut row);
        assert_eq!(Head::read(&row), Ok(patched));
        assert_eq!(decode(&row), Ok(Item::V1Lifecycle(merged)));
    }

    #[test]
    fn an_unknown_version_or_tag_is_told_apart_from_a_row() {
        let mut row = encode(&Head::of(&item()), &item()).unwrap();
        let mut later = row.clone();
        later[0] = VERSION + 1;
        assert_eq!(decode(&later), Err(Undecodable));
        row.truncate(HEAD);
        row.extend_from_slice(br#"{"type":"V2Event"}"#);
        assert!(Head::read(&row).is_ok());
        assert_eq!(decode(&row), Err(Undecodable));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(row in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&row);
            let mut versioned = row;
            versioned.insert(0, VERSION);
            let _ = decode(&versioned);
        }
    }
}
