//! A gate, tiny upstreams and plain clients, all over real sockets on free ports.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claimgate::proxy::{Body, Guard, PassAll, PassConfig, Shared, boxed, full};
use claimgate::server::{Certificates, Drain, Drained, Inherited, ListenerConfig, Server, ServerConfig};
use claimgate::upstream::UpstreamConfig;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Lets this process have as many open files as the system grants, and tells how many: a shell begins with 1,024, and
/// tests with hundreds of clients need more.
pub fn open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).expect("up to the hard limit");
    limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// A running gate.
pub struct Gate {
    pub address: SocketAddr,
    pub drain: Drain,
    pub certificates: Vec<Arc<Certificates>>,
    pub running: JoinHandle<Drained>,
}

/// How a gate is to be.
pub struct Plan {
    pub server: ServerConfig,
    pub upstream: UpstreamConfig,
    pub pass: PassConfig,
    pub guard: Arc<dyn Guard>,
}

impl Plan {
    pub fn to(upstream: &str) -> Self {
        let mut server = ServerConfig {
            listeners: vec![ListenerConfig::tcp(SocketAddr::from(([127, 0, 0, 1], 0)))],
            workers: Some(1),
            ..ServerConfig::default()
        };
        server.drain_timeout = Duration::from_secs(5);
        Self {
            server,
            upstream: UpstreamConfig::new(upstream.parse().unwrap()),
            pass: PassConfig { tick: Duration::from_millis(20), ..PassConfig::default() },
            guard: Arc::new(PassAll),
        }
    }

    pub fn start(self) -> Gate {
        open_files();
        let handle = tokio::runtime::Handle::current();
        let shared = Shared::new(self.guard, handle, self.upstream, self.pass).unwrap();
        let server = Server::bind(self.server, Inherited::none(), shared).unwrap();
        let address = server.addresses()[0].unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        let (drain, certificates) = (server.drain(), server.certificates());
        let running = tokio::spawn(async move { server.run(std::future::pending()).await.unwrap() });
        Gate { address, drain, certificates, running }
    }
}

impl Gate {
    /// In front of a TCP upstream, with defaults.
    pub fn before(upstream: SocketAddr) -> Self {
        Plan::to(&format!("http://{upstream}")).start()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.drain.start();
    }
}

/// An HTTP/1.1 upstream made of one function.
pub async fn forge<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            serve_http(stream, answer.clone());
        }
    });
    address
}

/// Serves HTTP/1.1 on any stream.
pub fn serve_http<S, F, R>(stream: S, answer: F)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    tokio::spawn(async move {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}

/// An upstream of plain bytes: one task a connection, told which connection it is.
pub async fn raw_forge<F, R>(serve: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(number, stream));
        }
    });
    address
}

/// Says what it was asked, as text: request line, headers, body.
pub async fn echo(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let mut text = format!("{} {}\n", head.method, head.uri);
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        text.extend([name.as_str(), ": ", &value, "\n"]);
    }
    let body = body.collect().await.unwrap().to_bytes();
    text.extend(["\n", &String::from_utf8_lossy(&body)]);
    Response::new(full(text))
}

/// A body from a channel.
pub fn channel() -> (tokio::sync::mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(http_body::Frame::data(bytes)), receiver))
    });
    (sender, boxed(http_body_util::StreamBody::new(frames)))
}

/// Reads one head, byte by byte, so that nothing of what follows is lost.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Sends bytes on a new connection and reads until the gate closes it.
pub async fn talk(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "still open after: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request whose connection is closed after it.
pub async fn ask(address: SocketAddr, line: &str, headers: &[&str]) -> String {
    let headers: String = headers.iter().flat_map(|it| [it, "\r\n"]).collect();
    talk(address, &format!("{line} HTTP/1.1\r\nhost: gate.test\r\nconnection: close\r\n{headers}\r\n")).await
}

/// The status of an answer read as text.
#[track_caller]
pub fn status(answer: &str) -> u16 {
    let code = answer.strip_prefix("HTTP/1.1 ").and_then(|it| it.get(..3));
    code.unwrap_or_else(|| panic!("no answer: {answer:?}")).parse().unwrap()
}

/// A client connection that speaks hyper.
pub async fn client<B>(address: SocketAddr) -> SendRequest<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

/// GET over a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> Response<Incoming> {
    let request = Request::get(path).header("host", "gate.test").body(Empty::<Bytes>::new()).unwrap();
    let mut client = client(address).await;
    let answer = client.send_request(request).await.unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_mins(1)).await;
        drop(client);
    });
    answer
}

/// The whole body as text.
pub async fn text(answer: Response<Incoming>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// A limit on what a test may wait for.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("took too long")
}
