//! Kubeconfig files for users of the control plane.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use data_encoding::{BASE64, HEXLOWER};
use kube::{
    Client, Config,
    config::{
        AuthInfo, Cluster, Context, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
    },
};
use sha2::{Digest, Sha256};

use crate::authority::{Authority, AuthorityError, Identity};

/// Why there is no kubeconfig or no client.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// No certificate.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The file could not be written or read.
    #[error("kubeconfig {}: {source}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The kubeconfig is not one.
    #[error("kubeconfig: {0}")]
    Content(#[from] kube::config::KubeconfigError),
    /// It could not be written as YAML.
    #[error("kubeconfig as YAML: {0}")]
    Yaml(#[from] serde_yaml::Error),
    /// `KUBECONFIG` of a live cluster has no user to act as.
    #[error("KUBECONFIG: {missing}: choose a context with `kubectl config use-context`")]
    Context {
        /// What is not there.
        missing: &'static str,
    },
    /// No client.
    #[error("client for the API server: {0}")]
    Client(#[from] kube::Error),
}

/// Who issues identities.
pub(crate) enum Issuer {
    /// Our own authority: client certificates.
    Certificates { url: String, authority: Box<Authority> },
    /// A live cluster: its administrator acts as somebody else.
    Impersonation(Box<Kubeconfig>),
}

impl Issuer {
    pub(crate) fn kubeconfig(&self, user: &str, groups: &[&str]) -> Result<Kubeconfig, KubeconfigError> {
        match self {
            Self::Certificates { url, authority } => {
                Ok(with_certificate(url, authority.certificate(), &authority.client(user, groups)?))
            }
            Self::Impersonation(admin) => impersonating(Kubeconfig::clone(admin), user, groups),
        }
    }
}

fn with_certificate(url: &str, ca: &str, identity: &Identity) -> Kubeconfig {
    const NAME: &str = "roomkeeper";
    Kubeconfig {
        api_version: Some("v1".to_owned()),
        kind: Some("Config".to_owned()),
        current_context: Some(NAME.to_owned()),
        clusters: vec![NamedCluster {
            name: NAME.to_owned(),
            cluster: Some(Cluster {
                server: Some(url.to_owned()),
                certificate_authority_data: Some(BASE64.encode(ca.as_bytes())),
                ..Cluster::default()
            }),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: NAME.to_owned(),
            auth_info: Some(AuthInfo {
                client_certificate_data: Some(BASE64.encode(identity.certificate.as_bytes())),
                client_key_data: Some(BASE64.encode(identity.key.as_bytes()).into()),
                ..AuthInfo::default()
            }),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![NamedContext {
            name: NAME.to_owned(),
            context: Some(Context {
                cluster: NAME.to_owned(),
                user: Some(NAME.to_owned()),
                ..Context::default()
            }),
            ..NamedContext::default()
        }],
        ..Kubeconfig::default()
    }
}

fn impersonating(mut admin: Kubeconfig, user: &str, groups: &[&str]) -> Result<Kubeconfig, KubeconfigError> {
    let missing = |missing| KubeconfigError::Context { missing };
    let context = admin.current_context.as_deref().ok_or_else(|| missing("no current-context"))?;
    let user_name = admin
        .contexts
        .iter()
        .find(|named| named.name == context)
        .and_then(|named| named.context.as_ref())
        .and_then(|context| context.user.clone())
        .ok_or_else(|| missing("the current context names no user"))?;
    let info = admin
        .auth_infos
        .iter_mut()
        .find(|named| named.name == user_name)
        .and_then(|named| named.auth_info.as_mut())
        .ok_or_else(|| missing("the user of the current context is not defined"))?;
    info.impersonate = Some(user.to_owned());
    info.impersonate_groups = Some(groups.iter().map(|group| (*group).to_owned()).collect());
    Ok(admin)
}

/// A file name that is the same for the same user and groups.
pub(crate) fn file_name(user: &str, groups: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(&user).chain(groups) {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let mut digest = HEXLOWER.encode(&hash.finalize());
    digest.truncate(16);
    format!("kubeconfig-{digest}.yaml")
}

/// Writes it to `path` at once and readable by its owner only.
pub(crate) fn write(kubeconfig: &Kubeconfig, path: &Path) -> Result<(), KubeconfigError> {
    let text = serde_yaml::to_string(kubeconfig)?;
    let file = |source| KubeconfigError::File { path: path.to_owned(), source };
    let mut temporary =
        tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("."))).map_err(file)?;
    temporary.write_all(text.as_bytes()).map_err(file)?;
    temporary.persist(path).map_err(|error| file(error.error))?;
    Ok(())
}

/// A new client with connections of its own.
pub(crate) async fn client(kubeconfig: Kubeconfig) -> Result<Client, KubeconfigError> {
    Ok(Client::try_from(config(kubeconfig).await?)?)
}

/// The API server that it names.
pub(crate) async fn url(kubeconfig: Kubeconfig) -> Result<String, KubeconfigError> {
    Ok(config(kubeconfig).await?.cluster_url.to_string())
}

async fn config(kubeconfig: Kubeconfig) -> Result<Config, KubeconfigError> {
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Kubeconfig {
        let identity = Identity { certificate: "cert".into(), key: "key".into() };
        with_certificate("https://127.0.0.1:1", "ca", &identity)
    }

    #[test]
    fn a_live_clusters_administrator_acts_as_the_user() {
        let text = serde_yaml::to_string(&impersonating(live(), "jane", &["a", "b"]).unwrap()).unwrap();
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let user = &value["users"][0]["user"];
        assert_eq!(user["as"], "jane");
        assert_eq!(user["as-groups"], serde_json::json!(["a", "b"]));
        assert_eq!(user["client-key-data"], BASE64.encode(b"key"));
    }

    #[test]
    fn a_kubeconfig_without_a_context_is_refused() {
        let error = impersonating(Kubeconfig::default(), "jane", &[]).unwrap_err().to_string();
        assert!(error.contains("no current-context") && error.contains("use-context"), "{error}");
    }

    #[test]
    fn file_names_tell_users_and_groups_apart() {
        assert_eq!(file_name("a", &["b"]), file_name("a", &["b"]));
        assert_ne!(file_name("a", &["b"]), file_name("ab", &[]));
        assert_ne!(file_name("a", &["b", "c"]), file_name("a", &["bc"]));
    }

    #[test]
    fn a_written_kubeconfig_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig.yaml");
        write(&live(), &path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let read = Kubeconfig::read_from(&path).unwrap();
        assert_eq!(read.current_context.as_deref(), Some("roomkeeper"));
    }
}
