//! The projector: prints the audit lines of the ledger, in order, and never drops one.
//!
//! The ledger holds the lines and how far they were printed. Each sink has a thread of its own, so that a full pipe or
//! disk holds up nothing but itself; what cannot be written is tried again for as long as the process lives. The mark
//! follows what every sink has on disk, so that after a crash lines may come twice, and none is missing.

use super::rotate::RotatingFile;
use crate::effect::{Ledger, LedgerError, LogOnce};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// Prints for as long as it lives.
#[derive(Debug)]
pub struct Projector {
    ledger: LedgerRef,
    stopping: watch::Sender<bool>,
    synced: watch::Receiver<Vec<u64>>,
    given_up: Arc<AtomicBool>,
    /// Ends the tasks with the projector.
    _feeding: JoinSet<()>,
    marking: JoinHandle<()>,
}

/// Where the lines go, as the configuration says.
#[derive(Clone, Debug, Default)]
pub struct Sinks {
    /// To standard output.
    pub stdout: bool,
    /// To this file.
    pub file: Option<PathBuf>,
    /// At which size a new file begins.
    pub rotate_size: Option<u64>,
    /// Old files kept; 0: all.
    pub keep: usize,
}

/// One place where the lines go.
pub enum Sink {
    /// Standard output.
    Stdout,
    /// A file, and how it rotates.
    File {
        /// Its name; old ones have `.1`, `.2` after it.
        path: PathBuf,
        /// At which size a new one begins.
        rotate_size: Option<u64>,
        /// Old files kept; 0: all.
        keep: usize,
    },
    /// Anything else.
    Writer(Option<Box<dyn Write + Send>>),
}

struct LedgerRef(Arc<dyn Ledger>);

/// Why the ledger did not answer, where it did not.
#[derive(Default)]
struct Trouble(LogOnce);

/// A sink that was opened.
enum Output {
    Stream(Box<dyn Write + Send>),
    File(RotatingFile),
}

enum Job {
    Print(Vec<(u64, String)>),
    /// What was printed is to be on disk, and then to be marked.
    Sync,
}

/// A sink's thread.
struct Printer {
    slot: usize,
    synced: Arc<watch::Sender<Vec<u64>>>,
    given_up: Arc<AtomicBool>,
    /// How the log calls the sink.
    sink: String,
}

/// Lines read from the ledger at once.
const BATCH: usize = 512;
/// How often what was printed is marked.
const MARK_EACH: Duration = Duration::from_millis(500);
/// Lines that follow one within this time are read together with it.
const GATHER: Duration = Duration::from_millis(5);
/// Between two tries of what failed.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two tries on a pipe that is full and does not block.
const PIPE_PAUSE: Duration = Duration::from_millis(5);
/// Failures between two words about the same one.
const SAID_EACH: u32 = 150;

// === impl Projector ===

impl Projector {
    /// Prints to the sinks that the configuration names.
    pub fn start(ledger: Arc<dyn Ledger>, sinks: Sinks) -> Self {
        let Sinks { stdout, file, rotate_size, keep } = sinks;
        let file = file.map(|path| Sink::File { path, rotate_size, keep });
        Self::over(ledger, stdout.then_some(Sink::Stdout).into_iter().chain(file).collect())
    }

    /// Prints to these sinks. In a tokio runtime.
    pub fn over(ledger: Arc<dyn Ledger>, sinks: Vec<Sink>) -> Self {
        let (stopping, _) = watch::channel(false);
        let (progress, synced) = watch::channel(vec![0; sinks.len()]);
        let (progress, given_up) = (Arc::new(progress), Arc::new(AtomicBool::new(false)));
        let mut feeding = JoinSet::new();
        for (slot, sink) in sinks.into_iter().enumerate() {
            let (jobs, queue) = mpsc::channel(1);
            let (synced, given_up) = (Arc::clone(&progress), Arc::clone(&given_up));
            let printer = Printer { slot, synced, given_up, sink: sink.to_string() };
            let thread = std::thread::Builder::new().name("audit".to_owned());
            if let Err(error) = thread.spawn(move || printer.run(sink, queue)) {
                tracing::error!(%error, "no thread to print the audit; its lines stay in the ledger");
            }
            feeding.spawn(feed(Arc::clone(&ledger), jobs, stopping.subscribe()));
        }
        let marking = tokio::spawn(mark(Arc::clone(&ledger), synced.clone()));
        Self { ledger: LedgerRef(ledger), stopping, synced, given_up, _feeding: feeding, marking }
    }

