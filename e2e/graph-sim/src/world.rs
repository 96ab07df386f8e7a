//! The world file: what exists when the simulator starts.

mod application;

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    time::Duration,
};

use jiff::SignedDuration;
use serde::Deserialize;
use uuid::Uuid;

pub(crate) use self::application::AppRegistration;
use crate::{quota::Limits, request::is_own_origin, resource_units};

/// Application permissions that the simulator knows the effect of.
pub(crate) const ROLES: &[&str] = &[
    "Calendars.Read",
    "Calendars.ReadWrite",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "GroupMember.Read.All",
    "GroupMember.ReadWrite.All",
    "User.Read.All",
    "User.ReadBasic.All",
    "User.ReadWrite.All",
];

/// Longest life of an event subscription that clients report to be enforced, in minutes (graph-facts §1.3).
const SUBSCRIPTION_MAX_MINUTES: u32 = 10_070;
/// Life of an access token in the documentation's samples, in seconds (graph-facts §8).
const TOKEN_LIFETIME_SECONDS: u32 = 3_599;

/// Writes on subscriptions per app and tenant in 20 seconds (graph-facts §5).
const SUBSCRIPTION_WRITES: u32 = 1_000;
/// Calls on subscriptions per app and tenant in 20 seconds (graph-facts §5).
const SUBSCRIPTION_CALLS: u32 = 5_000;
/// Writes on subscriptions per tenant in 20 seconds (graph-facts §5).
const TENANT_SUBSCRIPTION_WRITES: u32 = 2_000;
/// Calls on subscriptions per tenant in 20 seconds (graph-facts §5).
const TENANT_SUBSCRIPTION_CALLS: u32 = 10_000;
/// Calls per app and mailbox in 10 minutes (graph-facts §5).
const MAILBOX_REQUESTS: u32 = 10_000;
/// How long notifications go on without the authorization that they need, in seconds: the internal token of a
/// subscription "generally expires within 1 hour" (graph-facts §3.2). That delivery then pauses for good is §4's;
/// when exactly is not documented.
const REAUTHORIZE_WITHIN_SECONDS: u32 = 3_600;
/// Notifications that wait for their endpoints, all together.
const NOTIFICATION_BACKLOG: u32 = 200_000;
/// Furthest that the simulator's clock may be off, in seconds: a year.
const LARGEST_OFFSET: i64 = 366 * 86_400;

fn limit(given: Option<u32>, documented: u32) -> usize {
    usize::try_from(given.unwrap_or(documented)).unwrap_or(usize::MAX)
}

/// Why a world file was refused.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// It is no YAML, or a member is missing, unknown or of another type.
    #[error("the world file: {0}")]
    Form(String),
    /// A value that cannot be.
    #[error("the world file: {field} is '{value}': {rule}")]
    Value {
        /// Which field.
        field: String,
        /// Its value.
        value: String,
        /// What it must be.
        rule: String,
    },
}

/// Tenants with apps, users and groups, and settings.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) settings: Settings,
}

/// What can be set for the whole simulator.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Subscriptions need `Calendars.Read` itself; `Calendars.ReadWrite` does not do (graph-facts §1.5).
    pub(crate) strict_subscription_role: bool,
    pub(crate) subscription_max_minutes: u32,
    pub(crate) token_lifetime_seconds: u32,
    pub(crate) limits: Limits,
    /// Resource units per app in 10 seconds, by tenant: they grow with the number of its users (graph-facts §5).
    resource_units: HashMap<Uuid, usize>,
    /// How long notifications go on without authorization.
    pub(crate) reauthorize_within: Duration,
    /// Notifications that may wait; beyond, they are dropped.
    pub(crate) notification_backlog: usize,
    /// How far the simulator's clock is ahead of the machine's; negative: behind.
    pub(crate) clock_offset: SignedDuration,
    /// Deleted events can be read by their immutable ids (graph-facts §6.2: these last while an item is in the mailbox).
    pub(crate) deleted_stay_readable: bool,
    /// Origins under which the simulator is reached beside its own, as where a port is forwarded to it.
    pub(crate) origins: Vec<String>,
}

