//! Hosts that send exports elsewhere: to one that nobody allowed, which must not even be asked.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse as _, Response},
};
use roomkeeper_e2e::{
    certificates::{self, ServerIdentity},
    tls_listener::TlsListener,
};
use roomkeeper_service::{
    audit_export::{Credential, Put as _, StoreSettings, Target, open},
    tls,
};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::{
    access_key, account::ACCOUNT as SERVICE_ACCOUNT, aws, destination, entra, secret, server, target,
};

/// A host that counts who comes; it ends with this value.
struct Host {
    port: u16,
    asked: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl Host {
    async fn start(
        identity: &ServerIdentity,
        answer: impl Fn(&Request) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TlsListener::on_loopback(&identity.certificate, &identity.key).await.unwrap();
        let port = axum::serve::Listener::local_addr(&listener).unwrap().port();
        let asked = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&asked);
        let router = Router::new().fallback(move |request: Request| {
            counted.fetch_add(1, Ordering::SeqCst);
            std::future::ready(answer(&request))
        });
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let serving = AbortOnDropHandle::new(serving);
        Self { port, asked, _serving: serving }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A host that redirects, and the one that it names, which would take everything.
struct Hosts {
    moved: Host,
    stranger: Host,
    dir: TempDir,
    settings: StoreSettings,
}

impl Hosts {
    /// `names` is whether the answer says where to.
    async fn start(status: StatusCode, names: bool) -> Self {
        tls::install_provider();
        let dir = tempfile::tempdir().unwrap();
        let identity = certificates::loopback(dir.path()).unwrap();
        let stranger = Host::start(&identity, |_| StatusCode::OK.into_response()).await;
        let port = stranger.port;
        let moved = Host::start(&identity, move |request| {
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            let there = [(LOCATION, format!("https://127.0.0.1:{port}{path}"))];
            if names { (status, there).into_response() } else { status.into_response() }
        })
        .await;
        let authority = Url::parse(&format!("https://127.0.0.1:{}", moved.port)).unwrap();
        let settings = StoreSettings {
            extra_ca_pem: Some(fs::read(&identity.ca).unwrap()),
            authority: Some(authority),
            ..StoreSettings::default()
        };
        Self { moved, stranger, dir, settings }
    }

    fn target(&self, url: &str) -> Target {
        target(&destination(url, self.moved.port), self.moved.port)
    }

    /// With the token of a service account of these annotations.
    fn identity(&self, target: &Target, annotations: &[(&str, &str)]) -> Credential {
        let token = self.dir.path().join("token");
        fs::write(&token, "token").unwrap();
        let annotations: BTreeMap<String, String> =
            annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Credential::of_service_account(target, SERVICE_ACCOUNT, &annotations, &token).unwrap()
    }

    /// What a person reads of an upload. One host was asked once, and the other was not.
    async fn cause(&self, target: &Target, credential: &Credential) -> String {
        let before = self.moved.asked();
        let put = open(target, credential, &self.settings).unwrap().put("a/b", vec![1]).await;
        assert_eq!(self.stranger.asked(), 0, "{put:?}");
        assert_eq!(self.moved.asked(), before + 1, "it is not tried again");
        put.unwrap_err().cause
    }
}

fn azure() -> String {
    format!("az://{}/logs", server::ACCOUNT)
}

const STATUSES: [(u16, &str); 5] = [
    (301, "301 Moved Permanently"),
    (302, "302 Found"),
    // A client that follows it asks for the object, and takes the answer for that to the upload.
    (303, "303 See Other"),
    (307, "307 Temporary Redirect"),
    (308, "308 Permanent Redirect"),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_upload_follows_a_redirect() {
    for (status, said) in STATUSES {
        let hosts = Hosts::start(StatusCode::from_u16(status).unwrap(), true).await;
        let expected = format!(
            "the storage redirects ({said}), and redirects are not followed: name where it lies in \
             spec.audit.export.destination (endpoint; for S3 region too)"
        );
        let s3 = hosts.target("s3://contoso-audit");
        assert_eq!(hosts.cause(&s3, &access_key(&s3)).await, expected);
        let azure = hosts.target(&azure());
        for pair in [("accountKey", server::account_key(1).as_str()), ("sasToken", "sv=2021&sig=c2ln")] {
            let credential = Credential::of_secret(&azure, "s", &secret(&[pair])).unwrap();
            assert_eq!(hosts.cause(&azure, &credential).await, expected);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_exchange_of_a_token_follows_a_redirect() {
    for (status, said) in STATUSES {
        let hosts = Hosts::start(StatusCode::from_u16(status).unwrap(), true).await;
        let s3 = hosts.target("s3://contoso-audit");
        let role = hosts.identity(&s3, &[("eks.amazonaws.com/role-arn", aws::ROLE)]);
        assert_eq!(
            hosts.cause(&s3, &role).await,
            format!(
                "ServiceAccount contoso-audit: its token was not exchanged: the STS redirects ({said}), and redirects are not \
                 followed: name where it lies in spec.audit.export.destination (endpoint; for AWS region)"
            )
        );
        let azure = hosts.target(&azure());
        let application = hosts.identity(
            &azure,
            &[
                ("azure.workload.identity/client-id", entra::CLIENT),
                ("azure.workload.identity/tenant-id", entra::TENANT),
            ],
        );
        assert_eq!(
            hosts.cause(&azure, &application).await,
            format!(
                "ServiceAccount contoso-audit: its token was not exchanged: Entra redirects ({said}), and redirects are not \
                 followed: name where it lies in spec.endpoints.authority"
            )
        );
    }
}

/// As S3 answers for a bucket of another region.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_that_names_no_place_is_told_as_one() {
    let hosts = Hosts::start(StatusCode::MOVED_PERMANENTLY, false).await;
    let s3 = hosts.target("s3://contoso-audit");
    let cause = hosts.cause(&s3, &access_key(&s3)).await;
    assert!(cause.starts_with("the storage redirects, and redirects are not followed: "), "{cause}");
}
