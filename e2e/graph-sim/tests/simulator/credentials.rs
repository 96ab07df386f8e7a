//! Certificates and federated credentials: assertions verified for real.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use graph_sim::World;
use jiff::{Timestamp, ToSpan as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, date_time_ymd};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{Answer, App, CLIENT, SECRET, Sim, TENANT, USER, world};

const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ISSUER: &str = "https://cluster.example/";
const SUBJECT: &str = "system:serviceaccount:rooms:contoso-calendars";
const AUDIENCE: &str = "api://AzureADTokenExchange";

/// A certificate with its key.
struct Identity {
    pem: String,
    der: Vec<u8>,
    key: KeyPair,
}

impl Identity {
    fn until(key: KeyPair, not_after: jiff::civil::Date) -> Self {
        let mut params = CertificateParams::default();
        let (month, day) = (not_after.month().unsigned_abs(), not_after.day().unsigned_abs());
        params.not_after = date_time_ymd(not_after.year().into(), month, day);
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), der: certificate.der().to_vec(), key }
    }

    fn signing_key(&self) -> EncodingKey {
        EncodingKey::from_rsa_pem(self.key.serialize_pem().as_bytes()).unwrap()
    }

    fn sha256(&self) -> String {
        BASE64URL_NOPAD.encode(&Sha256::digest(&self.der))
    }

    fn sha1(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &self.der);
        BASE64URL_NOPAD.encode(digest.as_ref())
    }

    /// As a key of an issuer.
    fn jwk(&self, kid: &str) -> Value {
        use jsonwebtoken::jwk::Jwk;
        let algorithm =
            if self.key.is_compatible(&PKCS_RSA_SHA256) { Algorithm::RS256 } else { Algorithm::ES256 };
        let pem = self.key.serialize_pem();
        let key = match algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
            _ => EncodingKey::from_ec_pem(pem.as_bytes()),
        };
        let mut jwk =
            serde_json::to_value(Jwk::from_encoding_key(&key.unwrap(), algorithm).unwrap()).unwrap();
        jwk["kid"] = kid.into();
        jwk["use"] = "sig".into();
        jwk
    }
}

fn rsa() -> KeyPair {
    KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap()
}

fn far() -> jiff::civil::Date {
    jiff::civil::date(2090, 1, 1)
}

static GOOD: LazyLock<Identity> = LazyLock::new(|| Identity::until(rsa(), far()));
static SECOND: LazyLock<Identity> = LazyLock::new(|| Identity::until(rsa(), far()));
static OLD: LazyLock<Identity> = LazyLock::new(|| Identity::until(rsa(), jiff::civil::date(2020, 1, 1)));
static STRANGER: LazyLock<Identity> = LazyLock::new(|| Identity::until(rsa(), far()));
static ELLIPTIC: LazyLock<Identity> =
    LazyLock::new(|| Identity::until(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(), far()));

/// The usual world; its first app has no secret but all of these.
fn registered() -> Value {
    let mut world = world();
    let app = &mut world["tenants"][0]["apps"][0];
    app.as_object_mut().unwrap().remove("secret");
    app["certificates"] = json!([GOOD.pem, SECOND.pem, OLD.pem]);
    app["federated"] = json!([
        {"issuer": "https://other.example", "subject": SUBJECT, "audience": AUDIENCE, "jwks": {"keys": [STRANGER.jwk("k")]}},
        {"issuer": ISSUER, "subject": SUBJECT, "audience": AUDIENCE,
         "jwks": json!({"keys": [SECOND.jwk("rsa"), ELLIPTIC.jwk("ec")]}).to_string()},
    ]);
    world
}

async fn start() -> Sim {
    Sim::with(&registered(), None).await
}

async fn present(sim: &Sim, assertion: &str) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("client_assertion_type", KIND),
        ("client_assertion", assertion),
        ("scope", "https://graph.microsoft.com/.default"),
    ];
    sim.form(&format!("/{TENANT}/oauth2/v2.0/token"), &form).await
}

/// What a test changes of a good assertion.
struct Draft {
    header: Header,
    claims: Value,
    key: EncodingKey,
}

impl Draft {
    fn certificate(sim: &Sim) -> Self {
        let now = Timestamp::now().as_second();
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(GOOD.sha256());
        let claims = json!({
            "aud": sim.url(&format!("/{TENANT}/oauth2/v2.0/token")), "iss": CLIENT, "sub": CLIENT,
            "jti": uuid::Uuid::new_v4(), "nbf": now, "iat": now, "exp": now + 600,
        });
        Self { header, claims, key: GOOD.signing_key() }
    }

