//! The first look at what a client sends over HTTP/1, before hyper makes it look better than it is.
//!
//! hyper takes a bare LF for the end of a line, deletes a `Content-Length` that stands beside a `Transfer-Encoding`, cuts
//! a `#` off the target, and answers what it cannot read with an empty body. [`Sniffer`] sees each head whole and says
//! what is wrong with it; [`SniffIo`] keeps a head from hyper until it is whole. In the place of a refused one hyper
//! gets a plain request, by whose number the connection's service knows what to answer; then the connection closes.
//!
//! Heads are followed for as long as it is certain where the next one begins: after requests without a body or with a
//! `Content-Length`. After a chunked body nothing is looked at any more. What hyper hides there cannot reach the tracker
//! either, since every request upstream is written anew from what hyper understood: a line that ended in LF ends in
//! CRLF, a length beside a coding is gone (and hyper closes after it), a fragment is not sent.
//! The bytes of bodies are counted, never looked at, and copied only where they came with the rest of a divided head.

use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use http::Uri;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;
use crate::proxy::{Alarm, Fault, TickTimer};

/// A client's socket whose heads are looked at.
pub(super) struct SniffIo<T> {
    io: T,
    sniffer: Sniffer,
    /// The beginning of a head.
    held: Vec<u8>,
    /// Bytes that were held, or stand in for a refused head, on their way to hyper.
    released: Bytes,
    refusal: Arc<Refusal>,
    clock: Arc<TickTimer>,
    leave: Leave,
    client_ended: bool,
    /// Whether something was written that was not flushed yet.
    wrote: bool,
    /// What the connection still has to answer.
    owed: Arc<dyn Owed>,
    /// When the client last sent something.
    heard: Instant,
    /// The end of the last bytes, where nobody counts them.
    tail: [u8; 4],
}

/// Whether answers are still due on a connection.
pub(super) trait Owed: Send + Sync {
    /// After so many heads that were handed on.
    fn is_due(&self, heads: u64) -> bool;
}

/// Which request of a connection was refused, and why. It is the last one.
#[derive(Default)]
pub(super) struct Refusal(OnceLock<(u64, Fault)>);

/// Follows the heads of one connection.
struct Sniffer {
    max_head: usize,
    max_headers: usize,
    next: Next,
    search: Search,
    /// How many heads were good.
    heads: u64,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Head,
    /// The rest of a body.
    Body(u64),
    /// Nobody knows.
    Unknown,
}

/// How far the end of the current head has been looked for.
#[derive(Default)]
struct Search {
    searched: usize,
    line_start: usize,
    begun: bool,
    /// Empty lines before the first that is not.
    blanks: usize,
}

/// How many of some bytes may go on, and what is with the others.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    All,
    /// After so many a head begins that is not whole.
    Partial(usize),
    /// After so many a head begins, so long, in whose place goes the same with its target encoded.
    Encoded(usize, usize, Vec<u8>),
    /// After so many a head begins that is refused.
    Refused(usize, Fault),
}

/// A head that is whole.
struct Whole {
    length: usize,
    /// The same with its target encoded, where that had characters which Go's server takes and hyper does not.
    encoded: Option<Vec<u8>>,
}

/// How a socket is left: what the client still sends is taken in for a moment, because a socket that is closed over
/// unread bytes is reset, and the answer with it.
enum Leave {
    NotYet,
    Lingering { until: Alarm, taken: usize },
    Left,
}

/// What is seen of a client's bytes that come in these pieces: how many heads were good, and whether the next one was
/// refused. For those who test this from outside.
#[doc(hidden)]
pub fn sniff(pieces: &[&[u8]]) -> (u64, bool) {
    let (mut sniffer, mut held) = (Sniffer::new(&Limits::default()), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        match sniffer.look(&held) {
            Seen::Partial(passes) => drop(held.drain(..passes)),
            Seen::All | Seen::Encoded(..) => held.clear(),
            Seen::Refused(..) => return (sniffer.heads, true),
        }
    }
    (sniffer.heads, false)
}

// === impl Refusal ===

impl Refusal {
    /// Why the request with this number, counted from 0, is refused.
    pub(super) fn of(&self, number: u64) -> Option<Fault> {
        self.0.get().filter(|(refused, _)| *refused == number).map(|(_, fault)| fault.clone())
    }
}

