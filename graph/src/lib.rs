//! Microsoft Graph client over a closed list of calls and fields, with an audit hook.
//!
//! Every request takes one path: its URL is built from closed enums ([`fields`]) and validated ids ([`ids`]), its audit
//! entry is durable ([`audit`]), only then it is sent, and errors become a [`Decision`] by one catalogue. There is no way
//! to name another path, query or field.
//!
//! What is there compiles:
//!
//! ```no_run
//! # async fn look(client: roomkeeper_graph::GraphClient, cause: roomkeeper_graph::Cause) {
//! client.user(&cause, "user1@contoso.example").await.ok();
//! # }
//! ```
//!
//! The client takes no URL, no path and no query:
//!
//! ```compile_fail,E0599
//! # async fn look(client: roomkeeper_graph::GraphClient, cause: roomkeeper_graph::Cause) {
//! client.get(&cause, "/v1.0/me/messages").await.ok();
//! # }
//! ```
//!
//! The fields of a read cannot be chosen, not even among the listed ones:
//!
//! ```compile_fail,E0061
//! # async fn look(client: roomkeeper_graph::GraphClient, cause: roomkeeper_graph::Cause) {
//! client.user(&cause, "user1@contoso.example", &[roomkeeper_graph::fields::UserField::Id]).await.ok();
//! # }
//! ```
//!
//! A field cannot be made of a text:
//!
//! ```compile_fail,E0277
//! let field: roomkeeper_graph::fields::EventField = "body".parse().unwrap();
//! ```
//!
//! Requests and calls are nobody's to build:
//!
//! ```compile_fail,E0603
//! use roomkeeper_graph::request::Request;
//! ```
//!
//! The HTTP client within can be neither taken out nor put in:
//!
//! ```compile_fail,E0616
//! # fn look(http: roomkeeper_graph::http::Http) {
//! let inner = http.client;
//! # }
//! ```
//!
//! ```compile_fail,E0451
//! # fn look(other: roomkeeper_graph::http::Http) {
//! let http = roomkeeper_graph::http::Http { gate: None, ..other };
//! # }
//! ```
//!
//! A page is named by what the last one said, never by a text:
//!
//! ```compile_fail,E0423
//! let page = roomkeeper_graph::PageToken("https://graph.microsoft.com/v1.0/me/messages");
//! ```
//!
//! ```compile_fail,E0277
//! let page: roomkeeper_graph::PageToken = "https://graph.microsoft.com/v1.0/me/messages".parse().unwrap();
//! ```

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