    fn federated() -> Self {
        let now = Timestamp::now().as_second();
        let mut header = Header::new(Algorithm::RS256);
        header.kid = Some("rsa".to_owned());
        let claims = json!({
            "aud": [AUDIENCE], "iss": ISSUER, "sub": SUBJECT, "nbf": now, "iat": now, "exp": now + 3_600,
        });
        Self { header, claims, key: SECOND.signing_key() }
    }

    fn with(mut self, claim: &str, value: Value) -> Self {
        self.claims[claim] = value;
        self
    }

    fn without(mut self, claim: &str) -> Self {
        self.claims.as_object_mut().unwrap().remove(claim);
        self
    }

    fn header(mut self, change: impl FnOnce(&mut Header)) -> Self {
        change(&mut self.header);
        self
    }

    fn signed_by(mut self, identity: &Identity) -> Self {
        self.key = identity.signing_key();
        self
    }

    fn sign(&self) -> String {
        encode(&self.header, &self.claims, &self.key).unwrap()
    }
}

/// The answers to these drafts: status, `error`, AADSTS number.
async fn refused(sim: &Sim, cases: Vec<(&str, Draft)>, expected: (u16, &str, u64)) {
    for (what, draft) in cases {
        let answer = present(sim, &draft.sign()).await;
        let number = answer.body["error_codes"][0].as_u64().unwrap_or_default();
        let seen = (answer.status, answer.body["error"].as_str().unwrap_or_default(), number);
        assert_eq!(seen, expected, "{what}: {:?}", answer.body);
        assert!(answer.text("error_description").starts_with(&format!("AADSTS{}: ", expected.2)));
    }
}

#[tokio::test]
async fn an_assertion_signed_by_a_registered_certificate_gives_a_token() {
    let sim = start().await;
    let now = Timestamp::now().as_second();
    for (what, draft) in [
        ("PS256", Draft::certificate(&sim)),
        ("RS256 with SHA-256", Draft::certificate(&sim).header(|header| header.alg = Algorithm::RS256)),
        (
            "RS256 with SHA-1",
            Draft::certificate(&sim).header(|header| {
                header.alg = Algorithm::RS256;
                header.x5t_s256 = None;
                header.x5t = Some(GOOD.sha1());
            }),
        ),
        (
            "a padded thumbprint, as msal for Python sends it",
            Draft::certificate(&sim).header(|header| header.x5t_s256 = Some(format!("{}=", GOOD.sha256()))),
        ),
        (
            "the second certificate",
            Draft::certificate(&sim)
                .header(|header| header.x5t_s256 = Some(SECOND.sha256()))
                .signed_by(&SECOND),
        ),
        ("a clock that is ahead", Draft::certificate(&sim).with("nbf", (now + 60).into())),
        (
            "times with fractions, as msal for Python sends them",
            Draft::certificate(&sim)
                .with("nbf", json!(f64::from(i32::try_from(now).unwrap()) + 0.25))
                .with("exp", json!(f64::from(i32::try_from(now).unwrap()) + 600.75)),
        ),
        ("no nbf, as msal for Python", Draft::certificate(&sim).without("nbf")),
        ("no iat, as azure-identity for Python", Draft::certificate(&sim).without("iat")),
        ("no type", Draft::certificate(&sim).header(|header| header.typ = None)),
        (
            "the endpoint by domain",
            Draft::certificate(&sim).with("aud", sim.url("/contoso.example/oauth2/v2.0/token").into()),
        ),
    ] {
        let answer = present(&sim, &draft.sign()).await;
        assert_eq!(answer.status, 200, "{what}: {:?}", answer.body);
        let token = answer.text("access_token");
        let payload = BASE64URL_NOPAD.decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&claims["appidacr"], &claims["appid"]), (&json!("2"), &json!(CLIENT)), "{what}");
        App { sim: &sim, token }.get(&format!("/v1.0/users/{USER}?$select=id")).await.expect(200);
    }
    // With padding, as azure-identity for Python sends it.
    let draft = Draft::certificate(&sim);
    let part = |value: String| data_encoding::BASE64URL.encode(value.as_bytes());
    let header = serde_json::to_string(&draft.header).unwrap();
    // Lengths that need padding.
    let (header, claims) = (format!("{header:<200}"), format!("{:<500}", draft.claims.to_string()));
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &draft.key, Algorithm::PS256).unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let padded = format!("{message}.{}", data_encoding::BASE64URL.encode(&signature));
    assert!(padded.contains("=.") && padded.ends_with('='));
    present(&sim, &padded).await.expect(200);
    // The same assertion again: Entra takes it.
    let again = Draft::certificate(&sim).sign();
    present(&sim, &again).await.expect(200);
    present(&sim, &again).await.expect(200);
}

