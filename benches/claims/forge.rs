//! A forge that answers at once: any issue exists, unassigned until a PATCH says otherwise. `/big` is long.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

type Assigned = Arc<Mutex<HashMap<u64, String>>>;

/// Starts it on a thread and a runtime of its own.
pub fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    listener.set_nonblocking(true).expect("nonblocking");
    let address = listener.local_addr().expect("address");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
            let assigned = Assigned::default();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&assigned)));
            }
        });
    });
    address
}

async fn serve(mut stream: TcpStream, assigned: Assigned) {
    stream.set_nodelay(true).expect("nodelay");
    let mut buffer = Vec::with_capacity(8 << 10);
    loop {
        if buffer.starts_with(b"GET /big ") && buffer.ends_with(b"\r\n\r\n") {
            return drop(big(&mut stream).await);
        }
        while let Some((used, answer)) = answer(&buffer, &assigned) {
            buffer.drain(..used);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if !matches!(stream.read_buf(&mut buffer).await, Ok(read) if read > 0) {
            return;
        }
    }
}

/// Far more than sockets hold, from one piece of memory.
async fn big(stream: &mut TcpStream) -> std::io::Result<()> {
    static PIECE: [u8; 64 << 10] = [7; 64 << 10];
    const PIECES: usize = 1024;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECES * PIECE.len());
    stream.write_all(head.as_bytes()).await?;
    for _ in 0..PIECES {
        stream.write_all(&PIECE).await?;
    }
    Ok(())
}

/// The answer to the first whole request in the buffer, and that request's length.
fn answer(buffer: &[u8], assigned: &Assigned) -> Option<(usize, String)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(buffer).ok()? else { return None };
    let value = |name: &str| request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let length: usize =
        value("content-length").and_then(|v| std::str::from_utf8(v).ok()).and_then(|v| v.parse().ok()).unwrap_or(0);
    let body = buffer.get(head..head + length)?;
    let login = value("authorization").and_then(|v| std::str::from_utf8(v).ok()).unwrap_or("token nobody");
    let login = login.trim_start_matches("token ");
    let path = request.path.unwrap_or_default();
    let (status, json) = match path.rsplit('/').next().and_then(|last| last.parse::<u64>().ok()) {
        _ if path == "/api/v1/user" => ("200 OK", format!(r#"{{"id":1,"login":"{login}","username":"{login}"}}"#)),
        Some(item) if request.method == Some("PATCH") => {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let name = body["assignees"][0].as_str().unwrap_or_default().to_owned();
            assigned.lock().expect("lock").insert(item, name);
            ("201 Created", issue(item, assigned))
        }
        Some(item) => ("200 OK", issue(item, assigned)),
        None => ("404 Not Found", "{}".to_owned()),
    };
    let head_text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json;charset=utf-8\r\ncontent-length: {}\r\n\r\n",
        json.len()
    );
    Some((head + length, head_text + &json))
}

fn issue(item: u64, assigned: &Assigned) -> String {
    let holder = assigned.lock().expect("lock").get(&item).cloned();
    let user = holder.map(|login| format!(r#"{{"id":2,"login":"{login}"}}"#));
    let (one, list) = (user.clone().unwrap_or_else(|| "null".into()), user.map_or("null".into(), |u| format!("[{u}]")));
    format!(
        r#"{{"id":{},"number":{item},"title":"t","body":"text","labels":[],"assignee":{one},"assignees":{list},"state":"open","comments":0,"pull_request":null}}"#,
        item + 1000
    )
}
