//! What Graph has and the simulator lacks is said openly, never in Graph's words.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, GROUP, PROPERTY, Sim, USER, meeting};

const EVENTUAL: (&str, &str) = ("ConsistencyLevel", "eventual");
const WINDOW: &str = "startDateTime=2026-12-01T00:00:00Z&endDateTime=2026-12-03T00:00:00Z";

#[track_caller]
fn open(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.code()), (501, "NotImplemented"), "{what}: {:?}", answer.body);
    assert!(answer.message().starts_with("graph-sim does not simulate "), "{what}: {}", answer.message());
}

async fn all(app: &App<'_>, headers: &[(&str, &str)], paths: impl IntoIterator<Item = String>) {
    for path in paths {
        open(&app.call(Method::GET, &path, headers, None).await, &path);
    }
}

#[tokio::test]
async fn segments() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let id = app.create_event(&meeting()).await.text("id");
    let below_users = ["delta", "$count", "microsoft.graph.delta()"].map(|end| format!("users/{end}"));
    let below_groups = ["delta", "Delta()", "$count"].map(|end| format!("groups/{end}"));
    let below_user = [
        "messages",
        "mailFolders/inbox/messages",
        "memberOf",
        "transitiveMemberOf",
        "manager",
        "calendars",
        "calendars/AAMk/events",
        "calendarGroups",
        "mailboxSettings",
        "photo/$value",
        "displayName",
        "microsoft.graph.translateExchangeIds",
        "reminderView(startDateTime='2026-12-01',endDateTime='2026-12-02')",
        "calendar",
        "calendar/calendarPermissions",
        "calendar/getSchedule",
        "events/delta",
        "events/$count",
        "calendarView/$count",
    ];
    let below_event = [
        "instances/AAMk",
        "instances/delta",
        "exceptionOccurrences",
        "attachments",
        "extensions",
        "calendar",
        "subject",
        "$value",
        "accept",
        "microsoft.graph.cancel",
        "permanentDelete",
    ];
    let below_group = [
        "owners",
        "memberOf",
        "events",
        "calendarView",
        "threads",
        "displayName",
        "checkMemberGroups",
        "members/$count",
        "members/$ref",
        "members/microsoft.graph.device",
        "transitiveMembers/graph.servicePrincipal",
        "transitiveMembers/microsoft.graph.user/$count",
        &format!("members/{USER}"),
    ];
    let paths = below_users
        .into_iter()
        .chain(below_groups)
        .chain(below_user.map(|end| format!("users/{USER}/{end}")))
        .chain(below_event.map(|end| format!("users/{USER}/events/{id}/{end}")))
        .chain(below_group.map(|end| format!("groups/{GROUP}/{end}")))
        .chain(
            ["groups", "applications", "servicePrincipals", "search/query", "$metadata"].map(str::to_owned),
        )
        .chain([
            format!("directoryObjects/{USER}"),
            "users(userPrincipalName='x@contoso.example')".to_owned(),
        ])
        .map(|path| format!("/v1.0/{path}"));
    all(&app, &[EVENTUAL], paths).await;
    all(&app, &[], ["/v1.0/".to_owned(), format!("/beta/users/{USER}")]).await;
    let ids = json!({"inputIds": [id], "sourceIdType": "restId", "targetIdType": "restImmutableEntryId"});
    for path in ["translateExchangeIds", "getMailTips", "findMeetingTimes"] {
        open(&app.post(&format!("/v1.0/users/{USER}/{path}"), &ids).await, path);
    }
}

#[tokio::test]
async fn methods() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    for (method, path) in [
        (Method::POST, "users".to_owned()),
        (Method::PATCH, format!("users/{USER}")),
        (Method::PATCH, format!("groups/{GROUP}")),
        (Method::POST, "groups".to_owned()),
    ] {
        open(&app.call(method, &format!("/v1.0/{path}"), &[], Some(&json!({}))).await, &path);
    }
    for path in [format!("users/{USER}"), format!("groups/{GROUP}")] {
        open(&app.delete(&format!("/v1.0/{path}")).await, &path);
    }
}

