//! The files as one scope's users get them.

use std::collections::BTreeMap;

use axum::http::HeaderValue;
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};

use super::{
    fill::FillError,
    folder::{File, Folder},
    settings::ScopeSettings,
};

/// Bytes of an entity tag's hash.
const TAG_BYTES: usize = 18;

/// What the AccessScope says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tenant_id: String,
    pub(super) login_host: String,
}

impl Place {
    /// As good as any for finding out whether everything can be filled in.
    pub(super) fn example() -> Self {
        Self {
            tenant_id: "00000000-0000-0000-0000-000000000000".to_owned(),
            login_host: "login.example".to_owned(),
        }
    }
}

/// All files, filled in.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) policy: HeaderValue,
    pub(super) files: BTreeMap<String, Served>,
}

/// One file, filled in.
#[derive(Clone, Debug)]
pub(super) struct Served {
    pub(super) content: Bytes,
    pub(super) tag: HeaderValue,
    pub(super) media_type: &'static str,
}

/// A file that cannot be filled in.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {error}")]
pub struct SiteError {
    file: String,
    error: FillError,
}

impl Site {
    pub(super) fn new(folder: &Folder, settings: &ScopeSettings, place: &Place) -> Result<Self, SiteError> {
        let value = |name: &str| match name {
            "namespace" => Some(settings.namespace.as_str()),
            "scope" => Some(settings.scope.as_str()),
            "tenantId" => Some(place.tenant_id.as_str()),
            "loginHost" => Some(place.login_host.as_str()),
            other => settings.values.get(other).map(String::as_str),
        };
        let of = |file: &str| {
            let file = file.to_owned();
            move |error| SiteError { file, error }
        };
        let policy = folder.policy.fill(value).map_err(of("the policy"))?;
        let unfit = |_| FillError::Unfit("the whole line".to_owned());
        let header = HeaderValue::from_str(&policy).map_err(unfit).map_err(of("the policy"))?;
        let mut files = BTreeMap::new();
        for (name, file) in &folder.files {
            let content = match file {
                File::AsItIs(content) => content.clone(),
                File::Template(template) => Bytes::from(template.fill(value).map_err(of(name))?),
            };
            // The policy is part of what a browser keeps with the file.
            let tag = tag(&policy, &content).map_err(unfit).map_err(of(name))?;
            files.insert(name.clone(), Served { content, tag, media_type: media_type(name) });
        }
        Ok(Self { policy: header, files })
    }
}

fn tag(policy: &str, content: &[u8]) -> Result<HeaderValue, axum::http::header::InvalidHeaderValue> {
    let hash = Sha256::new().chain_update(policy).chain_update([0]).chain_update(content).finalize();
    let hash = BASE64URL_NOPAD.encode(hash.get(..TAG_BYTES).unwrap_or_default());
    HeaderValue::from_str(&format!("\"{hash}\""))
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("xml") => "application/xml; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
