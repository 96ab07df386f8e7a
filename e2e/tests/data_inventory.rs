//! `docs/data-inventory.md` names every property that is stored, and none that is not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use jiff::Timestamp;
use kube::CustomResourceExt;
use roomkeeper_crds::{
    AccessScope, BookingRecord, CalendarSubscription, ConsentRecord,
    audit::{KEYS_CONFIG_MAP, config_map},
};
use roomkeeper_e2e::programs;
use roomkeeper_graph::{
    Cause, EventId, MemberClass, Purpose, UserId,
    audit::{
        AuditEntry, CallFault,
        chain::{
            Checkpoint, Hash, Head, Known, LogName, Manifest, Part, Signed, SigningKey, Start, Statement,
            encode,
        },
    },
};
use roomkeeper_service::audit::{KEY_ENTRY, KEY_SECRET, kept::data_key};
use roomkeeper_webhook_server::queue::{EventItem, Item, LifecycleEvents, LifecycleItem};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use uuid::Uuid;

/// The properties in the first column of the table of a section.
fn listed(section: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(programs::repository().join("docs/data-inventory.md")).unwrap();
    let text =
        page.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no section {section}")).1;
    let text = text.split("\n## ").next().unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| property |"));
    let mut listed = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "{section}: {row}");
        for property in cells[0].split('`').skip(1).step_by(2).flat_map(spelled_out) {
            assert!(listed.insert(property.clone()), "{section}: {property} is listed twice");
        }
    }
    listed
}

/// `a.{b,c}` is `a.b` and `a.c`.
fn spelled_out(path: &str) -> Vec<String> {
    match path.split_once('{') {
        None => vec![path.to_owned()],
        Some((before, rest)) => {
            let names = rest.strip_suffix('}').unwrap_or_else(|| panic!("{path}: the braces must come last"));
            names.split(',').map(|name| format!("{before}{name}")).collect()
        }
    }
}

/// Paths of all properties of a schema that have none of their own.
fn of_schema(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, schema) in properties {
            of_schema(schema, &format!("{path}.{name}"), found);
        }
    } else if schema["items"]["properties"].is_object() {
        of_schema(&schema["items"], &format!("{path}[]"), found);
    } else {
        found.insert(path.to_owned());
    }
}

/// The same of values. A list of objects has to have an entry.
fn of_value(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(entries) if entries.iter().any(Value::is_object) => {
            for entry in entries {
                of_value(entry, &format!("{path}[]"), found);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                of_value(value, &path, found);
            }
        }
        _ => drop(found.insert(path.to_owned())),
    }
}

fn kind<K: CustomResourceExt>() {
    let crd = serde_json::to_value(K::crd()).unwrap();
    let name = crd["spec"]["names"]["kind"].as_str().unwrap().to_owned();
    let mut stored = BTreeSet::new();
    for version in crd["spec"]["versions"].as_array().unwrap() {
        let schema = &version["schema"]["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            of_schema(&schema[part], part, &mut stored);
        }
    }
    assert_eq!(listed(&name), stored, "{name}");
}

#[test]
fn every_property_of_the_kinds_is_listed_and_no_other() {
    kind::<AccessScope>();
    kind::<CalendarSubscription>();
    kind::<ConsentRecord>();
    kind::<BookingRecord>();
}

#[test]
fn every_property_of_the_queue_is_listed_and_no_other() {
    // Every member is given, so that a new one does not compile here, and none is left out for being empty.
    let event = EventItem {
        tenant_id: String::new(),
        user_id: String::new(),
        event_id: String::new(),
        subscription_uid: String::new(),
        deleted: true,
        found: true,
        version: Some(String::new()),
        received_at: Timestamp::UNIX_EPOCH,
    };
    let lifecycle = LifecycleItem {
        tenant_id: String::new(),
        subscription_uid: String::new(),
        subscription_id: String::new(),
        events: LifecycleEvents { missed: true, subscription_removed: true, reauthorization_required: true },
        received_at: Timestamp::UNIX_EPOCH,
    };
    let mut stored = BTreeSet::new();
    for item in [Item::V1Event(event), Item::V1Lifecycle(lifecycle)] {
        match &item {
            // A new type of item has to be added above as well.
            Item::V1Event(_) | Item::V1Lifecycle(_) => {}
        }
        of_value(&serde_json::to_value(item).unwrap(), "", &mut stored);
    }
    assert_eq!(listed("Queue"), stored);
}

