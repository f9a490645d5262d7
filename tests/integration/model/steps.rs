//! What may happen next: each sentence of the protocol as one step, and each fault.

use super::rules::{Mutant, Rules};
use super::state::{Broken, Kind, Live, Phase, Request, Resolver, State, Who, Write};

/// A step, and what it leads to.
pub struct Next {
    pub label: &'static str,
    pub state: State,
}

/// What a client is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It holds the item.
    Granted,
    /// Its release is done.
    Released,
    /// `already_assigned`, `not_holder` or `contested`.
    NotHolder,
    /// 503, 504, a cut connection.
    Uncertain,
    /// What leaves a holding as it is.
    Other,
}

/// Steps that need somebody to want them; all others happen by themselves.
const WANTED: [&str; 12] = [
    "Ann claims",
    "Bob claims",
    "Ann releases",
    "Bob releases",
    "its client hangs up",
    "a gate is declared fallen",
    "a gate dies",
    "the human edits",
    "the operator releases",
    "a waiter polls",
    "a waiter reads early",
    "the connection is cut",
];

pub fn is_driven(label: &str) -> bool {
    !WANTED.contains(&label)
}

pub fn steps(rules: &Rules, state: &State, next: &mut Vec<Next>) {
    let mut all = Steps { rules, state, next };
    all.begin();
    for at in 0..state.requests.len() {
        let Some(request) = state.requests[at] else { continue };
        all.hang_up(at, &request);
        match request.phase {
            Phase::Queued | Phase::Waiting => all.enter(at, &request),
            Phase::UnsureOpen(done) => all.ask_for_open(at, &request, done),
            Phase::Opened => all.read(at, &request),
            Phase::Read => all.judge(at, &request),
            Phase::Sending => all.send(at, &request),
            Phase::Sent => all.answer(at, &request),
            Phase::Answered => all.read_back(at, &request),
            Phase::ReadBack => all.settle(at, &request),
            Phase::UnsureSettled(done) => all.ask_for_settled(at, &request, done),
        }
    }
    all.tracker();
    all.resolve();
    all.take_over();
    all.faults();
}

struct Steps<'a> {
    rules: &'a Rules,
    state: &'a State,
    next: &'a mut Vec<Next>,
}

