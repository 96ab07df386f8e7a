//! What a scope and its Secrets come to.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use roomkeeper_crds::access_scope::BookingOAuth;

use super::*;

fn booking(oauth: bool) -> Booking {
    let oauth = oauth.then(|| BookingOAuth {
        token_url: "https://login.example/token".to_owned(),
        scope: Some("bookings".to_owned()),
        secret_name: "login".to_owned(),
    });
    Booking {
        url: "https://b.example".to_owned(),
        secret_name: Some("s".to_owned()),
        oauth,
        quota: roomkeeper_crds::access_scope::BookingQuota::default(),
        write_back: roomkeeper_crds::access_scope::WriteBack::default(),
        private_subject: roomkeeper_crds::access_scope::PrivateSubject::default(),
    }
}

fn secret(data: &[(&str, &str)]) -> Secret {
    let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret { data: Some(data.collect::<BTreeMap<_, _>>()), ..Secret::default() }
}

fn product(
    booking: &Booking,
    headers: &[(&str, &str)],
    client: &[(&str, &str)],
) -> Result<Product, ProductError> {
    let allowed = AllowedHosts::new(["b.example", "login.example"]).unwrap();
    Product::from_secrets(&allowed, booking, Some(secret(headers)), Some(secret(client)))
}

const CLIENT: [(&str, &str); 2] = [("clientId", "roomkeeper"), ("clientSecret", "canary-secret\n")];

#[test]
fn values_are_headers_that_do_not_show() {
    let product = product(&booking(true), &[("X-Api-Key", "canary\n"), ("X-Tenant", "t")], &CLIENT).unwrap();
    assert_eq!(product.headers.get("x-api-key").unwrap(), "canary");
    assert_eq!(product.headers.get("x-tenant").unwrap(), "t");
    let shown = format!("{product:?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(shown.contains("roomkeeper"), "{shown}");
}

#[test]
fn what_is_no_header_names_secret_and_key() {
    for (key, value) in [("Host", "x"), ("Content-Length", "1"), ("a b", "x"), ("X-A", "a\nb")] {
        let error = product(&booking(false), &[(key, value)], &[]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("Secret s: key {key} ")), "{error}");
    }
}

#[test]
fn a_client_needs_both_keys() {
    for (data, key) in [
        (&[("clientSecret", "canary")][..], "clientId"),
        (&[("clientId", "roomkeeper")], "clientSecret"),
        (&[("clientId", "roomkeeper"), ("clientSecret", "\n")], "clientSecret"),
    ] {
        let error = product(&booking(true), &[], data).unwrap_err();
        assert!(error.is_stalled());
        let error = error.to_string();
        assert!(error.contains("Secret login") && error.contains(&format!("key {key} ")), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn one_authorization_is_enough() {
    assert!(product(&booking(false), &[("Authorization", "Basic canary")], &[]).is_ok());
    let error = product(&booking(true), &[("authorization", "Basic canary")], &CLIENT).unwrap_err();
    assert!(error.is_stalled());
    let error = error.to_string();
    assert!(error.contains("Secret s ") && error.contains("spec.booking.oauth"), "{error}");
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn every_host_must_be_allowed() {
    let only = |hosts: &[&str]| {
        let allowed = AllowedHosts::new(hosts).unwrap();
        Product::from_secrets(&allowed, &booking(true), None, Some(secret(&CLIENT))).map(|_| ())
    };
    assert!(only(&["b.example", "login.example"]).is_ok());
    for (hosts, field) in
        [(["b.example"], "spec.booking.oauth.tokenUrl"), (["login.example"], "spec.booking.url")]
    {
        let error = only(&hosts).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    let mut plain = booking(true);
    plain.oauth.as_mut().unwrap().token_url = "http://login.example/token".to_owned();
    assert!(matches!(product(&plain, &[], &CLIENT), Err(ProductError::Host(_))), "https only");
}

#[test]
fn a_booking_lies_below_the_base() {
    for (base, url) in [
        ("https://b.example", "https://b.example/bookings/k"),
        ("https://b.example/api/", "https://b.example/api/bookings/k"),
        ("https://b.example/api", "https://b.example/api/bookings/k"),
    ] {
        let booking = Booking { url: base.to_owned(), ..booking(false) };
        assert_eq!(product(&booking, &[], &[]).unwrap().booking("k").unwrap().as_str(), url);
    }
}
