//! Two writers, each over a connection of its own: one for what must be on disk, one for T1, which need not be.
//!
//! Whatever waits when the last group is back is the next group: one transaction of two flights. The first locks and
//! loads the rows, the second writes what became of them, the audit lines and the gate's own row, and commits. Locks are
//! held while this process thinks for microseconds, never across a call to the tracker; a process that is stopped in
//! between is ended by the server after five seconds.

mod beat;

use super::connect::{Link, LinkError, Role, in_full};
use super::members::{self, Unusable};
use super::rows::{self, Group, Sealed, stored};
use super::state::GateState;
use super::tail::Tail;
use super::{JobReply, unavailable};
use crate::admission::{Refused, Step};
use crate::effect::{Batch, Command, Committed, LedgerError, Line};
use crate::ledger::transaction::Author;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

/// What a writer is to do.
pub(super) enum WriterJob {
    Transact(Batch, JobReply<Committed>),
    Record(Box<Line>),
    /// The audit is printed up to this line.
    Printed(u64, JobReply<()>),
    /// Answered once all that was recorded before is on disk.
    Flush(JobReply<()>),
    /// Answered once the others can see that this gate is alive.
    Beat(JobReply<()>),
}

/// One writer.
pub(super) struct GroupWriter {
    shared: Arc<GateState>,
    role: Role,
    link: Option<Link>,
    /// The end of the gate's chain, and of its own row.
    tail: Tail,
    /// As it was kept last for the gate's next life.
    kept: i64,
    /// Lines of decisions that are no attempts: they were answered, and must be written yet.
    lines: Vec<Line>,
    /// So many of them went with the last group.
    sent: usize,
    /// The tick of a group of which nobody knows whether it was committed.
    unproven: Option<i64>,
}

/// What waits for one group.
#[derive(Default)]
struct Waiting {
    units: Vec<Unit>,
    /// Who waits for the lines.
    flushes: Vec<JobReply<()>>,
    /// Who waits for the gate's own row.
    marks: Vec<JobReply<()>>,
    printed: u64,
    /// Who waits for the others to hear of this gate.
    beats: Vec<JobReply<()>>,
}

/// A batch, and who waits for it.
struct Unit {
    batch: Batch,
    reply: Option<JobReply<Committed>>,
    done: Option<Committed>,
}

/// How a group ended that was not committed.
enum GroupFailure {
    /// Nothing of it is in the database; it may be tried again.
    Again(String),
    /// Nothing of it is in the database, and trying again does not help.
    Refused(LedgerError),
    /// One of its batches is something that the server does not take.
    Poisoned(String),
    /// It was sent, and no answer came.
    Unknown,
}

/// Most jobs in one group: bounds how long the first of them waits.
const MOST_GROUPED: usize = 256;
/// How often a group is tried that others were in the way of.
const MOST_TRIES: u32 = 4;
/// How long a group waits for a connection: a little less than whoever asked, who is then told why.
const CONNECTING: Duration = Duration::from_secs(4);
/// How long a server may take to show what it has. One whose standby is gone may take for ever.
const PROVING: Duration = Duration::from_secs(5);
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(200);
/// Memory for lines whose group failed, bytes.
const MOST_DEFERRED: usize = 64 << 20;

/// The fence, the heartbeat, the proof and the end of the chain in one row. Without its one row the group fails by itself.
const PUT_GATE: &str = "WITH own AS (
    UPDATE claimgate.gate SET tick = tick + 1, proof = tick + 1, seq = $4, hash = $5,
        printed = greatest(printed, $6), beat = clock_timestamp()
    WHERE name = $1 AND epoch = $2 AND tick = $3 AND state IN ('up', 'leaving')
        AND (SELECT open AND era = $7 FROM claimgate.meta) RETURNING 1)
    SELECT 1 / count(*) FROM own";

// === impl GroupWriter ===

