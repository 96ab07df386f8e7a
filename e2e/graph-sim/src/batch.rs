//! `POST /$batch`: up to 20 requests in one body, each of them a request like any other (graph-facts §5).

use std::{collections::HashMap, sync::Arc};

use axum::body::{Bytes, to_bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    app::App,
    errors::GraphError,
    faults::Target,
    graph::{self, Reply},
    journal::{Arrival, Ticket},
    login::authenticate,
    request::Request,
};

/// Requests of one batch.
const MOST: usize = 20;
/// Requests of a batch that the service works on at a time.
const AT_ONCE: usize = 4;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payload {
    requests: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    id: String,
    method: String,
    url: String,
    #[serde(default)]
    headers: HashMap<String, String>,
    body: Option<Value>,
    #[serde(default)]
    depends_on: Vec<String>,
}

/// A step that can be carried out.
struct Ready {
    id: String,
    depends_on: Vec<String>,
    path: String,
    request: Request,
}

/// Whether the request is a batch.
pub(crate) fn is_batch(request: &Request) -> bool {
    matches!(request.segments.as_slice(), [_, only] if only.eq_ignore_ascii_case("$batch"))
}

/// Carries out a batch. What fails inside it fails there; the batch itself is answered with 200.
pub(crate) async fn run(app: &Arc<App>, outer: &Request, ticket: Ticket) -> Result<Reply, GraphError> {
    app.journal.routed(ticket, &outer.method, "/$batch");
    let caller = authenticate(app, outer)?;
    app.journal.by(ticket, caller.tenant, caller.client_id);
    if outer.method != Method::POST {
        return Err(GraphError::method_not_allowed("POST"));
    }
    outer.query()?.only(&[])?;
    let payload = outer.json()?;
    let count = payload.get("requests").and_then(Value::as_array).map_or(0, Vec::len);
    if count > MOST {
        return Err(GraphError::new(
            StatusCode::BAD_REQUEST,
            "MaximumValueExceeded",
            format!("Number of batch request steps exceeds the maximum value of {MOST}."),
        ));
    }
    let payload: Payload = serde_json::from_value(payload)
        .ok()
        .filter(|_| count > 0)
        .ok_or_else(|| GraphError::bad_request("Invalid batch payload format."))?;
    order(&payload.requests)?;
    let steps = payload.requests.into_iter().map(|step| ready(outer, step)).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::ok(json!({"responses": carry_out(app, steps).await})))
}

/// Ids are unique, and a batch is parallel (nothing depends), serial (each on the one before it), or all the rest depends
/// on one: Graph takes no other order.
fn order(steps: &[Step]) -> Result<(), GraphError> {
    for (number, step) in steps.iter().enumerate() {
        let before = steps.get(..number).unwrap_or_default();
        if step.id.is_empty() {
            return Err(GraphError::bad_request("Invalid batch payload format."));
        }
        if before.iter().any(|other| other.id.eq_ignore_ascii_case(&step.id)) {
            return Err(GraphError::bad_request(format!(
                "Request Id : {} has to be unique in a batch.",
                step.id
            )));
        }
        let known = |id: &String| before.iter().any(|other| other.id == *id);
        if !step.depends_on.iter().all(known) {
            return Err(GraphError::bad_request(format!("Invalid dependency for request Id: {}.", step.id)));
        }
    }
    let parallel = steps.iter().all(|step| step.depends_on.is_empty());
    let pairs = || steps.iter().zip(steps.iter().skip(1));
    let serial = pairs().all(|(before, step)| step.depends_on == [before.id.as_str()]);
    let first = steps.get(1).map(|second| &second.depends_on).filter(|all| all.len() == 1);
    let same = first.is_some_and(|first| pairs().all(|(_, step)| step.depends_on == *first));
    if parallel || serial || same {
        return Ok(());
    }
    Err(GraphError::bad_request("Batch should be either fully sequential or fully parallel."))
}

