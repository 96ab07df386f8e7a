//! A storage server on a loopback port, over TLS.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use data_encoding::BASE64;
use roomkeeper_e2e::{
    certificates::{self, ServerIdentity},
    programs, wait,
};
use tempfile::TempDir;

use super::install;

/// Storage account of azurite.
pub(crate) const ACCOUNT: &str = "contoso";
const WAIT: Duration = Duration::from_mins(2);

/// A key of an account.
pub(crate) fn account_key(seed: u8) -> String {
    BASE64.encode(&[seed; 64])
}

/// A server; it ends with this value.
pub(crate) struct Server {
    child: Child,
    dir: TempDir,
    pub(crate) identity: ServerIdentity,
    pub(crate) port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody to tell.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Server {
    /// moto.
    pub(crate) async fn s3() -> anyhow::Result<Self> {
        Self::start(|dir, identity, port| {
            let mut command = Command::new("python3");
            command
                .env("PYTHONPATH", install::python()?)
                .current_dir(dir)
                .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string(), "-s", "-c"])
                .arg(&identity.certificate)
                .arg("-k")
                .arg(&identity.key);
            Ok(command)
        })
        .await
    }

    /// azurite, which takes bearer tokens too where `tokens`.
    pub(crate) async fn azure(tokens: bool) -> anyhow::Result<Self> {
        Self::start(|dir, identity, port| {
            let mut command = Command::new("node");
            command
                .arg(install::node()?.join("node_modules/azurite/dist/src/blob/main.js"))
                .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", account_key(1)))
                .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--disableTelemetry"])
                .args(["--skipApiVersionCheck", "--silent", "--cert"])
                .arg(&identity.certificate)
                .arg("--key")
                .arg(&identity.key)
                .arg("--location")
                .arg(dir)
                .args(if tokens { &["--oauth", "basic"][..] } else { &[] });
            Ok(command)
        })
        .await
    }

    async fn start(
        command: impl Fn(&Path, &ServerIdentity, u16) -> anyhow::Result<Command>,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let identity = certificates::loopback(dir.path())?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let log = File::create(dir.path().join("log"))?;
        let child = command(dir.path(), &identity, port)?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start the storage server")?;
        let mut server = Self { child, dir, identity, port };
        let client = server.client()?;
        let url = server.url("");
        let up = wait::until("the storage server's first answer", WAIT, || async {
            Ok(client.get(&url).send().await.is_ok().then_some(()))
        })
        .await;
        let said = || fs::read_to_string(server.dir.path().join("log")).unwrap_or_default();
        up.with_context(said)?;
        // Whoever answered on the port is this server.
        let ended = server.child.try_wait()?;
        ensure!(ended.is_none(), "the storage server ended: {ended:?}");
        Ok(server)
    }

    /// A client that trusts the server's certificate.
    pub(crate) fn client(&self) -> anyhow::Result<reqwest::Client> {
        let ca = reqwest::Certificate::from_pem(&fs::read(&self.identity.ca)?)?;
        Ok(reqwest::Client::builder().tls_backend_rustls().tls_certs_only([ca]).build()?)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.port)
    }

    /// Makes a container of azurite's account.
    pub(crate) fn make_container(&self, name: &str) -> anyhow::Result<()> {
        let output = Command::new("python3")
            .arg(programs::repository().join("e2e/destinations/azure_container.py"))
            .args([&self.url(&format!("{ACCOUNT}/{name}")), ACCOUNT, &account_key(1)])
            .arg(&self.identity.ca)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}
