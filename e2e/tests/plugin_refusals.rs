//! The kubectl plugin where something is missing, unclear or not allowed, against a real API server without daemons.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{net::TcpListener, path::Path, process::Command};

use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use roomkeeper_controlplane::ControlPlane;
use roomkeeper_crds::{AccessScope, ConsentRecord, name};
use roomkeeper_e2e::{
    install,
    plugin::{Plugin, Said},
    world,
};
use serde_json::{Value, json};

const USER: &str = "user1@contoso.example";

fn scope(name: &str, client_id: &str) -> AccessScope {
    serde_json::from_value(json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "AccessScope",
        "metadata": {"name": name},
        "spec": {
            "tenantId": world::TENANT, "clientId": client_id,
            "credentials": {"clientSecret": {"secretName": "graph"}},
            "policies": [{"mode": "RestrictAccess", "groupId": world::GROUP}],
            "addIn": {"manifestId": world::MANIFEST, "audience": world::ADD_IN_AUDIENCE},
            "consent": {"noticeVersion": "2026-01", "createSubscriptions": true},
        },
    }))
    .unwrap()
}

/// A scope, and the consent of the first user to it.
async fn consented(client: &Client, namespace: &str, scope_name: &str, client_id: &str) {
    let scopes: Api<AccessScope> = Api::namespaced(client.clone(), namespace);
    let made = scopes.create(&PostParams::default(), &scope(scope_name, client_id)).await.unwrap();
    let uid = made.metadata.uid.unwrap();
    let mut record = world::consent(1, &uid).unwrap();
    record.metadata.name = Some(name::consent_record(&uid, world::USER_1, 0));
    scope_name.clone_into(&mut record.spec.scope.name);
    let consents: Api<ConsentRecord> = Api::namespaced(client.clone(), namespace);
    consents.create(&PostParams::default(), &record).await.unwrap();
}

fn refused(said: &Said, code: i32, parts: &[&str]) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.err.starts_with("error: "), "{said:?}");
    for part in parts {
        assert!(said.err.contains(part), "{part} is not in {said:?}");
    }
}

fn done(said: &Said, parts: &[&str]) {
    assert_eq!(said.code, 0, "{said:?}");
    for part in parts {
        assert!(said.out.contains(part), "{part} is not in {said:?}");
    }
}

struct Site {
    control_plane: &'static ControlPlane,
    client: Client,
    /// With one scope of the user.
    one: String,
    /// With two of them.
    two: String,
    admin: Plugin,
}

