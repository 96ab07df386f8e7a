//! The kubectl plugin at work with the real daemons: each command, as support and as administrator run it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{path::PathBuf, time::Duration};

use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use roomkeeper_crds::{
    AccessScope, CalendarSubscription, ConsentRecord, annotation,
    condition::{self, Type},
};
use roomkeeper_e2e::{
    plugin::{Plugin, Said, run_block},
    scene::{NAMESPACE, Scene},
    system::{Daemon, apply},
    wait, world,
};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_mins(2);
const GRACE: Duration = Duration::from_secs(20);
/// A leader that is gone is followed soon.
const OPERATOR_FLAGS: &[&str] =
    &["--lease-duration", "6s", "--lease-renew-deadline", "4s", "--lease-retry-period", "1s"];

struct Stage {
    scene: Scene,
    support: Plugin,
    support_kubeconfig: PathBuf,
    admin: Plugin,
    operator: Daemon,
    operators: usize,
}

impl Stage {
    async fn set() -> (Self, Daemon) {
        let scene = Scene::start(&world::contoso(3)).await.unwrap();
        let operator = scene.system.operator("operator-0", OPERATOR_FLAGS).await.unwrap();
        let webhook = scene.system.webhook("webhook-0", &["--debounce", "0s"]).await.unwrap();
        operator.ready().await.unwrap();
        webhook.ready().await.unwrap();
        scene.subscribe(3, str::to_owned).await.unwrap();
        let support_kubeconfig =
            scene.control_plane.kubeconfig_for("support-1", &["roomkeeper-support"]).unwrap();
        let support = Plugin::of(&support_kubeconfig).unwrap();
        let admin = Plugin::of(scene.control_plane.admin_kubeconfig_path()).unwrap();
        (Self { scene, support, support_kubeconfig, admin, operator, operators: 1 }, webhook)
    }

    async fn stop_operator(&self) {
        self.operator.process.stop(GRACE).await.unwrap();
    }

    async fn start_operator(&mut self) {
        let identity = format!("operator-{}", self.operators);
        self.operators += 1;
        self.operator = self.scene.system.operator(&identity, OPERATOR_FLAGS).await.unwrap();
        self.operator.ready().await.unwrap();
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.scene.client.clone(), NAMESPACE)
    }

    async fn subscription_of(&self, number: usize) -> CalendarSubscription {
        let all = self.api::<CalendarSubscription>().list(&ListParams::default()).await.unwrap();
        let id = world::user_id(number);
        let theirs = |one: &CalendarSubscription| {
            one.status.as_ref().and_then(|status| status.user_id.as_deref()) == Some(id.as_str())
        };
        all.items.into_iter().find(theirs).unwrap()
    }

    async fn consents_of(&self, number: usize) -> Vec<ConsentRecord> {
        let fields = ListParams::default().fields(&format!("spec.user.id={}", world::user_id(number)));
        self.api::<ConsentRecord>().list(&fields).await.unwrap().items
    }

    async fn at_graph(&self, number: usize) -> usize {
        self.scene.system.graph.subscriptions_of(&world::user_id(number)).await.unwrap()
    }

    /// Sent requests of that method whose path holds the text.
    async fn sent(&self, method: &str, part: &str) -> usize {
        let all = self.scene.system.graph.requests().await.unwrap();
        all.iter().filter(|one| one["method"] == method && one["path"].to_string().contains(part)).count()
    }

    async fn subscribed_again(&self, number: usize) {
        wait::until("the calendar to be subscribed again", WAIT, async || {
            let object = self.subscription_of(number).await;
            let conditions = object.status.unwrap_or_default().conditions;
            Ok(condition::is_true(&conditions, Type::Subscribed).then_some(()))
        })
        .await
        .unwrap();
    }
}

