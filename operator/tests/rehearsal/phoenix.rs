//! An operator that is started again whenever it has died.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use roomkeeper_controlplane::process::Program;
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{graph::Connected, site::Operator};

pub struct Phoenix {
    /// The one that runs now.
    pub current: Arc<Mutex<Operator>>,
    deaths: Arc<AtomicUsize>,
    watching: JoinHandle<()>,
}

impl Phoenix {
    /// Starts `first`; whatever is started after it is what `again` makes.
    pub async fn start(
        connected: &'static Connected,
        first: Program,
        again: impl Fn() -> Program + Send + 'static,
    ) -> Self {
        let current = Arc::new(Mutex::new(connected.site.start("a", first).await));
        let deaths = Arc::new(AtomicUsize::new(0));
        let (watched, count) = (Arc::clone(&current), Arc::clone(&deaths));
        let watching = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let mut operator = watched.lock().await;
                if operator.process.try_wait().unwrap().is_some() {
                    count.fetch_add(1, Ordering::Relaxed);
                    *operator = connected.site.start("a", again()).await;
                }
            }
        });
        Self { current, deaths, watching }
    }

    /// How often it died. The last death may not have been noticed yet, so that none is believed only after a while.
    pub async fn deaths(&self) -> usize {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let deaths = self.deaths.load(Ordering::Relaxed);
            if deaths > 0 || Instant::now() > deadline {
                return deaths;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Phoenix {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
