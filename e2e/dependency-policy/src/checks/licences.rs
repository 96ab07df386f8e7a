//! Each licence expression has to be satisfied by the allowed licences.

use spdx::{Expression, ParseMode};

use crate::{graph::Graph, policy::Policy};

pub(super) fn faults(graph: &Graph, policy: &Policy) -> Vec<String> {
    let allowed = |expression: &Expression| {
        expression
            .evaluate(|requirement| policy.licences.iter().any(|licence| licence.satisfies(requirement)))
    };
    graph
        .packages()
        .filter_map(|package| {
            // Old crates write `MIT/Apache-2.0`.
            let parsed = package.license.as_deref().map(|text| Expression::parse_mode(text, ParseMode::LAX));
            let what = match parsed {
                Some(Ok(expression)) if allowed(&expression) => return None,
                Some(Ok(expression)) => format!("licence {expression} is not allowed"),
                Some(Err(_)) => "its licence is no SPDX expression".to_owned(),
                None => "it names no licence".to_owned(),
            };
            let (key, why) = (package.key(), graph.why(package));
            Some(format!("{key}: {what}: {why}; use another crate, or allow the licence under licences"))
        })
        .collect()
}
