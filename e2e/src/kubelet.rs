//! Stands in for the kubelet of a node: carries bytes between the API server and ports of this machine, as forwarding a pod's port needs.
//!
//! The API server hands a WebSocket through to the node's kubelet. Its subprotocol `v4.channel.k8s.io` puts a channel's number before every
//! message: 0 for the data of the first port, 1 for its errors; each begins with the port, least byte first
//! (kubernetes/kubernetes, `staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go`).

use std::path::Path;

use anyhow::Context as _;
use axum::serve::Listener as _;
use futures::{SinkExt as _, StreamExt as _};
use http::HeaderValue;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
    },
};
use tokio_util::task::AbortOnDropHandle;

use crate::{install, tls_listener::TlsListener};

const PROTOCOL: &str = "v4.channel.k8s.io";
const NODE: &str = "loopback";
const DATA: u8 = 0;

/// A node with its kubelet. It ends with the value.
pub struct Kubelet {
    client: Client,
    _serving: AbortOnDropHandle<()>,
}

impl Kubelet {
    /// Serves with that certificate and key, and registers the node.
    ///
    /// # Errors
    /// When it cannot serve, or the API server refuses the node.
    pub async fn start(client: &Client, (certificate, key): (&Path, &Path)) -> anyhow::Result<Self> {
        let mut listener = TlsListener::on_loopback(certificate, key).await?;
        let port = listener.local_addr()?.port();
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await;
                tokio::spawn(async move {
                    if let Err(error) = forward(stream).await {
                        tracing::info!(%error, "a forwarded port ended");
                    }
                });
            }
        });
        let this = Self { client: client.clone(), _serving: AbortOnDropHandle::new(serving) };
        let nodes: Api<Node> = Api::all(client.clone());
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}});
        nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await.context("make a node")?;
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }});
        nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(&status)).await?;
        Ok(this)
    }

    /// A pod of the installation on the node.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn pod(&self, name: &str, service_account: &str) -> anyhow::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), install::NAMESPACE);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "nodeName": NODE,
                "serviceAccountName": service_account,
                "automountServiceAccountToken": false,
                "containers": [{"name": "daemon", "image": "daemon"}],
            },
        });
        pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await.context("make a pod")?;
        Ok(())
    }
}

async fn forward(stream: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<()> {
    let mut port = None;
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    let accept = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let query = request.uri().query().unwrap_or_default();
        let asked =
            url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "port" || name == "ports");
        port = asked.and_then(|(_, port)| port.parse::<u16>().ok());
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(PROTOCOL));
        Ok(response)
    };
    let (mut to_client, mut from_client) = accept_hdr_async(stream, accept).await?.split();
    let port = port.context("no port was asked for")?;
    for channel in [DATA, DATA + 1] {
        let [low, high] = port.to_le_bytes();
        to_client.send(Message::binary(vec![channel, low, high])).await?;
    }
    let (mut from_pod, mut to_pod) = TcpStream::connect(("127.0.0.1", port)).await?.into_split();
    let up = async {
        while let Some(message) = from_client.next().await {
            if let Message::Binary(bytes) = message?
                && let Some((&DATA, data)) = bytes.split_first()
            {
                to_pod.write_all(data).await?;
            }
        }
        anyhow::Ok(())
    };
    let down = async {
        let mut buffer = vec![0; 32 << 10];
        loop {
            let length = from_pod.read(&mut buffer).await?;
            let Some(data) = buffer.get(..length).filter(|data| !data.is_empty()) else { break };
            to_client.send(Message::binary([&[DATA], data].concat())).await?;
        }
        to_client.close().await?;
        anyhow::Ok(())
    };
    tokio::select! {
        ended = up => ended,
        ended = down => ended,
    }
}
