//! Logs that no gate wrote, each with what is to be said of it. In most the chain is whole again.

use super::history::{Story, Told, agent, claim, committed, everything, release, write};
use super::{chained, parsed, verified};
use claimgate::effect::{Authority, Ledger as _};
use claimgate::model::{Code, Kind, Ownership};
use serde_json::{Map, Value, json};

type Lines = Vec<Map<String, Value>>;
/// A forgery's name, what is to be said of it, and how it is made.
type Forged<F> = (&'static str, &'static str, F);
type OnBytes = fn(&str) -> String;

/// Changes the log, chains it anew, and expects a finding with these words.
#[track_caller]
fn check(name: &str, words: &str, forge: fn(&mut Lines)) {
    let mut lines = parsed(&everything());
    let before = lines.clone();
    forge(&mut lines);
    assert_ne!(lines, before, "{name}: nothing was forged");
    refused(name, words, &chained(&lines));
}

/// The same on the bytes, with the chain as it then is.
#[track_caller]
fn check_bytes(name: &str, words: &str, forge: fn(&str) -> String) {
    let log = everything();
    let forged = forge(&log);
    assert_ne!(forged, log, "{name}: nothing was forged");
    refused(name, words, &forged);
}

#[track_caller]
fn refused(name: &str, words: &str, log: &str) {
    let (found, summary) = verified(log);
    assert!(found.iter().any(|what| what.contains(words)), "{name}: {words:?} not said, but {found:#?}");
    assert!(summary.wrong > 0, "{name}");
}

/// The first line whose `reason` is this.
fn at(lines: &Lines, reason: &str) -> usize {
    lines.iter().position(|line| line["reason"] == reason).unwrap_or_else(|| panic!("no line {reason:?}"))
}

fn of_kind(lines: &Lines, kind: &str) -> usize {
    lines.iter().position(|line| line["kind"] == kind).unwrap()
}

fn line<'a>(lines: &'a mut Lines, reason: &str) -> &'a mut Map<String, Value> {
    let at = at(lines, reason);
    &mut lines[at]
}

fn set(line: &mut Map<String, Value>, members: Value) {
    let Value::Object(members) = members else { panic!("not members") };
    line.extend(members);
}

fn who(account: &str) -> Value {
    json!({"account": account, "instance": null})
}

/// As if it had never been: the fences after it on this item come down by one.
fn without_a_change(lines: &mut Lines, reason: &str) {
    let gone = lines.remove(at(lines, reason));
    for line in lines.iter_mut().filter(|line| line["resource_id"] == gone["resource_id"]) {
        if let Some(fence) = line["fence"].as_u64().filter(|fence| Some(*fence) >= gone["fence"].as_u64()) {
            line["fence"] = json!(fence - 1);
        }
    }
}

// === who holds ===

#[test]
fn two_holders() {
    check(
        "a release is gone, and its version with it",
        "promise 1 is broken: bob is granted it while alice",
        |lines| {
            lines.remove(at(lines, "bob clears what is clear"));
            without_a_change(lines, "alice releases");
        },
    );
    check("an operator's word is gone", "promise 1 is broken: dave is granted it while carol", |lines| {
        let first = of_kind(lines, "operator");
        lines.remove(first + 1);
        lines[first]["reason"] = json!("gone");
        without_a_change(lines, "gone");
    });
    check("a revocation is gone", "promise 1 is broken: alice is granted it while bob", |lines| {
        let first = of_kind(lines, "revoked");
        lines[first]["reason"] = json!("gone");
        without_a_change(lines, "gone");
    });
    check("a take-over is called a claim", "promise 1 is broken: bob is granted it while alice", |lines| {
        line(lines, "bob takes over")["intent"] = json!("claim");
    });
    check("an overrider is none", "promise 1 is broken: carol is granted it while bob", |lines| {
        line(lines, "a person decides")["authority"] = Value::Null;
    });
    check("a doubtful overrider is none", "promise 1 is broken: bob is granted it while carol", |lines| {
        line(lines, "a person, in doubt")["authority"] = Value::Null;
    });
    check("an observing rule enforces", "promise 1 is broken: dave is granted it while carol", |lines| {
        line(lines, "only observed")["decision"] = json!("admit");
    });
    check("the parked was not parked", "promise 1 is broken: bob is granted it while erin", |lines| {
        line(lines, "erin closes it")["parked"] = json!(false);
    });
    check("another instance of one account", "promise 1 is broken: alice (2) is granted it while alice (1)", |lines| {
        for reason in ["alice claims", "alice repeats", "alice moves", "bob is refused", "bob may not release"] {
            line(lines, reason)["holder"]["instance"] = json!("1");
        }
        for reason in ["alice claims", "alice repeats", "alice moves"] {
            line(lines, reason)["agent"]["instance"] = json!("1");
        }
        line(lines, "bob claims")["agent"] = json!({"account": "alice", "instance": "2", "credential": "c0ffee"});
        line(lines, "bob claims")["holder"] = json!({"account": "alice", "instance": "2"});
        lines.remove(at(lines, "bob clears what is clear"));
        without_a_change(lines, "alice releases");
    });
    check("a landed doubt over a holder", "promise 1 is broken: bob is granted it while alice", |lines| {
        let claim = lines[at(lines, "alice after the edit")].clone();
        let landed = of_kind(lines, "landed");
        let resolved = lines.iter().skip(landed + 1).position(|line| line["kind"] == "landed").unwrap() + landed + 1;
        let mut early = claim;
        set(&mut early, json!({"fence": 1, "id": "0190-early", "reason": "early"}));
        let doubt = at(lines, "bob in doubt");
        set(&mut lines[resolved], json!({"fence": 2}));
        let since = early["holding_since"].clone();
        set(&mut lines[doubt], json!({"fence": 1, "holder": who("alice"), "parked": false, "holding_since": since}));
        lines.insert(doubt, early);
    });
}

