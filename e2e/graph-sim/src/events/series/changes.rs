//! What became of single occurrences of a series.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde_json::{Map, Value};

use crate::events::zone::Moment;

/// What of an occurrence differs from its series: members of an event as they were written, put over the series' own when it
/// is shown. What was not written follows the series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::events) struct Exception {
    /// Start and end, once they were written.
    pub(in crate::events) times: Option<(Moment, Moment)>,
    pub(in crate::events) members: Map<String, Value>,
}

/// What the organiser made of occurrences, by their dates in the series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::events) struct Changes {
    pub(in crate::events) cancelled: BTreeSet<Date>,
    pub(in crate::events) exceptions: BTreeMap<Date, Exception>,
}

/// What of occurrences belongs to one copy alone.
pub(in crate::events) type PrivateChanges = BTreeMap<Date, Map<String, Value>>;
