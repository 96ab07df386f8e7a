//! The add-in's property as its page, its schema and its parser have it: three times the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use jsonschema::Validator;
use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use roomkeeper_graph::ManifestId;
use roomkeeper_webhook_server::worker::add_in::{MAX_BYTES, parse};
use serde_json::{Map, Value, json};

fn document(file: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
    fs::read_to_string(docs.join(file)).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&document("add-in-property.schema.json")).unwrap()
}

fn booked(text: &str) -> Result<usize, String> {
    let manifest = ManifestId::parse("3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21").unwrap();
    parse(text, &manifest).map(|resources| resources.len()).map_err(|error| error.to_string())
}

/// The schema, and the three things that it cannot say.
struct Contract(Validator);

impl Contract {
    fn load() -> Self {
        let schema = schema();
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        Self(jsonschema::options().build(&schema).unwrap())
    }

    fn accepts(&self, text: &str) -> bool {
        if text.len() > MAX_BYTES {
            return false;
        }
        let Ok(value) = serde_json::from_str::<Value>(text) else { return false };
        if !self.0.is_valid(&value) {
            return false;
        }
        if ["version", "resources"].iter().all(|name| value[name].is_null()) {
            return true;
        }
        let Some(value) = unpacked(value) else { return false };
        self.0.is_valid(&value) && !names_an_id_twice(&value)
    }
}

/// With lists in place of texts of lists; `None` where a text holds something else.
fn unpacked(mut value: Value) -> Option<Value> {
    for name in ["attendees", "resources"] {
        match value[name].as_str() {
            None => {}
            Some("") => value[name] = json!([]),
            Some(text) => {
                let list: Value = serde_json::from_str(text).ok().filter(Value::is_array)?;
                value[name] = list;
            }
        }
    }
    Some(value)
}

fn names_an_id_twice(value: &Value) -> bool {
    let ids: Vec<&Value> =
        value["resources"].as_array().into_iter().flatten().map(|one| &one["id"]).collect();
    ids.iter().enumerate().any(|(at, id)| ids[..at].contains(id))
}

fn whole() -> Value {
    json!({
        "version": 1, "addInVersion": "1.4.0", "owner": "user1@contoso.example",
        "attendees": ["user2@contoso.example", "user3@contoso.example"],
        "resources": [
            {"id": "room-101", "location": "HQ 1.01", "capacity": 8, "attributes": ["screen", "phone"],
             "mailbox": "room101@contoso.example"},
            {"id": "desk-17"},
        ],
    })
}

fn with(member: &str, new: Value) -> String {
    let mut value = whole();
    value[member] = new;
    value.to_string()
}

fn room(member: &str, new: Value) -> String {
    let mut value = whole();
    value["resources"][0][member] = new;
    value.to_string()
}

#[test]
fn every_example_of_the_page_fits_the_schema_and_is_understood() {
    let (page, contract) = (document("add-in-property.md"), Contract::load());
    let blocks: Vec<&str> =
        page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 5);
    let counts: Vec<usize> = blocks
        .iter()
        .map(|block| {
            assert!(contract.accepts(block), "{block}");
            booked(block).unwrap_or_else(|error| panic!("{error}: {block}"))
        })
        .collect();
    assert_eq!(counts, [2, 2, 0, 0, 0], "two that book, three that do not");
}

#[test]
fn the_reasons_on_the_page_are_said_so() {
    let page = document("add-in-property.md");
    let reasons: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with("the "))
        .collect();
    let said = [room("location", "x".repeat(513).into()), with("version", json!(2))];
    assert_eq!(reasons, said.map(|value| booked(&value).unwrap_err()));
}

/// Members of the schema by the names that the page gives them, each with its own schema.
fn members(schema: &Value) -> BTreeMap<String, Value> {
    let defs = &schema["$defs"];
    let mut members = BTreeMap::new();
    let mut all = |prefix: &str, properties: &Value| {
        for (name, member) in properties.as_object().unwrap() {
            members.insert(format!("{prefix}{name}"), member.clone());
            if let Some(items) = member.get("items") {
                members.insert(format!("{prefix}{name}[]"), items.clone());
            }
        }
    };
    all("", &defs["booking"]["properties"]);
    all("resources[].", &defs["resources"]["items"]["properties"]);
    members.insert("attendees[]".to_owned(), defs["attendees"]["items"].clone());
    for list in ["attendees", "resources"] {
        members.insert(list.to_owned(), defs[list].clone());
    }
    members
}

