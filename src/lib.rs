//! claimgate is a reverse proxy in front of a forge that gives each piece of work to one agent.
//!
//! # Bird's-eye view
//!
//! Agents speak to the gate as they would to the forge. Nearly every request streams through untouched. A write that can
//! change who is assigned to an issue or pull request, its labels, or whether it is open, is *guarded*: it waits for its
//! turn on that item, the item is read from the tracker as it is now, a pure function decides by that read and by the
//! ledger's record, and only then is the write sent, once, rebuilt from what was understood of it. What the tracker shows
//! afterwards, not what it answered, is what becomes of the record and of the client's answer.
//!
//! Three ideas carry the rest. **The ledger is the record of who holds**; the tracker cannot compare and set, so it can
//! only be asked and checked. **An attempt is durable before it can have an effect**, so that after any crash every write
//! is known never to have left, to have landed, or to be in doubt. **Doubt is an outcome**, with a time and an end, and
//! not an error to be retried.
//!
//! # Code map
//!
//! A module imports only from floors below its own; `tests/integration/tidy.rs` holds the table.
//!
//! | floor | module | what it is |
//! |---|---|---|
//! | F0 | [`model`] | the vocabulary: items, agents, changes, attempts, holdings, refusals. No I/O, no serde, no http |
//! | F1 | [`admission`] | pure judgement: [`decide`](admission::decide) before the send, [`judge`](admission::judge) after it, [`apply`](admission::apply) for each step of the claim protocol on an item's record |
//! | F1 | [`dialect`] | pure translation between a tracker's wire and the model; `dialect/guarded.rs` is what the gate may know of a request, `dialect/forgejo`, `dialect/github`, `dialect/jira`, `dialect/linear`, `dialect/redmine` and `dialect/trello` are the trackers that there are |
//! | F2 | [`effect`] | the ports: tracker, identity, ledger, clock, randomness; the form of an audit line; the counters; the points at which a crash test kills the process |
//! | F3 | [`upstream`] | where the tracker is and how it is reached: dialling, pools, the port to the tracker |
//! | F3 | [`identity`] | which account is behind a credential; credentials are known by a keyed fingerprint only |
//! | F3 | [`ledger`] | the record, in one SQLite file, in a PostgreSQL that several gates share, or in memory; all run one pure transaction over the rows that they load |
//! | F3 | [`audit`] | prints the ledger's audit lines, verifies the promise from them alone, and sums them up |
//! | F3 | [`clock`] | the system's clocks and randomness |
//! | F4 | [`gate`] | the guarded section: lanes, the one walk of every guarded request, doubt, reconciling, the operator's release; the claims API, which only puts such requests in a row |
//! | F5 | [`proxy`] | the HTTP edge: checks heads, streams, reads guarded bodies, turns decisions into responses. Below `/_claimgate/` it answers by itself, and takes the tracker's webhooks as hints |
//! | F6 | [`config`] | one file is schema, defaults and their explanation; a wrong key is an error with its place |
//! | F6 | [`telemetry`] | the operational log |
//! | F6 | [`server`] | listeners, TLS, interception, limits, drain, the admin listener and what an operator can ask of it |
//! | F7 | [`cli`] | the composition root: arguments to configuration to parts (`compose.rs`), one file a subcommand |
//! | none | [`manual`] | no code: the promise, the protocol, the rules, and the facts about trackers that comments refer to |
//! | none | [`fake_forge`] | a forge in memory for tests and for the demo. It imports nothing of this crate, so that a mistake cannot hide on both sides of a test |
//! | none | [`fake_redmine`] | the same for Redmine. It shares faults, log and answers with the other, and imports nothing else |
//!
//! # The walk of one request
//!
//! | step | function | file |
//! |---|---|---|
//! | 1 accept | `Acceptor::run`, then `serve` | `server/listen.rs`, `server/connection.rs` |
//! | 2 canonicalize | `handle` and `check` for the head, `Front::take_off` and `Target::parse` for the path | `proxy/mod.rs`, `proxy/head.rs`, `proxy/front.rs`, `dialect/target.rs` |
//! | 3 classify | `GateGuard::classify`, which asks the dialect's `classify` | `proxy/guarded.rs`, `dialect/forgejo/routes.rs`, `dialect/jira/routes.rs`, `dialect/redmine/routes.rs`, `dialect/trello/routes.rs` |
//! | 4 pass | `stream`: nearly all traffic ends here | `proxy/forward.rs` |
//! | 5 parse | `GateGuard::candidate` reads the body, the route's `understand` reads what it asks for | `proxy/guarded.rs`, `dialect/forgejo/guarded_routes.rs`, `dialect/forgejo/parse.rs` |
//! | 6 identify | `GateGuard::whose` finds credential and instance, `Walk::party` the account | `proxy/guarded.rs`, `gate/walk/party.rs` |
//! | 7 detach | `Gate::submit`: a task of its own, which the connection waits for | `gate/mod.rs` |
//! | 8 enter | `Walk::find` finds the items' ids, `Walk::enter` their lanes, `Walk::open` the ledger (T1) | `gate/walk/subjects.rs`, `gate/walk/turns.rs`, `gate/walk/open.rs` |
//! | 9 observe | `Walk::observe`, then `Walk::reconcile` for what changed outside the gate | `gate/walk/observe.rs` |
//! | 10 decide | `Walk::decide`, which asks `decide` | `gate/walk/decide.rs`, `admission/decide.rs` |
//! | 11 send | `Walk::send` (T2), then `send_once` | `gate/walk/send.rs`, `upstream/http.rs` |
//! | 12 settle and reply | `Walk::read_back`, `judge`, `Walk::settle` (T3), `decided` | `gate/walk/send.rs`, `gate/walk/settle.rs`, `admission/verdict.rs`, `proxy/reply.rs` |
//!
//! The account is asked for inside the detached task, because that may take a request to the tracker. `Walk::items` and
//! `Walk::carry_out` (`gate/walk.rs`) are steps 8 to 12 on one screen; read those first. A write of one item, a form that names thirty
//! and what the gate writes itself take them alike. A creation has its own steps 8 to 12 (`gate/walk/creation.rs`), since there
//! is no item yet that could have a turn. An edit whose guarded fields only repeat what the item shows leaves the walk inside
//! its turn, before T1: the rest of it passes (`gate/walk/echo.rs`).
//!
//! # Invariants
//!
//! Most of them are about what is not there. Those marked (tidy) are held by `tests/integration/tidy.rs`.
//!
//! - **One maker of permits.** `Permit::new` is called in `admission` alone (tidy), and a [`Permit`](admission::Permit) is not
//!   `Clone`.
//! - **What is sent was recorded.** The port's `send` takes a [`Sending`](effect::Sending), which is not `Clone` and is made in
//!   `effect/sending.rs` alone (tidy): by the commit that makes SENDING durable, and it takes the permits of every item. A
//!   creation has none: nobody can race for an item that does not exist. What a `[[once]]` rule is about is entered in the
//!   ledger under its key instead.
//! - **Nothing retries a send.** The port's `send` is called in one place, `gate/walk/send.rs` (tidy); its adapter has no
//!   second attempt and takes no idle pooled connection.
//! - **What is decided was read in its own turn.** moka is used for what cannot change (path to immutable id, checked again under
//!   the turn), for what may be a little old (credential to account, what labels are called), for what a credential was shown
//!   just now, to count agents without a name, and to say who moved an item last; in five files (tidy). An admission rests on a read of the item made inside
//!   its own turn; what a label is called may be 30 s old, and what it has become shows in the read-back. Only a refusal may
//!   rest on what another turn saw. The lists that claim-next offers from are hints: each of its claims is decided like any
//!   other.
//! - **Nothing is answered before T3 is durable.** `Walk::settle` returns its reply after its commit; where that
//!   commit fails the answer is 504, never 2xx.
//! - **From T1 on nothing cancels a walk.** It runs in a task of its own, every way out settles its attempts, and a panic
//!   leaves a doubt behind, not a gap.
//! - **A head is looked at once.** What the guard found in it goes with the request (`Note`); a read that is repeated is known by
//!   what its worker remembers of it (`proxy/read_memo.rs`), and touches no table of the gate (`gate/read_mark.rs`). Nothing is
//!   decided by either. A worker drives its connections to the tracker in the tasks of its clients (`upstream/pool.rs`), and
//!   waits for no lock that another worker takes.
//! - **No wildcard pass.** In the table of guarded routes, whatever is not named below a repository's issues or pulls is
//!   refused; on the web's pages of one item it passes where neither path nor body names a guarded form. And a path that
//!   can be read in two ways passes only if every reading does.
//! - **No byte of a guarded write is forwarded as it came.** Method, canonical path, allow-listed headers and typed body are
//!   written anew by `emit`.
//! - **What strikes items that it does not name is judged first.** Deleted branches and forks, edited labels, dependencies: read
//!   as strictly as a guarded write, judged in `gate/walk/side_effects.rs`, and then forwarded as they came, without a turn or an
//!   attempt. What they do is seen as an outside edit.
//! - **No direct clock.** Wall-clock and boot time come by the `Clock` port, waiting by tokio's, which a test can pause;
//!   `clippy.toml` bans the rest; `clock.rs` and the stopwatch of `race` and `demo` are the only exceptions (tidy).
//! - **No credential is kept.** In the ledger, the audit, the log and the metrics there are keyed fingerprints only.
//! - **Standard output is the audit's** while the gate serves; only `cli` and `audit` can write there (tidy). The audit
//!   passes through no filter.
//! - **The gate goes by what an answer amounts to**, never by a status: `AnswerClass` is made in `dialect/wire.rs` (tidy).
//! - **No adapter knows another**, `admission` and `dialect` do not know each other, and the gate sees ports only (tidy).
//! - **No unsafe code**, and unwinding stays on: one panic must not put everything in flight in doubt.
//! - **Nothing assumes one process above the ledger's port.** What only a process that has the ledger to itself may do,
//!   it asks for by `Membership::admits_early_reads`, in five files of the gate (tidy).

pub mod admission;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dialect;
pub mod effect;
pub mod fake_forge;
pub mod fake_redmine;
pub mod gate;
pub mod identity;
pub mod ledger;
pub mod manual;
pub mod model;
pub mod proxy;
pub mod server;
pub mod telemetry;
pub mod upstream;
