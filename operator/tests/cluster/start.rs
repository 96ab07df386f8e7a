//! What the operator needs before it can work.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams};
use roomkeeper_controlplane::{ControlPlane, StartOptions};
use roomkeeper_crds::{BookingRecord, condition::Type};

use crate::{
    bookings,
    site::{Site, root, until},
};

fn flags() -> Vec<String> {
    ["--public-url", "https://rooms.example"].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn the_operator_waits_for_its_kinds_to_be_served() {
    let control_plane: &'static ControlPlane =
        Box::leak(Box::new(ControlPlane::start(StartOptions::default()).await.unwrap()));
    let site = Site::on(control_plane).await;
    let operator = site.operator("a", &flags()).await;
    until("a reason for not being ready", async || match operator.get("/readyz").await? {
        (503, text) if text.contains("does not serve AccessScope") => Ok(()),
        (status, text) => Err(format!("{status} {text}")),
    })
    .await;
    control_plane.apply_crds(&root().join("crds/yaml")).await.unwrap();
    operator.metric("roomkeeper_leader 1").await;
    assert_eq!(operator.get("/readyz").await.unwrap().0, 200);
}

#[tokio::test]
async fn the_keys_are_made_once_and_kept() {
    let site = Site::new().await;
    let secrets = site.api::<Secret>();
    let key = async || {
        until("the Secret", async || {
            secrets.get_opt("roomkeeper-client-state").await.unwrap().ok_or_else(|| "none".to_owned())
        })
        .await
    };
    let operator = site.operator("a", &flags()).await;
    let made = key().await;
    operator.process.kill().unwrap();
    let operator = site.operator("b", &flags()).await;
    operator.metric("roomkeeper_leader 1").await;
    assert_eq!(key().await.data, made.data);
}

#[tokio::test]
async fn without_leave_to_make_the_keys_the_operator_says_so() {
    let site = Site::new().await;
    let roles = site.api::<k8s_openapi::api::rbac::v1::Role>();
    let mut role = roles.get("roomkeeper-operator").await.unwrap();
    role.rules.as_mut().unwrap().retain(|rule| {
        !rule.resources.as_ref().is_some_and(|resources| resources.contains(&"secrets".to_owned()))
    });
    let whole = roles.get("roomkeeper-operator").await.unwrap();
    roles.replace("roomkeeper-operator", &PostParams::default(), &role).await.unwrap();
    let operator = site.operator("a", &flags()).await;
    until("a reason for not being ready", async || match operator.get("/readyz").await? {
        (503, text) if text.contains("Secret roomkeeper-client-state") && text.contains("Role") => Ok(()),
        (status, text) => Err(format!("{status} {text}")),
    })
    .await;
    roles.delete("roomkeeper-operator", &DeleteParams::default()).await.unwrap();
    let mut whole = whole;
    whole.metadata.resource_version = None;
    whole.metadata.uid = None;
    roles.create(&PostParams::default(), &whole).await.unwrap();
    until("readiness", async || match operator.get("/readyz").await? {
        (200, _) => Ok(()),
        (_, text) => Err(text),
    })
    .await;
}

/// The API server takes years that the operator's clock cannot hold.
#[tokio::test]
async fn an_object_that_does_not_decode_stops_nothing() {
    let site = Site::new().await;
    let far = bookings::record("far", "2026-11-24T09:00:00Z", "9999-12-31T23:59:59Z", "room-1");
    site.apply(&far).await;
    let operator = site.operator("a", &flags()).await;
    operator.metric("roomkeeper_reconcile_total{kind=\"BookingRecord\",result=\"undecodable\"} 1").await;
    let (from, to) = bookings::tomorrow();
    site.apply(&bookings::record("good", &from, &to, "room-1")).await;
    site.condition::<BookingRecord>("good", Type::Ready, "True/Pending").await;
}
