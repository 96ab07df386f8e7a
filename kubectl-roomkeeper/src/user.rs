//! Whom a command is about, and where the cluster knows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use kube::ResourceExt as _;
use roomkeeper_crds::{CalendarSubscription, ConsentRecord};

use crate::exit::Failure;

/// USER of the command line, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// Object id.
    Id(String),
    /// User principal name.
    Name(String),
}

/// Longest user principal name that the kinds take.
const NAME_LIMIT: usize = 320;

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.to_lowercase();
        let groups: Vec<&str> = text.split('-').collect();
        let is_id = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
            && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if is_id {
            return Ok(Self::Id(text));
        }
        let parts: Vec<&str> = text.split('@').collect();
        let is_name = matches!(parts.as_slice(), [local, domain] if !local.is_empty() && !domain.is_empty())
            && text.len() <= NAME_LIMIT
            && !text.contains(|one: char| one.is_whitespace() || one.is_control() || "/?#\\".contains(one));
        if is_name {
            return Ok(Self::Name(text));
        }
        Err("write a user principal name such as user1@contoso.example, or an object id (GUID)".to_owned())
    }
}

impl User {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Id(text) | Self::Name(text) => text,
        }
    }
}

/// A user under one AccessScope.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: String,
    /// Name of the AccessScope.
    pub(crate) scope: String,
    /// Object ids; more than one where a name was given to another person.
    pub(crate) ids: BTreeSet<String>,
    pub(crate) consents: Vec<ConsentRecord>,
    pub(crate) subscriptions: Vec<CalendarSubscription>,
}

/// The places of a user, in order of namespace and scope.
pub(crate) fn places(
    user: &User,
    consents: &[ConsentRecord],
    subscriptions: &[CalendarSubscription],
    scope: Option<&str>,
) -> Vec<Place> {
    let (ids, names) = identities(user, consents, subscriptions);
    let wanted = |name: &str| scope.is_none_or(|scope| scope == name);
    let mut found: BTreeMap<(String, String), Place> = BTreeMap::new();
    for record in consents.iter().filter(|record| wanted(&record.spec.scope.name)) {
        let id = record.spec.user.id.to_lowercase();
        if ids.contains(&id) {
            let place = place(&mut found, record.namespace(), &record.spec.scope.name);
            place.ids.insert(id);
            place.consents.push(record.clone());
        }
    }
    for object in subscriptions.iter().filter(|object| wanted(&object.spec.scope_ref.name)) {
        let id = resolved(object);
        // A name that meanwhile belongs to somebody else has another id.
        let is_theirs = match &id {
            Some(id) => ids.contains(id),
            None => names.contains(&object.spec.user.to_lowercase()),
        };
        if is_theirs {
            let place = place(&mut found, object.namespace(), &object.spec.scope_ref.name);
            place.ids.extend(id);
            place.subscriptions.push(object.clone());
        }
    }
    found.into_values().collect()
}

fn place<'a>(
    found: &'a mut BTreeMap<(String, String), Place>,
    namespace: Option<String>,
    scope: &str,
) -> &'a mut Place {
    let key = (namespace.unwrap_or_default(), scope.to_owned());
    let (namespace, scope) = key.clone();
    found.entry(key).or_insert_with(|| Place {
        namespace,
        scope,
        ids: BTreeSet::new(),
        consents: Vec::new(),
        subscriptions: Vec::new(),
    })
}

/// The object id that a CalendarSubscription is about, once it is known.
fn resolved(object: &CalendarSubscription) -> Option<String> {
    if let Ok(User::Id(id)) = object.spec.user.parse() {
        return Some(id);
    }
    object.status.as_ref()?.user_id.as_ref().map(|id| id.to_lowercase())
}

/// The ids and names that the objects know a user by.
fn identities(
    user: &User,
    consents: &[ConsentRecord],
    subscriptions: &[CalendarSubscription],
) -> (BTreeSet<String>, BTreeSet<String>) {
    let known = consents
        .iter()
        .map(|record| (record.spec.user.principal_name.to_lowercase(), record.spec.user.id.to_lowercase()));
    match user {
        User::Id(id) => {
            let names = known.filter(|(_, one)| one == id).map(|(name, _)| name).collect();
            (BTreeSet::from([id.clone()]), names)
        }
        User::Name(name) => {
            let written = subscriptions.iter().filter(|object| object.spec.user.to_lowercase() == *name);
            let ids = known.filter(|(one, _)| one == name).map(|(_, id)| id);
            (ids.chain(written.filter_map(resolved)).collect(), BTreeSet::from([name.clone()]))
        }
    }
}