impl GroupWriter {
    pub(super) fn new(shared: Arc<GateState>, role: Role, link: Option<Link>, tail: Tail) -> Self {
        Self { shared, role, link, tail, kept: 0, lines: Vec::new(), sent: 0, unproven: None }
    }

    pub(super) async fn run(mut self, mut queue: UnboundedReceiver<WriterJob>) {
        let mut jobs = Vec::with_capacity(MOST_GROUPED);
        loop {
            let received = tokio::select! {
                biased;
                received = queue.recv_many(&mut jobs, MOST_GROUPED) => received,
                () = self.disconnected() => {
                    self.reconnect().await;
                    continue;
                }
            };
            if received == 0 {
                return;
            }
            let mut waiting = self.sort(std::mem::take(&mut jobs));
            let beats = std::mem::take(&mut waiting.beats);
            if !beats.is_empty() {
                let done = self.beat().await;
                for reply in beats {
                    drop(reply.send(done.clone()));
                }
            }
            if self.has_work(&waiting) {
                match self.commit(&mut waiting).await {
                    Ok(()) => self.answer(waiting),
                    Err(error) => self.fail(waiting, &error),
                }
            }
        }
    }

    fn has_work(&self, waiting: &Waiting) -> bool {
        let waits = !waiting.units.is_empty() || !waiting.flushes.is_empty() || !waiting.marks.is_empty();
        waits || !self.lines.is_empty()
    }

    fn sort(&mut self, jobs: Vec<WriterJob>) -> Waiting {
        let mut waiting = Waiting::default();
        for job in jobs {
            match job {
                WriterJob::Transact(batch, reply) => waiting.units.push(Unit { batch, reply: Some(reply), done: None }),
                WriterJob::Record(line) => self.lines.push(*line),
                WriterJob::Flush(reply) => waiting.flushes.push(reply),
                WriterJob::Beat(reply) => waiting.beats.push(reply),
                WriterJob::Printed(seq, reply) => {
                    waiting.printed = seq.max(waiting.printed);
                    waiting.marks.push(reply);
                }
            }
        }
        waiting.units.extend(self.overdue().into_iter().map(|one| Unit { batch: only(one), reply: None, done: None }));
        waiting
    }

    /// Ends of attempts that could not be written when they were asked for. Only what is durable writes them.
    fn overdue(&self) -> Vec<Command> {
        if self.role == Role::Durable { std::mem::take(&mut *self.shared.overdue()) } else { Vec::new() }
    }

    async fn commit(&mut self, waiting: &mut Waiting) -> Result<(), LedgerError> {
        let mut tries = 0;
        loop {
            self.connect().await?;
            self.drop_abandoned(&mut waiting.units);
            let failed = match self.attempt(waiting).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            tries += 1;
            match failed {
                GroupFailure::Refused(error) => return Err(error),
                GroupFailure::Again(why) if tries >= MOST_TRIES => return Err(LedgerError::Unavailable(why)),
                GroupFailure::Again(why) => {
                    tracing::debug!(why, "a group of the ledger is tried again");
                    tokio::time::sleep(Duration::from_millis(10) * tries).await;
                }
                GroupFailure::Poisoned(_) if waiting.units.len() > 1 => self.one_by_one(waiting).await,
                GroupFailure::Poisoned(why) => return Err(LedgerError::Unavailable(why)),
                GroupFailure::Unknown if self.role == Role::Durable => {
                    self.unproven = Some(self.tail.tick + 1);
                    if self.connect().await? {
                        return Ok(());
                    }
                }
                GroupFailure::Unknown => return Err(unavailable("the connection was lost")),
            }
        }
    }

    /// Each batch in a group of its own, so that one keeps no other from being written.
    async fn one_by_one(&mut self, waiting: &mut Waiting) {
        for unit in std::mem::take(&mut waiting.units) {
            let mut one = Waiting { units: vec![unit], ..Waiting::default() };
            match Box::pin(self.commit(&mut one)).await {
                Ok(()) => self.answer(one),
                Err(error) => self.fail(one, &error),
            }
        }
    }

