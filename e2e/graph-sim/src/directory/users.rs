//! GET /users and /users/{id}.

use serde_json::{Map, Value, json};

use super::{DEFAULT_PAGE, LARGEST_PAGE, USER_ROLES, filter::Filter};
use crate::{
    app::lock,
    errors::GraphError,
    graph::{Call, Reply},
    metadata::{USER_LINKS, USER_PROPERTIES},
    odata::{PageToken, no_expansion, number, select},
    world::User,
};

/// Properties of the type that the simulator knows; the first eleven are what comes without `$select`.
const PROPERTIES: &[&str] = &[
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
    "id",
    "accountEnabled",
    "mailNickname",
    "otherMails",
    "proxyAddresses",
    "userType",
];
const BY_DEFAULT: usize = 11;

/// What `User.ReadBasic.All` lets an app read.
const BASIC: &[&str] = &["displayName", "givenName", "id", "mail", "surname", "userPrincipalName"];

/// How much of a user the caller may read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Only that it exists.
    Id,
    Basic,
    Full,
}

pub(super) fn access(call: &Call<'_>) -> Access {
    if call.caller.has_any(USER_ROLES) {
        Access::Full
    } else if call.caller.has_any(&["User.ReadBasic.All"]) {
        Access::Basic
    } else {
        Access::Id
    }
}

pub(super) fn selected(call: &Call<'_>) -> Result<Option<Vec<&'static str>>, GraphError> {
    select(&call.query, "user", PROPERTIES, &[USER_PROPERTIES, USER_LINKS])
}

pub(super) fn defaults() -> &'static [&'static str] {
    PROPERTIES.get(..BY_DEFAULT).unwrap_or(PROPERTIES)
}

pub(super) fn is_known(property: &str) -> bool {
    PROPERTIES.contains(&property)
}

/// The properties of a user; what the caller may not read is null.
pub(super) fn render(user: &User, properties: &[&'static str], access: Access) -> Map<String, Value> {
    let readable = |property: &str| match access {
        Access::Full => true,
        Access::Basic => BASIC.contains(&property),
        Access::Id => property == "id",
    };
    properties
        .iter()
        .map(|property| {
            let value = if readable(property) { value(user, property) } else { Value::Null };
            ((*property).to_owned(), value)
        })
        .collect()
}

pub(super) fn value(user: &User, property: &str) -> Value {
    let mail = user.mail.as_deref().or_else(|| user.mailbox.then_some(user.user_principal_name.as_str()));
    match property {
        "id" => json!(user.id),
        "displayName" => json!(user.display_name),
        "userPrincipalName" => json!(user.user_principal_name),
        "mail" => json!(mail),
        "mailNickname" => json!(user.user_principal_name.split('@').next()),
        "accountEnabled" => json!(user.account_enabled),
        "userType" => json!("Member"),
        "proxyAddresses" => json!(mail.map(|mail| format!("SMTP:{mail}")).into_iter().collect::<Vec<_>>()),
        "businessPhones" | "otherMails" => json!([]),
        _ => Value::Null,
    }
}

/// A directory read of what the role does not cover is refused, where the object itself is what was asked for.
fn allowed(call: &Call<'_>, selected: Option<&[&str]>) -> Result<Access, GraphError> {
    match access(call) {
        Access::Id => Err(GraphError::directory_denied()),
        Access::Basic if selected.is_some_and(|all| all.iter().any(|property| !BASIC.contains(property))) => {
            Err(GraphError::directory_denied())
        }
        access => Ok(access),
    }
}

fn context(call: &Call<'_>, selected: Option<&[&str]>, suffix: &str) -> String {
    match selected {
        Some(selected) => call.context(&format!("users({}){suffix}", selected.join(","))),
        None => call.context(&format!("users{suffix}")),
    }
}

pub(crate) fn get_user(call: &Call<'_>, key: &str) -> Result<Reply, GraphError> {
    call.query.only(&["$select", "$expand"])?;
    no_expansion(&call.query, "user", USER_LINKS)?;
    let selected = selected(call)?;
    let access = allowed(call, selected.as_deref())?;
    let user = lock(&call.app.directory)
        .user_named(call.caller.tenant, key)
        .ok_or_else(|| GraphError::resource_not_found(key))?;
    let mut body = render(&user, selected.as_deref().unwrap_or(defaults()), access);
    body.insert("@odata.context".to_owned(), context(call, selected.as_deref(), "/$entity").into());
    Ok(Reply::ok(Value::Object(body)))
}

pub(crate) fn list_users(call: &Call<'_>) -> Result<Reply, GraphError> {
    let graphs = ["$orderby", "$search", "$count"];
    call.query.only_or(&["$select", "$expand", "$filter", "$top", "$skiptoken"], &graphs)?;
    no_expansion(&call.query, "user", USER_LINKS)?;
    let selected = selected(call)?;
    let access = allowed(call, selected.as_deref())?;
    let filter = call.query.get("$filter").map(Filter::parse).transpose()?;
    let top = number(call, "$top", LARGEST_PAGE, 1)?.unwrap_or(DEFAULT_PAGE);
    let place = PageToken::read(call)?;
    let (after, size) = (place.after(), place.size(top));
    let users = lock(&call.app.directory).users(call.caller.tenant);
    let mut matching = users
        .iter()
        .filter(|user| filter.as_ref().is_none_or(|filter| filter.admits(user)))
        .filter(|user| after.is_none_or(|after| user.id.as_u128() > after))
        .peekable();
    let mut last = None;
    let mut page = Vec::new();
    while let Some(user) = matching.next_if(|_| page.len() < size) {
        last = Some(user.id.as_u128());
        page.push(Value::Object(render(user, selected.as_deref().unwrap_or(defaults()), access)));
    }
    let mut body = json!({"@odata.context": context(call, selected.as_deref(), ""), "value": page});
    let link = matching.peek().and_then(|_| place.link(call, last));
    if let (Some(link), Some(body)) = (link, body.as_object_mut()) {
        body.insert("@odata.nextLink".to_owned(), link.into());
    }
    Ok(Reply::ok(body))
}
