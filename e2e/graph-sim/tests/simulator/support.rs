//! A simulator in this process, and a client of it.

use std::time::{Duration, Instant};

use graph_sim::{Options, Running, World};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

pub(crate) const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
pub(crate) const OTHER_TENANT: &str = "0b6f3a8e-5c0a-4d55-8d4e-3a0f5f7c9b11";
pub(crate) const CLIENT: &str = "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11";
pub(crate) const SECOND_CLIENT: &str = "c5c0f9d1-58a2-4b7b-8a3e-4f0d8a1f5b02";
pub(crate) const BARE_CLIENT: &str = "1d9d3c55-7a0e-4d0b-8c39-5a3f6f1b2c77";
/// Characters that a form must encode.
pub(crate) const SECRET: &str = "demo~./+&=";
pub(crate) const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
pub(crate) const USER_2: &str = "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0";
pub(crate) const NO_MAILBOX: &str = "3c0a3f9e-7f0c-4f3a-9d64-51c6f5a3e001";
pub(crate) const GROUP: &str = "5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10";
pub(crate) const NESTED: &str = "5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a11";
pub(crate) const PROPERTY: &str =
    "String {00020329-0000-0000-C000-000000000046} Name cecp-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f";
pub(crate) const EXPAND: &str = "$expand=singleValueExtendedProperties($filter=id%20eq%20'String%20%7B00020329-0000-0000-C000-000000000046%7D%20Name%20cecp-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f')";

/// Header of an encoded form.
pub(crate) const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// How long a test waits for what must happen.
const DEADLINE: Duration = Duration::from_mins(1);

pub(crate) struct Sim {
    pub(crate) running: Running,
    pub(crate) http: Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Self { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self, member: &str) -> String {
        self.body[member].as_str().unwrap_or_else(|| panic!("no {member} in {:?}", self.body)).to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code()), (status, code), "{:?}", self.body);
        self
    }
}

pub(crate) fn world() -> Value {
    json!({"tenants": [
        {
            "id": TENANT, "domain": "contoso.example",
            "apps": [
                {"clientId": CLIENT, "secret": SECRET, "roles": ["Calendars.Read", "Calendars.ReadWrite", "User.Read.All", "GroupMember.Read.All"]},
                {"clientId": SECOND_CLIENT, "secret": SECRET, "roles": ["Calendars.Read", "User.ReadBasic.All", "GroupMember.ReadWrite.All"]},
                {"clientId": BARE_CLIENT, "secret": SECRET},
            ],
            "users": [
                {"id": USER, "userPrincipalName": "user1@contoso.example", "displayName": "User One"},
                {"id": USER_2, "userPrincipalName": "user2@contoso.example", "displayName": "User Two"},
                {"id": NO_MAILBOX, "userPrincipalName": "svc@contoso.example", "displayName": "Service", "mailbox": false},
            ],
            "groups": [
                {"id": GROUP, "displayName": "Room pilot", "mailEnabled": true, "securityEnabled": true, "members": [USER, NESTED]},
                {"id": NESTED, "displayName": "Nested", "mailEnabled": false, "securityEnabled": true, "members": [USER_2, GROUP]},
            ],
        },
        {
            "id": OTHER_TENANT, "domain": "fabrikam.example",
            "apps": [{"clientId": CLIENT, "secret": SECRET, "roles": ["Calendars.Read", "Calendars.ReadWrite", "User.Read.All"]}],
        },
    ]})
}

impl Sim {
    pub(crate) async fn start() -> Self {
        Self::with(&world(), None).await
    }

    pub(crate) async fn trusting(ca_pem: &str) -> Self {
        Self::with(&world(), Some(ca_pem)).await
    }

    pub(crate) async fn with(world: &Value, trust: Option<&str>) -> Self {
        let running = graph_sim::start(Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            world: World::from_yaml(&world.to_string()).unwrap(),
            tls_dir: None,
            trust_pem: trust.map(|pem| pem.as_bytes().to_vec()),
            request_log: None,
        })
        .await
        .unwrap();
        let ca = reqwest::Certificate::from_pem(running.ca_pem.as_bytes()).unwrap();
        let http = Client::builder().tls_certs_only([ca]).no_proxy().build().unwrap();
        Self { running, http }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.origin)
    }

    pub(crate) async fn form(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let request = self.http.post(self.url(path)).header(FORM.0, FORM.1).body(encode(form));
        Answer::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn token(&self, client_id: &str) -> String {
        self.token_in(TENANT, client_id).await
    }

    pub(crate) async fn token_in(&self, tenant: &str, client_id: &str) -> String {
        let scope = format!("{}/.default", self.running.origin);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", SECRET),
            ("scope", &scope),
        ];
        let answer = self.form(&format!("/{tenant}/oauth2/v2.0/token"), &form).await.expect(200);
        answer.text("access_token")
    }

    pub(crate) async fn app(&self) -> App<'_> {
        App { sim: self, token: self.token(CLIENT).await }
    }

    pub(crate) async fn app_as(&self, client_id: &str) -> App<'_> {
        App { sim: self, token: self.token(client_id).await }
    }

    pub(crate) async fn control(&self, path: &str) -> Value {
        let answer = Answer::read(self.http.get(self.url(path)).send().await.unwrap()).await;
        answer.expect(200).body
    }

    pub(crate) async fn command(&self, path: &str, body: &Value) -> Answer {
        Answer::read(self.http.post(self.url(path)).json(body).send().await.unwrap()).await
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        self.command("/_sim/clock", &json!({"advanceSeconds": seconds})).await.expect(200);
    }
}

/// An app with its token.
pub(crate) struct App<'a> {
    pub(crate) sim: &'a Sim,
    pub(crate) token: String,
}

impl App<'_> {
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let url = if path.starts_with("https:") { path.to_owned() } else { self.sim.url(path) };
        let mut request = self.sim.http.request(method, url).bearer_auth(&self.token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::read(request.send().await.unwrap()).await
    }

    /// A call whose answer may break off.
    pub(crate) async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<String, reqwest::Error> {
        let request = self.sim.http.request(method, self.sim.url(path)).bearer_auth(&self.token);
        let request = if let Some(body) = body { request.json(body) } else { request };
        request.send().await?.text().await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(Method::PATCH, path, &[], Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, &[], None).await
    }

    pub(crate) async fn create_event(&self, body: &Value) -> Answer {
        self.post(&format!("/v1.0/users/{USER}/events"), body).await.expect(201)
    }
}

pub(crate) fn encode(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

pub(crate) fn meeting() -> Value {
    json!({
        "subject": "Planning",
        "start": {"dateTime": "2026-12-01T10:00:00", "timeZone": "UTC"},
        "end": {"dateTime": "2026-12-01T11:00:00", "timeZone": "UTC"},
    })
}

/// Waits until something is there.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
