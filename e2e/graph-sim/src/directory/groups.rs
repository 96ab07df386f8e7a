//! GET /groups/{id}, and its members.

use http::StatusCode;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use super::{
    DEFAULT_PAGE, GROUP_ROLES, LARGEST_PAGE, MEMBER_WRITE_ROLES, members::Columns, store::MemberFault,
};
use crate::{
    app::lock,
    errors::GraphError,
    graph::{Call, Reply},
    metadata::{GROUP_LINKS, GROUP_PROPERTIES},
    odata::{Members, PageToken, guid, no_expansion, number, select},
    request::is_own_origin,
    route::Cast,
    world::Group,
};

/// Properties of the type that the simulator knows.
const PROPERTIES: &[&str] = &[
    "id",
    "deletedDateTime",
    "classification",
    "description",
    "displayName",
    "groupTypes",
    "mail",
    "mailEnabled",
    "mailNickname",
    "proxyAddresses",
    "securityEnabled",
    "visibility",
];

pub(super) fn properties() -> &'static [&'static str] {
    PROPERTIES
}

pub(super) fn render(group: &Group, properties: &[&'static str]) -> Map<String, Value> {
    properties.iter().map(|property| ((*property).to_owned(), value(group, property))).collect()
}

fn value(group: &Group, property: &str) -> Value {
    match property {
        "id" => json!(group.id),
        "displayName" => json!(group.display_name),
        "groupTypes" => json!(group.group_types),
        "mailEnabled" => json!(group.mail_enabled),
        "securityEnabled" => json!(group.security_enabled),
        "mailNickname" => json!(group.display_name.replace(' ', "-").to_ascii_lowercase()),
        "proxyAddresses" => json!([]),
        _ => Value::Null,
    }
}

fn group_id(key: &str) -> Result<Uuid, GraphError> {
    guid(key).ok_or_else(|| {
        GraphError::new(
            StatusCode::BAD_REQUEST,
            "Request_BadRequest",
            format!("Invalid object identifier '{key}'."),
        )
    })
}

pub(crate) fn get_group(call: &Call<'_>, key: &str) -> Result<Reply, GraphError> {
    call.query.only_or(&["$select", "$expand"], &[])?;
    no_expansion(&call.query, "group", GROUP_LINKS)?;
    let selected = select(&call.query, "group", PROPERTIES, &[GROUP_PROPERTIES, GROUP_LINKS])?;
    if !call.caller.has_any(GROUP_ROLES) {
        return Err(GraphError::directory_denied());
    }
    let id = group_id(key)?;
    let group = lock(&call.app.directory)
        .group(call.caller.tenant, id)
        .ok_or_else(|| GraphError::resource_not_found(key))?;
    let mut body = render(&group, selected.as_deref().unwrap_or(PROPERTIES));
    let fragment = match &selected {
        Some(selected) => format!("groups({})/$entity", selected.join(",")),
        None => "groups/$entity".to_owned(),
    };
    body.insert("@odata.context".to_owned(), call.context(&fragment).into());
    Ok(Reply::ok(Value::Object(body)))
}

pub(crate) fn list_members(
    call: &Call<'_>,
    key: &str,
    transitive: bool,
    cast: Cast,
) -> Result<Reply, GraphError> {
    let graphs = ["$filter", "$search", "$orderby", "$expand"];
    call.query.only_or(&["$select", "$count", "$top", "$skiptoken"], &graphs)?;
    let columns = Columns::of(call, cast)?;
    let count = call.query.flag("$count")?;
    if !call.caller.has_any(GROUP_ROLES) {
        return Err(GraphError::directory_denied());
    }
    if cast != Cast::None && !(call.eventual && count) {
        // graph-facts §10: the cast needs both, on every page.
        return Err(GraphError::unsupported_query(
            "Invalid search request. The request uses advanced query capabilities: it needs the header 'ConsistencyLevel: eventual' and $count=true.",
        ));
    }
    if count && !call.eventual {
        return Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "Request_BadRequest",
            "$count is not currently supported.",
        ));
    }
    let top = number(call, "$top", LARGEST_PAGE, 1)?.unwrap_or(DEFAULT_PAGE);
    let place = PageToken::read(call)?;
    let id = group_id(key)?;
    let all = lock(&call.app.directory)
        .members(call.caller.tenant, id, transitive)
        .ok_or_else(|| GraphError::resource_not_found(key))?;
    let all: Vec<_> = all.into_iter().filter(|member| columns.admit(member)).collect();
    let from = place.after().map_or(0, |after| all.partition_point(|member| member.id().as_u128() <= after));
    let page: Vec<_> = all.iter().skip(from).take(place.size(top)).collect();
    let more = from + page.len() < all.len();
    let mut body = json!({
        "@odata.context": columns.context(call),
        "value": page.iter().map(|member| columns.render(member)).collect::<Vec<_>>(),
    });
    if let Some(body) = body.as_object_mut() {
        if count && place.after().is_none() {
            body.insert("@odata.count".to_owned(), all.len().into());
        }
        if let Some(link) =
            more.then(|| place.link(call, page.last().map(|last| last.id().as_u128()))).flatten()
        {
            body.insert("@odata.nextLink".to_owned(), link.into());
        }
    }
    Ok(Reply::ok(body))
}

