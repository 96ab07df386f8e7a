//! Against the strict simulator of Graph: what it refuses, Graph refuses.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use least_data::canary;
use roomkeeper_graph::{
    BookingNote, Cause, Decision, Deletion, EventId, EventType, GoneReason, GraphClient, GraphError, GroupId,
    ManifestId, MemberClass, NewSubscription, NotedBooking, Purpose, Reason, Sensitivity, Series,
    SubscriptionId, UserId, Window,
    audit::{AuditEntry, AuditError, MemoryAudit},
    budget::{BudgetSettings, Budgets, Lane, Place},
    http::{Http, HttpSettings},
};
use serde_json::{Value, json};
use url::Url;

use crate::support::{self, CLIENT, Server, TENANT, install_provider};

const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
const GROUP: &str = "5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10";
const MANIFEST: &str = "0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f";
/// The planted one, and what must be encoded in a form.
const SECRET: &str = "canary-client-secret-7c1f~./+&=";
/// More than two pages of 999.
const MEMBERS: usize = 2_100;

struct Sim {
    running: graph_sim::Running,
    origin: Url,
    http: Http,
    audit: Arc<MemoryAudit>,
    client: GraphClient,
}

fn member(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

fn world() -> Value {
    let mut users =
        vec![json!({"id": USER, "userPrincipalName": "user1@contoso.example", "displayName": "User One"})];
    let members: Vec<_> = (0..MEMBERS).map(member).collect();
    users.extend(members.iter().map(
        |id| json!({"id": id, "userPrincipalName": format!("{id}@contoso.example"), "displayName": "Member"}),
    ));
    json!({"tenants": [{
        "id": TENANT,
        "domain": "contoso.example",
        "apps": [{"clientId": CLIENT, "secret": SECRET,
            "roles": ["Calendars.Read", "Calendars.ReadWrite", "User.Read.All", "GroupMember.Read.All"]}],
        "users": users,
        "groups": [{"id": GROUP, "displayName": "Room pilot", "mailEnabled": true, "securityEnabled": true,
            "members": members}],
    }]})
}

fn cause() -> Cause {
    Cause::new("CalendarSubscription/rooms/user1")
}

fn user() -> UserId {
    UserId::parse(USER).unwrap()
}

fn manifest() -> ManifestId {
    ManifestId::parse(MANIFEST).unwrap()
}

impl Sim {
    async fn start(settings: Value) -> Self {
        Self::trusting(settings, None).await
    }

    async fn trusting(settings: Value, trust_pem: Option<Vec<u8>>) -> Self {
        install_provider();
        let mut world = world();
        world.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let options = graph_sim::Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            world: graph_sim::World::from_yaml(&world.to_string()).unwrap(),
            tls_dir: None,
            trust_pem,
            request_log: graph_sim::request_log_folder(),
        };
        let running = graph_sim::start(options).await.unwrap();
        let origin = Url::parse(&running.origin).unwrap();
        let ca = running.ca_pem.clone().into_bytes();
        let http = Http::new(&HttpSettings { extra_ca_pem: Some(ca), ..HttpSettings::default() }).unwrap();
        let audit = Arc::new(MemoryAudit::new());
        let client = support::client(&origin, http.clone(), audit.clone(), SECRET);
        Self { running, origin, http, audit, client }
    }

    fn purposes(&self) -> Vec<Purpose> {
        let call = |entry| match entry {
            AuditEntry::Call { purpose, .. } => Some(purpose),
            _ => None,
        };
        self.audit.entries().into_iter().filter_map(call).collect()
    }

    fn tokens_asked_for(&self) -> usize {
        self.purposes().iter().filter(|purpose| **purpose == Purpose::Token).count()
    }

    /// What the simulator saw, its control API and other clients left out.
    async fn requests_seen(&self) -> Vec<Value> {
        let all: Vec<Value> = self.control("/_sim/requests").await;
        let ours = |request: &Value| {
            request["userAgent"].as_str().is_some_and(|agent| agent.starts_with("roomkeeper/"))
        };
        all.into_iter().filter(ours).collect()
    }

    async fn control<T: serde::de::DeserializeOwned>(&self, path: &str) -> T {
        let client = self.other_client();
        client.get(self.origin.join(path).unwrap()).send().await.unwrap().json().await.unwrap()
    }

    /// Every request that the simulator saw has its audit entry, to the letter, and the other way round.
    async fn check_audit(&self) {
        let entries = self.audit.entries();
        let told: HashSet<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                AuditEntry::Call { client_request_id, method, url, .. } => {
                    let path = url.strip_prefix(&self.running.origin).unwrap().to_owned();
                    Some((client_request_id.to_string(), method.clone(), path))
                }
                AuditEntry::Outcome { .. } => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(told.len() * 2, entries.len(), "each call has an outcome");
        let text = |request: &Value, member: &str| request[member].as_str().unwrap().to_owned();
        let seen: HashSet<_> = self
            .requests_seen()
            .await
            .iter()
            .map(|request| (text(request, "clientRequestId"), text(request, "method"), text(request, "path")))
            .collect();
        assert_eq!(seen, told);
        let counters: Value = self.control("/_sim/counters").await;
        assert_eq!(
            (counters["withoutSelect"].as_u64(), counters["forbiddenFields"].as_u64()),
            (Some(0), Some(0))
        );
    }

    async fn advance(&self, seconds: u64) {
        self.command("/_sim/clock", &json!({"advanceSeconds": seconds})).await;
    }

    async fn command(&self, path: &str, body: &Value) {
        let answer =
            self.other_client().post(self.origin.join(path).unwrap()).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    fn other_client(&self) -> reqwest::Client {
        let ca = reqwest::Certificate::from_pem(self.running.ca_pem.as_bytes()).unwrap();
        // Under a name of its own: what it sends is not Roomkeeper's.
        reqwest::Client::builder().tls_certs_merge([ca]).user_agent("stand-in/outlook").build().unwrap()
    }

    /// Another Graph client, as the user's Outlook would be.
    async fn other(&self) -> Other {
        let client = self.other_client();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", CLIENT)
            .append_pair("client_secret", SECRET)
            .append_pair("scope", &format!("{}.default", self.origin))
            .finish();
        let answer = client
            .post(self.origin.join(&format!("/{TENANT}/oauth2/v2.0/token")).unwrap())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form)
            .send()
            .await
            .unwrap();
        let token: Value = answer.json().await.unwrap();
        let events = self.origin.join(&format!("/v1.0/users/{USER}/events")).unwrap();
        Other { client, events, token: token["access_token"].as_str().unwrap().to_owned() }
    }
}

