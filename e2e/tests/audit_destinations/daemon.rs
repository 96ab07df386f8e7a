//! The operator's own exports with the token of a service account, as whoever looks at the AccessScope sees them.

use std::{fs, time::Duration};

use jiff::Timestamp;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use roomkeeper_crds::{
    AccessScope,
    condition::{self, Type},
};
use roomkeeper_e2e::{
    exports::{files, told_since},
    scene::{NAMESPACE, Scene},
    system, wait, world,
};
use serde_json::json;

use super::{
    account::{self, ACCOUNT, Prover},
    at,
    aws::{self, Aws},
    exchanges::Mood,
    export::bring_home,
    server::Server,
    settings,
};

const WAIT: Duration = Duration::from_mins(2);

/// Has the scope exported to another prefix of the bucket, now. What failed before is not waited for.
async fn ask(scopes: &Api<AccessScope>, aws: &Aws, prefix: &str) -> Timestamp {
    let asked = Timestamp::now();
    let destination = json!({
        "url": format!("s3://{}/{prefix}", aws::BUCKET), "region": "eu-central-1",
        "endpoint": format!("https://127.0.0.1:{}", aws.port), "serviceAccountName": ACCOUNT,
    });
    let patch = json!({
        "metadata": {"annotations": {"roomkeeper.dev/audit-export-requested-at": asked.to_string()}},
        "spec": {"audit": {"export": {"schedule": "0 2 29 2 *", "destination": destination}}},
    });
    scopes.patch("contoso", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    asked
}

/// Waits until `AuditExported` says that.
async fn says(scopes: &Api<AccessScope>, reason: &str, text: &str) {
    wait::until(&format!("{reason} with '{text}'"), WAIT, async || {
        let status = scopes.get("contoso").await?.status.unwrap_or_default();
        let said = condition::get(&status.conditions, Type::AuditExported);
        Ok(said.filter(|said| said.reason == reason && said.message.contains(text)).map(drop))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_exports_with_the_token_of_a_service_account() {
    let scene = Scene::start(&world::contoso(1)).await.unwrap();
    let server = Server::s3().await.unwrap();
    let prover = Prover::new(scene.client.clone(), NAMESPACE, aws::AUDIENCE);
    let aws = Aws::start(&server, prover).await.unwrap();
    scene.install(str::to_owned).await.unwrap();
    system::apply(&scene.client, &account::yaml(NAMESPACE, &json!({}))).await.unwrap();
    let host = format!("127.0.0.1:{}", aws.port);
    let flags = ["--allowed-host", &host, "--audit-export-ca", server.identity.ca.to_str().unwrap()];
    let operator = scene.system.operator("operator-0", &flags).await.unwrap();
    operator.ready().await.unwrap();

    let scopes: Api<AccessScope> = Api::namespaced(scene.client.clone(), NAMESPACE);
    ask(&scopes, &aws, "lacking").await;
    let lacking = "ServiceAccount contoso-audit, annotation eks.amazonaws.com/role-arn: is missing";
    says(&scopes, "CredentialsMissing", lacking).await;

    let role = json!({"eks.amazonaws.com/role-arn": aws::ROLE});
    system::apply(&scene.client, &account::yaml(NAMESPACE, &role)).await.unwrap();
    aws.exchanges.turn(Mood::Refusing);
    ask(&scopes, &aws, "refused").await;
    let refused = "ServiceAccount contoso-audit: its token was not exchanged: the STS answered 400";
    says(&scopes, "ExportFailed", refused).await;
    assert_eq!(aws.exchanges.count(), 0);

    aws.exchanges.turn(Mood::Honest);
    let asked = ask(&scopes, &aws, "exported").await;
    wait::until("the export", WAIT, async || {
        Ok(told_since(&scopes.get("contoso").await?, asked).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(aws.exchanges.count(), 1);
    let home = tempfile::tempdir().unwrap();
    let read = at(&server, &format!("s3://{}/exported", aws::BUCKET));
    bring_home(&read, &settings(&server), home.path()).await;
    // The refused export, begun and not finished, and what was new since.
    for end in [".jsonl.gz", ".manifest.json"] {
        assert!(!files(home.path(), end).unwrap().is_empty(), "{end}");
    }

    assert_eq!(fs::read_dir(operator.audit.join(".tokens")).unwrap().count(), 0, "no token is left");
    let log = fs::read_to_string(operator.process.log()).unwrap();
    assert!(log.contains(refused), "the operator says it too");
    let scope = serde_json::to_string(&scopes.get("contoso").await.unwrap()).unwrap();
    let secrets = aws.exchanges.secrets();
    assert!(secrets.len() > 4, "two tokens, and what was given for one");
    for secret in secrets {
        assert!(secret.len() > 15 && !log.contains(&secret) && !scope.contains(&secret), "{secret}");
    }
    drop(operator);
    scene.end().await.unwrap();
}