/// `POST /groups/{id}/members/$ref` with `{"@odata.id": …}`.
pub(crate) fn add_member(call: &Call<'_>, key: &str) -> Result<Reply, GraphError> {
    call.query.only(&[])?;
    if !call.caller.has_any(MEMBER_WRITE_ROLES) {
        return Err(GraphError::directory_denied());
    }
    let body = call.request.json()?;
    let mut members = Members::new(&body, "body", "referenceCreate")?;
    let Some(reference) = members.text("@odata.id")?.value() else {
        return Err(GraphError::bad_request("The property '@odata.id' is missing."));
    };
    members.end()?;
    let member = referenced(reference).ok_or_else(|| {
        GraphError::new(
            StatusCode::BAD_REQUEST,
            "Request_BadRequest",
            format!(
                "Unsupported referenced-object resource identifier '{reference}' for link property 'members'."
            ),
        )
    })?;
    let id = group_id(key)?;
    let result = lock(&call.app.directory).add_member(call.caller.tenant, id, member);
    changed(&result, key, member)
}

/// `DELETE /groups/{id}/members/{id}/$ref`.
pub(crate) fn remove_member(call: &Call<'_>, key: &str, member: &str) -> Result<Reply, GraphError> {
    call.query.only(&[])?;
    if !call.caller.has_any(MEMBER_WRITE_ROLES) {
        return Err(GraphError::directory_denied());
    }
    let (id, member) = (group_id(key)?, group_id(member)?);
    let result = lock(&call.app.directory).remove_member(call.caller.tenant, id, member);
    changed(&result, key, member)
}

fn changed(result: &Result<(), MemberFault>, group: &str, member: Uuid) -> Result<Reply, GraphError> {
    match result {
        Ok(()) => Ok(Reply::no_content()),
        Err(MemberFault::NoGroup) => Err(GraphError::resource_not_found(group)),
        Err(MemberFault::NoObject | MemberFault::NotMember) => {
            Err(GraphError::resource_not_found(&member.to_string()))
        }
        Err(MemberFault::AlreadyMember) => Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "Request_BadRequest",
            "One or more added object references already exist for the following modified properties: 'members'.",
        )),
    }
}

/// The object that `@odata.id` names: absolute at Graph or here, or relative to the version.
fn referenced(reference: &str) -> Option<Uuid> {
    let path = match Url::parse(reference) {
        Ok(url) => {
            let origin = url.origin().ascii_serialization();
            if origin != "https://graph.microsoft.com" && !is_own_origin(&origin) {
                return None;
            }
            url.path().strip_prefix("/v1.0/")?.to_owned()
        }
        Err(_) => reference.trim_start_matches('/').trim_start_matches("v1.0/").to_owned(),
    };
    let (collection, id) = path.split_once('/')?;
    let known =
        ["directoryObjects", "users", "groups"].iter().any(|name| collection.eq_ignore_ascii_case(name));
    guid(id).filter(|_| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_absolute_or_relative() {
        let id = "2189c720-90d5-44ff-818b-fe585706ee90";
        for good in [
            format!("https://graph.microsoft.com/v1.0/directoryObjects/{id}"),
            format!("https://127.0.0.1:8443/v1.0/users/{id}"),
            format!("directoryObjects/{id}"),
            format!("/v1.0/groups/{id}"),
        ] {
            assert_eq!(referenced(&good), Some(id.parse().unwrap()), "{good}");
        }
        for bad in [
            format!("https://graph.example/v1.0/users/{id}"),
            format!("https://graph.microsoft.com/beta/users/{id}"),
            format!("devices/{id}"),
            "users/nobody".to_owned(),
            id.to_owned(),
        ] {
            assert_eq!(referenced(&bad), None, "{bad}");
        }
    }
}
