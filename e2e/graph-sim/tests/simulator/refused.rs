//! What Graph refuses, in its words.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    Answer, App, BARE_CLIENT, EXPAND, GROUP, NO_MAILBOX, SECOND_CLIENT, Sim, USER, USER_2, meeting,
};

struct Case {
    method: Method,
    path: String,
    headers: Vec<(&'static str, &'static str)>,
    body: Option<Value>,
    expected: (u16, &'static str),
}

fn get(path: impl Into<String>, status: u16, code: &'static str) -> Case {
    Case { method: Method::GET, path: path.into(), headers: Vec::new(), body: None, expected: (status, code) }
}

fn with(method: Method, path: impl Into<String>, body: Value, status: u16, code: &'static str) -> Case {
    Case { method, path: path.into(), headers: Vec::new(), body: Some(body), expected: (status, code) }
}

fn header(name: &'static str, value: &'static str, mut case: Case) -> Case {
    case.headers.push((name, value));
    case
}

async fn run(app: &App<'_>, cases: Vec<Case>) {
    for case in cases {
        let answer = app.call(case.method.clone(), &case.path, &case.headers, case.body.as_ref()).await;
        let seen = (answer.status, answer.code());
        assert_eq!(seen, case.expected, "{} {}: {:?}", case.method, case.path, answer.body);
        for name in ["request-id", "client-request-id", "odata-version", "date"] {
            assert_ne!(answer.header(name), "", "{name} is missing at {}", case.path);
        }
        let inner = &answer.body["error"]["innerError"];
        assert_eq!(inner["request-id"], answer.header("request-id"));
        assert!(inner["date"].is_string());
    }
}

#[tokio::test]
async fn paths_and_methods() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    let id = app.create_event(&meeting()).await.text("id");
    run(
        &app,
        vec![
            get("/v1.0/nothing", 400, "BadRequest"),
            get(format!("/v1.0/users/{USER}/nothing"), 400, "BadRequest"),
            get(format!("{events}/{id}/nothing"), 400, "BadRequest"),
            get(format!("/v1.0/groups/{GROUP}/nothing"), 400, "BadRequest"),
            get(
                format!("/v1.0/groups/{GROUP}/members/microsoft.graph.message"),
                400,
                "Request_UnsupportedQuery",
            ),
            get(format!("/v1.0/users/{USER}/calendar/nothing"), 400, "BadRequest"),
            get(format!("/v1.0/users/{USER}/microsoft.graph.nothing"), 400, "BadRequest"),
            get(format!("/v1.0/groups/{GROUP}/members/{USER}/nothing"), 400, "BadRequest"),
            get("/v1.0/me/events", 400, "BadRequest"),
            get("/v1.0//users", 400, "BadRequest"),
            get("/v1.0/users/%ff", 400, "BadRequest"),
            with(Method::POST, "/v1.0/$batch", json!({"requests": []}), 400, "BadRequest"),
            with(Method::PUT, &events, meeting(), 405, "Request_BadRequest"),
            with(Method::PATCH, &events, meeting(), 405, "Request_BadRequest"),
            with(Method::POST, format!("/v1.0/users/{USER}"), json!({}), 405, "Request_BadRequest"),
            with(Method::PATCH, "/v1.0/subscriptions", json!({}), 405, "Request_BadRequest"),
            with(Method::GET, format!("{events}/{id}"), json!({}), 400, "BadRequest"),
        ],
    )
    .await;
    let segment = app.get("/v1.0/nothing").await;
    assert_eq!(segment.message(), "Resource not found for the segment 'nothing'.");
    let unlisted = app.call(Method::PUT, &events, &[], Some(&meeting())).await;
    assert_eq!(unlisted.header("allow"), "GET, POST");
    // Segments ignore case, event ids do not.
    let upper = format!("/v1.0/Users('{USER}')/Events/{id}?$select=id");
    app.get(&upper).await.expect(200);
    let swapped: String = id
        .chars()
        .map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    let answer = app.get(&format!("{events}/AAMk{}?$select=id", swapped.strip_prefix("aamK").unwrap())).await;
    assert!(matches!(answer.status, 400 | 404), "{:?}", answer.body);
}

