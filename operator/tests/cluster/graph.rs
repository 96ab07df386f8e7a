//! The Graph simulator and an installation that is connected to it.

use std::{fs, net::SocketAddr, path::PathBuf};

use kube::ResourceExt as _;
use reqwest::Method;
use roomkeeper_crds::{AccessScope, condition::Type};
use serde_json::{Value, json};

use crate::{
    endpoint::Endpoint,
    site::{Operator, Site, until},
    way::GraphWay,
    world::{self, CLIENT, CLIENT_SECRET, DIRECTORY_CLIENT, TENANT},
};

pub struct Graph {
    /// Under which the installation knows it.
    pub origin: String,
    /// Under which the tests reach it, whatever lies between it and the installation.
    direct: String,
    http: reqwest::Client,
    ca: PathBuf,
    _running: graph_sim::Running,
}

impl Graph {
    async fn start(site: &Site, world: &Value, endpoint: &Endpoint) -> Self {
        let folder = site.folder.path().join("graph-tls");
        let world = graph_sim::World::from_yaml(&serde_yaml::to_string(world).unwrap()).unwrap();
        let running = graph_sim::start(graph_sim::Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            world,
            tls_dir: Some(folder.clone()),
            trust_pem: Some(fs::read(&endpoint.ca).unwrap()),
            request_log: graph_sim::request_log_folder(),
        })
        .await
        .unwrap();
        let certificate = reqwest::Certificate::from_pem(running.ca_pem.as_bytes()).unwrap();
        // Under a name of its own: what people and their administrator send is not the operator's.
        let http = reqwest::Client::builder()
            .add_root_certificate(certificate)
            .user_agent("stand-in/people")
            .build()
            .unwrap();
        Self {
            origin: running.origin.clone(),
            direct: running.origin.clone(),
            http,
            ca: folder.join("ca.crt"),
            _running: running,
        }
    }

    /// Living subscriptions for a user's calendar.
    pub async fn subscriptions_of(&self, user: &str) -> Vec<Value> {
        let all: Value = self.sim("/_sim/subscriptions").await;
        list(&all, "subscriptions").into_iter().filter(|one| one.to_string().contains(user)).collect()
    }

    /// Requests of a method, or of any if it is empty, whose path contains `part`, oldest first.
    pub async fn requests(&self, method: &str, part: &str) -> Vec<Value> {
        let all: Value = self.sim("/_sim/requests").await;
        list(&all, "requests")
            .into_iter()
            .filter(|one| (method.is_empty() || one["method"] == method) && one.to_string().contains(part))
            .collect()
    }

    pub async fn faults(&self, faults: &Value) {
        self.control("faults", faults).await;
    }

    /// A call that steers the simulator.
    pub async fn control(&self, what: &str, body: &Value) {
        let answer = self.http.post(format!("{}/_sim/{what}", self.direct)).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{what}: {answer:?}");
    }

    /// A call to Graph as an app of the tenant; returns status and body.
    pub async fn call(
        &self,
        app: (&str, &str),
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}/.default",
            app.0, app.1, self.direct
        );
        let token: Value = self
            .http
            .post(format!("{}/{TENANT}/oauth2/v2.0/token", self.direct))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let mut request = self
            .http
            .request(method, format!("{}/v1.0{path}", self.direct))
            .bearer_auth(token["access_token"].as_str().unwrap());
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or(Value::Null))
    }

    /// The same app as the operator's, from elsewhere.
    pub async fn as_operator(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.call((CLIENT, CLIENT_SECRET), method, path, body).await
    }

    pub async fn leave_group(&self, user: &str) {
        let path = format!("/groups/{}/members/{user}/$ref", world::GROUP);
        let (status, body) = self.call((DIRECTORY_CLIENT, "directory"), Method::DELETE, &path, None).await;
        assert_eq!(status, 204, "{body}");
    }

    pub async fn join_group(&self, user: &str) {
        let path = format!("/groups/{}/members/$ref", world::GROUP);
        let body = json!({"@odata.id": format!("{}/v1.0/directoryObjects/{user}", self.origin)});
        let (status, body) =
            self.call((DIRECTORY_CLIENT, "directory"), Method::POST, &path, Some(body)).await;
        assert_eq!(status, 204, "{body}");
    }

    async fn sim(&self, path: &str) -> Value {
        self.http.get(format!("{}{path}", self.direct)).send().await.unwrap().json().await.unwrap()
    }
}

/// The entries of a simulator's answer.
pub fn list(answer: &Value, name: &str) -> Vec<Value> {
    answer
        .as_array()
        .or_else(|| answer[name].as_array())
        .or_else(|| answer["value"].as_array())
        .unwrap()
        .clone()
}

/// An installation with its Graph and its endpoint.
pub struct Connected {
    pub site: Site,
    pub graph: Graph,
    pub endpoint: Endpoint,
}

impl Connected {
    pub async fn new(users: usize) -> Self {
        Self::to(&world::tenant(users)).await
    }

    /// To a Graph of that world.
    pub async fn to(world: &Value) -> Self {
        Self::at(Site::new().await, world).await
    }

    /// The same for a site that is there already.
    pub async fn at(site: Site, world: &Value) -> Self {
        let endpoint = Endpoint::start(site.folder.path()).await;
        let graph = Graph::start(&site, world, &endpoint).await;
        Self { site, graph, endpoint }
    }

    /// To a Graph of that world that everybody reaches over a way.
    pub async fn over_a_way(world: &Value) -> (Self, GraphWay) {
        let listener = GraphWay::bind().await;
        let mut world = world.clone();
        world["origins"] = json!([listener.origin]);
        let mut connected = Self::to(&world).await;
        connected.graph.origin.clone_from(&listener.origin);
        let way = listener.lead_to(connected.graph.direct.strip_prefix("https://").unwrap());
        (connected, way)
    }

    pub async fn operator(&self, identity: &str) -> Operator {
        self.site.operator(identity, &self.flags()).await
    }

    /// What an operator has to be told about this Graph and this endpoint.
    pub fn flags(&self) -> Vec<String> {
        let host = self.graph.origin.strip_prefix("https://").unwrap();
        let ca = self.graph.ca.to_str().unwrap();
        let flags = ["--public-url", &self.endpoint.url, "--allowed-host", host, "--graph-ca", ca];
        flags.map(str::to_owned).to_vec()
    }

    /// Applies the scope and waits until it is ready; returns its uid.
    pub async fn scope(&self) -> String {
        self.site.apply(&world::scope("contoso", &self.graph.origin)).await;
        let scope = self.site.condition::<AccessScope>("contoso", Type::Ready, "True/Succeeded").await;
        scope.uid().unwrap()
    }

    /// Waits until a user's calendar has that many living subscriptions.
    pub async fn living(&self, user: &str, count: usize) -> Vec<Value> {
        until(&format!("{count} subscriptions at Graph"), async || {
            let found = self.graph.subscriptions_of(user).await;
            if found.len() == count { Ok(found) } else { Err(format!("{found:?}")) }
        })
        .await
    }
}