struct Other {
    client: reqwest::Client,
    events: Url,
    token: String,
}

impl Other {
    /// Makes an event and gives its immutable id.
    async fn make(&self, body: &Value) -> EventId {
        let request = self.client.post(self.events.clone()).json(body);
        let request = request.bearer_auth(&self.token).header("Prefer", r#"IdType="ImmutableId""#);
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let made: Value = answer.json().await.unwrap();
        assert_eq!(status.as_u16(), 201, "{made}");
        EventId::parse(made["id"].as_str().unwrap()).unwrap()
    }

    async fn delete(&self, event: &EventId) {
        let mut url = self.events.clone();
        url.path_segments_mut().unwrap().push(event.as_str());
        let request = self.client.delete(url).bearer_auth(&self.token);
        let answer = request.header("Prefer", r#"IdType="ImmutableId""#).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 204);
    }
}

fn meeting(add_in_value: Option<&str>) -> Value {
    let mut body = json!({
        "subject": canary::SUBJECT,
        "body": {"contentType": "text", "content": canary::BODY},
        "start": {"dateTime": "2027-03-01T10:00:00", "timeZone": "W. Europe Standard Time"},
        "end": {"dateTime": "2027-03-01T11:00:00", "timeZone": "W. Europe Standard Time"},
        "attendees": [{"type": "required", "emailAddress": {"name": "Guest", "address": canary::ATTENDEE}}],
        "location": {"displayName": "HQ 1.01"},
        "sensitivity": "private",
    });
    if let Some(value) = add_in_value {
        let id = format!("String {{00020329-0000-0000-C000-000000000046}} Name cecp-{MANIFEST}");
        body["singleValueExtendedProperties"] = json!([{"id": id, "value": value}]);
    }
    body
}

#[tokio::test]
async fn many_calls_need_one_token() {
    let sim = Sim::start(json!({})).await;
    let calls = (0..20).map(|_| {
        let client = sim.client.clone();
        tokio::spawn(async move { client.user(&cause(), USER).await.map(|user| user.id) })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap(), user());
    }
    sim.client.acquire_token(&cause()).await.unwrap();
    assert_eq!(sim.tokens_asked_for(), 1);
    assert_eq!(sim.purposes().len(), 21);
}

#[tokio::test]
async fn a_wrong_secret_is_told_with_its_number() {
    let sim = Sim::start(json!({})).await;
    let client = support::client(&sim.origin, sim.http.clone(), sim.audit.clone(), "wrong");
    let error = client.acquire_token(&cause()).await.unwrap_err();
    assert_eq!(error.decision(), Decision::UserMustAct(Reason::AuthFailed));
    assert!(error.to_string().starts_with("no token: AADSTS7000215: the client secret is wrong"), "{error}");
    assert_eq!(sim.purposes(), [Purpose::Token]);
}

#[tokio::test]
async fn a_refused_audit_entry_keeps_the_request_from_the_server() {
    let sim = Sim::start(json!({})).await;
    sim.client.acquire_token(&cause()).await.unwrap();
    assert_eq!(sim.requests_seen().await.len(), 1);
    sim.audit.refuse(Some(AuditError::Closed));
    sim.client.user(&cause(), USER).await.unwrap_err();
    sim.audit.refuse(None);
    assert_eq!(sim.requests_seen().await.len(), 1);
    sim.client.user(&cause(), USER).await.unwrap();
    assert_eq!(sim.requests_seen().await.len(), 2);
    sim.check_audit().await;
}

#[tokio::test]
async fn tokens_are_replaced_when_they_end() {
    let sim = Sim::start(json!({"tokenLifetimeSeconds": 2})).await;
    let deadline = Timestamp::now() + SignedDuration::from_secs(60);
    while sim.tokens_asked_for() < 3 {
        assert!(Timestamp::now() < deadline, "no new token was asked for");
        sim.client.user(&cause(), USER).await.unwrap();
    }
}

#[tokio::test]
async fn a_token_that_graph_takes_for_expired_is_replaced_at_once() {
    use Purpose::{Token, UserLookup};
    let sim = Sim::start(json!({})).await;
    sim.client.user(&cause(), USER).await.unwrap();
    sim.advance(2 * 3_600).await;
    sim.client.user(&cause(), USER).await.unwrap();
    assert_eq!(sim.purposes(), [Token, UserLookup, UserLookup, Token, UserLookup]);
}

#[tokio::test]
async fn users_groups_and_all_pages_of_members() {
    let sim = Sim::start(json!({})).await;
    let group = GroupId::parse(GROUP).unwrap();
    let found = sim.client.user(&cause(), "user1@contoso.example").await.unwrap();
    assert_eq!((found.id, found.user_principal_name.as_deref()), (user(), Some("user1@contoso.example")));
    let error = sim.client.user(&cause(), "nobody@contoso.example").await.unwrap_err();
    assert_eq!(error.decision(), Decision::Gone(GoneReason::UserNotFound));
    let read = sim.client.group(&cause(), &group).await.unwrap();
    assert!(read.mail_enabled && read.security_enabled && read.group_types.is_empty());
    let other = GroupId::parse("5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a11").unwrap();
    let error = sim.client.group(&cause(), &other).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Gone(GoneReason::GroupNotFound));
    let members = sim.client.transitive_members(&cause(), &group).await.unwrap();
    let expected: HashSet<_> = (0..MEMBERS).map(|n| UserId::parse(&member(n)).unwrap()).collect();
    assert_eq!(members, expected);
    assert_eq!(
        sim.purposes().iter().filter(|purpose| **purpose == Purpose::GroupMembers).count(),
        4,
        "2,100 of 999 a page, and one page is empty"
    );
    assert_eq!(sim.client.unrequested_members(), 0);
    sim.check_audit().await;
}

/// What is logged, in memory.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn neither_log_nor_audit_nor_errors_hold_what_is_planted() {
    let logged = Logged::default();
    let writer = logged.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("info,roomkeeper_graph=trace")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let sim = Sim::start(json!({})).await;
    let event = sim.other().await.make(&meeting(Some("{}"))).await;
    sim.client.event_minimal(&cause(), &user(), &event, &manifest()).await.unwrap();
    let full = sim.client.event_full(&cause(), &user(), &event, &manifest()).await.unwrap();
    assert_eq!(full.subject.as_deref(), Some(canary::SUBJECT));
    sim.client.booked_events(&cause(), &user(), &manifest(), None).await.unwrap();
    let mut texts = vec![format!("{full:?} {:?}", sim.client)];
    for leak in
        [json!({"subject": 7}), json!({"organizer": canary::SUBJECT}), json!({"canary": canary::BODY})]
    {
        sim.command("/_sim/faults", &json!({"leakMembers": leak})).await;
        if let Err(error) = sim.client.event_full(&cause(), &user(), &event, &manifest()).await {
            texts.push(format!("{error} {error:?}"));
        }
    }
    let wrong = support::client(&sim.origin, sim.http.clone(), sim.audit.clone(), canary::CLIENT_SECRET);
    texts.push(format!("{:?}", wrong.acquire_token(&cause()).await.unwrap_err()));
    texts.push(serde_json::to_string(&sim.audit.entries()).unwrap());
    texts.push(String::from_utf8(logged.0.lock().unwrap().clone()).unwrap());
    assert!(texts.last().unwrap().contains("stripped members"), "something was logged: {texts:?}");
    for text in &texts {
        let found = canary::found_in(text.as_bytes());
        assert!(found.is_empty(), "holds the {found:?} that was planted: {text}");
    }
}

