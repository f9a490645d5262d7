//! The real gate before a Trello: one winner of each card, the same answers to its clients, and no way round.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::fake::Card;
use super::{Answer, Stage, admitted, as_agent, board, gate_before, send};
use crate::e2e::{eventually, stop_and_verify};

const AGENTS: usize = 8;
const CARDS: usize = 30;

/// In which way an agent claims a card.
#[derive(Clone, Copy, Debug)]
enum Way {
    Member,
    Move,
    MemberThenMove,
    MoveThenMember,
    /// In one request.
    Both,
}

const WAYS: [Way; 5] = [Way::Member, Way::Move, Way::MemberThenMove, Way::MoveThenMember, Way::Both];

struct Claim<'a> {
    to: SocketAddr,
    board: &'a Stage,
    card: &'a Card,
    agent: usize,
}

impl Claim<'_> {
    /// By the id or by the short link, with the credential in the query, in JSON, in a form or in a header.
    async fn add(&self) -> Answer {
        let (own, agent) = (&self.board.agents[self.agent], self.agent);
        let name = if agent.is_multiple_of(2) { &self.card.id } else { &self.card.short_link };
        let query = as_agent(agent);
        match agent % 4 {
            0 => send(self.to, &format!("PUT /1/cards/{name}?idMembers={own}&{query}"), &[], "").await,
            1 => {
                let body = json!({ "value": own, "key": format!("key-agent-{agent}"), "token": format!("token-agent-{agent}") });
                let line = format!("POST /1/cards/{name}/members");
                send(self.to, &line, &["content-type: application/json"], &body.to_string()).await
            }
            2 => {
                let line = format!("POST /1/cards/{name}/idMembers");
                let kind = ["content-type: application/x-www-form-urlencoded"];
                send(self.to, &line, &kind, &format!("value={own}&{query}")).await
            }
            _ => {
                let header = format!(
                    "authorization: OAuth oauth_consumer_key=\"key-agent-{agent}\", oauth_token=\"token-agent-{agent}\""
                );
                send(self.to, &format!("PUT /1/card/{name}/idMembers?value={own}"), &[&header], "").await
            }
        }
    }

    async fn shift(&self) -> Answer {
        let (list, query) = (self.board.list("Doing"), as_agent(self.agent));
        let id = &self.card.id;
        if self.agent.is_multiple_of(2) {
            return send(self.to, &format!("PUT /1/cards/{id}?idList={list}&{query}"), &[], "").await;
        }
        let line = format!("PUT /1/cards/{id}/idList?{query}");
        send(self.to, &line, &["content-type: application/json"], &json!({ "value": list }).to_string()).await
    }

    async fn both(&self) -> Answer {
        let (list, own) = (self.board.list("Doing"), &self.board.agents[self.agent]);
        let line = format!("PUT /1/cards/{}?idList={list}&idMembers={own}&{}", self.card.id, as_agent(self.agent));
        send(self.to, &line, &[], "").await
    }

    /// Whether it was told at each step that the card is its own.
    async fn run(&self, way: Way) -> Vec<Answer> {
        let steps = match way {
            Way::Member => return vec![self.add().await],
            Way::Move => return vec![self.shift().await],
            Way::Both => return vec![self.both().await],
            Way::MemberThenMove => [true, false],
            Way::MoveThenMember => [false, true],
        };
        let mut told = Vec::new();
        for adds in steps {
            told.push(if adds { self.add().await } else { self.shift().await });
            if told.last().is_some_and(|answer| answer.status != 200) {
                break;
            }
        }
        told
    }
}

