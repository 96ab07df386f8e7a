//! Strict reading of one JSON object: no array in its place, no member twice, none that is not known. Every refusal names the member.

use std::fmt;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{refusal::Refusal, strict::Strict};

/// Members that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Members {
    left: Map<String, Value>,
    /// Where the object is in the body, with a dot at its end; empty for the body itself.
    at: String,
    /// What a wrong member is answered with.
    status: StatusCode,
}

impl Members {
    /// Reads a body. What is no JSON is 400; what is JSON of another form is answered with `status`.
    pub(crate) fn read(body: &[u8], status: StatusCode) -> Result<Self, Refusal> {
        match serde_json::from_slice::<Strict>(body) {
            Ok(Strict(Value::Object(left))) => Ok(Self { left, at: String::new(), status }),
            Ok(_) => Err(refuse(status, "the body is refused: it must be a JSON object".to_owned())),
            Err(error) if error.is_data() => Err(refuse(status, format!("the body is refused: {error}"))),
            Err(error) => Err(Refusal::bad_request(format!("the body is no JSON: {error}"))),
        }
    }

    fn wrong(&self, name: &str, fix: impl fmt::Display) -> Refusal {
        refuse(self.status, format!("{}{name} {fix}", self.at))
    }

    /// Text that has to be there, of 1 to `most` characters, none of them a control character.
    pub(crate) fn identifier(&mut self, name: &str, most: usize) -> Result<String, Refusal> {
        match self.left.remove(name) {
            Some(Value::String(text))
                if (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control) =>
            {
                Ok(text)
            }
            Some(_) => {
                let fix = format!("must be text of 1 to {most} characters without control characters");
                Err(self.wrong(name, fix))
            }
            None => Err(self.wrong(name, "is missing")),
        }
    }

    /// Text of at most `most` characters; null and absent are the same.
    pub(crate) fn optional_text(&mut self, name: &str, most: usize) -> Result<Option<String>, Refusal> {
        match self.left.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= most => Ok(Some(text)),
            Some(_) => {
                Err(self.wrong(name, format_args!("must be null or text of at most {most} characters")))
            }
        }
    }

    /// A list of at most `items` texts of at most `most` characters; empty when absent.
    pub(crate) fn texts(&mut self, name: &str, items: usize, most: usize) -> Result<Vec<String>, Refusal> {
        let fix = format!("must be a list of at most {items} texts of at most {most} characters each");
        let list = match self.left.remove(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) if list.len() <= items => list,
            Some(_) => return Err(self.wrong(name, fix)),
        };
        list.into_iter()
            .map(|one| match one {
                Value::String(text) if text.chars().count() <= most => Ok(text),
                _ => Err(self.wrong(name, &fix)),
            })
            .collect()
    }

    /// A time as [`Members::time`] takes it; null and absent are the same.
    pub(crate) fn optional_time(&mut self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        if self.left.get(name).is_none_or(Value::is_null) {
            self.left.remove(name);
            return Ok(None);
        }
        self.time(name).map(Some)
    }

    /// A time that has to be there, in UTC, as RFC 3339 writes it with `T` and `Z`.
    pub(crate) fn time(&mut self, name: &str) -> Result<Timestamp, Refusal> {
        match self.left.remove(name) {
            Some(Value::String(text)) => utc(&text).ok_or_else(|| {
                let shown: String = text.chars().take(64).collect();
                self.wrong(
                    name,
                    format_args!("must be a UTC time such as 2026-11-24T10:00:00Z, but is {shown:?}"),
                )
            }),
            Some(_) => Err(self.wrong(name, "must be text such as 2026-11-24T10:00:00Z")),
            None => Err(self.wrong(name, "is missing")),
        }
    }

    /// A flag; false when absent.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.left.remove(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.wrong(name, "must be true or false")),
        }
    }

    /// A whole number within the limits; none when absent.
    pub(crate) fn number(&mut self, name: &str, least: u32, most: u32) -> Result<Option<u32>, Refusal> {
        let Some(value) = self.left.remove(name) else { return Ok(None) };
        value
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (least..=most).contains(number))
            .map(Some)
            .ok_or_else(|| self.wrong(name, format_args!("must be a whole number from {least} to {most}")))
    }

    /// An object; none when absent.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Self>, Refusal> {
        match self.left.remove(name) {
            None => Ok(None),
            Some(Value::Object(left)) => {
                Ok(Some(Self { left, at: format!("{}{name}.", self.at), status: self.status }))
            }
            Some(_) => Err(self.wrong(name, "must be an object")),
        }
    }

    /// A list of objects that has to be there.
    pub(crate) fn objects(&mut self, name: &str) -> Result<Vec<Self>, Refusal> {
        let Some(Value::Array(list)) = self.left.remove(name) else {
            return Err(self.wrong(name, "must be a list of objects"));
        };
        let objects = list.into_iter().enumerate().map(|(number, one)| match one {
            Value::Object(left) => {
                let at = format!("{}{name}[{number}].", self.at);
                Ok(Self { left, at, status: self.status })
            }
            _ => Err(self.wrong(&format!("{name}[{number}]"), "must be an object")),
        });
        objects.collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// A refusal that says where in the body.
    pub(crate) fn refuse(&self, name: &str, fix: impl fmt::Display) -> Refusal {
        self.wrong(name, fix)
    }

    /// Refuses what nobody took.
    pub(crate) fn end(self, known: &str) -> Result<(), Refusal> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(64).collect();
                let at = self.at.trim_end_matches('.');
                let at = if at.is_empty() { String::new() } else { format!(" of {at}") };
                Err(refuse(self.status, format!("unknown member {shown:?}{at}: the members are {known}")))
            }
        }
    }
}

fn refuse(status: StatusCode, message: String) -> Refusal {
    let code = if status == StatusCode::UNPROCESSABLE_ENTITY { "Invalid" } else { "BadRequest" };
    Refusal::new(status, code, message)
}

/// `YYYY-MM-DDTHH:MM:SSZ`, with up to nine digits of a second's fraction.
fn utc(text: &str) -> Option<Timestamp> {
    let local = text.strip_suffix('Z')?;
    let (seconds, fraction) = local.split_once('.').unwrap_or((local, "0"));
    let shape = seconds.bytes().map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    let fits = shape.eq(*b"0000-00-00T00:00:00")
        && (1..=9).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_utc_as_rfc_3339_writes_it_is_a_time() {
        for good in ["2026-11-24T10:00:00Z", "2026-11-24T10:00:00.5Z", "2028-02-29T23:59:59.123456789Z"] {
            assert_eq!(utc(good), Some(good.parse().unwrap()), "{good}");
        }
        for bad in [
            "",
            "Z",
            "2026-11-24",
            "2026-11-24T10:00:00",
            "2026-11-24T10:00:00z",
            "2026-11-24 10:00:00Z",
            "2026-11-24T10:00Z",
            "20261124T100000Z",
            "2026-11-24T10:00:00+00:00",
            "2026-11-24T12:00:00+02:00",
            "2026-11-24T10:00:00Z[UTC]",
            "2026-11-24T10:00:00.Z",
            "2026-11-24T10:00:00,5Z",
            "2026-11-24T10:00:00.1234567890Z",
            "2026-02-30T10:00:00Z",
            "2026-11-24T25:00:00Z",
            "２026-11-24T10:00:00Z",
        ] {
            assert_eq!(utc(bad), None, "{bad}");
        }
    }
}
