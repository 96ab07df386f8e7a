//! OData as Graph understands it: query options, `Prefer`, bodies.

pub(crate) mod asked;
mod expression;
mod extended;
mod members;
mod page;
mod prefer;
mod query;
mod time;

pub(crate) use self::{
    expression::{Parser, Token},
    extended::{PropertyId, expand},
    members::{Given, Members},
    page::{PageToken, link, number},
    prefer::Prefer,
    query::{Query, select},
    time::{with_offset, without_offset},
};