// === impl Sniffer ===

impl Sniffer {
    fn new(limits: &Limits) -> Self {
        Self {
            max_head: limits.max_head_bytes,
            max_headers: limits.max_headers,
            next: Next::Head,
            search: Search::default(),
            heads: 0,
        }
    }

    /// Looks at bytes that follow the ones before; a head that was partial must come again with more.
    fn look(&mut self, bytes: &[u8]) -> Seen {
        let mut at = 0;
        while at < bytes.len() {
            match self.next {
                Next::Unknown => return Seen::All,
                Next::Body(left) => {
                    let here = left.min((bytes.len() - at) as u64);
                    self.next = if here == left { Next::Head } else { Next::Body(left - here) };
                    at += usize::try_from(here).unwrap_or(usize::MAX);
                }
                Next::Head => match self.head(&bytes[at..]) {
                    Ok(Some(Whole { length, encoded: Some(head) })) => return Seen::Encoded(at, length, head),
                    Ok(Some(Whole { length, encoded: None })) => at += length,
                    Ok(None) => return Seen::Partial(at),
                    Err(fault) => return Seen::Refused(at, fault),
                },
            }
        }
        Seen::All
    }

    /// The head that begins here, once it is whole.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<Whole>, Fault> {
        let before = self.search.line_start;
        let end = self.search.end(bytes)?;
        if end.unwrap_or(bytes.len()) > self.max_head {
            return Err(if self.search.line_start == 0 { Fault::TargetTooLong } else { Fault::HeadTooLarge });
        }
        let Some(end) = end else {
            // What is wrong already is told at once, but not looked for again with each byte of a long line.
            if self.search.line_start != before || bytes.len() < SHORT {
                read(bytes, self.max_headers)?;
            }
            return Ok(None);
        };
        self.search = Search::default();
        let encoded = encode_target(&bytes[..end]);
        let Some(next) = read(encoded.as_deref().unwrap_or(&bytes[..end]), self.max_headers)? else {
            return Err(Fault::BadRequest("the head has no end"));
        };
        self.next = next;
        self.heads += 1;
        Ok(Some(Whole { length: end, encoded }))
    }

    /// Whether the client may have sent more than was read.
    fn is_within_body(&self) -> bool {
        self.next != Next::Head
    }
}

impl Search {
    /// Where the head ends: after an empty line that is not the first. Each line must end in CRLF (RFC 9112, 2.2).
    fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.searched..]) {
            let feed = self.searched + found;
            if feed == 0 || bytes[feed - 1] != b'\r' {
                return Err(Fault::BadRequest("a line of the head ends in LF without CR"));
            }
            let is_empty = feed - 1 == self.line_start;
            self.searched = feed + 1;
            self.line_start = self.searched;
            if is_empty && self.begun {
                return Ok(Some(self.searched));
            }
            self.begun |= !is_empty;
            self.blanks += usize::from(is_empty);
            if self.blanks > MOST_BLANKS {
                return Err(Fault::BadRequest("too many empty lines before the request"));
            }
        }
        self.searched = bytes.len();
        Ok(None)
    }
}

/// What follows this head; `None` if it is not whole, and has nothing wrong so far.
fn read(bytes: &[u8], max_headers: usize) -> Result<Option<Next>, Fault> {
    if max_headers > ON_STACK {
        let mut room = vec![httparse::EMPTY_HEADER; max_headers];
        let mut request = httparse::Request::new(&mut room);
        return match request.parse(bytes).map_err(unreadable)? {
            httparse::Status::Complete(_) => next(&request).map(Some),
            httparse::Status::Partial => Ok(None),
        };
    }
    let mut room = [const { MaybeUninit::uninit() }; ON_STACK];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut room[..max_headers]).map_err(unreadable)? {
        httparse::Status::Complete(_) => next(&request).map(Some),
        httparse::Status::Partial => Ok(None),
    }
}