/// Of the places of a user the ones that a change is meant for.
///
/// # Errors
/// When there is none, or it is not clear which one, or which person, is meant.
pub(crate) fn meant(
    user: &User,
    places: Vec<Place>,
    every_scope: bool,
    within: &str,
) -> Result<Vec<Place>, Failure> {
    let ids: BTreeSet<&str> = places.iter().flat_map(|place| place.ids.iter().map(String::as_str)).collect();
    if places.is_empty() {
        return Err(Failure::NotFound(format!(
            "USER {}: no ConsentRecord and no CalendarSubscription of that user {within}: check the spelling and -n NAMESPACE (or -A)",
            user.as_str()
        )));
    }
    let same_place = places.iter().any(|place| place.ids.len() > 1);
    if same_place {
        let ids: Vec<&str> = ids.into_iter().collect();
        return Err(Failure::Ambiguous(format!(
            "USER {}: the name belongs to {} people, one after the other: give the object id, one of {}",
            user.as_str(),
            ids.len(),
            ids.join(", ")
        )));
    }
    if places.len() > 1 && !every_scope {
        let all: Vec<String> =
            places.iter().map(|place| format!("{}/{}", place.namespace, place.scope)).collect();
        return Err(Failure::Ambiguous(format!(
            "USER {}: known to {} AccessScopes ({}): choose one with -n NAMESPACE and --scope NAME, or all of them with --all-scopes",
            user.as_str(),
            all.len(),
            all.join(", ")
        )));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "2189c720-90d5-44ff-818b-fe585706ee90";
    const OTHER: &str = "6ea91a8d-e32e-41a1-b7bd-d2d185eed0e0";

    fn record(namespace: &str, scope: &str, id: &str, name: &str) -> ConsentRecord {
        serde_json::from_value(json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "ConsentRecord",
            "metadata": {"name": "consent", "namespace": namespace},
            "spec": {
                "scope": {"name": scope, "uid": "u", "tenantId": "t", "clientId": "c"},
                "user": {"id": id, "principalName": name},
                "granted": {"at": "2026-01-01T00:00:00Z", "method": "AddIn", "noticeVersion": "2026-01"},
            },
        }))
        .unwrap()
    }

    fn subscription(user: &str, id: Option<&str>) -> CalendarSubscription {
        serde_json::from_value(json!({
            "apiVersion": "roomkeeper.dev/v1alpha1", "kind": "CalendarSubscription",
            "metadata": {"name": "one", "namespace": "rooms"},
            "spec": {"scopeRef": {"name": "contoso"}, "user": user},
            "status": {"userId": id},
        }))
        .unwrap()
    }

    fn user(text: &str) -> User {
        text.parse().unwrap()
    }

    #[test]
    fn a_user_is_a_name_or_an_id_in_any_letter_case() {
        assert_eq!(user("User1@Contoso.example"), User::Name("user1@contoso.example".to_owned()));
        assert_eq!(user(&ID.to_uppercase()), User::Id(ID.to_owned()));
        for wrong in ["", "user1", "@contoso.example", "user1@", "a@b@c", "a b@c", "2189c720-90d5-44ff-818b"]
        {
            assert!(wrong.parse::<User>().unwrap_err().contains("user1@contoso.example"), "{wrong}");
        }
    }

    #[test]
    fn a_user_is_found_by_either_also_after_a_change_of_name() {
        let consents = [
            record("rooms", "contoso", ID, "Maiden@contoso.example"),
            record("rooms", "contoso", ID, "user1@contoso.example"),
            record("rooms", "contoso", OTHER, "user2@contoso.example"),
        ];
        let subscriptions = [subscription("maiden@contoso.example", None), subscription(OTHER, None)];
        for text in ["user1@contoso.example", "maiden@contoso.example", ID] {
            let found = places(&user(text), &consents, &subscriptions, None);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].consents.len(), 2, "{text}");
            assert_eq!(found[0].ids, BTreeSet::from([ID.to_owned()]));
        }
        let found = places(&user(ID), &consents, &subscriptions, None);
        assert_eq!(found[0].subscriptions.len(), 1, "by the name of an earlier consent");
        assert!(places(&user(ID), &consents, &subscriptions, Some("other")).is_empty());
        assert!(places(&user("user11@contoso.example"), &consents, &subscriptions, None).is_empty());
    }

    #[test]
    fn a_name_that_went_to_another_person_does_not_reach_the_first() {
        let consents = [record("rooms", "contoso", ID, "user1@contoso.example")];
        let subscriptions = [subscription("user1@contoso.example", Some(OTHER))];
        let found = places(&user(ID), &consents, &subscriptions, None);
        assert!(found[0].subscriptions.is_empty());
        let both = places(&user("user1@contoso.example"), &consents, &subscriptions, None);
        let refused = meant(&user("user1@contoso.example"), both, true, "here").unwrap_err().to_string();
        assert!(refused.contains(ID) && refused.contains(OTHER), "{refused}");
    }

    #[test]
    fn a_change_is_made_where_it_is_meant() {
        let consents = [
            record("rooms", "contoso", ID, "user1@contoso.example"),
            record("rooms", "fabrikam", ID, "user1@contoso.example"),
        ];
        let user = user("user1@contoso.example");
        let all = || places(&user, &consents, &[], None);
        let refused = meant(&user, all(), false, "here").unwrap_err();
        assert!(
            matches!(&refused, Failure::Ambiguous(text) if text.contains("rooms/contoso, rooms/fabrikam"))
        );
        assert_eq!(meant(&user, all(), true, "here").unwrap().len(), 2);
        assert!(matches!(meant(&user, Vec::new(), false, "in namespace x"), Err(Failure::NotFound(_))));
    }
}
