//! What the verifier says.

use std::fmt;

use jiff::Timestamp;

use super::EnvelopeError;

/// One damage and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Name of the file; empty where the damage is in no file.
    pub file: String,
    /// Line in the file, from 1; 0 for the file as a whole.
    pub line: u64,
    /// What is wrong.
    pub damage: Damage,
}

/// Kinds of damage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Damage {
    /// The file does not end with a line feed.
    CutLine,
    /// The line is no line of a log.
    BadLine,
    /// The line, or the file, is of another log than the file it is in or its manifest says.
    Foreign,
    /// The line does not have the number that follows in the file.
    Number {
        /// What follows.
        expected: u64,
        /// What stands there.
        found: u64,
    },
    /// The line does not refer to the line before it: one of the two was changed.
    Chain,
    /// A line number stands in two places, or two manifests claim it.
    Overlap,
    /// The line is another one than a checkpoint states.
    NotAsStated,
    /// The log does not start as retention states.
    Start,
    /// No manifest names the file.
    Unlisted,
    /// A manifest names a file that is not there.
    MissingFile,
    /// The file does not hold the lines that its manifest says.
    Range,
    /// Lines that were exported are not there.
    MissingLines {
        /// Whose.
        writer: String,
        /// Of which scope.
        scope: String,
        /// The first that is missing.
        first: u64,
        /// The last that is missing.
        last: u64,
    },
    /// Nothing is there of a writer that has exported.
    MissingWriter {
        /// Whose.
        writer: String,
        /// Of which scope.
        scope: String,
    },
    /// A manifest between two others is not there.
    MissingManifest {
        /// Its number.
        number: u64,
    },
    /// A manifest or checkpoint does not refer to the one before it.
    StatementChain,
    /// Two different manifests or checkpoints have the same number: the log was continued from an old copy.
    Fork,
    /// A checkpoint takes back what an earlier one stated.
    Backwards,
    /// A checkpoint in a manifest is not of the writer and scope it stands for, or the manifest has none of its own.
    WrongStatement,
    /// A manifest or checkpoint is not what it should be.
    Envelope(EnvelopeError),
    /// Lines are there that no checkpoint covers.
    NotCovered {
        /// Whose.
        writer: String,
        /// Of which scope.
        scope: String,
        /// The first that is not covered.
        first: u64,
        /// The last one.
        last: u64,
    },
}

impl Damage {
    /// Its stable name, as other verifiers print it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CutLine => "cut-line",
            Self::BadLine => "bad-line",
            Self::Foreign => "foreign",
            Self::Number { .. } => "number",
            Self::Chain => "chain",
            Self::Overlap => "overlap",
            Self::NotAsStated => "not-as-stated",
            Self::Start => "start",
            Self::Unlisted => "unlisted",
            Self::MissingFile => "missing-file",
            Self::Range => "range",
            Self::MissingLines { .. } => "missing-lines",
            Self::MissingWriter { .. } => "missing-writer",
            Self::MissingManifest { .. } => "missing-manifest",
            Self::StatementChain => "statement-chain",
            Self::Fork => "fork",
            Self::Backwards => "backwards",
            Self::WrongStatement => "wrong-statement",
            Self::Envelope(EnvelopeError::Malformed) => "malformed",
            Self::Envelope(EnvelopeError::UnknownKey) => "unknown-key",
            Self::Envelope(EnvelopeError::BadSignature) => "bad-signature",
            Self::NotCovered { .. } => "not-covered",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if self.line > 0 {
                write!(f, ":{}", self.line)?;
            }
            f.write_str(": ")?;
        }
        f.write_str(self.damage.code())?;
        match &self.damage {
            Damage::Number { expected, found } => write!(f, " {found} instead of {expected}"),
            Damage::MissingManifest { number } => write!(f, " {number}"),
            Damage::MissingLines { writer, scope, first, last }
            | Damage::NotCovered { writer, scope, first, last } => {
                write!(f, " {first} to {last} of {writer} for {scope}")
            }
            Damage::MissingWriter { writer, scope } => write!(f, " {writer} for {scope}"),
            _ => Ok(()),
        }
    }
}

/// What is there of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogReport {
    /// Whose.
    pub writer: String,
    /// Of which scope.
    pub scope: String,
    /// Number of the last line that is there; 0 if none is.
    pub last: u64,
    /// Time of the last checkpoint whose lines are all there. A writer that is gone stays at that time.
    pub until: Option<Timestamp>,
    /// Number of the last line that a checkpoint tells of, if no export has carried it away yet.
    pub pending: Option<u64>,
}

/// What the verifier says: damage, and of each known log how far it is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Every damage found.
    pub findings: Vec<Finding>,
    /// Every log of a known writer.
    pub logs: Vec<LogReport>,
}

impl Report {
    /// Nothing was changed or removed of what was exported.
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty()
    }

    /// Intact, and every known writer has stated where it is, and has exported all of that.
    pub fn is_complete(&self) -> bool {
        self.is_intact() && self.logs.iter().all(|log| log.pending.is_none() && log.until.is_some())
    }
}
