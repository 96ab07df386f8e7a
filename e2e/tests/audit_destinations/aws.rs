//! S3 and STS behind one origin, as MinIO and Ceph have them: moto, which proves the keys and the signature of everything that comes
//! this way, and before it what moto lacks: the token is proven, and may stand in the query.

use std::{collections::BTreeMap, process::Command, sync::Arc};

use anyhow::{Context as _, ensure};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        Method, StatusCode,
        header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    },
    response::{IntoResponse as _, Response},
};
use jiff::{SignedDuration, Timestamp};
use roomkeeper_e2e::{programs, tls_listener::TlsListener};
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    account::Prover,
    exchanges::{Exchanges, Mood},
    install,
    server::Server,
};

/// Role of AWS, which may put objects into the bucket and nothing else.
pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/contoso-audit";
pub(crate) const BUCKET: &str = "contoso-audit";
/// Whom tokens of a service account are for.
pub(crate) const AUDIENCE: &str = "sts.amazonaws.com";
const LONGEST_BODY: usize = 16 << 20;

struct Cloud {
    client: reqwest::Client,
    moto: String,
    prover: Prover,
    exchanges: Arc<Exchanges>,
    /// Whether moto proves keys is a switch of the whole server.
    proving: Mutex<()>,
}

/// The origin; it ends with this value.
pub(crate) struct Aws {
    pub(crate) port: u16,
    pub(crate) exchanges: Arc<Exchanges>,
    _serving: AbortOnDropHandle<std::io::Result<()>>,
}

impl Aws {
    /// Before a server, in which it makes bucket and role.
    pub(crate) async fn start(server: &Server, prover: Prover) -> anyhow::Result<Self> {
        make_role(server)?;
        let listener = TlsListener::on_loopback(&server.identity.certificate, &server.identity.key).await?;
        let port = axum::serve::Listener::local_addr(&listener)?.port();
        let exchanges = Arc::<Exchanges>::default();
        let cloud = Arc::new(Cloud {
            client: server.client()?,
            moto: server.url(""),
            prover,
            exchanges: Arc::clone(&exchanges),
            proving: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(cloud);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await });
        let serving = AbortOnDropHandle::new(serving);
        Ok(Self { port, exchanges, _serving: serving })
    }
}

fn make_role(server: &Server) -> anyhow::Result<()> {
    let output = Command::new("python3")
        .env("PYTHONPATH", install::python()?)
        .arg(programs::repository().join("e2e/destinations/aws_role.py"))
        .args([&server.url(""), BUCKET, ROLE])
        .arg(&server.identity.ca)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

async fn answer(State(cloud): State<Arc<Cloud>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let asked: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let is_exchange = request.method() == Method::POST && asked.contains_key("Action");
    let answered = if is_exchange { cloud.exchange(&asked).await } else { cloud.store(request).await };
    answered.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response())
}

impl Cloud {
    async fn exchange(&self, asked: &BTreeMap<String, String>) -> anyhow::Result<Response> {
        let of = |name: &str| asked.get(name).map(String::as_str).unwrap_or_default();
        let token = of("WebIdentityToken");
        self.exchanges.keep(token);
        let mood = self.exchanges.mood();
        let is_asked = of("Action") == "AssumeRoleWithWebIdentity" && of("RoleArn") == ROLE;
        if !(is_asked && mood != Mood::Refusing && self.prover.takes(token).await?) {
            // It quotes what it refuses: a log that repeats it would be found out.
            let said = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>{token}</Message></Error></ErrorResponse>"
            );
            return Ok((StatusCode::BAD_REQUEST, said).into_response());
        }
        let given = match mood {
            Mood::Worthless => worthless(),
            Mood::Honest | Mood::Refusing => self.assume(asked).await?,
        };
        for name in ["AccessKeyId", "SecretAccessKey", "SessionToken"] {
            let (_, rest) = given.split_once(&format!("<{name}>")).context("no credentials")?;
            self.exchanges.keep(rest.split('<').next().unwrap_or_default());
        }
        self.exchanges.made();
        Ok(given.into_response())
    }

    /// moto's own STS, which reads the body only, and takes any token.
    async fn assume(&self, asked: &BTreeMap<String, String>) -> anyhow::Result<String> {
        let _alone = self.proving.lock().await;
        let answer = self.client.post(&self.moto).form(asked).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    async fn store(&self, request: Request) -> anyhow::Result<Response> {
        let _alone = self.proving.lock().await;
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.moto.trim_end_matches('/'));
        let body = to_bytes(body, LONGEST_BODY).await?;
        self.prove("0").await?;
        // `Host` too: it is signed.
        let answer = self.client.request(parts.method, url).headers(parts.headers).body(body).send().await;
        self.prove("inf").await?;
        let answer = answer?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        // The body is whole here, and gets its length anew.
        for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION] {
            headers.remove(name);
        }
        Ok((status, headers, Body::from(answer.bytes().await?)).into_response())
    }

    /// How many requests moto takes before it proves keys.
    async fn prove(&self, after: &'static str) -> anyhow::Result<()> {
        let url = format!("{}moto-api/reset-auth", self.moto);
        self.client.post(url).body(after).send().await?.error_for_status()?;
        Ok(())
    }
}

/// Credentials that moto does not know.
fn worthless() -> String {
    let end = Timestamp::now() + SignedDuration::from_hours(1);
    let key = Uuid::new_v4().simple().to_string().to_uppercase();
    let key: String = key.chars().take(16).collect();
    format!(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
         <AccessKeyId>ASIA{key}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey>\
         <SessionToken>{}</SessionToken><Expiration>{end}</Expiration>\
         </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        Uuid::new_v4(),
        Uuid::new_v4()
    )
}