#[test]
fn the_pages_table_has_the_schemas_members_and_limits() {
    let page = document("add-in-property.md");
    let section = page.split_once("## Members\n").unwrap().1.split("\n## ").next().unwrap();
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert!(rows.insert(cells[1].trim_matches('`').to_owned(), cells[3].to_owned()).is_none(), "{line}");
    }
    let limits: BTreeMap<String, String> = members(&schema())
        .into_iter()
        .map(|(name, member)| {
            let limit = |key: &str| member[key].as_u64();
            let limit = match (limit("maxItems"), limit("maxLength"), limit("minLength"), limit("maximum")) {
                (Some(most), ..) => format!("{most} entries"),
                (_, Some(most), Some(least), _) => format!("{least} to {most} characters"),
                (_, Some(most), None, _) => format!("{most} characters"),
                (.., Some(most)) => format!("{} to {most}", member["minimum"]),
                _ => "required".to_owned(),
            };
            (name, limit)
        })
        .collect();
    assert_eq!(rows, limits);
    assert!(page.contains(&format!("{MAX_BYTES} bytes of UTF-8")));
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn schema_and_parser_agree_on_a_table() {
    let contract = Contract::load();
    let many = |count: usize| Value::from(vec!["a"; count]);
    let rooms =
        |count: usize| (0..count).map(|number| json!({"id": format!("r{number}")})).collect::<Vec<_>>();
    let text = |count: usize| Value::from("é".repeat(count));
    let long = format!("{:<MAX_BYTES$}", whole().to_string());
    for (value, good) in [
        (whole().to_string(), true),
        ("{}".to_owned(), true),
        (json!({"theme": {"dark": true}, "owner": 7}).to_string(), true),
        (json!({"version": null, "resources": null, "attendees": 7}).to_string(), true),
        (json!({"version": 1}).to_string(), true),
        (json!({"resources": []}).to_string(), false),
        (String::new(), false),
        ("null".to_owned(), false),
        ("[]".to_owned(), false),
        (whole().to_string().replace('}', ""), false),
        (with("version", json!("1")), true),
        (with("version", json!(1.0)), true),
        (with("version", json!(2)), false),
        (with("version", json!("1.0")), false),
        (with("version", json!([1])), false),
        (with("version", json!(true)), false),
        (with("further", json!([{"a": null}])), true),
        (room("further", json!([{"a": null}])), true),
        (with("addInVersion", text(64)), true),
        (with("addInVersion", text(65)), false),
        (with("owner", json!("")), true),
        (with("owner", Value::Null), true),
        (with("owner", text(320)), true),
        (with("owner", text(321)), false),
        (with("owner", json!("a\u{7f}")), false),
        (with("owner", json!("a\n")), false),
        (with("owner", json!("a\u{0}")), false),
        (with("owner", json!("a\u{1f}")), false),
        (with("owner", json!("a\u{80}")), false),
        (with("owner", json!("a\u{9f}")), false),
        (with("owner", json!("a\u{a0}")), true),
        (with("owner", json!(["a"])), false),
        (with("attendees", Value::Null), true),
        (with("attendees", json!("")), true),
        (with("attendees", json!("[\"a\"]")), true),
        (with("attendees", json!("[7]")), false),
        (with("attendees", json!("a@contoso.example")), false),
        (with("attendees", json!("null")), false),
        (with("attendees", json!("\"[]\"")), false),
        (with("attendees", json!({})), false),
        (with("attendees", many(100)), true),
        (with("attendees", many(101)), false),
        (with("attendees", json!([text(320)])), true),
        (with("attendees", json!([text(321)])), false),
        (with("attendees", json!([""])), false),
        (with("attendees", json!([null])), false),
        (with("resources", json!("[]")), true),
        (with("resources", json!("[object Object]")), false),
        (with("resources", json!("[{\"id\":\"a\",\"capacity\":8}]")), true),
        (with("resources", json!("[{\"id\":\"a\",\"capacity\":\"8\"}]")), false),
        (with("resources", json!("[{\"id\":\"a\"},{\"id\":\"a\"}]")), false),
        (with("resources", rooms(20).into()), true),
        (with("resources", rooms(21).into()), false),
        (with("resources", json!([{"id": "a"}, {"id": "A"}])), true),
        (with("resources", json!([{"id": "a"}, {"id": "a"}])), false),
        (with("resources", json!([{}])), false),
        (with("resources", json!([null])), false),
        (with("resources", json!(["a"])), false),
        (with("resources", json!([["a"]])), false),
        (with("resources", json!(false)), false),
        (room("id", Value::Null), false),
        (room("id", json!("")), false),
        (room("id", json!(7)), false),
        (room("id", text(128)), true),
        (room("id", text(129)), false),
        (room("location", json!("")), true),
        (room("location", text(512)), true),
        (room("location", text(513)), false),
        (room("capacity", Value::Null), true),
        (room("capacity", json!(8.0)), true),
        (room("capacity", json!(-0.0)), true),
        (room("capacity", json!(8.5)), false),
        (room("capacity", json!("8")), false),
        (room("capacity", json!(0)), true),
        (room("capacity", json!(-1)), false),
        (room("capacity", json!(100_000)), true),
        (room("capacity", json!(100_001)), false),
        (room("capacity", json!(u64::MAX)), false),
        (room("attributes", Value::Null), true),
        (room("attributes", json!("[\"a\"]")), false),
        (room("attributes", json!([])), true),
        (room("attributes", many(50)), true),
        (room("attributes", many(51)), false),
        (room("attributes", json!([text(128)])), true),
        (room("attributes", json!([text(129)])), false),
        (room("attributes", json!([""])), false),
        (room("mailbox", text(320)), true),
        (room("mailbox", text(321)), false),
        (room("mailbox", json!({})), false),
        (format!("{long} "), false),
        (long, true),
    ] {
        let shown: String = value.chars().take(120).collect();
        assert_eq!(
            booked(&value).map(drop).map_err(|error| format!("{error}: {shown}")).is_ok(),
            good,
            "{shown}"
        );
        assert_eq!(contract.accepts(&value), good, "schema: {shown}");
    }
}

