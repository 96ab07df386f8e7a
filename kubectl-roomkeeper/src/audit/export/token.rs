//! The token that says to a writer who asks. The person's own credential never leaves the way to the API server: writers get a token of a
//! ServiceAccount, made for them alone and out of date in ten minutes.

use anyhow::Context as _;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use roomkeeper_crds::audit::{COPY_AUDIENCE, COPY_SERVICE_ACCOUNT};
use secrecy::SecretString;

use crate::{
    api::{Cluster, told},
    exit::Failure,
};

/// Life of a token in seconds: the shortest that the API server makes.
const LIFE: i64 = 600;

/// A token of that ServiceAccount (`NAMESPACE/NAME`); of the auditors' own in the scope's namespace where none is named.
pub(super) async fn get(
    cluster: &Cluster,
    namespace: &str,
    account: Option<&str>,
) -> anyhow::Result<SecretString> {
    let (namespace, name) = match account {
        Some(account) => account
            .split_once('/')
            .ok_or_else(|| Failure::Usage(format!("--service-account {account}: write NAMESPACE/NAME")))?,
        None => (namespace, COPY_SERVICE_ACCOUNT),
    };
    let spec = TokenRequestSpec {
        audiences: vec![COPY_AUDIENCE.to_owned()],
        expiration_seconds: Some(LIFE),
        ..TokenRequestSpec::default()
    };
    let asked = TokenRequest { spec, ..TokenRequest::default() };
    let api: Api<ServiceAccount> = cluster.api(namespace);
    let made = match api.create_token_request(name, &PostParams::default(), &asked).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {
            return Err(Failure::NotFound(format!(
                "ServiceAccount {namespace}/{name} does not exist: docs/audit.md says how to make it, or name another with --service-account"
            ))
            .into());
        }
        made => made.map_err(told).with_context(|| format!("token of ServiceAccount {namespace}/{name}"))?,
    };
    let token = made.status.map(|status| status.token).filter(|token| !token.is_empty());
    token.map(Into::into).with_context(|| format!("ServiceAccount {namespace}/{name}: no token was made"))
}
