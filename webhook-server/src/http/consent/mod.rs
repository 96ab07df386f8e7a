//! `/api/scopes/{namespace}/{name}/consent`: a user's consent, proven by the user's own token. `GET` tells how it stands, `POST`
//! grants, `DELETE` withdraws where the scope allows it. The contract is in `addin/README.md`.
//!
//! It writes ConsentRecords and nothing else. A token is refused before anything outside is asked wherever that is
//! possible; an unknown scope answers like a bad token, so that nobody learns which scopes exist.

mod answer;
mod grant;
mod keys;
mod rate;
mod register;
mod request;
mod state;
mod status;
mod token;
mod withdraw;

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::Arc,
};

use axum::{
    Router,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{Method, request::Parts},
    response::{IntoResponse as _, Response},
    routing::get,
};
use jiff::Timestamp;
use kube::Client;
use prometheus::{IntCounterVec, Opts, Registry};
use roomkeeper_crds::AccessScope;
use roomkeeper_graph::{audit::AuditSink, http::Http};
use roomkeeper_service::{https::Peer, scope_access::AllowedHosts};
use tokio::sync::Semaphore;

use self::{
    answer::Answer,
    grant::Grant,
    keys::{NoKey, TenantKeys},
    rate::{Rates, Wait},
    register::{Register, RegisterError},
    token::{Expected, Presented, Refused, User},
};
use super::client_address::TrustedProxies;

/// Requests at a time; a consent is a rare thing.
const MAX_IN_FLIGHT: usize = 64;

/// Requests by outcome.
#[derive(Clone, Debug)]
pub struct ConsentMetrics {
    requests: IntCounterVec,
}

impl ConsentMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new("roomkeeper_consent_requests_total", "Requests to the consent endpoint"),
            &["outcome"],
        )?;
        for label in Answer::LABELS {
            requests.with_label_values(&[label]);
        }
        registry.register(Box::new(requests.clone()))?;
        Ok(Self { requests })
    }
}

/// How many requests are taken, and how they are counted.
#[derive(Clone, Debug)]
pub struct ConsentLimits {
    /// Requests of one address per minute; half of them at once.
    pub per_address: NonZeroU32,
    /// Who may say for which address they ask.
    pub proxies: TrustedProxies,
}

/// All that the endpoint needs; clones share it.
#[derive(Clone)]
pub struct ConsentState(Arc<Inner>);

struct Inner {
    keys: TenantKeys,
    register: Register,
    metrics: ConsentMetrics,
    proxies: TrustedProxies,
    rates: Rates,
    in_flight: Semaphore,
}

impl ConsentState {
    /// The endpoint over the API server behind `client`; signing keys are read through `http`.
    pub fn new(
        client: Client,
        http: Http,
        audit: Arc<dyn AuditSink>,
        allowed_hosts: AllowedHosts,
        metrics: ConsentMetrics,
        limits: ConsentLimits,
    ) -> Self {
        Self(Arc::new(Inner {
            keys: TenantKeys::new(http, Arc::clone(&audit), allowed_hosts),
            register: Register::new(client, audit),
            metrics,
            proxies: limits.proxies,
            rates: Rates::new(limits.per_address),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
        }))
    }
}

/// The route of the endpoint, without any prefix of the public URL.
pub fn router(state: ConsentState) -> Router {
    let methods = get(consent).post(consent).delete(consent);
    Router::new().route("/api/scopes/{namespace}/{name}/consent", methods).with_state(state)
}

async fn consent(
    State(ConsentState(state)): State<ConsentState>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let answer = match state.in_flight.try_acquire() {
        Ok(_permit) => state.take(path.ok(), request).await.unwrap_or_else(|answer| answer),
        Err(_) => Answer::Overloaded,
    };
    if let Answer::Refused(reason) = &answer {
        tracing::warn!(reason = reason.as_str(), "a consent was refused");
    }
    state.metrics.requests.with_label_values(&[answer.label()]).inc();
    answer.into_response()
}

/// Whose consent to what a request is about, proven.
struct Asked {
    namespace: String,
    scope: AccessScope,
    user: User,
}

