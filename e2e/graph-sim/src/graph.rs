//! Graph's gateway: who calls, what, in which form; then the family of APIs that answers.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    app::App,
    batch, directory,
    errors::GraphError,
    events,
    journal::Ticket,
    login::{Caller, authenticate},
    odata::{Prefer, Query, asked},
    request::Request,
    resource_units,
    route::Route,
    subscriptions,
};

/// Content type of every JSON answer (graph-facts §11).
const JSON: &str =
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

/// A checked call.
pub(crate) struct Call<'a> {
    pub(crate) app: &'a Arc<App>,
    pub(crate) request: &'a Request,
    pub(crate) query: Query,
    pub(crate) prefer: Prefer,
    /// `ConsistencyLevel: eventual`.
    pub(crate) eventual: bool,
    pub(crate) caller: Caller,
}

impl Call<'_> {
    /// `{origin}/v1.0/$metadata#{fragment}`.
    pub(crate) fn context(&self, fragment: &str) -> String {
        format!("{}/v1.0/$metadata#{fragment}", self.request.origin)
    }
}

/// A successful answer.
pub(crate) struct Reply {
    status: StatusCode,
    body: Option<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Reply {
    pub(crate) fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body: Some(body), headers: Vec::new() }
    }

    pub(crate) fn created(body: Value) -> Self {
        Self { status: StatusCode::CREATED, body: Some(body), headers: Vec::new() }
    }

    pub(crate) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None, headers: Vec::new() }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }
}

/// Answers a request below `/v1.0`.
pub(crate) async fn answer(app: &Arc<App>, request: &Request, ticket: Ticket) -> Response {
    if batch::is_batch(request) {
        let result = batch::run(app, request, ticket).await;
        return respond(app, request.header("client-request-id"), result);
    }
    single(app, request, ticket).await
}

/// Answers a request that is no batch; a batch within a batch is refused.
pub(crate) async fn single(app: &Arc<App>, request: &Request, ticket: Ticket) -> Response {
    let result = dispatch(app, request, ticket).await;
    respond(app, request.header("client-request-id"), result)
}

/// Adds what every answer has, error or not.
pub(crate) fn respond(
    app: &App,
    client_request_id: Option<&str>,
    result: Result<Reply, GraphError>,
) -> Response {
    let request_id = Uuid::new_v4();
    let client_request_id = client_request_id.map_or_else(|| request_id.to_string(), str::to_owned);
    let reply = result.unwrap_or_else(|error| Reply {
        status: error.status,
        body: Some(error.body(app.clock.now(), request_id, &client_request_id)),
        headers: error.headers,
    });
    let mut response = match reply.body {
        Some(body) => {
            let mut response = (reply.status, body.to_string()).into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
            response
        }
        None => reply.status.into_response(),
    };
    let headers = response.headers_mut();
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    add("request-id", &request_id.to_string());
    add("client-request-id", &client_request_id);
    add("odata-version", "4.0");
    add("cache-control", "no-cache");
    add("strict-transport-security", "max-age=31536000");
    add(
        "x-ms-ags-diagnostic",
        r#"{"ServerInfo":{"DataCenter":"Simulated","Slice":"E","Ring":"1","ScaleUnit":"000","RoleInstance":"SIM"}}"#,
    );
    for (name, value) in reply.headers {
        response.headers_mut().insert(name, value);
    }
    response
}

