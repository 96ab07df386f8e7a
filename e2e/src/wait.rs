//! Waiting for a condition, with a deadline that says what did not come.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks until `look` finds something, and returns it.
///
/// # Errors
/// When nothing was found within `limit`; the message names `what` and the last error of a look, if there was one.
pub async fn until<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    loop {
        let last = match look().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= deadline {
            return match last {
                Some(error) => {
                    Err(error).with_context(|| format!("waited {} s for: {what}", limit.as_secs()))
                }
                None => bail!("waited {} s in vain for: {what}", limit.as_secs()),
            };
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
