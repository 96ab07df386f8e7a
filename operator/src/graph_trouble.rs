//! What a failed Graph call says in a status: stable while the cause stays, so that a retry writes nothing. The ids of
//! requests are in the log and the audit.

use roomkeeper_graph::GraphError;

/// The text of an error without the ids of its request.
pub fn text(error: &GraphError) -> String {
    match error {
        GraphError::Refused(refusal) => {
            let mut text = format!("{}: Graph answered {}", refusal.purpose, refusal.status);
            if !refusal.code.is_empty() {
                text.push(' ');
                text.push_str(&refusal.code);
            }
            if let Some(inner) = &refusal.inner_status {
                text.push_str(" (");
                text.push_str(inner);
                text.push(')');
            }
            text
        }
        GraphError::Token(refusal) => match refusal.aadsts {
            Some(number) => format!("no token: AADSTS{number}: {}", refusal.fix),
            None => format!("no token: HTTP {} {}: {}", refusal.status, refusal.error, refusal.fix),
        },
        GraphError::Transport { purpose, fault, .. } => format!("{purpose}: {fault}"),
        GraphError::UnexpectedAnswer { purpose, member, problem, .. } => {
            format!("{purpose}: the answer's member {member:?} {problem}")
        }
        GraphError::Audit { .. }
        | GraphError::Held { .. }
        | GraphError::Paused { .. }
        | GraphError::Exhausted { .. }
        | GraphError::Argument(_)
        | GraphError::Assertion(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use roomkeeper_graph::{Decision, Purpose, Refusal, TransportFault};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn two_failures_with_one_cause_read_the_same() {
        let refused = |id: u128| {
            GraphError::Refused(Box::new(Refusal {
                purpose: Purpose::CreateSubscription,
                status: 503,
                code: "ExtensionError".to_owned(),
                inner_status: Some("ServiceUnavailable".to_owned()),
                request_id: Some(Uuid::from_u128(id)),
                client_request_id: Uuid::from_u128(id),
                decision: Decision::Retry,
            }))
        };
        assert_eq!(text(&refused(1)), text(&refused(2)));
        assert_eq!(
            text(&refused(1)),
            "createSubscription: Graph answered 503 ExtensionError (ServiceUnavailable)"
        );
        let lost = |id: u128| GraphError::Transport {
            purpose: Purpose::Token,
            fault: TransportFault::Timeout,
            client_request_id: Uuid::from_u128(id),
        };
        assert_eq!(text(&lost(1)), text(&lost(2)));
    }
}