async fn dispatch(app: &Arc<App>, request: &Request, ticket: Ticket) -> Result<Reply, GraphError> {
    let route = Route::parse(request.segments.get(1..).unwrap_or_default());
    let template = route.as_ref().map_or("(unknown)", Route::template);
    app.journal.routed(ticket, &request.method, template);
    asked::count_path(&app.journal, ticket, &request.segments);
    let caller = authenticate(app, request)?;
    app.journal.by(ticket, caller.tenant, caller.client_id);
    let route = route?;
    accept(request)?;
    conditions(request, &route)?;
    let query = request.query()?;
    asked::count_query(&app.journal, ticket, &route, &request.method, &query);
    let prefer = Prefer::parse(&request.headers)?;
    if prefer.minimal && !matches!((&request.method, &route), (&Method::PATCH, Route::Event { .. })) {
        return Err(GraphError::not_simulated("the preference 'return=minimal' for this request"));
    }
    let eventual = consistency(request)?;
    let call = Call { app, request, query, prefer, eventual, caller };
    if request.method == Method::GET || request.method == Method::DELETE {
        request.no_body()?;
    }
    let charge = resource_units::charge(&call, &route)?;
    let reply = match (&request.method, &route) {
        (&Method::GET, Route::Users) => directory::list_users(&call),
        (&Method::GET, Route::User(user)) => directory::get_user(&call, user),
        (&Method::GET, Route::Group(group)) => directory::get_group(&call, group),
        (&Method::GET, Route::Members { group, transitive, cast }) => {
            directory::list_members(&call, group, *transitive, *cast)
        }
        (&Method::POST, Route::MembersRef { group }) => directory::add_member(&call, group),
        (&Method::DELETE, Route::MemberRef { group, member }) => {
            directory::remove_member(&call, group, member)
        }
        (&Method::GET | &Method::POST, Route::Events { user, .. }) => events::collection(&call, user).await,
        (&Method::GET | &Method::PATCH | &Method::DELETE, Route::Event { user, id, calendar }) => {
            events::item(&call, user, id, *calendar).await
        }
        (&Method::GET, Route::Instances { user, id, .. }) => events::instances(&call, user, id).await,
        (&Method::GET, Route::CalendarView { user, .. }) => events::calendar_view(&call, user).await,
        (&Method::GET, Route::CalendarViewDelta { user, .. }) => {
            events::calendar_view_delta(&call, user).await
        }
        (&Method::POST, Route::Subscriptions) => subscriptions::create(&call).await,
        (&Method::GET, Route::Subscriptions) => subscriptions::list(&call),
        (&Method::GET, Route::Subscription(id)) => subscriptions::get(&call, id),
        (&Method::PATCH, Route::Subscription(id)) => subscriptions::update(&call, id).await,
        (&Method::DELETE, Route::Subscription(id)) => subscriptions::delete(&call, id),
        (&Method::POST, Route::Reauthorize(id)) => subscriptions::reauthorize(&call, id),
        (method, route) if route.lacks(method) => {
            Err(GraphError::not_simulated(&format!("{method} {}", route.template())))
        }
        _ => Err(GraphError::method_not_allowed(route.allow())),
    };
    let mut reply = reply?;
    if let Some(body) = reply.body.as_mut().filter(|_| route.selectable(&request.method)) {
        app.faults.leak(body);
    }
    Ok(charge.tell(reply))
}

/// JSON with minimal metadata is all there is.
fn accept(request: &Request) -> Result<(), GraphError> {
    let all: Vec<&str> = request
        .headers
        .get_all(header::ACCEPT)
        .iter()
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    let accept = all.join(", ").to_ascii_lowercase();
    let mut is_graphs = false;
    for one in accept.split(',') {
        let mut parts = one.split(';').map(str::trim);
        if !matches!(parts.next(), Some("" | "application/json" | "application/*" | "*/*")) {
            continue;
        }
        match parts.find(|part| !is_given(part)) {
            None => return Ok(()),
            Some("odata.metadata=full" | "odata.metadata=none" | "ieee754compatible=true") => {
                is_graphs = true;
            }
            Some(_) => {}
        }
    }
    if is_graphs {
        return Err(GraphError::not_simulated(&format!("the form '{accept}' of answers")));
    }
    Err(GraphError::new(
        StatusCode::NOT_ACCEPTABLE,
        "NotAcceptable",
        format!("The media type '{accept}' is not supported. Use application/json."),
    ))
}

/// Conditions are followed where an event is written.
fn conditions(request: &Request, route: &Route) -> Result<(), GraphError> {
    let writes = route.is_event() && matches!(request.method, Method::PATCH | Method::DELETE);
    if request.header("if-none-match").is_some() {
        return Err(GraphError::not_simulated("the header If-None-Match"));
    }
    if request.header("if-match").is_some() && !writes {
        return Err(GraphError::not_simulated("the header If-Match here"));
    }
    Ok(())
}

/// Whether answers have that parameter anyway, or it says nothing about their form.
fn is_given(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    match name {
        "odata.metadata" => value == "minimal",
        "ieee754compatible" => value == "false",
        "odata.streaming" => matches!(value, "true" | "false"),
        "charset" => value == "utf-8",
        "q" => true,
        _ => false,
    }
}

fn consistency(request: &Request) -> Result<bool, GraphError> {
    match request.header("consistencylevel") {
        None => Ok(false),
        Some(level) if level.eq_ignore_ascii_case("eventual") => Ok(true),
        Some(level) => Err(GraphError::bad_request(format!(
            "The value '{level}' of the header ConsistencyLevel is not supported. Use 'eventual'."
        ))),
    }
}
