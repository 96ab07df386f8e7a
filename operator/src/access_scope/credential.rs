//! The credential of a scope: what its trouble is called, when it ends, and the Secret that holds it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use roomkeeper_crds::{AccessScope, condition::CredentialsValid};
use roomkeeper_graph::{AssertionError, Decision, GraphError, Reason};
use tokio::sync::broadcast::error::RecvError;

use super::plan::{Answers, Trouble};
use crate::{context::Context, graph_trouble};

/// A credential that ends sooner is warned of.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What a token that was not given says about the credential.
pub fn trouble(error: &GraphError) -> Trouble<CredentialsValid> {
    let (reason, stalled, wait) = match error.decision() {
        _ if let GraphError::Assertion(error) = error => match error {
            AssertionError::NotFound(_) => (CredentialsValid::ServiceAccountNotFound, true, None),
            AssertionError::Forbidden(_) => (CredentialsValid::ServiceAccountForbidden, true, None),
            AssertionError::Unavailable(_) => (CredentialsValid::Unreachable, false, None),
        },
        Decision::UserMustAct(Reason::TenantUnknown) => (CredentialsValid::TenantUnknown, true, None),
        Decision::UserMustAct(Reason::PermissionMissing) => (CredentialsValid::PermissionMissing, true, None),
        Decision::UserMustAct(_) | Decision::TokenRejected => (CredentialsValid::AuthFailed, true, None),
        Decision::Wait(wait) => (CredentialsValid::Unreachable, false, Some(wait)),
        Decision::Retry | Decision::Gone(_) | Decision::Conflict { .. } => {
            (CredentialsValid::Unreachable, false, None)
        }
    };
    Trouble { reason, message: graph_trouble::text(error), stalled, wait }
}

/// When the credential ends, if that is soon.
pub fn ends_soon(answers: Option<&Answers>, now: Timestamp) -> Option<Timestamp> {
    answers?.credential_expires_at.filter(|ends| ends.duration_since(now) < SOON)
}

/// Warns of a credential that ends soon: once a day.
pub async fn warn(
    context: &Context,
    object: &AccessScope,
    uid: &str,
    answers: Option<&Answers>,
    now: Timestamp,
) {
    let Some(ends) = ends_soon(answers, now) else { return };
    if context.memory.may_warn(uid, now) {
        let note = format!(
            "the certificate of spec.credentials.clientCertificate ends at {ends}: register a new one with the app, then replace the Secret"
        );
        context.process.events.warn(object, "CredentialExpiring", note).await;
    }
}

/// Has a scope tried again as soon as a Secret that it depends on changes.
pub async fn follow_secrets(context: Arc<Context>) {
    let mut secrets = context.process.clients.changes();
    loop {
        let changed = match secrets.recv().await {
            Ok(changed) => Some(changed),
            Err(RecvError::Lagged(_)) => None,
            // The sender lives as long as the process.
            Err(RecvError::Closed) => std::future::pending().await,
        };
        for key in context.scopes.keys() {
            let Some(scope) = context.scopes.get(&key) else { continue };
            let concerned = changed.as_ref().is_none_or(|changed| {
                changed.namespace == key.namespace
                    && scope.spec.credentials.secret_name() == Some(&changed.name)
            });
            if concerned {
                context.memory.ask_now(&scope.uid().unwrap_or_default());
                context.scopes.trigger(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fortnight_is_soon() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let ends = |ends: Option<&str>| {
            let answers = Answers {
                generation: 1,
                requested: None,
                confirmed: None,
                credential_expires_at: ends.map(at),
                credential: Ok(()),
                members: None,
                shrink: None,
            };
            ends_soon(Some(&answers), at("2026-11-23T12:00:00Z")).is_some()
        };
        assert!(!ends(None));
        assert!(!ends(Some("2026-12-07T12:00:00Z")));
        assert!(ends(Some("2026-12-07T11:59:59Z")));
        assert!(ends(Some("2026-11-01T00:00:00Z")));
    }

    #[test]
    fn without_an_assertion_the_service_account_is_the_trouble() {
        for (error, expected, stalled) in [
            (AssertionError::NotFound("a".to_owned()), CredentialsValid::ServiceAccountNotFound, true),
            (AssertionError::Forbidden("a".to_owned()), CredentialsValid::ServiceAccountForbidden, true),
            (AssertionError::Unavailable("a".to_owned()), CredentialsValid::Unreachable, false),
        ] {
            let found = trouble(&GraphError::Assertion(error));
            assert_eq!((found.reason, found.stalled, found.message.as_str()), (expected, stalled, "a"));
        }
    }
}