/// What is put in the place of some part of a value: of every type, and on both sides of every limit.
fn part() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        Just(json!(0)),
        Just(json!(1)),
        Just(json!(1.0)),
        Just(json!(1.5)),
        Just(json!(-1)),
        Just(json!(100_000)),
        Just(json!(100_001)),
        any::<f64>().prop_filter_map("JSON has no such number", |number| {
            serde_json::Number::from_f64(number).map(Value::Number)
        }),
    ];
    let near = prop::sample::select(vec![
        1_usize, 2, 20, 21, 50, 51, 64, 65, 100, 101, 128, 129, 320, 321, 512, 513,
    ]);
    let text = prop_oneof![
        Just(json!("")),
        Just(json!("1")),
        Just(json!("[]")),
        Just(json!("null")),
        ".{0,12}".prop_map(Value::from),
        near.clone().prop_map(|count| Value::from("x".repeat(count))),
        any::<char>().prop_map(|char| Value::from(format!("a{char}"))),
    ];
    let list = prop_oneof![
        Just(json!([])),
        near.prop_map(|count| Value::from(vec!["x"; count])),
        Just(json!([{"id": "a"}])),
        Just(json!([["a"]])),
    ];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        text,
        list,
        Just(json!({})),
        Just(json!({"id": "a"})),
    ]
}

#[derive(Clone, Debug)]
enum Change {
    /// Another value in the place of some part.
    Put(Index, Value),
    /// Some member or entry less.
    Remove(Index),
    /// A further member of some object.
    Add(Index, String, Value),
    /// Some list with so many times its first entry, told apart by their ids or not.
    Repeat(Index, usize, bool),
    /// A list as text.
    Pack(bool),
}

fn change() -> impl Strategy<Value = Change> {
    let count = prop::sample::select(vec![2_usize, 20, 21, 50, 51, 100, 101]);
    prop_oneof![
        6 => (any::<Index>(), part()).prop_map(|(at, part)| Change::Put(at, part)),
        2 => any::<Index>().prop_map(Change::Remove),
        2 => (any::<Index>(), "[a-z]{1,8}", part()).prop_map(|(at, name, part)| Change::Add(at, name, part)),
        3 => (any::<Index>(), count, any::<bool>()).prop_map(|(at, count, apart)| Change::Repeat(at, count, apart)),
        3 => any::<bool>().prop_map(Change::Pack),
    ]
}