async fn race(to: SocketAddr, board: &Stage, card: &Card, way: Way) {
    let start = tokio::sync::Barrier::new(AGENTS);
    let claims = (0..AGENTS).map(|agent| {
        let (claim, start) = (Claim { to, board, card, agent }, &start);
        async move {
            start.wait().await;
            claim.run(way).await
        }
    });
    let told = futures_util::future::join_all(claims).await;
    let won = |answers: &Vec<Answer>| answers.iter().all(|answer| answer.status == 200);
    let winners: Vec<usize> = (0..AGENTS).filter(|agent| won(&told[*agent])).collect();
    assert_eq!(winners.len(), 1, "{way:?} {card:?}: {told:?}");
    let (own, shown) = (&board.agents[winners[0]], board.trello.card(&card.id));
    let is_assigned = !matches!(way, Way::Move);
    assert_eq!(shown.members.iter().collect::<Vec<_>>(), if is_assigned { vec![own] } else { vec![] }, "{way:?}");
    let stands = if matches!(way, Way::Member) { "Todo" } else { "Doing" };
    assert_eq!(board.trello.stands_in(&card.id), stands, "{way:?}");
    for (agent, answers) in told.iter().enumerate().filter(|(agent, _)| *agent != winners[0]) {
        let last = answers.last().expect("it asked");
        assert_eq!(last.status, 409, "{way:?} {agent}: {answers:?}");
        let body = last.json();
        assert_eq!(body["error"], "CONFLICT", "{body}");
        let text = body["message"].as_str().expect("a text");
        assert!(text.contains(&format!("agent-{}", winners[0])), "the winner is named: {text}");
    }
}

/// 30 winners, none twice, none without: and nothing reached Trello that was not admitted.
#[tokio::test(flavor = "multi_thread")]
async fn of_eight_agents_one_gets_each_card() {
    let board = board(AGENTS).await;
    let gate = gate_before(board.trello.addr, "").await;
    for number in 0..CARDS {
        let card = board.trello.add_card(board.list("Todo"), &format!("work {number}"));
        race(gate.address, &board, &card, WAYS[number % WAYS.len()]).await;
    }
    let sent = board.trello.guarded_writes();
    let recorded = || async { (admitted(&gate) == sent.len()).then_some(()) };
    let recorded = eventually(recorded, Duration::from_secs(5)).await;
    assert!(recorded.is_some(), "{} of {} were admitted: {sent:?}", admitted(&gate), sent.len());
    assert!(sent.iter().all(|write| write.status == 200), "{sent:?}");
    stop_and_verify(gate, CARDS * AGENTS).await;
}

/// What the gate is for: without it all are told that they have it.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_gate_all_are_told_that_they_have_it() {
    let board = board(AGENTS).await;
    let card = board.trello.add_card(board.list("Todo"), "work");
    let claims = (0..AGENTS).map(|agent| {
        let line = format!("POST /1/cards/{}/idMembers?value={}&{}", card.id, board.agents[agent], as_agent(agent));
        let to = board.trello.addr;
        async move { send(to, &line, &[], "").await.status }
    });
    let told = futures_util::future::join_all(claims).await;
    assert_eq!(told, vec![200; AGENTS]);
    assert_eq!(board.trello.card(&card.id).members.len(), AGENTS, "and the card is everybody's");
}

