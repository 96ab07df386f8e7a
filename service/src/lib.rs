//! What both daemons of Roomkeeper need: telemetry, metrics registry, admin HTTP, HTTPS listeners, TLS provider, shutdown, the audit, the keys behind
//! clientState, and access to Graph with the credential of an AccessScope.

pub mod admin;
pub mod audit;
pub mod audit_copy;
pub mod audit_export;
pub mod client_state;
mod durable;
pub mod health;
pub mod https;
pub mod metrics;
pub mod scope_access;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
