//! A way to the API server that can be cut.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// While it is cut, connections stay open and nothing passes, as when packets are dropped.
pub struct Way {
    /// The kubeconfig that leads over it.
    pub kubeconfig: PathBuf,
    open: Arc<watch::Sender<bool>>,
}

impl Way {
    /// A way beside the one that `kubeconfig` tells of.
    pub async fn beside(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let mut config: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
        let server = &mut config["clusters"][0]["cluster"]["server"];
        let target =
            server.as_str().unwrap().strip_prefix("https://").unwrap().trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *server = format!("https://{}", listener.local_addr().unwrap()).into();
        let path = kubeconfig.with_extension("beside");
        std::fs::write(&path, serde_yaml::to_string(&config).unwrap()).unwrap();
        let open = Arc::new(watch::Sender::new(true));
        let ways = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, target.clone(), ways.subscribe()));
            }
        });
        Self { kubeconfig: path, open }
    }

    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn pass(mut stream: TcpStream, target: String, mut open: watch::Receiver<bool>) {
    if open.wait_for(|open| *open).await.is_err() {
        return;
    }
    let Ok(mut onward) = TcpStream::connect(target).await else { return };
    let cut = {
        let passing = copy_bidirectional(&mut stream, &mut onward);
        tokio::select! {
            _ended = passing => false,
            cut = open.wait_for(|open| !*open) => cut.is_ok(),
        }
    };
    if cut {
        // Held open without a byte until the way is mended, and dropped then: its middle is lost.
        drop(open.wait_for(|open| *open).await);
    }
}
