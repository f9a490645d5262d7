//! The tracker, as the gate speaks to it.
#![allow(missing_docs)]
use super::BoxFuture;
use crate::dialect::{WireRequest, WireResponse};
pub struct Carrier(pub Box<dyn std::any::Any + Send>);
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("not sent: {0}")]
    NotSent(String),
    #[error("the window to send had closed")]
    Expired,
    #[error("no certain answer: {0}")]
    Unknown(String),
}
pub trait Upstream: Send + Sync + 'static {
    fn read(&self, request: WireRequest) -> BoxFuture<'_, Result<(WireResponse, Option<Carrier>), CallError>>;
    fn send<'a>(
        &'a self,
        request: WireRequest,
        on: Option<Carrier>,
        ready: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> BoxFuture<'a, Result<WireResponse, CallError>>;
}