#[test]
fn every_property_of_the_audit_is_listed_and_no_other() {
    let (time, scope, tenant_id) = (Timestamp::UNIX_EPOCH, String::new(), String::new());
    let user_id = UserId::parse("2189c720-90d5-44ff-818b-fe585706ee90").unwrap();
    let caused_by = Cause::new("CalendarSubscription/contoso/user1");
    let entries = [
        AuditEntry::Call {
            time,
            scope: scope.clone(),
            tenant_id: tenant_id.clone(),
            client_id: String::new(),
            purpose: Purpose::EventMinimalRead,
            method: String::new(),
            url: String::new(),
            caused_by: caused_by.clone(),
            client_request_id: Uuid::nil(),
            attempt: 1,
        },
        AuditEntry::Outcome {
            time,
            scope: scope.clone(),
            purpose: Purpose::EventMinimalRead,
            client_request_id: Uuid::nil(),
            attempt: 1,
            status: Some(200),
            request_id: Some(Uuid::nil()),
            duration_ms: 1,
            retry_after_seconds: Some(1),
            fault: Some(CallFault::Broken),
        },
        AuditEntry::Notification {
            time,
            scope: scope.clone(),
            tenant_id: tenant_id.clone(),
            user_id,
            event_id: EventId::parse("AAMk").unwrap(),
            i_cal_u_id: Some(String::new()),
            caused_by: caused_by.clone(),
        },
        AuditEntry::ConsentGranted {
            time,
            scope: scope.clone(),
            tenant_id: tenant_id.clone(),
            user_id,
            consent: String::new(),
        },
        AuditEntry::ConsentWithdrawn {
            time,
            scope: scope.clone(),
            tenant_id: tenant_id.clone(),
            user_id,
            consent: String::new(),
        },
        AuditEntry::UnrequestedMembers {
            time,
            scope: scope.clone(),
            tenant_id,
            purpose: Purpose::EventMinimalRead,
            client_request_id: Uuid::nil(),
            caused_by: caused_by.clone(),
            members: MemberClass::ALL.into_iter().map(|class| (class, 1)).collect::<BTreeMap<_, _>>(),
        },
        AuditEntry::Note { time, scope, caused_by, text: String::new() },
    ];
    let (mut stored, mut types) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        let mut line = Vec::new();
        let log = LogName::of_scope(entry.scope()).unwrap();
        encode(&mut line, Head::EMPTY, "operator-0", &log, &entry).unwrap();
        let line: Value = serde_json::from_slice(&line).unwrap();
        types.insert(line["entry"]["type"].as_str().unwrap().to_owned());
        of_value(&line, "", &mut stored);
    }
    assert_eq!(listed("Audit"), stored);
    assert_eq!(types, types_of_entries(), "a new type has to be added above as well");
}

/// The types that an entry can have: whoever reads back another one is told of all.
fn types_of_entries() -> BTreeSet<String> {
    let error =
        serde_json::from_value::<AuditEntry>(json!({"type": "none of them"})).unwrap_err().to_string();
    let known = error.split_once("expected one of").unwrap_or_else(|| panic!("{error}")).1;
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_property_of_the_audits_statements_is_listed_and_no_other() {
    let key = SigningKey::from_pem(SigningKey::generate_pem().unwrap().expose_secret().as_bytes()).unwrap();
    let (time, writer, scope) = (Timestamp::UNIX_EPOCH, String::new(), String::new());
    let checkpoint = Checkpoint {
        writer: writer.clone(),
        scope: scope.clone(),
        sequence: 1,
        previous: Hash::ZERO,
        time,
        number: 1,
        hash: Hash::ZERO,
        start: Start::FIRST,
        exported: 1,
    };
    let manifest = Manifest {
        writer: writer.clone(),
        scope,
        number: 1,
        previous: Hash::ZERO,
        time,
        files: vec![Part { name: String::new(), first: 1, last: 1, lines: 1 }],
        writers: vec![Known { writer, checkpoints: vec![String::new()] }],
    };
    let mut stored = BTreeSet::new();
    statement("checkpoint", checkpoint, &key, &mut stored);
    statement("manifest", manifest, &key, &mut stored);
    assert_eq!(listed("Statements of the audit"), stored);
}

/// What a statement holds, and the envelope that it is kept in.
fn statement<T: Statement>(kind: &str, statement: T, key: &SigningKey, found: &mut BTreeSet<String>) {
    let signed = Signed::new(statement, key).unwrap();
    of_value(&serde_json::to_value(&signed.statement).unwrap(), kind, found);
    of_value(&serde_json::from_str(&signed.envelope).unwrap(), "envelope", found);
}

#[test]
fn every_object_of_the_audit_in_the_cluster_is_listed_and_no_other() {
    let log = LogName::of_scope("namespace/name").unwrap();
    let kept = [
        format!("{KEY_SECRET}: {KEY_ENTRY}"),
        format!("{KEYS_CONFIG_MAP}: key-id"),
        format!("{}: {}", config_map("pod"), data_key("volume", &log)),
    ];
    assert_eq!(listed("The audit's objects in the cluster"), BTreeSet::from(kept));
}
