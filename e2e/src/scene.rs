//! The whole system at work for some people under the examples' AccessScope.

use std::time::Duration;

use anyhow::Context as _;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, PostParams},
};
use roomkeeper_controlplane::{
    ControlPlane, StartOptions,
    process::{ScratchDir, scratch_dir},
};
use roomkeeper_crds::{
    AccessScope, BookingRecord, CalendarSubscription, ConsentRecord,
    condition::{self, Type},
};
use serde_json::Value;

use crate::{
    install,
    system::{System, apply},
    wait, world,
};

/// Namespace of the scope.
pub const NAMESPACE: &str = "contoso";
const WAIT: Duration = Duration::from_mins(2);

/// API server and simulators; who wants daemons starts them.
pub struct Scene {
    /// The API server.
    pub control_plane: ControlPlane,
    /// The simulators.
    pub system: System,
    /// As the cluster's administrator.
    pub client: Client,
    /// The records of the namespace.
    pub records: Api<BookingRecord>,
    _folder: ScratchDir,
}

impl Scene {
    /// Starts the API server, and the simulators with this world.
    ///
    /// # Errors
    /// When one of them does not start.
    pub async fn start(world: &Value) -> anyhow::Result<Self> {
        roomkeeper_service::tls::install_provider();
        let control_plane = ControlPlane::start(StartOptions::default()).await?;
        let folder = scratch_dir("roomkeeper-scene")?;
        let system = System::start(&control_plane, folder.path(), world).await?;
        let client = control_plane.admin_client().await?;
        let records = Api::namespaced(client.clone(), NAMESPACE);
        Ok(Self { control_plane, system, client, records, _folder: folder })
    }

    /// Applies the examples up to the AccessScope, as `edit` leaves each file. Returns the scope's uid.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn install(&self, edit: fn(&str) -> String) -> anyhow::Result<String> {
        install_scope(&self.system, &self.client, edit).await
    }

    /// A user of the world consents.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn consent(&self, scope_uid: &str, number: usize) -> anyhow::Result<()> {
        let consents: Api<ConsentRecord> = Api::namespaced(self.client.clone(), NAMESPACE);
        consents.create(&PostParams::default(), &world::consent(number, scope_uid)?).await?;
        Ok(())
    }

    /// So many people consent to the examples' AccessScope, as `edit` leaves it, and are subscribed by the running daemons. Returns
    /// the names of the CalendarSubscriptions.
    ///
    /// # Errors
    /// When the API server refuses something, or they are not in time.
    pub async fn subscribe(&self, people: usize, edit: fn(&str) -> String) -> anyhow::Result<Vec<String>> {
        let scope_uid = self.install(edit).await?;
        for number in 1..=people {
            self.consent(&scope_uid, number).await?;
        }
        self.subscribed(people).await
    }

    /// Waits until so many calendars are subscribed and each is `Ready`. Returns the names of the CalendarSubscriptions.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn subscribed(&self, people: usize) -> anyhow::Result<Vec<String>> {
        let subscriptions: Api<CalendarSubscription> = Api::namespaced(self.client.clone(), NAMESPACE);
        let is_ready = |object: &CalendarSubscription| {
            let conditions = object.status.as_ref().map(|status| &status.conditions);
            conditions.is_some_and(|all| {
                condition::is_true(all, Type::Ready) && condition::is_true(all, Type::Subscribed)
            })
        };
        wait::until("the subscriptions", WAIT, async || {
            let all = subscriptions.list(&ListParams::default()).await?.items;
            let ready = all.len() == people && all.iter().all(is_ready);
            Ok(ready.then(|| all.iter().map(ResourceExt::name_any).collect()))
        })
        .await
    }

    /// Waits until so many subscriptions at Graph are for the calendar of a user of the world.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn living(&self, number: usize, count: usize) -> anyhow::Result<()> {
        let user = world::user_id(number);
        let look = async || Ok((self.system.graph.subscriptions_of(&user).await? == count).then_some(()));
        wait::until(&format!("{count} subscriptions of user {number}"), WAIT, look).await
    }

    /// The record of an event.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn record_of(&self, user: &str, event: &str) -> anyhow::Result<Option<BookingRecord>> {
        let name = roomkeeper_crds::name::booking_record(world::TENANT, user, event);
        Ok(self.records.get_opt(&name).await?)
    }

    /// How many records there are.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn record_count(&self) -> anyhow::Result<usize> {
        let page = self.records.list_metadata(&ListParams::default().limit(1)).await?;
        let further = page.metadata.remaining_item_count.unwrap_or_default();
        Ok(page.items.len().saturating_add(usize::try_from(further)?))
    }

    /// Ends everything.
    ///
    /// # Errors
    /// When the API server does not end.
    pub async fn end(self) -> anyhow::Result<()> {
        self.system.keep_shown(&self.client).await?;
        self.system.stop();
        Ok(self.control_plane.stop().await?)
    }
}

/// Applies the examples up to the AccessScope, as `edit` leaves each file. Returns the scope's uid.
///
/// # Errors
/// When the API server refuses one.
pub async fn install_scope(
    system: &System,
    client: &Client,
    edit: impl Fn(&str) -> String,
) -> anyhow::Result<String> {
    install::namespace(client, NAMESPACE).await?;
    for file in ["01-rbac.yaml", "02-secrets.yaml", "03-access-scope.yaml"] {
        apply(client, &edit(&system.example(file)?)).await?;
    }
    let scopes: Api<AccessScope> = Api::namespaced(client.clone(), NAMESPACE);
    scopes.get("contoso").await?.uid().context("the scope's uid")
}

/// An AccessScope whose quota at the product is not the subject.
pub fn ample_quota(example: &str) -> String {
    let wanted = "    quota: {perMinute: 100000, perWeek: 100000}\n    privateSubject: Mask\n";
    example.replace("    privateSubject: Mask\n", wanted)
}