#[tokio::test]
async fn what_graph_sends_unasked_is_stripped_counted_and_audited() {
    let sim = Sim::start(json!({})).await;
    let event = sim.other().await.make(&meeting(Some("{}"))).await;
    let expected = sim.client.event_minimal(&cause(), &user(), &event, &manifest()).await.unwrap();
    let leak = json!({"body": {"contentType": "text", "content": "leaked"}, "attachments": [{"name": "leaked"}], "leaked": 1});
    sim.command("/_sim/faults", &json!({"leakMembers": leak})).await;
    let head = sim.client.event_minimal(&cause(), &user(), &event, &manifest()).await.unwrap();
    assert_eq!(head, expected);
    assert_eq!(sim.client.unrequested_members(), 3);
    let page = sim.client.booked_events(&cause(), &user(), &manifest(), None).await.unwrap();
    assert_eq!(page.events.len(), 1);
    assert_eq!(sim.client.unrequested_members(), 6);
    let full = sim.client.event_full(&cause(), &user(), &event, &manifest()).await.unwrap();
    let shown =
        format!("{head:?} {page:?} {full:?} {:?}", (&full.subject, &full.attendees, &full.recurrence));
    assert!(!shown.contains("leaked"), "{shown}");
    let leaked: Value = sim.control("/_sim/faults").await;
    assert_eq!(leaked["leakedMembers"], sim.client.unrequested_members());
    let entries = sim.audit.entries();
    let told: Vec<_> = entries
        .iter()
        .filter_map(|entry| match entry {
            AuditEntry::UnrequestedMembers { purpose, members, .. } => Some((*purpose, members.clone())),
            _ => None,
        })
        .collect();
    let members: BTreeMap<_, _> =
        [MemberClass::Body, MemberClass::Attachments, MemberClass::Other].map(|class| (class, 1)).into();
    let purposes = [Purpose::EventMinimalRead, Purpose::Resync, Purpose::EventFullRead];
    assert_eq!(told, purposes.map(|purpose| (purpose, members.clone())));
    assert!(!serde_json::to_string(&entries).unwrap().contains("\"leaked"));
    sim.command("/_sim/faults", &json!({"leakMembers": {}})).await;
    sim.client.event_minimal(&cause(), &user(), &event, &manifest()).await.unwrap();
    assert_eq!(sim.client.unrequested_members(), 9);
}

