//! Microsoft Graph client over a closed list of calls and fields, with an audit hook.
//!
//! Every request takes one path: its URL is built from closed enums ([`fields`]) and validated ids ([`ids`]), its audit
//! entry is durable ([`audit`]), only then it is sent, and errors become a [`Decision`] by one catalogue. There is no way
//! to name another path, query or field.

mod answer;
pub mod audit;
pub mod budget;
mod catalogue;
mod client;
pub mod cloud;
mod directory;
mod error;
mod event;
pub mod fields;
mod gate;
pub mod http;
pub mod ids;
pub mod oidc;
mod paging;
mod request;
mod send;
mod subscription;
mod token;
mod unrequested;
mod write_back;

pub use self::{
    audit::{Cause, Purpose},
    client::{ClientSettings, GraphClient, Series},
    directory::{Group, User},
    error::{
        ArgumentError, Decision, GoneReason, GraphError, Problem, Reason, Refusal, TokenRefusal,
        TransportFault,
    },
    event::{
        BookedEvent, BookedPage, Event, EventHead, EventType, Occurrence, OccurrencePage, Sensitivity, Window,
    },
    ids::{EventId, GroupId, ManifestId, SubscriptionId, UserId},
    paging::PageToken,
    subscription::{Deletion, NewSubscription, Subscription},
    token::{AssertionError, AssertionSource, CertificateCredential, CertificateError, Credential},
    unrequested::MemberClass,
    write_back::{BookingNote, NotedBooking},
};
