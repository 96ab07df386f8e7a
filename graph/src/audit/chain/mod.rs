//! The tamper-evident log: a chain of hashes for each writer and scope, with signed checkpoints.
//!
//! [`ChainedAudit`] writes it, [`verify()`] judges what was exported of it. The format is in
//! `docs/decisions/0015-the-audit-is-a-chain-per-writer-and-scope.md`.

mod checkpoint;
mod envelope;
mod finding;
mod folder;
mod hash;
mod line;
mod logs;
mod manifest;
mod name;
mod reading;
mod retention;
mod segment;
mod sink;
mod verify;

pub use self::{
    checkpoint::{Checkpoint, CheckpointChain, NotContinued},
    envelope::{EnvelopeError, KeyError, SignError, Signed, SigningKey, Statement, VerifyingKey},
    finding::{Damage, Finding, LogReport, Report},
    folder::Folder,
    hash::Hash,
    line::{Head, Line, decode, encode, split},
    manifest::{Known, Manifest, Part},
    name::{LogName, SYSTEM},
    reading::read_all,
    retention::Start,
    sink::ChainedAudit,
    verify::{File, FileKind, verify},
};
