//! What stands between a gate and its database: it can be cut, and it can be deaf.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// How it is between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Everything comes through.
    Whole,
    /// Nothing comes through, and nobody is told so.
    Frozen,
    /// What the gate sends comes through, and no answer does.
    Deaf,
    /// Every connection ends, and none is made.
    Cut,
}

/// One way to a database, as a directory with a socket in it.
pub struct DatabaseProxy {
    dir: tempfile::TempDir,
    wire: Arc<watch::Sender<Wire>>,
}

const SOCKET: &str = ".s.PGSQL.5432";

// === impl DatabaseProxy ===

impl DatabaseProxy {
    /// In front of the server with this socket directory.
    pub fn before(server: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(dir.path().join(SOCKET)).expect("it is free");
        let (wire, server) = (Arc::new(watch::channel(Wire::Whole).0), server.join(SOCKET));
        tokio::spawn(accept(listener, server, Arc::clone(&wire)));
        Self { dir, wire }
    }

    /// The same database through this proxy.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql:///{database}?host={}&user=claimgate", self.dir.path().display())
    }

    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

async fn accept(listener: UnixListener, server: PathBuf, wire: Arc<watch::Sender<Wire>>) {
    while let Ok((client, _)) = listener.accept().await {
        if *wire.borrow() == Wire::Cut {
            continue;
        }
        let Ok(server) = UnixStream::connect(&server).await else { continue };
        tokio::spawn(carry(client, server, wire.subscribe()));
    }
}

/// Both ways until one end is closed, or the wire is cut.
async fn carry(client: UnixStream, server: UnixStream, mut wire: watch::Receiver<Wire>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (there, back) = (wire.clone(), wire.clone());
    tokio::select! {
        () = pump(from_client, to_server, there, &[Wire::Whole, Wire::Deaf]) => {}
        () = pump(from_server, to_client, back, &[Wire::Whole]) => {}
        _ = wire.wait_for(|wire| *wire == Wire::Cut) => {}
    }
}

async fn pump(
    mut from: tokio::net::unix::OwnedReadHalf,
    mut to: tokio::net::unix::OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
    passes: &[Wire],
) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
        if wire.wait_for(|wire| passes.contains(wire)).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
