//! A socket to the upstream that lets an early answer through, and reads in small parts.
//!
//! A tracker that refuses an upload (401, 413) answers before it has taken the body, and may close then: the next write fails while the
//! answer lies ready to be read. What such a peer does not take any more is dropped, so that the answer is read. Where there is none,
//! the read ends all the same, and the exchange is as broken as before.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Io;

/// The socket, and whether its peer takes nothing any more.
pub(super) struct EarlyAnswers {
    io: Io,
    is_deaf: bool,
    /// Whether something was written since the last bytes came: a request is still on its way.
    is_sending: bool,
}

impl EarlyAnswers {
    pub(super) fn of(io: Io) -> Self {
        Self { io, is_deaf: false, is_sending: false }
    }

    /// What becomes of a write of so many bytes.
    fn written(&mut self, length: usize, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match done {
            Poll::Ready(Err(error)) if has_closed(&error) => {
                self.is_deaf = true;
                Poll::Ready(Ok(length))
            }
            done => {
                self.is_sending |= done.is_ready();
                done
            }
        }
    }
}

/// Whether the peer takes nothing any more.
pub fn has_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted
    )
}

/// What one read brings at most.
const AT_ONCE: usize = 32 << 10;

impl AsyncRead for EarlyAnswers {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // hyper's buffer grows with what a read brings, up to the longest head; a client that does not take its answer would keep
        // several as long.
        let this = self.get_mut();
        let before = buf.filled().len();
        let done = if buf.remaining() <= AT_ONCE {
            Pin::new(&mut this.io).poll_read(cx, buf)
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(AT_ONCE));
            let done = Pin::new(&mut this.io).poll_read(cx, &mut part);
            let length = part.filled().len();
            buf.advance(length);
            done
        };
        let length = buf.filled().len() - before;
        match done {
            // Bytes of ours that the peer did not read made a reset of its end. An answer with a length that is not whole is
            // still known for that.
            Poll::Ready(Err(error)) if (this.is_deaf || this.is_sending) && has_closed(&error) => Poll::Ready(Ok(())),
            done => {
                this.is_sending &= length == 0;
                done
            }
        }
    }
}

impl AsyncWrite for EarlyAnswers {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_deaf {
            return Poll::Ready(Ok(buf.len()));
        }
        let done = Pin::new(&mut this.io).poll_write(cx, buf);
        this.written(buf.len(), done)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if this.is_deaf {
            return Poll::Ready(Ok(length));
        }
        let done = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.written(length, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_deaf { Poll::Ready(Ok(())) } else { Pin::new(&mut this.io).poll_flush(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_deaf { Poll::Ready(Ok(())) } else { Pin::new(&mut this.io).poll_shutdown(cx) }
    }
}
