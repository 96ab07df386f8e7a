use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, BARE_CLIENT, CLIENT, FORM, SECRET, Sim, TENANT, USER, encode, world};

/// Checks a token with another implementation of JWT, by the published keys.
async fn claims(sim: &Sim, token: &str, audience: &str) -> Value {
    let path = format!("/{TENANT}/discovery/v2.0/keys");
    let keys = Answer::read(sim.http.get(sim.url(&path)).send().await.unwrap()).await.expect(200).body;
    let kid = decode_header(token).unwrap().kid.unwrap();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid).unwrap();
    let key =
        DecodingKey::from_rsa_components(key["n"].as_str().unwrap(), key["e"].as_str().unwrap()).unwrap();
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&[audience]);
    decode::<Value>(token, &key, &validation).unwrap().claims
}

#[tokio::test]
async fn discovery_leads_to_the_token_endpoint_and_the_keys() {
    let sim = Sim::start().await;
    for name in [TENANT, "contoso.example", "CONTOSO.example"] {
        let path = format!("/{name}/v2.0/.well-known/openid-configuration");
        let answer = Answer::read(sim.http.get(sim.url(&path)).send().await.unwrap()).await.expect(200);
        let origin = &sim.running.origin;
        assert_eq!(answer.text("issuer"), format!("{origin}/{TENANT}/v2.0"));
        assert_eq!(answer.text("token_endpoint"), format!("{origin}/{TENANT}/oauth2/v2.0/token"));
        assert_eq!(answer.text("jwks_uri"), format!("{origin}/{TENANT}/discovery/v2.0/keys"));
    }
    let unknown = sim.url("/nobody.example/v2.0/.well-known/openid-configuration");
    let answer = Answer::read(sim.http.get(unknown).send().await.unwrap()).await.expect(400);
    assert_eq!(answer.body["error"], "invalid_tenant");
    let path = format!(
        "/common/discovery/instance?api-version=1.1&authorization_endpoint={}/{TENANT}/oauth2/v2.0/authorize",
        sim.running.origin
    );
    let answer = Answer::read(sim.http.get(sim.url(&path)).send().await.unwrap()).await.expect(200);
    assert_eq!(
        answer.text("tenant_discovery_endpoint"),
        format!("{}/{TENANT}/v2.0/.well-known/openid-configuration", sim.running.origin)
    );
}

#[tokio::test]
async fn tokens_are_signed_by_the_published_key() {
    let sim = Sim::start().await;
    let origin = sim.running.origin.clone();
    let claims_of = claims(&sim, &sim.token(CLIENT).await, &origin).await;
    assert_eq!(claims_of["iss"], format!("https://sts.windows.net/{TENANT}/"));
    assert_eq!(claims_of["appid"], CLIENT);
    assert_eq!(
        claims_of["roles"],
        json!(["Calendars.Read", "Calendars.ReadWrite", "User.Read.All", "GroupMember.Read.All"])
    );
    let bare = claims(&sim, &sim.token(BARE_CLIENT).await, &origin).await;
    assert_eq!(bare.get("roles"), None, "a token without roles has no such claim");
}

#[tokio::test]
async fn secrets_come_in_the_form_or_by_basic_authentication() {
    let sim = Sim::start().await;
    for scope in
        [format!("{}/.default", sim.running.origin), "https://graph.microsoft.com/.default".to_owned()]
    {
        let quoted = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let request = sim
            .http
            .post(sim.url("/contoso.example/oauth2/v2.0/token"))
            .basic_auth(CLIENT, Some(quoted(SECRET)))
            .header(FORM.0, FORM.1)
            .body(encode(&[("grant_type", "client_credentials"), ("scope", &scope)]));
        let answer = Answer::read(request.send().await.unwrap()).await.expect(200);
        assert_eq!(
            (&answer.body["expires_in"], &answer.body["token_type"]),
            (&json!(3599), &json!("Bearer"))
        );
        let app = App { sim: &sim, token: answer.text("access_token") };
        app.get(&format!("/v1.0/users/{USER}?$select=id")).await.expect(200);
    }
}

