//! The projector: every line, in order, whatever the sink does.

use super::history::{Story, claim, committed};
use super::verified;
use claimgate::audit::{Projector, Sink};
use claimgate::effect::{Ledger, Note};
use claimgate::ledger::{MemoryLedger, SqliteLedger, SqliteOptions};
use claimgate::model::Time;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What was written, and how the writing goes.
#[derive(Clone, Default)]
struct Paper {
    written: Arc<Mutex<Vec<u8>>>,
    /// Bytes taken at once; 0: all.
    at_once: usize,
    pause: Duration,
    fails: Arc<AtomicBool>,
}

const LONG: Duration = Duration::from_secs(20);

// === impl Paper ===

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.written.lock().unwrap().clone()).unwrap()
    }

    fn sink(&self) -> Vec<Sink> {
        vec![Sink::writer(self.clone())]
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(ErrorKind::BrokenPipe.into());
        }
        std::thread::sleep(self.pause);
        let taken = if self.at_once == 0 { bytes.len() } else { self.at_once.min(bytes.len()) };
        self.written.lock().unwrap().extend(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn told(count: u64) -> Story {
    let mut story = Story::new();
    for item in 0..count {
        story.sent(&claim("claims", item, "alice"), committed());
    }
    story
}

fn ledger(story: &Story) -> Arc<dyn Ledger> {
    Arc::new(story.ledger.clone())
}

fn record(ledger: &MemoryLedger, reason: &str) {
    ledger.record(Note::of_gate("0190-more".to_owned(), Some(reason.to_owned())), Time(0));
}

/// Until it holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..400 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never {what}");
}

