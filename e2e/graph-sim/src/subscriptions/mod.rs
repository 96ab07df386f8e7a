//! Change notification subscriptions (graph-facts §1, §2).

mod draft;
mod handlers;
mod handshake;
mod plant;
mod store;

pub(crate) use self::{
    handlers::{create, delete, get, list, reauthorize, update},
    plant::plant,
    store::{ChangeType, Subscription, Subscriptions},
};
