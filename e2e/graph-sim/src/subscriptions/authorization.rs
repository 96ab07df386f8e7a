//! Whether a subscription may still tell of changes (graph-facts §3.2, §4).

use jiff::Timestamp;

use super::Subscription;
use crate::app::{App, lock};

/// Roles by which an app may have subscriptions: the read role itself, unless the world is lenient (graph-facts §1.5).
pub(crate) fn roles(strict: bool) -> &'static [&'static str] {
    if strict { &["Calendars.Read"] } else { &["Calendars.Read", "Calendars.ReadWrite"] }
}

/// Who was asked for authorization and did not give it, or lost the right to it, is told for a while longer. A policy has
/// had its delay already.
pub(crate) fn is_authorized(app: &App, one: &Subscription, now: Timestamp) -> bool {
    let within = app.settings.reauthorize_within;
    let still = |since: Option<Timestamp>| {
        since.and_then(|since| since.checked_add(within).ok()).is_none_or(|end| now < end)
    };
    let unauthorized_since = lock(&app.directory)
        .application(one.tenant_id, one.application_id)
        .and_then(|application| application.unauthorized_since);
    still(one.challenged)
        && still(unauthorized_since)
        && app.policies.allow(one.tenant_id, one.application_id, one.user_id, now)
}
