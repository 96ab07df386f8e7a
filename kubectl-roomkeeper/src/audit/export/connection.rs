//! The way to one writer: a port of its pod through the API server, and in it TLS with the certificate that the writer announced.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, header};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use roomkeeper_crds::audit::{Announced, COPY_SERVER_NAME};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_rustls::TlsConnector;

use super::{
    receive::{Received, Receiver},
    register::AuditedPod,
};
use crate::api::told;

/// Most bytes of a refusal that are shown.
const REFUSAL: usize = 4 << 10;

/// A writer, and who asks it.
pub(super) struct Writer<'a> {
    pub(super) pods: &'a Api<Pod>,
    pub(super) pod: &'a AuditedPod,
    pub(super) token: &'a SecretString,
    /// Longest wait for the next of anything.
    pub(super) limit: Option<Duration>,
}

impl Writer<'_> {
    /// The copy at that path; `None` if the writer has no such log.
    ///
    /// # Errors
    /// It cannot be reached, refuses, or breaks off.
    pub(super) async fn copy(&self, path: &str, receiver: Receiver<'_>) -> anyhow::Result<Option<Received>> {
        let Announced { port, certificate } = self.pod.listener.as_ref().context(
            "it gives no copies: the daemon's flag --audit-listen (chart: audit.copies.enabled) is not set",
        )?;
        let mut forwarder = self
            .within(self.pods.portforward(&self.pod.name, &[*port]))
            .await?
            .map_err(told)
            .with_context(|| format!("port {port} of pod {}", self.pod.name))?;
        let stream = forwarder.take_stream(*port).context("the API server gave no stream")?;
        let name = ServerName::try_from(COPY_SERVER_NAME).context("name of the certificate")?;
        let connector = TlsConnector::from(Arc::new(trusting(certificate)?));
        let tls = self.within(connector.connect(name, stream)).await?.map_err(|error| {
            let pod = &self.pod.name;
            match error.kind() {
                // The kubelet found nobody at the port.
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
                    anyhow::anyhow!("port {port} of pod {pod} does not answer")
                }
                _ => anyhow::Error::new(error).context(format!(
                    "port {port} of pod {pod}: not the listener that its ConfigMap announces"
                )),
            }
        })?;
        #[expect(
            clippy::disallowed_methods,
            reason = "speaks to pods of the installation, in their own TLS, and to nobody else"
        )]
        let (mut sender, connection) =
            self.within(hyper::client::conn::http1::handshake(TokioIo::new(tls))).await?.context("HTTP")?;
        // It ends with the last answer; an error of its own is the body's error as well.
        let driving = tokio::spawn(connection);
        let request = Request::get(path)
            .header(header::HOST, COPY_SERVER_NAME)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.expose_secret()))
            .body(Empty::<Bytes>::new())
            .context("the request")?;
        let answer = self.within(sender.send_request(request)).await?.context("no answer")?;
        let result = match answer.status() {
            StatusCode::OK => self.receive(answer.into_body(), receiver).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                let said = self.within(Limited::new(answer.into_body(), REFUSAL).collect()).await?;
                let said = said.map(Collected::to_bytes).unwrap_or_default();
                Err(anyhow::anyhow!("{status}: {}", String::from_utf8_lossy(&said).trim()))
            }
        };
        driving.abort();
        result
    }

    async fn receive(
        &self,
        mut body: hyper::body::Incoming,
        receiver: Receiver<'_>,
    ) -> anyhow::Result<Received> {
        let mut receiving = receiver.begin();
        while let Some(frame) = self.within(body.frame()).await? {
            if let Ok(bytes) = frame.context("the copy broke off")?.into_data() {
                receiving.take(&bytes)?;
            }
        }
        receiving.end()
    }

    async fn within<T>(&self, work: impl Future<Output = T>) -> anyhow::Result<T> {
        match self.limit {
            None => Ok(work.await),
            Some(limit) => tokio::time::timeout(limit, work)
                .await
                .with_context(|| format!("nothing came for {}s (--request-timeout)", limit.as_secs())),
        }
    }
}

/// TLS that trusts this certificate and no other.
fn trusting(certificate: &str) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let wrong = "the certificate that the writer announced cannot be used";
    roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).context(wrong)?).context(wrong)?;
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}
