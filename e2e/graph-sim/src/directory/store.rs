//! What the directory holds.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use crate::{
    odata::guid,
    world::{AppRegistration, Group, User, World},
};

pub(crate) type Application = AppRegistration;

#[derive(Debug)]
struct Tenant {
    apps: HashMap<Uuid, Arc<Application>>,
    users: HashMap<Uuid, Arc<User>>,
    /// By principal name, in lower case.
    by_name: HashMap<String, Uuid>,
    /// By address, in lower case.
    by_address: HashMap<String, Uuid>,
    groups: HashMap<Uuid, (Arc<Group>, BTreeSet<Uuid>)>,
}

#[derive(Debug)]
pub(crate) struct Directory {
    tenants: HashMap<Uuid, Tenant>,
    by_domain: HashMap<String, Uuid>,
}

/// Why a membership was not changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MemberFault {
    NoGroup,
    NoObject,
    AlreadyMember,
    NotMember,
}

/// An object of a group.
#[derive(Clone, Debug)]
pub(crate) enum Member {
    User(Arc<User>),
    Group(Arc<Group>),
}

impl Directory {
    pub(crate) fn new(world: World) -> Self {
        let mut directory = Self { tenants: HashMap::new(), by_domain: HashMap::new() };
        for tenant in world.tenants {
            let mut new = Tenant {
                apps: tenant.apps.into_iter().map(|app| (app.client_id, Arc::new(app))).collect(),
                users: HashMap::new(),
                by_name: HashMap::new(),
                by_address: HashMap::new(),
                groups: HashMap::new(),
            };
            for user in tenant.users {
                new.by_name.insert(user.user_principal_name.to_ascii_lowercase(), user.id);
                new.by_address.insert(user.address().to_ascii_lowercase(), user.id);
                new.users.insert(user.id, Arc::new(user));
            }
            for mut group in tenant.groups {
                let members = std::mem::take(&mut group.members).into_iter().collect();
                new.groups.insert(group.id, (Arc::new(group), members));
            }
            directory.by_domain.insert(tenant.domain.to_ascii_lowercase(), tenant.id);
            directory.tenants.insert(tenant.id, new);
        }
        directory
    }

    /// A tenant by its id or domain.
    pub(crate) fn tenant_named(&self, name: &str) -> Option<Uuid> {
        match guid(name) {
            Some(id) => self.tenants.contains_key(&id).then_some(id),
            None => self.by_domain.get(&name.to_ascii_lowercase()).copied(),
        }
    }

    pub(crate) fn application(&self, tenant: Uuid, client_id: Uuid) -> Option<Arc<Application>> {
        self.tenants.get(&tenant)?.apps.get(&client_id).cloned()
    }

    pub(crate) fn user(&self, tenant: Uuid, id: Uuid) -> Option<Arc<User>> {
        self.tenants.get(&tenant)?.users.get(&id).cloned()
    }

    /// A user by object id or principal name.
    pub(crate) fn user_named(&self, tenant: Uuid, key: &str) -> Option<Arc<User>> {
        let by_name =
            |name: &str| self.tenants.get(&tenant)?.by_name.get(&name.to_ascii_lowercase()).copied();
        let id = guid(key).or_else(|| by_name(key))?;
        self.user(tenant, id)
    }

    /// The user whose mailbox has that address.
    pub(crate) fn mailbox_at(&self, tenant: Uuid, address: &str) -> Option<Arc<User>> {
        let tenant = self.tenants.get(&tenant)?;
        let address = address.to_ascii_lowercase();
        let id = tenant.by_address.get(&address).or_else(|| tenant.by_name.get(&address))?;
        tenant.users.get(id).filter(|user| user.mailbox).cloned()
    }

    /// All users of a tenant, by id.
    pub(crate) fn users(&self, tenant: Uuid) -> Vec<Arc<User>> {
        let mut users: Vec<_> =
            self.tenants.get(&tenant).into_iter().flat_map(|tenant| tenant.users.values().cloned()).collect();
        users.sort_unstable_by_key(|user| user.id);
        users
    }

