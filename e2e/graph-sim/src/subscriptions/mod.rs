//! Change notification subscriptions (graph-facts §1, §2).

mod authorization;
mod draft;
mod handlers;
mod handshake;
mod plant;
mod resource;
mod store;

pub(crate) use self::{
    authorization::{is_authorized, roles},
    handlers::{create, delete, get, list, reauthorize, update},
    plant::plant,
    store::{ChangeType, Subscription, Subscriptions},
};
