//! Leave to send, asked for once more when a connection had to be made first.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tower::{BoxError, Layer, Service};

/// Asked after the audit entry and immediately before each send, such as by a leader whose lease may have run out.
pub trait SendGate: Send + Sync {
    /// Leave to send, or why not.
    ///
    /// # Errors
    /// The request is not sent; the text must hold no data.
    fn check(&self) -> Result<(), &'static str>;
}

/// Refuses connections that were made while the gate was shut meanwhile: between the question for leave and the first byte
/// of a request lie name resolution, TCP and TLS, in which a process can stand still for as long as it takes another one to
/// become the leader.
#[derive(Clone)]
pub struct ConnectionGate(Arc<dyn SendGate>);

impl ConnectionGate {
    /// For an HTTP client whose requests this gate is asked about.
    pub fn new(gate: Arc<dyn SendGate>) -> Self {
        Self(gate)
    }
}

impl fmt::Debug for ConnectionGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnectionGate").finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ConnectionGate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gate: self.clone() }
    }
}

/// A connector behind the gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    gate: ConnectionGate,
}

impl<S, R> Service<R> for Gated<S>
where
    S: Service<R, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (connecting, gate) = (self.inner.call(request), self.gate.clone());
        Box::pin(async move {
            let connection = connecting.await?;
            gate.0.check()?;
            Ok(connection)
        })
    }
}