#[tokio::test]
async fn the_token_endpoint_refuses_in_entras_words() {
    let sim = Sim::start().await;
    let scope = format!("{}/.default", sim.running.origin);
    let good = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("scope", scope.as_str()),
    ];
    for (tenant, name, value, status, error, number) in [
        ("nobody.example", "", "", 400, "invalid_request", 90_002),
        ("00000000-93b9-405a-8dad-c21703b7af18", "", "", 400, "invalid_request", 90_002),
        (TENANT, "client_id", "00000000-0f3e-4f0f-8d6c-1c9f6f6c0a11", 400, "unauthorized_client", 700_016),
        (TENANT, "client_id", "", 400, "invalid_request", 900_144),
        (TENANT, "client_secret", "wrong", 401, "invalid_client", 7_000_215),
        (TENANT, "client_secret", "", 401, "invalid_client", 7_000_216),
        (TENANT, "client_assertion", "e30.e30.e30", 400, "invalid_request", 900_144),
        (TENANT, "grant_type", "password", 400, "unsupported_grant_type", 70_003),
        (TENANT, "grant_type", "", 400, "invalid_request", 900_144),
        (TENANT, "scope", "", 400, "invalid_request", 900_144),
        (TENANT, "scope", "openid profile", 400, "invalid_scope", 70_011),
        (TENANT, "scope", "https://graph.microsoft.com/User.Read", 400, "invalid_scope", 1_002_012),
        (TENANT, "scope", "https://vault.azure.net/.default", 400, "invalid_resource", 500_011),
        // Another cloud, and another program on this machine.
        (TENANT, "scope", "https://graph.microsoft.us/.default", 400, "invalid_resource", 500_011),
        (
            TENANT,
            "scope",
            "https://microsoftgraph.chinacloudapi.cn/.default",
            400,
            "invalid_resource",
            500_011,
        ),
        (TENANT, "scope", "https://127.0.0.1:1/.default", 400, "invalid_resource", 500_011),
        (TENANT, "resource", "https://graph.microsoft.com", 400, "invalid_request", 9_002_313),
    ] {
        let mut form: Vec<(&str, &str)> = good.to_vec();
        form.retain(|(member, _)| *member != name);
        if !value.is_empty() {
            form.push((name, value));
        }
        let answer = sim.form(&format!("/{tenant}/oauth2/v2.0/token"), &form).await;
        let seen =
            (answer.status, answer.body["error"].as_str().unwrap(), answer.body["error_codes"][0].as_u64());
        assert_eq!(seen, (status, error, Some(number)), "{tenant} {name}={value}: {:?}", answer.body);
        let description = answer.text("error_description");
        assert!(description.starts_with(&format!("AADSTS{number}: ")), "{description}");
        assert!(!description.contains(SECRET));
    }
    let get = sim.http.request(Method::GET, sim.url(&format!("/{TENANT}/oauth2/v2.0/token")));
    assert_eq!(Answer::read(get.send().await.unwrap()).await.status, 405);
}

#[tokio::test]
async fn a_token_dies_with_its_time() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let path = format!("/v1.0/users/{USER}?$select=id");
    app.get(&path).await.expect(200);
    sim.advance(3_600).await;
    let answer = app.get(&path).await.refused(401, "InvalidAuthenticationToken");
    assert_eq!(answer.message(), "Access token has expired or is not yet valid.");
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    sim.app().await.get(&path).await.expect(200);
}

#[tokio::test]
async fn tokens_of_users_and_of_apps_do_not_stand_in_for_each_other() {
    let sim = Sim::start().await;
    let audience = "1d9d3c55-7a0e-4d0b-8c39-5a3f6f1b2c77";
    let asked = json!({"tenantId": TENANT, "userId": USER, "audience": audience});
    let token = sim.command("/_sim/user-token", &asked).await.expect(200).text("access_token");
    let claims = claims(&sim, &token, audience).await;
    assert_eq!(claims["iss"], format!("{}/{TENANT}/v2.0", sim.running.origin));
    assert_eq!((&claims["oid"], &claims["tid"]), (&json!(USER), &json!(TENANT)));
    assert_eq!((&claims["scp"], &claims["ver"]), (&json!("access_as_user"), &json!("2.0")));
    assert_eq!(claims["preferred_username"], "user1@contoso.example");
    let app = App { sim: &sim, token };
    app.get(&format!("/v1.0/users/{USER}")).await.refused(401, "InvalidAuthenticationToken");
    for wrong in [
        json!({"tenantId": TENANT, "userId": USER, "audience": sim.running.origin}),
        json!({"tenantId": TENANT, "userId": USER, "audience": "https://graph.microsoft.com"}),
        json!({"tenantId": TENANT, "userId": CLIENT, "audience": audience}),
        json!({"tenantId": TENANT, "userId": USER, "audience": audience, "other": 1}),
    ] {
        sim.command("/_sim/user-token", &wrong).await.expect(400);
    }
    // A token of another simulator is signed by another key.
    let other = Sim::start().await;
    let stranger = App { sim: &sim, token: other.token(CLIENT).await };
    stranger.get(&format!("/v1.0/users/{USER}")).await.refused(401, "InvalidAuthenticationToken");
}

fn form<'a>(secret: &'a str, scope: &'a str) -> [(&'static str, &'a str); 4] {
    [("grant_type", "client_credentials"), ("client_id", CLIENT), ("client_secret", secret), ("scope", scope)]
}

const GRAPH: &str = "https://graph.microsoft.com/.default";

#[tokio::test]
async fn an_origin_that_the_world_names_is_graph_too() {
    let mut world = world();
    world["origins"] = json!(["https://localhost:9443"]);
    let sim = Sim::with(&world, None).await;
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let answer = sim.form(&path, &form(SECRET, "https://localhost:9443/.default")).await.expect(200);
    let app = App { sim: &sim, token: answer.text("access_token") };
    app.get(&format!("/v1.0/users/{USER}?$select=id")).await.expect(200);
    let own = format!("{}/.default", sim.running.origin.replace("127.0.0.1", "localhost"));
    sim.form(&path, &form(SECRET, &own)).await.expect(200);
    let other = sim.form(&path, &form(SECRET, "https://localhost:9444/.default")).await.expect(400);
    assert_eq!(other.body["error_codes"], json!([500_011]));
}

