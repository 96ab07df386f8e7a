//! A namespace with our objects ends: no policy stands in the way of Kubernetes' own controller, nor of the operator's finalizers.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    installation::{ENDING, client, installed},
    requests::{api, object},
};

const KINDS: [&str; 4] = ["AccessScope", "CalendarSubscription", "ConsentRecord", "BookingRecord"];

#[tokio::test]
async fn a_namespace_ends() {
    let plane = installed().await;
    let (admin, operator) = (client(plane, "break-glass").await, client(plane, "operator").await);
    for kind in KINDS {
        let mut made = object(kind, "last");
        if ["AccessScope", "CalendarSubscription"].contains(&kind) {
            made["metadata"]["finalizers"] = json!(["roomkeeper.dev/end-subscriptions"]);
        }
        let made = serde_json::from_value(made).unwrap();
        api(&admin, kind, ENDING).create(&PostParams::default(), &made).await.unwrap();
    }
    let admin = client(plane, "admin").await;
    let namespaces: Api<Namespace> = Api::all(admin.clone());
    namespaces.delete(ENDING, &DeleteParams::default()).await.unwrap();
    assert_eq!(namespaces.get(ENDING).await.unwrap().status.unwrap().phase.as_deref(), Some("Terminating"));

    // What kube-controller-manager does, as its service account and with no more than its rights.
    let controller = client(plane, "namespace-controller").await;
    for kind in KINDS {
        let api = api(&controller, kind, ENDING);
        api.delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error}"));
    }
    for kind in ["AccessScope", "CalendarSubscription"] {
        let api = api(&operator, kind, ENDING);
        let without = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        let left = api.patch("last", &PatchParams::default(), &without).await;
        assert!(left.is_ok(), "{kind}: {left:?}");
    }
    for kind in KINDS {
        let left = api(&admin, kind, ENDING).list(&ListParams::default()).await.unwrap().items;
        assert!(left.is_empty(), "{kind}: {left:?}");
    }
    let request = http::Request::put(format!("/api/v1/namespaces/{ENDING}/finalize"));
    let mut namespace = namespaces.get(ENDING).await.unwrap();
    namespace.spec.as_mut().unwrap().finalizers = None;
    let body = serde_json::to_vec(&namespace).unwrap();
    let request = request.header("content-type", "application/json").body(body).unwrap();
    controller.request::<Namespace>(request).await.unwrap();
    assert!(namespaces.get_opt(ENDING).await.unwrap().is_none());
}
