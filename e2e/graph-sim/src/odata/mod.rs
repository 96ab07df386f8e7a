//! OData as Graph understands it: query options, `Prefer`, bodies.

pub(crate) mod asked;
mod expand;
mod expression;
mod extended;
mod guid;
mod json;
mod members;
mod page;
mod prefer;
mod query;
mod time;

pub(crate) use self::{
    expand::{expand, has_whole_exceptions, no_expansion},
    expression::{Parser, Token, invalid, is_graphs},
    extended::PropertyId,
    guid::guid,
    json::parse,
    members::{Given, Members},
    page::{PageToken, number},
    prefer::Prefer,
    query::{Query, select},
    time::{date, with_offset, without_offset},
};