#[test]
fn a_holder_without_a_reason() {
    check("changed without a rise", "the holder changes from alice to bob", |lines| {
        set(
            line(lines, "alice repeats"),
            json!({"agent": {"account": "bob", "instance": null, "credential": ""}, "holder": who("bob")}),
        );
    });
    check("a refusal changes the holder", "the holder changes from alice to bob by REJECTED", |lines| {
        line(lines, "bob is refused")["holder"] = who("bob");
    });
    check("a refusal raises the fence", "the fence rises by REJECTED", |lines| {
        line(lines, "bob is refused")["fence"] = json!(2);
    });
    check("an instance is lost", "the holder changes from erin (7) to erin", |lines| {
        line(lines, "erin without instance")["holder"]["instance"] = Value::Null;
    });
    check("a doubt takes effect at once", "the holder changes from nobody to bob by DOUBT", |lines| {
        set(
            line(lines, "bob in doubt"),
            json!({"holder": who("bob"), "parked": false, "holding_since": "2026-01-01T00:00:00.000000Z"}),
        );
    });
    check("what did not land takes effect", "the holder changes from alice to nobody by NOT_LANDED", |lines| {
        let line = lines.iter_mut().find(|line| line["kind"] == "not_landed").unwrap();
        set(line, json!({"holder": null, "parked": null, "holding_since": null}));
    });
    check("the claim's holder is another", "alice is told that it holds it, and the holder is mallory", |lines| {
        line(lines, "alice claims")["holder"] = who("mallory");
    });
    check("the claim leaves nobody", "alice is told that it holds it, and the holder is nobody", |lines| {
        set(line(lines, "alice claims"), json!({"holder": null, "parked": null, "holding_since": null}));
    });
    check("a no-op for who does not hold", "bob is told that it holds it, and the holder is alice", |lines| {
        line(lines, "alice repeats")["agent"]["account"] = json!("bob");
    });
}

