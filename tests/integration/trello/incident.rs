//! The incident: two managers, started by different triggers a few seconds apart, move one card from Backlog to Todo. One of
//! them does; the other is told who did, by whichever rule stands in its way.

use std::net::SocketAddr;
use std::time::Duration;

use super::fake::Card;
use super::{Answer, Stage, as_agent, board, gate_before, send};
use crate::e2e::stop_and_verify;

/// Between the two triggers.
const APART: Duration = Duration::from_secs(13);
const SHARED: &str = "[identity]\nshared_accounts = [\"agent-0\"]\n";
const SINGLETON: &str =
    "[[singleton]]\nname = \"managers\"\nagents = [\"agent-0/manager-*\"]\nactions = [\"move\"]\nidle = \"10m\"\n";

/// A manager is known by where it comes in: all of them use one account.
async fn promotes(to: SocketAddr, board: &Stage, card: &Card, manager: &str, list: &str) -> Answer {
    let list = board.list(list);
    let line = format!("PUT /as/{manager}/1/cards/{}?idList={list}&{}", card.id, as_agent(0));
    send(to, &line, &[], "").await
}

fn moves(board: &Stage) -> usize {
    board.trello.guarded_writes().len()
}

async fn one_move_and_one_refusal(more: &str, code: &str, apart: Duration) {
    let board = board(1).await;
    let gate = gate_before(board.trello.addr, &format!("{SHARED}{more}")).await;
    let (card, to) = (board.trello.add_card(board.list("Backlog"), "work"), gate.address);
    let first = promotes(to, &board, &card, "manager-hook-7", "Todo").await;
    assert_eq!(first.status, 200, "{first:?}");
    tokio::time::sleep(apart).await;
    let second = promotes(to, &board, &card, "manager-cron-9", "Todo").await;
    assert_eq!((second.status, second.code().as_str()), (409, code), "{second:?}");
    assert!(second.json()["message"].as_str().is_some_and(|text| text.contains("manager-hook-7")), "{second:?}");
    assert_eq!(moves(&board), 1, "one move reached Trello");
    assert_eq!(board.trello.stands_in(&card.id), "Todo");
    stop_and_verify(gate, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_source_state_alone_the_second_is_told_who_was_first() {
    one_move_and_one_refusal("", "wrong_source_state", APART).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_singleton_alone_the_second_is_told_who_is_at_work() {
    let open = "[workflow]\nmode = \"observe\"\n";
    one_move_and_one_refusal(&format!("{open}{SINGLETON}"), "singleton_busy", APART).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_both_the_second_is_told_who_was_first() {
    one_move_and_one_refusal(SINGLETON, "wrong_source_state", Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_same_moment_one_moves_it() {
    let board = board(1).await;
    let gate = gate_before(board.trello.addr, SHARED).await;
    for number in 0..5 {
        let (card, to) = (board.trello.add_card(board.list("Backlog"), &format!("{number}")), gate.address);
        let told = tokio::join!(
            promotes(to, &board, &card, "manager-hook-7", "Todo"),
            promotes(to, &board, &card, "manager-cron-9", "Todo")
        );
        let mut statuses = [told.0.status, told.1.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{told:?}");
        let (lost, winner) = if told.0.status == 409 { (told.0, "manager-cron-9") } else { (told.1, "manager-hook-7") };
        assert!(lost.body.contains(winner), "{lost:?}");
        assert_eq!(moves(&board), number + 1);
    }
    stop_and_verify(gate, 10).await;
}

/// On another board nobody is in anybody's way.
#[tokio::test(flavor = "multi_thread")]
async fn on_two_boards_both_move() {
    let board = board(1).await;
    let gate = gate_before(board.trello.addr, &format!("{SHARED}{SINGLETON}")).await;
    let to = gate.address;
    let elsewhere = board.trello.add_board(&board.agents.iter().collect::<Vec<_>>());
    let (backlog, todo) = (board.trello.add_list(&elsewhere, "BACKLOG"), board.trello.add_list(&elsewhere, "todo"));
    let here = board.trello.add_card(board.list("Backlog"), "here");
    let there = board.trello.add_card(&backlog, "there");
    assert_eq!(promotes(to, &board, &here, "manager-hook-7", "Todo").await.status, 200);
    let line = format!("PUT /as/manager-cron-9/1/cards/{}/idList?value={todo}&{}", there.short_link, as_agent(0));
    let told = send(to, &line, &[], "").await;
    assert_eq!(told.status, 200, "names of lists are compared in any case: {told:?}");
    // Here the class is at work.
    let other = board.trello.add_card(board.list("Backlog"), "other");
    let busy = promotes(to, &board, &other, "manager-cron-9", "Todo").await;
    assert_eq!((busy.status, busy.code().as_str()), (409, "singleton_busy"), "{busy:?}");
    stop_and_verify(gate, 3).await;
}

/// Whoever holds a card hears the same success again, and nothing is sent; nobody else does.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_already_is_a_success_for_its_holder_alone() {
    let board = board(1).await;
    let gate = gate_before(board.trello.addr, SHARED).await;
    let (card, to) = (board.trello.add_card(board.list("Todo"), "work"), gate.address);
    let first = promotes(to, &board, &card, "worker-1", "Doing").await;
    let again = promotes(to, &board, &card, "worker-1", "Doing").await;
    assert_eq!((first.status, again.status), (200, 200), "{again:?}");
    assert_eq!(first.json()["idList"], again.json()["idList"]);
    assert!(again.head.to_ascii_lowercase().contains("claimgate-decision: noop"), "{again:?}");
    let other = promotes(to, &board, &card, "worker-2", "Doing").await;
    assert_eq!((other.status, other.code().as_str()), (409, "already_assigned"), "{other:?}");
    assert!(other.body.contains("worker-1"), "{other:?}");
    assert_eq!(moves(&board), 1);
    stop_and_verify(gate, 3).await;
}

/// A card that cannot be read: a structured error, and nothing is sent.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_moved_unread() {
    let board = board(1).await;
    let gate = gate_before(board.trello.addr, SHARED).await;
    let card = board.trello.add_card(board.list("Backlog"), "work");
    board.trello.fail_reads(Some(503));
    let told = promotes(gate.address, &board, &card, "manager-hook-7", "Todo").await;
    assert_eq!((told.status, told.code().as_str()), (502, "upstream_unreadable"), "{told:?}");
    assert!(told.json()["message"].as_str().is_some_and(|text| text.contains("nothing was sent")), "{told:?}");
    assert_eq!(moves(&board), 0);
    board.trello.fail_reads(None);
    assert_eq!(promotes(gate.address, &board, &card, "manager-hook-7", "Todo").await.status, 200);
}
