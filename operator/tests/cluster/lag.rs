//! The watch of the CalendarSubscriptions lags behind while everything else goes on.

use std::sync::{Arc, Mutex, RwLock};

use clap::Parser as _;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use prometheus::Registry;
use reqwest::Method;
use roomkeeper_crds::{
    AccessScope, BookingRecord, CalendarSubscription, ConsentRecord, booking_record::ProductState,
    condition::Type,
};
use roomkeeper_graph::{
    audit::chain::ChainedAudit,
    http::{Http, HttpSettings},
};
use roomkeeper_operator::{
    access_scope,
    args::Args,
    booking_record::{
        client::{BookingClient, Products},
        conflicts::Conflicts,
        deletions::Deletions,
        purge::Purges,
        quota::Quotas,
        write_back::Mailboxes,
    },
    calendar_subscription::{bulk::Bursts, horizon::Horizons, sightings::Sightings, watched::Watched},
    clock::Clock,
    context::{Context, Process},
    controller::{self, Reconcile as _},
    events::Events,
    holds::Holds,
    kept::Kept,
    key::Key,
    keys,
    lease::{Election, LeaderDeadline},
    metrics::Metrics,
    watch::follow,
};
use roomkeeper_service::{health::Health, scope_access::ScopeClients};
use serde_json::json;
use tokio::{sync::mpsc::unbounded_channel, task::JoinHandle, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    bookings,
    graph::Connected,
    product::Product,
    site::until,
    subscriptions::merge,
    world::{USER, consent, subscription},
};

/// An operator within this process, two of whose watches can be stopped. Its BookingRecords wait until the test has them looked at.
struct Within {
    context: Arc<Context>,
    watch: JoinHandle<()>,
    bookings: JoinHandle<()>,
    _tasks: JoinSet<()>,
}

impl Within {
    async fn start(connected: &Connected) -> Self {
        Self::with(connected, &[]).await
    }