    /// Whoever has been told in the meantime that it did not happen is taken at the word. But an attempt that was to end
    /// ends.
    fn drop_abandoned(&mut self, units: &mut Vec<Unit>) {
        let is_abandoned = |unit: &mut Unit| unit.reply.as_ref().is_some_and(JobReply::is_closed);
        for unit in units.extract_if(.., is_abandoned) {
            let ends = unit.batch.items.into_iter().filter(ends);
            self.shared.overdue().extend(ends);
        }
    }

    /// One transaction.
    async fn attempt(&mut self, waiting: &mut Waiting) -> Result<(), GroupFailure> {
        let Some(link) = &self.link else { return Err(GroupFailure::Again("not connected".to_owned())) };
        let author = self.shared.author();
        let batches: Vec<&Batch> = waiting.units.iter().map(|unit| &unit.batch).collect();
        let sent = self.shared.options.clock.boot();
        let begun = Group::begin(link, &author, &batches, self.shared.options.now.is_some()).await;
        let mut group = match begun {
            Ok(group) => group,
            Err(error) => return Err(self.failed(&error, false).await),
        };
        if let Some(jump) = self.clock_jump(group.moment.clock, sent) {
            return Err(self.stop_at_jump(jump).await);
        }
        let is_open = group.moment.is_open && group.moment.era == self.shared.era();
        if !group.moment.is_in_force || !is_open {
            return Err(self.refuse(&group).await);
        }
        let mut said = self.lines.clone();
        self.sent = said.len();
        run_all(&mut waiting.units, &mut group, &author, &mut said);
        if self.role == Role::Entry && !group.is_changed() {
            return self.rollback().await.map_err(|error| GroupFailure::Again(in_full(&error)));
        }
        let sealed = seal(&self.tail, &author, said);
        self.finish(&group, &author, sealed, waiting.printed).await
    }

    /// The second flight.
    async fn finish(
        &mut self,
        group: &Group,
        author: &Author,
        sealed: Sealed<'_>,
        printed: u64,
    ) -> Result<(), GroupFailure> {
        let Some(link) = &self.link else { return Err(GroupFailure::Unknown) };
        let last = sealed.lines.last();
        let tail = Tail {
            tick: self.tail.tick + 1,
            proof: self.tail.tick + 1,
            seq: last.map_or(self.tail.seq, |(seq, ..)| *seq),
            hash: sealed.hash.clone(),
        };
        let (name, epoch, seq) = (author.gate.as_str(), stored(author.epoch.0), stored(tail.seq));
        let (printed, era) = (stored(printed), self.shared.era());
        let values: [&(dyn ToSql + Sync); 7] = [&name, &epoch, &self.tail.tick, &seq, &tail.hash, &printed, &era];
        crate::effect::failpoint::reach("commit.before");
        let (written, own, committed) = tokio::join!(
            group.write(link, &sealed),
            link.rows(PUT_GATE, self.role == Role::Durable, &values),
            link.client.batch_execute("COMMIT"),
        );
        // A transaction that failed answers COMMIT with a success, too: only if each statement succeeded did it happen.
        if let Err(error) = written.and(own.map(drop)).and(committed) {
            return Err(self.failed(&error, true).await);
        }
        if self.role == Role::Entry {
            return Ok(());
        }
        if link.was_warned() {
            // The commit may be on one disk only: the next awaited one, over a new connection, decides.
            self.link = None;
            return Err(GroupFailure::Unknown);
        }
        crate::effect::failpoint::reach("commit.after");
        self.tail = tail;
        self.lines.drain(..self.sent);
        self.shared.acknowledged(&self.tail, sealed.lines);
        Ok(())
    }

