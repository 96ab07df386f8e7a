//! Starts and stops a control plane, or stands in front of a live cluster.

use std::{
    env, io,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, api::DynamicObject, config::Kubeconfig};
use tokio::{
    sync::OnceCell,
    time::{Instant, sleep},
};

use crate::{
    apply::{self, ApplyError},
    assets::{self, Assets, AssetsError},
    authority::{Authority, AuthorityError},
    flags,
    kubeconfig::{self, Issuer, KubeconfigError},
    process::{ProcessError, Program, ScratchDir, Supervised, scratch_dir},
    setup::{self, SetupError},
};

/// Set to `1` to use the cluster of `KUBECONFIG` instead of starting a control plane.
pub const USE_KUBECONFIG: &str = "ROOMKEEPER_E2E_USE_KUBECONFIG";

/// Between finding a free port and using it, another program may take it.
const ATTEMPTS: u32 = 5;
const POLL: Duration = Duration::from_millis(50);
/// Open watches keep the API server's graceful end waiting for up to a minute, and there is nothing to save.
const API_SERVER_LOG: &str = "kube-apiserver.log";
const API_SERVER_GRACE: Duration = Duration::from_secs(2);
const ETCD_GRACE: Duration = Duration::from_secs(1);

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No programs.
    #[error(transparent)]
    Assets(#[from] AssetsError),
    /// The task that looks for the programs, or builds them, was cancelled.
    #[error("looking for the programs: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// No certificates.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No files for the programs.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No kubeconfig or client.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// The operating system refused.
    #[error("control plane: cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program did not start.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It runs but does not become ready.
    #[error("the API server is not ready after {within:?}: {last}; end of its log:\n{tail}")]
    NotReady {
        /// How long was waited.
        within: Duration,
        /// What it answered last.
        last: String,
        /// The end of its log.
        tail: String,
    },
    /// `ROOMKEEPER_E2E_USE_KUBECONFIG` without a `KUBECONFIG`, or with another value than 1.
    #[error("{USE_KUBECONFIG}={value}: {problem}")]
    Live {
        /// The value of the variable.
        value: String,
        /// What is wrong, and the fix.
        problem: &'static str,
    },
}

/// How to start.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// Further flags of kube-apiserver; a flag given here wins over ours.
    pub api_server_flags: Vec<String>,
    /// Further flags of etcd; a flag given here wins over ours.
    pub etcd_flags: Vec<String>,
    /// How long one attempt may take until the API server is ready; building the programs does not count.
    pub ready_within: Duration,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self { api_server_flags: Vec::new(), etcd_flags: Vec::new(), ready_within: Duration::from_mins(2) }
    }
}

/// A running kube-apiserver with its etcd, or a live cluster. Dropping it kills both programs and removes the folder; so does the
/// end of this process, however it comes.
pub struct ControlPlane {
    // Dropped in this order: the API server before its store, the folder last.
    local: Option<Local>,
    issuer: Issuer,
    admin: Kubeconfig,
    admin_path: PathBuf,
    kubectl: PathBuf,
    url: String,
    dir: ScratchDir,
}

struct Local {
    api_server: Supervised,
    /// To start it again.
    api_server_program: Program,
    etcd: Supervised,
    etcd_port: u16,
}