#[tokio::test]
async fn a_subscription_from_creation_to_deletion() {
    let receiver = Server::start().await;
    let sim = Sim::trusting(json!({}), Some(receiver.ca_pem.clone())).await;
    let url = |path: &str| receiver.origin.join(path).unwrap();
    let new = NewSubscription {
        user: user(),
        notification_url: url("/notifications/k/u"),
        lifecycle_notification_url: url("/lifecycle/k/u"),
        client_state: "state".into(),
        expiration: Timestamp::now() + SignedDuration::from_mins(10_060),
    };
    let client = &sim.client;
    let made = client.create_subscription(&cause(), &new, Place::default()).await.unwrap();
    assert_eq!(made.resource, new.resource());
    assert_eq!(made.notification_url.as_deref(), Some(new.notification_url.as_str()));
    assert_eq!(made.lifecycle_notification_url.as_deref(), Some(new.lifecycle_notification_url.as_str()));
    let error = client.create_subscription(&cause(), &new, Place::default()).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Conflict { existing: Some(made.id) });

    let asked = Timestamp::now() + SignedDuration::from_mins(5_000);
    let renewed = client.renew_subscription(&cause(), &made.id, asked).await.unwrap();
    assert!(renewed.expiration < made.expiration);
    assert_eq!(client.get_subscription(&cause(), &made.id).await.unwrap(), renewed);
    assert_eq!(client.list_subscriptions(&cause()).await.unwrap(), [renewed]);
    let far = Timestamp::now() + SignedDuration::from_mins(20_000);
    let error = client.renew_subscription(&cause(), &made.id, far).await.unwrap_err();
    assert_eq!(error.decision(), Decision::UserMustAct(Reason::ExpiryTooLong { max_minutes: 10_070 }));

    assert_eq!(
        client.delete_subscription(&cause(), &made.id, Lane::Delete).await.unwrap(),
        Deletion::Deleted
    );
    assert_eq!(
        client.delete_subscription(&cause(), &made.id, Lane::Delete).await.unwrap(),
        Deletion::AlreadyGone
    );
    let error = client.renew_subscription(&cause(), &made.id, asked).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Gone(GoneReason::SubscriptionNotFound));
    let untrusted = NewSubscription {
        lifecycle_notification_url: sim.origin.join("/nobody-answers-here").unwrap(),
        ..new
    };
    let error = client.create_subscription(&cause(), &untrusted, Place::default()).await.unwrap_err();
    assert_eq!(error.decision(), Decision::UserMustAct(Reason::EndpointValidationFailed));
    assert!(client.list_subscriptions(&cause()).await.unwrap().is_empty());
    sim.check_audit().await;
}