fn done(said: &Said, parts: &[&str]) {
    assert_eq!(said.code, 0, "{said:?}");
    for part in parts {
        assert!(said.out.contains(part), "{part} is not in {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_does_its_part_with_the_daemons() {
    let (mut stage, webhook) = Stage::set().await;
    shows(&stage);
    asks(&mut stage).await;
    unsubscribes(&stage).await;
    follows_the_page(&stage).await;
    waits_in_vain(&mut stage).await;
    prepares_the_uninstallation(&mut stage).await;
    webhook.process.stop(GRACE).await.unwrap();
    stage.scene.end().await.unwrap();
}

fn shows(stage: &Stage) {
    let status = stage.admin.run(&["status", "-n", NAMESPACE]).unwrap();
    done(&status, &["contoso   True    Succeeded   3", "SUBSCRIPTIONS"]);
    assert!(!status.out.contains('@'), "personal data: {status:?}");
    let figures = stage.admin.json(&["status", "-A"]).unwrap();
    for figure in ["members", "active", "consentsStanding"] {
        assert_eq!(figures[0][figure], 3, "{figure}: {figures}");
    }
    assert_eq!(figures[0]["reasons"], json!({"Succeeded": 3}));

    let explained = stage.support.run(&["explain", "User1@Contoso.example", "-n", NAMESPACE]).unwrap();
    done(&explained, &["calendar subscription", "3 members, read at", "What to do: nothing"]);
    let steps = stage.support.json(&["explain", &world::user_id(1), "-n", NAMESPACE]).unwrap();
    assert_eq!(steps[0]["steps"].as_array().unwrap().len(), 9);
    let not_ok: Vec<&Value> = steps[0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| {
            !["ok", "unknown"].contains(&step["state"].as_str().unwrap()) && step["step"] != "delivery"
        })
        .collect();
    assert!(not_ok.is_empty(), "{not_ok:?}");

    let url = stage.support.run(&["admin-consent-url", "contoso", "-n", NAMESPACE]).unwrap();
    done(&url, &["/adminconsent?client_id="]);
}

async fn asks(stage: &mut Stage) {
    let user = world::principal_name(1);
    let refused = stage.support.run(&["resync", &user, "-n", NAMESPACE]).unwrap();
    assert_eq!(refused.code, 1, "support's Role reads and withdraws: {refused:?}");
    assert!(refused.err.contains("ask for this permission"), "{refused:?}");

    let reads = stage.sent("GET", "/calendar/events").await;
    let resync = stage.admin.run(&["resync", &user, "-n", NAMESPACE]).unwrap();
    done(&resync, &["yes", "the calendar was read again"]);
    assert!(stage.sent("GET", "/calendar/events").await > reads);
    let all = stage.admin.json(&["resync", "--all", "-n", NAMESPACE]).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 3);

    let renewals = stage.sent("PATCH", "/subscriptions/").await;
    let renew = stage.admin.run(&["renew", &user, "-n", NAMESPACE]).unwrap();
    done(&renew, &["not sent again: authorised at"]);
    assert_eq!(stage.sent("PATCH", "/subscriptions/").await, renewals);
    // As if the subscription had been made an hour ago, which the operator remembers until it ends.
    stage.stop_operator().await;
    let object = stage.subscription_of(1).await;
    let name = object.name_any();
    let mut status = serde_json::to_value(object.status.unwrap()).unwrap();
    let hour_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    status["subscription"]["authorizedAt"] = json!(hour_ago);
    status.as_object_mut().unwrap().remove("delivery");
    let body = json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
        "metadata": {"name": name}, "status": status,
    });
    let params = PatchParams::apply(annotation::MANAGER_OPERATOR).force();
    stage.api::<CalendarSubscription>().patch_status(&name, &params, &Patch::Apply(&body)).await.unwrap();
    stage.start_operator().await;
    let renew = stage.admin.run(&["renew", &user, "-n", NAMESPACE]).unwrap();
    done(&renew, &["renewed at"]);
    assert_eq!(stage.sent("PATCH", "/subscriptions/").await, renewals + 1);
    let again = stage.admin.run(&["renew", "--all", "-n", NAMESPACE, "-o", "name"]).unwrap();
    done(&again, &[&format!("calendarsubscription.roomkeeper.dev/{name}")]);
    assert_eq!(stage.sent("PATCH", "/subscriptions/").await, renewals + 1, "each request is answered once");
}

async fn unsubscribes(stage: &Stage) {
    let user = world::principal_name(1);
    let arguments = ["unsubscribe", &user, "--reason", "T-123", "-n", NAMESPACE];
    done(&stage.support.run(&arguments).unwrap(), &["withdrawn", "no Graph subscription any more"]);
    assert_eq!(stage.at_graph(1).await, 0);
    let withdrawn = stage.consents_of(1).await[0].spec.withdrawn.clone().unwrap();
    assert_eq!((withdrawn.by.as_str(), withdrawn.reason.as_str()), ("support-1", "T-123"));
    done(
        &stage.support.run(&arguments).unwrap(),
        &["was withdrawn before", "no Graph subscription any more"],
    );
    let explained = stage.admin.run(&["explain", &user, "-n", NAMESPACE]).unwrap();
    done(
        &explained,
        &["no warning event", "by support-1: T-123", "What to do: only the user can consent again"],
    );

    let status = stage.scene.system.tick_the_box(NAMESPACE, "contoso", &world::user_id(1)).await.unwrap();
    assert_eq!(status, 201, "the user comes back");
    stage.subscribed_again(1).await;
    let register = stage.support.run(&["consents", "list", &user, "-n", NAMESPACE]).unwrap();
    done(&register, &["Withdrawn", "Standing"]);
    let export = stage.support.run(&["consents", "export", "-n", NAMESPACE]).unwrap();
    done(&export, &["namespace,name,createdAt,scope", ",support-1,T-123,"]);
    assert_eq!(export.out.matches("\r\n").count(), 5, "{export:?}");
}