#[tokio::test]
async fn query_options() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    let members = format!("/v1.0/groups/{GROUP}/transitiveMembers");
    let id = app.create_event(&meeting()).await.text("id");
    let filter =
        "$filter=singleValueExtendedProperties/Any(ep:%20ep/id%20eq%20'x'%20and%20ep/value%20ne%20null)";
    run(
        &app,
        vec![
            get(format!("/v1.0/users/{USER}?$select=shoeSize"), 400, "BadRequest"),
            get(format!("/v1.0/users/{USER}?$select="), 400, "BadRequest"),
            get(format!("/v1.0/users/{USER}?$expand=shoes"), 400, "BadRequest"),
            get(format!("/v1.0/groups/{GROUP}?$select=shoeSize"), 400, "BadRequest"),
            get(format!("/v1.0/users/{USER}?$filter=id%20eq%20'x'"), 400, "BadRequest"),
            get(format!("/v1.0/users/{USER}?$select=id&$select=mail"), 400, "BadRequest"),
            get(format!("/v1.0/users/{USER}?foo=bar"), 400, "BadRequest"),
            get("/v1.0/users?$filter=shoeSize%20eq%20'a'", 400, "Request_UnsupportedQuery"),
            get("/v1.0/users?$filter=startswith(mail,'a'", 400, "Request_UnsupportedQuery"),
            get("/v1.0/users?$filter=mail%20eq", 400, "Request_UnsupportedQuery"),
            get("/v1.0/users?$filter=", 400, "Request_UnsupportedQuery"),
            get("/v1.0/users?$filter=accountEnabled%20eq%20'true'", 400, "Request_UnsupportedQuery"),
            get("/v1.0/users?$top=1000", 400, "Request_UnsupportedQuery"),
            get(format!("{events}?$select=uid"), 400, "BadRequest"),
            get(format!("{events}/{id}?$select=ID"), 400, "BadRequest"),
            get(format!("{events}/{id}?$filter=id%20eq%20'x'"), 400, "BadRequest"),
            get(format!("{events}/{id}?$expand=nothing"), 400, "BadRequest"),
            get(format!("{events}/{id}?$expand="), 400, "BadRequest"),
            get(format!("{events}/{id}?$expand=singleValueExtendedProperties"), 400, "ErrorInvalidUrlQuery"),
            get(
                format!("{events}/{id}?$expand=singleValueExtendedProperties($filter=id%20eq%20'cecp')"),
                400,
                "ErrorInvalidProperty",
            ),
            get(format!("{events}?$filter=nothing%20eq%20'x'"), 400, "ErrorInvalidUrlQueryFilter"),
            get(format!("{events}?$filter=subject%20eq"), 400, "ErrorInvalidUrlQueryFilter"),
            get(
                format!("{events}?$filter=lastModifiedDateTime%20ge%20'2026-01-01T00:00:00Z'"),
                400,
                "ErrorInvalidUrlQueryFilter",
            ),
            get(format!("{events}?{filter}"), 400, "ErrorInvalidProperty"),
            get(format!("{events}?$top=0"), 400, "Request_UnsupportedQuery"),
            get(format!("{events}?$top=ten"), 400, "BadRequest"),
            get(format!("{events}?startDateTime=2026-01-01T00:00:00Z"), 400, "BadRequest"),
            get("/v1.0/subscriptions?$select=id", 400, "BadRequest"),
            get("/v1.0/subscriptions?$top=5", 400, "BadRequest"),
            get("/v1.0/subscriptions?$skiptoken=abc", 400, "BadRequest"),
            get(format!("{members}?$count=true"), 400, "Request_BadRequest"),
            get(format!("{members}/microsoft.graph.user?$top=999"), 400, "Request_UnsupportedQuery"),
            header(
                "ConsistencyLevel",
                "eventual",
                get(format!("{members}/graph.user"), 400, "Request_UnsupportedQuery"),
            ),
            get(format!("{members}/graph.user?$count=true"), 400, "Request_UnsupportedQuery"),
            header(
                "ConsistencyLevel",
                "strong",
                get(format!("{members}/graph.user?$count=true"), 400, "BadRequest"),
            ),
            header("ConsistencyLevel", "eventual", get(format!("{members}?$count=yes"), 400, "BadRequest")),
            header(
                "Prefer",
                "outlook.timezone=\"Mars\"",
                get(format!("{events}/{id}?$select=id"), 400, "TimeZoneNotSupportedException"),
            ),
            header("Accept", "text/html", get(format!("{events}/{id}?$select=id"), 406, "NotAcceptable")),
            header(
                "Accept",
                "application/json;odata.metadata=most",
                get(format!("{events}/{id}?$select=id"), 406, "NotAcceptable"),
            ),
            with(Method::POST, format!("{events}?$select=id"), meeting(), 400, "BadRequest"),
        ],
    )
    .await;
    app.get(&format!("{events}/{id}?$select=id&{EXPAND}")).await.expect(200);
}

