//! The whole system at work for some subscribed people.

use std::time::Duration;

use kube::{Api, Client, ResourceExt, api::PostParams};
use roomkeeper_controlplane::{
    ControlPlane, StartOptions,
    process::{ScratchDir, scratch_dir},
};
use roomkeeper_crds::{
    AccessScope, BookingRecord, CalendarSubscription, ConsentRecord,
    condition::{self, Type},
};
use roomkeeper_e2e::{
    install,
    system::{System, apply},
    wait, world,
};

/// Where the people are.
pub(crate) const NAMESPACE: &str = "contoso";
const WAIT: Duration = Duration::from_mins(2);

/// API server and simulators; the daemons are the bench's.
pub(crate) struct Scene {
    pub(crate) control_plane: ControlPlane,
    pub(crate) system: System,
    pub(crate) client: Client,
    pub(crate) records: Api<BookingRecord>,
    people: usize,
    _folder: ScratchDir,
}

impl Scene {
    pub(crate) async fn start(people: usize) -> anyhow::Result<Self> {
        let control_plane = ControlPlane::start(StartOptions::default()).await?;
        let folder = scratch_dir("roomkeeper-bench")?;
        let system = System::start(&control_plane, folder.path(), &world::contoso(people)).await?;
        let client = control_plane.admin_client().await?;
        let records = Api::namespaced(client.clone(), NAMESPACE);
        Ok(Self { control_plane, system, client, records, people, _folder: folder })
    }

    /// Everybody consents to the examples' AccessScope, as `edit` leaves it, and is subscribed by the running daemons. Names of the
    /// CalendarSubscriptions.
    pub(crate) async fn subscribe(&self, edit: fn(&str) -> String) -> anyhow::Result<Vec<String>> {
        install::namespace(&self.client, NAMESPACE).await?;
        for file in ["01-rbac.yaml", "02-secrets.yaml", "03-access-scope.yaml"] {
            apply(&self.client, &edit(&self.system.example(file)?)).await?;
        }
        let scopes: Api<AccessScope> = Api::namespaced(self.client.clone(), NAMESPACE);
        let scope_uid = scopes.get("contoso").await?.uid().unwrap_or_default();
        let consents: Api<ConsentRecord> = Api::namespaced(self.client.clone(), NAMESPACE);
        for number in 1..=self.people {
            consents.create(&PostParams::default(), &world::consent(number, &scope_uid)?).await?;
        }
        let subscriptions: Api<CalendarSubscription> = Api::namespaced(self.client.clone(), NAMESPACE);
        let is_ready = |object: &CalendarSubscription| {
            let conditions = object.status.as_ref().map(|status| &status.conditions);
            conditions.is_some_and(|all| {
                condition::is_true(all, Type::Ready) && condition::is_true(all, Type::Subscribed)
            })
        };
        wait::until("the subscriptions", WAIT, async || {
            let all = subscriptions.list(&kube::api::ListParams::default()).await?.items;
            let ready = all.len() == self.people && all.iter().all(is_ready);
            Ok(ready.then(|| all.iter().map(ResourceExt::name_any).collect()))
        })
        .await
    }

    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.system.stop();
        self.control_plane.stop().await?;
        Ok(())
    }
}

/// An AccessScope whose quota at the product is not what is measured.
pub(crate) fn ample_quota(example: &str) -> String {
    let wanted = "    quota: {perMinute: 100000, perWeek: 100000}\n    privateSubject: Mask\n";
    example.replace("    privateSubject: Mask\n", wanted)
}