impl ControlPlane {
    /// Starts one and waits until `/readyz` answers and the namespace `default` exists: seconds, or minutes the first time ever,
    /// when the programs are built.
    pub async fn start(options: StartOptions) -> Result<Self, StartError> {
        // An error means that there is one already, which is as good.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if let Some(live) = live()? {
            return Self::on_live_cluster(live).await;
        }
        let assets = tokio::task::spawn_blocking(assets::locate_or_build).await??;
        let mut attempt = 1;
        loop {
            match Self::attempt(&assets, &options).await {
                Err(StartError::Process(ProcessError::Ended { .. })) if attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// The one control plane of this process, started by the first caller.
    pub async fn shared() -> Result<&'static Self, StartError> {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED.get_or_try_init(|| Self::start(StartOptions::default())).await
    }

    async fn attempt(assets: &Assets, options: &StartOptions) -> Result<Self, StartError> {
        let system = |action| move |source| StartError::System { action, source };
        let dir = scratch_dir("roomkeeper-controlplane").map_err(system("make a temporary folder"))?;
        let authority = Authority::new()?;
        setup::write_files(dir.path(), &authority)?;
        let ports = setup::free_ports().map_err(system("find a free port"))?;

        let etcd = Program::new(&assets.etcd).args(flags::etcd(dir.path(), ports)).args(&options.etcd_flags);
        let etcd = Supervised::spawn(etcd, &dir.path().join("etcd.log"))?;
        let api_server = Program::new(&assets.kube_apiserver)
            .args(flags::kube_apiserver(dir.path(), ports))
            .args(&options.api_server_flags);
        let api_server_program = api_server.clone();
        let api_server = Supervised::spawn(api_server, &dir.path().join(API_SERVER_LOG))?;
        let local = Local { api_server, api_server_program, etcd, etcd_port: ports.etcd_client };

        let url = flags::api_server_url(ports);
        let issuer = Issuer::Certificates { url: url.clone(), authority: Box::new(authority) };
        let admin = issuer.kubeconfig("admin", &["system:masters"])?;
        let admin_path = dir.path().join("admin.kubeconfig");
        kubeconfig::write(&admin, &admin_path)?;
        let this =
            Self { local: Some(local), issuer, admin, admin_path, kubectl: assets.kubectl.clone(), url, dir };
        this.wait_until_ready(options.ready_within).await?;
        Ok(this)
    }

    async fn on_live_cluster(admin: Kubeconfig) -> Result<Self, StartError> {
        let dir = scratch_dir("roomkeeper-controlplane")
            .map_err(|source| StartError::System { action: "make a temporary folder", source })?;
        let admin_path = dir.path().join("admin.kubeconfig");
        kubeconfig::write(&admin, &admin_path)?;
        let url = kubeconfig::url(admin.clone()).await?;
        let issuer = Issuer::Impersonation(Box::new(admin.clone()));
        let this =
            Self { local: None, issuer, admin, admin_path, kubectl: PathBuf::from("kubectl"), url, dir };
        this.wait_until_ready(Duration::from_secs(30)).await?;
        Ok(this)
    }

    async fn wait_until_ready(&self, within: Duration) -> Result<(), StartError> {
        let client = self.admin_client().await?;
        let deadline = Instant::now() + within;
        loop {
            let last = match ready(&client).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if let Some(local) = &self.local {
                local.etcd.still_running()?;
                local.api_server.still_running()?;
            }
            if Instant::now() >= deadline {
                let tail =
                    self.local.as_ref().map_or_else(String::new, |local| local.api_server.log_tail(30));
                return Err(StartError::NotReady { within, last: last.to_string(), tail });
            }
            sleep(POLL).await;
        }
    }

    /// Starts a kube-controller-manager with the controllers that end namespaces, collect what has lost its owner, and bring
    /// aggregated ClusterRoles together. `None` on a live cluster, which has one. It ends with the value.
    ///
    /// # Errors
    /// When it cannot be built or does not start.
    pub async fn controller_manager(&self) -> Result<Option<Supervised>, StartError> {
        if self.local.is_none() {
            return Ok(None);
        }
        let program = tokio::task::spawn_blocking(assets::controller_manager).await??;
        let kubeconfig = self.kubeconfig_for("system:kube-controller-manager", &[])?;
        let program = Program::new(program).args(flags::controller_manager(&kubeconfig));
        Ok(Some(Supervised::spawn(program, &self.dir.path().join("kube-controller-manager.log"))?))
    }

    /// A new client of the administrator (group `system:masters`).
    ///
    /// A client's connections belong to the runtime that made it: each `#[tokio::test]` has one of its own and needs a client of its own.
    pub async fn admin_client(&self) -> Result<Client, KubeconfigError> {
        kubeconfig::client(self.admin.clone()).await
    }

    /// A new client of a user in groups (beside `system:authenticated`, which every user is in). With a certificate of its own; on a
    /// live cluster by impersonation.
    pub async fn client_for(&self, user: &str, groups: &[&str]) -> Result<Client, KubeconfigError> {
        kubeconfig::client(self.issuer.kubeconfig(user, groups)?).await
    }

    /// A kubeconfig file of a user in groups, for other programs. It lies in [`dir`](Self::dir).
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf, KubeconfigError> {
        let path = self.dir.path().join(kubeconfig::file_name(user, groups));
        if !path.exists() {
            kubeconfig::write(&self.issuer.kubeconfig(user, groups)?, &path)?;
        }
        Ok(path)
    }

    /// The administrator's kubeconfig file.
    pub fn admin_kubeconfig_path(&self) -> &Path {
        &self.admin_path
    }

    /// kubectl as the administrator; nothing of the caller's own kubectl settings counts.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .env("KUBECONFIG", &self.admin_path)
            .env("KUBECACHEDIR", self.dir.path().join("kubectl-cache"))
            .env("KUBERC", "off");
        command
    }

