//! What a worker remembers of reads of items: the next one of the same place by the same sender is known by one look, and an
//! answer that is the same as the last one shows the same state.
//!
//! Each worker has its own, so its lock is never waited for. Of a sender it holds a keyed hash, which nobody can aim at, of the
//! headers that may say who that is; no credential. Nothing here is what a decision rests on.

use super::tick_timer::TickTimer;
use super::{Came, Peer};
use crate::dialect::Address;
use crate::gate::ReadMark;
use http::header::{HeaderName, HeaderValue};
use http::request::Parts;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hash as _, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The memory of one worker.
pub struct ReadMemo {
    hasher: RandomState,
    clock: Arc<TickTimer>,
    tables: Mutex<Tables>,
}

/// Which sender reads which place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct ReadKey(u64);

/// A read that was looked at.
pub(super) struct KnownRead {
    path: Box<str>,
    /// Whom it is a sign of life of; none where nobody can say who sends it.
    mark: Option<Mutex<ReadMark>>,
    /// The item whose representation the answer is, and where its state is remembered.
    item: Option<(Address, ReadKey)>,
    /// The tick in which it was noted last.
    noted: AtomicU64,
    /// The tick in which it was looked up last.
    used: AtomicU64,
}

/// An answer and the state that it shows.
struct ShownState {
    address: Address,
    content_type: Box<[u8]>,
    body: Box<[u8]>,
    state: Option<HeaderValue>,
}

/// What is remembered of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remembered {
    /// The state that it shows, if it shows one.
    State(Option<HeaderValue>),
    /// Nothing: it has to be read.
    Nothing,
}

#[derive(Default)]
struct Tables {
    reads: HashMap<u64, Arc<KnownRead>, BuildHasherDefault<AsIs>>,
    states: HashMap<u64, ShownState, BuildHasherDefault<AsIs>>,
    /// Bytes of the answers that are remembered.
    bytes: usize,
    /// The version of the rules by which they show what they show.
    rules: u64,
}

/// Keys are hashes already.
#[derive(Default)]
struct AsIs(u64);

/// Reads that are remembered at most.
const MOST_READS: usize = 4096;
/// In ticks: reads that were not repeated for so long are forgotten where there is no room.
const UNUSED_FOR: u64 = 60;
/// Bytes of answers that are remembered at most, and of one of them.
const MOST_BYTES: usize = 4 << 20;
const LONGEST_BODY: usize = 32 << 10;

// === impl ReadMemo ===

impl ReadMemo {
    /// An empty one.
    pub(super) fn new(clock: Arc<TickTimer>) -> Self {
        Self { hasher: RandomState::new(), clock, tables: Mutex::default() }
    }

    /// By whom the place is read: all that says so, the way by which the request came in, and the version of the rules, by
    /// which one sender is told from another.
    pub(super) fn key(
        &self,
        head: &Parts,
        peer: &Peer,
        rules: u64,
        identifies: impl Fn(&HeaderName) -> bool,
    ) -> ReadKey {
        let mut hasher = self.hasher.build_hasher();
        rules.hash(&mut hasher);
        head.uri.path().hash(&mut hasher);
        head.uri.query().hash(&mut hasher);
        for (name, value) in &head.headers {
            if identifies(name) {
                name.as_str().hash(&mut hasher);
                value.as_bytes().hash(&mut hasher);
            }
        }
        head.extensions.get::<Came>().map(|came| &came.agent).hash(&mut hasher);
        peer.instance.hash(&mut hasher);
        peer.addr.map(|addr| addr.ip()).hash(&mut hasher);
        ReadKey(hasher.finish())
    }

    /// What is known of that read.
    pub(super) fn get(&self, key: ReadKey, path: &str) -> Option<Arc<KnownRead>> {
        let known = self.tables().reads.get(&key.0).filter(|known| &*known.path == path).cloned()?;
        known.used.store(self.clock.now(), Ordering::Relaxed);
        Some(known)
    }

