//! What was set aside within the last week, in spans of six hours. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use roomkeeper_crds::access_scope::QuotaSpan;

/// Length of a span.
const SPAN: SignedDuration = SignedDuration::from_hours(6);
/// A span counts until so long after its end: a week, and a chunk that was set aside at its very end and is used up later.
const COUNTS: SignedDuration = SignedDuration::from_secs(7 * 24 * 3_600 + 120);
/// A span that begins so far ahead was written by a clock that went wrong.
const ABSURD: SignedDuration = SignedDuration::from_hours(8 * 24);
/// Spans in the status; the schema has the same bound.
const SPANS: usize = 40;

/// Drops what left the week. What a clock wrote that went far ahead counts from now on.
pub fn tidy(week: &mut Vec<QuotaSpan>, now: Timestamp) {
    week.retain(|span| leaves_at(span) > now);
    for span in week.iter_mut().filter(|span| span.from.0.duration_since(now) > ABSURD) {
        span.from = Time(begin(now));
    }
    week.sort_by_key(|span| span.from.0);
    while week.len() > SPANS - 1 {
        let oldest = week.remove(0);
        if let Some(next) = week.first_mut() {
            next.reserved = next.reserved.saturating_add(oldest.reserved);
        }
    }
}

/// Calls within the week.
pub fn total(week: &[QuotaSpan]) -> u32 {
    week.iter().fold(0_u32, |sum, span| sum.saturating_add(span.reserved))
}

/// Sets calls aside; returns the begin of the span that they are in.
pub fn add(week: &mut Vec<QuotaSpan>, calls: u32, now: Timestamp) -> Timestamp {
    let from = begin(now);
    match week.iter_mut().find(|span| span.from.0 == from) {
        Some(span) => span.reserved = span.reserved.saturating_add(calls),
        None => week.push(QuotaSpan { from: Time(from), reserved: calls }),
    }
    week.sort_by_key(|span| span.from.0);
    from
}

/// Gives calls back that were surely not made.
pub fn give_back(week: &mut [QuotaSpan], span: Timestamp, calls: u32) {
    if let Some(span) = week.iter_mut().find(|one| one.from.0 == span) {
        span.reserved = span.reserved.saturating_sub(calls);
    }
}

/// When fewer than `limit` calls are left within the week.
pub fn room_at(week: &[QuotaSpan], limit: u32) -> Timestamp {
    let mut left = total(week);
    let mut at = Timestamp::MIN;
    for span in week {
        if left < limit {
            break;
        }
        left = left.saturating_sub(span.reserved);
        at = at.max(leaves_at(span));
    }
    at
}

fn leaves_at(span: &QuotaSpan) -> Timestamp {
    span.from.0.checked_add(SPAN).and_then(|end| end.checked_add(COUNTS)).unwrap_or(Timestamp::MAX)
}

fn begin(now: Timestamp) -> Timestamp {
    let second = now.as_second();
    Timestamp::from_second(second - second.rem_euclid(SPAN.as_secs())).unwrap_or(now)
}