#[tokio::test]
async fn bodies() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    let id = app.create_event(&meeting()).await.text("id");
    let but = |member: &str, value: Value| {
        let mut body = meeting();
        body[member] = value;
        body
    };
    let create = |body: Value, status, code| with(Method::POST, events.clone(), body, status, code);
    let failure = "ErrorPropertyValidationFailure";
    run(&app, vec![
        create(json!({"subject": "x"}), 400, failure),
        create(json!([]), 400, "RequestBodyRead"),
        create(but("colour", "red".into()), 400, "RequestBodyRead"),
        create(but("uid", "x".into()), 400, "RequestBodyRead"),
        create(but("@odata.type", "#microsoft.graph.message".into()), 400, "RequestBodyRead"),
        create(but("subject", 7.into()), 400, "RequestBodyRead"),
        create(but("isAllDay", "yes".into()), 400, "RequestBodyRead"),
        create(but("showAs", "green".into()), 400, "RequestBodyRead"),
        create(but("isCancelled", true.into()), 400, failure),
        create(but("iCalUId", "x".into()), 400, failure),
        create(but("start", Value::Null), 400, "RequestBodyRead"),
        create(but("start", json!({"dateTime": "2026-12-01T10:00:00", "timeZone": "Mars"})), 400, "TimeZoneNotSupportedException"),
        create(but("start", json!({"dateTime": "2026-12-01T10:00:00"})), 400, "TimeZoneNotSupportedException"),
        create(but("start", json!({"dateTime": "soon", "timeZone": "UTC"})), 400, "RequestBodyRead"),
        create(but("start", json!({"dateTime": "2026-12-01T12:00:00", "timeZone": "UTC"})), 400, failure),
        create(but("isAllDay", true.into()), 400, failure),
        create(but("attendees", json!([{"emailAddress": {"address": "nobody"}}])), 400, "ErrorInvalidRecipients"),
        create(but("attendees", json!([{"emailAddress": {"address": "a@b.example"}, "type": "maybe"}])), 400, "RequestBodyRead"),
        create(but("attendees", json!([{"address": "a@b.example"}])), 400, "RequestBodyRead"),
        create(but("location", json!({"name": "HQ"})), 400, "RequestBodyRead"),
        create(but("recurrence", json!({"pattern": {"type": "weekly", "interval": 1}, "range": {"type": "noEnd", "startDate": "2026-12-01"}})), 400, failure),
        create(but("singleValueExtendedProperties", json!([{"id": "cecp", "value": "x"}])), 400, "ErrorInvalidProperty"),
        with(Method::PATCH, format!("{events}/{id}"), json!({"end": {"dateTime": "2026-12-01T09:00:00", "timeZone": "UTC"}}), 400, failure),
        with(Method::PATCH, format!("{events}/{id}"), json!({"changeKey": "x"}), 400, failure),
        header("If-Match", "W/\"old\"", with(Method::PATCH, format!("{events}/{id}"), json!({"subject": "x"}), 412, "ErrorIrresolvableConflict")),
    ])
    .await;
    let subject = app.get(&format!("{events}/{id}?$select=subject")).await.text("subject");
    assert_eq!(subject, "Planning", "a refused PATCH changes nothing");
    for (content_type, body, status, code) in [
        (Some("application/json"), "{", 400, "BadRequest"),
        (Some("application/json"), "", 400, "BadRequest"),
        (Some("text/plain"), "{}", 415, "InvalidRequest"),
        (None, "{}", 400, "BadRequest"),
    ] {
        let mut request = sim.http.post(sim.url(&events)).bearer_auth(&app.token).body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        Answer::read(request.send().await.unwrap()).await.refused(status, code);
    }
    let large = but("subject", "x".repeat(5 * 1024 * 1024).into());
    app.post(&events, &large).await.refused(413, "RequestEntityTooLarge");
}