#[test]
fn an_end_without_a_reason() {
    check("a release that leaves the holder", "alice released it, and alice still holds it", |lines| {
        let held = lines[at(lines, "alice moves")].clone();
        for name in ["holder", "parked", "holding_since"] {
            line(lines, "alice releases")[name] = held[name].clone();
        }
    });
    check("a release by another", "bob ends the holding of alice, which was not its own", |lines| {
        line(lines, "alice releases")["agent"]["account"] = json!("bob");
    });
    check("a release by anyone, by no rule", "alice ends the holding of dave", |lines| {
        line(lines, "anyone may")["authority"] = Value::Null;
    });
    check("a hand-over by another", "promise 1 is broken: carol is granted it while bob", |lines| {
        line(lines, "bob hands over")["agent"]["account"] = json!("mallory");
    });
    check("a claim for another", "mallory becomes the holder by a claim of bob", |lines| {
        line(lines, "bob claims")["holder"] = who("mallory");
    });
    check("a move ends the holding", "but it was no release", |lines| {
        line(lines, "alice releases")["intent"] = json!("move");
    });
    check("a revocation of another", "revoked of a holding that was not there", |lines| {
        let at = of_kind(lines, "revoked");
        lines[at]["agent"]["account"] = json!("mallory");
    });
    check("an operator's release of another", "operator of a holding that was not there", |lines| {
        let at = of_kind(lines, "operator");
        lines[at]["agent"] = json!({"account": "mallory", "instance": null, "credential": ""});
    });
    check("a rebinding of another", "rebound of a holding that was not there", |lines| {
        let at = of_kind(lines, "rebound");
        lines[at]["agent"]["account"] = json!("mallory");
    });
    check("parked by another", "the item is parked or unparked by COMMITTED, not by its holder", |lines| {
        line(lines, "bob parks")["agent"]["account"] = json!("mallory");
    });
    check("a holding that began at another time", "holding_since changes within one holding", |lines| {
        line(lines, "alice moves")["holding_since"] = json!("2020-01-01T00:00:00.000000Z");
    });
    check("a fence too high", "the fence rises from 1 to 3", |lines| {
        let from = at(lines, "alice releases");
        for line in lines.iter_mut().skip(from).filter(|line| line["resource"] == "o/r#1") {
            if let Some(fence) = line["fence"].as_u64() {
                line["fence"] = json!(fence + 1);
            }
        }
    });
    check("a fence that falls", "the fence falls from 3 to 1", |lines| {
        line(lines, "bob hands over")["fence"] = json!(1);
    });
    check("a rise of nothing", "nobody held it before or holds it now", |lines| {
        line(lines, "bob clears what is clear")["fence"] = json!(3);
    });
}

/// What another turn of its gate had seen may be older than what other gates have written since.
#[test]
fn a_refusal_by_an_earlier_version() {
    fn late(lines: &mut Lines, gate: &str) {
        let refusal = lines.remove(at(lines, "bob is refused"));
        let after = at(lines, "bob hands over");
        lines.insert(after, refusal);
        lines[after]["gate"] = json!(gate);
    }
    let mut lines = parsed(&everything());
    late(&mut lines, "gate-2");
    let (found, summary) = verified(&chained(&lines));
    assert_eq!((found, summary.wrong), (Vec::new(), 0));
    check("of the gate that wrote the later one", "the fence falls from 3 to 1", |lines| late(lines, "gate-1"));
    check("of another holder", "the holder of version 1 was another one", |lines| {
        late(lines, "gate-2");
        line(lines, "bob is refused")["holder"] = who("mallory");
    });
    check("of a grant", "the fence falls from 3 to 1", |lines| {
        late(lines, "gate-2");
        set(line(lines, "bob is refused"), json!({"result": "COMMITTED", "decision": "noop", "code": null}));
    });
}

// === attempts ===

#[test]
fn a_result_that_cannot_be() {
    check("another result after the final one", "had ended as COMMITTED before", |lines| {
        let id = line(lines, "alice claims")["id"].clone();
        line(lines, "bob is refused")["id"] = id;
    });
    check("one result twice", "had ended as COMMITTED before", |lines| {
        let id = line(lines, "alice claims")["id"].clone();
        line(lines, "alice repeats")["id"] = id;
    });
    check("doubt after the end", "had ended as COMMITTED before", |lines| {
        let id = line(lines, "alice again")["id"].clone();
        line(lines, "alice's release in doubt")["id"] = id;
    });
    check("doubt that ends as committed", "it can only turn out to have landed or not", |lines| {
        let id = line(lines, "alice in doubt")["id"].clone();
        line(lines, "alice again")["id"] = id;
    });
    check("landed out of nothing", "is in doubt", |lines| {
        let at = of_kind(lines, "landed");
        lines[at]["id"] = json!("0190-none");
    });
    check("landed for another", "the write in doubt was alice's", |lines| {
        let at = of_kind(lines, "landed");
        lines[at]["agent"]["account"] = json!("mallory");
    });
    check("another writes in doubt", "mallory writes", |lines| {
        let again = line(lines, "alice again");
        again["agent"]["account"] = json!("mallory");
        again["holder"] = who("mallory");
    });
    check("another value in doubt", "is in doubt", |lines| {
        line(lines, "and again")["change"] = json!("something else");
    });
    check("an outside edit in doubt", "an outside edit cannot be told while a write is in doubt", |lines| {
        let mut contested = lines[of_kind(lines, "contested")].clone();
        let doubt = lines[at(lines, "alice's release in doubt")].clone();
        for name in ["resource", "resource_id", "fence", "holder", "parked", "holding_since"] {
            contested.insert(name.to_owned(), doubt[name].clone());
        }
        let at = at(lines, "and again");
        lines.insert(at, contested);
    });
    check("a grant without a result", "its result does not go with its kind and decision", |lines| {
        line(lines, "alice claims")["result"] = Value::Null;
    });
    check("a grant without an intent", "an attempt that was sent or granted has an intent", |lines| {
        line(lines, "alice claims")["intent"] = Value::Null;
    });
    check("a grant without a version", "a line about an item has resource", |lines| {
        set(line(lines, "bob claims"), json!({"fence": null, "holder": null, "parked": null, "holding_since": null}));
    });
    check("an admitted refusal", "its result does not go with its kind and decision", |lines| {
        line(lines, "bob is refused")["decision"] = json!("admit");
    });
    check("a refused grant", "its result does not go with its kind and decision", |lines| {
        line(lines, "alice claims")["decision"] = json!("reject");
    });
    check("a landed with a decision", "a decision goes with the kind decision", |lines| {
        let at = of_kind(lines, "landed");
        lines[at]["decision"] = json!("admit");
    });
    check("a holder since never", "holder, parked and holding_since go together", |lines| {
        line(lines, "alice claims")["holding_since"] = Value::Null;
    });
}