// === what is told ===

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_card_may_repeat_itself_and_nobody_else_may_touch_it() {
    let board = board(3).await;
    let gate = gate_before(board.trello.addr, "").await;
    let (card, to) = (board.trello.add_card(board.list("Todo"), "work"), gate.address);
    let (ann, doing) = (&board.agents[0], board.list("Doing"));
    let [own, other] = [as_agent(0), as_agent(1)];
    let add = |who: &str| format!("POST /1/cards/{}/idMembers?value={ann}&{who}", card.id);
    let claimed = send(to, &add(&own), &[], "").await;
    assert_eq!((claimed.status, &claimed.json()[0]["id"]), (200, &json!(ann)), "{claimed:?}");
    let moved = send(to, &format!("PUT /1/cards/{}?idList={doing}&{own}", card.id), &[], "").await;
    assert_eq!((moved.status, &moved.json()["idList"]), (200, &json!(doing)), "{moved:?}");
    board.trello.forget();
    // Trello itself says 400 to the first of these. Nothing is sent for it.
    let again = send(to, &add(&own), &[], "").await;
    assert_eq!((again.status, &again.json()[0]["id"]), (200, &json!(ann)), "{again:?}");
    let line = format!("PUT /1/cards/{}/idList?value={doing}&{own}", card.short_link);
    let again = send(to, &line, &[], "").await;
    assert_eq!((again.status, &again.json()["shortLink"]), (200, &json!(card.short_link)), "{again:?}");
    let others = [
        format!("PUT /1/cards/{}?idList={doing}", card.id),
        format!("PUT /1/cards/{}/idList?value={}", card.id, board.list("Ideas")),
        format!("PUT /1/cards/{}?idMembers={}", card.id, board.agents[1]),
        format!("PUT /1/cards/{}?idMembers=", card.id),
        format!("POST /1/cards/{}/idMembers?value={}", card.short_link, board.agents[1]),
        format!("DELETE /1/cards/{}/members/{ann}", card.id),
        format!("PUT /1/cards/{}/closed?value=true", card.id),
        format!("DELETE /1/cards/{}", card.id),
        format!("PUT /1/cards/{}?idBoard=5b00000000000000000000ff", card.id),
        format!("POST /1/lists/{doing}/archiveAllCards"),
        format!("POST /1/lists/{doing}/moveAllCards?idList={}&idBoard={}", board.list("Done"), board.board),
        format!("PUT /1/lists/{doing}/name?value=Done"),
        format!("PUT /1/lists/{doing}?closed=true"),
        format!("PUT /1/boards/{}?closed=true", board.board),
    ];
    for line in others {
        let sign = if line.contains('?') { '&' } else { '?' };
        let told = send(to, &format!("{line}{sign}{other}"), &[], "").await;
        assert_eq!(told.status, 409, "{line}: {told:?}");
        assert!(told.body.contains("agent-0"), "{line}: {told:?}");
    }
    let sent = board.trello.seen();
    let sent: Vec<_> = sent.iter().filter(|seen| seen.method != "GET").collect();
    assert!(sent.is_empty(), "{sent:?}");
    // What is free is free.
    for line in [
        "POST /1/cards/{}/actions/comments?text=hi",
        "PUT /1/cards/{}?name=new&desc=d",
        "POST /1/cards/{}/idLabels?value=x",
    ] {
        let told = send(to, &format!("{}&{other}", line.replace("{}", &card.id)), &[], "").await;
        assert_eq!(told.status, 200, "{line}: {told:?}");
    }
    // A client that sends the whole card back asks for its new name.
    let echo = json!({ "name": "newer", "idList": doing, "idMembers": [ann], "closed": false });
    let line = format!("PUT /1/cards/{}?{other}", card.id);
    let echoed = send(to, &line, &["content-type: application/json"], &echo.to_string()).await;
    assert_eq!((echoed.status, board.trello.card(&card.id).name.as_str()), (200, "newer"), "{echoed:?}");
    assert_eq!(board.trello.card(&card.id).members, std::slice::from_ref(ann));
    stop_and_verify(gate, 16).await;
}

/// A list by its id, whatever its name is, is where a card stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_card_stays_in_lists_that_no_rule_names() {
    let board = board(2).await;
    let gate = gate_before(board.trello.addr, "").await;
    let (card, to) = (board.trello.add_card(board.list("Ideas"), "work"), gate.address);
    let other = board.trello.add_list(&board.board, "Parking");
    let line = format!("PUT /1/cards/{}?idMembers={}&{}", card.id, board.agents[0], as_agent(0));
    assert_eq!(send(to, &line, &[], "").await.status, 200);
    let park = |agent: usize| format!("PUT /1/cards/{}?idList={other}&{}", card.id, as_agent(agent));
    let told = send(to, &park(1), &[], "").await;
    assert_eq!((told.status, told.code().as_str()), (409, "not_holder"), "{told:?}");
    assert_eq!(send(to, &park(0), &[], "").await.status, 200);
    assert_eq!(board.trello.stands_in(&card.id), "Parking");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_can_be_moved_to_another_board_by_its_holder() {
    let board = board(2).await;
    let gate = gate_before(board.trello.addr, "").await;
    let (card, to) = (board.trello.add_card(board.list("Todo"), "work"), gate.address);
    let elsewhere = board.trello.add_board(&board.agents.iter().collect::<Vec<_>>());
    let doing = board.trello.add_list(&elsewhere, "Doing");
    let line =
        |agent: usize| format!("PUT /1/cards/{}?idBoard={elsewhere}&idList={doing}&{}", card.id, as_agent(agent));
    assert_eq!(send(to, &line(0), &[], "").await.status, 200, "a move to Doing is a claim");
    assert_eq!(send(to, &line(1), &[], "").await.status, 409);
    assert_eq!(board.trello.card(&card.id).board, elsewhere);
    // The board that it is on already is no move: clients send it along.
    let back = format!("PUT /1/cards/{}?idBoard={elsewhere}&idList={doing}&pos=top&{}", card.id, as_agent(0));
    assert_eq!(send(to, &back, &[], "").await.status, 200);
    stop_and_verify(gate, 3).await;
}

