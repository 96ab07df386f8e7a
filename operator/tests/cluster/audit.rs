//! An audit that cannot be written, and one that can be again.

use std::{fs, os::unix::ffi::OsStrExt as _, path::PathBuf};

use k8s_openapi::api::core::v1::ConfigMap;
use roomkeeper_crds::{
    AccessScope,
    condition::{Type, get, is_true},
};
use serde_json::Value;

use crate::{
    graph::Connected,
    site::{Operator, until},
    world,
};

/// The folder of the one writer of this operator.
async fn writer(operator: &Operator) -> PathBuf {
    until("the writer's folder", async || {
        let all = fs::read_dir(&operator.audit).map_err(|error| error.to_string())?;
        // Beside it is one for tokens, whose name begins with a dot.
        let is_writers =
            |path: &PathBuf| path.is_dir() && !path.file_name().unwrap().as_bytes().starts_with(b".");
        all.map(|one| one.unwrap().path()).find(is_writers).ok_or_else(|| "none".to_owned())
    })
    .await
}

#[tokio::test]
async fn nothing_is_sent_while_the_audit_cannot_be_written_and_all_goes_on_by_itself() {
    let connected = Connected::new(1).await;
    let (site, flags) = (&connected.site, ["--audit-checkpoint-interval", "1s"].map(str::to_owned));
    let flags: Vec<String> = connected.flags().into_iter().chain(flags).collect();
    let operator = site.operator("a", &flags).await;
    operator.metric("roomkeeper_leader 1").await;
    operator.metric("roomkeeper_audit_writable 1").await;
    // Where the scope's log is to be there is a file.
    let place = writer(&operator).await.join(format!("{}_contoso", site.namespace));
    fs::write(&place, b"").unwrap();

    site.apply(&world::scope("contoso", &connected.graph.origin)).await;
    let scope = site.condition::<AccessScope>("contoso", Type::AuditWritable, "False/WriteFailed").await;
    let conditions = scope.status.unwrap().conditions;
    assert!(!is_true(&conditions, Type::CredentialsValid), "{conditions:?}");
    let told = &get(&conditions, Type::AuditWritable).unwrap().message;
    assert!(told.contains("cannot write the audit log") && told.contains("volume"), "{told}");
    site.condition::<AccessScope>("contoso", Type::Ready, "False/WriteFailed").await;
    site.condition::<AccessScope>("contoso", Type::Reconciling, "True/WriteFailed").await;
    operator.metric("roomkeeper_audit_writable 0").await;
    assert!(connected.graph.requests("", "oauth2").await.is_empty(), "not even a token is asked for");

    fs::remove_file(&place).unwrap();
    site.condition::<AccessScope>("contoso", Type::AuditWritable, "True/Written").await;
    site.condition::<AccessScope>("contoso", Type::CredentialsValid, "True/TokenAcquired").await;
    operator.metric("roomkeeper_audit_writable 1").await;
    let audit = operator.audit_text();
    assert!(audit.contains("this log could not be written since "), "{audit}");
    let entries: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |type_: &str| entries.iter().filter(|entry| entry["type"] == type_).count();
    assert!(told("call") > 0 && told("outcome") > 0, "{audit}");

    // What was written leaves the pod.
    until("checkpoints of both", async || {
        let map = site.api::<ConfigMap>().get_opt("roomkeeper-audit-a").await.map_err(|e| e.to_string())?;
        let keys: Vec<String> = map.and_then(|map| map.data).unwrap_or_default().into_keys().collect();
        let ends = format!(".{}_contoso", site.namespace);
        if keys.iter().any(|key| key.ends_with(&ends)) { Ok(()) } else { Err(format!("{keys:?}")) }
    })
    .await;
}
