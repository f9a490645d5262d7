//! The rows of a group: loaded under their locks at once, changed in memory, written at once.

use super::connect::Link;
use crate::admission::Step;
use crate::admission::once::OnceStep;
use crate::effect::{Batch, Command, LedgerError, Line};
use crate::ledger::codec::{self, Unreadable, record as json};
use crate::ledger::transaction::{Author, Changes, LeaseName, Needs, Rows, concerns, name, needs, transact};
use crate::model::{
    Attempt, AttemptState, Fence, ItemRecord, OnceEntry, OnceKey, Ownership, Principal, ProjectLease, ResourceKey,
    Settled, Standing, Time,
};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

/// A value of a statement.
type SqlValue<'a> = &'a (dyn ToSql + Sync);

const LOCKS: &str = "SELECT pg_advisory_xact_lock(id) FROM unnest($1::bigint[]) AS id";
/// An item that was here before goes on from the version that it had.
const ENTER: &str = "INSERT INTO claimgate.item(key, last_fence)
    SELECT n.key, r.fence FROM unnest($1::text[]) AS n(key) LEFT JOIN claimgate.retired r ON r.key = n.key
    ON CONFLICT DO NOTHING";
const ITEMS: &str = "SELECT key, locator, record, live, at, last_fence FROM claimgate.item
    WHERE key = ANY($1) ORDER BY key FOR UPDATE";
const OF_ACCOUNTS: &str = "SELECT key, locator, record, live, at FROM claimgate.item
    WHERE account = ANY($1) OR heir = ANY($1)";
const LEASES: &str = "SELECT t.rule, t.project, t.body FROM claimgate.lease t
    JOIN unnest($1::text[], $2::text[]) AS n(rule, project) USING (rule, project)";
const ONCE: &str = "SELECT key, body FROM claimgate.once WHERE key = ANY($1)";
/// The last statement of the first flight: by then all locks are held.
const MOMENT: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, m.open, m.era,
    coalesce((SELECT g.epoch = $2 AND g.state IN ('up', 'leaving') FROM claimgate.gate g WHERE g.name = $1), false)
    FROM claimgate.meta m";

const PUT_ITEMS: &str = "UPDATE claimgate.item SET rev = item.rev + 1, at = $1, locator = u.locator, place = u.place,
        record = u.record, account = u.account, heir = u.heir, doubt_until = u.doubt_until, masked = u.masked, live = u.live, live_gate = u.live_gate,
        live_epoch = u.live_epoch
    FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::boolean[],
        $10::text[], $11::text[], $12::bigint[])
        AS u(key, locator, place, record, account, heir, doubt_until, masked, live, live_gate, live_epoch)
    WHERE item.key = u.key";
/// `settled IS NULL`: a final attempt is immutable.
const PUT_ATTEMPTS: &str = "INSERT INTO claimgate.attempt(key, id, opened, settled, state, ownership, shown, body)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[],
        $8::text[])
    ON CONFLICT (key, id) DO UPDATE SET settled = excluded.settled, state = excluded.state,
        ownership = excluded.ownership, shown = excluded.shown WHERE attempt.settled IS NULL";
const PUT_LINES: &str = "INSERT INTO claimgate.audit(gate, seq, at, key, place, refusal, line)
    SELECT $1::text, * FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::boolean[], $7::text[])";
const PUT_LEASES: &str = "INSERT INTO claimgate.lease(rule, project, body)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
    ON CONFLICT (rule, project) DO UPDATE SET body = excluded.body";
const END_LEASES: &str = "DELETE FROM claimgate.lease t USING unnest($1::text[], $2::text[]) AS n(rule, project)
    WHERE t.rule = n.rule AND t.project = n.project";
const PUT_ONCE: &str = "INSERT INTO claimgate.once(key, gate, epoch, swept, sent, body)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::boolean[], $5::boolean[], $6::text[])
    ON CONFLICT (key) DO UPDATE SET gate = excluded.gate, epoch = excluded.epoch, swept = excluded.swept,
        sent = excluded.sent, body = excluded.body";