impl Settings {
    /// Resource units that an app has in a tenant in 10 seconds.
    pub(crate) fn resource_units(&self, tenant: Uuid) -> usize {
        let by_size = self.resource_units.get(&tenant).copied();
        self.limits.resource_units.or(by_size).unwrap_or_else(|| resource_units::of_a_tenant(0))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    tenants: Vec<Tenant>,
    strict_subscription_role: Option<bool>,
    subscription_max_minutes: Option<u32>,
    token_lifetime_seconds: Option<u32>,
    subscription_writes_per_20s: Option<u32>,
    subscription_calls_per_20s: Option<u32>,
    tenant_subscription_writes_per_20s: Option<u32>,
    tenant_subscription_calls_per_20s: Option<u32>,
    mailbox_requests_per_10_min: Option<u32>,
    resource_units_per_10s: Option<u32>,
    reauthorize_within_seconds: Option<u32>,
    notification_backlog: Option<u32>,
    clock_offset_seconds: Option<i64>,
    #[serde(default)]
    deleted_stay_readable: bool,
    #[serde(default)]
    origins: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Tenant {
    pub(crate) id: Uuid,
    pub(crate) domain: String,
    #[serde(default)]
    pub(crate) apps: Vec<AppRegistration>,
    #[serde(default)]
    pub(crate) users: Vec<User>,
    #[serde(default)]
    pub(crate) groups: Vec<Group>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are Graph's")]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) user_principal_name: String,
    pub(crate) display_name: String,
    /// Address, where it is not the principal name.
    pub(crate) mail: Option<String>,
    #[serde(default = "yes")]
    pub(crate) mailbox: bool,
    #[serde(default = "yes")]
    pub(crate) account_enabled: bool,
}

impl User {
    /// Address of the mailbox.
    pub(crate) fn address(&self) -> &str {
        self.mail.as_deref().unwrap_or(&self.user_principal_name)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the names are Graph's")]
pub(crate) struct Group {
    pub(crate) id: Uuid,
    pub(crate) display_name: String,
    pub(crate) mail_enabled: bool,
    pub(crate) security_enabled: bool,
    #[serde(default)]
    pub(crate) group_types: Vec<String>,
    /// Users and groups.
    #[serde(default)]
    pub(crate) members: Vec<Uuid>,
}

fn yes() -> bool {
    true
}

impl World {
    /// Reads a world file. JSON is YAML too.
    ///
    /// # Errors
    /// With the place and the name of what is missing, unknown or wrong.
    pub fn from_yaml(text: &str) -> Result<Self, WorldError> {
        let mut file: File =
            serde_yaml::from_str(text).map_err(|error| WorldError::Form(error.to_string()))?;
        let mut tenants = HashSet::new();
        for (number, tenant) in file.tenants.iter_mut().enumerate() {
            tenant.check(&format!("tenants[{number}]"), &mut tenants)?;
        }
        let settings = Settings {
            strict_subscription_role: file.strict_subscription_role.unwrap_or(true),
            subscription_max_minutes: file.subscription_max_minutes.unwrap_or(SUBSCRIPTION_MAX_MINUTES),
            token_lifetime_seconds: file.token_lifetime_seconds.unwrap_or(TOKEN_LIFETIME_SECONDS),
            limits: Limits {
                subscription_writes: limit(file.subscription_writes_per_20s, SUBSCRIPTION_WRITES),
                subscription_calls: limit(file.subscription_calls_per_20s, SUBSCRIPTION_CALLS),
                tenant_subscription_writes: limit(
                    file.tenant_subscription_writes_per_20s,
                    TENANT_SUBSCRIPTION_WRITES,
                ),
                tenant_subscription_calls: limit(
                    file.tenant_subscription_calls_per_20s,
                    TENANT_SUBSCRIPTION_CALLS,
                ),
                mailbox_requests: limit(file.mailbox_requests_per_10_min, MAILBOX_REQUESTS),
                resource_units: file.resource_units_per_10s.map(|units| limit(Some(units), 0)),
            },
            resource_units: file
                .tenants
                .iter()
                .map(|tenant| (tenant.id, resource_units::of_a_tenant(tenant.users.len())))
                .collect(),
            reauthorize_within: Duration::from_secs(
                file.reauthorize_within_seconds.unwrap_or(REAUTHORIZE_WITHIN_SECONDS).into(),
            ),
            notification_backlog: limit(file.notification_backlog, NOTIFICATION_BACKLOG),
            clock_offset: SignedDuration::from_secs(file.clock_offset_seconds.unwrap_or(0)),
            deleted_stay_readable: file.deleted_stay_readable,
            origins: file.origins,
        };
        if settings.clock_offset.as_secs().unsigned_abs() > LARGEST_OFFSET.unsigned_abs() {
            let rule = format!("must be at most {LARGEST_OFFSET} seconds ahead or behind");
            return Err(wrong("clockOffsetSeconds", settings.clock_offset.as_secs(), rule));
        }
        // Requests under any other name are refused (the Host header is checked).
        if let Some(origin) = settings.origins.iter().find(|origin| !is_own_origin(origin)) {
            return Err(wrong(
                "origins",
                origin,
                "must be https, a loopback name and a port, such as https://localhost:9443",
            ));
        }
        if settings.subscription_max_minutes < 45 {
            let value = settings.subscription_max_minutes;
            return Err(wrong("subscriptionMaxMinutes", value, "must be at least 45, the shortest life"));
        }
        Ok(Self { tenants: file.tenants, settings })
    }
}

impl Tenant {
    fn check(&mut self, at: &str, seen: &mut HashSet<String>) -> Result<(), WorldError> {
        let mut new = |field: &str, value: String| {
            let new = seen.insert(value.to_ascii_lowercase());
            if new { Ok(()) } else { Err(wrong(format!("{at}.{field}"), value, "occurs twice")) }
        };
        new("id", self.id.to_string())?;
        new("domain", self.domain.clone())?;
        if !self.domain.contains('.') || self.domain.contains(['/', '@', ' ']) {
            return Err(wrong(format!("{at}.domain"), &self.domain, "must be a domain name"));
        }
        let (mut ids, mut names) = (HashSet::new(), HashSet::new());
        for (number, app) in self.apps.iter_mut().enumerate() {
            let at = format!("{at}.apps[{number}]");
            if !ids.insert(app.client_id) {
                return Err(wrong(format!("{at}.clientId"), app.client_id, "occurs twice"));
            }
            app.check(&at)?;
        }
        for (number, user) in self.users.iter().enumerate() {
            let at = format!("{at}.users[{number}]");
            if !ids.insert(user.id) {
                return Err(wrong(format!("{at}.id"), user.id, "occurs twice"));
            }
            let name = &user.user_principal_name;
            if name.split_once('@').is_none_or(|(local, domain)| local.is_empty() || domain.is_empty()) {
                return Err(wrong(format!("{at}.userPrincipalName"), name, "must be name@domain"));
            }
            if !names.insert(name.to_ascii_lowercase()) {
                return Err(wrong(format!("{at}.userPrincipalName"), name, "occurs twice"));
            }
        }
        for (number, group) in self.groups.iter().enumerate() {
            if !ids.insert(group.id) {
                return Err(wrong(format!("{at}.groups[{number}].id"), group.id, "occurs twice"));
            }
        }
        let objects: HashSet<Uuid> =
            self.users.iter().map(|user| user.id).chain(self.groups.iter().map(|group| group.id)).collect();
        for (number, group) in self.groups.iter().enumerate() {
            if let Some(stranger) = group.members.iter().find(|id| !objects.contains(id)) {
                let at = format!("{at}.groups[{number}].members");
                return Err(wrong(at, stranger, "is no user and no group of this tenant"));
            }
            let known = |kind: &&String| !matches!(kind.as_str(), "Unified" | "DynamicMembership");
            if let Some(kind) = group.group_types.iter().find(known) {
                let at = format!("{at}.groups[{number}].groupTypes");
                return Err(wrong(at, kind, "must be Unified or DynamicMembership"));
            }
        }
        Ok(())
    }
}

fn wrong(field: impl Into<String>, value: impl Display, rule: impl Into<String>) -> WorldError {
    WorldError::Value { field: field.into(), value: format!("{value}"), rule: rule.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORLD: &str = "
tenants:
- id: 7f1d0cb7-93b9-405a-8dad-c21703b7af18
  domain: contoso.example
  apps:   [{clientId: 9b0fbe07-0f3e-4f0f-8d6c-1c9f6f6c0a11, secret: demo, roles: [Calendars.Read, Calendars.ReadWrite, User.Read.All, GroupMember.Read.All]}]
  users:  [{id: 2189c720-90d5-44ff-818b-fe585706ee90, userPrincipalName: user1@contoso.example, displayName: User One}]
  groups: [{id: 5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10, displayName: Room pilot, mailEnabled: true, securityEnabled: true, members: [2189c720-90d5-44ff-818b-fe585706ee90]}]
";

    #[test]
    fn the_documented_world_is_read() {
        let world = World::from_yaml(WORLD).unwrap();
        let tenant = &world.tenants[0];
        assert_eq!(tenant.users[0].address(), "user1@contoso.example");
        assert!(tenant.users[0].mailbox && tenant.users[0].account_enabled);
        assert_eq!(world.settings.subscription_max_minutes, 10_070);
    }

    #[test]
    fn errors_name_the_field() {
        for (from, to, named) in [
            ("displayName: User One", "displayName: User One, shoeSize: 9", "shoeSize"),
            ("domain: contoso.example", "domain: contoso", "tenants[0].domain"),
            ("secret: demo", "secret: ''", "tenants[0].apps[0].secret"),
            ("roles: [Calendars.Read,", "roles: [Calendars.Write,", "'Calendars.Write'"),
            ("secret: demo, ", "", "secret"),
            ("user1@contoso.example", "user1", "tenants[0].users[0].userPrincipalName"),
            (
                "members: [2189c720-90d5-44ff-818b-fe585706ee90]",
                "members: [2189c720-90d5-44ff-818b-fe585706ee91]",
                "tenants[0].groups[0].members",
            ),
            ("id: 2189c720-90d5-44ff-818b-fe585706ee90", "id: nobody", "tenants[0].users[0]"),
            ("tenants:", "strictSubscriptionRole: maybe\ntenants:", "strictSubscriptionRole"),
            ("tenants:", "clockOffsetSeconds: 99999999999\ntenants:", "clockOffsetSeconds"),
            ("tenants:", "origins: ['https://graph.example']\ntenants:", "origins"),
            ("secret: demo", "secret: demo, secrets: [{value: x}]", "tenants[0].apps[0].secrets"),
            ("secret: demo", "secrets: [{value: ''}]", "tenants[0].apps[0].secrets[0]"),
            ("secret: demo", "secret: demo, redirectUris: [nowhere]", "tenants[0].apps[0].redirectUris[0]"),
            ("tenants:", "subscriptionMaxMinutes: 4\ntenants:", "subscriptionMaxMinutes"),
        ] {
            let text = WORLD.replacen(from, to, 1);
            assert_ne!(text, WORLD);
            let error = World::from_yaml(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{named}: {error}");
        }
    }
}