    pub(crate) fn group(&self, tenant: Uuid, id: Uuid) -> Option<Arc<Group>> {
        Some(Arc::clone(&self.tenants.get(&tenant)?.groups.get(&id)?.0))
    }

    /// Members of a group by id, the groups within it included and, where asked, what those hold.
    pub(crate) fn members(&self, tenant: Uuid, group: Uuid, transitive: bool) -> Option<Vec<Member>> {
        let tenant = self.tenants.get(&tenant)?;
        let (_, direct) = tenant.groups.get(&group)?;
        let mut all = direct.clone();
        let mut open: Vec<Uuid> = direct.iter().copied().filter(|_| transitive).collect();
        while let Some(id) = open.pop() {
            for member in tenant.groups.get(&id).into_iter().flat_map(|(_, members)| members) {
                if *member != group && all.insert(*member) {
                    open.push(*member);
                }
            }
        }
        let object = |id: Uuid| {
            let user = tenant.users.get(&id).cloned().map(Member::User);
            user.or_else(|| tenant.groups.get(&id).map(|(group, _)| Member::Group(Arc::clone(group))))
        };
        Some(all.into_iter().filter_map(object).collect())
    }

    /// Changes an app registration; whether there is one. Tokens that were issued before keep what they say.
    pub(crate) fn change_application(
        &mut self,
        tenant: Uuid,
        client_id: Uuid,
        change: impl FnOnce(&mut Application),
    ) -> bool {
        let app = self.tenants.get_mut(&tenant).and_then(|tenant| tenant.apps.get_mut(&client_id));
        app.map(|app| change(Arc::make_mut(app))).is_some()
    }

    /// Gives a user a mailbox or takes it; whether there is such a user.
    pub(crate) fn set_mailbox(&mut self, id: Uuid, mailbox: bool) -> bool {
        let user = self.tenants.values_mut().find_map(|tenant| tenant.users.get_mut(&id));
        user.map(|user| Arc::make_mut(user).mailbox = mailbox).is_some()
    }

    /// Deletes a user, memberships included; whether there was one.
    pub(crate) fn delete_user(&mut self, id: Uuid) -> bool {
        let Some(tenant) = self.tenants.values_mut().find(|tenant| tenant.users.contains_key(&id)) else {
            return false;
        };
        tenant.by_name.retain(|_, user| *user != id);
        tenant.by_address.retain(|_, user| *user != id);
        for (_, members) in tenant.groups.values_mut() {
            members.remove(&id);
        }
        tenant.users.remove(&id).is_some()
    }

    pub(crate) fn add_member(&mut self, tenant: Uuid, group: Uuid, member: Uuid) -> Result<(), MemberFault> {
        let tenant = self.tenants.get_mut(&tenant).ok_or(MemberFault::NoGroup)?;
        let exists = tenant.users.contains_key(&member) || tenant.groups.contains_key(&member);
        let (_, members) = tenant.groups.get_mut(&group).ok_or(MemberFault::NoGroup)?;
        if !exists {
            return Err(MemberFault::NoObject);
        }
        if members.insert(member) { Ok(()) } else { Err(MemberFault::AlreadyMember) }
    }

    pub(crate) fn remove_member(
        &mut self,
        tenant: Uuid,
        group: Uuid,
        member: Uuid,
    ) -> Result<(), MemberFault> {
        let tenant = self.tenants.get_mut(&tenant).ok_or(MemberFault::NoGroup)?;
        let (_, members) = tenant.groups.get_mut(&group).ok_or(MemberFault::NoGroup)?;
        if members.remove(&member) { Ok(()) } else { Err(MemberFault::NotMember) }
    }
}

/// A GUID that is the same in every run for the same parts.
pub(crate) fn derived_id(parts: &[&str]) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(parts.join("\n")).into();
    let mut bytes = [0; 16];
    for (byte, from) in bytes.iter_mut().zip(digest) {
        *byte = from;
    }
    Builder::from_custom_bytes(bytes).into_uuid()
}
