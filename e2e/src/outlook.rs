//! What people do in Outlook, and their administrator in the directory: changes through Graph's own API.

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use least_data::canary;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::world;

/// A signed-in Graph client of the tenant's people.
#[derive(Clone)]
pub struct Outlook {
    http: Client,
    origin: String,
    token: String,
}

/// A meeting to be put into a calendar.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// Subject.
    pub subject: String,
    /// Start.
    pub from: Timestamp,
    /// End.
    pub to: Timestamp,
    /// The spaces that the add-in adds; none for a meeting without booking.
    pub rooms: Vec<String>,
}

impl Outlook {
    /// Signs in at the simulator.
    ///
    /// # Errors
    /// When the simulator does not give a token.
    pub async fn sign_in(http: Client, origin: &str) -> anyhow::Result<Self> {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", world::OUTLOOK_CLIENT),
            ("client_secret", world::OUTLOOK_SECRET),
            ("scope", &format!("{origin}/.default")),
        ];
        let answer: Value = http
            .post(format!("{origin}/{}/oauth2/v2.0/token", world::TENANT))
            .form(&form)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        let token = answer.get("access_token").and_then(Value::as_str).context("no access_token")?.to_owned();
        Ok(Self { http, origin: origin.to_owned(), token })
    }

    /// Puts a meeting into a user's calendar and returns its immutable id.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn create(&self, user_id: &str, meeting: &Meeting) -> anyhow::Result<String> {
        let mut body = json!({
            "subject": meeting.subject,
            "start": date_time(meeting.from),
            "end": date_time(meeting.to),
            "attendees": [{"type": "required", "emailAddress": {"address": canary::ATTENDEE, "name": "Guest"}}],
            "body": {"contentType": "text", "content": canary::BODY},
        });
        if !meeting.rooms.is_empty()
            && let Some(body) = body.as_object_mut()
        {
            body.insert("singleValueExtendedProperties".to_owned(), json!([add_in_property(&meeting.rooms)]));
        }
        let event = self.call(Method::POST, &format!("users/{user_id}/events"), Some(&body)).await?;
        Ok(event.get("id").and_then(Value::as_str).context("the event has no id")?.to_owned())
    }

    /// Puts an event of any form into a user's calendar and returns its immutable id.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn create_event(&self, user_id: &str, event: &Value) -> anyhow::Result<String> {
        let event = self.call(Method::POST, &format!("users/{user_id}/events"), Some(event)).await?;
        Ok(event.get("id").and_then(Value::as_str).context("the event has no id")?.to_owned())
    }

    /// Changes members of an event, or of one occurrence.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn change(&self, user_id: &str, id: &str, members: &Value) -> anyhow::Result<()> {
        self.call(Method::PATCH, &format!("users/{user_id}/events/{id}"), Some(members)).await.map(drop)
    }

    /// The occurrences of a series between two times, in order of start, with their ids.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn occurrences(
        &self,
        user_id: &str,
        id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> anyhow::Result<Vec<Value>> {
        let window = format!("startDateTime={from}&endDateTime={to}&$select=id,start,end&$top=500");
        self.all(&format!("users/{user_id}/events/{id}/instances?{window}")).await
    }

    /// What a user sees between two times: single events and occurrences, with the add-in's property.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn view(&self, user_id: &str, from: Timestamp, to: Timestamp) -> anyhow::Result<Vec<Value>> {
        let property = expand(&world::add_in_property());
        let window = format!("startDateTime={from}&endDateTime={to}");
        let fields = "$select=id,type,start,end,isAllDay,isOrganizer,isCancelled";
        self.all(&format!("users/{user_id}/calendarView?{window}&{fields}&{property}&$top=500")).await
    }

    /// The value of an extended property of an event.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn property(&self, user_id: &str, id: &str, property: &str) -> anyhow::Result<Option<String>> {
        let path = format!("users/{user_id}/events/{id}?$select=id&{}", expand(property));
        let event = self.call(Method::GET, &path, None).await?;
        let value = event.pointer("/singleValueExtendedProperties/0/value").and_then(Value::as_str);
        Ok(value.map(str::to_owned))
    }

    /// All pages of a list.
    async fn all(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let page = self.call(Method::GET, &path, None).await?;
            all.extend(page.get("value").and_then(Value::as_array).context("no list")?.iter().cloned());
            let root = format!("{}/v1.0/", self.origin);
            let link = page.get("@odata.nextLink").and_then(Value::as_str);
            next = link.map(|link| link.trim_start_matches(&root).to_owned());
        }
        Ok(all)
    }

    /// Moves a meeting.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn reschedule(
        &self,
        user_id: &str,
        id: &str,
        from: Timestamp,
        to: Timestamp,
    ) -> anyhow::Result<()> {
        let body = json!({"start": date_time(from), "end": date_time(to)});
        self.call(Method::PATCH, &format!("users/{user_id}/events/{id}"), Some(&body)).await.map(drop)
    }

    /// Sets the spaces of a meeting; none takes the booking away.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn set_rooms(&self, user_id: &str, id: &str, rooms: &[String]) -> anyhow::Result<()> {
        let body = json!({"singleValueExtendedProperties": [add_in_property(rooms)]});
        self.call(Method::PATCH, &format!("users/{user_id}/events/{id}"), Some(&body)).await.map(drop)
    }

    /// Changes the subject of a meeting.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn rename(&self, user_id: &str, id: &str, subject: &str) -> anyhow::Result<()> {
        let body = json!({"subject": subject});
        self.call(Method::PATCH, &format!("users/{user_id}/events/{id}"), Some(&body)).await.map(drop)
    }

    /// Deletes a meeting.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn delete(&self, user_id: &str, id: &str) -> anyhow::Result<()> {
        self.call(Method::DELETE, &format!("users/{user_id}/events/{id}"), None).await.map(drop)
    }

    /// Takes a user out of the group.
    ///
    /// # Errors
    /// When Graph refuses it.
    pub async fn leave_group(&self, user_id: &str) -> anyhow::Result<()> {
        let path = format!("groups/{}/members/{user_id}/$ref", world::GROUP);
        self.call(Method::DELETE, &path, None).await.map(drop)
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self
            .http
            .request(method.clone(), format!("{}/v1.0/{path}", self.origin))
            .bearer_auth(&self.token)
            .header("Prefer", "IdType=\"ImmutableId\"");
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{method} {path}: {status} {text}");
        }
        if status == StatusCode::NO_CONTENT || text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {path}: answer is no JSON"))
    }
}

fn date_time(at: Timestamp) -> Value {
    json!({"dateTime": at.to_string().trim_end_matches('Z'), "timeZone": "UTC"})
}

/// Asks for an extended property, as it stands in a URL.
fn expand(property: &str) -> String {
    let expand = format!("$expand=singleValueExtendedProperties($filter=id eq '{property}')");
    expand.replace(' ', "%20").replace('{', "%7B").replace('}', "%7D")
}

/// The property that the add-in leaves on an event.
pub fn add_in_property(rooms: &[String]) -> Value {
    let resources: Vec<Value> = rooms
        .iter()
        .map(|id| json!({"id": id, "location": format!("Headquarters, {id}"), "capacity": 8, "attributes": ["screen"]}))
        .collect();
    let value = json!({
        "version": 1, "addInVersion": "1.4.0", "owner": world::principal_name(1),
        "attendees": [canary::ATTENDEE], "resources": resources,
    });
    json!({
        "id": world::add_in_property(),
        "value": value.to_string(),
    })
}
