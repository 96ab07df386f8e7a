use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::{
    error::{Reason, TokenRefusal},
    token::source::Acquired,
};

/// Hands out what it is told to, one answer per permit.
struct Script {
    calls: AtomicU32,
    permits: Semaphore,
    life: Duration,
    failing: Mutex<Option<Decision>>,
}

#[async_trait]
impl TokenSource for Arc<Script> {
    async fn acquire(&self, _: &Cause) -> Result<Acquired, GraphError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.permits.acquire().await.unwrap().forget();
        match *self.failing.lock().unwrap() {
            Some(decision) => Err(refused(decision)),
            None => Ok(Acquired { secret: number.to_string().into(), life: self.life }),
        }
    }
}

fn refused(decision: Decision) -> GraphError {
    GraphError::Token(Box::new(TokenRefusal {
        status: 401,
        aadsts: None,
        error: String::new(),
        fix: "",
        client_request_id: Uuid::nil(),
        decision,
    }))
}

fn tokens(life: Duration, permits: usize) -> (Arc<Tokens>, Arc<Script>) {
    let script = Arc::new(Script {
        calls: AtomicU32::new(0),
        permits: Semaphore::new(permits),
        life,
        failing: Mutex::default(),
    });
    (Tokens::new(script.clone()), script)
}

async fn get(tokens: &Arc<Tokens>) -> Result<String, GraphError> {
    use secrecy::ExposeSecret;
    tokens.get(&Cause::new("Test/a/b")).await.map(|token| token.secret.expose_secret().to_owned())
}

