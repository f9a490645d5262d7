//! The claim protocol of two gates on one ledger, searched completely within small bounds (manual: protocol, "Several gates").
//!
//! Two agents, a human, one item. Gates die or are declared fallen, writes land late or never, clients hang up, commits stay
//! without an answer. Each sentence of the protocol is a switch; where one is off, a promise must break.

mod rules;
mod search;
mod state;
mod steps;

use rules::{Bounds, Mutant, Rules};
use search::{Searched, search};
use state::Broken;

const NONE: Bounds = Bounds {
    requests: 3,
    hang_ups: 0,
    cuts: 0,
    steals: 0,
    crashes: 0,
    edits: 0,
    operator: 0,
    unknown: 0,
    shares: false,
    keeps: false,
    crosses: false,
};

/// Searched completely: no promise breaks.
#[track_caller]
fn is_clean(bounds: Bounds) {
    match search(&Rules { mutant: None, bounds }) {
        Searched::Clean { states } => println!("{states} states: {bounds:?}"),
        Searched::Found { broken, trace } => panic!("{broken:?}: {trace:#?}"),
    }
}

/// What breaks first, by a shortest trace.
#[track_caller]
fn breaks(mutant: Mutant, bounds: Bounds, what: Broken) {
    match search(&Rules { mutant: Some(mutant), bounds }) {
        Searched::Clean { states } => panic!("{mutant:?} breaks nothing in {states} states"),
        Searched::Found { broken, trace } => {
            println!("{mutant:?}: {broken:?} after {} steps", trace.len());
            assert_eq!(broken, what, "{mutant:?}: {trace:#?}");
        }
    }
}

#[test]
fn no_promise_breaks() {
    is_clean(Bounds { hang_ups: 1, cuts: 1, ..NONE });
    is_clean(Bounds { requests: 4, cuts: 2, ..NONE });
    is_clean(Bounds { cuts: 1, steals: 1, ..NONE });
    is_clean(Bounds { crashes: 1, cuts: 1, ..NONE });
    is_clean(Bounds { operator: 1, cuts: 1, ..NONE });
    is_clean(Bounds { unknown: 1, edits: 1, ..NONE });
    is_clean(Bounds { unknown: 1, steals: 1, ..NONE });
    is_clean(Bounds { edits: 1, shares: true, ..NONE });
    is_clean(Bounds { edits: 1, crosses: true, ..NONE });
}

#[test]
#[ignore = "millions of states: minutes where nothing is optimised"]
fn no_promise_breaks_within_wider_bounds() {
    is_clean(Bounds { requests: 4, hang_ups: 1, cuts: 1, steals: 1, ..NONE });
    is_clean(Bounds { cuts: 1, steals: 1, crashes: 1, edits: 1, ..NONE });
    is_clean(Bounds { cuts: 1, steals: 1, unknown: 1, edits: 1, ..NONE });
    is_clean(Bounds { cuts: 1, edits: 1, operator: 1, hang_ups: 1, shares: true, ..NONE });
    is_clean(Bounds { cuts: 1, steals: 1, edits: 1, crosses: true, ..NONE });
    is_clean(Bounds { requests: 4, cuts: 2, steals: 1, ..NONE });
}

#[test]
fn waiting_that_trusts_what_was_before_it_is_found() {
    breaks(Mutant::HangUpSeenOnce, Bounds { hang_ups: 1, requests: 4, ..NONE }, Broken::StruckByAbandoned);
    breaks(Mutant::DoubtSeenOnce, Bounds { cuts: 1, ..NONE }, Broken::MistakenZombie);
    breaks(Mutant::EarlyReadAdmits, NONE, Broken::MistakenZombie);
}

#[test]
fn a_takeover_that_is_none_or_too_much_is_found() {
    breaks(Mutant::NobodyTakesOver, Bounds { crashes: 1, ..NONE }, Broken::Stuck);
    breaks(Mutant::TakeoverAborts, Bounds { steals: 1, ..NONE }, Broken::Differs);
    breaks(Mutant::TakeoverById, Bounds { steals: 1, ..NONE }, Broken::Differs);
}

#[test]
fn a_step_without_its_row_is_found() {
    breaks(Mutant::SendWithoutRow, Bounds { steals: 1, ..NONE }, Broken::Differs);
    breaks(Mutant::VersionUnconfirmed, Bounds { operator: 1, ..NONE }, Broken::UnrecordedGrant);
    breaks(Mutant::SettleWithoutFence, Bounds { steals: 1, ..NONE }, Broken::MistakenZombie);
}

#[test]
fn a_doubt_that_ends_wrongly_is_found() {
    let doubtful = Bounds { cuts: 2, requests: 4, ..NONE };
    breaks(Mutant::ResolveUnderLive, doubtful, Broken::Differs);
    breaks(Mutant::DueAtWrite, doubtful, Broken::Differs);
    breaks(Mutant::DoubtTooShort, doubtful, Broken::Differs);
    breaks(Mutant::SuccessClearsDoubt, doubtful, Broken::Differs);
}

#[test]
fn a_commit_that_is_taken_for_known_is_found() {
    breaks(Mutant::RepeatIgnoresHolding, Bounds { unknown: 1, edits: 1, ..NONE }, Broken::UnrecordedGrant);
    breaks(Mutant::UnknownIsDone, Bounds { unknown: 1, ..NONE }, Broken::UnrecordedGrant);
    breaks(Mutant::UnknownOpenForgotten, Bounds { unknown: 1, ..NONE }, Broken::Stuck);
}

#[test]
fn a_refusal_by_what_is_too_old_is_found() {
    breaks(Mutant::OldObservation, Bounds { edits: 1, shares: true, keeps: true, ..NONE }, Broken::UntrueRefusal);
    breaks(Mutant::PolledAtSend, Bounds { edits: 1, crosses: true, ..NONE }, Broken::UntrueRefusal);
}
