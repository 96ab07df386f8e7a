use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};
use data_encoding::BASE64;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use super::*;

const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
const AUDIENCE: &str = "1d9d3c55-7a0e-4d0b-8c39-5a3f6f1b2c77";
const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
const ISSUER: &str = "https://login.example/7f1d0cb7-93b9-405a-8dad-c21703b7af18/v2.0";
const NOW: i64 = 1_795_000_000;

struct Signer {
    pem: String,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Signer {
    fn new() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64.encode(der.as_ref())
        );
        let public = pair.public_key();
        Self {
            pem,
            modulus: public.modulus().big_endian_without_leading_zero().to_vec(),
            exponent: public.exponent().big_endian_without_leading_zero().to_vec(),
        }
    }

    fn key(&self) -> DecodingKey {
        DecodingKey::from_rsa_raw_components(&self.modulus, &self.exponent)
    }

    fn sign(&self, algorithm: Algorithm, claims: &Value) -> String {
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_rsa_pem(self.pem.as_bytes()).unwrap())
            .unwrap()
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "tid": TENANT, "oid": USER, "scp": "consent.write",
        "preferred_username": "User1@Contoso.example", "iat": NOW, "nbf": NOW, "exp": NOW + 3600,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn part(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

/// As the endpoint does it.
fn check(token: &str, key: &DecodingKey) -> Result<User, Refused> {
    let expected = Expected { tenant_id: TENANT, audience: AUDIENCE };
    let now = Timestamp::from_second(NOW).unwrap();
    let presented = Presented::read(token)?;
    presented.plausible(expected, now)?;
    presented.verify(expected, ISSUER, key, now)
}

#[test]
fn a_users_token_is_taken() {
    let signer = Signer::new();
    let user =
        User { id: UserId::parse(USER).unwrap(), principal_name: Some("user1@contoso.example".to_owned()) };
    for algorithm in [Algorithm::RS256, Algorithm::PS256] {
        assert_eq!(
            check(&signer.sign(algorithm, &claims()), &signer.key()),
            Ok(user.clone()),
            "{algorithm:?}"
        );
    }
    for claims in [
        with("exp", json!(NOW - 59)),
        with("nbf", json!(NOW + 60)),
        with("tid", json!(TENANT.to_uppercase())),
        without("nbf"),
    ] {
        assert_eq!(
            check(&signer.sign(Algorithm::RS256, &claims), &signer.key()),
            Ok(user.clone()),
            "{claims}"
        );
    }
}

#[test]
fn every_other_claim_is_refused_by_reason() {
    let signer = Signer::new();
    for (refused, claims) in [
        (Refused::Issuer, without("iss")),
        (Refused::Issuer, with("iss", json!("https://login.example/other/v2.0"))),
        (Refused::Issuer, with("iss", json!(format!("{ISSUER}/")))),
        (Refused::Issuer, with("iss", json!(format!("https://sts.windows.net/{TENANT}/")))),
        (Refused::Audience, without("aud")),
        (Refused::Audience, with("aud", json!("00000003-0000-0000-c000-000000000000"))),
        (Refused::Audience, with("aud", json!([AUDIENCE, "other"]))),
        (Refused::Tenant, without("tid")),
        (Refused::Tenant, with("tid", json!("11111111-93b9-405a-8dad-c21703b7af18"))),
        (Refused::Expired, without("exp")),
        (Refused::Expired, with("exp", json!(NOW - 60))),
        (Refused::Expired, with("exp", json!("never"))),
        (Refused::Expired, with("exp", json!(1e300))),
        (Refused::NotYet, with("nbf", json!(NOW + 61))),
        (Refused::NotYet, with("iat", json!(NOW + 3_600))),
        (Refused::NotYet, with("nbf", json!("soon"))),
        (Refused::NoUser, without("oid")),
        (Refused::NoUser, with("oid", json!("user1@contoso.example"))),
        (Refused::AppOnly, without("scp")),
        (Refused::AppOnly, with("scp", json!(" "))),
        (Refused::AppOnly, with("scp", json!(["consent.write"]))),
        (Refused::AppOnly, with("idtyp", json!("app"))),
    ] {
        assert_eq!(check(&signer.sign(Algorithm::RS256, &claims), &signer.key()), Err(refused), "{claims}");
    }
}

#[test]
fn every_other_form_is_refused_by_reason() {
    let signer = Signer::new();
    let good = signer.sign(Algorithm::RS256, &claims());
    let (head_and_claims, signature) = good.rsplit_once('.').unwrap();
    let body = part(&claims());
    let as_secret = EncodingKey::from_secret(signer.pem.as_bytes());
    let hs256 = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let other = part(&with("oid", json!("6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0")));
    let head = |value: Value| format!("{}.{body}.{signature}", part(&value));
    for (refused, token) in [
        (Refused::Malformed, String::new()),
        (Refused::Malformed, "a.b".to_owned()),
        (Refused::Malformed, "a.b.c.d".to_owned()),
        (Refused::Malformed, "a.b.c".to_owned()),
        (Refused::Malformed, format!("{}.{}.x", part(&json!([])), body)),
        (Refused::Malformed, format!("{head_and_claims}.")),
        (Refused::Malformed, format!("{good}.")),
        (Refused::TooLong, "a".repeat(MAX_BYTES + 1)),
        (Refused::Algorithm, head(json!({"alg": "none", "kid": "k1"}))),
        (Refused::Algorithm, head(json!({"alg": "rs256", "kid": "k1"}))),
        (Refused::Algorithm, head(json!({"kid": "k1"}))),
        (Refused::Algorithm, signer.sign(Algorithm::RS512, &claims())),
        (Refused::Algorithm, jsonwebtoken::encode(&hs256, &claims(), &as_secret).unwrap()),
        (Refused::NoKeyId, head(json!({"alg": "RS256"}))),
        (Refused::NoKeyId, head(json!({"alg": "RS256", "kid": "k".repeat(MAX_KID + 1)}))),
        (Refused::Critical, head(json!({"alg": "RS256", "kid": "k1", "crit": ["b64"]}))),
        (Refused::Signature, head(json!({"alg": "PS256", "kid": "k1"}))),
        (Refused::Signature, format!("{head_and_claims}.AAAA")),
        (Refused::Signature, format!("{}.{other}.{signature}", head_and_claims.split_once('.').unwrap().0)),
        (Refused::Signature, Signer::new().sign(Algorithm::RS256, &claims())),
    ] {
        let shown: String = token.chars().take(60).collect();
        assert_eq!(check(&token, &signer.key()), Err(refused), "{shown}");
    }
}

#[test]
fn a_principal_name_is_kept_only_if_it_can_be_one() {
    assert_eq!(principal_name(" User1@Contoso.example "), Some("user1@contoso.example".to_owned()));
    for text in ["", "user1", "a@b@c", "@b", "a b@c", "a/b@c", "a\n@c", &format!("{}@c", "a".repeat(320))] {
        assert_eq!(principal_name(text), None, "{text:?}");
    }
}
