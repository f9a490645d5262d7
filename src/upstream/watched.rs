//! The port to the tracker, with an eye on whether the tracker can be reached.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::HttpUpstream;
use crate::dialect::{WireRequest, WireResponse};
use crate::effect::{CallError, Carrier, Health, Sending, Upstream};

/// Reports what each call came to.
pub struct WatchedUpstream {
    /// Carries the calls out.
    pub inner: HttpUpstream,
    /// Is told.
    pub health: Health,
}

impl WatchedUpstream {
    fn note<T>(&self, outcome: Result<T, CallError>) -> Result<T, CallError> {
        match &outcome {
            Ok(_) => self.health.tracker_works(),
            Err(CallError::NotSent(why)) => self.health.tracker_fails(why),
            // It was reached; what became of the answer is the call's own affair.
            Err(CallError::Expired | CallError::Unknown(_) | CallError::TooLong(_) | CallError::NoRoom) => {}
        }
        outcome
    }
}

impl Upstream for WatchedUpstream {
    fn read(&self, request: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>> {
        self.inner.read(request).map(|outcome| self.note(outcome)).boxed()
    }

    fn read_back(&self, request: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>> {
        self.inner.read_back(request).map(|outcome| self.note(outcome)).boxed()
    }

    fn send<'a>(
        &'a self,
        sending: Sending,
        request: WireRequest,
        on: Option<Carrier>,
        ready: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<WireResponse, CallError>> {
        self.inner.send(sending, request, on, ready).map(|outcome| self.note(outcome)).boxed()
    }

    fn reach(&self) -> BoxFuture<'_, Result<(), CallError>> {
        self.inner.reach().map(|outcome| self.note(outcome)).boxed()
    }
}