#[test]
fn an_attempt_of_nobody() {
    check("an attempt without a name", "an attempt has an id and an agent", |lines| {
        line(lines, "alice claims")["id"] = json!("");
    });
    check("an attempt of nobody", "an attempt has an id and an agent", |lines| {
        line(lines, "alice claims")["agent"] = Value::Null;
    });
}

/// A line about who made the edit that another line tells of, as the gate writes it but for `more`.
fn of_author(lines: &mut Lines, more: Value) {
    let at = of_kind(lines, "contested");
    let mut author = lines[at].clone();
    set(&mut author, json!({"kind": "author", "agent": who("zoe"), "fence": null, "observed": null}));
    set(&mut author, json!({"holder": null, "parked": null, "holding_since": null}));
    set(&mut author, more);
    lines.insert(at + 1, author);
}

/// Who made an edit is told in a line that changes nothing: it has no version, no holder and no result.
#[test]
fn an_author_that_changes_something() {
    check("nobody's", "an edit's author is an agent", |lines| of_author(lines, json!({"agent": null})));
    check("with a version", "a line about an item has resource", |lines| of_author(lines, json!({"fence": 1})));
    check("with a result", "its result does not go with", |lines| of_author(lines, json!({"result": "COMMITTED"})));
    check("decided", "a decision goes with the kind", |lines| of_author(lines, json!({"decision": "admit"})));
    check("a holder", "a line about an item has resource", |lines| {
        of_author(
            lines,
            json!({"holder": who("zoe"), "parked": false, "holding_since": "2026-01-02T03:04:05.678901Z"}),
        );
    });
}

// === the chain and the bytes ===

/// Replaces in one line, counted from 1, and leaves the chain alone.
fn in_line(log: &str, number: usize, from: &str, to: &str) -> String {
    let changed = log.split_inclusive('\n').enumerate();
    changed.map(|(at, line)| if at + 1 == number { line.replacen(from, to, 1) } else { line.to_owned() }).collect()
}

fn moved(log: &str, order: impl Fn(&mut Vec<&str>)) -> String {
    let mut lines: Vec<&str> = log.split_inclusive('\n').collect();
    order(&mut lines);
    lines.concat()
}