fn directory_of(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

// === tests ===

#[tokio::test]
async fn every_line_is_printed_in_order_as_it_comes() {
    let (mut story, paper) = (told(1500), Paper::default());
    let projector = Projector::over(ledger(&story), paper.sink());
    for item in 5000..5200 {
        story.sent(&claim("while it prints", item, "bob"), committed());
        if item % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(projector.drain(LONG).await, 0);
    assert_eq!(paper.text(), story.log());
    assert_eq!(story.ledger.printed().await, Ok(1700));
}

/// Such a decision is answered before it is on disk: the end must wait for it.
#[tokio::test]
async fn decisions_that_nobody_waited_for_are_printed_at_the_end() {
    let (dir, paper) = (tempfile::tempdir().unwrap(), Paper::default());
    let options = SqliteOptions { zombie_period: LONG, doubt_period: LONG, ..SqliteOptions::in_dir(dir.path()) };
    let ledger: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(options).unwrap());
    let projector = Projector::over(Arc::clone(&ledger), paper.sink());
    for _ in 0..3000 {
        ledger.record(Note::of_gate("0190-more".to_owned(), None), Time(0));
    }
    assert_eq!(projector.drain(LONG).await, 0);
    assert_eq!(paper.text().lines().count(), 3000);
}

#[tokio::test]
async fn a_line_is_printed_and_marked_without_a_drain() {
    let (story, paper) = (told(3), Paper::default());
    let projector = Projector::over(ledger(&story), paper.sink());
    until("printed", || paper.text() == story.log()).await;
    record(&story.ledger, "one more");
    until("printed at once", || paper.text() == story.log()).await;
    for _ in 0..100 {
        if story.ledger.printed().await == Ok(4) {
            return drop(projector);
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never marked");
}

#[tokio::test]
async fn a_slow_writer_loses_nothing_and_holds_nobody_up() {
    let story = told(40);
    let paper = Paper { at_once: 700, pause: Duration::from_millis(2), ..Paper::default() };
    let projector = Projector::over(ledger(&story), paper.sink());
    until("begun", || !paper.text().is_empty()).await;
    // On the runtime's only thread: were the writing here, this would come after it.
    record(&story.ledger, "a decision while it writes");
    assert!(paper.text().len() < story.log().len(), "it was not slow");
    assert_eq!(projector.drain(LONG).await, 0);
    assert_eq!(paper.text(), story.log());
}

#[tokio::test]
async fn a_writer_that_fails_for_a_while_loses_nothing() {
    let story = told(40);
    let paper = Paper { at_once: 1000, ..Paper::default() };
    let projector = Projector::over(ledger(&story), paper.sink());
    until("begun", || !paper.text().is_empty()).await;
    paper.fails.store(true, Ordering::Relaxed);
    record(&story.ledger, "while it fails");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(paper.text().len() < story.log().len());
    paper.fails.store(false, Ordering::Relaxed);
    assert_eq!(projector.drain(LONG).await, 0);
    assert_eq!(paper.text(), story.log());
}

#[tokio::test]
async fn a_drain_gives_up_in_time_and_the_next_start_goes_on() {
    let (story, stuck) = (told(10), Paper::default());
    stuck.fails.store(true, Ordering::Relaxed);
    let projector = Projector::over(ledger(&story), stuck.sink());
    assert_eq!(projector.drain(Duration::from_millis(100)).await, 10);
    assert_eq!(story.ledger.printed().await, Ok(0));
    let paper = Paper::default();
    assert_eq!(Projector::over(ledger(&story), paper.sink()).drain(LONG).await, 0);
    assert_eq!(paper.text(), story.log());
}

#[tokio::test]
async fn a_restart_goes_on_where_it_stopped() {
    let (mut story, paper) = (told(10), Paper::default());
    assert_eq!(Projector::over(ledger(&story), paper.sink()).drain(LONG).await, 0);
    story.sent(&claim("meanwhile", 77, "bob"), committed());
    assert_eq!(Projector::over(ledger(&story), paper.sink()).drain(LONG).await, 0);
    assert_eq!(paper.text(), story.log());
    // Nothing new: nothing printed.
    assert_eq!(Projector::over(ledger(&story), paper.sink()).drain(LONG).await, 0);
    assert_eq!(paper.text(), story.log());
}

#[tokio::test]
async fn what_was_not_marked_is_printed_again_and_verifies() {
    let (mut story, paper) = (told(10), Paper::default());
    let killed = Projector::over(ledger(&story), paper.sink());
    until("printed", || paper.text() == story.log()).await;
    drop(killed);
    story.sent(&claim("after it", 77, "bob"), committed());
    assert_eq!(Projector::over(ledger(&story), paper.sink()).drain(LONG).await, 0);
    let (found, summary) = verified(&paper.text());
    assert_eq!((found.as_slice(), summary.ends), (&[][..], Some((1, 11))));
    assert_eq!(summary.repeated, 10);
}

#[tokio::test]
async fn the_mark_follows_the_slowest_sink() {
    let (story, quick, stuck) = (told(5), Paper::default(), Paper::default());
    stuck.fails.store(true, Ordering::Relaxed);
    let sinks = vec![Sink::writer(quick.clone()), Sink::writer(stuck.clone())];
    let projector = Projector::over(ledger(&story), sinks);
    until("printed", || quick.text() == story.log()).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(story.ledger.printed().await, Ok(0));
    stuck.fails.store(false, Ordering::Relaxed);
    assert_eq!(projector.drain(LONG).await, 0);
    assert_eq!((stuck.text(), story.ledger.printed().await), (story.log(), Ok(5)));
}

#[tokio::test]
async fn a_ledger_that_is_away_is_waited_for() {
    let (story, paper) = (told(5), Paper::default());
    story.set_available(false);
    let projector = Projector::over(ledger(&story), paper.sink());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(paper.text(), "");
    story.set_available(true);
    assert_eq!(projector.drain(LONG).await, 0);
    assert_eq!(paper.text(), story.log());
}

#[tokio::test]
async fn without_a_sink_there_is_nothing_to_wait_for() {
    let story = told(5);
    assert_eq!(Projector::over(ledger(&story), Vec::new()).drain(LONG).await, 0);
}

// === the file ===

fn file(path: &Path, rotate_size: Option<u64>, keep: usize) -> Vec<Sink> {
    vec![Sink::File { path: path.to_owned(), rotate_size, keep }]
}

#[tokio::test]
async fn a_file_is_private_and_is_appended_to() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let mut story = told(3);
    assert_eq!(Projector::over(ledger(&story), file(&path, None, 0)).drain(LONG).await, 0);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    story.sent(&claim("later", 77, "bob"), committed());
    assert_eq!(Projector::over(ledger(&story), file(&path, None, 0)).drain(LONG).await, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), story.log());
}

#[tokio::test]
async fn a_torn_line_is_taken_away_before_it_is_printed_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let story = told(3);
    let log = story.log();
    let first = log.find('\n').unwrap() + 1;
    std::fs::write(&path, &log[..first + 100]).unwrap();
    assert_eq!(Projector::over(ledger(&story), file(&path, None, 0)).drain(LONG).await, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), log[..first].to_owned() + &log);
    assert_eq!(verified(&std::fs::read_to_string(&path).unwrap()).1.wrong, 0);
}