/// Bodies that Trello itself gives for what it refuses go back unchanged, a 429 among them.
#[tokio::test(flavor = "multi_thread")]
async fn what_trello_refuses_goes_back_as_it_is() {
    let board = board(1).await;
    let gate = gate_before(board.trello.addr, "").await;
    let (card, to) = (board.trello.add_card(board.list("Todo"), "work"), gate.address);
    let stranger = board.trello.add_member("stranger");
    let line = format!("PUT /1/cards/{}?idMembers={}&{}", card.id, board.agents[0], as_agent(0));
    board.trello.fail_next(429);
    let limited = send(to, &line, &[], "").await;
    assert_eq!(limited.status, 429, "{limited:?}");
    assert_eq!(limited.json()["error"], "API_TOKEN_LIMIT_EXCEEDED");
    assert_eq!(send(to, &line, &[], "").await.status, 200, "nobody has it by that");
    let foreign = format!("PUT /1/cards/{}?idMembers={}&key=key-stranger&token=token-stranger", card.id, stranger);
    let hidden = send(to, &foreign, &[], "").await;
    assert_eq!((hidden.status, hidden.body.as_str()), (401, "unauthorized permission requested"));
    let missing = format!("PUT /1/cards/5f00000000000000000000ff?idMembers={}&{}", board.agents[0], as_agent(0));
    assert_eq!(send(to, &missing, &[], "").await.status, 404);
    let nobody = send(to, &format!("PUT /1/cards/{}?closed=true&key=x&token=y", card.id), &[], "").await;
    assert_eq!((nobody.status, nobody.body.as_str()), (401, "invalid token"));
    stop_and_verify(gate, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_cannot_be_read_is_not_written() {
    let board = board(1).await;
    let gate = gate_before(board.trello.addr, "").await;
    let card = board.trello.add_card(board.list("Todo"), "work");
    board.trello.fail_reads(Some(500));
    let line = format!("PUT /1/cards/{}?idList={}&{}", card.id, board.list("Doing"), as_agent(0));
    let told = send(gate.address, &line, &[], "").await;
    assert_eq!((told.status, told.code().as_str()), (502, "upstream_unreadable"), "{told:?}");
    assert!(board.trello.guarded_writes().is_empty());
}

/// Who creates a card for itself holds it.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_with_oneself_is_a_claim() {
    let board = board(2).await;
    let gate = gate_before(board.trello.addr, "").await;
    let to = gate.address;
    let line =
        format!("POST /1/cards?idList={}&name=n&idMembers={}&{}", board.list("Todo"), board.agents[0], as_agent(0));
    let made = send(to, &line, &[], "").await;
    assert_eq!(made.status, 200, "{made:?}");
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let taken = format!("PUT /1/cards/{id}?idList={}&{}", board.list("Doing"), as_agent(1));
    let told = send(to, &taken, &[], "").await;
    assert_eq!((told.status, told.code().as_str()), (409, "already_assigned"), "{told:?}");
    let free = send(to, &format!("POST /1/cards?idList={}&name=m&{}", board.list("Todo"), as_agent(0)), &[], "").await;
    assert_eq!(free.status, 200);
    stop_and_verify(gate, 2).await;
}

/// Work is found and taken by the gate's own API.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_card_is_claimed_by_the_claims_api() {
    let board = board(3).await;
    let gate = gate_before(board.trello.addr, "").await;
    let to = gate.address;
    let cards: Vec<Card> =
        (0..2).map(|number| board.trello.add_card(board.list("Todo"), &format!("{number}"))).collect();
    let body = json!({ "repository": board.board, "set_labels": ["Doing"] }).to_string();
    let next = |agent: usize| {
        let line = format!("POST /_claimgate/v1/claims/next?{}", as_agent(agent));
        let body = body.clone();
        async move { send(to, &line, &["content-type: application/json"], &body).await }
    };
    let told: Vec<Answer> = vec![next(0).await, next(1).await, next(2).await];
    assert_eq!(told.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 201, 204], "{told:?}");
    for (agent, card) in cards.iter().enumerate() {
        assert_eq!(told[agent].json()["item"]["id"], json!(card.id), "{told:?}");
        assert_eq!(board.trello.card(&card.id).members, [board.agents[agent].clone()]);
        assert_eq!(board.trello.stands_in(&card.id), "Doing");
    }
    let released = format!("DELETE /_claimgate/v1/claims/{}?{}", cards[0].short_link, as_agent(0));
    let released = send(to, &released, &[], "").await;
    assert_eq!(released.status, 204, "{released:?}");
    assert_eq!(board.trello.card(&cards[0].id).members, Vec::<String>::new());
    let body = json!({ "item": cards[0].short_link, "set_labels": ["Done"] }).to_string();
    let named = format!("POST /_claimgate/v1/claims?{}", as_agent(2));
    let named = send(to, &named, &["content-type: application/json"], &body).await;
    assert_eq!(named.status, 201, "{named:?}");
    assert_eq!(board.trello.stands_in(&cards[0].id), "Done");
    stop_and_verify(gate, 4).await;
}