/// Pointers to every part of a value that fits.
fn places(value: &Value, at: &str, fits: &dyn Fn(&Value) -> bool, found: &mut Vec<String>) {
    if fits(value) {
        found.push(at.to_owned());
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, &format!("{at}/{name}"), fits, found);
            }
        }
        Value::Array(entries) => {
            for (number, entry) in entries.iter().enumerate() {
                places(entry, &format!("{at}/{number}"), fits, found);
            }
        }
        _ => {}
    }
}

fn one_of(value: &Value, index: Index, fits: &dyn Fn(&Value) -> bool) -> Option<String> {
    let mut found = Vec::new();
    places(value, "", fits, &mut found);
    (!found.is_empty()).then(|| index.get(&found).clone())
}

fn changed(value: &mut Value, change: Change) {
    match change {
        Change::Put(at, part) => {
            if let Some(place) = one_of(value, at, &|_| true).and_then(|place| value.pointer_mut(&place)) {
                *place = part;
            }
        }
        Change::Remove(at) => {
            let Some(place) = one_of(value, at, &|_| true) else { return };
            let Some((parent, name)) = place.rsplit_once('/') else { return };
            match value.pointer_mut(parent) {
                Some(Value::Object(members)) => drop(members.remove(name)),
                Some(Value::Array(entries)) => drop(entries.remove(name.parse().unwrap())),
                _ => {}
            }
        }
        Change::Add(at, name, part) => {
            if let Some(place) = one_of(value, at, &Value::is_object) {
                value.pointer_mut(&place).unwrap()[name] = part;
            }
        }
        Change::Repeat(at, count, apart) => {
            let Some(place) = one_of(value, at, &Value::is_array) else { return };
            let list = value.pointer_mut(&place).unwrap().as_array_mut().unwrap();
            let Some(first) = list.first().cloned() else { return };
            *list = vec![first; count];
            for (number, entry) in list.iter_mut().enumerate().filter(|_| apart) {
                if entry.is_object() {
                    entry["id"] = json!(format!("r{number}"));
                }
            }
        }
        Change::Pack(resources) => {
            let name = if resources { "resources" } else { "attendees" };
            if let Some(list) = value.get_mut(name).filter(|list| list.is_array()) {
                *list = list.to_string().into();
            }
        }
    }
}

/// Each member there or not, alone and together, and up to three changes.
fn value() -> impl Strategy<Value = Value> {
    let kept = prop::collection::vec(prop::bool::weighted(0.9), whole().as_object().unwrap().len());
    (kept, prop::collection::vec(change(), 0..4)).prop_map(|(kept, changes)| {
        let Value::Object(members) = whole() else { unreachable!() };
        let members: Map<_, _> =
            members.into_iter().zip(kept).filter_map(|(member, kept)| kept.then_some(member)).collect();
        let mut value = Value::Object(members);
        for change in changes {
            changed(&mut value, change);
        }
        value
    })
}

#[test]
fn schema_and_parser_agree_on_whatever_is_written() {
    let contract = Contract::load();
    let (good, bad) = (Cell::new(0), Cell::new(0));
    let reasons = std::cell::RefCell::new(BTreeSet::new());
    let mut runner = TestRunner::new(Config { cases: 4_000, failure_persistence: None, ..Config::default() });
    runner
        .run(&value(), |value| {
            let text = value.to_string();
            let told = booked(&text);
            prop_assert_eq!(told.is_ok(), contract.accepts(&text), "{:?} {}", told, text);
            match told {
                Ok(_) => good.set(good.get() + 1),
                Err(reason) => {
                    bad.set(bad.get() + 1);
                    reasons.borrow_mut().insert(reason);
                }
            }
            Ok(())
        })
        .unwrap();
    // Values that are all right or all wrong, or wrong in one way, would prove nothing.
    assert!(good.get() > 800 && bad.get() > 800, "{} good, {} bad", good.get(), bad.get());
    assert!(reasons.borrow().len() > 15, "{:?}", reasons.borrow());
}