fn unreadable(error: httparse::Error) -> Fault {
    Fault::BadRequest(match error {
        httparse::Error::TooManyHeaders => return Fault::HeadTooLarge,
        httparse::Error::Version => "not HTTP/1.1 or HTTP/1.0",
        httparse::Error::HeaderName => "malformed name of a header",
        httparse::Error::HeaderValue => "malformed value of a header",
        httparse::Error::NewLine => "malformed end of a line",
        httparse::Error::Token | httparse::Error::Status => "malformed request line",
    })
}

/// The rules on framing and target whose breach hyper hides or answers without a word.
fn next(request: &httparse::Request<'_, '_>) -> Result<Next, Fault> {
    target(request.path.unwrap_or_default())?;
    let mut length = None;
    let mut is_chunked = false;
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let this = digits(header.value).ok_or(Fault::BadRequest("malformed Content-Length"))?;
            if length.is_some_and(|before| before != this) {
                return Err(Fault::BadRequest("two different Content-Length"));
            }
            length = Some(this);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked {
                return Err(Fault::BadRequest("more than one Transfer-Encoding"));
            }
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::BadRequest("a Transfer-Encoding other than chunked"));
            }
            is_chunked = true;
        }
    }
    match (length, is_chunked) {
        (Some(_), true) => Err(Fault::BadRequest("both Content-Length and Transfer-Encoding")),
        (None, true) if request.version != Some(1) => Err(Fault::BadRequest("Transfer-Encoding in HTTP/1.0")),
        (None, true) => Ok(Next::Unknown),
        (None | Some(0), false) => Ok(Next::Head),
        (Some(length), false) => Ok(Next::Body(length)),
    }
}

/// The head with each character of its target encoded that a URI may not have, where hyper would not take it as it is. Go's
/// server takes them all, and reads an encoded one as the plain one.
fn encode_target(head: &[u8]) -> Option<Vec<u8>> {
    let blank = |bytes: &[u8]| memchr::memchr(b' ', bytes);
    let begin = blank(head)? + 1;
    let end = begin + blank(&head[begin..])?;
    let target = &head[begin..end];
    let is_odd = |byte: &u8| ODD[usize::from(*byte)];
    if !target.iter().any(is_odd) || std::str::from_utf8(target).is_ok_and(|text| text.parse::<Uri>().is_ok()) {
        return None;
    }
    let mut out = head[..begin].to_vec();
    for byte in target {
        if is_odd(byte) {
            out.extend(format!("%{byte:02X}").into_bytes());
        } else {
            out.push(*byte);
        }
    }
    out.extend_from_slice(&head[end..]);
    Some(out)
}

fn target(text: &str) -> Result<(), Fault> {
    if text.len() > LONGEST_TARGET {
        return Err(Fault::TargetTooLong);
    }
    if text.contains('#') {
        return Err(Fault::BadRequest("a `#` in the target: send it as %23"));
    }
    // Nearly all are plain, and then hyper can read them.
    if text.starts_with('/') && text.bytes().all(|byte| PLAIN[usize::from(byte)]) {
        return Ok(());
    }
    text.parse::<Uri>().map(drop).map_err(|_| Fault::BadRequest("malformed target"))
}

fn digits(value: &[u8]) -> Option<u64> {
    let all = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let length: u64 = std::str::from_utf8(value).ok().filter(|_| all)?.parse().ok()?;
    (length <= LONGEST_BODY).then_some(length)
}

// === impl SniffIo ===

impl<T> SniffIo<T> {
    pub(super) fn new(
        io: T,
        limits: &Limits,
        clock: Arc<TickTimer>,
        refusal: Arc<Refusal>,
        owed: Arc<dyn Owed>,
    ) -> Self {
        Self {
            io,
            sniffer: Sniffer::new(limits),
            held: Vec::new(),
            released: Bytes::new(),
            refusal,
            clock,
            leave: Leave::NotYet,
            client_ended: false,
            wrote: false,
            owed,
            heard: Instant::now(),
            tail: [0; 4],
        }
    }

    /// Whether the client has only closed its sending side, right after a whole request, and waits for the answer. One that goes later
    /// has given up: nobody waits.
    fn is_half_closed(&self) -> bool {
        let is_whole = match self.sniffer.next {
            Next::Head => self.held.is_empty(),
            Next::Body(_) => false,
            // A chunked body and a head end so.
            Next::Unknown => self.tail == *b"\r\n\r\n",
        };
        is_whole && self.owed.is_due(self.sniffer.heads) && (self.client_ended || self.heard.elapsed() < HALF_CLOSE)
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.heard = Instant::now();
        let last = &bytes[bytes.len().saturating_sub(self.tail.len())..];
        self.tail.rotate_left(last.len());
        let from = self.tail.len() - last.len();
        self.tail[from..].copy_from_slice(last);
    }

