//! What every fake tracker's tasks share: its rows behind one lock, and when they end.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::reply::{Body, Cut};

/// The rows of a fake tracker, and the tasks that end with it.
#[derive(Debug)]
pub(crate) struct ServerTasks<S> {
    rows: Mutex<S>,
    closing: watch::Sender<bool>,
}

/// A fake tracker that answers on connections.
pub(crate) trait Serves: Send + Sync + Sized + 'static {
    /// Its rows.
    type Rows: Send + 'static;

    /// Its tasks.
    fn tasks(&self) -> &ServerTasks<Self::Rows>;

    /// Answers one request; `Cut` closes its connection without a word.
    fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<http::Response<Body>, Cut>> + Send;
}

impl<S> ServerTasks<S> {
    pub(crate) fn new(rows: S) -> Self {
        Self { rows: Mutex::new(rows), closing: watch::Sender::new(false) }
    }

    pub(crate) fn rows(&self) -> MutexGuard<'_, S> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a task that ends with the tracker.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<Option<T>> {
        let mut closing = self.closing.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => None,
                done = work => Some(done),
            }
        })
    }

    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// Serves what connects by TCP.
pub(crate) async fn accept_tcp(server: Arc<impl Serves>, listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        // A failure costs speed alone.
        let _ = stream.set_nodelay(true);
        server.tasks().spawn(serve(Arc::clone(&server), stream));
    }
}

/// Serves one connection.
pub(crate) async fn serve(server: Arc<impl Serves>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = service_fn(move |request| Arc::clone(&server).respond(request));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // A cut connection is an error here, and wanted.
    let _ = connection.await;
}