#[tokio::test]
async fn certificate_assertions_are_refused_in_entras_words() {
    let sim = start().await;
    let now = Timestamp::now().as_second();
    let good = || Draft::certificate(&sim);
    let thumbprint = |of: &Identity| {
        let of = of.sha256();
        move |header: &mut Header| header.x5t_s256 = Some(of)
    };
    refused(
        &sim,
        vec![
            ("not registered", good().header(thumbprint(&STRANGER)).signed_by(&STRANGER)),
            ("another key than the certificate's", good().signed_by(&STRANGER)),
            ("another certificate of the app", good().header(thumbprint(&SECOND))),
            ("a certificate that has expired", good().header(thumbprint(&OLD)).signed_by(&OLD)),
            ("two thumbprints that disagree", good().header(|header| header.x5t = Some(SECOND.sha1()))),
        ],
        (401, "invalid_client", 700_027),
    )
    .await;
    refused(
        &sim,
        vec![
            ("expired", good().with("exp", (now - 60).into()).with("nbf", (now - 900).into()).without("iat")),
            ("not yet", good().with("nbf", (now + 400).into()).without("iat")),
            ("issued later", good().with("iat", (now + 400).into())),
            ("ends before it begins", good().with("exp", (now - 1).into())),
        ],
        (401, "invalid_client", 700_024),
    )
    .await;
    refused(
        &sim,
        vec![
            (
                "another tenant's endpoint",
                good().with("aud", sim.url("/fabrikam.example/oauth2/v2.0/token").into()),
            ),
            ("the issuer", good().with("aud", sim.url(&format!("/{TENANT}/v2.0")).into())),
            (
                "another host",
                good().with(
                    "aud",
                    format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token").into(),
                ),
            ),
            (
                "an audience that begins so",
                good().with("aud", sim.url(&format!("/{TENANT}/oauth2/v2.0/token/x")).into()),
            ),
        ],
        (401, "invalid_client", 700_023),
    )
    .await;
    refused(&sim, vec![("another app", good().with("sub", json!(USER)))], (401, "invalid_client", 700_021))
        .await;
    refused(
        &sim,
        vec![
            ("no jti", good().without("jti")),
            ("neither nbf nor iat", good().without("nbf").without("iat")),
            ("another type", good().header(|header| header.typ = Some("at+jwt".to_owned()))),
            ("no exp", good().without("exp")),
            ("no audience", good().without("aud")),
            ("several audiences", good().with("aud", json!(["a", "b"]))),
            ("no subject", good().without("sub")),
            ("no issuer", good().without("iss")),
            ("exp is no second", good().with("exp", json!(1e300))),
            ("exp is text", good().with("exp", json!("soon"))),
            ("no thumbprint", good().header(|header| header.x5t_s256 = None)),
            ("a thumbprint of the wrong length", good().header(|header| header.x5t_s256 = Some(GOOD.sha1()))),
            (
                "PS256 with SHA-1",
                good().header(|header| {
                    header.x5t_s256 = None;
                    header.x5t = Some(GOOD.sha1());
                }),
            ),
            ("another algorithm", good().header(|header| header.alg = Algorithm::PS384)),
        ],
        (401, "invalid_client", 50_027),
    )
    .await;
}