    fn is_refused(&self) -> bool {
        self.refusal.0.get().is_some()
    }

    /// How many of these bytes may go on as they came, before what was released; and where a head begins behind them that is
    /// not whole.
    fn judge(&mut self, bytes: &[u8]) -> (usize, usize) {
        let (mut in_place, mut at, mut behind) = (None, 0, Vec::new());
        let held_from = loop {
            let seen = self.sniffer.look(&bytes[at..]);
            let passes = match &seen {
                Seen::All => bytes.len() - at,
                Seen::Partial(passes) | Seen::Encoded(passes, ..) | Seen::Refused(passes, _) => *passes,
            };
            let plain = &bytes[at..at + passes];
            match in_place {
                None => in_place = Some(passes),
                Some(_) => behind.extend_from_slice(plain),
            }
            at += passes;
            match seen {
                Seen::All | Seen::Partial(_) => break at,
                Seen::Encoded(_, length, head) => {
                    behind.extend(head);
                    at += length;
                }
                Seen::Refused(_, fault) => {
                    behind.extend_from_slice(self.refuse(fault, &bytes[at..]));
                    break bytes.len();
                }
            }
        };
        if !behind.is_empty() {
            self.released = Bytes::from(behind);
        }
        (in_place.unwrap_or(0), held_from)
    }

    /// What goes in the place of this head.
    fn refuse(&self, fault: Fault, head: &[u8]) -> &'static [u8] {
        tracing::debug!(%fault, "head refused");
        // A connection is refused once: what follows is not read.
        let _ = self.refusal.0.set((self.sniffer.heads, fault));
        if head.starts_with(b"HEAD ") { IN_PLACE_OF_A_HEAD } else { IN_PLACE }
    }

    /// How many bytes may go on as they came; the beginning of a head behind them is kept.
    fn look(&mut self, bytes: &[u8]) -> usize {
        let (passes, held_from) = self.judge(bytes);
        self.held.extend_from_slice(&bytes[held_from..]);
        passes
    }

    /// The rest of a head came: all that was held is looked at again, and not copied again while it is not whole.
    fn look_again(&mut self, more: &[u8]) {
        let mut bytes = mem::take(&mut self.held);
        bytes.extend_from_slice(more);
        let (passes, held_from) = self.judge(&bytes);
        if held_from == 0 {
            self.held = bytes;
            return;
        }
        self.held.extend_from_slice(&bytes[held_from..]);
        bytes.truncate(passes);
        bytes.extend_from_slice(&self.released);
        self.released = Bytes::from(bytes);
    }

    fn release(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.released.len().min(buf.remaining());
        buf.put_slice(&self.released[..length]);
        self.released.advance(length);
    }

    fn may_send_more(&self) -> bool {
        !self.client_ended && (self.is_refused() || self.sniffer.is_within_body())
    }
}