impl Inner {
    async fn take(&self, path: Option<Path<(String, String)>>, request: Request) -> Result<Answer, Answer> {
        let (parts, body) = request.into_parts();
        self.rates.request(self.address(&parts)).map_err(limited)?;
        let asked = self.admit(path, &parts).await?;
        if parts.method == Method::POST {
            self.rates.change(asked.user.id).map_err(limited)?;
            let ticked = request::ticked(&parts.headers, body).await?;
            self.grant(asked, ticked).await
        } else if parts.method == Method::DELETE {
            self.rates.change(asked.user.id).map_err(limited)?;
            self.withdraw(&asked).await
        } else {
            self.rates.look(asked.user.id).map_err(limited)?;
            self.status(&asked, request::language(&parts.uri).as_deref()).await
        }
    }

    fn address(&self, parts: &Parts) -> IpAddr {
        let peer = parts.extensions.get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| *address);
        self.proxies.client(peer, &parts.headers)
    }

    async fn admit(&self, path: Option<Path<(String, String)>>, parts: &Parts) -> Result<Asked, Answer> {
        let token = request::bearer(&parts.headers).map_err(Answer::Refused)?;
        let presented = Presented::read(token).map_err(Answer::Refused)?;
        let Some(Path((namespace, name))) =
            path.filter(|Path((namespace, name))| request::is_name(namespace) && request::is_name(name))
        else {
            return Err(Answer::Refused(Refused::UnknownScope));
        };
        let scope = self.register.scope(&namespace, &name).await.map_err(|error| unavailable(&error))?;
        let scope = scope.ok_or(Answer::Refused(Refused::UnknownScope))?;
        let expected = Expected { tenant_id: &scope.spec.tenant_id, audience: &scope.spec.add_in.audience };
        let user = self.user(&presented, &scope, expected).await?;
        Ok(Asked { namespace, scope, user })
    }

    async fn user(
        &self,
        presented: &Presented<'_>,
        scope: &AccessScope,
        expected: Expected<'_>,
    ) -> Result<User, Answer> {
        presented.plausible(expected, Timestamp::now()).map_err(Answer::Refused)?;
        let found = self.keys.key(scope, &presented.kid).await.map_err(|none| match none {
            NoKey::Unknown => Answer::Refused(Refused::UnknownKey),
            NoKey::Unavailable => Answer::Unavailable,
        })?;
        presented.verify(expected, &found.issuer, &found.key, Timestamp::now()).map_err(Answer::Refused)
    }

    async fn status(&self, asked: &Asked, language: Option<&str>) -> Result<Answer, Answer> {
        let Asked { namespace, scope, user } = asked;
        let seen = self.register.look(namespace, scope, user).await.map_err(|error| unavailable(&error))?;
        Ok(Answer::Status(status::status(scope, &seen, language)))
    }

    async fn grant(&self, asked: Asked, ticked: request::Ticked) -> Result<Answer, Answer> {
        let Asked { namespace, scope, user } = asked;
        if ticked.notice_version != scope.spec.consent.notice_version {
            return Err(Answer::NoticeOutdated { current: scope.spec.consent.notice_version });
        }
        let grant =
            Grant { user, notice_version: ticked.notice_version, add_in_version: ticked.add_in_version };
        let standing = self
            .register
            .grant(&namespace, &scope, &grant, Timestamp::now())
            .await
            .map_err(|error| unavailable(&error))?;
        if standing.created {
            tracing::info!(consent = standing.name, "consent granted");
            Ok(Answer::Created(standing))
        } else {
            Ok(Answer::Standing(standing))
        }
    }

    async fn withdraw(&self, asked: &Asked) -> Result<Answer, Answer> {
        let Asked { namespace, scope, user } = asked;
        if !scope.spec.consent.self_service_withdrawal {
            return Err(Answer::NotAllowed);
        }
        self.register
            .withdraw(namespace, scope, user.id, Timestamp::now())
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(Answer::Withdrawn)
    }
}

fn limited(Wait(wait): Wait) -> Answer {
    Answer::RateLimited(wait)
}

fn unavailable(error: &RegisterError) -> Answer {
    tracing::warn!(%error, "a consent could not be looked after");
    Answer::Unavailable
}
