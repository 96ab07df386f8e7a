//! How members of a group are shown: one type after a cast, a mix without.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{groups, store::Member, users, users::Access};
use crate::{
    errors::GraphError,
    graph::Call,
    metadata::{GROUP_LINKS, GROUP_PROPERTIES, USER_LINKS, USER_PROPERTIES},
    odata::select,
    route::Cast,
};

impl Member {
    pub(super) fn id(&self) -> Uuid {
        match self {
            Self::User(user) => user.id,
            Self::Group(group) => group.id,
        }
    }
}

/// Which members are shown, and what of them.
pub(super) struct Columns {
    cast: Cast,
    selected: Option<Vec<&'static str>>,
    access: Access,
}

impl Columns {
    pub(super) fn of(call: &Call<'_>, cast: Cast) -> Result<Self, GraphError> {
        let selected = match cast {
            Cast::User => users::selected(call)?,
            Cast::Group => {
                select(&call.query, "group", groups::properties(), &[GROUP_PROPERTIES, GROUP_LINKS])?
            }
            // Of a mix, what either type has can be selected.
            Cast::None => {
                let mut known = groups::properties().to_vec();
                known.extend(users::defaults());
                known.extend(["accountEnabled", "otherMails", "userType"]);
                let graphs = [USER_PROPERTIES, USER_LINKS, GROUP_PROPERTIES, GROUP_LINKS];
                select(&call.query, "directoryObject", &known, &graphs)?
            }
        };
        Ok(Self { cast, selected, access: users::access(call) })
    }

    pub(super) fn admit(&self, member: &Member) -> bool {
        match self.cast {
            Cast::None => true,
            Cast::User => matches!(member, Member::User(_)),
            Cast::Group => matches!(member, Member::Group(_)),
        }
    }

    pub(super) fn context(&self, call: &Call<'_>) -> String {
        let set = match self.cast {
            Cast::None => "directoryObjects",
            Cast::User => "users",
            Cast::Group => "groups",
        };
        match &self.selected {
            Some(selected) => call.context(&format!("{set}({})", selected.join(","))),
            None => call.context(set),
        }
    }

    pub(super) fn render(&self, member: &Member) -> Value {
        let (kind, mut object) = match member {
            Member::User(user) => {
                let properties = self.properties(users::defaults(), users::is_known);
                ("#microsoft.graph.user", users::render(user, &properties, self.access))
            }
            Member::Group(group) => {
                let known = |property: &str| groups::properties().contains(&property);
                (
                    "#microsoft.graph.group",
                    groups::render(group, &self.properties(groups::properties(), known)),
                )
            }
        };
        if self.cast == Cast::None {
            let mut typed = Map::new();
            typed.insert("@odata.type".to_owned(), json!(kind));
            // Without permission on the member's type its id is there all the same.
            typed.insert("id".to_owned(), json!(member.id()));
            typed.append(&mut object);
            object = typed;
        }
        Value::Object(object)
    }

    fn properties(&self, defaults: &[&'static str], known: impl Fn(&str) -> bool) -> Vec<&'static str> {
        match &self.selected {
            Some(selected) => selected.iter().copied().filter(|property| known(property)).collect(),
            None => defaults.to_vec(),
        }
    }
}
