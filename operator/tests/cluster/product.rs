//! The booking simulator.

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::Value;

use crate::{graph::list, site::Site};

pub struct Product {
    pub origin: String,
    pub http: reqwest::Client,
    pub ca: PathBuf,
    running: booking_sim::Running,
}

impl Product {
    pub async fn start(site: &Site) -> Self {
        Self::limited(site, None).await
    }

    /// One that takes so many calls in a minute.
    pub async fn limited(site: &Site, rate_per_minute: Option<u32>) -> Self {
        roomkeeper_service::tls::install_provider();
        let folder = site.folder.path().join("booking-tls");
        fs::create_dir_all(&folder).unwrap();
        let running = booking_sim::start(booking_sim::Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls_dir: folder.clone(),
            require_headers: vec![("x-api-key".parse().unwrap(), "demo-booking-key".parse().unwrap())],
            rate_per_minute,
            ..booking_sim::Options::default()
        })
        .await
        .unwrap();
        let certificate = reqwest::Certificate::from_pem(running.ca_pem.as_bytes()).unwrap();
        let http = reqwest::Client::builder().add_root_certificate(certificate).build().unwrap();
        Self { origin: running.origin.clone(), http, ca: folder.join("ca.crt"), running }
    }

    pub async fn bookings(&self) -> Vec<Value> {
        let request =
            self.http.get(format!("{}/bookings", self.origin)).header("x-api-key", "demo-booking-key");
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        answer["value"].as_array().unwrap().clone()
    }

    /// PUTs and DELETEs so far.
    pub async fn writes(&self) -> usize {
        self.requests().await.iter().filter(|one| one["method"] != "GET").count()
    }

    /// Every request, oldest first.
    pub async fn requests(&self) -> Vec<Value> {
        let log: Value = self
            .http
            .get(format!("{}/_sim/requests", self.origin))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        list(&log, "requests")
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        self.running.shutdown.cancel();
    }
}
