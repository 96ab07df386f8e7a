//! Reading answers: only members that were asked for are ever turned into values.

use std::fmt;

use jiff::Timestamp;
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use crate::{error::Problem, fields, unrequested::Unrequested};

/// Which members of an object were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    EventHead,
    EventFull,
    EventMaster,
    EventBooked,
    Occurrence,
    User,
    Group,
    Member,
    /// `/subscriptions` takes no `$select`: every member was asked for, those that have a use are kept.
    Subscription,
}

enum Role {
    Keep,
    Drop,
    Unrequested,
}

impl Shape {
    fn role(self, member: &str) -> Role {
        let asked = match self {
            Self::EventHead => member == fields::EXTENDED_PROPERTIES || named(fields::EVENT_HEAD, member),
            Self::EventFull => {
                member == fields::EXTENDED_PROPERTIES
                    || named(fields::EVENT_HEAD, member)
                    || named(fields::EVENT_STORED, member)
            }
            Self::EventBooked => {
                member == fields::EXTENDED_PROPERTIES
                    || named(fields::EVENT_HEAD, member)
                    || named(fields::EVENT_BOOKED, member)
            }
            Self::EventMaster => named(fields::EVENT_MASTER, member),
            Self::Occurrence => {
                member == fields::EXTENDED_PROPERTIES || named(fields::EVENT_OCCURRENCE, member)
            }
            Self::User => named(fields::USER, member),
            Self::Group => named(fields::GROUP, member),
            Self::Member => named(fields::MEMBER, member),
            Self::Subscription => {
                return if crate::subscription::MEMBERS.contains(&member) { Role::Keep } else { Role::Drop };
            }
        };
        match asked {
            true => Role::Keep,
            false if annotation(member) => Role::Drop,
            false => Role::Unrequested,
        }
    }
}

fn named<F: fields::Field>(list: &[F], member: &str) -> bool {
    list.iter().any(|field| field.name() == member)
}

/// `@odata.etag`, `start@odata.type` and the like tell about the answer, not about the person.
fn annotation(member: &str) -> bool {
    member.contains("@odata.")
}

/// A member of an answer is not as documented.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MemberFault {
    pub(crate) member: &'static str,
    pub(crate) problem: Problem,
}

impl MemberFault {
    pub(crate) fn not_a(member: &'static str, expected: &'static str) -> Self {
        Self { member, problem: Problem::NotA { expected } }
    }
}

/// An object of an answer, without what was not asked for.
#[derive(Debug, Default)]
pub(crate) struct Object {
    members: Map<String, Value>,
}

impl Object {
    pub(crate) fn from_value(value: &Value, member: &'static str) -> Result<Self, MemberFault> {
        let members = value.as_object().ok_or_else(|| MemberFault::not_a(member, "an object"))?;
        Ok(Self { members: members.clone() })
    }

    pub(crate) fn optional(&self, member: &'static str) -> Option<&Value> {
        self.members.get(member).filter(|value| !value.is_null())
    }

    pub(crate) fn required(&self, member: &'static str) -> Result<&Value, MemberFault> {
        self.optional(member).ok_or(MemberFault { member, problem: Problem::Missing })
    }

    pub(crate) fn text(&self, member: &'static str) -> Result<&str, MemberFault> {
        self.required(member)?.as_str().ok_or_else(|| MemberFault::not_a(member, "text"))
    }

    pub(crate) fn optional_text(&self, member: &'static str) -> Result<Option<&str>, MemberFault> {
        self.optional(member)
            .map(|value| value.as_str().ok_or_else(|| MemberFault::not_a(member, "text")))
            .transpose()
    }

    pub(crate) fn flag(&self, member: &'static str) -> Result<bool, MemberFault> {
        self.required(member)?.as_bool().ok_or_else(|| MemberFault::not_a(member, "true or false"))
    }

    /// A list; absent and null count as empty.
    pub(crate) fn list(&self, member: &'static str) -> Result<&[Value], MemberFault> {
        match self.optional(member) {
            None => Ok(&[]),
            Some(value) => {
                value.as_array().map(Vec::as_slice).ok_or_else(|| MemberFault::not_a(member, "a list"))
            }
        }
    }

    /// A date and time with an offset.
    pub(crate) fn timestamp(&self, member: &'static str) -> Result<Timestamp, MemberFault> {
        self.text(member)?.parse().map_err(|_| MemberFault::not_a(member, "a date and time with an offset"))
    }

    pub(crate) fn parsed<T: std::str::FromStr>(
        &self,
        member: &'static str,
        expected: &'static str,
    ) -> Result<T, MemberFault> {
        self.text(member)?.parse().map_err(|_| MemberFault::not_a(member, expected))
    }
}

/// A single object, and which classes of members came that were not asked for.
pub(crate) struct One {
    pub(crate) object: Object,
    pub(crate) unrequested: Unrequested,
}

/// A page of a list.
pub(crate) struct Page {
    pub(crate) objects: Vec<Object>,
    pub(crate) next_link: Option<String>,
    pub(crate) unrequested: Unrequested,
}

const BODY: &str = "(body)";

/// Reads a single object.
pub(crate) fn one(body: &[u8], shape: Shape) -> Result<One, MemberFault> {
    let mut unrequested = Unrequested::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    let object = ObjectSeed { shape, unrequested: &mut unrequested }
        .deserialize(&mut json)
        .and_then(|object| json.end().map(|()| object))
        // The parser's own text may quote data.
        .map_err(|_| MemberFault::not_a(BODY, "a JSON object"))?;
    Ok(One { object, unrequested })
}

