//! A cluster that somebody else runs, used instead of an own one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{env, process::Command};

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{Api, Client, api::PostParams};
use roomkeeper_controlplane::{ControlPlane, StartOptions, USE_KUBECONFIG};

async fn identity(client: Client) -> (String, Vec<String>) {
    let api: Api<SelfSubjectReview> = Api::all(client);
    let review = api.create(&PostParams::default(), &SelfSubjectReview::default()).await.unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    (user.username.unwrap(), user.groups.unwrap())
}

/// A process of its own has the variables; it runs this very test, and finds them set.
#[tokio::test]
async fn its_administrator_acts_as_the_user_and_it_is_left_running() {
    const INNER: &str = "ROOMKEEPER_TEST_LIVE_CLUSTER_URL";
    if let Ok(url) = env::var(INNER) {
        let live = ControlPlane::start(StartOptions::default()).await.unwrap();
        assert!(live.pids().is_empty(), "nothing was started");
        assert_eq!(live.url().trim_end_matches('/'), url);
        assert_eq!(identity(live.admin_client().await.unwrap()).await.0, "admin");
        let expected = (
            "jane".to_owned(),
            vec!["support".to_owned(), "night".to_owned(), "system:authenticated".to_owned()],
        );
        assert_eq!(identity(live.client_for("jane", &["support", "night"]).await.unwrap()).await, expected);
        let file = live.kubeconfig_for("jane", &["support"]).unwrap();
        assert!(file.starts_with(live.dir()));
        live.stop().await.unwrap();
        return;
    }
    let cp = ControlPlane::start(StartOptions::default()).await.unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "its_administrator_acts_as_the_user_and_it_is_left_running"])
        .env(USE_KUBECONFIG, "1")
        .env("KUBECONFIG", cp.admin_kubeconfig_path())
        .env(INNER, cp.url())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(identity(cp.admin_client().await.unwrap()).await.0, "admin", "it still runs");
}