impl Steps<'_> {
    fn may(&mut self, label: &'static str, change: impl FnOnce(&mut State)) {
        let mut state = *self.state;
        change(&mut state);
        self.next.push(Next { label, state });
    }

    // === requests ===

    fn begin(&mut self) {
        let (state, rules) = (*self.state, self.rules);
        let Some(free) = state.requests.iter().position(Option::is_none).filter(|_| state.left.requests > 0) else {
            return;
        };
        for (agent, labels) in [(Who::Ann, ["Ann claims", "Ann releases"]), (Who::Bob, ["Bob claims", "Bob releases"])]
        {
            if state.requests.iter().flatten().any(|other| other.write.agent == agent && !other.gone) {
                continue;
            }
            for gate in 0..2 {
                // Names do not matter: the first is Ann at the first gate.
                if state.left.requests == rules.bounds.requests && (agent, gate) != (Who::Ann, 0) {
                    continue;
                }
                for kind in [Kind::Claim, Kind::Release] {
                    if kind == Kind::Release && !state.believing(agent) {
                        continue;
                    }
                    self.may(labels[kind as usize], |state| {
                        state.left.requests -= 1;
                        if kind == Kind::Release {
                            state.believe(agent, false);
                        }
                        state.requests[free] = Some(Request::new(Write::new(agent, kind), gate, state));
                    });
                }
            }
        }
    }

    fn hang_up(&mut self, at: usize, request: &Request) {
        if self.state.left.hang_ups > 0 && !request.gone {
            let agent = request.write.agent;
            self.may("its client hangs up", |state| {
                state.left.hang_ups -= 1;
                state.believe(agent, false);
                state.change(at, |request| request.gone = true);
            });
        }
    }

    // === T1 ===

    fn enter(&mut self, at: usize, request: &Request) {
        let (rules, row) = (self.rules, self.state.row);
        let waited = request.phase == Phase::Waiting;
        if request.gone && !(waited && rules.breaks(Mutant::HangUpSeenOnce)) {
            self.may("T1: dropped, its client has gone", |state| state.requests[at] = None);
            return;
        }
        self.refuse_unread(at, request);
        if rules.breaks(Mutant::EarlyReadAdmits) && request.early.is_none() {
            self.may("a waiter reads early", |state| {
                let seen = state.tracker;
                state.change(at, |request| request.early = Some(seen));
            });
        }
        if row.live.is_some() {
            if !waited {
                self.may("T1: busy, it waits", |state| state.change(at, |request| request.phase = Phase::Waiting));
            }
        } else if !(row.admits(request.write) || waited && rules.breaks(Mutant::DoubtSeenOnce)) {
            self.may("T1: in doubt", |state| state.end(at, Told::Other));
        } else {
            self.may("T1", |state| state.open(at));
            if self.state.left.unknown > 0 {
                self.may("T1, its answer is lost", |state| {
                    state.left.unknown -= 1;
                    state.open(at);
                    state.change(at, |request| request.phase = Phase::UnsureOpen(true));
                });
                self.may("T1 is on its way, its answer is lost", |state| {
                    state.left.unknown -= 1;
                    state.change(at, |request| request.phase = Phase::UnsureOpen(false));
                });
            }
        }
    }

    /// A refusal that rests on what another turn saw, here or at another gate.
    fn refuse_unread(&mut self, at: usize, request: &Request) {
        let (rules, row, agent) = (self.rules, self.state.row, request.write.agent);
        if request.write.kind != Kind::Claim {
            return;
        }
        let others = |holder: Who| ![Who::Nobody, agent].contains(&holder);
        let shared =
            request.shared.filter(|(seen, holder)| others(*holder) && seen == holder).map(|(_, holder)| holder);
        let polled = request.polled.filter(|polled| {
            let is_later = *polled < row.seen_from || rules.breaks(Mutant::PolledAtSend) && *polled == row.seen_from;
            is_later && row.live.is_none() && !row.in_doubt() && others(row.holder)
        });
        for (label, holder) in
            [("refused by a shared read", shared), ("refused across gates", polled.map(|_| row.holder))]
        {
            let Some(holder) = holder else { continue };
            self.may(label, |state| {
                if request.showed & holder.bit() == 0 {
                    state.breaks(Broken::UntrueRefusal);
                }
                state.end(at, Told::NotHolder);
            });
        }
        if self.state.left.crosses && request.polled.is_none() {
            self.may("a waiter polls", |state| state.change(at, |request| request.polled = Some(row.rev)));
        }
    }

    fn ask_for_open(&mut self, at: usize, request: &Request, done: bool) {
        let row = self.state.row;
        if !done && row.live.is_none() && row.admits(request.write) {
            self.may("T1 arrives late", |state| {
                state.open(at);
                state.change(at, |request| request.phase = Phase::UnsureOpen(true));
            });
        }
        let forgets = self.rules.breaks(Mutant::UnknownOpenForgotten);
        // A transaction that really writes the row waits for the one that is on its way.
        self.may("an unknown T1 is asked for", |state| {
            if state.owns(request, false) && !forgets {
                state.row.live = None;
                state.touch();
            }
            state.end(at, Told::Uncertain);
        });
    }

    // === the read, and what it leads to ===

    fn read(&mut self, at: usize, request: &Request) {
        let id = request.write.id;
        self.may("reads", |state| {
            let seen = state.tracker;
            state.change(at, |request| (request.seen, request.phase) = (seen, Phase::Read));
            state.cover(at, id);
        });
    }

    fn judge(&mut self, at: usize, request: &Request) {
        let Request { judged, seen, write, .. } = *request;
        let is_edit = judged.holder != Who::Nobody && !judged.in_doubt && seen != judged.shown && !judged.contested;
        if is_edit {
            self.account_for(at, request);
            return;
        }
        let (own, masked) = (judged.holder == write.agent, judged.masks & seen.bit() != 0);
        match write.kind {
            Kind::Claim if !own && judged.holder != Who::Nobody => self.reject(at, request),
            Kind::Claim if own && seen == write.agent => self.grant(at, request, judged.holder),
            Kind::Claim if own || seen == Who::Nobody => self.begin_sending(at, request),
            Kind::Claim if seen != write.agent => self.reject(at, request),
            Kind::Claim if judged.in_doubt => self.begin_sending(at, request),
            Kind::Claim if masked => self.reject(at, request),
            Kind::Claim => self.adopt(at, request),
            Kind::Release if own && seen == write.agent => self.begin_sending(at, request),
            Kind::Release if own => self.grant(at, request, Who::Nobody),
            Kind::Release if judged.holder != Who::Nobody => self.reject(at, request),
            Kind::Release if seen == Who::Nobody => self.grant(at, request, judged.holder),
            Kind::Release if seen == write.agent => self.begin_sending(at, request),
            Kind::Release => self.reject(at, request),
        }
    }

    /// What shows is not what the last write of the gates left.
    fn account_for(&mut self, at: usize, request: &Request) {
        let outsiders = self.rules.outsiders();
        self.may("records an outside edit", |state| {
            let judged = request.judged;
            if !state.owns(request, false) || state.row.version != judged.version {
                return state.abort(at, request);
            }
            if !outsiders {
                state.breaks(Broken::MistakenZombie);
            }
            if judged.masks & request.seen.bit() != 0 {
                state.row.contested = true;
            } else {
                state.believe(judged.holder, false);
                state.row.own(Who::Nobody, 0, Who::Nobody);
                state.row.masks = 0;
            }
            state.touch();
            let judged = state.row.judged();
            state.change(at, |request| request.judged = judged);
        });
    }

    fn reject(&mut self, at: usize, request: &Request) {
        self.may("refuses", |state| {
            if state.owns(request, false) {
                state.row.live = None;
                state.touch();
            }
            state.publish(at, request.write.id, (request.seen, request.judged.holder));
            state.end(at, Told::NotHolder);
        });
    }

    fn is_confirmed(&self, request: &Request) -> bool {
        self.state.row.version == request.judged.version || self.rules.breaks(Mutant::VersionUnconfirmed)
    }

    /// Nothing is sent; whether this one holds it afterwards.
    fn grant(&mut self, at: usize, request: &Request, holder: Who) {
        let is_confirmed = self.is_confirmed(request);
        self.may("grants without a send", |state| {
            if !state.owns(request, false) || !is_confirmed {
                return state.abort(at, request);
            }
            state.row.live = None;
            if holder != request.judged.holder {
                state.strikes(request);
                state.row.own(holder, request.write.id, request.seen);
            }
            state.touch();
            state.publish(at, request.write.id, (request.seen, state.row.holder));
            state.end(at, if request.write.kind == Kind::Claim { Told::Granted } else { Told::Released });
        });
    }

    fn adopt(&mut self, at: usize, request: &Request) {
        let (is_confirmed, outsiders) = (self.is_confirmed(request), self.rules.outsiders());
        self.may("adopts", |state| {
            if !state.owns(request, false) || !is_confirmed {
                return state.abort(at, request);
            }
            if !outsiders {
                state.breaks(Broken::MistakenZombie);
            }
            state.row.live = None;
            state.row.own(request.write.agent, request.write.id, request.seen);
            state.touch();
            state.end(at, Told::Granted);
        });
    }

    // === T2, the send, T3 ===

    fn begin_sending(&mut self, at: usize, request: &Request) {
        let (is_confirmed, careless) = (self.is_confirmed(request), self.rules.breaks(Mutant::SendWithoutRow));
        self.may("T2", |state| {
            let own = state.owns(request, false) && is_confirmed;
            if !own && !careless {
                return state.abort(at, request);
            }
            state.change(at, |request| {
                request.phase = Phase::Sending;
                request.write.already = request.seen == request.write.goal();
            });
            state.touch();
            let rev = state.row.rev;
            if let (true, Some(live), Some(request)) = (own, &mut state.row.live, state.requests[at]) {
                (live.sending, live.write, live.sent_at) = (true, request.write, rev);
            }
        });
    }

    fn send(&mut self, at: usize, request: &Request) {
        self.may("sends", |state| {
            state.flying[usize::from(request.write.id) - 1] = Some(request.write.goal());
            state.change(at, |request| request.phase = Phase::Sent);
        });
        if !self.state.owns(request, true) {
            self.may("may not send any more", |state| state.end(at, Told::Uncertain));
        }
    }

    fn answer(&mut self, at: usize, request: &Request) {
        let id = usize::from(request.write.id) - 1;
        if self.state.flying[id].is_none() {
            self.may("the answer comes", |state| state.change(at, |request| request.phase = Phase::Answered));
        }
        if self.state.left.cuts > 0 {
            self.may("the connection is cut", |state| {
                state.left.cuts -= 1;
                if state.owns(request, true) {
                    state.row.live = None;
                    state.row.doubt(request.write);
                    state.touch();
                }
                state.forget(request.gate);
                state.end(at, Told::Uncertain);
            });
            if self.state.flying[id].is_some() {
                self.may("the tracker refuses", |state| {
                    state.left.cuts -= 1;
                    state.flying[id] = None;
                    state.change(at, |request| request.phase = Phase::Answered);
                });
            }
        }
    }

    fn read_back(&mut self, at: usize, request: &Request) {
        let id = request.write.id;
        self.may("reads back", |state| {
            let seen = state.tracker;
            state.change(at, |request| {
                request.back = seen;
                request.phase = Phase::ReadBack;
            });
            state.cover(at, id);
        });
    }

    fn settle(&mut self, at: usize, request: &Request) {
        let Request { write, back, .. } = *request;
        let careless = self.rules.breaks(Mutant::SettleWithoutFence);
        if !self.state.owns(request, true) && !careless {
            self.may("T3 is fenced", |state| state.end(at, Told::Uncertain));
        } else if back == write.goal() {
            self.commit(at, request);
        } else if back == request.seen {
            self.may("T3: refused", |state| {
                state.row.live = None;
                state.row.masks |= write.goal().bit();
                state.touch();
                state.forget(request.gate);
                state.end(at, Told::Other);
            });
        } else {
            let outsiders = self.rules.outsiders();
            self.may("T3: something else shows", |state| {
                if !outsiders {
                    state.breaks(Broken::MistakenZombie);
                }
                state.row.live = None;
                state.row.contested = state.row.holder != Who::Nobody;
                state.touch();
                state.forget(request.gate);
                state.end(at, Told::NotHolder);
            });
        }
    }

    fn commit(&mut self, at: usize, request: &Request) {
        let clears = self.rules.breaks(Mutant::SuccessClearsDoubt);
        self.may("T3", |state| {
            state.committed(request, clears);
            state.publish(at, request.write.id, (request.back, state.row.holder));
            state.end(at, if request.write.kind == Kind::Claim { Told::Granted } else { Told::Released });
        });
        if self.state.left.unknown == 0 || request.write.kind != Kind::Claim {
            return;
        }
        let believed = self.rules.breaks(Mutant::UnknownIsDone);
        self.may("T3, its answer is lost", |state| {
            state.left.unknown -= 1;
            state.committed(request, clears);
            state.change(at, |request| request.phase = Phase::UnsureSettled(true));
        });
        self.may("T3 is on its way, its answer is lost", |state| {
            state.left.unknown -= 1;
            state.change(at, |request| request.phase = Phase::UnsureSettled(false));
            if believed {
                state.end(at, Told::Granted);
            }
        });
    }

    fn ask_for_settled(&mut self, at: usize, request: &Request, done: bool) {
        if !done && self.state.owns(request, true) {
            self.may("T3 arrives late", |state| {
                state.committed(request, false);
                state.change(at, |request| request.phase = Phase::UnsureSettled(true));
            });
        }
        let careless = self.rules.breaks(Mutant::RepeatIgnoresHolding);
        self.may("an unknown T3 is asked for", |state| {
            let row = &state.row;
            let holds = row.holder == request.write.agent && row.made_by == request.write.id;
            match done {
                true if holds || careless => state.end(at, Told::Granted),
                true => state.end(at, Told::Uncertain),
                false => state.change(at, |request| request.phase = Phase::ReadBack),
            }
        });
    }

    // === what happens beside the requests ===

    fn tracker(&mut self) {
        for id in 0..self.state.flying.len() {
            let Some(value) = self.state.flying[id] else { continue };
            self.may("a write lands", |state| {
                state.flying[id] = None;
                state.shows(value);
            });
            // Somebody waits for the answer of one that is not lost.
            let is_awaited =
                |request: &Request| request.phase == Phase::Sent && usize::from(request.write.id) == id + 1;
            if !self.state.requests.iter().flatten().any(is_awaited) {
                self.may("a write is lost", |state| state.flying[id] = None);
            }
        }
    }

    fn resolve(&mut self) {
        let (rules, state) = (self.rules, *self.state);
        let may_look = state.row.live.is_none() || rules.breaks(Mutant::ResolveUnderLive);
        let is_due = state.is_due() || rules.breaks(Mutant::DoubtTooShort);
        if state.row.in_doubt() && may_look && state.resolver.is_none() {
            self.may("the resolver reads", |state| {
                let (seen, doubts) = (state.tracker, state.row.doubts);
                state.resolver = Some(Resolver { seen, doubts, due: is_due });
            });
        }
        let Some(resolver) = state.resolver else { return };
        let is_due = if rules.breaks(Mutant::DueAtWrite) { is_due } else { resolver.due };
        let stands = may_look && resolver.doubts == state.row.doubts;
        self.may("the resolver writes", |state| {
            state.resolver = None;
            if stands {
                state.resolved(&resolver, is_due);
            }
        });
    }

    fn take_over(&mut self) {
        let rules = self.rules;
        if let Some(thief) = self.state.thief {
            self.may("a takeover writes by id", |state| {
                state.thief = None;
                if state.row.live.is_some_and(|live| live.write.id == thief.write.id) {
                    state.recovered(thief.sending);
                }
            });
        }
        let Some(live) = self.state.row.live.filter(|live| live.fallen) else { return };
        if !rules.breaks(Mutant::NobodyTakesOver) {
            let in_doubt = live.sending && !rules.breaks(Mutant::TakeoverAborts);
            self.may("a takeover", |state| state.recovered(in_doubt));
        }
    }

    fn faults(&mut self) {
        let (state, by_id) = (*self.state, self.rules.breaks(Mutant::TakeoverById));
        for gate in 0..2 {
            if !state.requests.iter().flatten().any(|request| request.gate == gate) {
                continue;
            }
            if state.left.steals > 0 {
                self.may("a gate is declared fallen", |state| {
                    state.left.steals -= 1;
                    match state.row.live.filter(|live| live.gate == gate) {
                        Some(live) if by_id => state.thief = Some(live),
                        _ => state.falls(gate),
                    }
                });
            }
            if state.left.crashes > 0 {
                self.may("a gate dies", |state| {
                    state.left.crashes -= 1;
                    state.falls(gate);
                    state.dies(gate);
                });
            }
        }
        if state.left.edits > 0 {
            for who in [Who::Nobody, Who::Ann, Who::Bob].into_iter().filter(|who| *who != state.tracker) {
                self.may("the human edits", |state| {
                    state.left.edits -= 1;
                    state.shows(who);
                });
            }
        }
        if state.left.operator > 0 && (state.row.holder != Who::Nobody || state.row.in_doubt()) {
            self.may("the operator releases", State::released);
        }
    }
}