#[tokio::test]
async fn identities_and_roles() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let stranger = "00000000-0000-4000-8000-000000000001";
    let unknown_event = format!("AAMk{}=", "A".repeat(147));
    run(
        &app,
        vec![
            get(format!("/v1.0/users/{stranger}"), 404, "Request_ResourceNotFound"),
            get("/v1.0/users/nobody@contoso.example", 404, "Request_ResourceNotFound"),
            get(format!("/v1.0/groups/{stranger}"), 404, "Request_ResourceNotFound"),
            get(format!("/v1.0/groups/{USER}"), 404, "Request_ResourceNotFound"),
            get("/v1.0/groups/pilot", 400, "Request_BadRequest"),
            get(format!("/v1.0/users/{stranger}/events?$select=id"), 404, "ErrorInvalidUser"),
            get(format!("/v1.0/users/{NO_MAILBOX}/events?$select=id"), 404, "MailboxNotEnabledForRESTAPI"),
            get(format!("/v1.0/users/{USER}/events/{unknown_event}?$select=id"), 404, "ErrorItemNotFound"),
            get(format!("/v1.0/users/{USER}/events/1?$select=id"), 400, "ErrorInvalidIdMalformed"),
            get(format!("/v1.0/subscriptions/{stranger}"), 404, "ResourceNotFound"),
            get("/v1.0/subscriptions/1", 404, "ResourceNotFound"),
            with(
                Method::POST,
                format!("/v1.0/groups/{GROUP}/members/$ref"),
                json!({"@odata.id": format!("users/{USER_2}")}),
                403,
                "Authorization_RequestDenied",
            ),
        ],
    )
    .await;
    let bare = sim.app_as(BARE_CLIENT).await;
    let subscription = json!({"changeType": "created", "resource": format!("users/{USER}/events"), "notificationUrl": "https://127.0.0.1:1/", "expirationDateTime": "2099-01-01T00:00:00Z"});
    run(
        &bare,
        vec![
            get(format!("/v1.0/users/{USER}"), 403, "Authorization_RequestDenied"),
            get("/v1.0/users", 403, "Authorization_RequestDenied"),
            get(format!("/v1.0/groups/{GROUP}"), 403, "Authorization_RequestDenied"),
            get(format!("/v1.0/groups/{GROUP}/members"), 403, "Authorization_RequestDenied"),
            get(format!("/v1.0/users/{USER}/events"), 403, "ErrorAccessDenied"),
            with(Method::POST, format!("/v1.0/users/{USER}/events"), meeting(), 403, "ErrorAccessDenied"),
            with(Method::POST, "/v1.0/subscriptions", subscription, 403, "ExtensionError"),
        ],
    )
    .await;
    // Read alone is not enough to write, and the basic role shows only basic properties.
    let second = sim.app_as(SECOND_CLIENT).await;
    run(
        &second,
        vec![
            with(Method::POST, format!("/v1.0/users/{USER}/events"), meeting(), 403, "ErrorAccessDenied"),
            get(format!("/v1.0/users/{USER}?$select=id,accountEnabled"), 403, "Authorization_RequestDenied"),
        ],
    )
    .await;
    second.get(&format!("/v1.0/users/{USER}/events?$select=id")).await.expect(200);
    second.get(&format!("/v1.0/users/{USER}?$select=id,userPrincipalName")).await.expect(200);
}

#[tokio::test]
async fn without_a_token_nothing_is_told() {
    let sim = Sim::start().await;
    for token in ["", "x", "a.b.c"] {
        let app = App { sim: &sim, token: token.to_owned() };
        for path in ["/v1.0/nothing", "/v1.0/users", "/v1.0/subscriptions"] {
            app.get(path).await.refused(401, "InvalidAuthenticationToken");
        }
    }
    let app = sim.app().await;
    let request = sim
        .http
        .get(sim.url("/v1.0/users?$select=id"))
        .bearer_auth(&app.token)
        .header("client-request-id", "abc");
    let answer = Answer::read(request.send().await.unwrap()).await.expect(200);
    assert_eq!(answer.header("client-request-id"), "abc");
    assert!(answer.header("content-type").starts_with("application/json;odata.metadata=minimal"));
    // Another name than its own is not served.
    let request =
        sim.http.get(sim.url("/v1.0/users")).bearer_auth(&app.token).header("host", "graph.microsoft.com");
    Answer::read(request.send().await.unwrap()).await.refused(400, "BadRequest");
}
