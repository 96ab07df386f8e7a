//! A way to the API server that can be cut.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_yaml::Value;
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
    /// A way beside the one that `kubeconfig` tells of. `name` tells several of them apart.
    ///
    /// # Errors
    /// When the file cannot be read or names no https server, or the new one cannot be written.
    pub async fn beside(kubeconfig: &Path, name: &str) -> io::Result<Self> {
        let text = fs::read_to_string(kubeconfig)?;
        let mut config: Value = serde_yaml::from_str(&text).map_err(io::Error::other)?;
        let server = config
            .get_mut("clusters")
            .and_then(|clusters| clusters.get_mut(0))
            .and_then(|cluster| cluster.get_mut("cluster"))
            .and_then(|cluster| cluster.get_mut("server"))
            .ok_or_else(|| io::Error::other("the kubeconfig names no server"))?;
        let target = server
            .as_str()
            .and_then(|server| server.strip_prefix("https://"))
            .ok_or_else(|| io::Error::other("the kubeconfig's server is not https"))?
            .trim_end_matches('/')
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        *server = format!("https://{}", listener.local_addr()?).into();
        let path = kubeconfig.with_extension(name);
        fs::write(&path, serde_yaml::to_string(&config).map_err(io::Error::other)?)?;
        let open = Arc::new(watch::Sender::new(true));
        let ways = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, target.clone(), ways.subscribe()));
            }
        });
        Ok(Self { kubeconfig: path, open })
    }

    /// Nothing passes any more.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// New connections pass again; those of before end.
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
