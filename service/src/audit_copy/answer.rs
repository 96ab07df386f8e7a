//! One answer: the signed manifest of the copy on the first line, then the lines.

use std::{io, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use kube::Client;
use roomkeeper_crds::audit::{COPY_SYSTEM_PATH, copy_path};
use roomkeeper_graph::audit::{
    AuditEntry, AuditSink as _, Cause,
    chain::{Folder, Hash, LogName, Manifest, SYSTEM, Signed},
};
use secrecy::SecretString;
use serde::Deserialize;

use super::review::{ReviewError, may, who};
use crate::{
    audit::{Checkpoints, GuardedAudit},
    audit_export::copied,
    https::bearer,
};

#[derive(Clone)]
pub(super) struct Answering {
    pub(super) client: Client,
    pub(super) sink: Arc<GuardedAudit>,
    pub(super) checkpoints: Arc<Checkpoints>,
}

/// What of a log is wanted.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Only what no export has carried away.
    #[serde(default)]
    pending: bool,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("no token: send Authorization: Bearer")]
    NoToken,
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error("{0:?} is no AccessScope's namespace and name")]
    Name(String),
    #[error("this writer has no line of {0}")]
    NoLog(LogName),
    #[error("the copy cannot be made now: {0}")]
    Unavailable(String),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoToken | Self::Review(ReviewError::Unauthenticated) => StatusCode::UNAUTHORIZED,
            Self::Review(ReviewError::Forbidden(_)) => StatusCode::FORBIDDEN,
            Self::Name(_) | Self::NoLog(_) => StatusCode::NOT_FOUND,
            Self::Review(ReviewError::Unanswered { .. }) | Self::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        // Nobody comes here by mistake: who is refused may be trying.
        if status != StatusCode::NOT_FOUND {
            tracing::warn!(error = %self, %status, "a copy of the audit was not given");
        }
        (status, format!("{self}\n")).into_response()
    }
}

pub(super) fn router(answering: Answering) -> Router {
    Router::new()
        .route(&copy_path("{namespace}", "{name}"), get(of_scope))
        .route(COPY_SYSTEM_PATH, get(of_no_scope))
        .with_state(answering)
}

async fn of_scope(
    State(answering): State<Answering>,
    Path((namespace, name)): Path<(String, String)>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    answering.give(&format!("{namespace}/{name}"), wanted, &headers).await
}

async fn of_no_scope(
    State(answering): State<Answering>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    answering.give(SYSTEM, wanted, &headers).await
}

impl Answering {
    async fn give(&self, scope: &str, wanted: Wanted, headers: &HeaderMap) -> Result<Response, Refused> {
        let user = who(&self.client, &token(headers).ok_or(Refused::NoToken)?).await?;
        let log = LogName::of_scope(scope).ok_or_else(|| Refused::Name(scope.to_owned()))?;
        may(&self.client, &user, &log).await?;
        let logs = self.checkpoints.logs();
        if !logs.heads().contains_key(&log) {
            return Err(Refused::NoLog(log));
        }
        let reader = reader(&user);
        let unavailable = |error: &dyn std::fmt::Display| Refused::Unavailable(error.to_string());
        let note = AuditEntry::Note {
            time: Timestamp::now(),
            scope: if log.as_str() == SYSTEM { String::new() } else { scope.to_owned() },
            caused_by: reader.clone(),
            text: "a copy of this log was given".to_owned(),
        };
        self.sink.record(note).await.map_err(|error| unavailable(&error))?;
        let checkpoint =
            self.checkpoints.checkpoint(&log, None).await.map_err(|error| unavailable(&error))?;
        let (key, keys) = self.checkpoints.keys().await.map_err(|error| unavailable(&error))?;
        let others = self.checkpoints.others(&log, &keys).await.map_err(|error| unavailable(&error))?;
        let stated = &checkpoint.statement;
        let first = if wanted.pending { stated.exported.saturating_add(1) } else { 1 };
        let first = first.max(stated.start.number);
        let manifest = copied(&checkpoint, first, &log, &others, Timestamp::now());
        let manifest = Signed::new(manifest, &key).map_err(|error| unavailable(&error))?;
        tracing::info!(%log, %reader, first, last = stated.number, "gives a copy of the audit");
        Ok(response(manifest, logs.folder(&log)))
    }
}

fn token(headers: &HeaderMap) -> Option<SecretString> {
    bearer(headers).ok().filter(|token| !token.is_empty()).map(Into::into)
}

/// Who was given a copy, as the audit names them: a `ServiceAccount` by its name, a person by a hash.
fn reader(user: &UserInfo) -> Cause {
    let name = user.username.as_deref().unwrap_or_default();
    match name.strip_prefix("system:serviceaccount:") {
        Some(account) => Cause::new(format!("ServiceAccount/{}", account.replacen(':', "/", 1))),
        None => Cause::new(format!("User/{}", Hash::of(name.as_bytes()))),
    }
}

/// Manifest and lines, read file by file while they are sent: where one cannot be read the connection breaks, so that nobody takes the rest
/// for all.
fn response(manifest: Signed<Manifest>, folder: Folder) -> Response {
    let head = Ok(Bytes::from(format!("{}\n", manifest.envelope)));
    let lines = stream::iter(manifest.statement.files).then(move |part| {
        let folder = folder.clone();
        async move {
            let read = tokio::task::spawn_blocking(move || folder.lines(part.first, part.last)).await;
            let read = read.map_err(io::Error::other).flatten();
            read.map(Bytes::from).inspect_err(|error| tracing::warn!(%error, "a copy of the audit broke off"))
        }
    });
    let body = Body::from_stream(stream::iter([head]).chain(lines));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_is_named_without_personal_data() {
        let named = |name: &str| {
            let user = UserInfo { username: Some(name.to_owned()), ..UserInfo::default() };
            reader(&user).as_str().to_owned()
        };
        assert_eq!(
            named("system:serviceaccount:rooms:roomkeeper-auditor"),
            "ServiceAccount/rooms/roomkeeper-auditor"
        );
        let person = named("ada@contoso.example");
        assert!(person.starts_with("User/") && !person.contains("ada"), "{person}");
    }

    #[test]
    fn a_token_is_a_bearer_token() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            token(&headers).is_some()
        };
        assert!(of("Bearer abc") && of("bearer abc"));
        assert!(!of("Basic abc") && !of("Bearer") && !of("Bearer "));
        assert!(token(&HeaderMap::new()).is_none());
    }
}
