//! What a running forge is made of.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use super::journal::Received;
use super::options::Options;
use super::store::ForgeState;
use super::tasks::ServerTasks;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) events: broadcast::Sender<Bytes>,
    pub(super) received: Mutex<Vec<Received>>,
    pub(super) tasks: ServerTasks<ForgeState>,
}

impl Inner {
    pub(super) fn new(options: Options, address: &str) -> Arc<Self> {
        let tasks = ServerTasks::new(ForgeState::new(&options, address));
        let events = broadcast::Sender::new(1024);
        Arc::new(Self { options, events, received: Mutex::default(), tasks })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, ForgeState> {
        self.tasks.rows()
    }

    /// Runs a task that ends with the forge.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        self.tasks.spawn(work)
    }
}