#[tokio::test]
async fn secrets_overlap_and_end_in_simulated_time() {
    let mut world = world();
    let app = world["tenants"][0]["apps"][0].as_object_mut().unwrap();
    app.remove("secret");
    let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    app.insert("secrets".to_owned(), json!([{"value": "old", "expires": ends}, {"value": "new"}]));
    let sim = Sim::with(&world, None).await;
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    for secret in ["old", "new"] {
        sim.form(&path, &form(secret, GRAPH)).await.expect(200);
    }
    sim.advance(25 * 3_600).await;
    let expired = sim.form(&path, &form("old", GRAPH)).await.expect(401);
    assert_eq!(
        (&expired.body["error"], &expired.body["error_codes"]),
        (&json!("invalid_client"), &json!([7_000_222]))
    );
    sim.form(&path, &form("new", GRAPH)).await.expect(200);
    // The control API replaces them all, or nothing.
    let change = |secrets: Value| json!({"tenantId": TENANT, "clientId": CLIENT, "secrets": secrets});
    sim.command("/_sim/apps", &change(json!([{"value": "third"}]))).await.expect(200);
    sim.command("/_sim/apps", &change(json!([{"value": ""}]))).await.expect(400);
    let gone = sim.form(&path, &form("new", GRAPH)).await.expect(401);
    assert_eq!(gone.body["error_codes"], json!([7_000_215]));
    sim.form(&path, &form("third", GRAPH)).await.expect(200);
}

#[tokio::test]
async fn an_administrator_is_sent_back_with_an_answer() {
    let mut world = world();
    world["tenants"][0]["apps"][0]["redirectUris"] = json!(["https://rooms.example/consented?from=1"]);
    let sim = Sim::with(&world, None).await;
    let ca = reqwest::Certificate::from_pem(sim.running.ca_pem.as_bytes()).unwrap();
    let http = reqwest::Client::builder()
        .tls_certs_only([ca])
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    let ask = async |tenant: &str, query: &str| {
        let url = sim.url(&format!("/{tenant}/adminconsent?{query}"));
        Answer::read(http.get(url).send().await.unwrap()).await
    };
    let redirect = "redirect_uri=https%3A%2F%2Frooms.example%2Fconsented%3Ffrom%3D1";
    let good = format!("client_id={CLIENT}&{redirect}&state=a%20%26b");
    let agreed = ask("contoso.example", &good).await.expect(302);
    assert_eq!(
        agreed.header("location"),
        format!("https://rooms.example/consented?from=1&admin_consent=True&tenant={TENANT}&state=a+%26b")
    );
    let change = json!({"tenantId": TENANT, "clientId": CLIENT, "refusesConsent": true});
    sim.command("/_sim/apps", &change).await.expect(200);
    let refused = ask(TENANT, &good).await.expect(302);
    let location = refused.header("location");
    assert!(
        location.contains("&error=permission_denied&") && location.ends_with("&state=a+%26b"),
        "{location}"
    );
    assert!(!location.contains("admin_consent"), "{location}");
    // Whoever is not known to be the app's is not sent anywhere.
    for (query, number) in [
        (format!("client_id={CLIENT}&redirect_uri=https%3A%2F%2Fevil.example%2F"), "AADSTS50011:"),
        (format!("client_id={BARE_CLIENT}&{redirect}"), "AADSTS500113:"),
        (format!("client_id={USER}&{redirect}"), "AADSTS700016:"),
        (redirect.to_owned(), "AADSTS900144:"),
        (format!("{good}&colour=red"), "AADSTS9002313:"),
    ] {
        let page = ask(TENANT, &query).await.expect(400);
        assert!(page.body.as_str().unwrap().contains(number), "{query}: {:?}", page.body);
    }
    ask("common", &good).await.expect(501);
}

#[tokio::test]
async fn what_the_login_host_has_beside_is_said_openly() {
    let sim = Sim::start().await;
    let tenant = TENANT;
    for path in [
        format!("/{tenant}/oauth2/v2.0/authorize?client_id={CLIENT}"),
        format!("/{tenant}/oauth2/v2.0/devicecode"),
        format!("/{tenant}/oauth2/v2.0/logout"),
        format!("/{tenant}/v2.0/adminconsent"),
        format!("/{tenant}/oauth2/token"),
        "/oidc/userinfo".to_owned(),
    ] {
        let answer = Answer::read(sim.http.get(sim.url(&path)).send().await.unwrap()).await.expect(501);
        assert_eq!(answer.body["error"], "not_implemented", "{path}");
    }
    let unknown = sim.http.get(sim.url(&format!("/{tenant}/nothing"))).send().await.unwrap();
    Answer::read(unknown).await.expect(404);
}
