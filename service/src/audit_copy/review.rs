//! Who asks, and whether they may: the API server's word on both.

use std::time::Duration;

use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, Resource as _, api::PostParams};
use roomkeeper_crds::{
    AccessScope, GROUP,
    audit::{COPY_AUDIENCE, COPY_SUBRESOURCE},
};
use roomkeeper_graph::audit::chain::LogName;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

/// Longest wait for one answer of the API server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why nobody is given anything.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// The token is none, is out of date, or was made for something else.
    #[error(
        "the token is not accepted: it has to be of this cluster, in date, and made for the audience {COPY_AUDIENCE}"
    )]
    Unauthenticated,
    /// The token's owner may not.
    #[error(
        "not allowed: the token's owner needs get on accessscopes/{COPY_SUBRESOURCE} {0}; the role roomkeeper-auditor grants it"
    )]
    Forbidden(String),
    /// The API server did not say.
    #[error("{kind}: {cause}; the daemon's role has to allow create on it")]
    Unanswered {
        /// What was asked for.
        kind: &'static str,
        /// What came of it.
        cause: String,
    },
}

/// The owner of a token that was made for copies of the audit.
///
/// # Errors
/// See [`ReviewError`].
pub(super) async fn who(client: &Client, token: &SecretString) -> Result<UserInfo, ReviewError> {
    let spec = TokenReviewSpec {
        audiences: Some(vec![COPY_AUDIENCE.to_owned()]),
        token: Some(token.expose_secret().to_owned()),
    };
    let asked = TokenReview { spec, ..TokenReview::default() };
    let api: Api<TokenReview> = Api::all(client.clone());
    let status = answer("TokenReview", api.create(&PostParams::default(), &asked)).await?.status;
    let status = status.unwrap_or_default();
    // An authenticator that knows no audiences answers without them, and its tokens are for the API server.
    let is_meant = status.audiences.iter().flatten().any(|audience| audience == COPY_AUDIENCE);
    match status.user {
        Some(user) if status.authenticated == Some(true) && is_meant => Ok(user),
        _ => Err(ReviewError::Unauthenticated),
    }
}

/// Whether they may read that log. The one without a scope is for those who may read every scope's.
///
/// # Errors
/// They may not; see [`ReviewError`].
pub(super) async fn may(client: &Client, user: &UserInfo, log: &LogName) -> Result<(), ReviewError> {
    let scope = log.as_str().split_once('/');
    let attributes = ResourceAttributes {
        group: Some(GROUP.to_owned()),
        version: Some(AccessScope::version(&()).into_owned()),
        resource: Some(AccessScope::plural(&()).into_owned()),
        subresource: Some(COPY_SUBRESOURCE.to_owned()),
        verb: Some("get".to_owned()),
        namespace: scope.map(|(namespace, _)| namespace.to_owned()),
        name: scope.map(|(_, name)| name.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        user: user.username.clone(),
        uid: user.uid.clone(),
        groups: user.groups.clone(),
        extra: user.extra.clone(),
        resource_attributes: Some(attributes),
        ..SubjectAccessReviewSpec::default()
    };
    let asked = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = answer("SubjectAccessReview", api.create(&PostParams::default(), &asked)).await?;
    match answer.status {
        Some(status) if status.allowed => Ok(()),
        _ => Err(ReviewError::Forbidden(
            scope.map_or("in every namespace".to_owned(), |_| format!("of {log}")),
        )),
    }
}

async fn answer<T>(
    kind: &'static str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ReviewError> {
    let cause = match timeout(TIMEOUT, call).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error.to_string(),
        Err(_elapsed) => "the API server did not answer in time".to_owned(),
    };
    Err(ReviewError::Unanswered { kind, cause })
}