async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_request_and_its_token() {
    let (tokens, script) = tokens(HOUR, 0);
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { get(&tokens).await })
        })
        .collect();
    until(|| script.calls.load(Ordering::SeqCst) == 1).await;
    script.permits.add_permits(100);
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), "1");
    }
    assert_eq!(get(&tokens).await.unwrap(), "1");
    assert_eq!(script.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_failure_and_the_next_call_tries_again() {
    let (tokens, script) = tokens(HOUR, 0);
    *script.failing.lock().unwrap() = Some(Decision::UserMustAct(Reason::AuthFailed));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { get(&tokens).await })
        })
        .collect();
    until(|| script.calls.load(Ordering::SeqCst) == 1).await;
    // All of them are waiting before the answer comes.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    script.permits.add_permits(1);
    for caller in callers {
        let error = caller.await.unwrap().unwrap_err();
        assert_eq!(error.decision(), Decision::UserMustAct(Reason::AuthFailed));
    }
    assert_eq!(script.calls.load(Ordering::SeqCst), 1);
    *script.failing.lock().unwrap() = None;
    script.permits.add_permits(1);
    assert_eq!(get(&tokens).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_refreshed_in_the_background_before_it_ends() {
    let (tokens, script) = tokens(HOUR, 1);
    assert_eq!(get(&tokens).await.unwrap(), "1");
    tokio::time::advance(HOUR.checked_sub(AHEAD + JITTER + Duration::from_secs(1)).unwrap()).await;
    assert_eq!(get(&tokens).await.unwrap(), "1");
    assert_eq!(script.calls.load(Ordering::SeqCst), 1);
    tokio::time::advance(JITTER + Duration::from_secs(2)).await;
    // The old one serves while the new one is on its way.
    assert_eq!(get(&tokens).await.unwrap(), "1");
    until(|| script.calls.load(Ordering::SeqCst) == 2).await;
    assert_eq!(get(&tokens).await.unwrap(), "1");
    script.permits.add_permits(1);
    until(|| tokens.state().flight.is_none()).await;
    assert_eq!(get(&tokens).await.unwrap(), "2");
    assert_eq!(script.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_pauses_and_the_token_serves_to_its_end() {
    let (tokens, script) = tokens(HOUR, 1);
    assert_eq!(get(&tokens).await.unwrap(), "1");
    *script.failing.lock().unwrap() = Some(Decision::Retry);
    script.permits.add_permits(10);
    tokio::time::advance(HOUR.checked_sub(AHEAD).unwrap()).await;
    for _ in 0..10 {
        assert_eq!(get(&tokens).await.unwrap(), "1");
        until(|| tokens.state().flight.is_none()).await;
    }
    assert_eq!(script.calls.load(Ordering::SeqCst), 2);
    tokio::time::advance(PAUSE).await;
    assert_eq!(get(&tokens).await.unwrap(), "1");
    until(|| script.calls.load(Ordering::SeqCst) == 3).await;
    tokio::time::advance(AHEAD).await;
    assert!(get(&tokens).await.is_err());
    *script.failing.lock().unwrap() = None;
    tokio::time::advance(PAUSE).await;
    assert_eq!(get(&tokens).await.unwrap(), script.calls.load(Ordering::SeqCst).to_string());
}

#[tokio::test(start_paused = true)]
async fn a_refused_renewal_ends_what_was_given_before() {
    let (tokens, script) = tokens(HOUR, 1);
    assert_eq!(get(&tokens).await.unwrap(), "1");
    *script.failing.lock().unwrap() = Some(Decision::UserMustAct(Reason::AuthFailed));
    script.permits.add_permits(10);
    tokio::time::advance(HOUR.checked_sub(AHEAD).unwrap()).await;
    // This call sets the renewal off.
    assert_eq!(get(&tokens).await.unwrap(), "1");
    until(|| tokens.state().flight.is_none()).await;
    assert_eq!(get(&tokens).await.unwrap_err().decision(), Decision::UserMustAct(Reason::AuthFailed));
}

#[tokio::test(start_paused = true)]
async fn the_endpoints_waiting_time_binds_every_caller() {
    let (tokens, script) = tokens(HOUR, 10);
    *script.failing.lock().unwrap() = Some(Decision::Wait(Duration::from_secs(40)));
    assert_eq!(get(&tokens).await.unwrap_err().decision(), Decision::Wait(Duration::from_secs(40)));
    *script.failing.lock().unwrap() = None;
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(get(&tokens).await.unwrap_err().decision(), Decision::Wait(Duration::from_secs(10)));
    assert_eq!(script.calls.load(Ordering::SeqCst), 1);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(get(&tokens).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_rejected_token_is_dropped_once() {
    let (tokens, script) = tokens(HOUR, 10);
    let cause = Cause::new("Test/a/b");
    let first = tokens.get(&cause).await.unwrap();
    assert!(tokens.reject(&first));
    assert_eq!(get(&tokens).await.unwrap(), "2");
    // A late rejection of the old token must not cost the new one.
    assert!(tokens.reject(&first));
    assert_eq!(get(&tokens).await.unwrap(), "2");
    assert_eq!(script.calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn where_every_token_is_refused_one_a_minute_is_asked_for() {
    let (tokens, script) = tokens(HOUR, 10);
    let cause = Cause::new("Test/a/b");
    let refused = async || tokens.reject(&tokens.get(&cause).await.unwrap());
    assert!(refused().await);
    for _ in 0..100 {
        assert!(!refused().await, "there is none to try instead");
    }
    assert_eq!(script.calls.load(Ordering::SeqCst), 2);
    tokio::time::advance(FORBEARANCE).await;
    assert!(refused().await);
    assert!(!refused().await);
    assert_eq!(script.calls.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_short_lived_token_is_still_used() {
    let (tokens, script) = tokens(Duration::from_secs(10), 10);
    assert_eq!(get(&tokens).await.unwrap(), "1");
    assert_eq!(get(&tokens).await.unwrap(), "1");
    assert_eq!(script.calls.load(Ordering::SeqCst), 1);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(get(&tokens).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_stop_the_request() {
    let (tokens, script) = tokens(HOUR, 0);
    let caller = tokio::spawn({
        let tokens = tokens.clone();
        async move { get(&tokens).await }
    });
    until(|| script.calls.load(Ordering::SeqCst) == 1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    script.permits.add_permits(1);
    until(|| tokens.state().current.is_some()).await;
    assert_eq!(get(&tokens).await.unwrap(), "1");
    assert_eq!(script.calls.load(Ordering::SeqCst), 1);
}