    /// Remembers it.
    pub(super) fn put(&self, key: ReadKey, known: Arc<KnownRead>) {
        let (mut tables, now) = (self.tables(), self.clock.now());
        if tables.reads.len() >= MOST_READS {
            tables.reads.retain(|_, known| known.used.load(Ordering::Relaxed) + UNUSED_FOR > now);
        }
        if tables.reads.len() < MOST_READS {
            tables.reads.insert(key.0, known);
        }
    }

    /// What was found out about a read.
    pub(super) fn read(&self, path: &str, mark: Option<ReadMark>, item: Option<Address>) -> KnownRead {
        let item = item.map(|address| {
            let key = ReadKey(self.hasher.hash_one(&address));
            (address, key)
        });
        let now = self.clock.now();
        KnownRead { path: path.into(), mark: mark.map(Mutex::new), item, noted: AtomicU64::new(0), used: now.into() }
    }

    /// Notes a sign of life: once a tick is enough.
    pub(super) fn note(&self, read: &KnownRead, note: impl FnOnce(&mut ReadMark)) {
        let now = self.clock.now();
        if let Some(mark) = &read.mark
            && read.noted.swap(now, Ordering::Relaxed) != now
        {
            note(&mut mark.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The state that this answer to a read of the item shows, as it was found out before: where the answer is the same, byte
    /// for byte, and the rules are.
    pub(super) fn state(
        &self,
        (address, key): &(Address, ReadKey),
        (content_type, body): (&[u8], &[u8]),
        rules: u64,
    ) -> Remembered {
        let tables = self.tables();
        let Some(known) = tables.states.get(&key.0).filter(|_| tables.rules == rules) else {
            return Remembered::Nothing;
        };
        let is_same = known.address == *address && *known.content_type == *content_type && *known.body == *body;
        if is_same { Remembered::State(known.state.clone()) } else { Remembered::Nothing }
    }

    /// Remembers what an answer shows by these rules.
    pub(super) fn learn_state(
        &self,
        (address, key): &(Address, ReadKey),
        (content_type, body): (&[u8], &[u8]),
        state: Option<&HeaderValue>,
        rules: u64,
    ) {
        if body.len() > LONGEST_BODY {
            return;
        }
        let mut tables = self.tables();
        if tables.rules != rules {
            tables.states.clear();
            tables.bytes = 0;
        }
        if tables.bytes + body.len() > MOST_BYTES {
            tables.make_room();
        }
        tables.rules = rules;
        tables.bytes += body.len();
        let (content_type, body) = (content_type.into(), body.into());
        let shown = ShownState { address: address.clone(), content_type, body, state: state.cloned() };
        if let Some(before) = tables.states.insert(key.0, shown) {
            tables.bytes -= before.body.len();
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Tables ===

impl Tables {
    /// Forgets every other answer, whichever that is: reads by turns of more than there is room for find half of them.
    fn make_room(&mut self) {
        let mut stays = false;
        self.states.retain(|_, _| {
            stays = !stays;
            stays
        });
        self.bytes = self.states.values().map(|shown| shown.body.len()).sum();
    }
}

// === impl KnownRead ===

impl KnownRead {
    /// Looks at whom it is a sign of life of.
    pub(super) fn with_mark(&self, look: impl FnOnce(&ReadMark)) {
        if let Some(mark) = &self.mark {
            look(&mark.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The item whose own representation a 200 is.
    pub(super) fn item(&self) -> Option<&(Address, ReadKey)> {
        self.item.as_ref()
    }
}

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are numbers");
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ItemKind, Place};
    use http::Request;
    use std::time::Duration;

    fn memo() -> ReadMemo {
        ReadMemo::new(TickTimer::start(Duration::from_secs(1)))
    }

    fn head(path: &str, headers: &[(&'static str, &'static str)], agent: Option<&str>) -> Parts {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        if let Some(agent) = agent {
            head.extensions.insert(Came { agent: Some(agent.to_owned()), prefix: String::new() });
        }
        head
    }

    fn address(number: u64) -> Address {
        let place = format!("o/r#{number}");
        Address { place: Place::from_stored(&place), kind: ItemKind::Issue, route: place.into() }
    }

    #[tokio::test]
    async fn senders_and_places_are_told_apart() {
        let memo = memo();
        let peer = |addr: &str, instance: Option<&str>| Peer::new(addr.parse().ok(), false, instance.map(Into::into));
        let (plain, token) = (peer("10.0.0.1:1", None), ("authorization", "token a"));
        let heads = [
            (head("/x", &[token], None), plain.clone()),
            (head("/y", &[token], None), plain.clone()),
            (head("/x?token=b", &[token], None), plain.clone()),
            (head("/x", &[("authorization", "token b")], None), plain.clone()),
            (head("/x", &[token, token], None), plain.clone()),
            (head("/x", &[token, ("sudo", "bob")], None), plain.clone()),
            (head("/x", &[token, ("sudo", "")], None), plain.clone()),
            (head("/x", &[], None), plain.clone()),
            (head("/x", &[token], Some("bot")), plain.clone()),
            (head("/x", &[token], None), peer("10.0.0.2:1", None)),
            (head("/x", &[token], None), peer("10.0.0.1:1", Some("bot"))),
        ];
        let identifies = |name: &HeaderName| name != "accept";
        let mut keys: Vec<u64> = heads.iter().map(|(head, peer)| memo.key(head, peer, 0, identifies).0).collect();
        keys.push(memo.key(&heads[0].0, &plain, 1, identifies).0);
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
        let same = head("/x", &[token, ("accept", "text/html")], None);
        assert_eq!(
            memo.key(&same, &peer("10.0.0.1:7", None), 0, identifies).0,
            keys[0],
            "what says nothing of the sender"
        );
    }

    #[tokio::test]
    async fn a_read_is_known_by_its_path_too() {
        let memo = memo();
        memo.put(ReadKey(1), Arc::new(memo.read("/x", None, None)));
        assert!(memo.get(ReadKey(1), "/x").is_some() && memo.get(ReadKey(1), "/y").is_none());
        assert!(memo.get(ReadKey(2), "/x").is_none());
        for key in 0..2 * MOST_READS as u64 {
            memo.put(ReadKey(key), Arc::new(memo.read("/x", None, None)));
        }
        assert_eq!(memo.tables().reads.len(), MOST_READS, "there is no more room than that");
    }

    #[tokio::test]
    async fn the_same_answer_shows_the_same_state_by_the_same_rules() {
        let (memo, state) = (memo(), HeaderValue::from_static("\"1\""));
        let (rules, others) = (1, 2);
        let item = (address(7), ReadKey(7));
        memo.learn_state(&item, (b"json", b"{}"), Some(&state), rules);
        let known = |item: &(Address, ReadKey), kind: &[u8], body: &[u8], by| memo.state(item, (kind, body), by);
        assert_eq!(known(&item, b"json", b"{}", rules), Remembered::State(Some(state.clone())));
        assert_eq!(known(&item, b"json", b"{ }", rules), Remembered::Nothing);
        assert_eq!(known(&item, b"text", b"{}", rules), Remembered::Nothing);
        assert_eq!(known(&item, b"json", b"{}", others), Remembered::Nothing);
        assert_eq!(
            known(&(address(8), ReadKey(7)), b"json", b"{}", rules),
            Remembered::Nothing,
            "another item with the same hash"
        );
        memo.learn_state(&(address(8), ReadKey(8)), (b"json", b"{}"), None, others);
        assert_eq!(known(&(address(8), ReadKey(8)), b"json", b"{}", others), Remembered::State(None));
        assert_eq!(
            known(&item, b"json", b"{}", others),
            Remembered::Nothing,
            "what showed by other rules is forgotten"
        );
        let long = vec![b' '; LONGEST_BODY];
        for number in 0..300 {
            memo.learn_state(&(address(number), ReadKey(number)), (b"json", &long), None, others);
        }
        let tables = memo.tables();
        assert!(tables.bytes <= MOST_BYTES && tables.bytes == tables.states.len() * LONGEST_BODY);
    }
}
