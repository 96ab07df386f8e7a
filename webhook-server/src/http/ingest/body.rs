//! Reading a request's body within bounds of size and time.

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    /// The connection broke or the framing is wrong.
    Broken,
}

/// Times the limit that is read and thrown away after a body proved too large: a client that is cut off while it still
/// writes would not see the answer.
const DRAIN_FACTOR: usize = 4;

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// The whole body, if it is at most `limit` bytes and arrives within `time`.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    time: Duration,
) -> Result<Bytes, Unread> {
    let deadline = Instant::now() + time;
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<u64>().ok());
    let mut too_large = declared.is_some_and(|bytes| bytes > limit as u64);
    let (mut kept, mut seen) = (BytesMut::new(), 0_usize);
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) | Ok(None) if too_large => return Err(Unread::TooLarge),
            Err(_) => return Err(Unread::TooSlow),
            Ok(None) => return Ok(kept.freeze()),
            Ok(Some(Err(_))) => return Err(Unread::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(data) = frame.data_ref() else { continue };
        seen = seen.saturating_add(data.len());
        too_large |= seen > limit;
        if seen > limit.saturating_mul(DRAIN_FACTOR) {
            return Err(Unread::TooLarge);
        }
        if too_large {
            kept = BytesMut::new();
        } else {
            kept.extend_from_slice(data);
        }
    }
}
