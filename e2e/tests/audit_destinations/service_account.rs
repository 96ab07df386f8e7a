//! Exports with the token of a service account: the API server's own, exchanged at what stands in for the cloud. Nothing of it is left
//! afterwards, and nothing of it is told, whatever the cloud says.

use std::{
    fs,
    path::{Path, PathBuf},
};

use roomkeeper_crds::audit_export::Destination;
use roomkeeper_service::{
    audit_export::{Put as _, StoreSettings, Target, open},
    tls,
};
use serde_json::{Value, json};

use super::{
    account::{ACCOUNT, Account},
    at,
    aws::{self, Aws},
    destination,
    entra::{self, Entra},
    exchanges::{Exchanges, Mood},
    exported_and_judged, heard,
    server::{self, Server},
    settings, target,
};

fn role() -> Value {
    json!({"eks.amazonaws.com/role-arn": aws::ROLE})
}

fn application() -> Value {
    json!({
        "azure.workload.identity/client-id": entra::CLIENT,
        "azure.workload.identity/tenant-id": entra::TENANT,
    })
}

fn with_account(destination: Destination) -> Destination {
    Destination { secret_name: None, service_account_name: Some(ACCOUNT.to_owned()), ..destination }
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
}

/// One export of a scope, and its credential.
struct Case<'a> {
    account: &'a Account,
    destination: Destination,
    target: Target,
    settings: StoreSettings,
    exchanges: &'a Exchanges,
}

impl Case<'_> {
    /// Exports, and has what lies at the destination judged. `read` is where that is read, with a key of another's.
    async fn is_exported(&self, read: &Target) {
        let tokens = tempfile::tempdir().unwrap();
        let access = self.account.access(&self.destination, &self.target, tokens.path()).await.unwrap();
        let [file] = &files_of(tokens.path())[..] else { panic!("one token lies there") };
        let token = fs::read_to_string(file).unwrap();
        assert_eq!(self.exchanges.count(), 0, "nothing is exchanged before it is needed");

        exported_and_judged(&self.target, &access.credential, &self.settings, read).await;
        assert_eq!(self.exchanges.count(), 1, "two exports of one opening need one exchange");
        assert!(self.exchanges.secrets().contains(&token), "it is the token that the API server gave");

        drop(access);
        assert_eq!(files_of(tokens.path()), Vec::<PathBuf>::new());
        self.is_not_told("");
    }

    /// What a person reads when the cloud takes nothing. The token is gone then too.
    async fn is_refused(&self, mood: Mood) -> String {
        self.exchanges.turn(mood);
        let tokens = tempfile::tempdir().unwrap();
        let error = {
            let access = self.account.access(&self.destination, &self.target, tokens.path()).await.unwrap();
            let store = open(&self.target, &access.credential, &self.settings).unwrap();
            store.put("a/b", vec![1]).await.unwrap_err()
        };
        assert_eq!(files_of(tokens.path()), Vec::<PathBuf>::new());
        self.is_not_told(&format!("{error} {error:?}"));
        error.cause
    }

    /// Neither a token nor what was given for it stands in that text, or in any log.
    fn is_not_told(&self, text: &str) {
        assert!(!heard::lines_with("DEBUG").is_empty(), "the logs of the libraries are heard");
        let secrets = self.exchanges.secrets();
        assert!(!secrets.is_empty());
        for secret in secrets {
            assert!(secret.len() > 15, "{secret}");
            assert!(!text.contains(&secret), "{text}");
            assert_eq!(heard::lines_with(&secret), Vec::<String>::new());
        }
    }
}

/// A cloud of AWS, and an account that it trusts.
async fn with_sts() -> (Server, Account, Aws) {
    tls::install_provider();
    heard::listen();
    let server = Server::s3().await.unwrap();
    let account = Account::new(&role()).await.unwrap();
    let aws = Aws::start(&server, account.prover(aws::AUDIENCE)).await.unwrap();
    (server, account, aws)
}

/// A cloud of Azure with its container, and an account that Entra trusts.
async fn with_entra() -> (Server, Account, Entra) {
    tls::install_provider();
    heard::listen();
    let server = Server::azure(true).await.unwrap();
    server.make_container("logs").unwrap();
    let account = Account::new(&application()).await.unwrap();
    let entra = Entra::start(&server.identity, account.prover(entra::AUDIENCE)).await.unwrap();
    (server, account, entra)
}

#[tokio::test(flavor = "multi_thread")]
async fn to_s3_with_the_token_of_a_service_account() {
    let (server, account, aws) = with_sts().await;
    let url = format!("s3://{}/prod", aws::BUCKET);
    let destination = with_account(destination(&url, aws.port));
    let target = target(&destination, aws.port);
    let case = Case {
        account: &account,
        destination,
        target,
        settings: settings(&server),
        exchanges: &aws.exchanges,
    };
    // Read past the proof of keys: the role may not read.
    case.is_exported(&at(&server, &url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_sts_refuses_is_told_with_its_fix_and_without_a_secret() {
    let (server, account, aws) = with_sts().await;
    let destination = with_account(destination(&format!("s3://{}", aws::BUCKET), aws.port));
    let target = target(&destination, aws.port);
    let settings = settings(&server);
    let case = Case { account: &account, destination, target, settings, exchanges: &aws.exchanges };
    assert_eq!(
        case.is_refused(Mood::Refusing).await,
        "ServiceAccount contoso-audit: its token was not exchanged: the STS answered 400 Bad Request InvalidIdentityToken: \
         let the role of its annotation eks.amazonaws.com/role-arn trust the cluster's issuer with the audience \
         sts.amazonaws.com and this ServiceAccount as subject"
    );
    assert_eq!(aws.exchanges.count(), 0);
    assert_eq!(
        case.is_refused(Mood::Worthless).await,
        "the storage refuses it (403): what ServiceAccount contoso-audit stands for lacks the permission to write there"
    );
    assert_eq!(aws.exchanges.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_azure_with_the_token_of_a_service_account() {
    let (server, account, entra) = with_entra().await;
    let url = format!("az://{}/logs", server::ACCOUNT);
    let destination = with_account(destination(&url, server.port));
    let target = target(&destination, server.port);
    let settings = StoreSettings { authority: Some(entra.url.clone()), ..settings(&server) };
    let case = Case { account: &account, destination, target, settings, exchanges: &entra.exchanges };
    case.is_exported(&at(&server, &url)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_entra_refuses_is_told_with_its_fix_and_without_a_secret() {
    let (server, account, entra) = with_entra().await;
    let destination = with_account(destination(&format!("az://{}/logs", server::ACCOUNT), server.port));
    let target = target(&destination, server.port);
    let settings = StoreSettings { authority: Some(entra.url.clone()), ..settings(&server) };
    let case = Case { account: &account, destination, target, settings, exchanges: &entra.exchanges };
    assert_eq!(
        case.is_refused(Mood::Refusing).await,
        "ServiceAccount contoso-audit: its token was not exchanged: Entra answered 401 Unauthorized AADSTS700213: \
         give the application of its annotation azure.workload.identity/client-id a federated credential with the cluster's issuer, \
         the audience api://AzureADTokenExchange and this ServiceAccount as subject"
    );
    assert_eq!(entra.exchanges.count(), 0);
    assert_eq!(
        case.is_refused(Mood::Worthless).await,
        "the storage refuses it (403): what ServiceAccount contoso-audit stands for lacks the permission to write there"
    );
    assert_eq!(entra.exchanges.count(), 1);
}