// === impl Request, Write ===

impl Write {
    fn new(agent: Who, kind: Kind) -> Self {
        Self { id: 0, agent, kind, already: false }
    }
}

impl Request {
    fn new(write: Write, gate: usize, state: &State) -> Self {
        Self {
            write,
            gate,
            phase: Phase::Queued,
            gone: false,
            fenced: false,
            judged: super::state::Judged::default(),
            seen: Who::Nobody,
            back: Who::Nobody,
            early: None,
            covered_by: 0,
            shared: state.kept[gate],
            polled: None,
            showed: state.tracker.bit(),
        }
    }

    fn waits(&self) -> bool {
        matches!(self.phase, Phase::Queued | Phase::Waiting)
    }
}

// === impl State: what steps do ===

impl State {
    fn change(&mut self, at: usize, change: impl FnOnce(&mut Request)) {
        if let Some(request) = &mut self.requests[at] {
            change(request);
        }
    }

    /// The row has changed.
    fn touch(&mut self) {
        if self.left.crosses {
            self.row.rev += 1;
        }
    }

    /// Whether the live attempt is this request's, and its gate's life in force.
    fn owns(&self, request: &Request, sending: bool) -> bool {
        let is_own = |live: Live| live.write.id == request.write.id && live.sending == sending;
        !request.fenced && self.row.live.is_some_and(is_own)
    }