/// What the manual says that a claim costs, of limits that are a token's.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_claim_costs() {
    let board = board(2).await;
    let gate = gate_before(board.trello.addr, "").await;
    let (to, todo) = (gate.address, board.list("Todo"));
    let cards: Vec<Card> = (0..3).map(|number| board.trello.add_card(todo, &format!("{number}"))).collect();
    let requests = |line: String| {
        board.trello.forget();
        let trello = &board.trello;
        async move {
            let status = send(to, &line, &[], "").await.status;
            let seen: Vec<String> = trello.seen().iter().map(|seen| seen.method.clone()).collect();
            (status, seen.join(" "))
        }
    };
    let add = |card: &Card, agent: usize| {
        format!("POST /1/cards/{}/idMembers?value={}&{}", card.id, board.agents[agent], as_agent(agent))
    };
    let shift = |card: &Card| format!("PUT /1/cards/{}?idList={}&{}", card.id, board.list("Doing"), as_agent(0));
    assert_eq!(requests(add(&cards[0], 0)).await, (200, "GET GET POST GET".to_owned()), "whose it is, and the claim");
    assert_eq!(requests(add(&cards[1], 0)).await, (200, "GET POST GET".to_owned()), "a claim");
    assert_eq!(requests(add(&cards[1], 0)).await, (200, "GET GET".to_owned()), "a repetition");
    let (status, first) = requests(shift(&cards[0])).await;
    assert!(status == 200 && first.matches("GET").count() <= 5, "names of lists are read once: {first}");
    assert_eq!(requests(shift(&cards[1])).await, (200, "GET PUT GET".to_owned()), "a move");
    assert_eq!(requests(add(&cards[0], 1)).await.0, 409);
    assert_eq!(requests(add(&cards[1], 1)).await, (409, "GET".to_owned()), "a refusal");
}

