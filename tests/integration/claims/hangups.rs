//! A client that hangs up, at whatever moment, changes no outcome.

use std::time::Duration;

use claimgate::fake_forge::Vices;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::e2e::{self, Gate, REPO};

/// When the first agent's client goes.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// After so many tenths of its request have been sent.
    Sent(usize),
    /// This long after all of it has been sent.
    Later(Duration),
}

/// Twenty moments, from the first byte to after the answer.
fn moments() -> impl Iterator<Item = Moment> {
    (1..10).map(Moment::Sent).chain((0..11).map(|step| Moment::Later(Duration::from_millis(step * 4))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_client_has_gone_is_won_or_not_and_never_both() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    forge.set_vices(slow());
    let gate = e2e::gate(&forge).await;
    let mut outcomes = Vec::new();
    for moment in moments() {
        let number = e2e::backlog_issue(&forge).number;
        go_away(&gate, &patch(number, "ann", r#"{"assignees":["ann"]}"#), moment).await;
        let answer = gate.agent("bob").claim(number).await;
        let holder = agreed(&forge, &gate, number).await;
        if answer.status == 201 {
            assert_eq!(holder.as_deref(), Some("bob"), "{moment:?}");
        } else {
            assert_eq!(answer.refused(409, "already_assigned").json()["claimgate"]["holder"]["account"], "ann");
            assert_eq!(holder.as_deref(), Some("ann"), "{moment:?}");
        }
        assert!(forge.max_assignees_ever(REPO, number) <= 1, "{moment:?}");
        outcomes.push(holder);
    }
    let won_by = |login: &str| outcomes.iter().flatten().filter(|holder| *holder == login).count();
    assert!(won_by("ann") > 0 && won_by("bob") >= 9, "both outcomes were met: {outcomes:?}");
    e2e::stop_and_verify(gate, 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_whose_client_has_gone_has_happened_or_not() {
    let forge = e2e::forge(&["ann", "bob"]).await;
    forge.set_vices(slow());
    let gate = e2e::gate(&forge).await;
    for moment in moments() {
        let number = e2e::backlog_issue(&forge).number;
        gate.agent("ann").claim(number).await.granted();
        go_away(&gate, &patch(number, "ann", r#"{"assignees":[]}"#), moment).await;
        let answer = gate.agent("bob").claim(number).await;
        let holder = agreed(&forge, &gate, number).await;
        // A release that came to its turn after bob's claim struck nothing of his.
        let expected = if answer.status == 201 { vec![Some("bob")] } else { vec![Some("ann"), None] };
        assert!(expected.contains(&holder.as_deref()), "{moment:?}: {holder:?}, {answer:?}");
        assert!(forge.max_assignees_ever(REPO, number) <= 1, "{moment:?}");
    }
    e2e::stop_and_verify(gate, 40).await;
}

fn slow() -> Vices {
    let step = Duration::from_millis(5);
    Vices { read_delay: step, write_delay: step, answer_delay: step, ..Vices::default() }
}

fn patch(number: u64, login: &str, body: &str) -> String {
    format!(
        "PATCH {} HTTP/1.1\r\nhost: gate.test\r\nauthorization: token {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        e2e::issue(number),
        e2e::token(login),
        body.len()
    )
}

/// Sends the request up to the moment, and cuts the connection without a word.
async fn go_away(gate: &Gate, request: &str, moment: Moment) {
    let mut stream = TcpStream::connect(gate.address).await.expect("the gate listens");
    let sent = match moment {
        Moment::Sent(tenths) => &request[..request.len() * tenths / 10],
        Moment::Later(_) => request,
    };
    stream.write_all(sent.as_bytes()).await.expect("sent");
    if let Moment::Later(span) = moment {
        tokio::time::sleep(span).await;
    }
    stream.set_zero_linger().expect("an option");
}

/// The holder, once nothing is under way; the forge shows the same.
async fn agreed(forge: &claimgate::fake_forge::FakeForge, gate: &Gate, number: u64) -> Option<String> {
    let quiet = e2e::eventually(
        || async {
            let metrics = gate.operator().get("/metrics").await.text();
            metrics.contains("claimgate_in_flight 0\n").then_some(())
        },
        Duration::from_secs(10),
    );
    quiet.await.expect("nothing goes on for ever");
    let holder = gate.holder(number).await;
    let shown = forge.issue(REPO, number).assignees;
    assert_eq!(shown, holder.iter().cloned().collect::<Vec<_>>(), "ledger and forge agree");
    holder
}