    /// The rows do not allow it: which of them, and what follows.
    async fn refuse(&mut self, group: &Group) -> GroupFailure {
        let is_in_force = group.moment.is_in_force;
        if let Err(error) = self.rollback().await {
            return self.failed(&error, false).await;
        }
        if !is_in_force {
            // Connecting anew finds out whether it was declared fallen, and joins again.
            self.link = None;
            return GroupFailure::Refused(Refused::Fenced.into());
        }
        if group.moment.era != self.shared.era() {
            self.link = None;
            return GroupFailure::Again("another gate has seen that the database changed".to_owned());
        }
        GroupFailure::Refused(unavailable(
            "the database has changed over, and not every gate has shown yet that it has all",
        ))
    }

    async fn rollback(&self) -> Result<(), tokio_postgres::Error> {
        match &self.link {
            Some(link) => link.client.batch_execute("ROLLBACK").await,
            None => Ok(()),
        }
    }

    /// What an error of the driver or the server means for the group.
    async fn failed(&mut self, error: &tokio_postgres::Error, commits: bool) -> GroupFailure {
        let why = in_full(error);
        let Some(code) = error.code() else {
            self.link = None;
            return if commits { GroupFailure::Unknown } else { GroupFailure::Again(why) };
        };
        if self.rollback().await.is_err() {
            self.link = None;
        }
        let passes = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ];
        if *code == SqlState::DIVISION_BY_ZERO {
            // Its own row was not as it was: another gate has declared it fallen, or the ledger was closed.
            self.link = None;
            return GroupFailure::Again("the gate's own row has changed".to_owned());
        }
        if *code == SqlState::READ_ONLY_SQL_TRANSACTION || passes[4..].contains(code) {
            self.link = None;
            // What was sent before the server went down may have been carried out.
            return if commits { GroupFailure::Unknown } else { GroupFailure::Again(why) };
        }
        if passes.contains(code) {
            return GroupFailure::Again(why);
        }
        GroupFailure::Poisoned(why)
    }

    /// A connection whose server has all that this gate was told is there; waits for it for a while. Says whether a group of
    /// which nobody knew was committed: a new connection's first write takes a tick of its own, so that after it that group
    /// cannot happen any more, and the row's proof is its tick if it has.
    async fn connect(&mut self) -> Result<bool, LedgerError> {
        if self.link.as_ref().is_some_and(|link| !link.client.is_closed()) {
            return Ok(false);
        }
        self.link = None;
        let began = tokio::time::Instant::now();
        loop {
            let why = match self.link_up().await {
                Ok(link) => {
                    self.link = Some(link);
                    let happened = self.unproven.take().is_some_and(|sent| self.tail.proof == sent);
                    if happened {
                        self.lines.drain(..self.sent);
                    }
                    return Ok(happened);
                }
                Err(Unusable::Replaced(by)) => {
                    self.shared.log_trouble(&by);
                    return Err(Refused::Fenced.into());
                }
                Err(Unusable::NotYet(why)) => why,
            };
            self.shared.log_trouble(&why);
            if began.elapsed() > CONNECTING {
                return Err(LedgerError::Unavailable(why));
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn link_up(&mut self) -> Result<Link, Unusable> {
        let not_yet = |error: LinkError| Unusable::NotYet(error.to_string());
        if !self.shared.is_member() {
            return self.join().await;
        }
        let mut link = self.shared.database.connect(self.role).await.map_err(not_yet)?;
        if self.role == Role::Durable {
            self.tail = self.prove(&link).await?;
        } else {
            self.shared.is_current(&link)?;
        }
        link.prepare(statements()).await.map_err(not_yet)?;
        Ok(link)
    }

    async fn prove(&self, link: &Link) -> Result<Tail, Unusable> {
        let proven = tokio::time::timeout(PROVING, members::prove(&self.shared, link, &self.tail)).await;
        proven.unwrap_or_else(|_| Err(Unusable::NotYet("the database has not answered in time".to_owned())))
    }

    /// Some connection has ended. All gates wait for each other to show that the database has everything of theirs: nobody
    /// waits for the next write to do so.
    async fn disconnected(&self) {
        if self.role == Role::Durable {
            self.shared.database.lost.notified().await;
        } else {
            std::future::pending::<()>().await;
        }
    }

    async fn reconnect(&mut self) {
        if let Err(LedgerError::Unavailable(_)) = self.connect().await {
            // Whoever writes waits no longer than for this.
            tokio::time::sleep(RETRY).await;
            self.shared.database.lost.notify_one();
        }
    }

    fn answer(&mut self, waiting: Waiting) {
        for unit in waiting.units {
            let (Some(reply), Some(done)) = (unit.reply, unit.done) else { continue };
            if reply.send(Ok(done)).is_err() {
                // Nobody waited for it any longer: whoever asked does not know of the attempt, and will not end it.
                self.shared.overdue().extend(unit.batch.items.iter().filter_map(withdrawal));
            }
        }
        waiting.flushes.into_iter().chain(waiting.marks).for_each(|reply| drop(reply.send(Ok(()))));
        self.shared.is_well();
    }

    /// Nothing of it is in the database, as far as is known.
    fn fail(&mut self, waiting: Waiting, error: &LedgerError) {
        let mut late = Vec::new();
        for unit in waiting.units {
            // An entry of which nothing is known may be there; an end that was not written must be yet.
            late.extend(unit.batch.items.iter().filter_map(withdrawal));
            late.extend(unit.batch.items.into_iter().filter(ends));
            if let Some(reply) = unit.reply {
                drop(reply.send(Err(error.clone())));
            }
        }
        // What an epoch that is over has left is anybody's to close.
        if !matches!(error, LedgerError::Refused(Refused::Fenced)) {
            self.shared.overdue().extend(late);
        }
        let mut room = MOST_DEFERRED;
        let fits = |line: &&Line| {
            let left = room.checked_sub(line.weight());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let kept = self.lines.iter().take_while(fits).count();
        self.lines.truncate(kept);
        waiting.flushes.into_iter().chain(waiting.marks).for_each(|reply| drop(reply.send(Err(error.clone()))));
        self.shared.log_trouble(&error.to_string());
    }
}

/// What a writer's connection has ready before its first group.
pub(super) fn statements() -> impl Iterator<Item = &'static str> {
    rows::STATEMENTS.into_iter().chain([PUT_GATE, beat::BEAT])
}

/// Runs each batch; what is refused is answered at once, and is no part of the group.
fn run_all(units: &mut Vec<Unit>, group: &mut Group, author: &Author, said: &mut Vec<Line>) {
    units.retain_mut(|unit| match group.run(&mut unit.batch, author) {
        Ok(changes) => {
            said.extend(changes.lines);
            unit.done = Some(changes.committed);
            true
        }
        Err(error) => {
            if let Some(reply) = unit.reply.take() {
                drop(reply.send(Err(error)));
            }
            false
        }
    });
}

fn seal<'a>(tail: &Tail, author: &'a Author, lines: Vec<Line>) -> Sealed<'a> {
    let mut sealed = Sealed { gate: author.gate.as_str(), hash: tail.hash.clone(), lines: Vec::new() };
    for (seq, line) in (tail.seq + 1..).zip(lines) {
        let (text, hash) = line.seal(seq, &sealed.hash);
        sealed.hash = hash;
        sealed.lines.push((seq, line, text));
    }
    sealed
}

fn only(command: Command) -> Batch {
    Batch { items: vec![command], ..Batch::default() }
}

/// Takes an entry back.
fn withdrawal(command: &Command) -> Option<Command> {
    let Step::Open(attempt) = &command.step else { return None };
    Some(Command { step: Step::Withdraw(attempt.id.clone()), note: None, ..command.clone() })
}

/// Whether it ends an attempt that was never sent.
fn ends(command: &Command) -> bool {
    matches!(command.step, Step::Reject(_) | Step::Abort(_) | Step::Withdraw(_))
}