    /// The kubectl of the control plane's version; on a live cluster the one in `PATH`.
    pub fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    /// Its temporary folder; logs are in `etcd.log` and `kube-apiserver.log`. Callers may put files into it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Address of the API server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Base URL of etcd and the prefix of everything that the API server keeps there; `None` on a live cluster. For filling a
    /// store faster than through the API.
    pub fn etcd(&self) -> Option<(String, String)> {
        let local = self.local.as_ref()?;
        let prefix = format!("/{}", self.dir.path().file_name()?.display());
        Some((format!("http://{}:{}", std::net::Ipv4Addr::LOCALHOST, local.etcd_port), prefix))
    }

    /// Process ids of kube-apiserver and etcd; empty on a live cluster.
    pub fn pids(&self) -> Vec<u32> {
        self.local.iter().flat_map(|local| [local.api_server.pid(), local.etcd.pid()]).collect()
    }

    /// Makes a namespace with a name of its own that starts with `prefix`. There is no controller that would finish its deletion;
    /// on a live cluster, `kubectl delete namespace -l roomkeeper.dev/e2e=true` removes them.
    pub async fn namespace(&self, prefix: &str) -> Result<String, ApplyError> {
        apply::namespace(&self.admin_client().await?, prefix).await
    }

    /// [`apply::apply_crds`] as the administrator.
    pub async fn apply_crds(&self, dir: &Path) -> Result<(), ApplyError> {
        apply::apply_crds(&self.admin_client().await?, dir).await
    }

    /// [`apply::apply_yaml`] as the administrator.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<Vec<DynamicObject>, ApplyError> {
        apply::apply_yaml(&self.admin_client().await?, yaml).await
    }

    /// Ends kube-apiserver and starts it again on the same etcd and port: what it held in memory alone is gone. Does nothing to a
    /// live cluster, and says so by `false`.
    ///
    /// # Errors
    /// When it does not end, or not come back within `within`.
    pub async fn restart_api_server(&mut self, within: Duration) -> Result<bool, StartError> {
        let Some(local) = &mut self.local else { return Ok(false) };
        local.api_server.stop(API_SERVER_GRACE).await?;
        local.api_server =
            Supervised::spawn(local.api_server_program.clone(), &self.dir.path().join(API_SERVER_LOG))?;
        self.wait_until_ready(within).await?;
        Ok(true)
    }

    /// Ends both programs: SIGTERM, after a short grace SIGKILL. Removes the folder.
    pub async fn stop(self) -> Result<(), ProcessError> {
        if let Some(local) = &self.local {
            local.api_server.stop(API_SERVER_GRACE).await?;
            local.etcd.stop(ETCD_GRACE).await?;
        }
        Ok(())
    }
}

async fn ready(client: &Client) -> Result<(), kube::Error> {
    let request = http::Request::get("/readyz").body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await?;
    // Made by a controller inside the API server, a moment after it is ready.
    Api::<Namespace>::all(client.clone()).get("default").await?;
    Ok(())
}

fn live() -> Result<Option<Kubeconfig>, StartError> {
    let value = match env::var(USE_KUBECONFIG) {
        Ok(value) if !value.is_empty() => value,
        _ => return Ok(None),
    };
    if value != "1" {
        return Err(StartError::Live {
            value,
            problem: "set it to 1 to use the cluster of KUBECONFIG, or unset it",
        });
    }
    match Kubeconfig::from_env().map_err(KubeconfigError::from)? {
        Some(kubeconfig) => Ok(Some(kubeconfig)),
        None => Err(StartError::Live {
            value,
            problem: "KUBECONFIG is not set: name the kubeconfig file of a test cluster",
        }),
    }
}