    async fn with(connected: &Connected, further: &[String]) -> Self {
        let site = &connected.site;
        let audit = site.folder.path().join("audit-within");
        let flags = ["operator", "--namespace", &site.namespace, "--watch-namespace", &site.namespace];
        let more = ["--identity", "within", "--audit-dir", audit.to_str().unwrap()];
        let own = connected.flags();
        let own = own.iter().chain(further).map(String::as_str);
        let all = flags.into_iter().chain(more).chain(own);
        let settings = Args::parse_from(all).settings().unwrap();

        let health = Health::new();
        let (kube, deadline) = (site.client.clone(), LeaderDeadline::default());
        let mut election = Election::new(
            kube.clone(),
            &site.namespace,
            "within".to_owned(),
            settings.lease,
            deadline.clone(),
        );
        election.campaign(&health.gate("election")).await;
        let http = HttpSettings { extra_ca_pem: settings.graph_ca.clone(), ..HttpSettings::default() };
        let http = Http::gated(&http, Arc::new(deadline.clone())).unwrap();
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let audit: Arc<dyn roomkeeper_graph::audit::AuditSink> =
            Arc::new(ChainedAudit::open(&settings.audit_dir, "within", 64 << 20).unwrap());
        let process = Arc::new(Process {
            clock: Clock::default(),
            clients: ScopeClients::new(
                kube.clone(),
                http,
                settings.allowed_hosts.clone(),
                Arc::clone(&audit),
            ),
            events: Events::new(kube.clone(), "within"),
            user_name: "within".to_owned(),
            audit,
            exports: Arc::default(),
            booking: BookingClient::new(settings.booking_ca.as_deref(), deadline.clone(), metrics.clone())
                .unwrap(),
            products: Products::default(),
            deadline,
            metrics,
            settings,
            kube,
        });
        let ring = keys::load(&process.kube, &site.namespace, &health.gate("keys")).await;
        let (scopes, scope_requests) = unbounded_channel();
        let (subscriptions, subscription_requests) = unbounded_channel();
        let (consents, consent_requests) = unbounded_channel();
        let context = Arc::new(Context {
            holds: Holds::new(process.clock.clone()),
            process,
            keys: RwLock::new(Arc::new(ring)),
            scopes: Kept::new(scopes),
            subscriptions: Kept::new(subscriptions),
            consents: Kept::new(consents),
            bookings: Kept::new(unbounded_channel().0),
            directory: access_scope::directory::Directory::default(),
            memory: access_scope::memory::Memory::default(),
            watched: Watched::default(),
            sightings: Sightings::default(),
            bursts: Bursts::default(),
            quotas: Quotas::default(),
            deletions: Deletions::default(),
            purges: Purges::default(),
            horizons: Horizons::default(),
            conflicts: Conflicts::default(),
            mailboxes: Mailboxes::default(),
            failures: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { election.keep().await });
        tasks.spawn(follow::<AccessScope>(Arc::clone(&context)));
        tasks.spawn(follow::<ConsentRecord>(Arc::clone(&context)));
        let bookings = tokio::spawn(follow::<BookingRecord>(Arc::clone(&context)));
        let watch = tokio::spawn(follow::<CalendarSubscription>(Arc::clone(&context)));
        context.scopes.complete().await;
        context.subscriptions.complete().await;
        context.consents.complete().await;
        let draining = CancellationToken::new();
        tasks.spawn(controller::run::<AccessScope>(Arc::clone(&context), scope_requests, draining.clone()));
        tasks.spawn(controller::run::<ConsentRecord>(
            Arc::clone(&context),
            consent_requests,
            draining.clone(),
        ));
        tasks.spawn(controller::run::<CalendarSubscription>(
            Arc::clone(&context),
            subscription_requests,
            draining,
        ));
        Self { context, watch, bookings, _tasks: tasks }
    }

    /// A scope, and a CalendarSubscription without a consent, from which on its watch tells of nothing more. Returns the
    /// scope's uid and the object.
    async fn lagging(&self, connected: &Connected) -> (String, CalendarSubscription) {
        let scope_uid = connected.scope().await;
        connected.site.apply(&subscription("written", USER)).await;
        let object = connected
            .site
            .condition::<CalendarSubscription>("written", Type::Allowed, "False/AwaitingConsent")
            .await;
        let key = Key::of(&object);
        until("the cache", async || match self.context.subscriptions.get(&key) {
            Some(kept) if kept.metadata.resource_version == object.metadata.resource_version => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        self.watch.abort();
        (scope_uid, object)
    }
}

/// The events of the operator's own status writes are late: what it has done it knows without them.
#[tokio::test]
async fn a_booking_made_a_moment_ago_is_not_made_again() {
    let connected = Connected::new(1).await;
    let site = &connected.site;
    let product = Product::start(site).await;
    let host = product.origin.strip_prefix("https://").unwrap();
    let flags = ["--allowed-host", host, "--booking-ca", product.ca.to_str().unwrap()].map(str::to_owned);
    let within = Within::with(&connected, &flags).await;
    site.apply(&bookings::scope(&product.origin)).await;
    let (from, to) = bookings::tomorrow();
    site.apply(&bookings::record("one", &from, &to, "room-1")).await;
    let key = Key::new(&site.namespace, "one");
    let kept = async || within.context.bookings.get(&key).ok_or_else(|| "not there yet".to_owned());
    until("the record", kept).await;
    until("the scope", async || {
        let scope = within.context.scopes.get(&Key::new(&site.namespace, "contoso"));
        scope.map(drop).ok_or_else(|| "not there yet".to_owned())
    })
    .await;
    within.bookings.abort();
    let look = async || {
        let record = within.context.bookings.get(&key).unwrap();
        record.reconcile(Arc::clone(&within.context)).await.unwrap();
        let states =
            site.api::<BookingRecord>().get("one").await.unwrap().status.unwrap_or_default().bookings;
        match states.first().map(|booking| booking.state) {
            Some(ProductState::Accepted) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    };
    until("the booking", look).await;
    assert_eq!(product.writes().await, 1);
    look().await.unwrap();
    assert_eq!(product.writes().await, 1);
}

#[tokio::test]
async fn a_subscription_made_a_moment_ago_is_ended_with_the_consent() {
    let connected = Connected::new(1).await;
    let within = Within::start(&connected).await;
    let (scope_uid, _) = within.lagging(&connected).await;
    connected.site.apply(&consent("consent-1", &scope_uid, 1)).await;
    connected.living(USER, 1).await;
    connected.site.condition::<CalendarSubscription>("written", Type::Subscribed, "True/Created").await;
    let withdrawn = json!({"at": "2026-11-23T10:00:00Z", "by": "system:admin", "reason": "asked"});
    merge::<ConsentRecord>(&connected, "consent-1", json!({"spec": {"withdrawn": withdrawn}})).await;
    connected.living(USER, 0).await;
    connected
        .site
        .condition::<CalendarSubscription>("written", Type::Allowed, "False/ConsentWithdrawn")
        .await;
}

/// A status that the leader before had sent arrives after this leader's list.
#[tokio::test]
async fn a_subscription_that_another_leader_made_is_ended_with_the_consent() {
    let connected = Connected::new(1).await;
    let within = Within::start(&connected).await;
    let (scope_uid, object) = within.lagging(&connected).await;
    let at = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap();
    let expires = (at + jiff::SignedDuration::from_hours(24)).to_string();
    let key_id = within.context.ring().current_id().to_owned();
    let url = |kind: &str| format!("{}/{kind}/{key_id}/{}", connected.endpoint.url, object.uid().unwrap());
    let made = json!({
        "changeType": "created,updated,deleted", "resource": format!("users/{USER}/events"),
        "notificationUrl": url("notifications"), "lifecycleNotificationUrl": url("lifecycle"),
        "expirationDateTime": expires, "clientState": "of the leader before",
    });
    let (status, made) = connected.graph.as_operator(Method::POST, "/subscriptions", Some(made)).await;
    assert_eq!(status, 201, "{made}");
    let mut status = json!(object.status);
    status["subscription"] = json!({
        "id": made["id"], "createdAt": at.to_string(), "renewAt": expires, "expiresAt": expires, "keyId": key_id,
    });
    let patch = json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription", "metadata": {"name": "written"},
        "status": status,
    });
    let api = connected.site.api::<CalendarSubscription>();
    api.patch_status("written", &PatchParams::apply("roomkeeper-operator").force(), &Patch::Apply(&patch))
        .await
        .unwrap();

    let yaml = consent("consent-1", &scope_uid, 1)
        + "  withdrawn: {at: \"2026-11-23T10:00:00Z\", by: \"system:admin\", reason: asked}\n";
    connected.site.apply(&yaml).await;
    connected.living(USER, 0).await;
    connected
        .site
        .condition::<CalendarSubscription>("written", Type::Allowed, "False/ConsentWithdrawn")
        .await;
    until("the status knows that it is ended", async || {
        match api.get("written").await.unwrap().status.unwrap().subscription {
            None => Ok(()),
            known => Err(format!("{known:?}")),
        }
    })
    .await;
}