const END_ONCE: &str = "DELETE FROM claimgate.once WHERE key = ANY($1)";

/// Statements that a connection has ready before its first group.
pub(super) const STATEMENTS: [&str; 14] = [
    LOCKS,
    ENTER,
    ITEMS,
    OF_ACCOUNTS,
    LEASES,
    ONCE,
    MOMENT,
    PUT_ITEMS,
    PUT_ATTEMPTS,
    PUT_LINES,
    PUT_LEASES,
    END_LEASES,
    PUT_ONCE,
    END_ONCE,
];

/// What one group has loaded and changed.
#[derive(Debug)]
pub(super) struct Group {
    rows: Rows,
    /// Items whose row does not read.
    unreadable: HashSet<ResourceKey>,
    /// Versions that items had whose record is not kept any more.
    last_fences: HashMap<ResourceKey, Fence>,
    /// The group's time: the database's own, and later than that of every item's last step.
    now: Time,
    pub(super) moment: Moment,
    /// Commands are of the time that they say.
    in_virtual_time: bool,
    changed: BTreeSet<ResourceKey>,
    leases: BTreeMap<LeaseName, Option<ProjectLease>>,
    once: BTreeMap<OnceKey, Option<OnceEntry>>,
    /// Of them, those that a fallen gate left.
    swept: HashSet<OnceKey>,
    unsettled: Vec<Attempt>,
    settled: Vec<Settled>,
}

/// What the last statement of the first flight says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) clock: Time,
    pub(super) is_open: bool,
    pub(super) era: i64,
    /// The gate's epoch is in force.
    pub(super) is_in_force: bool,
}

/// Audit lines with their places in a gate's chain.
pub(super) struct Sealed<'a> {
    pub(super) gate: &'a str,
    /// The last one's.
    pub(super) hash: String,
    pub(super) lines: Vec<(u64, Line, String)>,
}

// === loading ===

impl Group {
    /// Opens a transaction, locks and loads what the batches need.
    pub(super) async fn begin(
        link: &Link,
        author: &Author,
        batches: &[&Batch],
        in_virtual_time: bool,
    ) -> Result<Self, Error> {
        let needs = merged(batches.iter().map(|batch| needs(batch)));
        let enters = batches.iter().flat_map(|batch| &batch.items).any(|one| matches!(one.step, Step::Open(_)));
        let mut group = Self::load(link, author, &needs, enters).await?;
        let missing: Vec<ResourceKey> = needs.items.into_iter().filter(|key| !enters && !group.is_known(key)).collect();
        if !missing.is_empty() {
            group.enter(link, &missing).await?;
        }
        group.now = group.now.max(group.moment.clock);
        group.in_virtual_time = in_virtual_time;
        Ok(group)
    }

    fn at(moment: Moment) -> Self {
        Self {
            rows: Rows::default(),
            unreadable: HashSet::new(),
            last_fences: HashMap::new(),
            now: moment.clock,
            moment,
            in_virtual_time: false,
            changed: BTreeSet::new(),
            leases: BTreeMap::new(),
            once: BTreeMap::new(),
            swept: HashSet::new(),
            unsettled: Vec::new(),
            settled: Vec::new(),
        }
    }

    fn is_known(&self, key: &ResourceKey) -> bool {
        self.rows.items.contains_key(key) || self.unreadable.contains(key)
    }