#[tokio::test]
async fn options_of_the_directory() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let user = [
        "$select=assignedPlans",
        "$select=id,assignedLicenses",
        "$select=signInActivity",
        "$select=*",
        "$select=onPremisesExtensionAttributes/extensionAttribute1",
        "$select=extension_0a1b_colour",
        "$expand=manager",
        "$expand=manager($levels=max;$select=id)",
        "$expand=memberOf,directReports",
        "$format=json",
    ]
    .map(|option| format!("/v1.0/users/{USER}?{option}"));
    let users = [
        "$filter=startswith(mail,'a')",
        "$filter=accountEnabled eq true",
        "$filter=proxyAddresses/any(p:p eq 'smtp:user1@contoso.example')",
        "$filter=mail eq 'a' or mail eq 'b'",
        "$filter=mail ne null",
        "$filter=userType in ('Member','Guest')",
        "$filter=not(startswith(displayName,'A'))",
        "$filter=assignedPlans/any(p:p/service eq 'exchange' and p/capabilityStatus eq 'Enabled')",
        "$orderby=displayName",
        "$search=\"displayName:one\"",
        "$count=true",
    ]
    .map(|option| format!("/v1.0/users?{option}"));
    let group = ["$select=membershipRule", "$select=isAssignableToRole", "$expand=members"]
        .map(|option| format!("/v1.0/groups/{GROUP}?{option}"));
    let members = [
        "$filter=accountEnabled eq true",
        "$search=\"displayName:one\"",
        "$orderby=displayName",
        "$expand=manager",
        "$select=id,assignedPlans",
    ];
    let members = ["members", "transitiveMembers", "transitiveMembers/graph.user"].iter().flat_map(|list| {
        members.iter().map(move |option| format!("/v1.0/groups/{GROUP}/{list}?$count=true&{option}"))
    });
    all(&app, &[EVENTUAL], user.into_iter().chain(users).chain(group).chain(members)).await;
}

#[tokio::test]
async fn options_of_events() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    let id = app.create_event(&meeting()).await.text("id");
    let expand = [
        "$expand=attachments",
        "$expand=instances",
        "$expand=exceptionOccurrences($top=1)",
        "$expand=extensions",
        "$expand=extensions($filter=id eq 'com.example')",
        "$expand=calendar,attachments",
        &format!("$expand=singleValueExtendedProperties($filter=id eq '{PROPERTY}'),attachments"),
        &format!("$expand=singleValueExtendedProperties($filter=id eq '{PROPERTY}';$select=id)"),
        "$expand=multiValueExtendedProperties($filter=id eq 'x')",
        "$select=*",
        "$select=start/dateTime",
        "$select=attachments",
    ];
    let any = |test: &str| {
        format!("$filter=singleValueExtendedProperties/Any(ep: ep/id eq '{PROPERTY}' and {test})")
    };
    let lists = [
        "$filter=subject eq 'Planning'".to_owned(),
        "$filter=startswith(subject,'P') and isCancelled eq false".to_owned(),
        "$filter=start/dateTime ge '2026-12-01T00:00:00'".to_owned(),
        "$filter=lastModifiedDateTime ge 2026-01-01".to_owned(),
        "$filter=not (isAllDay eq true)".to_owned(),
        "$filter=(subject eq 'x')".to_owned(),
        "$filter=categories/any(c:c eq 'Red')".to_owned(),
        format!("{} or subject eq 'x'", any("ep/value ne null")),
        any("cast(ep/value, Edm.Int32) gt 7"),
        "$orderby=start/dateTime".to_owned(),
        "$search=\"x\"".to_owned(),
    ];
    let single = expand.map(|option| format!("{events}/{id}?{option}"));
    let view = format!("/v1.0/users/{USER}/calendarView?{WINDOW}");
    let list = lists.iter().map(|option| format!("{events}?$select=id&{option}"));
    let viewed = lists.iter().map(|option| format!("{view}&$select=id&{option}"));
    all(&app, &[], single.into_iter().chain(list).chain(viewed)).await;
}

#[tokio::test]
async fn headers() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let id = app.create_event(&meeting()).await.text("id");
    let path = format!("/v1.0/users/{USER}/events/{id}?$select=id");
    for header in [
        ("Prefer", "outlook.body-content-type=\"text\""),
        ("Prefer", "IdType=\"ImmutableId\", outlook.allow-unsafe-html"),
        ("Prefer", "return=minimal"),
        ("Prefer", "respond-async"),
        ("Accept", "application/json;odata.metadata=full"),
        ("Accept", "application/json;odata.metadata=none"),
        ("Accept", "application/json;IEEE754Compatible=true"),
        ("If-None-Match", "*"),
        ("If-Match", "*"),
    ] {
        open(&app.call(Method::GET, &path, &[header], None).await, header.1);
    }
}

#[tokio::test]
async fn members_of_an_event() {
    let sim = Sim::start().await;
    let app = sim.app().await;
    let events = format!("/v1.0/users/{USER}/events");
    for (member, value) in [
        ("attachments", json!([])),
        ("extensions", json!([])),
        ("exceptionOccurrences", json!([])),
        ("isOnlineMeeting", json!(true)),
        ("onlineMeetingProvider", json!("teamsForBusiness")),
    ] {
        let mut body: Value = meeting();
        body[member] = value;
        open(&app.post(&events, &body).await, member);
    }
    let mut body = meeting();
    (body["isOnlineMeeting"], body["onlineMeetingProvider"]) = (json!(false), json!("unknown"));
    let id = app.create_event(&body).await.text("id");
    open(&app.patch(&format!("{events}/{id}"), &json!({"transactionId": "x"})).await, "transactionId");
}
