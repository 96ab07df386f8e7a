//! The world that the Graph simulator starts with.

use least_data::canary;
use roomkeeper_crds::{ConsentRecord, name};
use serde_json::{Value, json};

/// Tenant of the examples.
pub const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
/// Roomkeeper's app registration in the examples.
pub const CLIENT: &str = "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11";
/// Roomkeeper's client secret, which stands where the examples have a short one.
pub const CLIENT_SECRET: &str = canary::CLIENT_SECRET;
/// App registration through which people's Outlook changes calendars and their administrator changes groups.
pub const OUTLOOK_CLIENT: &str = "c5c0f9d1-58a2-4b7b-8a3e-4f0d8a1f5b02";
/// Client secret of that app registration.
pub const OUTLOOK_SECRET: &str = "outlook";
/// Group whose members are within the scope.
pub const GROUP: &str = "5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10";
/// Manifest id of the add-in in the examples.
pub const MANIFEST: &str = "3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21";
/// Audience of the add-in's tokens in the examples.
pub const ADD_IN_AUDIENCE: &str = "1d9d3c55-7a0e-4d0b-8c39-5a3f6f1b2c77";
/// Object id of the first user.
pub const USER_1: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
/// Object id of the second user.
pub const USER_2: &str = "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0";

/// User principal name of a user of the world: `user1@contoso.example`, …
pub fn principal_name(number: usize) -> String {
    format!("user{number}@contoso.example")
}

/// Object id of a user of the world, counted from 1.
pub fn user_id(number: usize) -> String {
    match number {
        1 => USER_1.to_owned(),
        2 => USER_2.to_owned(),
        _ => format!("00000000-0000-4000-8000-{number:012}"),
    }
}

/// One tenant with `users` users, all of them members of the group, and the two app registrations.
pub fn contoso(users: usize) -> Value {
    let ids: Vec<String> = (1..=users).map(user_id).collect();
    let people: Vec<Value> = (1..=users)
        .map(|number| json!({"id": user_id(number), "userPrincipalName": principal_name(number), "displayName": format!("User {number}")}))
        .collect();
    json!({"tenants": [{
        "id": TENANT,
        "domain": "contoso.example",
        "apps": [
            {"clientId": CLIENT, "secret": CLIENT_SECRET, "roles": ["Calendars.Read", "Calendars.ReadWrite", "User.Read.All", "GroupMember.Read.All"]},
            {"clientId": OUTLOOK_CLIENT, "secret": OUTLOOK_SECRET, "roles": ["Calendars.ReadWrite", "GroupMember.ReadWrite.All"]},
        ],
        "users": people,
        "groups": [{"id": GROUP, "displayName": "Room pilot", "mailEnabled": true, "securityEnabled": true, "members": ids}],
    }]})
}

/// The consent of a user of the world to the AccessScope `contoso` of that uid, as the consent endpoint writes it.
///
/// # Errors
/// When the kind has changed and this was forgotten.
pub fn consent(number: usize, scope_uid: &str) -> anyhow::Result<ConsentRecord> {
    let user_id = user_id(number);
    Ok(serde_json::from_value(json!({
        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "ConsentRecord",
        "metadata": {"name": name::consent_record(scope_uid, &user_id, 0)},
        "spec": {
            "scope": {"name": "contoso", "uid": scope_uid, "tenantId": TENANT, "clientId": CLIENT},
            "user": {"id": user_id, "principalName": principal_name(number)},
            "granted": {"at": "2026-11-01T08:00:00Z", "method": "AddIn", "noticeVersion": "2026-01"},
        },
    }))?)
}

/// Id of the property that the add-in of the examples leaves on an event.
pub fn add_in_property() -> String {
    format!("String {{00020329-0000-0000-C000-000000000046}} Name cecp-{MANIFEST}")
}
