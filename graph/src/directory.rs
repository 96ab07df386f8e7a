//! Users and groups.

use std::fmt;

use crate::{
    answer::{MemberFault, Object},
    ids::{GroupId, UserId},
};

/// A user of the tenant.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Object id, the only name that is used from then on.
    pub id: UserId,
    /// Sign-in name; absent where the app may not read it.
    pub user_principal_name: Option<String>,
}

/// The sign-in name is personal and stays out of logs.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

impl User {
    pub(crate) fn read(object: &Object) -> Result<Self, MemberFault> {
        Ok(Self {
            id: object.parsed("id", "a GUID")?,
            user_principal_name: object.optional_text("userPrincipalName")?.map(str::to_owned),
        })
    }
}

/// A group of the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Object id.
    pub id: GroupId,
    /// Whether it has an address.
    pub mail_enabled: bool,
    /// Whether it can grant access.
    pub security_enabled: bool,
    /// `Unified` for Microsoft 365 groups, `DynamicMembership`.
    pub group_types: Vec<String>,
}

impl Group {
    pub(crate) fn read(object: &Object) -> Result<Self, MemberFault> {
        let group_types = object
            .list("groupTypes")?
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| MemberFault::not_a("groupTypes", "a list of texts"))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            id: object.parsed("id", "a GUID")?,
            // Null instead of a value is how Graph withholds it; guessing could admit an unfit group.
            mail_enabled: object.flag("mailEnabled")?,
            security_enabled: object.flag("securityEnabled")?,
            group_types,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        answer::{Shape, one},
        error::Problem,
    };

    #[test]
    fn a_group_needs_its_flags() {
        let group = |body: &str| Group::read(&one(body.as_bytes(), Shape::Group).unwrap().object);
        let read = group(
            r#"{"id":"5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10","mailEnabled":true,"securityEnabled":false,"groupTypes":["Unified"]}"#,
        )
        .unwrap();
        assert_eq!((read.mail_enabled, read.security_enabled), (true, false));
        assert_eq!(read.group_types, ["Unified"]);
        let fault = group(
            r#"{"id":"5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10","mailEnabled":null,"securityEnabled":true}"#,
        )
        .unwrap_err();
        assert_eq!(fault, MemberFault { member: "mailEnabled", problem: Problem::Missing });
    }

    #[test]
    fn a_user_shows_only_its_id_in_logs() {
        let body =
            br#"{"id":"2189c720-90d5-44ff-818b-fe585706ee90","userPrincipalName":"canary@contoso.example"}"#;
        let user = User::read(&one(body, Shape::User).unwrap().object).unwrap();
        assert_eq!(user.user_principal_name.as_deref(), Some("canary@contoso.example"));
        assert!(!format!("{user:?}").contains("canary"));
    }
}
