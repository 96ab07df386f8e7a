//! A simulator, and calls whose every exchange is judged by the contract.

use booking_sim::{Options, Running};
use reqwest::{Certificate, Client, Method, Response};
use serde_json::{Value, json};

use crate::contract::Contract;

pub struct Sim {
    pub running: Running,
    pub http: Client,
    pub contract: Contract,
    _folder: tempfile::TempDir,
}

/// Options with these headers and this rate.
pub fn limited(headers: &[(&str, &str)], rate_per_minute: Option<u32>) -> Options {
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Options { require_headers: headers.collect(), rate_per_minute, ..Options::default() }
}

pub fn booking(resource: &str, from: u8, to: u8) -> Value {
    json!({
        "resourceId": resource, "start": format!("2026-11-24T{from:02}:00:00Z"), "end": format!("2026-11-24T{to:02}:00:00Z"),
        "subject": "Planning", "organizer": null, "attendees": [], "iCalUId": "0400",
    })
}

impl Sim {
    pub async fn plain() -> Self {
        Self::start(Options::default()).await
    }

    pub async fn start(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { tls_dir: folder.path().to_owned(), ..options };
        let running = booking_sim::start(options).await.unwrap();
        let ca = Certificate::from_pem(&std::fs::read(folder.path().join("ca.crt")).unwrap()).unwrap();
        let http = Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
        Self { running, http, contract: Contract::load(), _folder: folder }
    }

    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        let request = self.http.request(method, format!("{}{path}", self.running.origin));
        Call { sim: self, request }
    }

    pub async fn put(&self, key: &str, idempotency: &str, body: &Value) -> Response {
        let call = self.call(Method::PUT, &format!("/bookings/{key}"));
        call.header("Idempotency-Key", idempotency).json(body).send().await.unwrap()
    }

    pub async fn put_raw(&self, key: &str, body: String) -> Response {
        let call = self.call(Method::PUT, &format!("/bookings/{key}")).header("Idempotency-Key", "raw");
        call.header("Content-Type", "application/json").body(body).send().await.unwrap()
    }

    pub async fn read(&self, path: &str) -> Value {
        self.call(Method::GET, path).send().await.unwrap().json().await.unwrap()
    }

    pub async fn log(&self) -> Vec<Value> {
        self.read("/_sim/requests").await.as_array().unwrap().clone()
    }

    pub async fn faults(&self, body: Value) -> u16 {
        self.call(Method::POST, "/_sim/faults").json(&body).send().await.unwrap().status().as_u16()
    }
}

/// A request on its way; [`Call::send`] judges it and its answer.
pub struct Call<'a> {
    sim: &'a Sim,
    request: reqwest::RequestBuilder,
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub fn body(mut self, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.body(body);
        self
    }

    pub async fn send(self) -> reqwest::Result<Response> {
        let request = self.request.build()?;
        let (method, path) = (request.method().to_string(), request.url().path().to_owned());
        let sent = listed(request.headers());
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default().to_vec();
        let answer = self.sim.http.execute(request).await?;
        let mut parts = http::Response::builder().status(answer.status()).version(answer.version());
        parts.headers_mut().unwrap().extend(answer.headers().clone());
        let (status, headers) = (answer.status(), listed(answer.headers()));
        let bytes = answer.bytes().await?;
        let contract = &self.sim.contract;
        if let Some(Err(fault)) = contract.answer(&method, &path, status.as_u16(), &headers, &bytes) {
            panic!("{method} {path}: the answer breaks the contract: {fault}");
        }
        if status.is_success() && path.starts_with("/bookings") {
            let described = contract.request(&method, &path, &sent, &body);
            assert_eq!(described, Ok(()), "{method} {path} was answered {status}");
        }
        Ok(parts.body(bytes).unwrap().into())
    }
}

fn listed(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