#[tokio::test]
async fn events_with_and_without_the_property_and_deleted_ones() {
    let sim = Sim::start(json!({})).await;
    let outlook = sim.other().await;
    let (client, user, manifest) = (&sim.client, user(), manifest());
    let plain = outlook.make(&meeting(None)).await;
    let booked = outlook.make(&meeting(Some(r#"{"version":1,"owner":"user1@contoso.example"}"#))).await;

    let head = client.event_minimal(&cause(), &user, &plain, &manifest).await.unwrap();
    assert_eq!((head.add_in_value.as_deref(), head.is_organizer, head.is_cancelled), (None, true, false));
    assert_eq!(head.event_type, EventType::SingleInstance);
    let head = client.event_minimal(&cause(), &user, &booked, &manifest).await.unwrap();
    assert_eq!(head.id, booked);
    assert_eq!(head.add_in_value.as_deref(), Some(r#"{"version":1,"owner":"user1@contoso.example"}"#));
    let event = client.event_full(&cause(), &user, &booked, &manifest).await.unwrap();
    assert_eq!(event.head, head);
    assert_eq!(event.subject.as_deref(), Some(canary::SUBJECT));
    assert_eq!(event.start, "2027-03-01T09:00:00Z".parse().unwrap());
    assert_eq!(event.end, "2027-03-01T10:00:00Z".parse().unwrap());
    assert_eq!(event.organizer.as_deref(), Some("user1@contoso.example"));
    assert_eq!(event.attendees, [canary::ATTENDEE]);
    assert_eq!((event.sensitivity, event.is_all_day), (Sensitivity::Private, false));

    outlook.delete(&booked).await;
    for error in [
        client.event_minimal(&cause(), &user, &booked, &manifest).await.unwrap_err(),
        client.event_full(&cause(), &user, &booked, &manifest).await.unwrap_err(),
    ] {
        assert_eq!(error.decision(), Decision::Gone(GoneReason::EventNotFound));
    }
    assert_eq!(client.unrequested_members(), 0);
    sim.check_audit().await;
}

#[tokio::test]
async fn booked_events_come_by_pages_and_nothing_else_comes() {
    let sim = Sim::start(json!({})).await;
    let outlook = sim.other().await;
    outlook.make(&meeting(None)).await;
    let mut made = HashSet::new();
    for number in 0..120 {
        made.insert(outlook.make(&meeting(Some(&format!(r#"{{"version":{number}}}"#)))).await);
    }
    let (mut listed, mut sizes, mut page) = (HashSet::new(), Vec::new(), None);
    loop {
        let answer = sim.client.booked_events(&cause(), &user(), &manifest(), page.as_ref()).await.unwrap();
        sizes.push(answer.events.len());
        for event in answer.events {
            assert!(event.head.is_organizer && event.head.add_in_value.is_some());
            assert_eq!(event.end, "2027-03-01T10:00:00Z".parse::<Timestamp>().unwrap());
            listed.insert(event.head.id);
        }
        page = answer.next;
        if page.is_none() {
            break;
        }
    }
    assert_eq!((sizes, listed), (vec![50, 0, 50, 20], made));
    let pages = [Purpose::Resync; 4];
    assert_eq!(sim.purposes(), [&[Purpose::Token][..], &pages].concat());
    assert_eq!(sim.client.unrequested_members(), 0);
    sim.check_audit().await;

    let first = sim.client.booked_events(&cause(), &user(), &manifest(), None).await.unwrap();
    let other = UserId::parse(&member(1)).unwrap();
    let before = sim.purposes().len();
    let foreign = sim.client.booked_events(&cause(), &other, &manifest(), first.next.as_ref()).await;
    assert!(foreign.is_err(), "a page of one calendar is none of another");
    assert_eq!(sim.purposes().len(), before, "and nothing was sent");
}

/// Sixty writes at once with a budget of twenty in a window: the simulator, which counts as strictly, refuses none of them,
/// and some of those that nobody holds back.
#[tokio::test]
async fn a_budget_keeps_writes_below_the_quota() {
    let sim = Sim::start(json!({"subscriptionWritesPer20s": 20})).await;
    let settings = BudgetSettings {
        writes: 20.try_into().unwrap(),
        period: Duration::from_secs(2),
        ..BudgetSettings::default()
    };
    let http = sim.http.clone().with_budgets(Arc::new(Budgets::new(settings)));
    let held_back = support::client(&sim.origin, http, sim.audit.clone(), SECRET);
    let unknown = SubscriptionId::parse("11111111-2222-4333-8444-555555555555").unwrap();
    let cause = cause();
    let delete = async |client: &GraphClient| loop {
        match client.delete_subscription(&cause, &unknown, Lane::Delete).await {
            Err(GraphError::Exhausted { left, .. }) => tokio::time::sleep(left).await,
            other => return other,
        }
    };
    let sixty = async |client: &GraphClient| {
        let all = (0..60).map(|_| delete(client));
        futures::future::join_all(all).await.into_iter().filter(Result::is_err).count()
    };
    // Between two places that are a period apart, more than a window of the simulator's passes, also on a slow machine.
    let time_passes = async {
        let mut often = tokio::time::interval(Duration::from_millis(300));
        loop {
            often.tick().await;
            sim.advance(21).await;
        }
    };
    let refused = tokio::select! {
        refused = sixty(&held_back) => refused,
        () = time_passes => 60,
    };
    assert_eq!(refused, 0);
    let counters: Value = sim.control("/_sim/counters").await;
    assert_eq!(counters["overQuota"], 0, "{counters}");
    assert!(sixty(&sim.client).await > 0, "the simulator counts");
}

#[tokio::test]
async fn the_occurrences_of_a_series_come_by_pages_and_our_property_goes_onto_the_event() {
    let sim = Sim::start(json!({})).await;
    let outlook = sim.other().await;
    let manifest = manifest();
    let mut series = meeting(Some(r#"{"version":1}"#));
    series["start"] = json!({"dateTime": "2026-12-01T09:00:00", "timeZone": "W. Europe Standard Time"});
    series["end"] = json!({"dateTime": "2026-12-01T10:00:00", "timeZone": "W. Europe Standard Time"});
    series["recurrence"] = json!({
        "pattern": {"type": "daily", "interval": 1},
        "range": {"type": "noEnd", "startDate": "2026-12-01"},
    });
    let master = outlook.make(&series).await;
    let window =
        Window::new("2026-12-01T00:00:00Z".parse().unwrap(), "2027-12-01T00:00:00Z".parse().unwrap());
    let asked = Series { master: &master, manifest: &manifest, window: &window };
    let (mut occurrences, mut next, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = sim.client.occurrences(&cause(), &user(), &asked, next.as_ref()).await.unwrap();
        occurrences.extend(page.occurrences);
        pages += 1;
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!((occurrences.len(), pages), (365, 3), "one of the pages is empty");
    let utc = |text: &str| text.parse::<Timestamp>().unwrap();
    assert_eq!(occurrences[0].start, utc("2026-12-01T08:00:00Z"));
    assert_eq!(occurrences[180].start, utc("2027-05-30T07:00:00Z"), "in summer time");

    let noted =
        NotedBooking { resource_id: "room-101".into(), booking_id: Some("b-1".into()), state: "Accepted" };
    let note = BookingNote::new(vec![noted]);
    sim.client.write_back(&cause(), &user(), &master, &manifest, &note).await.unwrap();
    let seen = sim.requests_seen().await;
    let patch = seen.iter().find(|one| one["method"] == "PATCH").unwrap();
    assert_eq!(patch["status"], 204);
    outlook.delete(&master).await;
    let error = sim.client.write_back(&cause(), &user(), &master, &manifest, &note).await.unwrap_err();
    assert_eq!(error.decision(), Decision::Gone(GoneReason::EventNotFound));
    sim.check_audit().await;
    assert_eq!(sim.client.unrequested_members(), 0);
}