impl<T: AsyncRead + Unpin> SniffIo<T> {
    /// Takes in what still comes, for a bounded time and up to a bounded size.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        while let Leave::Lingering { until, taken } = &mut self.leave {
            let mut buf = ReadBuf::new(&mut scratch);
            let is_over = until.poll(cx).is_ready() || *taken > LINGER_BYTES;
            if !is_over && ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)).is_ok() && !buf.filled().is_empty() {
                *taken += buf.filled().len();
                continue;
            }
            self.leave = Leave::Left;
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for SniffIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.released.is_empty() {
                this.release(buf);
                return Poll::Ready(Ok(()));
            }
            if this.is_refused() {
                // Not the end: hyper would leave before it has answered.
                return Poll::Pending;
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            let came = &buf.filled()[before..];
            if came.is_empty() {
                let is_half_closed = this.is_half_closed();
                this.client_ended = true;
                // hyper takes the end for a client that has gone; `poll_flush` wakes it after the answer.
                return if is_half_closed { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
            this.hear(came);
            if !this.held.is_empty() {
                this.look_again(came);
                buf.set_filled(before);
                continue;
            }
            let passes = this.look(came);
            buf.set_filled(before + passes);
            if passes > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SniffIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.wrote = true;
        Pin::new(&mut this.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.wrote = true;
        Pin::new(&mut this.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.io).poll_flush(cx))?;
        // After the answer hyper must look again: a client that had closed its side is owed nothing more.
        if mem::take(&mut this.wrote) && this.client_ended {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Leave::NotYet = this.leave {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            this.leave = if this.may_send_more() {
                Leave::Lingering { until: this.clock.alarm(LINGER), taken: 0 }
            } else {
                Leave::Left
            };
        }
        this.poll_linger(cx).map(Ok)
    }
}

/// What hyper reads in the place of a refused head: nothing of the client's is in it.
const IN_PLACE: &[u8] = b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n";
const IN_PLACE_OF_A_HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// Characters that a URI may not have, and that Go's server takes.
const ODD: [bool; 256] = {
    let mut odd = bytes_of(b"\"<>\\^`{|}");
    let mut byte = 128;
    while byte < 256 {
        odd[byte] = true;
        byte += 1;
    }
    odd
};

/// Those of which a target has nothing that would have to be looked at again.
const PLAIN: [bool; 256] = {
    let mut plain = bytes_of(b"/-._~%?=&+:@,;!$'()*");
    let mut byte = 0u8;
    while byte < 128 {
        plain[byte as usize] |= byte.is_ascii_alphanumeric();
        byte += 1;
    }
    plain
};

const fn bytes_of(members: &[u8]) -> [bool; 256] {
    let mut all = [false; 256];
    let mut at = 0;
    while at < members.len() {
        all[members[at] as usize] = true;
        at += 1;
    }
    all
}

/// As many headers are read without an allocation.
const ON_STACK: usize = 128;
/// Some clients send one after a body (RFC 9112, 2.2); each makes all before it be read again.
const MOST_BLANKS: usize = 8;
/// Up to here an unfinished line is read with each byte that comes.
const SHORT: usize = 1024;
/// hyper's own limit.
const LONGEST_TARGET: usize = 65_534;
/// hyper uses the last few numbers for itself.
const LONGEST_BODY: u64 = u64::MAX / 2;

/// So soon after its last byte a client closes its side on purpose, and not because it has waited in vain.
const HALF_CLOSE: Duration = Duration::from_millis(250);
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn sniffer() -> Sniffer {
        Sniffer::new(&Limits { max_head_bytes: 4096, max_headers: 8, ..Limits::default() })
    }

    #[track_caller]
    fn check(bytes: &str, expected: &Seen) {
        assert_eq!(&sniffer().look(bytes.as_bytes()), expected, "{bytes:?}");
        // Divided anywhere it is the same, but for what is told before the end.
        for at in 1..bytes.len() {
            let mut sniffer = sniffer();
            let mut begin = match sniffer.look(&bytes.as_bytes()[..at]) {
                Seen::All => at,
                Seen::Partial(passes) => passes,
                Seen::Encoded(..) => panic!("{bytes:?}: nothing in it needs encoding"),
                refused @ Seen::Refused(..) => {
                    assert_eq!(&refused, expected, "{bytes:?} at {at}");
                    continue;
                }
            };
            let rest = sniffer.look(&bytes.as_bytes()[begin..]);
            let rest = match rest {
                Seen::All => Seen::All,
                Seen::Encoded(..) => panic!("{bytes:?}: nothing in it needs encoding"),
                Seen::Partial(passes) => Seen::Partial({
                    begin += passes;
                    begin
                }),
                Seen::Refused(passes, fault) => Seen::Refused(
                    {
                        begin += passes;
                        begin
                    },
                    fault,
                ),
            };
            assert_eq!(&rest, expected, "{bytes:?} at {at}");
        }
    }

    fn bad(why: &'static str) -> Fault {
        Fault::BadRequest(why)
    }

    #[test]
    fn heads_are_followed_while_their_ends_are_known() {
        check("GET / HTTP/1.1\r\nhost: a\r\n\r\n", &Seen::All);
        check("\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", &Seen::All);
        check(&format!("{}GET / HTTP/1.1\r\n\r\n", "\r\n".repeat(MOST_BLANKS)), &Seen::All);
        check("GET / HTTP/1.1\r\nhost", &Seen::Partial(0));
        check("GET / HTTP/1.1\r\n\r\nGET /", &Seen::Partial(18));
        check("POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n\n\n#\r\rGET /", &Seen::Partial(43));
        check("POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n\n\n#\r\rGET /#", &Seen::Partial(43));
        check("POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 05\r\n\r\n12", &Seen::All);
        check("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nanything\n", &Seen::All);
    }

    #[test]
    fn what_hyper_hides_is_refused() {
        let lf = || bad("a line of the head ends in LF without CR");
        check("GET / HTTP/1.1\nhost: a\n\n", &Seen::Refused(0, lf()));
        check("GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n", &Seen::Refused(0, lf()));
        check("\nGET / HTTP/1.1\r\n\r\n", &Seen::Refused(0, lf()));
        check("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\na: b\n\r\n", &Seen::Refused(18, lf()));
        check("GET /a#b?c HTTP/1.1\r\n\r\n", &Seen::Refused(0, bad("a `#` in the target: send it as %23")));
        let both = || Seen::Refused(0, bad("both Content-Length and Transfer-Encoding"));
        check("POST / HTTP/1.1\r\ncontent-length: 0\r\ntransfer-encoding: chunked\r\n\r\n", &both());
        check("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n", &both());
        let other = || Seen::Refused(0, bad("a Transfer-Encoding other than chunked"));
        check("POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", &other());
        check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", &other());
        check("POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", &other());
        let twice = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(twice, &Seen::Refused(0, bad("more than one Transfer-Encoding")));
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(old, &Seen::Refused(0, bad("Transfer-Encoding in HTTP/1.0")));
    }

    #[test]
    fn raw_characters_are_encoded() {
        for (target, encoded) in [
            ("/x?a=\"<>\\^`{|}", "/x?a=%22%3C%3E%5C%5E%60%7B%7C%7D"),
            ("/<x>?a=1", "/%3Cx%3E?a=1"),
            ("/x?q=<\u{fc}>", "/x?q=%3C%C3%BC%3E"),
        ] {
            let (rest, body) = (" HTTP/1.1\r\nx: <\r\ncontent-length: 2\r\n\r\n", "{}");
            let head = format!("POST {target}{rest}");
            let seen = sniffer().look(format!("{head}{body}").as_bytes());
            assert_eq!(seen, Seen::Encoded(0, head.len(), format!("POST {encoded}{rest}").into_bytes()), "{target}");
        }
        check("GET /x?a={b}|c HTTP/1.1\r\n\r\n", &Seen::All);
    }

    #[test]
    fn empty_lines_do_not_go_on_for_ever() {
        let blanks = "\r\n".repeat(MOST_BLANKS + 1);
        let refused = Seen::Refused(0, bad("too many empty lines before the request"));
        check(&format!("{blanks}GET / HTTP/1.1\r\n\r\n"), &refused);
    }

    #[test]
    fn lengths_are_digits() {
        for value in ["5, 5", "+5", "0x5", "-1", "", "18446744073709551616", "18446744073709551615", "5 5"] {
            let head = format!("POST / HTTP/1.1\r\ncontent-length: {value}\r\n\r\n");
            check(&head, &Seen::Refused(0, bad("malformed Content-Length")));
        }
        let differ = "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n";
        check(differ, &Seen::Refused(0, bad("two different Content-Length")));
    }

    #[test]
    fn sizes_are_limited() {
        let long = "x".repeat(5000);
        let seen = sniffer().look(format!("GET /{long}").as_bytes());
        assert_eq!(seen, Seen::Refused(0, Fault::TargetTooLong));
        let seen = sniffer().look(format!("GET / HTTP/1.1\r\nx: {long}").as_bytes());
        assert_eq!(seen, Seen::Refused(0, Fault::HeadTooLarge));
        let many = "x: 1\r\n".repeat(9);
        let seen = sniffer().look(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes());
        assert_eq!(seen, Seen::Refused(0, Fault::HeadTooLarge));
    }
}