#[tokio::test]
async fn forms_with_an_assertion_are_checked_as_a_whole() {
    let sim = start().await;
    let good = || Draft::certificate(&sim);
    let now = Timestamp::now().as_second();
    // Not even signed, tampered with, without its kind, of another kind, or beside a secret.
    let token = good().sign();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let mut claims = good().claims;
    claims["exp"] = json!(now + 90_000);
    let tampered = format!("{header}.{}.{signature}", BASE64URL_NOPAD.encode(claims.to_string().as_bytes()));
    let none = format!(
        "{}.{}.",
        BASE64URL_NOPAD.encode(br#"{"alg":"none"}"#),
        BASE64URL_NOPAD.encode(claims.to_string().as_bytes())
    );
    for (what, form, status, number) in [
        ("tampered", vec![("client_assertion_type", KIND), ("client_assertion", &*tampered)], 401, 700_027),
        ("unsigned", vec![("client_assertion_type", KIND), ("client_assertion", &none)], 401, 50_027),
        ("empty", vec![("client_assertion_type", KIND), ("client_assertion", "e30.e30.e30")], 401, 50_027),
        ("no kind", vec![("client_assertion", &token)], 400, 900_144),
        ("no assertion", vec![("client_assertion_type", KIND)], 400, 900_144),
        (
            "another kind",
            vec![("client_assertion_type", "jwt-bearer"), ("client_assertion", &token)],
            400,
            9_002_313,
        ),
        (
            "two credentials",
            vec![("client_assertion_type", KIND), ("client_assertion", &token), ("client_secret", SECRET)],
            400,
            9_002_313,
        ),
        ("a secret that the app has not", vec![("client_secret", SECRET)], 401, 7_000_215),
    ] {
        let mut all = vec![
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        all.extend(form);
        let answer = sim.form(&format!("/{TENANT}/oauth2/v2.0/token"), &all).await;
        assert_eq!(
            (answer.status, &answer.body["error_codes"][0]),
            (status, &json!(number)),
            "{what}: {:?}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_certificate_ends_in_simulated_time() {
    let mut world = registered();
    let end = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().checked_add(30.days()).unwrap();
    let short = Identity::until(rsa(), end);
    world["tenants"][0]["apps"][0]["certificates"] = json!([short.pem, GOOD.pem]);
    let sim = Sim::with(&world, None).await;
    let sha256 = short.sha256();
    let by_short =
        || Draft::certificate(&sim).header(|header| header.x5t_s256 = Some(sha256.clone())).signed_by(&short);
    present(&sim, &by_short().sign()).await.expect(200);
    sim.advance(31 * 86_400).await;
    refused(&sim, vec![("expired", by_short())], (401, "invalid_client", 700_027)).await;
    // A client whose own clock stayed behind is not locked out, nor is one whose clock moved along.
    present(&sim, &Draft::certificate(&sim).sign()).await.expect(200);
    let later = Timestamp::now().as_second() + 31 * 86_400;
    let moved = Draft::certificate(&sim)
        .with("nbf", later.into())
        .with("iat", later.into())
        .with("exp", (later + 600).into());
    present(&sim, &moved.sign()).await.expect(200);
}

#[tokio::test]
async fn certificates_and_federated_entries_change_while_it_runs() {
    let sim = start().await;
    let by_second = || {
        Draft::certificate(&sim).header(|header| header.x5t_s256 = Some(SECOND.sha256())).signed_by(&SECOND)
    };
    present(&sim, &Draft::certificate(&sim).sign()).await.expect(200);
    let change = |name: &str, value: Value| {
        let mut change = json!({"tenantId": TENANT, "clientId": CLIENT});
        change[name] = value;
        change
    };
    sim.command("/_sim/apps", &change("certificates", json!([SECOND.pem]))).await.expect(200);
    refused(&sim, vec![("taken away", Draft::certificate(&sim))], (401, "invalid_client", 700_027)).await;
    present(&sim, &by_second().sign()).await.expect(200);
    present(&sim, &Draft::federated().sign()).await.expect(200);
    sim.command("/_sim/apps", &change("federated", json!([]))).await.expect(200);
    refused(&sim, vec![("taken away", Draft::federated())], (400, "invalid_request", 70_021)).await;
    let wrong = sim.command("/_sim/apps", &change("certificates", json!([GOOD.pem, "nothing"]))).await;
    assert!(wrong.message().starts_with("certificates[1]"), "{:?}", wrong.body);
    present(&sim, &by_second().sign()).await.expect(200);
}

#[tokio::test]
async fn federated_assertions_are_matched_exactly_and_verified() {
    let sim = start().await;
    let now = Timestamp::now().as_second();
    present(&sim, &Draft::federated().sign()).await.expect(200);
    present(&sim, &Draft::federated().with("aud", AUDIENCE.into()).sign()).await.expect(200);
    let mut elliptic = Draft::federated().header(|header| {
        header.alg = Algorithm::ES256;
        header.kid = Some("ec".to_owned());
    });
    elliptic.key = EncodingKey::from_ec_pem(ELLIPTIC.key.serialize_pem().as_bytes()).unwrap();
    let token = present(&sim, &elliptic.sign()).await.expect(200).text("access_token");
    App { sim: &sim, token }.get(&format!("/v1.0/users/{USER}?$select=id")).await.expect(200);
    let good = Draft::federated;
    refused(
        &sim,
        vec![
            ("issuer without its slash", good().with("iss", "https://cluster.example".into())),
            ("issuer in another case", good().with("iss", "https://Cluster.example/".into())),
            ("another account", good().with("sub", "system:serviceaccount:rooms:other".into())),
            ("another audience", good().with("aud", json!(["https://kubernetes.default.svc"]))),
            ("audience in another case", good().with("aud", json!("api://azureadtokenexchange"))),
        ],
        (400, "invalid_request", 70_021),
    )
    .await;
    refused(
        &sim,
        vec![
            ("another issuer's key", good().signed_by(&STRANGER)),
            ("a key that the issuer has not", good().header(|header| header.kid = Some("k".to_owned()))),
            ("the wrong key of the issuer", good().header(|header| header.kid = Some("ec".to_owned()))),
        ],
        (400, "invalid_request", 50_013),
    )
    .await;
    refused(
        &sim,
        vec![
            (
                "expired",
                good()
                    .with("exp", (now - 301).into())
                    .with("nbf", (now - 900).into())
                    .with("iat", (now - 900).into()),
            ),
            ("not yet", good().with("nbf", (now + 400).into())),
        ],
        (401, "invalid_client", 700_024),
    )
    .await;
    refused(
        &sim,
        vec![
            ("no key id", good().header(|header| header.kid = None)),
            ("two audiences", good().with("aud", json!([AUDIENCE, "other"]))),
            ("another algorithm", good().header(|header| header.alg = Algorithm::PS256)),
        ],
        (401, "invalid_client", 50_027),
    )
    .await;
    // An app without such credentials.
    let plain = Sim::start().await;
    refused(&plain, vec![("not registered", good())], (400, "invalid_request", 70_021)).await;
}

#[test]
fn the_world_file_says_what_is_wrong_with_a_credential() {
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut world = registered();
        change(&mut world["tenants"][0]["apps"][0]);
        World::from_yaml(&world.to_string()).unwrap_err().to_string()
    };
    let app = "tenants[0].apps[0]";
    let key = GOOD.key.serialize_pem();
    let set = |at: &'static [&'static str], value: Value| {
        move |app: &mut Value| {
            let mut place = app;
            for name in at {
                place = match name.parse::<usize>() {
                    Ok(number) => &mut place[number],
                    Err(_) => &mut place[*name],
                };
            }
            *place = value.clone();
        }
    };
    for (change, named) in [
        (set(&["certificates", "1"], "nothing".into()), format!("{app}.certificates[1]")),
        (set(&["certificates", "0"], key.clone().into()), format!("{app}.certificates[0]")),
        (
            set(&["certificates", "0"], format!("{}{}", GOOD.pem, SECOND.pem).into()),
            format!("{app}.certificates[0]"),
        ),
        (set(&["certificates", "2"], ELLIPTIC.pem.clone().into()), format!("{app}.certificates[2]")),
        (
            set(&["federated", "0", "issuer"], "http://other.example".into()),
            format!("{app}.federated[0].issuer"),
        ),
        (set(&["federated", "1", "subject"], "".into()), format!("{app}.federated[1].subject")),
        (set(&["federated", "1", "audience"], "".into()), format!("{app}.federated[1].audience")),
        (set(&["federated", "1", "jwks"], "{".into()), format!("{app}.federated[1].jwks")),
        (set(&["federated", "1", "jwks"], json!({"keys": []})), format!("{app}.federated[1].jwks")),
        (
            set(&["federated", "1", "jwks"], json!({"keys": [{"kty": "oct", "kid": "a", "k": "AA"}]})),
            "keys[0]".to_owned(),
        ),
        (
            set(&["federated", "1", "jwks"], json!({"keys": [GOOD.jwk("a"), GOOD.jwk("a")]})),
            "keys[1].kid".to_owned(),
        ),
    ] {
        let error = refused(&change);
        assert!(error.contains(&named), "{named}: {error}");
        assert!(!error.contains(key.lines().nth(1).unwrap()), "a private key is never repeated");
    }
    let nothing = refused(&|app: &mut Value| {
        let app = app.as_object_mut().unwrap();
        app.remove("certificates");
        app.remove("federated");
    });
    assert!(nothing.contains(&format!("{app}.secret")), "{nothing}");
    let unknown = refused(&|app: &mut Value| app["federated"][0]["name"] = "x".into());
    assert!(unknown.contains("name"), "{unknown}");
}