    fn open(&mut self, at: usize) {
        let (id, judged) = (self.next_id, self.row.judged());
        self.next_id += 1;
        let Some(request) = &mut self.requests[at] else { return };
        request.write.id = id;
        request.judged = judged;
        request.phase = if request.early.is_some() { Phase::Read } else { Phase::Opened };
        request.seen = request.early.unwrap_or_default();
        // Nothing else counts any more.
        (request.shared, request.polled, request.covered_by) = (None, None, 0);
        let (write, gate, fallen) = (request.write, request.gate, request.fenced);
        // T1 does not ask whether its life is in force: whoever meets what a fallen one entered ends it.
        self.row.live = Some(Live { write, sending: false, gate, fallen, sent_at: 0 });
        self.touch();
    }

    /// The request is over, and its client is told so, if it is there.
    fn end(&mut self, at: usize, told: Told) {
        let Some(request) = self.requests[at].take().filter(|request| !request.gone) else { return };
        let agent = request.write.agent;
        match told {
            Told::Granted if self.row.holder == agent => self.believe(agent, true),
            Told::Granted => self.breaks(Broken::UnrecordedGrant),
            Told::Released | Told::NotHolder | Told::Uncertain => self.believe(agent, false),
            Told::Other => {}
        }
    }

    /// Nothing was sent: the row is closed, where it is this request's still.
    fn abort(&mut self, at: usize, request: &Request) {
        if self.owns(request, false) {
            self.row.live = None;
            self.touch();
        }
        self.end(at, Told::Uncertain);
    }

