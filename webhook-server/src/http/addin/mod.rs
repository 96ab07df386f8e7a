//! `GET /addin/{namespace}/{name}/{file}`: the page on which users consent, and the manifests of the add-in, filled in for one
//! scope. What is served, and with which headers, is in `addin/README.md`.

mod fill;
mod folder;
mod settings;
mod site;

use std::{collections::HashMap, path::Path as FilePath, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use kube::{Api, Client};
use roomkeeper_crds::AccessScope;
use roomkeeper_service::scope_access::{AllowedHosts, endpoints};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use self::{
    folder::{Folder, FolderError},
    settings::{ScopeSettings, SettingsError},
    site::{Place, Served, Site, SiteError},
};

/// What an AccessScope says of itself is asked for again after this time; strangers cannot make it more often.
const FRESH: Duration = Duration::from_secs(30);
/// The same, when there was no answer.
const FAILED: Duration = Duration::from_secs(2);
/// Longest wait for one answer of the API server.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A folder or settings that cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AddInError {
    /// `--addin-dir`
    #[error("--addin-dir: {0}")]
    Folder(#[from] FolderError),
    /// `--addin-settings`
    #[error("--addin-settings: {0}")]
    Settings(#[from] SettingsError),
    /// Both together.
    #[error("--addin-dir with --addin-settings: scope {scope}: {source}")]
    Site {
        /// Namespace and name.
        scope: String,
        /// Why.
        source: SiteError,
    },
}

/// All that is needed to serve; clones share it.
#[derive(Clone)]
pub struct AddInState(Arc<Inner>);

struct Inner {
    client: Client,
    allowed_hosts: AllowedHosts,
    folder: Folder,
    scopes: HashMap<(String, String), OfScope>,
}

struct OfScope {
    settings: ScopeSettings,
    /// Locked while the API server is asked, so that many callers share one answer.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    served: Option<(Place, Arc<Site>)>,
    /// Whether there was an answer at all.
    proven: bool,
    ask_again: Option<Instant>,
}

impl AddInState {
    /// Reads the folder, and finds out whether everything in it can be filled in from the settings.
    ///
    /// # Errors
    /// When it cannot: the message names what is missing.
    pub fn new(
        client: Client,
        allowed_hosts: AllowedHosts,
        folder: &FilePath,
        settings: &str,
    ) -> Result<Self, AddInError> {
        let folder = Folder::read(folder)?;
        let mut scopes = HashMap::new();
        for settings in settings::read(settings)? {
            let key = (settings.namespace.clone(), settings.scope.clone());
            Site::new(&folder, &settings, &Place::example())
                .map_err(|source| AddInError::Site { scope: format!("{}/{}", key.0, key.1), source })?;
            scopes.insert(key, OfScope { settings, known: Mutex::default() });
        }
        Ok(Self(Arc::new(Inner { client, allowed_hosts, folder, scopes })))
    }
}

/// The route, without any prefix of the public URL.
pub fn router(state: AddInState) -> Router {
    Router::new().route("/addin/{namespace}/{name}/{file}", get(serve)).with_state(state)
}

async fn serve(
    State(AddInState(state)): State<AddInState>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let Ok(Path((namespace, name, file))) = path else { return StatusCode::NOT_FOUND.into_response() };
    // Before anything is asked for: what is not in the folder is in none of its filled-in forms.
    let scope = state.scopes.get(&(namespace, name)).filter(|_| state.folder.files.contains_key(&file));
    let Some(scope) = scope else { return StatusCode::NOT_FOUND.into_response() };
    match state.site(scope).await {
        Ok(Some(site)) => match site.files.get(&file) {
            Some(served) => answer(&site, served, request.headers()),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(Unavailable) => {
            let later = [(header::RETRY_AFTER, HeaderValue::from_static("5"))];
            (StatusCode::SERVICE_UNAVAILABLE, later).into_response()
        }
    }
}

fn answer(site: &Site, served: &Served, asked: &HeaderMap) -> Response {
    let unchanged = asked.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        let tags = value.to_str().unwrap_or_default().split(',');
        let own = served.tag.to_str().unwrap_or_default();
        tags.map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == own)
    });
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = Response::new(Body::from(served.content.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(served.media_type));
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, site.policy.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, served.tag.clone());
    response
}

/// Nothing is known of the scope: the API server does not answer, or a host that the scope names is not allowed.
struct Unavailable;

impl Inner {
    /// The files of the scope; `None` where it does not exist.
    async fn site(&self, scope: &OfScope) -> Result<Option<Arc<Site>>, Unavailable> {
        let mut known = scope.known.lock().await;
        if known.ask_again.is_none_or(|at| Instant::now() >= at) {
            match self.ask(&scope.settings, known.served.as_ref()).await {
                Ok(served) => {
                    *known = Known { served, proven: true, ask_again: Some(Instant::now() + FRESH) };
                }
                // What was served before is still right, most likely.
                Err(error) => {
                    let ScopeSettings { namespace, scope, .. } = &scope.settings;
                    tracing::warn!(
                        scope = format!("{namespace}/{scope}"),
                        error,
                        "what an AccessScope says for the add-in's page is not known"
                    );
                    known.ask_again = Some(Instant::now() + FAILED);
                }
            }
        }
        match &known.served {
            Some((_, site)) => Ok(Some(Arc::clone(site))),
            None if known.proven => Ok(None),
            None => Err(Unavailable),
        }
    }

    async fn ask(
        &self,
        settings: &ScopeSettings,
        before: Option<&(Place, Arc<Site>)>,
    ) -> Result<Option<(Place, Arc<Site>)>, String> {
        let api: Api<AccessScope> = Api::namespaced(self.client.clone(), &settings.namespace);
        let found = match timeout(TIMEOUT, api.get_opt(&settings.scope)).await {
            Ok(Ok(Some(found))) => found,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(_)) | Err(_) => return Err("the API server does not answer".to_owned()),
        };
        let place = self.place(&found)?;
        if let Some((_, site)) = before.filter(|(at, _)| *at == place) {
            return Ok(Some((place, Arc::clone(site))));
        }
        let site = Site::new(&self.folder, settings, &place).map_err(|error| error.to_string())?;
        Ok(Some((place, Arc::new(site))))
    }

    fn place(&self, scope: &AccessScope) -> Result<Place, String> {
        let endpoints = endpoints(&scope.spec, &self.allowed_hosts).map_err(|error| error.to_string())?;
        let login_host = settings::host(endpoints.authority());
        Ok(Place { tenant_id: scope.spec.tenant_id.clone(), login_host })
    }
}
