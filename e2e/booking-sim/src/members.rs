//! Strict reading of one JSON object: no array in its place, no member twice, none that is not known. Every refusal names the member.

use std::{collections::BTreeMap, fmt};

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use crate::refusal::Refusal;

/// Members that have not been taken yet.
#[derive(Debug)]
pub(crate) struct Members {
    left: BTreeMap<String, Value>,
    /// What a wrong member is answered with.
    status: StatusCode,
}

struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Object;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.contains_key(&name) {
                        return Err(A::Error::custom(format!("{name} is there twice: name it once")));
                    }
                    members.insert(name, value);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

impl Members {
    /// Reads a body. What is no JSON is 400; what is JSON of another form is answered with `status`.
    pub(crate) fn read(body: &[u8], status: StatusCode) -> Result<Self, Refusal> {
        match serde_json::from_slice::<Object>(body) {
            Ok(Object(left)) => Ok(Self { left, status }),
            Err(error) if error.is_data() => Err(refuse(status, format!("the body is refused: {error}"))),
            Err(error) => Err(Refusal::bad_request(format!("the body is no JSON: {error}"))),
        }
    }

    fn wrong(&self, name: &str, fix: impl fmt::Display) -> Refusal {
        refuse(self.status, format!("{name} {fix}"))
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

    /// Refuses what nobody took.
    pub(crate) fn end(self, known: &str) -> Result<(), Refusal> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(64).collect();
                Err(refuse(self.status, format!("unknown member {shown:?}: the members are {known}")))
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
