//! The simulators' control APIs, as the tests use them.

use anyhow::Context as _;
use reqwest::Client;
use serde_json::Value;

/// One running simulator.
#[derive(Clone)]
pub struct Simulator {
    /// HTTP client that trusts the simulator.
    pub http: Client,
    /// Origin, without a slash at the end.
    pub origin: String,
}

impl Simulator {
    /// Answer of a control call.
    ///
    /// # Errors
    /// When the simulator does not answer with JSON.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.http.get(format!("{}{path}", self.origin)).send().await?.error_for_status()?;
        answer.json().await.with_context(|| format!("GET {path}"))
    }

    /// Sends a control call with a JSON body.
    ///
    /// # Errors
    /// When the simulator refuses it.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.http.post(format!("{}{path}", self.origin)).json(body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        anyhow::ensure!(status.is_success(), "POST {path}: {status} {text}");
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Every request that the simulator received, oldest first.
    ///
    /// # Errors
    /// When the simulator does not answer.
    pub async fn requests(&self) -> anyhow::Result<Vec<Value>> {
        let log = self.get("/_sim/requests").await?;
        list(&log, "requests").context("GET /_sim/requests holds no list")
    }

    /// The living subscriptions of the Graph simulator.
    ///
    /// # Errors
    /// When the simulator does not answer.
    pub async fn subscriptions(&self) -> anyhow::Result<Vec<Value>> {
        let log = self.get("/_sim/subscriptions").await?;
        list(&log, "subscriptions").context("GET /_sim/subscriptions holds no list")
    }

    /// How many living subscriptions the Graph simulator has for a user's calendar.
    ///
    /// # Errors
    /// When the simulator does not answer.
    pub async fn subscriptions_of(&self, user_id: &str) -> anyhow::Result<usize> {
        let all = self.subscriptions().await?;
        Ok(all.iter().filter(|one| one.to_string().contains(user_id)).count())
    }
}

/// A list that stands alone, or under `name`, or under `value`.
fn list(answer: &Value, name: &str) -> Option<Vec<Value>> {
    answer
        .as_array()
        .or_else(|| answer.get(name).and_then(Value::as_array))
        .or_else(|| answer.get("value").and_then(Value::as_array))
        .cloned()
}
