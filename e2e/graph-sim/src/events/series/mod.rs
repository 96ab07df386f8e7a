//! Series: their occurrences, and what became of single ones (graph-facts §3.4, §6.1, §6.2).

mod changes;
mod edit;
mod occurrence;
mod pattern;
mod rule;
mod settle;
mod slots;
#[cfg(test)]
mod worked_cases;

pub(super) use self::{
    changes::{Changes, PrivateChanges},
    edit::{cancel, update},
    occurrence::{Entry, exceptions, occurrence},
    pattern::{DAYS, Kind, Pattern},
    rule::{Ending, Rule},
    settle::{is_retimed, settle},
    slots::{Slot, on, within},
};
