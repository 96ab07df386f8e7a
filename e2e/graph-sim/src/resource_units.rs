//! What calls on users and groups cost (graph-facts §5, "Identity"): resource units per app and tenant.

use http::{HeaderName, HeaderValue, Method};

use crate::{
    errors::GraphError,
    graph::{Call, Reply},
    odata::Query,
    route::Route,
};

const UNIT: &str = "x-ms-resource-unit";
const PERCENTAGE: &str = "x-ms-throttle-limit-percentage";
const SCOPE: HeaderName = HeaderName::from_static("x-ms-throttle-scope");
const INFORMATION: HeaderName = HeaderName::from_static("x-ms-throttle-information");

/// Share of the limit above which an answer says how much is used, in percent.
const TOLD_ABOVE: usize = 80;

/// Units of a tenant with that many users, per app in 10 seconds.
pub(crate) fn of_a_tenant(users: usize) -> usize {
    match users {
        0..50 => 3_500,
        50..=500 => 5_000,
        _ => 8_000,
    }
}

/// What a call was charged, for the headers of its answer.
#[derive(Debug, Default)]
pub(crate) struct Charge(Option<(usize, Option<String>)>);

impl Charge {
    /// Adds the headers.
    pub(crate) fn tell(self, reply: Reply) -> Reply {
        let Some((units, percentage)) = self.0 else { return reply };
        let reply = reply.with_header(UNIT, &units.to_string());
        match percentage {
            Some(percentage) => reply.with_header(PERCENTAGE, &percentage),
            None => reply,
        }
    }
}

/// Charges a call on users or groups; any other costs nothing here.
pub(crate) fn charge(call: &Call<'_>, route: &Route) -> Result<Charge, GraphError> {
    let Some(units) = cost(route, &call.request.method, &call.query) else {
        return Ok(Charge::default());
    };
    let (app, caller) = (call.app, &call.caller);
    let most = app.settings.resource_units(caller.tenant);
    let used = app.quota.resource_units((caller.tenant, caller.client_id), units, most, app.clock.now());
    let used = used.map_err(|error| {
        let scope = format!("Tenant_Application/ReadWrite/{}/{}", caller.client_id, caller.tenant);
        let error = error
            .with_header(HeaderName::from_static(UNIT), HeaderValue::from(units))
            .with_header(INFORMATION, HeaderValue::from_static("ResourceUnitLimitExceeded"));
        match HeaderValue::from_str(&scope) {
            Ok(scope) => error.with_header(SCOPE, scope),
            Err(_) => error,
        }
    })?;
    Ok(Charge(Some((units, percentage(used, most)))))
}

fn percentage(used: usize, most: usize) -> Option<String> {
    let percent = used.saturating_mul(100).checked_div(most)?;
    (percent > TOLD_ABOVE).then(|| format!("{}.{:02}", percent / 100, percent % 100))
}

fn cost(route: &Route, method: &Method, query: &Query) -> Option<usize> {
    let base = match route {
        Route::Users => 2,
        Route::Members { transitive: true, .. } => 5,
        Route::Members { .. } => 3,
        Route::User(_) | Route::Group(_) | Route::MembersRef { .. } | Route::MemberRef { .. } => 1,
        _ => return None,
    };
    if method != Method::GET {
        return Some(base);
    }
    let small = query.get("$top").and_then(|top| top.parse::<usize>().ok()).is_some_and(|top| top < 20);
    let less = usize::from(query.get("$select").is_some()) + usize::from(small);
    let more = usize::from(query.get("$expand").is_some());
    Some((base + more).saturating_sub(less).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_cost_what_the_table_says() {
        let group = || "g".to_owned();
        let members =
            |transitive| Route::Members { group: group(), transitive, cast: crate::route::Cast::User };
        let of = |route: &Route, options: &str| cost(route, &Method::GET, &Query::parse(options).unwrap());
        for (route, options, units) in [
            (members(true), "", 5),
            (members(true), "$select=id&$top=999", 4),
            (members(true), "$select=id&$top=19", 3),
            (members(false), "", 3),
            (members(false), "$expand=x", 4),
            (Route::Users, "", 2),
            (Route::Users, "$select=id&$top=1", 1),
            (Route::User(group()), "$select=id", 1),
            (Route::Group(group()), "", 1),
        ] {
            assert_eq!(of(&route, options), Some(units), "{route:?} {options:?}");
        }
        assert_eq!(of(&Route::Subscriptions, ""), None);
    }

    #[test]
    fn the_share_is_told_above_four_fifths() {
        assert_eq!(percentage(80, 100), None);
        assert_eq!(percentage(81, 100).as_deref(), Some("0.81"));
        assert_eq!(percentage(100, 100).as_deref(), Some("1.00"));
        assert_eq!(percentage(1, 0), None);
    }
}
