//! Clients that are as slow as they may be, in each way there is; one that is thrown out comes again.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// In which way a client is slow.
#[derive(Clone, Copy)]
enum Way {
    /// Its head comes byte by byte.
    Head,
    /// The body of a request that passes does.
    Body,
    /// The body of a guarded write does.
    Guarded,
    /// It takes its answer byte by byte.
    Reader,
    /// It says nothing after its first request.
    Idle,
}

const WAYS: [(&str, Way); 5] =
    [("head", Way::Head), ("body", Way::Body), ("guarded", Way::Guarded), ("reader", Way::Reader), ("idle", Way::Idle)];
/// Between two bytes.
const PAUSE: Duration = Duration::from_secs(1);
/// How many come in a second, until all are there.
const ARRIVALS: u64 = 1000;

/// How often clients came.
pub type Came = Rc<Cell<u64>>;

/// Starts as many; needs a local set. They go on until it is dropped.
pub fn start(at: SocketAddr, count: usize) -> Came {
    let came = Came::default();
    let ways = ways();
    for number in 0..count {
        let counter = Rc::clone(&came);
        let way = ways[number % ways.len()];
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_micros(number as u64 * 1_000_000 / ARRIVALS)).await;
            loop {
                counter.set(counter.get() + 1);
                // How it ends is the gate's affair.
                drop(visit(at, way, number).await);
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    came
}

/// All of them, or those that the environment names.
fn ways() -> Vec<Way> {
    let told = std::env::var("CLAIMGATE_BENCH_WAYS").ok();
    let is_told = |name: &str| told.as_ref().is_none_or(|list| list.split(',').any(|one| one == name));
    WAYS.iter().filter(|(name, _)| is_told(name)).map(|(_, way)| *way).collect()
}

async fn visit(at: SocketAddr, way: Way, number: usize) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    if let Way::Reader = way {
        // The smallest that there is: what the client does not take, the gate has.
        socket.set_recv_buffer_size(4 << 10)?;
    }
    let mut stream = socket.connect(at).await?;
    let body = "host: gate\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
    let item = format!("/api/v1/repos/bench/bench/issues/{}", 1_000_000 + number);
    match way {
        Way::Head => drip(&mut stream, "GET / HTTP/1.1\r\nhost: gate\r\nx: ").await,
        Way::Body => drip(&mut stream, &format!("POST /slow HTTP/1.1\r\n{body}")).await,
        Way::Guarded => {
            drip(&mut stream, &format!("PATCH {item} HTTP/1.1\r\nauthorization: token slow\r\n{body}")).await
        }
        Way::Reader => {
            stream.write_all(b"GET /big HTTP/1.1\r\nhost: gate\r\n\r\n").await?;
            sip(&mut stream).await
        }
        Way::Idle => {
            stream.write_all(format!("GET {item} HTTP/1.1\r\nhost: gate\r\n\r\n").as_bytes()).await?;
            while stream.read(&mut [0; 4096]).await? > 0 {}
            Ok(())
        }
    }
}

/// All of it at once, and then one byte after the other.
async fn drip(stream: &mut TcpStream, begin: &str) -> std::io::Result<()> {
    stream.write_all(begin.as_bytes()).await?;
    loop {
        tokio::time::sleep(PAUSE).await;
        stream.write_all(b" ").await?;
    }
}

async fn sip(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut few = [0; 64];
    while stream.read(&mut few).await? > 0 {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