#[test]
fn a_broken_chain() {
    check_bytes("a member was edited", "log:4: seq 4: its hash is not the hash", |log| {
        in_line(log, 4, "carol", "mallory")
    });
    check_bytes("a line is missing", "log:7: seq 8: seq jumps from 6 to 8: a line is missing", |log| {
        moved(log, |lines| {
            lines.remove(6);
        })
    });
    check_bytes("many lines are missing", "4 lines are missing", |log| moved(log, |lines| drop(lines.drain(6..10))));
    check_bytes("two lines changed places", "it comes after lines with a higher seq", |log| {
        moved(log, |lines| lines.swap(6, 7))
    });
    check_bytes("two lines changed their prev_hash", "its hash is not the hash", |log| {
        let prev = |at: usize| parsed(log)[at]["prev_hash"].as_str().unwrap().to_owned();
        in_line(&in_line(log, 7, &prev(6), &prev(7)), 8, &prev(7), &prev(6))
    });
    check_bytes("a part of another log", "its prev_hash is not the hash of the line before", |log| {
        let mut lines = parsed(log);
        lines[0]["reason"] = json!("another past");
        let other = chained(&lines);
        log.split_inclusive('\n').take(9).chain(other.split_inclusive('\n').skip(9)).collect()
    });
    check_bytes("a line with the seq of another", "there was another line with this seq", |log| {
        let mut lines = parsed(log)[..9].to_vec();
        lines[8]["path"] = json!("/other");
        let other = chained(&lines);
        let lines: Vec<&str> = log.split_inclusive('\n').collect();
        [&lines[..9], &other.split_inclusive('\n').skip(8).collect::<Vec<_>>(), &lines[9..]].concat().concat()
    });
    check_bytes("a repetition that breaks off", "the repetition breaks off at seq 6, before seq 10", |log| {
        let lines: Vec<&str> = log.split_inclusive('\n').collect();
        [&lines[..10], &lines[3..6], &lines[10..]].concat().concat()
    });
    check_bytes("a repetition with a gap", "seq jumps from 4 to 6", |log| {
        let lines: Vec<&str> = log.split_inclusive('\n').collect();
        [&lines[..10], &lines[3..4], &lines[5..]].concat().concat()
    });
    check_bytes("the second half before the first", "are the files named oldest first?", |log| {
        let lines: Vec<&str> = log.split_inclusive('\n').collect();
        [&lines[30..], &lines[..30]].concat().concat()
    });
    check("not from the beginning", "the first line must have 64 zeros as prev_hash", |lines| {
        lines[0]["prev_hash"] = json!("1".repeat(64));
    });
    check("a beginning in the middle", "only the line with seq 1 may have 64 zeros", |lines| {
        lines[0]["seq"] = json!(5);
    });
    check("numbered from zero", "seq begins with 1", |lines| lines[0]["seq"] = json!(0));
}

#[test]
fn bytes_that_are_no_line() {
    let table: [Forged<OnBytes>; 13] = [
        ("cut in the middle", "the line is cut off", |log| log[..log.len() - 40].to_owned()),
        ("without its end", "the line is cut off", |log| log.trim_end().to_owned()),
        ("cut, and another after it", "not one object", |log| in_line(log, 5, "\"gate\":\"gate-1\"}", "")),
        ("two documents", "trailing characters", |log| in_line(log, 5, "}\n", "}{}\n")),
        ("an empty line", "the line is empty", |log| in_line(log, 5, "\n", "\n\n")),
        ("an array", "expected an object", |log| format!("[]\n{log}")),
        ("not text", "not one object", |log| format!("\u{1}\n{log}")),
        ("a member twice", "the member \"result\" is named twice", |log| {
            in_line(log, 5, "\"result\"", "\"result\":\"REJECTED\",\"result\"")
        }),
        ("an unknown member twice", "the member \"x\" is named twice", |log| {
            in_line(log, 5, "\"id\"", "\"x\":1,\"x\":2,\"id\"")
        }),
        ("a deep member twice", "the member \"account\" is named twice", |log| {
            in_line(log, 5, "\"account\"", "\"account\":\"x\",\"account\"")
        }),
        ("no hash", "missing field `hash`", |log| {
            let hash = parsed(log)[4]["hash"].as_str().unwrap().to_owned();
            in_line(log, 5, &format!("\"hash\":\"{hash}\","), "")
        }),
        ("members in another order", "it does not begin with seq, prev_hash and hash", |log| {
            let seq = "{\"seq\":5,";
            in_line(&in_line(log, 5, seq, "{"), 5, "}\n", ",\"seq\":5}\n").replace("},\"seq\":5}", ",\"seq\":5}")
        }),
        ("space between", "it does not begin with seq, prev_hash and hash", |log| {
            in_line(log, 5, "{\"seq\"", "{ \"seq\"")
        }),
    ];
    for (name, words, forge) in table {
        check_bytes(name, words, forge);
    }
}

