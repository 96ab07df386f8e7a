//! What the product was told, as a mark that is kept in the status: an equal mark means that it has it already. Pure.
//!
//! Time must not change what a series is compared by: an occurrence that is over is neither booked nor cancelled, and whoever
//! reads the series again may find it missing. So the mark of a series holds three hashes: of the occurrences to come, of those
//! but the next, and of those but the next two, with the times from which each counts. While an occurrence passes, the mark is
//! written anew without a call; a reader that was faster, or an outage over two occurrences, does no harm.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::series::Occurrence;

/// Digits of a hash in the mark of a series.
const DIGITS: usize = 15;
/// Digits of a time.
const TIME: usize = 8;
/// Digits of the hash in the mark of a single event.
const SINGLE: usize = 60;
/// Stands for no occurrences.
const NONE: &str = "000000000000000";

/// What a booking is compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Everything but the occurrences.
    base: [u8; 32],
    /// The occurrences of a series with the times from which each is over, in that order; `None`: no series.
    occurrences: Option<Vec<(Timestamp, Occurrence)>>,
}

impl Content {
    /// Of a single event, or of a series with these occurrences and the time from which each is over.
    pub fn new(parts: &[&str], occurrences: Option<Vec<(Timestamp, Occurrence)>>) -> Self {
        let occurrences = occurrences.map(|mut occurrences| {
            occurrences.sort_unstable_by_key(|(over, one)| (*over, one.start, one.original_start));
            occurrences
        });
        Self { base: sha(parts), occurrences }
    }

    /// Whether nothing is to come.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.occurrences.as_ref().is_some_and(|all| all.iter().all(|(over, _)| *over <= now))
    }

    /// When the next occurrence passes.
    pub fn next_over(&self, now: Timestamp) -> Option<Timestamp> {
        self.occurrences.as_ref()?.iter().map(|(over, _)| *over).find(|over| *over > now)
    }

    /// The mark of what the product is told now.
    pub fn mark(&self, now: Timestamp) -> String {
        let Some(occurrences) = &self.occurrences else { return format!("s{}", hex(&self.base, SINGLE)) };
        let to_come = occurrences.iter().position(|(over, _)| *over > now).unwrap_or(occurrences.len());
        let mut mark = "r".to_owned();
        let (mut at, mut time) = (to_come, None);
        for _ in 0..3 {
            if let Some(time) = time {
                mark.push_str(&time_digits(time));
            }
            mark.push_str(&self.hash_from(at));
            let next = occurrences.get(at).map(|(over, _)| *over);
            time = Some(next);
            // Those that pass at the same moment pass together.
            at = occurrences.iter().position(|(over, _)| Some(*over) > next).unwrap_or(occurrences.len());
            if next.is_none() {
                at = occurrences.len();
            }
        }
        mark
    }

    /// Whether a mark says what is wanted now.
    pub fn is(&self, mark: &str, now: Timestamp) -> bool {
        let Some(occurrences) = &self.occurrences else { return self.mark(now) == mark };
        let Some(told) = Told::read(mark) else { return false };
        let to_come = occurrences.iter().position(|(over, _)| *over > now).unwrap_or(occurrences.len());
        // Told when some that are over by now were still to come, and all of them are still known.
        let earlier = (0..=to_come).any(|at| self.hash_from(at) == told.first && at < occurrences.len());
        earlier || told.at(now) == self.hash_from(to_come)
    }

    fn hash_from(&self, at: usize) -> String {
        let rest = self.occurrences.as_deref().and_then(|all| all.get(at..)).unwrap_or_default();
        if rest.is_empty() {
            return NONE.to_owned();
        }
        let mut sha = Sha256::new();
        sha.update(self.base);
        for (_, one) in rest {
            for time in [Some(one.start), Some(one.end), one.original_start] {
                sha.update(time.map_or(i64::MIN, Timestamp::as_second).to_be_bytes());
            }
        }
        hex(&sha.finalize(), DIGITS)
    }
}

/// Whether a mark is of a series of which nothing is to come.
pub fn is_over(mark: &str, now: Timestamp) -> bool {
    Told::read(mark).is_some_and(|told| told.at(now) == NONE)
}

/// The mark of a series, taken apart.
struct Told<'a> {
    first: &'a str,
    second_from: i64,
    second: &'a str,
    third_from: i64,
    third: &'a str,
}

impl<'a> Told<'a> {
    fn read(mark: &'a str) -> Option<Self> {
        let mut rest = mark.strip_prefix('r')?;
        let mut take = |digits: usize| {
            let (part, left) = rest.split_at_checked(digits)?;
            rest = left;
            Some(part)
        };
        let time = |digits: &str| i64::from_str_radix(digits, 16).ok();
        Some(Self {
            first: take(DIGITS)?,
            second_from: time(take(TIME)?)?,
            second: take(DIGITS)?,
            third_from: time(take(TIME)?)?,
            third: take(DIGITS)?,
        })
    }

    /// The hash that counts then.
    fn at(&self, now: Timestamp) -> &'a str {
        match now.as_second() {
            now if now < self.second_from => self.first,
            now if now < self.third_from => self.second,
            _ => self.third,
        }
    }
}

fn time_digits(time: Option<Timestamp>) -> String {
    let second = time.and_then(|time| u32::try_from(time.as_second()).ok()).unwrap_or(u32::MAX);
    format!("{second:08x}")
}

/// SHA-256 over the parts, each with its length before it.
fn sha(parts: &[&str]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for part in parts {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().into()
}

/// The first digits of a hash.
fn hex(bytes: &[u8], digits: usize) -> String {
    use std::fmt::Write as _;
    let mut text = bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    });
    text.truncate(digits);
    text
}

/// SHA-256 over the parts, as 64 hex digits.
pub fn hex_of(parts: &[&str]) -> String {
    hex(&sha(parts), 64)
}