    /// A release ends the holding of its agent, who must not have come to hold it anew since it asked.
    fn strikes(&mut self, request: &Request) {
        if request.write.kind == Kind::Release && self.believing(request.write.agent) {
            self.breaks(Broken::StruckByAbandoned);
        }
    }

    fn committed(&mut self, request: &Request, clears: bool) {
        let sent_at = self.row.live.map_or(0, |live| live.sent_at);
        self.row.live = None;
        if clears {
            self.row.doubts = [None; 3];
        }
        self.strikes(request);
        self.row.own(request.write.goal(), request.write.id, request.back);
        self.row.seen_from = sent_at;
        self.touch();
    }

    /// The read of this attempt begins now: whoever waits at its gate came before it.
    fn cover(&mut self, at: usize, id: u8) {
        let Some(gate) = self.requests[at].map(|request| request.gate).filter(|_| self.left.shares) else { return };
        for other in self.requests.iter_mut().flatten().filter(|other| other.gate == gate && other.waits()) {
            other.covered_by = id;
        }
    }

    /// What a turn has seen, for those who came before its read began.
    fn publish(&mut self, at: usize, id: u8, saw: (Who, Who)) {
        let Some(gate) = self.requests[at].map(|request| request.gate).filter(|_| self.left.shares) else { return };
        for other in self.requests.iter_mut().flatten().filter(|other| other.gate == gate && other.waits()) {
            other.shared = (other.covered_by == id).then_some(saw);
        }
        if self.left.keeps {
            self.kept[gate] = Some(saw);
        }
    }

