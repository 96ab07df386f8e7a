//! Reads what a destination names to prove who exports: a Secret, or a service account and a token of it, by name, in the AccessScope's
//! namespace.

use std::{collections::BTreeMap, io, io::Write as _, path::Path, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Secret, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};
use roomkeeper_crds::{audit_export::Destination, condition::AuditExported};
use tempfile::NamedTempFile;

use super::{Credential, CredentialError, Target};

/// Longest wait for one answer of the API server.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Life of a token, in seconds: longer than an export takes.
const TOKEN_SECONDS: i64 = 3_600;

/// A credential, and the file that it is in where it is a token.
#[derive(Debug)]
pub struct Access {
    /// What proves who exports.
    pub credential: Credential,
    /// The token's file, which nobody else can read and which goes with this value.
    _token: Option<NamedTempFile>,
}

/// Why a destination's credential could not be read. Quotes no value.
#[derive(Debug, thiserror::Error)]
pub enum DereferenceError {
    /// The object does not exist.
    #[error(
        "{kind} {name} does not exist in the namespace of the AccessScope: create it, or correct spec.audit.export.destination"
    )]
    NotFound {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It may not be read, or its tokens not be asked for.
    #[error(
        "{kind} {name} may not be {verb}: add {name} to resourceNames of a Role of this namespace that lets Roomkeeper's service accounts do so (docs/examples/01-rbac.yaml)"
    )]
    Forbidden {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What was tried.
        verb: &'static str,
    },
    /// It lacks something.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The API server did not answer, or otherwise than it should.
    #[error("the API server could not be asked for {kind} {name}")]
    ApiServer {
        /// Kind of the object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Its error; `None` when it did not answer in time.
        source: Option<Box<kube::Error>>,
    },
    /// The token could not be put into a file.
    #[error("the token of ServiceAccount {name} could not be written to a file: {source}")]
    File {
        /// Name of the service account.
        name: String,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl DereferenceError {
    /// The reason of `AuditExported` that says this.
    pub fn reason(&self) -> AuditExported {
        match self {
            Self::NotFound { .. } | Self::Forbidden { .. } | Self::Credential(_) => {
                AuditExported::CredentialsMissing
            }
            Self::ApiServer { .. } | Self::File { .. } => AuditExported::ExportFailed,
        }
    }
}

/// Reads the credential of a destination. A token is asked for anew each time, and lies in a file below `folder` until the answer is
/// dropped.
///
/// # Errors
/// See [`DereferenceError`].
pub async fn dereference(
    kube: &Client,
    namespace: &str,
    destination: &Destination,
    target: &Target,
    folder: &Path,
) -> Result<Access, DereferenceError> {
    if let Some(name) = &destination.service_account_name {
        let api: Api<ServiceAccount> = Api::namespaced(kube.clone(), namespace);
        let kind = "ServiceAccount";
        let account = call(kind, name, "read", api.get(name)).await?;
        let annotations = account.metadata.annotations.unwrap_or_default();
        let audience = match target {
            Target::S3 { .. } => "sts.amazonaws.com",
            Target::Folder { .. } | Target::Azure { .. } => "api://AzureADTokenExchange",
        };
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![audience.to_owned()],
                expiration_seconds: Some(TOKEN_SECONDS),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let asked = api.create_token_request(name, &params, &request);
        let token = call(kind, name, "asked for tokens", asked).await?.status.map(|status| status.token);
        let token =
            token.ok_or_else(|| DereferenceError::ApiServer { kind, name: name.clone(), source: None })?;
        let write = || {
            // Only this user can read it.
            let mut file = NamedTempFile::new_in(folder)?;
            file.write_all(token.as_bytes())?;
            file.flush()?;
            Ok(file)
        };
        let file = write().map_err(|source| DereferenceError::File { name: name.clone(), source })?;
        let credential = Credential::of_service_account(target, name, &annotations, file.path())?;
        return Ok(Access { credential, _token: Some(file) });
    }
    let credential = match &destination.secret_name {
        None => Credential::of_secret(target, "", &BTreeMap::new())?,
        Some(name) => {
            let api: Api<Secret> = Api::namespaced(kube.clone(), namespace);
            let secret = call("Secret", name, "read", api.get(name)).await?;
            let data = secret.data.unwrap_or_default();
            let data = data.into_iter().map(|(key, value)| (key, value.0)).collect();
            Credential::of_secret(target, name, &data)?
        }
    };
    Ok(Access { credential, _token: None })
}

async fn call<T>(
    kind: &'static str,
    name: &str,
    verb: &'static str,
    asked: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, DereferenceError> {
    let name = name.to_owned();
    match tokio::time::timeout(TIMEOUT, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
            Err(DereferenceError::NotFound { kind, name })
        }
        Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
            Err(DereferenceError::Forbidden { kind, name, verb })
        }
        Ok(Err(error)) => Err(DereferenceError::ApiServer { kind, name, source: Some(Box::new(error)) }),
        Err(_elapsed) => Err(DereferenceError::ApiServer { kind, name, source: None }),
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, fs};

    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    /// An API server that has one answer for each method and path.
    fn api_server(answers: Vec<(&'static str, u16, Value)>) -> Client {
        let service = tower::service_fn(move |request: http::Request<Body>| {
            let asked = format!("{} {}", request.method(), request.uri().path());
            let found = answers.iter().find(|(path, ..)| *path == asked).cloned();
            let (_, code, body) = found.unwrap_or_else(|| panic!("{asked}"));
            let answer =
                http::Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            async move { Ok::<_, Infallible>(answer.unwrap()) }
        });
        Client::new(service, "default")
    }

    fn refused(code: u16) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "reason": "x", "code": code})
    }

    fn destination(url: &str, secret: Option<&str>, account: Option<&str>) -> (Destination, Target) {
        let destination = Destination {
            url: url.to_owned(),
            endpoint: Some("https://storage.example".to_owned()),
            region: url.starts_with("s3:").then(|| "eu-central-1".to_owned()),
            secret_name: secret.map(str::to_owned),
            service_account_name: account.map(str::to_owned),
        };
        let target = Target::new(&destination, &"storage.example".parse().unwrap(), None).unwrap();
        (destination, target)
    }

    const SECRET: &str = "GET /api/v1/namespaces/rooms/secrets/s";
    const ACCOUNT: &str = "GET /api/v1/namespaces/rooms/serviceaccounts/sa";
    const TOKEN: &str = "POST /api/v1/namespaces/rooms/serviceaccounts/sa/token";

    async fn read(
        kube: &Client,
        (destination, target): &(Destination, Target),
    ) -> Result<Access, DereferenceError> {
        dereference(kube, "rooms", destination, target, &std::env::temp_dir()).await
    }

    #[tokio::test]
    async fn a_secret_is_read_by_name() {
        let data = json!({"accessKeyId": "Y2FuYXJ5", "secretAccessKey": "Y2FuYXJ5"});
        let kube = api_server(vec![(SECRET, 200, json!({"metadata": {"name": "s"}, "data": data}))]);
        let one = destination("s3://bucket", Some("s"), None);
        assert!(matches!(read(&kube, &one).await.unwrap().credential, Credential::AccessKey { .. }));
        for (code, reason) in [
            (404, AuditExported::CredentialsMissing),
            (403, AuditExported::CredentialsMissing),
            (500, AuditExported::ExportFailed),
        ] {
            let error = read(&api_server(vec![(SECRET, code, refused(code))]), &one).await.unwrap_err();
            assert_eq!(error.reason(), reason);
            assert!(error.to_string().contains("Secret s"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_token_lies_in_a_file_that_goes_with_it() {
        let annotations = json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"});
        let account = json!({"metadata": {"name": "sa", "annotations": annotations}});
        let token = json!({
            "metadata": {}, "spec": {"audiences": ["sts.amazonaws.com"]},
            "status": {"token": "canary", "expirationTimestamp": "2026-11-23T11:00:00Z"},
        });
        let kube = api_server(vec![(ACCOUNT, 200, account), (TOKEN, 201, token)]);
        let access = read(&kube, &destination("s3://bucket", None, Some("sa"))).await.unwrap();
        let Credential::Identity { token, .. } = &access.credential else { panic!() };
        let path = token.clone();
        assert_eq!(fs::read_to_string(&path).unwrap(), "canary");
        assert!(!format!("{access:?}").contains("canary"));
        drop(access);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_service_account_lacks_is_named() {
        let account = || json!({"metadata": {"name": "sa"}});
        let one = destination("az://acc/box", None, Some("sa"));
        let kube = api_server(vec![(ACCOUNT, 200, account()), (TOKEN, 403, refused(403))]);
        let error = read(&kube, &one).await.unwrap_err().to_string();
        assert!(error.starts_with("ServiceAccount sa may not be asked for tokens: add sa"), "{error}");
        let kube = api_server(vec![(ACCOUNT, 404, refused(404))]);
        assert!(matches!(read(&kube, &one).await, Err(DereferenceError::NotFound { .. })));
    }

    #[tokio::test]
    async fn a_folder_needs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = fs::canonicalize(dir.path()).unwrap();
        let destination = Destination {
            url: format!("file://{}", folder.display()),
            endpoint: None,
            region: None,
            secret_name: None,
            service_account_name: None,
        };
        let access = read(&api_server(vec![]), &(destination, Target::Folder { folder })).await.unwrap();
        assert!(matches!(access.credential, Credential::None));
    }
}