#[tokio::test]
async fn rotation_keeps_every_line_whole_and_every_file_small() {
    const LIMIT: u64 = 4000;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let story = told(60);
    assert_eq!(Projector::over(ledger(&story), file(&path, Some(LIMIT), 0)).drain(LONG).await, 0);
    let count = directory_of(&path).len();
    assert!(count > 5, "{count} files");
    let mut all = String::new();
    for number in (1..count).rev() {
        let old = directory.path().join(format!("audit.log.{number}"));
        let text = std::fs::read_to_string(&old).unwrap();
        assert!(text.len() as u64 <= LIMIT && text.ends_with("}\n") && text.starts_with("{\"seq\""), "{number}");
        assert_eq!(std::fs::metadata(&old).unwrap().permissions().mode() & 0o777, 0o600);
        all += &text;
    }
    all += &std::fs::read_to_string(&path).unwrap();
    assert_eq!(all, story.log());
}

#[tokio::test]
async fn only_so_many_old_files_are_kept_and_they_are_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    std::fs::write(directory.path().join("audit.log.3"), "from when three were kept\n").unwrap();
    let story = told(60);
    assert_eq!(Projector::over(ledger(&story), file(&path, Some(4000), 2)).drain(LONG).await, 0);
    assert_eq!(directory_of(&path), ["audit.log", "audit.log.1", "audit.log.2"]);
    let kept = ["audit.log.2", "audit.log.1", "audit.log"].map(|name| directory.path().join(name));
    let text: String = kept.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    assert!(story.log().ends_with(&text), "not the newest");
    assert_eq!(verified(&text).1.wrong, 0);
}

#[tokio::test]
async fn a_line_larger_than_a_file_may_be_has_one_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let story = told(3);
    assert_eq!(Projector::over(ledger(&story), file(&path, Some(10), 0)).drain(LONG).await, 0);
    assert_eq!(directory_of(&path), ["audit.log", "audit.log.1", "audit.log.2"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_yet_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("later").join("audit.log");
    let story = told(3);
    let projector = Projector::over(ledger(&story), file(&path, None, 0));
    tokio::time::sleep(Duration::from_millis(50)).await;
    std::fs::create_dir(directory.path().join("later")).unwrap();
    assert_eq!(projector.drain(LONG).await, 0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), story.log());
}

#[tokio::test]
async fn a_full_disk_is_waited_out() {
    // Whoever writes to it is told ENOSPC.
    let (story, full) = (told(3), Path::new("/dev/full"));
    let projector = Projector::over(ledger(&story), file(full, None, 0));
    assert_eq!(projector.drain(Duration::from_millis(300)).await, 3);
    assert_eq!(story.ledger.printed().await, Ok(0));
}
