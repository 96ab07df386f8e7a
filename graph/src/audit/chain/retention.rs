//! Retention: the oldest segments go, and the log then starts at a later line.
//!
//! A checkpoint must say the new start before the segments go ([`Folder::plan_start`], then [`Folder::drop_before`]).

use std::{fs, io, path::Path};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    Folder, Hash,
    folder::invalid,
    line::{Line, decode, split},
};

/// The first line that a log still has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Its number.
    pub number: u64,
    /// Hash of the line before it.
    pub previous: Hash,
}

impl Start {
    /// Of a log of which nothing was dropped.
    pub const FIRST: Self = Self { number: 1, previous: Hash::ZERO };
}

impl Folder {
    /// Where the log starts now.
    ///
    /// # Errors
    /// The oldest segment cannot be read.
    pub fn start(&self) -> io::Result<Start> {
        match self.segments()?.first() {
            Some(1) | None => Ok(Start::FIRST),
            Some(first) => self.start_of(*first),
        }
    }

    /// Where the log would start without the segments whose lines are all older than `before` and not after line
    /// `exported`. The segment that is written to stays in any case, and so does the last line.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn plan_start(&self, before: Timestamp, exported: u64) -> io::Result<Start> {
        let segments = self.segments()?;
        let mut start = self.start()?;
        for pair in segments.windows(2) {
            let [sealed, next] = pair else { break };
            let path = self.segment(*sealed);
            let last = read_line(&path, |lines| lines.last().copied())?;
            if last.time >= before || last.number > exported {
                break;
            }
            // A segment that was begun and not yet written to holds no line to start with.
            if fs::metadata(self.segment(*next))?.len() == 0 {
                break;
            }
            start = self.start_of(*next)?;
        }
        Ok(start)
    }

    /// Removes the segments before this start, the oldest first; the answer is their count.
    ///
    /// # Errors
    /// No segment starts there (nothing is removed then), or a file cannot be removed.
    pub fn drop_before(&self, start: Start) -> io::Result<usize> {
        let segments = self.segments()?;
        if !segments.contains(&start.number) || self.start_of(start.number)? != start {
            return Err(invalid(&self.segment(start.number), "is no start of this log"));
        }
        let old: Vec<_> = segments.into_iter().take_while(|first| *first < start.number).collect();
        for first in &old {
            fs::remove_file(self.segment(*first))?;
        }
        self.sync()?;
        Ok(old.len())
    }

    fn start_of(&self, segment: u64) -> io::Result<Start> {
        let line = read_line(&self.segment(segment), |lines| lines.first().copied())?;
        Ok(Start { number: line.number, previous: line.previous })
    }
}

fn read_line(path: &Path, which: impl for<'a> Fn(&[&'a [u8]]) -> Option<&'a [u8]>) -> io::Result<Line> {
    let bytes = fs::read(path)?;
    let (lines, _) = split(&bytes);
    let line = which(&lines).ok_or_else(|| invalid(path, "has no line"))?;
    decode(line).map_err(|_| invalid(path, "has a line that is none"))
}
