//! The tenant of the tests and the objects about it.

use serde_json::{Value, json};

pub const TENANT: &str = "7f1d0cb7-93b9-405a-8dad-c21703b7af18";
/// Client secret of that app registration.
pub const CLIENT_SECRET: &str = least_data::canary::CLIENT_SECRET;
pub const CLIENT: &str = "9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11";
pub const DIRECTORY_CLIENT: &str = "c5c0f9d1-58a2-4b7b-8a3e-4f0d8a1f5b02";
pub const GROUP: &str = "5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10";
pub const PLAIN_GROUP: &str = "8a6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10";
pub const USER: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
pub const PRINCIPAL: &str = "user1@contoso.example";

/// Object id of the user of that number, from 1.
pub fn user(number: usize) -> String {
    if number == 1 { USER.to_owned() } else { format!("00000000-0000-4000-8000-{number:012}") }
}

/// One tenant with that many users, all of them in the group.
pub fn tenant(users: usize) -> Value {
    let people: Vec<Value> = (1..=users)
        .map(|number| {
            json!({
                "id": user(number),
                "userPrincipalName": format!("user{number}@contoso.example"),
                "displayName": format!("User {number}"),
            })
        })
        .collect();
    let members: Vec<String> = (1..=users).map(user).collect();
    json!({"tenants": [{
        "id": TENANT,
        "domain": "contoso.example",
        "apps": [
            {"clientId": CLIENT, "secret": CLIENT_SECRET, "roles": ["Calendars.Read", "Calendars.ReadWrite", "User.Read.All", "GroupMember.Read.All"]},
            {"clientId": DIRECTORY_CLIENT, "secret": "directory", "roles": ["GroupMember.ReadWrite.All"]},
        ],
        "users": people,
        "groups": [
            {"id": GROUP, "displayName": "Room pilot", "mailEnabled": true, "securityEnabled": true, "members": members},
            {"id": PLAIN_GROUP, "displayName": "Team", "mailEnabled": false, "securityEnabled": true, "members": []},
        ],
    }]})
}

/// An AccessScope and its Secret.
pub fn scope(name: &str, origin: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: graph, namespace: NAMESPACE}}
stringData: {{clientSecret: {CLIENT_SECRET}}}
---
apiVersion: roomkeeper.dev/v1alpha1
kind: AccessScope
metadata: {{name: {name}, namespace: NAMESPACE}}
spec:
  tenantId: {TENANT}
  clientId: {CLIENT}
  endpoints: {{authority: \"{origin}\", graph: \"{origin}\"}}
  credentials: {{clientSecret: {{secretName: graph}}}}
  policies: [{{mode: RestrictAccess, groupId: {GROUP}}}]
  addIn: {{manifestId: 3f0c2c1e-8d0a-4b59-9a55-2f4b7c0d6e21, audience: addin}}
  consent: {{noticeVersion: \"2026-01\", createSubscriptions: true}}
"
    )
}

/// A consent of a user for the scope with that uid.
pub fn consent(name: &str, scope_uid: &str, number: usize) -> String {
    format!(
        "apiVersion: roomkeeper.dev/v1alpha1
kind: ConsentRecord
metadata: {{name: {name}, namespace: NAMESPACE}}
spec:
  scope: {{name: contoso, uid: {scope_uid}, tenantId: {TENANT}, clientId: {CLIENT}}}
  user: {{id: {}, principalName: user{number}@contoso.example}}
  granted: {{at: \"2026-11-23T09:30:00Z\", method: AddIn, noticeVersion: \"2026-01\"}}
",
        user(number)
    )
}

/// A CalendarSubscription that a person writes.
pub fn subscription(name: &str, user: &str) -> String {
    format!(
        "apiVersion: roomkeeper.dev/v1alpha1
kind: CalendarSubscription
metadata: {{name: {name}, namespace: NAMESPACE}}
spec: {{scopeRef: {{name: contoso}}, user: {user}, onDelete: KeepConsent}}
"
    )
}