    /// Waits until the newest line is printed and marked, and ends. Returns how many lines were left after `timeout`;
    /// the next start prints them.
    pub async fn drain(mut self, timeout: Duration) -> u64 {
        // Decisions that wait for the ledger's next group have no line yet, and would be lost with the process.
        match tokio::time::timeout(timeout, self.ledger.0.flushed()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(ledger.error = %error, "the last audit lines were not recorded"),
            Err(_) => tracing::error!("the last audit lines were not recorded in time"),
        }
        if self.has_all(timeout).await {
            return 0;
        }
        self.stopping.send_replace(true);
        let marked = tokio::time::timeout(timeout, &mut self.marking).await;
        let printed = self.synced.borrow().iter().min().copied();
        let newest = *self.ledger.0.newest_line().borrow();
        let left = printed.map_or(0, |printed| newest.saturating_sub(printed));
        if marked.is_err() {
            tracing::error!(left, "the audit was not printed to its end; the next start goes on");
            return left.max(1);
        }
        0
    }

    /// Whether every line is printed and marked: a sink that cannot be written to, or a ledger that was never open, then
    /// holds up nothing.
    async fn has_all(&self, timeout: Duration) -> bool {
        let newest = *self.ledger.0.newest_line().borrow();
        if newest == 0 {
            return true;
        }
        let marked = tokio::time::timeout(timeout, self.ledger.0.printed()).await;
        matches!(marked, Ok(Ok(marked)) if marked >= newest)
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Release);
        self.marking.abort();
    }
}

impl std::fmt::Debug for LedgerRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

// === from the ledger to the threads ===

/// Hands a sink's thread the lines, and says now and then that they are to be on disk.
async fn feed(ledger: Arc<dyn Ledger>, jobs: mpsc::Sender<Job>, mut stopping: watch::Receiver<bool>) {
    let mut newest = ledger.newest_line();
    let mut trouble = Trouble::default();
    let mut after = printed(&*ledger, &mut trouble).await;
    let mut sync_at: Option<Instant> = None;
    loop {
        if sync_at.is_some_and(|at| at <= Instant::now()) {
            sync_at = None;
            if jobs.send(Job::Sync).await.is_err() {
                return;
            }
        }
        let end = *newest.borrow_and_update();
        if after < end {
            let lines = lines(&*ledger, after, &mut trouble).await;
            after = lines.last().map_or(after, |(seq, _)| *seq);
            sync_at.get_or_insert_with(|| Instant::now() + MARK_EACH);
            if !lines.is_empty() && jobs.send(Job::Print(lines)).await.is_err() {
                return;
            }
            continue;
        }
        if *stopping.borrow() {
            // The thread marks what it has, and ends with the channel.
            return drop(jobs.send(Job::Sync).await);
        }
        tokio::select! {
            changed = newest.changed() => match changed {
                Ok(()) => tokio::time::sleep(GATHER).await,
                Err(_) => return drop(jobs.send(Job::Sync).await),
            },
            () = tokio::time::sleep_until(sync_at.unwrap_or_else(Instant::now)), if sync_at.is_some() => {}
            changed = stopping.changed() => if changed.is_err() { return },
        }
    }
}