    fn forget(&mut self, gate: usize) {
        for other in self.requests.iter_mut().flatten().filter(|other| other.gate == gate) {
            other.shared = None;
        }
        self.kept[gate] = None;
    }

    /// Whether no write in doubt can leave or land any more.
    fn is_due(&self) -> bool {
        let may_leave = |id: u8| {
            let leaves = |request: &Request| request.phase == Phase::Sending && request.write.id == id;
            self.requests.iter().flatten().any(leaves)
        };
        self.row.doubts.iter().flatten().all(|doubt| !self.is_flying(doubt.id) && !may_leave(doubt.id))
    }

    fn resolved(&mut self, resolver: &Resolver, is_due: bool) {
        let mut doubts = resolver.doubts.iter().flatten();
        let Some(first) = doubts.next() else { return };
        let holder_after = first.goal();
        let (landed, holds) = (resolver.seen == first.goal(), self.row.holder == holder_after);
        let is_early = landed && doubts.next().is_none() && !first.already && !holds;
        if !is_early && !is_due {
            return;
        }
        if landed && !holds {
            self.strikes(&Request::new(*first, 0, self));
            self.row.own(holder_after, first.id, resolver.seen);
        } else if landed {
            self.row.shown = resolver.seen;
        }
        self.row.masks |= first.goal().bit();
        self.row.doubts = [None; 3];
        self.touch();
    }

