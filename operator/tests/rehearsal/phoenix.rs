//! An operator that is started again whenever it has died.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use roomkeeper_controlplane::process::Program;
use serde_json::json;
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{
    graph::Connected,
    site::{Operator, Site, until},
};

pub struct Phoenix {
    /// The one that runs now.
    current: Arc<Mutex<Operator>>,
    deaths: Arc<AtomicUsize>,
    watching: JoinHandle<()>,
}

impl Phoenix {
    /// Starts what `program` makes, again and again.
    pub async fn start(
        connected: &'static Connected,
        program: impl Fn() -> Program + Send + 'static,
    ) -> Self {
        let current = Arc::new(Mutex::new(connected.site.start("a", program()).await));
        let deaths = Arc::new(AtomicUsize::new(0));
        let (watched, count) = (Arc::clone(&current), Arc::clone(&deaths));
        let watching = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let mut operator = watched.lock().await;
                if operator.process.try_wait().unwrap().is_some() {
                    count.fetch_add(1, Ordering::Relaxed);
                    give_the_lease_back(&connected.site).await;
                    *operator = connected.site.start("a", program()).await;
                }
            }
        });
        Self { current, deaths, watching }
    }

    /// Kills the one that runs; another one is started.
    pub async fn kill(&self) {
        let before = self.deaths();
        self.current.lock().await.process.kill().unwrap();
        until("the next operator", async || {
            if self.deaths() > before { Ok(()) } else { Err("the killed one was not missed yet".to_owned()) }
        })
        .await;
    }

    /// How often it was found dead.
    pub fn deaths(&self) -> usize {
        self.deaths.load(Ordering::Relaxed)
    }
}

impl Drop for Phoenix {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// Stands for the time after which the lease of a dead leader has run out.
async fn give_the_lease_back(site: &Site) {
    let free = Patch::Merge(json!({"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}));
    match site.api::<Lease>().patch("roomkeeper-operator", &PatchParams::default(), &free).await {
        Ok(_) => {}
        // It died before it was the leader.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("the lease could not be given back: {error}"),
    }
}