/// A signature covers the bytes of the target and of a form. Everything else is written anew, without a secret in its URL.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_signed_arrives_as_it_was_sent() {
    let board = board(2).await;
    let gate = gate_before(board.trello.addr, "").await;
    let (card, to) = (board.trello.add_card(board.list("Todo"), "work"), gate.address);
    let own = r#"OAuth oauth_consumer_key="key-agent-0", oauth_token="token-agent-0""#;
    let signed = format!(r#"{own}, oauth_nonce="1", oauth_signature_method="HMAC-SHA1", oauth_signature="ab%3D""#);
    let target = format!("/1/cards/{}/idMembers?b=%20x&a=1", card.short_link);
    let body = format!("{{ \"value\" : \"{}\" }}", board.agents[0]);
    let kind = "content-type: application/json";
    let told = send(to, &format!("POST {target}"), &[kind, &format!("authorization: {signed}")], &body).await;
    assert_eq!(told.status, 200, "{told:?}");
    let sent = board.trello.guarded_writes().pop().expect("it was sent");
    let arrived = (sent.target.as_str(), sent.headers["authorization"].to_str().expect("text"), sent.body.as_str());
    assert_eq!(arrived, (target.as_str(), signed.as_str(), body.as_str()));
    assert_eq!(sent.member.as_ref(), Some(&board.agents[0]));
    // It would have to be written anew.
    let (line, header) = (format!("POST /1//cards/{}/idMembers", card.id), format!("authorization: {signed}"));
    let bent = send(to, &line, &[kind, &header], &body).await;
    assert_eq!((bent.status, bent.code().as_str()), (400, "ambiguous_request"), "{bent:?}");
    let line = format!("PUT /1/cards/{}/idList?value={}&{}", card.id, board.list("Doing"), as_agent(0));
    assert_eq!(send(to, &line, &[], "").await.status, 200);
    let sent = board.trello.guarded_writes().pop().expect("it was sent");
    assert_eq!(sent.target, format!("/1/cards/{}/idList?value={}", card.id, board.list("Doing")));
    assert_eq!(sent.headers["authorization"], own);
    stop_and_verify(gate, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_every_place_stay_out_of_what_is_written_down() {
    const CANARY: &str = "canaryCANARY0123456789";
    let board = board(1).await;
    let gate = gate_before(board.trello.addr, "[log]\nlevel = \"trace\"\n").await;
    let (card, to) = (board.trello.add_card(board.list("Todo"), "work"), gate.address);
    let own = &board.agents[0];
    let oauth = format!("authorization: OAuth oauth_consumer_key=\"{CANARY}k\", oauth_token=\"{CANARY}t\"");
    let signed = format!("{oauth}, oauth_signature=\"{CANARY}s\"");
    let (json, form) = ("content-type: application/json", "content-type: application/x-www-form-urlencoded");
    let body = json!({ "value": own, "key": format!("{CANARY}k"), "token": format!("{CANARY}t") }).to_string();
    let pairs = format!("value={own}&key={CANARY}k&token={CANARY}t");
    let query = format!("key={CANARY}k&token={CANARY}t");
    let all: [(String, Vec<&str>, &str); 12] = [
        (format!("PUT /1/cards/{}?idMembers={own}&{query}", card.id), vec![], ""),
        (format!("PUT /1/cards/{}?idMembers=odd&{query}", card.id), vec![], ""),
        (format!("PUT /1/cards/{}?idList=a&idList=b&{query}", card.id), vec![], ""),
        (format!("POST /1/cards/{}/idMembers", card.id), vec![json], &body),
        (format!("POST /1/cards/{}/members", card.id), vec![form], &pairs),
        (format!("PUT /1/cards/{}/idMembers?value={own}", card.id), vec![&oauth], ""),
        (format!("PUT /1/cards/{}/idMembers?value={own}", card.id), vec![&signed], ""),
        (format!("PUT /1/cards/{}/idMembers?value={own}&{query}", card.id), vec![&oauth], ""),
        (format!("GET /1/tokens/{CANARY}t?{query}"), vec![], ""),
        (format!("DELETE /1/tokens/{CANARY}t/cards/x?{query}"), vec![], ""),
        (format!("POST /1/tokens/{CANARY}t/webhooks?{query}"), vec![], ""),
        (
            format!("PUT /1/cards/{}?closed=true&token={CANARY}", card.id),
            vec!["authorization: Bearer canaryCANARY0123456789"],
            "",
        ),
    ];
    for (line, headers, body) in &all {
        let told = send(to, line, headers, body).await;
        assert!(!told.body.contains(CANARY) && !told.head.contains(CANARY), "{line}: {told:?}");
    }
    assert!(gate.audit().len() >= 3, "{:?}", gate.audit());
    for (where_, text) in [("audit", gate.stdout()), ("log", gate.stderr())] {
        let line = text.lines().find(|line| line.contains(CANARY));
        assert_eq!(line, None, "{where_}");
    }
    // What came through at all is known by no more than a fingerprint.
    let seen: Vec<Value> = gate.audit().iter().map(|line| line["agent"]["credential"].clone()).collect();
    assert!(seen.iter().all(|print| !print.to_string().contains("canary")), "{seen:?}");
}