async fn site() -> Site {
    roomkeeper_service::tls::install_provider();
    let control_plane = ControlPlane::shared().await.unwrap();
    let client = control_plane.admin_client().await.unwrap();
    install::apply(&client).await.unwrap();
    let one = control_plane.namespace("one").await.unwrap();
    let two = control_plane.namespace("two").await.unwrap();
    consented(&client, &one, "contoso", world::CLIENT).await;
    consented(&client, &two, "contoso", world::CLIENT).await;
    consented(&client, &two, "other", world::OUTLOOK_CLIENT).await;
    let admin = Plugin::of(control_plane.admin_kubeconfig_path()).unwrap();
    Site { control_plane, client, one, two, admin }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_says_what_why_and_how() {
    let site = site().await;
    finds_and_chooses(&site);
    reads(&site);
    needs_permissions(&site);
    checks_usage(&site);
    prepares_with_somebody_setting_it_back(&site);
}

fn finds_and_chooses(site: &Site) {
    let run = |arguments: &[&str]| site.admin.run(arguments).unwrap();
    let (one, two) = (site.one.as_str(), site.two.as_str());
    let nobody = "nobody@contoso.example";
    let unsubscribe =
        |user: &str, namespace: &str| run(&["unsubscribe", user, "--reason", "T-1", "-n", namespace]);
    refused(&unsubscribe(nobody, one), 3, &[nobody, one, "-n NAMESPACE"]);
    refused(&run(&["explain", nobody, "-n", one]), 3, &[nobody, "--scope NAME"]);
    refused(
        &run(&["explain", USER, "--scope", "none", "-n", one]),
        3,
        &["--scope none", "there are contoso"],
    );
    refused(&run(&["resync", nobody, "-n", one]), 3, &[nobody]);
    refused(
        &run(&["resync", USER, "-n", one]),
        3,
        &["no CalendarSubscription of that user", "explain says why"],
    );
    refused(&run(&["renew", "--all", "-n", one]), 3, &["no CalendarSubscription in namespace"]);
    refused(&run(&["consents", "list", nobody, "-n", one]), 3, &[nobody]);
    refused(&run(&["admin-consent-url", "none", "-n", one]), 3, &["SCOPE none", "kubectl get ascope -A"]);
    refused(&unsubscribe(USER, two), 4, &["2 AccessScopes", "contoso", "other", "--scope NAME"]);
    refused(&run(&["renew", USER, "-A"]), 4, &["3 AccessScopes"]);

    done(&run(&["explain", nobody, "--scope", "contoso", "-n", one]), &["nobody has ticked the box yet"]);
    let both = run(&["explain", USER, "-n", two]);
    done(&both, &[&format!("AccessScope {two}/contoso"), &format!("AccessScope {two}/other")]);
    done(&both, &["contoso was not looked at yet", "look whether the operator is running"]);
    let chosen = run(&["unsubscribe", USER, "--reason", "T-1", "-n", two, "--scope", "other"]);
    done(&chosen, &["withdrawn", "no CalendarSubscription of that user"]);
    let rest = run(&["unsubscribe", USER, "--reason", "T-2", "-n", two, "--all-scopes"]);
    done(&rest, &["withdrawn\n", "was withdrawn before"]);
}

fn reads(site: &Site) {
    let run = |arguments: &[&str]| site.admin.run(arguments).unwrap();
    let (one, two) = (site.one.as_str(), site.two.as_str());
    let list: Value = serde_json::from_str(&run(&["consents", "list", "-n", two, "-o", "json"]).out).unwrap();
    assert_eq!((list["kind"].as_str(), list["items"].as_array().unwrap().len()), (Some("List"), 2));
    let yaml: Value = serde_yaml::from_str(&run(&["consents", "list", "-n", two, "-o", "yaml"]).out).unwrap();
    assert_eq!(yaml, list);
    let names = run(&["consents", "list", "-n", two, "-o", "name"]).out;
    assert!(names.lines().all(|line| line.starts_with("consentrecord.roomkeeper.dev/consent-")), "{names}");
    let narrow = run(&["consents", "list", "-A"]);
    done(&narrow, &["NAMESPACE", one, two]);
    assert!(!narrow.out.contains('@'), "{narrow:?}");
    done(&run(&["consents", "list", "-n", one, "-o", "wide"]), &[USER, world::USER_1]);
    let export = run(&["consents", "export", "--format", "json", "-n", two]);
    let rows: Value = serde_json::from_str(&export.out).unwrap();
    let mut reasons: Vec<&str> =
        rows.as_array().unwrap().iter().map(|row| row["withdrawnReason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["T-1", "T-2"]);
    let csv = run(&["consents", "export", USER, "-n", one]).out;
    assert_eq!(csv.matches("\r\n").count(), 2, "{csv}");
    done(&run(&["status", "-A"]), &["NAMESPACE", one, two]);
    let empty = run(&["consents", "list", "-n", "default"]);
    assert_eq!((empty.code, empty.out.as_str()), (0, ""), "{empty:?}");
    assert!(empty.err.contains("No ConsentRecords found in namespace default"));
}

fn needs_permissions(site: &Site) {
    let one = site.one.as_str();
    let kubeconfig = site.control_plane.kubeconfig_for("stranger", &[]).unwrap();
    let stranger = Plugin::of(&kubeconfig).unwrap();
    for arguments in [
        &["unsubscribe", USER, "--reason", "T-1"][..],
        &["explain", USER],
        &["consents", "list"],
        &["consents", "export"],
        &["resync", "--all"],
        &["renew", USER],
        &["status"],
        &["admin-consent-url", "contoso"],
        &["prepare-uninstall", "--yes"],
    ] {
        let mut all = arguments.to_vec();
        all.extend(["-n", one]);
        let parts = ["stranger", "is forbidden", "ask for this permission"];
        refused(&stranger.run(&all).unwrap(), 1, &parts);
        all.extend(["--as", "stranger"]);
        refused(&site.admin.run(&all).unwrap(), 1, &parts);
    }
    let as_admin = ["status", "-n", one, "--as", "somebody", "--as-group", "system:masters"];
    done(&site.admin.run(&as_admin).unwrap(), &["contoso"]);
}

fn checks_usage(site: &Site) {
    let run = |arguments: &[&str]| site.admin.run(arguments).unwrap();
    let one = site.one.as_str();
    refused(&run(&["unsubscribe", "user1", "--reason", "T-1"]), 2, &["user1", "object id (GUID)"]);
    refused(&run(&["unsubscribe", USER, "--reason", " "]), 2, &["--reason", "1 to 256"]);
    refused(
        &run(&["unsubscribe", USER, "--reason", "T-1", "--timeout", "1d"]),
        2,
        &["--timeout", "45s, 2m or 1h"],
    );
    refused(&run(&["status", "-o", "xml"]), 2, &["xml", "json, yaml, wide, name"]);
    refused(&run(&["resync"]), 2, &["--all"]);
    refused(&run(&["admin-consent-url", "contoso", "-A"]), 2, &["-n NAMESPACE"]);
    refused(&run(&["prepare-uninstall", "-n", one]), 2, &["suspends 1 AccessScopes", "--yes"]);
    refused(
        &run(&["status", "--kubeconfig", "/nonexistent/config"]),
        1,
        &["--kubeconfig /nonexistent/config"],
    );
    refused(&run(&["status", "--context", "none"]), 1, &["--context"]);
    let nowhere = Plugin::of(Path::new("/nonexistent/config")).unwrap();
    refused(&nowhere.run(&["status"]).unwrap(), 1, &["--kubeconfig or KUBECONFIG"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("https://{}", silent.local_addr().unwrap());
    let config = std::fs::read_to_string(site.control_plane.admin_kubeconfig_path()).unwrap();
    let kubeconfig = site.control_plane.dir().join("silent.kubeconfig");
    std::fs::write(&kubeconfig, config.replace(site.control_plane.url(), &server)).unwrap();
    let silent = Plugin::of(&kubeconfig).unwrap().run(&["status", "--request-timeout", "1s"]).unwrap();
    refused(&silent, 1, &["cannot be reached"]);
    for shell in ["zsh", "fish"] {
        done(&nowhere.run(&["completion", shell]).unwrap(), &["kubectl-roomkeeper", "prepare-uninstall"]);
    }
    let script = nowhere.run(&["completion", "bash"]).unwrap().out;
    assert_eq!(completed(&script, &["ex"]), "explain");
    assert_eq!(completed(&script, &["consents", "l"]), "list");
    assert_eq!(completed(&script, &["unsubscribe", "--re"]), "--reason --request-timeout");
    assert_eq!(completed(&script, &["consents", "export", "--format", ""]), "csv json");
    for page in
        ["unsubscribe", "explain", "consents", "resync", "renew", "status", "prepare-uninstall", "completion"]
    {
        done(&nowhere.run(&[page, "--help"]).unwrap(), &["Usage: kubectl roomkeeper"]);
    }
}

/// What bash offers for the last of these words.
fn completed(script: &str, words: &[&str]) -> String {
    let line = [&["kubectl-roomkeeper"], words].concat();
    let (last, before) = (line[line.len() - 1], line[line.len() - 2]);
    let typed: Vec<String> = line.iter().map(|word| format!("'{word}'")).collect();
    let ask = format!(
        "{script}\nCOMP_WORDS=({typed}); COMP_CWORD={at}\n\
         function=$(complete -p kubectl-roomkeeper | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n\
         $function kubectl-roomkeeper '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
        typed = typed.join(" "),
        at = words.len(),
    );
    let output = Command::new("bash").args(["-c", &ask]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn prepares_with_somebody_setting_it_back(site: &Site) {
    let (one, client) = (site.one.clone(), site.client.clone());
    let scopes: Api<AccessScope> = Api::namespaced(client, &one);
    let healer = tokio::spawn({
        let scopes = scopes.clone();
        async move {
            loop {
                let resume = json!({"spec": {"suspend": false}});
                scopes.patch("contoso", &PatchParams::default(), &Patch::Merge(resume)).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    });
    let said = site.admin.run(&["prepare-uninstall", "--yes", "--timeout", "3s", "-n", &one]).unwrap();
    healer.abort();
    refused(&said, 5, &["do not uninstall yet"]);
    assert!(said.out.contains("set back to false"), "{said:?}");
}
