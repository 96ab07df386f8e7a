//! The closed list of calls, and the one place that builds their URLs.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use url::Url;

use crate::{
    audit::Purpose,
    error::ArgumentError,
    event::Window,
    fields::{self, Field},
    ids::{EventId, GroupId, ManifestId, SubscriptionId, UserId, UserKey},
    paging::PageLink,
    subscription::{self, NewSubscription},
    write_back::BookingNote,
};

/// Bound of a single object's answer, in bytes.
const OBJECT_BYTES: usize = 8 * 1_024 * 1_024;
/// Bound of a page of a list, in bytes.
const PAGE_BYTES: usize = 16 * 1_024 * 1_024;
/// Bound of an answer of the authority, in bytes: a token, a discovery document, a set of keys.
const TOKEN_BYTES: usize = 256 * 1_024;

/// Largest page that Graph serves for members.
const MEMBERS_PER_PAGE: u32 = 999;

/// Events on a page: few enough that a large calendar gives way between two pages.
const EVENTS_PER_PAGE: u32 = 50;

/// Occurrences on a page: a year of working days in two.
const OCCURRENCES_PER_PAGE: u32 = 200;

/// A call to Graph.
pub(crate) enum Call<'a> {
    CreateSubscription(&'a NewSubscription),
    RenewSubscription { id: &'a SubscriptionId, expiration: Timestamp },
    ReauthorizeSubscription(&'a SubscriptionId),
    GetSubscription(&'a SubscriptionId),
    ListSubscriptions,
    DeleteSubscription(&'a SubscriptionId),
    User(&'a UserKey),
    Group(&'a GroupId),
    GroupMembers(&'a GroupId),
    EventHead { user: &'a UserId, event: &'a EventId, manifest: &'a ManifestId },
    EventFull { user: &'a UserId, event: &'a EventId, manifest: &'a ManifestId },
    EventMaster { user: &'a UserId, event: &'a EventId },
    Occurrences { user: &'a UserId, master: &'a EventId, manifest: &'a ManifestId, window: &'a Window },
    WriteBack { user: &'a UserId, event: &'a EventId, manifest: &'a ManifestId, note: &'a BookingNote },
    BookedEvents { user: &'a UserId, manifest: &'a ManifestId },
}

/// Body of a request.
#[derive(Clone)]
pub(crate) enum Body {
    None,
    Json(Vec<u8>),
    Form(bytes::Bytes),
}

/// A request that is ready to be sent, token aside.
#[derive(Clone)]
pub(crate) struct Request {
    purpose: Purpose,
    method: Method,
    url: Url,
    body: Body,
    eventual: bool,
    minimal: bool,
    limit: usize,
}

impl Request {
    /// The request of a call; for a list its first page.
    pub(crate) fn new(graph: &Url, call: &Call<'_>) -> Result<Self, ArgumentError> {
        let (purpose, method, limit) = call.kind();
        let body = match call {
            Call::CreateSubscription(new) => Body::Json(new.body()?),
            Call::RenewSubscription { expiration, .. } => {
                Body::Json(subscription::renewal_body(*expiration)?)
            }
            Call::WriteBack { manifest, note, .. } => Body::Json(note.body(manifest)?),
            _ => Body::None,
        };
        let mut url = graph.clone();
        url.set_path(&call.path());
        url.set_query(call.query().as_deref());
        let eventual = matches!(call, Call::GroupMembers(_));
        let minimal = matches!(call, Call::WriteBack { .. });
        Ok(Self { purpose, method, url, body, eventual, minimal, limit })
    }

    /// The client-credentials grant; `form` is the encoded body.
    pub(crate) fn token(url: Url, form: bytes::Bytes) -> Self {
        Self {
            purpose: Purpose::Token,
            method: Method::POST,
            url,
            body: Body::Form(form),
            eventual: false,
            minimal: false,
            limit: TOKEN_BYTES,
        }
    }

    /// A document that the authority publishes to everyone.
    pub(crate) fn public(purpose: Purpose, url: Url) -> Self {
        let (method, body) = (Method::GET, Body::None);
        Self { purpose, method, url, body, eventual: false, minimal: false, limit: TOKEN_BYTES }
    }

    /// The same list's page that the server linked to, with the same headers.
    pub(crate) fn next_page(&self, link: PageLink) -> Self {
        Self { url: link.into_url(), ..self.clone() }
    }

    pub(crate) fn purpose(&self) -> Purpose {
        self.purpose
    }

    pub(crate) fn method(&self) -> &Method {
        &self.method
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn body(&self) -> &Body {
        &self.body
    }

    /// Whether the directory's index must be asked (`ConsistencyLevel: eventual`).
    pub(crate) fn eventual(&self) -> bool {
        self.eventual
    }

    /// Whether the answer is to hold nothing of the object (`Prefer: return=minimal`).
    pub(crate) fn minimal(&self) -> bool {
        self.minimal
    }

    /// Bound of the answer's body in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}

impl Call<'_> {
    fn kind(&self) -> (Purpose, Method, usize) {
        match self {
            Self::CreateSubscription(_) => (Purpose::CreateSubscription, Method::POST, OBJECT_BYTES),
            Self::RenewSubscription { .. } => (Purpose::RenewSubscription, Method::PATCH, OBJECT_BYTES),
            Self::ReauthorizeSubscription(_) => {
                (Purpose::ReauthorizeSubscription, Method::POST, OBJECT_BYTES)
            }
            Self::GetSubscription(_) => (Purpose::GetSubscription, Method::GET, OBJECT_BYTES),
            Self::ListSubscriptions => (Purpose::ListSubscriptions, Method::GET, PAGE_BYTES),
            Self::DeleteSubscription(_) => (Purpose::DeleteSubscription, Method::DELETE, OBJECT_BYTES),
            Self::User(_) => (Purpose::UserLookup, Method::GET, OBJECT_BYTES),
            Self::Group(_) => (Purpose::GroupLookup, Method::GET, OBJECT_BYTES),
            Self::GroupMembers(_) => (Purpose::GroupMembers, Method::GET, PAGE_BYTES),
            Self::EventHead { .. } | Self::EventMaster { .. } => {
                (Purpose::EventMinimalRead, Method::GET, OBJECT_BYTES)
            }
            Self::EventFull { .. } => (Purpose::EventFullRead, Method::GET, OBJECT_BYTES),
            Self::Occurrences { .. } => (Purpose::Occurrences, Method::GET, PAGE_BYTES),
            Self::WriteBack { .. } => (Purpose::WriteBack, Method::PATCH, OBJECT_BYTES),
            Self::BookedEvents { .. } => (Purpose::Resync, Method::GET, PAGE_BYTES),
        }
    }

    fn path(&self) -> String {
        match self {
            Self::CreateSubscription(_) | Self::ListSubscriptions => "/v1.0/subscriptions".to_owned(),
            Self::RenewSubscription { id, .. } | Self::GetSubscription(id) | Self::DeleteSubscription(id) => {
                format!("/v1.0/subscriptions/{}", segment(id.as_str()))
            }
            Self::ReauthorizeSubscription(id) => {
                format!("/v1.0/subscriptions/{}/reauthorize", segment(id.as_str()))
            }
            Self::User(key) => format!("/v1.0/users/{}", segment(key.as_str())),
            Self::Group(id) => format!("/v1.0/groups/{}", segment(id.as_str())),
            Self::GroupMembers(id) => {
                format!("/v1.0/groups/{}/transitiveMembers/microsoft.graph.user", segment(id.as_str()))
            }
            // Under the default calendar: elsewhere a deleted event can stay readable by its immutable id.
            Self::EventHead { user, event, .. }
            | Self::EventFull { user, event, .. }
            | Self::WriteBack { user, event, .. }
            | Self::EventMaster { user, event } => {
                format!("/v1.0/users/{}/calendar/events/{}", segment(user.as_str()), segment(event.as_str()))
            }
            Self::Occurrences { user, master, .. } => {
                let (user, master) = (segment(user.as_str()), segment(master.as_str()));
                format!("/v1.0/users/{user}/calendar/events/{master}/instances")
            }
            Self::BookedEvents { user, .. } => {
                format!("/v1.0/users/{}/calendar/events", segment(user.as_str()))
            }
        }
    }

    fn query(&self) -> Option<String> {
        match self {
            Self::CreateSubscription(_)
            | Self::RenewSubscription { .. }
            | Self::ReauthorizeSubscription(_)
            | Self::GetSubscription(_)
            | Self::ListSubscriptions
            | Self::DeleteSubscription(_)
            | Self::WriteBack { .. } => None,
            Self::User(_) => Some(select(&[fields::USER])),
            Self::Group(_) => Some(select(&[fields::GROUP])),
            // The cast to users needs both $count and the consistency header.
            Self::GroupMembers(_) => {
                Some(format!("{}&$count=true&$top={MEMBERS_PER_PAGE}", select(&[fields::MEMBER])))
            }
            Self::EventMaster { .. } => Some(select(&[fields::EVENT_MASTER])),
            Self::EventHead { manifest, .. } => {
                Some(format!("{}&{}", select(&[fields::EVENT_HEAD]), expand(manifest)))
            }
            Self::EventFull { manifest, .. } => {
                let lists = [fields::EVENT_HEAD, fields::EVENT_STORED];
                Some(format!("{}&{}", select(&lists), expand(manifest)))
            }
            Self::Occurrences { manifest, window, .. } => {
                let (fields, property) = (select(&[fields::EVENT_OCCURRENCE]), expand(manifest));
                let window = format!("startDateTime={}&endDateTime={}", window.start, window.end);
                Some(format!("{window}&{fields}&{property}&$top={OCCURRENCES_PER_PAGE}"))
            }
            Self::BookedEvents { manifest, .. } => {
                let lists = [fields::EVENT_HEAD, fields::EVENT_BOOKED];
                let (fields, property) = (select(&lists), expand(manifest));
                Some(format!("{}&{fields}&{property}&$top={EVENTS_PER_PAGE}", booked(manifest)))
            }
        }
    }
}

fn select<F: Field>(lists: &[&[F]]) -> String {
    let names: Vec<_> = lists.iter().flat_map(|list| list.iter()).map(|field| field.name()).collect();
    format!("$select={}", names.join(","))
}

fn expand(manifest: &ManifestId) -> String {
    let filter = format!("id eq '{}'", fields::add_in_property(manifest));
    format!("$expand={}($filter={})", fields::EXTENDED_PROPERTIES, utf8_percent_encode(&filter, QUERY_VALUE))
}

/// Events that carry the add-in's property, whatever its value.
fn booked(manifest: &ManifestId) -> String {
    let property = fields::add_in_property(manifest);
    let filter =
        format!("{}/Any(ep: ep/id eq '{property}' and ep/value ne null)", fields::EXTENDED_PROPERTIES);
    format!("$filter={}", utf8_percent_encode(&filter, QUERY_VALUE))
}

/// Everything but unreserved characters, and `@` for the sake of readable principal names.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// What may not stand in a query as it is, or would end the value.
const QUERY_VALUE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'+')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

fn segment(value: &str) -> String {
    utf8_percent_encode(value, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(call: &Call<'_>) -> String {
        Request::new(&Url::parse("https://graph.microsoft.com").unwrap(), call).unwrap().url.into()
    }

    /// Written out by hand, so that a change of a field list shows here.
    #[test]
    fn the_urls_are_exactly_these() {
        let user = UserId::parse("2189c720-90d5-44ff-818b-fe585706ee90").unwrap();
        let group = GroupId::parse("5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10").unwrap();
        let subscription = SubscriptionId::parse("f37536ac-b308-4bc7-b239-b2b51cd2ff24").unwrap();
        let event = EventId::parse("AAMk+AD/x-_=").unwrap();
        let manifest = ManifestId::parse("0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f").unwrap();
        let by_name = UserKey::parse("o'neil#ext#@contoso.example").unwrap();
        let expand = "$expand=singleValueExtendedProperties($filter=id%20eq%20%27String%20%7B00020329-0000-0000-C000-000000000046%7D%20Name%20cecp-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f%27)";
        let at_event = "https://graph.microsoft.com/v1.0/users/2189c720-90d5-44ff-818b-fe585706ee90/calendar/events/AAMk%2BAD%2Fx-_%3D";
        let head = "$select=id,iCalUId,changeKey,lastModifiedDateTime,isOrganizer,type,isCancelled";
        let rest = "subject,start,end,organizer,attendees,sensitivity,seriesMasterId,recurrence,isAllDay";
        for (call, expected) in [
            (Call::ListSubscriptions, "https://graph.microsoft.com/v1.0/subscriptions".to_owned()),
            (
                Call::GetSubscription(&subscription),
                "https://graph.microsoft.com/v1.0/subscriptions/f37536ac-b308-4bc7-b239-b2b51cd2ff24".to_owned(),
            ),
            (
                Call::User(&by_name),
                "https://graph.microsoft.com/v1.0/users/o%27neil%23ext%23@contoso.example?$select=id,userPrincipalName".to_owned(),
            ),
            (
                Call::Group(&group),
                "https://graph.microsoft.com/v1.0/groups/5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10?$select=id,mailEnabled,securityEnabled,groupTypes".to_owned(),
            ),
            (
                Call::GroupMembers(&group),
                "https://graph.microsoft.com/v1.0/groups/5d6f5a5e-4b1c-4d8e-9a51-3c1d2f0f7a10/transitiveMembers/microsoft.graph.user?$select=id&$count=true&$top=999".to_owned(),
            ),
            (
                Call::EventHead { user: &user, event: &event, manifest: &manifest },
                format!("{at_event}?{head}&{expand}"),
            ),
            (
                Call::EventFull { user: &user, event: &event, manifest: &manifest },
                format!("{at_event}?{head},{rest}&{expand}"),
            ),
            (
                Call::EventMaster { user: &user, event: &event },
                format!("{at_event}?$select=id,seriesMasterId"),
            ),
            (
                Call::Occurrences {
                    user: &user,
                    master: &event,
                    manifest: &manifest,
                    window: &Window::new("2026-11-01T00:00:00Z".parse().unwrap(), "2027-12-01T00:00:00Z".parse().unwrap()),
                },
                format!("{at_event}/instances?startDateTime=2026-11-01T00:00:00Z&endDateTime=2027-12-01T00:00:00Z&$select=id,isCancelled,start,end,originalStart&{expand}&$top=200"),
            ),
            (
                Call::BookedEvents { user: &user, manifest: &manifest },
                format!("https://graph.microsoft.com/v1.0/users/2189c720-90d5-44ff-818b-fe585706ee90/calendar/events?$filter=singleValueExtendedProperties/Any(ep:%20ep/id%20eq%20%27String%20%7B00020329-0000-0000-C000-000000000046%7D%20Name%20cecp-0c64d6b6-cc36-4b6a-8f9c-0e3a4b6c2d1f%27%20and%20ep/value%20ne%20null)&{head},start,end,isAllDay,recurrence&{expand}&$top=50"),
            ),
        ] {
            assert_eq!(url(&call), expected);
        }
    }
}