/// The step as a request of its own, with the batch's token.
fn ready(outer: &Request, step: Step) -> Result<Ready, GraphError> {
    let Step { id, method, url, headers, body, depends_on } = step;
    let invalid = |what: &str| GraphError::bad_request(format!("Invalid {what} for request Id: {id}."));
    let method = match method.to_ascii_uppercase().as_str() {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        "DELETE" => Method::DELETE,
        _ => return Err(invalid("method")),
    };
    // Relative to the version: no host, no version of its own.
    if url.is_empty() || url.contains("://") || url.starts_with("//") {
        return Err(invalid("URL"));
    }
    let path = format!("/v1.0/{}", url.strip_prefix('/').unwrap_or(&url));
    let uri: Uri = path.parse().map_err(|_| invalid("URL"))?;
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::try_from(name).map_err(|_| invalid("header"))?;
        if all.insert(name, HeaderValue::try_from(value).map_err(|_| invalid("header"))?).is_some() {
            return Err(invalid("header"));
        }
    }
    if body.is_some() && !all.contains_key(header::CONTENT_TYPE) {
        return Err(GraphError::bad_request(format!(
            "Write request id : {id} does not contain Content-Type header or body."
        )));
    }
    for name in [header::AUTHORIZATION, header::HOST] {
        all.remove(&name);
        if let Some(value) = outer.headers.get(&name) {
            all.insert(name, value.clone());
        }
    }
    let host = outer.origin.strip_prefix("https://").unwrap_or_default();
    all.insert(header::HOST, HeaderValue::from_str(host).map_err(|_| invalid("header"))?);
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = Request::new(method, &uri, all, body).map_err(|_| invalid("URL"))?;
    Ok(Ready { id, depends_on, path, request })
}

/// Responses in the order in which they were ready, which need not be that of the requests.
async fn carry_out(app: &Arc<App>, steps: Vec<Ready>) -> Vec<Value> {
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut waiting = steps;
    let mut succeeded: HashMap<String, bool> = HashMap::new();
    let mut running = JoinSet::new();
    let mut ids = HashMap::new();
    let mut responses = Vec::new();
    loop {
        let (now, later): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|step| step.depends_on.iter().all(|id| succeeded.contains_key(id)));
        waiting = later;
        let mut failed = false;
        for step in now {
            if step.depends_on.iter().all(|id| succeeded.get(id) == Some(&true)) {
                let (app, at_once) = (Arc::clone(app), Arc::clone(&at_once));
                let id = step.id.clone();
                let task = running.spawn(async move {
                    // The semaphore is never closed; without a place the step runs all the same.
                    let _place = at_once.acquire_owned().await;
                    one(&app, step).await
                });
                ids.insert(task.id(), id);
            } else {
                failed = true;
                responses.push(dependency_failed(&step.id));
                succeeded.insert(step.id, false);
            }
        }
        if failed {
            continue;
        }
        match running.join_next_with_id().await {
            None => return responses,
            Some(Ok((_, (id, status, response)))) => {
                succeeded.insert(id, status.is_success());
                responses.push(response);
            }
            Some(Err(error)) => {
                tracing::error!(%error, "a request of a batch was not answered");
                if let Some(id) = ids.remove(&error.id()) {
                    let status = StatusCode::INTERNAL_SERVER_ERROR;
                    responses.push(json!({"id": id, "status": status.as_u16()}));
                    succeeded.insert(id, false);
                }
            }
        }
    }
}

async fn one(app: &Arc<App>, step: Ready) -> (String, StatusCode, Value) {
    let Ready { id, path, request, .. } = step;
    let ticket = app.journal.arrived(&Arrival {
        time: app.clock.now(),
        method: &request.method,
        path: &path,
        client_request_id: request.header("client-request-id"),
        user_agent: request.header("user-agent"),
    });
    // The step as Graph itself would meet it, so that a batch is no way around what goes wrong.
    let target = Target::of(&request.method, &request.raw_path);
    let fault = app.faults.next_of_step(&target);
    let client_request_id = request.header("client-request-id");
    let response = match fault.and_then(|fault| fault.answer(app, &target, client_request_id)) {
        Some(response) => response,
        None => graph::single(app, &request, ticket).await,
    };
    let (parts, body) = response.into_parts();
    app.journal.answered(ticket, parts.status.as_u16());
    // The body is already in memory.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    let headers: Map<String, Value> = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.into())))
        .collect();
    let mut response = json!({"id": id, "status": parts.status.as_u16(), "headers": headers});
    if let (Ok(body), Some(response)) = (serde_json::from_slice::<Value>(&body), response.as_object_mut()) {
        response.insert("body".to_owned(), body);
    }
    (id, parts.status, response)
}

fn dependency_failed(id: &str) -> Value {
    json!({"id": id, "status": StatusCode::FAILED_DEPENDENCY.as_u16(), "body": {"error": {
        "code": "FailedDependency",
        "message": "The request failed because a request that it depends on failed.",
    }}})
}
