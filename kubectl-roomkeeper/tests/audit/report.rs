//! `audit report`.

use std::fs;

use super::export::{Exported, OTHER, USER, json, plugin};

#[test]
fn every_access_to_one_persons_calendar_is_told_and_no_other() {
    let exported = Exported::new(false);
    let (code, answer) = json(&["audit", "report", USER, "rooms_contoso"], exported.folder.path());
    assert_eq!(code, 0);
    let told: Vec<_> = answer["accesses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (one["line"].as_u64().unwrap(), one["type"].as_str().unwrap(), one["what"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            (1, "consentGranted", "the user consented"),
            (2, "call", "ask Graph to tell of changes in the calendar"),
            (5, "notification", "Graph told of a change to an event"),
            (6, "call", "see whether an event carries the add-in's property"),
            (8, "call", "read a booked event"),
        ]
    );
    let read = &answer["accesses"][3];
    assert_eq!(
        read["fields"],
        serde_json::json!([
            "id",
            "iCalUId",
            "singleValueExtendedProperties(cecp-3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21)"
        ])
    );
    assert_eq!(
        (&read["writer"], &read["causedBy"]),
        (&"operator-0".into(), &"CalendarSubscription/rooms/user1".into())
    );
    assert_eq!(read["clientRequestId"], "00000000-0000-0000-0000-000000000006");
    assert_eq!(answer["accesses"][0]["causedBy"], "ConsentRecord/consent-1");
    let (_, answer) = json(&["audit", "report", OTHER, "rooms_contoso"], exported.folder.path());
    assert_eq!(answer["accesses"].as_array().unwrap().len(), 2);
}

#[test]
fn the_table_has_what_a_person_asks_for() {
    let exported = Exported::new(false);
    let (code, out, _) = plugin(
        &["audit", "report", USER, "--since", "2026-11-23T10:07:00Z", "rooms_contoso"],
        exported.folder.path(),
    );
    assert_eq!(code, 0);
    assert_eq!(
        out,
        format!(
            "TIME                   WRITER       LINE   WHAT FOR              FIELDS                 CAUSED BY                          ANSWER\n\
             2026-11-23T10:08:00Z   operator-0   8      read a booked event   id,subject,start,end   CalendarSubscription/rooms/user1   <none>\n\
             \n1 entries about {USER} since 2026-11-23T10:07:00Z. Lines are taken as they stand: `audit verify` proves them.\n"
        )
    );
}

#[test]
fn what_cannot_be_read_is_named_and_fails() {
    let exported = Exported::new(false);
    fs::write(exported.folder.path().join("x.jsonl"), "{\"number\":1}\n").unwrap();
    let (code, answer) = json(&["audit", "report", USER, "rooms_contoso", "x.jsonl"], exported.folder.path());
    assert_eq!(code, 6);
    assert_eq!(answer["notRead"], serde_json::json!(["x.jsonl:1"]));
    assert_eq!(answer["accesses"].as_array().unwrap().len(), 5);
}

#[test]
fn a_name_needs_the_cluster_and_says_what_needs_none() {
    let exported = Exported::new(false);
    let (code, _, err) =
        plugin(&["audit", "report", "user1@contoso.example", "rooms_contoso"], exported.folder.path());
    assert_eq!(code, 1);
    assert!(err.contains("give the object id to need none"), "{err}");
}