    async fn load(link: &Link, author: &Author, needs: &Needs, enters: bool) -> Result<Self, Error> {
        let keys: Vec<String> = needs.items.iter().map(|key| column(key.as_str())).collect();
        let locks = locks(needs);
        let (rules, projects): (Vec<String>, Vec<String>) =
            needs.leases.iter().map(|(rule, project)| (column(rule), column(project.as_str()))).unzip();
        let once: Vec<String> = needs.once.iter().map(|key| column(key.as_str())).collect();
        let accounts: Vec<String> = needs.accounts.iter().map(account).collect();
        let (gate, epoch) = (author.gate.as_str(), stored(author.epoch.0));
        let [is_locked, is_asked] = [!locks.is_empty(), !keys.is_empty()];
        let (lock_values, key_values, account_values): ([SqlValue<'_>; 1], [SqlValue<'_>; 1], [SqlValue<'_>; 1]) =
            ([&locks], [&keys], [&accounts]);
        let (lease_values, once_values, own): ([SqlValue<'_>; 2], [SqlValue<'_>; 1], [SqlValue<'_>; 2]) =
            ([&rules, &projects], [&once], [&gate, &epoch]);
        let (begun, locked, entered, items, of_accounts, leases, entries, moment) = tokio::join!(
            link.client.batch_execute("BEGIN"),
            link.rows(LOCKS, is_locked, &lock_values),
            link.rows(ENTER, enters, &key_values),
            link.rows(ITEMS, is_asked, &key_values),
            link.rows(OF_ACCOUNTS, !accounts.is_empty(), &account_values),
            link.rows(LEASES, !rules.is_empty(), &lease_values),
            link.rows(ONCE, !once.is_empty(), &once_values),
            link.rows(MOMENT, true, &own),
        );
        begun?;
        locked?;
        entered?;
        let moment = moment?;
        // Without its row the ledger is no ledger any more: nobody's epoch is in force.
        let none = Moment { clock: Time(0), is_open: false, era: 0, is_in_force: false };
        let mut group = Self::at(moment.first().map_or(none, read_moment));
        items?.iter().for_each(|row| group.take_item(row));
        for row in of_accounts? {
            // One that does not read counts for nobody; whoever writes it is told.
            group.rows.of_accounts.extend(read_item(&row).ok().flatten());
        }
        group.take_leases(&leases?, needs);
        group.take_once(&entries?, needs);
        Ok(group)
    }

    /// Items that have no row yet, and are about to have one.
    async fn enter(&mut self, link: &Link, keys: &[ResourceKey]) -> Result<(), Error> {
        let keys: Vec<String> = keys.iter().map(|key| column(key.as_str())).collect();
        let values: [SqlValue<'_>; 1] = [&keys];
        let (entered, items, clock) = tokio::join!(
            link.rows(ENTER, true, &values),
            link.rows(ITEMS, true, &values),
            link.client.query_one("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", &[]),
        );
        entered?;
        items?.iter().for_each(|row| self.take_item(row));
        self.moment.clock = Time(clock?.get(0));
        Ok(())
    }

    fn take_item(&mut self, row: &Row) {
        let key = ResourceKey::new(row.get(0));
        self.now = self.now.max(Time(row.get::<_, i64>(4) + 1));
        match read_item(row) {
            Ok(Some(record)) => drop(self.rows.items.insert(key, record)),
            Ok(None) => {
                let last: Option<i64> = row.get(5);
                self.last_fences.extend(last.map(|fence| (key, Fence(fence.unsigned_abs()))));
            }
            Err(error) => {
                tracing::error!(key = %key, %error, "an item's row does not read; its writes are refused");
                self.unreadable.insert(key);
            }
        }
    }

    fn take_leases(&mut self, rows: &[Row], needs: &Needs) {
        for row in rows {
            let (rule, project): (String, String) = (row.get(0), row.get(1));
            let is_it = |name: &&LeaseName| column(&name.0) == rule && column(name.1.as_str()) == project;
            let Some(name) = needs.leases.iter().find(is_it) else { continue };
            match json::read_lease(&name.0, name.1.as_str(), row.get(2)) {
                Ok(lease) => drop(self.rows.leases.insert(name.clone(), lease)),
                Err(error) => tracing::error!(rule, project, %error, "a lease does not read, and counts for nobody"),
            }
        }
    }

    fn take_once(&mut self, rows: &[Row], needs: &Needs) {
        for row in rows {
            let stored: String = row.get(0);
            let Some(key) = needs.once.iter().find(|key| column(key.as_str()) == stored) else { continue };
            match json::read_entry(key, row.get(1)) {
                Ok(entry) => drop(self.rows.once.insert(key.clone(), entry)),
                Err(error) => tracing::error!(key = %key, %error, "an entry of what is created once does not read"),
            }
        }
    }
}

// === changing ===

impl Group {
    /// Runs one batch over what is loaded; refused: nothing has changed.
    pub(super) fn run(&mut self, batch: &mut Batch, author: &Author) -> Result<Changes, LedgerError> {
        let needs = needs(batch);
        if let Some(key) = needs.items.iter().find(|key| self.unreadable.contains(*key)) {
            return Err(LedgerError::Unavailable(format!("the row of item {key} does not read")));
        }
        if !self.in_virtual_time {
            batch.items.iter_mut().for_each(|command| timed(command, self.now));
            batch.leases.iter_mut().for_each(|command| command.now = self.now);
            batch.once.iter_mut().for_each(|command| command.now = self.now);
        }
        self.resume(batch);
        let changes = transact(batch, self.rows_for(&needs), author)?;
        self.take(&changes, batch);
        Ok(changes)
    }

    /// Items that were here before have a record again, which goes on from the version that they had.
    fn resume(&mut self, batch: &Batch) {
        for command in &batch.items {
            let Some(fence) = self.last_fences.remove(&command.key) else { continue };
            let record = ItemRecord { fence, ..ItemRecord::new(command.key.clone(), command.locator.clone()) };
            self.rows.items.insert(command.key.clone(), record);
        }
    }

    fn rows_for(&self, needs: &Needs) -> Rows {
        let own = |key: &ResourceKey| Some((key.clone(), self.rows.items.get(key)?.clone()));
        let mut rows = Rows { items: needs.items.iter().filter_map(own).collect(), ..Rows::default() };
        if !needs.accounts.is_empty() {
            // What the group has changed counts as it is now.
            let loaded = self.rows.of_accounts.iter().filter(|record| !self.rows.items.contains_key(&record.key));
            let counts = |record: &&ItemRecord| needs.accounts.iter().any(|account| concerns(record, account));
            rows.of_accounts = loaded.chain(self.rows.items.values()).filter(counts).cloned().collect();
        }
        let lease = |of: &LeaseName| Some((of.clone(), self.rows.leases.get(of)?.clone()));
        rows.leases = needs.leases.iter().filter_map(lease).collect();
        let entry = |key: &OnceKey| Some((key.clone(), self.rows.once.get(key)?.clone()));
        rows.once = needs.once.iter().filter_map(entry).collect();
        rows
    }

    fn take(&mut self, changes: &Changes, batch: &Batch) {
        for step in &changes.steps {
            self.changed.insert(step.after.key.clone());
            self.rows.items.insert(step.after.key.clone(), step.after.clone());
        }
        for (name, lease) in &changes.leases {
            put(&mut self.rows.leases, name, lease.clone());
            self.leases.insert(name.clone(), lease.clone());
        }
        for (key, entry) in &changes.once {
            put(&mut self.rows.once, key, entry.clone());
            self.once.insert(key.clone(), entry.clone());
        }
        for command in &batch.once {
            match command.step {
                OnceStep::Recover { .. } => self.swept.insert(command.key.clone()),
                _ => self.swept.remove(&command.key),
            };
        }
        self.unsettled.extend(changes.unsettled.iter().cloned());
        self.settled.extend(changes.settled.iter().cloned());
    }

    pub(super) fn is_changed(&self) -> bool {
        !self.changed.is_empty() || !self.leases.is_empty() || !self.once.is_empty()
    }
}

fn put<K: Ord + Clone, V>(rows: &mut BTreeMap<K, V>, key: &K, value: Option<V>) {
    match value {
        Some(value) => drop(rows.insert(key.clone(), value)),
        None => drop(rows.remove(key)),
    }
}

/// The same by the database's clock: a doubt lasts as long as its gate meant it to.
fn timed(command: &mut Command, now: Time) {
    let own = std::mem::replace(&mut command.now, now);
    if let Step::Settle { doubt_until, .. } | Step::Recover { doubt_until, .. } = &mut command.step {
        *doubt_until = now + doubt_until.since(own);
    }
}

// === writing ===

impl Group {
    /// Rows that another ledger had, to be written as they are.
    pub(super) fn of(now: Time, items: Vec<ItemRecord>, leases: Vec<ProjectLease>, once: Vec<OnceEntry>) -> Self {
        let mut group = Self::at(Moment { clock: now, is_open: true, era: 0, is_in_force: true });
        group.changed = items.iter().map(|record| record.key.clone()).collect();
        group.rows.items = items.into_iter().map(|record| (record.key.clone(), record)).collect();
        group.leases = leases.into_iter().map(|lease| (name(&lease), Some(lease))).collect();
        group.once = once.into_iter().map(|entry| (entry.key.clone(), Some(entry))).collect();
        group
    }

    /// Writes them, in the transaction that is open.
    pub(super) async fn import(&self, link: &Link) -> Result<(), Error> {
        let keys: Vec<String> = self.changed.iter().map(|key| column(key.as_str())).collect();
        link.rows(ENTER, true, &[&keys]).await?;
        self.write(link, &Sealed { gate: "", hash: String::new(), lines: Vec::new() }).await
    }

    /// Writes what has changed, in the transaction that is open.
    pub(super) async fn write(&self, link: &Link, sealed: &Sealed<'_>) -> Result<(), Error> {
        let (items, attempts, lines, leases, once) = tokio::join!(
            self.write_items(link),
            self.write_attempts(link),
            write_lines(link, sealed),
            self.write_leases(link),
            self.write_once(link),
        );
        items.and(attempts).and(lines).and(leases).and(once)
    }

    async fn write_items(&self, link: &Link) -> Result<(), Error> {
        let records: Vec<&ItemRecord> = self.changed.iter().filter_map(|key| self.rows.items.get(key)).collect();
        let all = |of: &dyn Fn(&ItemRecord) -> Option<String>| records.iter().map(|one| of(one)).collect::<Vec<_>>();
        let keys = all(&|one| Some(column(one.key.as_str())));
        let locators = all(&|one| Some(column(&one.locator.to_stored())));
        let places = all(&|one| Some(column(&one.locator.to_string())));
        let bodies = all(&|one| Some(json::record(one)));
        let accounts = all(&|one| one.holding.as_ref().map(|held| account(&held.actor.account)));
        let heirs = all(&heir);
        let doubts: Vec<Option<i64>> = records.iter().map(|one| one.doubt_until.map(|until| until.0)).collect();
        let masked: Vec<bool> = records.iter().map(|one| !one.late_writes.is_empty()).collect();
        let live = all(&|one| one.live.as_ref().map(json::attempt));
        let gates = all(&|one| one.live.as_ref().map(|live| column(live.gate.as_str())));
        let epochs: Vec<Option<i64>> =
            records.iter().map(|one| one.live.as_ref().map(|live| stored(live.epoch.0))).collect();
        let sql = &[
            &self.now.0 as SqlValue<'_>,
            &keys,
            &locators,
            &places,
            &bodies,
            &accounts,
            &heirs,
            &doubts,
            &masked,
            &live,
            &gates,
            &epochs,
        ];
        link.rows(PUT_ITEMS, !records.is_empty(), sql).await.map(drop)
    }

    async fn write_attempts(&self, link: &Link) -> Result<(), Error> {
        // One row an attempt, whatever the group has made of it: as it was entered, with its end.
        let mut ended: BTreeMap<(ResourceKey, String), (Attempt, Option<&Settled>)> = BTreeMap::new();
        let named = |attempt: &Attempt| (attempt.key.clone(), attempt.id.as_str().to_owned());
        for attempt in self.unsettled.iter().filter(|attempt| attempt.state == AttemptState::Doubt) {
            ended.insert(named(attempt), (attempt.clone(), None));
        }
        for settled in &self.settled {
            let one = ended.entry(named(&settled.attempt)).or_insert_with(|| (settled.attempt.clone(), None));
            one.1 = Some(settled);
        }
        let rows: Vec<(&Attempt, Option<&Settled>)> = ended.values().map(|(one, settled)| (one, *settled)).collect();
        let last =
            |(one, settled): &(&Attempt, Option<&Settled>)| settled.map_or((*one).clone(), |end| end.attempt.clone());
        let keys: Vec<String> = rows.iter().map(|(one, _)| column(one.key.as_str())).collect();
        let ids: Vec<&str> = rows.iter().map(|(one, _)| one.id.as_str()).collect();
        let opened: Vec<i64> = rows.iter().map(|(one, _)| one.opened.0).collect();
        let at: Vec<Option<i64>> = rows.iter().map(|(_, settled)| settled.map(|end| end.at.0)).collect();
        let states: Vec<&str> = rows.iter().map(|row| last(row).state.as_str()).collect();
        let owners: Vec<String> = rows.iter().map(|row| codec::ownership(&last(row).ownership)).collect();
        let seen = |end: &Settled| end.shown.as_ref().map(codec::shown);
        let shown: Vec<Option<String>> = rows.iter().map(|(_, settled)| settled.and_then(seen)).collect();
        let bodies: Vec<String> = rows.iter().map(|(one, _)| json::attempt(one)).collect();
        let sql = &[&keys as SqlValue<'_>, &ids, &opened, &at, &states, &owners, &shown, &bodies];
        link.rows(PUT_ATTEMPTS, !rows.is_empty(), sql).await.map(drop)
    }

    async fn write_leases(&self, link: &Link) -> Result<(), Error> {
        let (mut puts, mut ends) = ((Vec::new(), Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for ((rule, project), lease) in &self.leases {
            let (rule, project) = (column(rule), column(project.as_str()));
            if let Some(lease) = lease {
                puts.0.push(rule);
                puts.1.push(project);
                puts.2.push(json::lease(lease));
            } else {
                ends.0.push(rule);
                ends.1.push(project);
            }
        }
        let (put, end): ([SqlValue<'_>; 3], [SqlValue<'_>; 2]) = ([&puts.0, &puts.1, &puts.2], [&ends.0, &ends.1]);
        let (put, ended) = tokio::join!(
            link.rows(PUT_LEASES, !puts.0.is_empty(), &put),
            link.rows(END_LEASES, !ends.0.is_empty(), &end),
        );
        put.and(ended).map(drop)
    }

    async fn write_once(&self, link: &Link) -> Result<(), Error> {
        let ends: Vec<String> =
            self.once.iter().filter(|(_, entry)| entry.is_none()).map(|(key, _)| column(key.as_str())).collect();
        let puts: Vec<&OnceEntry> = self.once.values().flatten().collect();
        let keys: Vec<String> = puts.iter().map(|entry| column(entry.key.as_str())).collect();
        let gates: Vec<String> = puts.iter().map(|entry| column(entry.gate.as_str())).collect();
        let epochs: Vec<i64> = puts.iter().map(|entry| stored(entry.epoch.0)).collect();
        let swept: Vec<bool> = puts.iter().map(|entry| self.swept.contains(&entry.key)).collect();
        let is_sent = |entry: &&OnceEntry| matches!(entry.standing, Standing::Sent { .. });
        let sent: Vec<bool> = puts.iter().map(is_sent).collect();
        let bodies: Vec<String> = puts.iter().map(|entry| json::entry(entry)).collect();
        let (put, end): ([SqlValue<'_>; 6], [SqlValue<'_>; 1]) =
            ([&keys, &gates, &epochs, &swept, &sent, &bodies], [&ends]);
        let (put, ended) =
            tokio::join!(link.rows(PUT_ONCE, !puts.is_empty(), &put), link.rows(END_ONCE, !ends.is_empty(), &end),);
        put.and(ended).map(drop)
    }
}

async fn write_lines(link: &Link, Sealed { gate, lines, .. }: &Sealed<'_>) -> Result<(), Error> {
    let seqs: Vec<i64> = lines.iter().map(|(seq, ..)| stored(*seq)).collect();
    let times: Vec<i64> = lines.iter().map(|(_, line, _)| line.time.0).collect();
    let key = |line: &Line| line.note.resource_id.as_ref().map(|key| column(key.as_str()));
    let keys: Vec<Option<String>> = lines.iter().map(|(_, line, _)| key(line)).collect();
    let place = |line: &Line| line.note.resource.as_ref().map(|place| column(&place.to_string()));
    let places: Vec<Option<String>> = lines.iter().map(|(_, line, _)| place(line)).collect();
    let is_refusal = |line: &Line| line.note.decision == crate::effect::Decision::Reject;
    let refusals: Vec<bool> = lines.iter().map(|(_, line, _)| is_refusal(line)).collect();
    let texts: Vec<String> = lines.iter().map(|(.., text)| column(text)).collect();
    let sql: &[SqlValue<'_>] = &[gate, &seqs, &times, &keys, &places, &refusals, &texts];
    link.rows(PUT_LINES, !lines.is_empty(), sql).await.map(drop)
}

// === columns ===

/// An item's row; none: it was only looked for.
pub(super) fn read_item(row: &Row) -> Result<Option<ItemRecord>, Unreadable> {
    let key = ResourceKey::new(row.get(0));
    let (place, body, live): (Option<&str>, Option<&str>, Option<&str>) = (row.get(1), row.get(2), row.get(3));
    let (Some(place), Some(body)) = (place, body) else { return Ok(None) };
    let live = live.map(|live| json::read_attempt(&key, live)).transpose()?;
    Ok(Some(ItemRecord { live, ..json::read_record(&key, place, body)? }))
}

fn read_moment(row: &Row) -> Moment {
    Moment { clock: Time(row.get(0)), is_open: row.get(1), era: row.get(2), is_in_force: row.get(3) }
}

/// Whom a write that is sent or in doubt may make the holder. All doubts of an item are of one agent and one value, and so
/// is what is sent beside them.
fn heir(record: &ItemRecord) -> Option<String> {
    let gives = |ownership: &Ownership| match ownership {
        Ownership::Becomes(actor) => Some(account(&actor.account)),
        Ownership::Keep | Ownership::Ends => None,
    };
    let doubts = record.doubts.iter().find_map(|doubt| gives(&doubt.ownership));
    doubts.or_else(|| record.live.as_ref().and_then(|live| gives(&live.ownership)))
}

/// As the columns spell an account; logins are compared without regard to case.
pub(super) fn account(account: &Principal) -> String {
    column(&account.id().to_ascii_lowercase())
}

/// Text as a column can hold it.
pub(super) fn column(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

/// The server's integers are signed; nothing here comes near the difference.
pub(super) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn merged(all: impl Iterator<Item = Needs>) -> Needs {
    all.fold(Needs::default(), |mut sum, one| {
        sum.items.extend(one.items);
        for account in one.accounts {
            if !sum.accounts.contains(&account) {
                sum.accounts.push(account);
            }
        }
        sum.leases.extend(one.leases);
        sum.once.extend(one.once);
        sum
    })
}

/// Locks on what has no row of its own to be locked: an account's items together, and what may not exist yet. In one
/// order always, so that two groups never wait for each other.
fn locks(needs: &Needs) -> Vec<i64> {
    let accounts = needs.accounts.iter().map(|one| format!("account {}", account(one)));
    let leases = needs.leases.iter().map(|(rule, project)| format!("lease {rule} {project}"));
    let once = needs.once.iter().map(|key| format!("once {key}"));
    let ids: BTreeSet<i64> = accounts.chain(leases).chain(once).map(|name| lock(&name)).collect();
    ids.into_iter().collect()
}

fn lock(name: &str) -> i64 {
    let digest = Sha256::digest(name.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first)
}
