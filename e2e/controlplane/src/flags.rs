//! The command lines of etcd and kube-apiserver.
//!
//! The set of controller-runtime's envtest (`pkg/internal/testing/controlplane`), and what makes it start on a machine without a
//! default route.

use std::{net::Ipv4Addr, path::Path};

/// Loopback ports of one control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) etcd_client: u16,
    pub(crate) etcd_peer: u16,
    pub(crate) api_server: u16,
}

/// Names of the files in the control plane's folder.
pub(crate) mod file {
    pub(crate) const CA: &str = "ca.crt";
    pub(crate) const SERVER_CERTIFICATE: &str = "apiserver.crt";
    pub(crate) const SERVER_KEY: &str = "apiserver.key";
    pub(crate) const TOKEN_PRIVATE_KEY: &str = "token.key";
    pub(crate) const TOKEN_PUBLIC_KEY: &str = "token.pub";
    pub(crate) const ETCD_DATA: &str = "etcd";
}

pub(crate) fn api_server_url(ports: Ports) -> String {
    format!("https://{}:{}", Ipv4Addr::LOCALHOST, ports.api_server)
}

pub(crate) fn etcd(dir: &Path, ports: Ports) -> Vec<String> {
    let client = format!("http://{}:{}", Ipv4Addr::LOCALHOST, ports.etcd_client);
    let peer = format!("http://{}:{}", Ipv4Addr::LOCALHOST, ports.etcd_peer);
    vec![
        format!("--data-dir={}", dir.join(file::ETCD_DATA).display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        // The data does not outlive the test.
        "--unsafe-no-fsync=true".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

pub(crate) fn kube_apiserver(dir: &Path, ports: Ports) -> Vec<String> {
    let path = |name: &str| dir.join(name).display().to_string();
    let local = Ipv4Addr::LOCALHOST;
    vec![
        format!("--etcd-servers=http://{local}:{}", ports.etcd_client),
        // Should another control plane have taken the port of our etcd, its data stay untouched.
        format!("--etcd-prefix=/{}", dir.file_name().unwrap_or_default().display()),
        format!("--bind-address={local}"),
        format!("--secure-port={}", ports.api_server),
        // Without these two it looks for an address of the host and exits where there is no default route.
        format!("--advertise-address={local}"),
        "--endpoint-reconciler-type=none".to_owned(),
        format!("--cert-dir={}", path("")),
        format!("--tls-cert-file={}", path(file::SERVER_CERTIFICATE)),
        format!("--tls-private-key-file={}", path(file::SERVER_KEY)),
        format!("--client-ca-file={}", path(file::CA)),
        "--authorization-mode=RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
        // Nothing here makes the `default` ServiceAccount that this plugin insists on.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        format!("--service-account-issuer={}/", api_server_url(ports)),
        format!("--service-account-key-file={}", path(file::TOKEN_PUBLIC_KEY)),
        format!("--service-account-signing-key-file={}", path(file::TOKEN_PRIVATE_KEY)),
    ]
}

/// Of all controllers those that work without nodes, each as the user that it is on any cluster.
pub(crate) fn controller_manager(kubeconfig: &Path) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", kubeconfig.display()),
        "--controllers=namespace-controller,garbage-collector-controller,clusterrole-aggregation-controller"
            .to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        format!("--bind-address={}", Ipv4Addr::LOCALHOST),
        // Nothing is served.
        "--secure-port=0".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports { etcd_client: 1, etcd_peer: 2, api_server: 3 };

    #[test]
    fn everything_listens_on_loopback_only() {
        let dir = Path::new("/tmp/x");
        for flag in etcd(dir, PORTS).into_iter().chain(kube_apiserver(dir, PORTS)) {
            if flag.contains("http") || flag.contains("-address") {
                assert!(flag.contains("127.0.0.1"), "{flag}");
            }
        }
    }

    #[test]
    fn the_api_server_uses_the_etcd_of_the_same_control_plane() {
        let flags = kube_apiserver(Path::new("/tmp/x"), PORTS);
        assert!(flags.contains(&"--etcd-servers=http://127.0.0.1:1".to_owned()));
        assert!(flags.contains(&"--secure-port=3".to_owned()));
        assert_eq!(api_server_url(PORTS), "https://127.0.0.1:3");
    }
}
