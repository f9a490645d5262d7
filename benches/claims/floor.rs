//! The least that a durable gate does for a claim, and nothing else: a read, a commit, the write, a read, a commit.
//!
//! No HTTP but what the forge needs, no database, no record, no check: four kilobytes in place and a sync for each group of
//! commits. What it takes is the disk's, the machine's and the forge's; no gate that keeps its word can be faster here.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

type Commit = oneshot::Sender<()>;

/// The log's length, written over in place.
const LENGTH: u64 = 16 << 20;
/// What a group writes.
const PAGE: [u8; 4096] = [7; 4096];

/// Starts it on a thread and a runtime of its own, with its log in a temporary directory on disk.
pub fn start(forge: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    listener.set_nonblocking(true).expect("nonblocking");
    let address = listener.local_addr().expect("address");
    let (commits, queue) = channel();
    thread::spawn(move || write(&queue));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, forge, commits.clone()));
            }
        });
    });
    address
}

/// One commit after another; those that wait go together.
fn write(queue: &Receiver<Commit>) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = File::create_new(dir.path().join("log")).expect("a file");
    for at in (0..LENGTH).step_by(PAGE.len()) {
        file.write_all_at(&PAGE, at).expect("written");
    }
    file.sync_all().expect("synced");
    for at in (0..LENGTH).step_by(PAGE.len()).cycle() {
        let Ok(first) = queue.recv() else { return };
        let group: Vec<Commit> = std::iter::once(first).chain(queue.try_iter()).collect();
        file.write_all_at(&PAGE, at).and_then(|()| file.sync_data()).expect("synced");
        for commit in group {
            let _ = commit.send(());
        }
    }
}

async fn serve(mut client: TcpStream, forge: SocketAddr, commits: Sender<Commit>) {
    client.set_nodelay(true).expect("nodelay");
    let mut upstream = TcpStream::connect(forge).await.expect("the forge");
    upstream.set_nodelay(true).expect("nodelay");
    while let Some(write) = message(&mut client).await {
        let path = write.split(|byte| *byte == b' ').nth(1).expect("a path");
        let read = [b"GET ", path, b" HTTP/1.1\r\nhost: forge\r\n\r\n"].concat();
        exchange(&mut upstream, &read).await;
        commit(&commits).await;
        let answer = exchange(&mut upstream, &write).await;
        exchange(&mut upstream, &read).await;
        commit(&commits).await;
        if client.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn commit(commits: &Sender<Commit>) {
    let (done, committed) = oneshot::channel();
    commits.send(done).expect("the writer");
    committed.await.expect("committed");
}

async fn exchange(upstream: &mut TcpStream, request: &[u8]) -> Vec<u8> {
    upstream.write_all(request).await.expect("sent");
    message(upstream).await.expect("an answer")
}

/// The next whole message, if one comes.
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut buffer = Vec::with_capacity(2 << 10);
    while !whole(&buffer) {
        stream.read_buf(&mut buffer).await.ok().filter(|read| *read > 0)?;
    }
    Some(buffer)
}

/// Whether the buffer holds a message to its end.
fn whole(buffer: &[u8]) -> bool {
    let Some(head) = buffer.windows(4).position(|end| end == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = text.split("\r\n").find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    buffer.len() >= head + 4 + length.unwrap_or(0)
}