/// Reads a page of a list.
pub(crate) fn page(body: &[u8], shape: Shape) -> Result<Page, MemberFault> {
    let mut unrequested = Unrequested::default();
    let mut json = serde_json::Deserializer::from_slice(body);
    let (objects, next_link) = PageSeed { shape, unrequested: &mut unrequested }
        .deserialize(&mut json)
        .and_then(|page| json.end().map(|()| page))
        .map_err(|_| MemberFault::not_a(BODY, "a JSON object with a list of objects"))?;
    let objects = objects.ok_or(MemberFault { member: "value", problem: Problem::Missing })?;
    Ok(Page { objects, next_link, unrequested })
}

struct ObjectSeed<'a> {
    shape: Shape,
    unrequested: &'a mut Unrequested,
}

impl<'de> DeserializeSeed<'de> for ObjectSeed<'_> {
    type Value = Object;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectSeed<'_> {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members = Map::new();
        while let Some(member) = map.next_key::<String>()? {
            match self.shape.role(&member) {
                Role::Keep => {
                    members.insert(member, map.next_value()?);
                }
                Role::Drop => {
                    map.next_value::<IgnoredAny>()?;
                }
                Role::Unrequested => {
                    map.next_value::<IgnoredAny>()?;
                    self.unrequested.add(&member);
                }
            }
        }
        Ok(Object { members })
    }
}

struct PageSeed<'a> {
    shape: Shape,
    unrequested: &'a mut Unrequested,
}

type PageParts = (Option<Vec<Object>>, Option<String>);

impl<'de> DeserializeSeed<'de> for PageSeed<'_> {
    type Value = PageParts;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<PageParts, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PageSeed<'_> {
    type Value = PageParts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PageParts, A::Error> {
        let (mut objects, mut next_link) = (None, None);
        while let Some(member) = map.next_key::<String>()? {
            match member.as_str() {
                "value" => {
                    let seed = ObjectsSeed { shape: self.shape, unrequested: &mut *self.unrequested };
                    objects = Some(map.next_value_seed(seed)?);
                }
                "@odata.nextLink" => next_link = map.next_value()?,
                other => {
                    map.next_value::<IgnoredAny>()?;
                    if !annotation(other) {
                        self.unrequested.add(&member);
                    }
                }
            }
        }
        Ok((objects, next_link))
    }
}

struct ObjectsSeed<'a> {
    shape: Shape,
    unrequested: &'a mut Unrequested,
}

impl<'de> DeserializeSeed<'de> for ObjectsSeed<'_> {
    type Value = Vec<Object>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Object>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ObjectsSeed<'_> {
    type Value = Vec<Object>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Object>, A::Error> {
        let mut objects = Vec::new();
        while let Some(object) =
            seq.next_element_seed(ObjectSeed { shape: self.shape, unrequested: &mut *self.unrequested })?
        {
            objects.push(object);
        }
        Ok(objects)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unrequested::MemberClass;

    #[test]
    fn what_was_not_asked_for_is_stripped_and_counted() {
        let body = br#"{"@odata.context":"x","@odata.etag":"W/\"a\"","id":"AAA=","iCalUId":"u",
            "body":{"content":"secret"},"attachments":[{"name":"a"}],"start@odata.type":"x"}"#;
        let One { object, unrequested } = one(body, Shape::EventHead).unwrap();
        assert_eq!(object.text("id").unwrap(), "AAA=");
        assert!(object.optional("body").is_none());
        assert_eq!(object.members.len(), 2);
        let expected = [(MemberClass::Body, 1), (MemberClass::Attachments, 1)];
        assert_eq!(*unrequested.by_class(), expected.into());
    }

    #[test]
    fn a_page_counts_over_all_its_objects() {
        let body = br#"{"@odata.context":"x","@odata.count":3,"value":[{"id":"a"},{"id":"b","mail":"m"}],
            "@odata.nextLink":"https://graph/next","extra":1}"#;
        let page = page(body, Shape::Member).unwrap();
        assert_eq!(page.objects.len(), 2);
        assert_eq!(page.next_link.as_deref(), Some("https://graph/next"));
        assert_eq!(*page.unrequested.by_class(), [(MemberClass::Other, 2)].into());
    }

    #[test]
    fn every_member_of_a_subscription_counts_as_asked_for() {
        let One { object, unrequested } =
            one(br#"{"id":"a","clientState":"secret","vapidPublicKey":null}"#, Shape::Subscription).unwrap();
        assert_eq!(unrequested, Unrequested::default());
        assert!(object.optional("clientState").is_none());
    }

    #[test]
    fn faults_name_the_member_and_never_the_value() {
        for body in ["", "[]", "{", "{} x", "\"canary\"", "null"] {
            let fault = one(body.as_bytes(), Shape::User).err().unwrap();
            assert_eq!(fault, MemberFault::not_a("(body)", "a JSON object"), "{body}");
        }
        assert_eq!(page(b"{}", Shape::Member).err().unwrap().member, "value");
        assert_eq!(page(br#"{"value":["canary"]}"#, Shape::Member).err().unwrap().member, "(body)");
        let object = one(br#"{"id":null,"userPrincipalName":7}"#, Shape::User).unwrap().object;
        assert_eq!(object.text("id").unwrap_err(), MemberFault { member: "id", problem: Problem::Missing });
        assert_eq!(
            object.text("userPrincipalName").unwrap_err(),
            MemberFault::not_a("userPrincipalName", "text")
        );
    }
}
