//! The audit of one scope, exported by both daemons, and judged by people who have nothing but the export and the public keys.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{fs, path::Path, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{AccessScope, condition::Type};
use roomkeeper_e2e::{
    condition,
    exports::{DAMAGED, files, told_since},
    install,
    outlook::Meeting,
    plugin::Plugin,
    scene::{NAMESPACE, Scene},
    wait, world,
};
use serde_json::json;

const WAIT: Duration = Duration::from_mins(2);

/// Asks for an export now.
async fn ask(scene: &Scene) -> Timestamp {
    let scopes: Api<AccessScope> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let asked = Timestamp::now();
    let ask =
        json!({"metadata": {"annotations": {"roomkeeper.dev/audit-export-requested-at": asked.to_string()}}});
    scopes.patch("contoso", &PatchParams::default(), &Patch::Merge(&ask)).await.unwrap();
    asked
}

fn manifests(folder: &Path) -> usize {
    files(folder, ".manifest.json").unwrap().len()
}

async fn exported(scene: &Scene, writers: usize, folder: &Path) {
    let scopes: Api<AccessScope> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let asked = ask(scene).await;
    let before = manifests(folder);
    wait::until("the exports", WAIT, async || {
        let is_told = told_since(&scopes.get("contoso").await?, asked);
        Ok((is_told && manifests(folder) >= before + writers).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_daemons_export_and_anyone_can_verify_and_read_it() {
    let scene = Scene::start(&world::contoso(2)).await.unwrap();
    let folder = scene.system.folder().join("exports");
    fs::create_dir(&folder).unwrap();
    let flags = ["--audit-export-folder", folder.to_str().unwrap()];
    let operator = scene.system.operator("operator-0", &flags).await.unwrap();
    let webhook =
        scene.system.webhook("webhook-0", &[&flags[..], &["--debounce", "0s"]].concat()).await.unwrap();
    operator.ready().await.unwrap();
    webhook.ready().await.unwrap();
    scene.subscribe(2, str::to_owned).await.unwrap();
    let outlook = scene.system.outlook().await.unwrap();
    let from = Timestamp::from_second(Timestamp::now().as_second() + 100_000).unwrap();
    let meeting = |number: i64| Meeting {
        subject: "Planning".to_owned(),
        from: from + jiff::SignedDuration::from_hours(number),
        to: from + jiff::SignedDuration::from_hours(number + 1),
        rooms: vec![format!("room-{number}")],
    };
    outlook.create(world::USER_1, &meeting(1)).await.unwrap();
    outlook.create(world::USER_2, &meeting(2)).await.unwrap();
    wait::until("two records", WAIT, async || Ok((scene.record_count().await? == 2).then_some(())))
        .await
        .unwrap();

    let destination = folder.join("contoso");
    let scopes: Api<AccessScope> = Api::namespaced(scene.client.clone(), NAMESPACE);
    let export_to = async |url: String| {
        let export =
            json!({"schedule": "0 2 29 2 *", "timeZone": "Europe/Berlin", "destination": {"url": url}});
        let spec = json!({"spec": {"audit": {"export": export}}});
        scopes.patch("contoso", &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    };
    export_to("file:///elsewhere".to_owned()).await;
    ask(&scene).await;
    wait::until("the refusal", WAIT, async || {
        let status = scopes.get("contoso").await?.status.unwrap_or_default();
        let told = condition::among(&status.conditions, Type::AuditExported.as_str());
        Ok((told.as_deref() == Some("False/DestinationNotAllowed")).then_some(()))
    })
    .await
    .unwrap();
    fs::create_dir(&destination).unwrap();
    export_to(format!("file://{}", destination.display())).await;
    exported(&scene, 2, &destination).await;
    outlook.create(world::USER_1, &meeting(3)).await.unwrap();
    wait::until("three records", WAIT, async || Ok((scene.record_count().await? == 3).then_some(())))
        .await
        .unwrap();
    exported(&scene, 2, &destination).await;

    let keys: Api<ConfigMap> = Api::namespaced(scene.client.clone(), install::NAMESPACE);
    let pem: Vec<String> =
        keys.get("roomkeeper-audit-keys").await.unwrap().data.unwrap().into_values().collect();
    let key = scene.system.folder().join("audit-keys.pem");
    fs::write(&key, pem.concat()).unwrap();
    let nobody = scene.control_plane.kubeconfig_for("nobody", &[]).unwrap();
    let plugin = Plugin::of(&nobody).unwrap();
    let (folder, key) = (destination.to_str().unwrap(), key.to_str().unwrap());
    let verify = ["audit", "verify", folder, "--key", key];
    let good = plugin.run(&verify).unwrap();
    assert_eq!(good.code, 0, "{good:?}");
    for writer in ["operator-0", "webhook-0"] {
        assert!(good.out.contains(writer), "{}", good.out);
    }
    assert!(manifests(&destination) >= 4);

    let report = plugin.json(&["audit", "report", world::USER_1, folder]).unwrap().to_string();
    assert!(report.contains(world::USER_1) && !report.contains(world::USER_2), "{report}");
    assert!(!report.contains("Planning"));

    let lines = files(&destination, ".jsonl.gz").unwrap();
    let whole = fs::read(&lines[0]).unwrap();
    fs::remove_file(&lines[0]).unwrap();
    let missing = plugin.run(&verify).unwrap();
    assert_eq!(missing.code, DAMAGED, "{missing:?}");
    fs::write(&lines[0], whole).unwrap();
    assert_eq!(plugin.run(&verify).unwrap().code, 0);
    drop((operator, webhook));
    scene.end().await.unwrap();
}
