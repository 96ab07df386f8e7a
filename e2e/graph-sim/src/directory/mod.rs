//! Users and groups.

mod filter;
mod groups;
mod members;
mod store;
mod users;

pub(crate) use self::{
    groups::{add_member, get_group, list_members, remove_member},
    store::{Application, Directory, derived_id},
    users::{get_user, list_users},
};

/// Largest page of the directory (graph-facts §10).
const LARGEST_PAGE: usize = 999;
/// Page without `$top`.
const DEFAULT_PAGE: usize = 100;

/// Roles by which a user's properties are readable.
const USER_ROLES: &[&str] =
    &["User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
/// Roles by which groups and their members are readable.
const GROUP_ROLES: &[&str] = &[
    "GroupMember.Read.All",
    "GroupMember.ReadWrite.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
/// Roles by which members of groups can be changed.
const MEMBER_WRITE_ROLES: &[&str] =
    &["GroupMember.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All"];