async fn follows_the_page(stage: &Stage) {
    let user = world::principal_name(2);
    let edit = |block: &str| {
        assert!(block.contains("user1@contoso.example"));
        block.replace("user1@contoso.example", &user)
    };
    let control_plane = &stage.scene.control_plane;
    let said = run_block(control_plane, &stage.support_kubeconfig, "unsubscribe.md", edit).unwrap();
    done(&said, &["patched", "condition met"]);
    assert_eq!(stage.at_graph(2).await, 0);
    let withdrawn = stage.consents_of(2).await[0].spec.withdrawn.clone().unwrap();
    assert_eq!((withdrawn.by.as_str(), withdrawn.reason.as_str()), ("support-1", "T-123"));
    // What a GitOps controller does.
    let object = stage.scene.system.example("04-calendar-subscription.yaml").unwrap();
    apply(&stage.scene.client, &object).await.unwrap();
    let synced = stage.admin.run(&["resync", &user, "-n", NAMESPACE]).unwrap();
    done(&synced, &["not subscribed: ConsentWithdrawn"]);
    assert_eq!(stage.at_graph(2).await, 0);
}

async fn waits_in_vain(stage: &mut Stage) {
    stage.stop_operator().await;
    let user = world::principal_name(3);
    let arguments = ["unsubscribe", &user, "--reason", "T-9", "-n", NAMESPACE, "--timeout", "2s"];
    let said = stage.support.run(&arguments).unwrap();
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.out.contains("withdrawn") && said.out.contains("not gone yet"), "{said:?}");
    assert!(said.err.contains("is the operator running?"), "{said:?}");
    assert!(stage.consents_of(3).await[0].spec.withdrawn.is_some());
    let resync = stage.admin.run(&["resync", "--all", "-n", NAMESPACE, "--timeout", "1s"]).unwrap();
    assert_eq!(resync.code, 5, "{resync:?}");
    let uninstall = stage.admin.run(&["prepare-uninstall", "--yes", "--timeout", "1s"]).unwrap();
    assert_eq!(uninstall.code, 5, "{uninstall:?}");
    assert!(uninstall.out.contains("the operator has not seen the suspension yet"), "{uninstall:?}");
    assert!(uninstall.out.contains("its Graph subscription is not ended yet"), "{uninstall:?}");
    let resume = json!({"spec": {"suspend": false}});
    let api = stage.api::<AccessScope>();
    api.patch("contoso", &PatchParams::default(), &Patch::Merge(resume)).await.unwrap();
    stage.start_operator().await;
    done(&stage.support.run(&arguments[..6]).unwrap(), &["no Graph subscription any more"]);
    assert_eq!(stage.at_graph(3).await, 0);
}

async fn prepares_the_uninstallation(stage: &mut Stage) {
    assert_eq!(stage.at_graph(1).await, 1, "somebody is subscribed");
    let consents = stage.api::<ConsentRecord>().list(&ListParams::default()).await.unwrap().items.len();
    let said = stage.admin.run(&["prepare-uninstall", "--yes"]).unwrap();
    done(&said, &["contoso -n contoso suspended", "no Graph subscription is left", "finalizers taken off"]);
    assert_eq!(stage.scene.system.graph.subscriptions().await.unwrap().len(), 0);
    // The operator, which still runs, does not put them back, whatever it is asked.
    done(&stage.admin.run(&["resync", "--all", "-n", NAMESPACE]).unwrap(), &["not subscribed: Suspended"]);
    let subscriptions = stage.api::<CalendarSubscription>();
    for object in subscriptions.list(&ListParams::default()).await.unwrap() {
        assert_eq!(object.finalizers(), [""; 0], "{object:?}");
    }
    stage.stop_operator().await;
    for object in subscriptions.list(&ListParams::default()).await.unwrap() {
        subscriptions.delete(&object.name_any(), &DeleteParams::default()).await.unwrap();
    }
    let scopes = stage.api::<AccessScope>();
    scopes.delete("contoso", &DeleteParams::default()).await.unwrap();
    assert!(scopes.get_opt("contoso").await.unwrap().is_none(), "no finalizer hangs");
    assert_eq!(subscriptions.list(&ListParams::default()).await.unwrap().items.len(), 0);
    let left = stage.api::<ConsentRecord>().list(&ListParams::default()).await.unwrap().items.len();
    assert_eq!(left, consents, "the register stays");
}
