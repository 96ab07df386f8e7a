//! Tenants with people who have all consented.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{Api, Client, ResourceExt as _, api::PostParams};
use roomkeeper_crds::{AccessScope, ConsentRecord};
use serde_json::{Value, json};

use crate::system::apply;

/// Where the scopes and everything about them is.
pub(super) const NAMESPACE: &str = "fortnight";

/// Longer than the two weeks.
const TOKEN_LIFE_SECONDS: u32 = 30 * 86_400;

/// Writes to the API server at the same time.
const AT_ONCE: usize = 16;

/// The tenants and how many mailboxes each has.
pub(super) struct People {
    tenants: Vec<(String, usize)>,
}

/// Somebody's mailbox.
#[derive(Debug)]
#[expect(clippy::struct_field_names, reason = "the names are Graph's")]
pub(super) struct Mailbox {
    pub(super) tenant_id: String,
    pub(super) client_id: String,
    pub(super) user_id: String,
}

impl People {
    /// Mailboxes shared out evenly.
    pub(super) fn new(tenants: usize, mailboxes: usize) -> Self {
        let share = |number: usize| mailboxes / tenants + usize::from(number < mailboxes % tenants);
        Self { tenants: (0..tenants).map(|number| (guid(1, number, 0), share(number))).collect() }
    }

    /// Everybody's mailbox.
    pub(super) fn mailboxes(&self) -> Vec<Mailbox> {
        let of = |(number, (tenant_id, mailboxes)): (usize, &(String, usize))| {
            let one = |user| Mailbox {
                tenant_id: tenant_id.clone(),
                client_id: guid(3, number, 0),
                user_id: guid(2, number, user),
            };
            (0..*mailboxes).map(one).collect::<Vec<_>>()
        };
        self.tenants.iter().enumerate().flat_map(of).collect()
    }

    /// The world of the Graph simulator.
    pub(super) fn world(&self) -> Value {
        let tenants: Vec<Value> = self
            .tenants
            .iter()
            .enumerate()
            .map(|(number, (id, mailboxes))| {
                let users: Vec<Value> = (0..*mailboxes)
                    .map(|user| {
                        json!({
                            "id": guid(2, number, user), "displayName": format!("User {user}"),
                            "userPrincipalName": principal_name(number, user),
                        })
                    })
                    .collect();
                let members: Vec<String> = (0..*mailboxes).map(|user| guid(2, number, user)).collect();
                json!({
                    "id": id,
                    "domain": format!("tenant{number}.example"),
                    "apps": [{"clientId": guid(3, number, 0), "secret": "demo",
                              "roles": ["Calendars.Read", "User.Read.All", "GroupMember.Read.All"]}],
                    "users": users,
                    "groups": [{"id": guid(4, number, 0), "displayName": "Pilot", "mailEnabled": true, "securityEnabled": true,
                                "members": members}],
                })
            })
            .collect();
        // The operator measures a token's life by a clock that does not go ahead, and takes only so many refusals in a minute
        // of it: an hour that passes in a second is none of its cases.
        json!({"tenants": tenants, "tokenLifetimeSeconds": TOKEN_LIFE_SECONDS})
    }

    /// Makes scopes and consents; the operator makes the rest from them. `roles` is the example that lets the daemons read the
    /// Secret.
    pub(super) async fn arrive(&self, client: &Client, origin: &str, roles: &str) -> anyhow::Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "contoso-graph", "namespace": NAMESPACE},
            "stringData": {"clientSecret": "demo"},
        });
        apply(client, &secret.to_string()).await?;
        apply(client, &roles.replace("namespace: contoso", &format!("namespace: {NAMESPACE}"))).await?;
        let scopes: Api<AccessScope> = Api::namespaced(client.clone(), NAMESPACE);
        let consents: Api<ConsentRecord> = Api::namespaced(client.clone(), NAMESPACE);
        for (number, (tenant, mailboxes)) in self.tenants.iter().enumerate() {
            let scope: AccessScope = serde_json::from_value(json!({
                "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "AccessScope",
                "metadata": {"name": format!("tenant{number}")},
                "spec": {
                    "tenantId": tenant, "clientId": guid(3, number, 0),
                    "endpoints": {"authority": origin, "graph": origin},
                    "credentials": {"clientSecret": {"secretName": "contoso-graph"}},
                    "policies": [{"mode": "RestrictAccess", "groupId": guid(4, number, 0)}],
                    "addIn": {"manifestId": crate::world::MANIFEST, "audience": crate::world::ADD_IN_AUDIENCE},
                    "consent": {"noticeVersion": "2026-01", "createSubscriptions": true},
                },
            }))?;
            let scope = scopes.create(&PostParams::default(), &scope).await?;
            let uid = scope.uid().unwrap_or_default();
            let records = (0..*mailboxes)
                .map(|user| {
                    let record = json!({
                        "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "ConsentRecord",
                        "metadata": {"name": format!("tenant{number}-user{user}")},
                        "spec": {
                            "scope": {"name": format!("tenant{number}"), "uid": uid, "tenantId": tenant, "clientId": guid(3, number, 0)},
                            "user": {"id": guid(2, number, user), "principalName": principal_name(number, user)},
                            "granted": {"at": "2026-11-01T08:00:00Z", "method": "AddIn", "noticeVersion": "2026-01"},
                        },
                    });
                    Ok(serde_json::from_value(record)?)
                })
                .collect::<anyhow::Result<Vec<ConsentRecord>>>()?;
            let (consents, params) = (&consents, &PostParams::default());
            stream::iter(records)
                .map(|record| async move { consents.create(params, &record).await.map(drop) })
                .buffer_unordered(AT_ONCE)
                .try_collect::<Vec<()>>()
                .await?;
        }
        Ok(())
    }
}

fn principal_name(tenant: usize, user: usize) -> String {
    format!("user{user}@tenant{tenant}.example")
}

/// A GUID of this kind of thing in that tenant.
fn guid(kind: usize, tenant: usize, number: usize) -> String {
    format!("{kind:08}-{tenant:04}-4000-8000-{number:012}")
}