    /// What a life that is over has left.
    fn recovered(&mut self, in_doubt: bool) {
        let Some(live) = self.row.live.take() else { return };
        if in_doubt {
            self.row.doubt(live.write);
        }
        self.touch();
    }

    /// What this gate has entered until now is not its own any more.
    fn falls(&mut self, gate: usize) {
        if let Some(live) = self.row.live.as_mut().filter(|live| live.gate == gate) {
            live.fallen = true;
        }
        for request in self.requests.iter_mut().flatten().filter(|it| it.gate == gate && !it.waits()) {
            request.fenced = true;
        }
    }

    fn dies(&mut self, gate: usize) {
        for at in 0..self.requests.len() {
            if self.requests[at].is_some_and(|request| request.gate == gate) {
                self.end(at, Told::Uncertain);
            }
        }
        self.kept[gate] = None;
    }

    /// By the operator, at any gate.
    fn released(&mut self) {
        self.left.operator -= 1;
        self.believe(self.row.holder, false);
        for doubt in self.row.doubts.into_iter().flatten() {
            self.row.masks |= doubt.goal().bit();
        }
        self.row.doubts = [None; 3];
        if self.row.holder != Who::Nobody {
            let shown = self.row.shown;
            self.row.own(Who::Nobody, 0, shown);
        }
        self.touch();
    }
}