#[test]
fn members_of_another_type() {
    const TABLE: [(&str, &str, &str); 14] = [
        ("time", "\"yesterday\"", "is not a time in UTC"),
        ("time", "\"2026-01-01T00:00:00.000000+01:00\"", "is not a time in UTC"),
        ("kind", "\"rumour\"", "unknown variant `rumour`"),
        ("decision", "\"maybe\"", "unknown variant `maybe`"),
        ("result", "\"OPEN\"", "unknown variant `OPEN`"),
        ("intent", "\"steal\"", "unknown variant `steal`"),
        ("authority", "\"self\"", "unknown variant `self`"),
        ("agent", "\"alice\"", "invalid type"),
        ("holder", "{\"instance\":null}", "missing field `account`"),
        ("fence", "-1", "invalid value"),
        ("fence", "\"1\"", "invalid type"),
        ("parked", "0", "invalid type"),
        ("observed", "{\"assignees\":[],\"status\":[],\"state\":\"ajar\"}", "unknown variant `ajar`"),
        ("upstream_status", "true", "invalid type"),
    ];
    for (name, value, words) in TABLE {
        let mut lines = parsed(&everything());
        line(&mut lines, "alice claims")[name] = serde_json::from_str(value).unwrap();
        refused(&format!("{name} {value}"), words, &chained(&lines));
    }
}

#[test]
fn every_member_must_be_there() {
    let whole = parsed(&everything());
    let names: Vec<String> = whole[0].keys().filter(|name| *name != "seq" && !name.contains("hash")).cloned().collect();
    assert_eq!(names.len(), 27);
    for name in names {
        let mut lines = whole.clone();
        lines[1].shift_remove(&name);
        refused(&name, &format!("missing field `{name}`"), &chained(&lines));
    }
}

#[test]
fn one_forgery_is_one_finding() {
    let log = everything();
    let mut lines = parsed(&log);
    line(&mut lines, "bob is refused")["fence"] = json!(2);
    // The line is wrong, and so is what it leaves behind; then the log goes on.
    let (found, _) = verified(&chained(&lines));
    assert_eq!(found.len(), 2, "{found:#?}");
    let (found, _) = verified(&in_line(&log, 5, "\"change\":\"", "\"change\":\"x"));
    assert_eq!(found.len(), 1, "{found:#?}");
    let (found, _) = verified(&in_line(&log, 1, "}\n", "\n"));
    assert_eq!(found.len(), 1, "{found:#?}");
}

#[test]
fn a_clock_that_goes_back_is_only_odd() {
    let mut lines = parsed(&everything());
    for line in lines.iter_mut().skip(8) {
        line["time"] = json!("2020-01-01T00:00:00.000000Z");
    }
    let (found, summary) = verified(&chained(&lines));
    assert_eq!((found.len(), summary.wrong), (1, 0), "{found:#?}");
    assert!(found[0].contains("log:9: warning: seq 9: its time is"), "{found:#?}");
}

/// A gate whose decision is at fault writes its faults down truthfully.
#[test]
fn what_a_faulty_gate_decides_is_found() {
    let table: [Forged<fn(&mut Story)>; 5] = [
        ("two claims", "promise 1 is broken: bob is granted it while alice holds it since seq 1", |story| {
            story.sent(&claim("first", 1, "alice"), committed());
            story.sent(&claim("second", 1, "bob"), committed());
        }),
        ("an adoption of what is held", "promise 1 is broken", |story| {
            story.sent(&claim("first", 1, "alice"), committed());
            story.granted(&write("second", 1, "bob", Kind::Adopt, Ownership::Becomes(agent("bob"))));
        }),
        ("a no-op for a stranger", "bob is told that it holds it", |story| {
            story.sent(&claim("first", 1, "alice"), committed());
            story.granted(&write("second", 1, "bob", Kind::Claim, Ownership::Keep));
        }),
        ("a right to release is none to claim", "promise 1 is broken", |story| {
            story.sent(&claim("first", 1, "alice"), committed());
            let second = claim("second", 1, "bob");
            story.sent(&Told { authority: Some(Authority::Anyone), ..second }, committed());
        }),
        ("a late landing over a holder", "bob ends the holding of alice", |story| {
            story.sent(&claim("first", 1, "alice"), committed());
            story.sent(&release("second", 1, "bob"), claimgate::admission::Outcome::Doubt);
            story.resolved(1, true);
        }),
    ];
    for (name, words, tell) in table {
        let mut story = Story::new();
        tell(&mut story);
        refused(name, words, &story.log());
    }
}

#[test]
fn who_was_told_that_it_does_not_hold_believes_no_more() {
    let mut story = Story::new();
    story.sent(&claim("first", 1, "alice"), committed());
    story.rejected(&claim("told", 1, "alice"), Code::Contested);
    story.sent(&claim("second", 1, "bob"), committed());
    // The record is wrong all the same, but the promise was kept.
    let (found, _) = verified(&story.log());
    assert_eq!(found, ["log:3: seq 3: bob is granted it while alice holds it"]);
    assert_eq!(*story.ledger.newest_line().borrow(), 3);
}