async fn printed(ledger: &dyn Ledger, trouble: &mut Trouble) -> u64 {
    loop {
        match ledger.printed().await {
            Ok(seq) => {
                trouble.over();
                return seq;
            }
            Err(error) => trouble.log_once(&error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The next lines; none, after a pause, if they cannot be had.
async fn lines(ledger: &dyn Ledger, after: u64, trouble: &mut Trouble) -> Vec<(u64, String)> {
    match ledger.lines(after, BATCH).await {
        Ok(lines) if !lines.is_empty() => {
            trouble.over();
            return lines;
        }
        Ok(_) => {}
        Err(error) => trouble.log_once(&error),
    }
    tokio::time::sleep(PAUSE).await;
    Vec::new()
}

/// Writes down how far every sink has come, until the last thread has ended.
async fn mark(ledger: Arc<dyn Ledger>, mut synced: watch::Receiver<Vec<u64>>) {
    let (mut marked, mut trouble) = (0, Trouble::default());
    loop {
        let ended = synced.changed().await.is_err();
        loop {
            let seq = synced.borrow_and_update().iter().min().copied().unwrap_or(0);
            if seq <= marked {
                break;
            }
            match ledger.mark_printed(seq).await {
                Ok(()) => {
                    trouble.over();
                    marked = seq;
                }
                Err(error) => {
                    trouble.log_once(&error);
                    tokio::time::sleep(MARK_EACH).await;
                }
            }
        }
        if ended {
            return;
        }
    }
}

// === impl Trouble ===

impl Trouble {
    fn log_once(&mut self, error: &LedgerError) {
        let why = error.to_string();
        if self.0.is_news(&why) {
            tracing::warn!(ledger.error = why, "the audit waits for the ledger");
        }
    }

    fn over(&mut self) {
        if self.0.is_over() {
            tracing::info!("the audit waits for the ledger no longer");
        }
    }
}

// === impl Printer ===

impl Printer {
    fn run(self, mut sink: Sink, mut queue: mpsc::Receiver<Job>) {
        if self.print(&mut sink, &mut queue).is_none() {
            tracing::debug!("the audit was still to be printed when the projector ended");
        }
    }

    fn print(&self, sink: &mut Sink, queue: &mut mpsc::Receiver<Job>) -> Option<()> {
        let mut output = self.until_done(|| sink.open())?;
        let mut printed = 0;
        while let Some(job) = queue.blocking_recv() {
            match job {
                Job::Print(lines) => {
                    for piece in output.pieces(&lines) {
                        self.write(&mut output, piece.as_bytes())?;
                    }
                    printed = lines.last().map_or(printed, |(seq, _)| *seq);
                }
                Job::Sync => {
                    self.until_done(|| output.sync())?;
                    self.synced.send_modify(|synced| synced[self.slot] = printed);
                }
            }
        }
        Some(())
    }

    /// Writes all of it; what failed goes on where it stopped, so that no line is torn.
    fn write(&self, output: &mut Output, mut bytes: &[u8]) -> Option<()> {
        self.until_done(|| output.make_room(bytes.len() as u64))?;
        while !bytes.is_empty() {
            let written = self.until_done(|| output.write(bytes))?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        self.until_done(|| output.flush())
    }

    /// Tries until it is done; `None` once the projector has been dropped.
    fn until_done<T>(&self, mut step: impl FnMut() -> io::Result<T>) -> Option<T> {
        let mut failures = 0;
        while !(failures > 0 && self.given_up.load(Ordering::Acquire)) {
            match step() {
                Ok(done) => {
                    if failures > 0 {
                        tracing::info!(failures, to = self.sink, "the audit is printed again");
                    }
                    return Some(done);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if self.given_up.load(Ordering::Acquire) {
                        return None;
                    }
                    std::thread::sleep(PIPE_PAUSE);
                }
                Err(error) => {
                    if failures % SAID_EACH == 0 {
                        tracing::error!(%error, to = self.sink, "the audit cannot be printed; its lines wait in the ledger");
                    }
                    failures += 1;
                    std::thread::sleep(PAUSE);
                }
            }
        }
        None
    }
}

// === impl Sink, Output ===

impl Sink {
    /// Prints to this writer.
    pub fn writer(writer: impl Write + Send + 'static) -> Self {
        Self::Writer(Some(Box::new(writer)))
    }

    fn open(&mut self) -> io::Result<Output> {
        match self {
            // Past the buffer of the standard library, which after an error does not say what it has written.
            Self::Stdout => {
                let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                Ok(Output::Stream(Box::new(stdout)))
            }
            Self::File { path, rotate_size, keep } => RotatingFile::open(path, *rotate_size, *keep).map(Output::File),
            Self::Writer(writer) => Ok(Output::Stream(writer.take().unwrap_or_else(|| Box::new(io::sink())))),
        }
    }
}

impl Output {
    /// What is written at once: a stream takes the batch, a file one line, since a new one may begin with each.
    fn pieces(&self, lines: &[(u64, String)]) -> Vec<String> {
        let ended = lines.iter().map(|(_, line)| format!("{line}\n"));
        match self {
            Self::Stream(_) => vec![ended.collect()],
            Self::File(_) => ended.collect(),
        }
    }

    fn make_room(&mut self, length: u64) -> io::Result<()> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(file) => file.make_room(length),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::File(file) => file.sync(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Self::Stream(stream) => stream.write(bytes),
            Self::File(file) => file.write(bytes),
        }?;
        if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(written) }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::File(file) => file.flush(),
        }
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output (audit.stdout)"),
            Self::File { path, .. } => write!(f, "{} (audit.file)", path.display()),
            Self::Writer(_) => f.write_str("a writer"),
        }
    }
}
