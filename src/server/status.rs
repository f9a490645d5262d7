//! What the admin listener says of the gate as a whole, and of the board, as JSON.

use crate::effect::audit::{agent, rfc3339, shown};
use crate::effect::{Condition, LedgerError};
use crate::gate::{Gate, Refusal, Standing};
use crate::model::{ItemRecord, Time};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What does not change while the gate runs.
#[derive(Clone, Debug)]
pub struct GateFacts {
    /// The gate's version and build.
    pub version: &'static str,
    /// What kind of tracker it stands before.
    pub tracker: String,
    /// Where that is.
    pub upstream: String,
    /// What clients call, where that is configured.
    pub public_url: Option<String>,
    /// There is a service token.
    pub service_token: bool,
    /// Webhooks are taken.
    pub webhooks: bool,
    /// When it was started.
    pub started: Time,
}

/// Refusals that `status` shows.
const FEW_REFUSALS: usize = 5;
/// What counts as lately.
const LATELY: Duration = Duration::from_hours(1);

// === impl GateFacts ===

impl GateFacts {
    /// What is wrong just now, a sentence each.
    pub(super) fn troubles(&self, gate: &Gate) -> Vec<String> {
        let health = &gate.ports().metrics.health;
        let said = |condition: &Condition, told: &str| condition.trouble().map(|why| format!("{told}: {why}"));
        [
            said(&health.ledger, "The ledger cannot be written, so guarded writes are refused"),
            said(&health.tracker, "The tracker cannot be reached"),
            said(&health.token, "The tracker does not know the service token").filter(|_| self.service_token),
            said(&health.links, "The tracker's links lead round the gate, to").filter(|_| self.public_url.is_some()),
            (gate.ports().metrics.reload_taken.get() == 0).then(|| {
                "The configuration that was read last has mistakes; the rules before it are in force".to_owned()
            }),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// One screen about the gate.
pub(super) async fn status(gate: &Gate, facts: &GateFacts) -> Result<Value, LedgerError> {
    let (metrics, now) = (&gate.ports().metrics, gate.ports().clock.now());
    let board = gate.board().await?;
    let mut agents: BTreeMap<String, usize> = BTreeMap::new();
    for held in board.items.iter().filter_map(|(record, _)| record.holding.as_ref()) {
        *agents.entry(held.actor.to_string()).or_default() += 1;
    }
    let mut agents: Vec<(String, usize)> = agents.into_iter().collect();
    agents.sort_by(|(one, few), (other, many)| many.cmp(few).then_with(|| one.cmp(other)));
    let count = |wanted: Standing| board.items.iter().filter(|(_, standing)| *standing == wanted).count();
    let switched = gate.switched();
    let modes = gate.rules().modes().into_iter().map(
        |(rule, part, mode)| json!({ "rule": rule, "mode": mode.as_str(), "switched": switched.of(part).is_some() }),
    );
    let lately = rfc3339(Time(now.0 - i64::try_from(LATELY.as_micros()).unwrap_or(i64::MAX)));
    let refused = |observed: bool| {
        board.refusals.iter().filter(|refusal| refusal.observed == observed && refusal.time > lately).count()
    };
    let (signed, unsigned) = gate.webhooks();
    let condition = |condition: &Condition| json!({ "up": !condition.has_failed(), "trouble": condition.trouble() });
    Ok(json!({
        "version": facts.version,
        "started": rfc3339(facts.started),
        "up_s": now.since(facts.started).as_secs(),
        "modes": modes.collect::<Vec<_>>(),
        "rules_read": rfc3339(Time(metrics.reloaded_at.get().saturating_mul(1_000_000))),
        "troubles": facts.troubles(gate),
        "tracker": with(condition(&metrics.health.tracker), json!({ "kind": facts.tracker, "url": facts.upstream, "public_url": facts.public_url })),
        "ledger": with(condition(&metrics.health.ledger), json!({ "bytes": gate.ports().ledger.bytes() })),
        "service_token": if facts.service_token { condition(&metrics.health.token) } else { Value::Null },
        "webhooks": { "taken": facts.webhooks, "last": signed.map(rfc3339), "last_unsigned": unsigned.map(rfc3339) },
        "held": board.items.iter().filter(|(record, _)| record.holding.is_some()).count(),
        "held_by": agents.into_iter().map(|(agent, items)| json!({ "agent": agent, "items": items })).collect::<Vec<_>>(),
        "doubt": count(Standing::Doubt) + count(Standing::Free),
        "contested": count(Standing::Contested),
        "stale": count(Standing::Stale),
        "parked": count(Standing::Parked),
        "waiting": board.waiting.iter().map(|waiting| json!({
            "resource": waiting.place.as_ref().map(ToString::to_string),
            "resource_id": waiting.key.as_str(),
            "requests": waiting.count,
            "agents": waiting.agents.iter().map(|actor| agent(actor, None)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "refused_last_hour": refused(false),
        "observed_last_hour": refused(true),
        "refusals": board.refusals.iter().take(FEW_REFUSALS).map(|refusal| refusal.to_json()).collect::<Vec<_>>(),
    }))
}

/// The last refusals, or those after a number, oldest first.
pub(super) async fn refusals(gate: &Gate, after: Option<u64>, limit: usize) -> Result<Value, LedgerError> {
    let board = gate.board().await?;
    let known: Vec<&Arc<Refusal>> = board.refusals.iter().rev().collect();
    let newer: Vec<&&Arc<Refusal>> =
        known.iter().filter(|refusal| after.is_none_or(|after| refusal.number > after)).collect();
    let skipped = newer.len().saturating_sub(limit);
    // Whoever asks again goes on from the first that it has not seen; whoever asks once wants the last.
    let told = if after.is_some() { &newer[..newer.len().min(limit)] } else { &newer[skipped..] };
    let cut = after.is_some_and(|after| {
        known.first().is_some_and(|oldest| oldest.number > after + 1) && newer.len() == known.len()
    });
    let last = told.last().map(|refusal| refusal.number).or(after).unwrap_or(0);
    Ok(json!({
        "refusals": told.iter().map(|refusal| refusal.to_json()).collect::<Vec<_>>(),
        "last": last,
        // Older ones may be in the audit only.
        "cut": cut,
    }))
}

/// One item of the board.
pub(super) fn claim(record: &ItemRecord, standing: Standing, now: Time) -> Value {
    let held = record.holding.as_ref();
    json!({
        "resource": record.locator.to_string(),
        "resource_id": record.key.as_str(),
        "agent": held.map(|held| agent(&held.actor, None)),
        "since": held.map(|held| rfc3339(held.since)),
        "seen": held.map(|held| rfc3339(held.renewed)),
        "held_s": held.map(|held| now.since(held.since).as_secs()),
        "silent_s": held.map(|held| now.since(held.renewed).as_secs()),
        "state": standing.as_str(),
        "stale": standing == Standing::Stale,
        "fence": record.fence.0,
        "shown": held.map(|held| shown(&held.last_seen)),
        "doubt_left_s": record.is_in_doubt(now).then(|| record.doubt_left(now).as_secs()),
    })
}

/// A span in its largest unit, or two: `3 s`, `12 min`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn since(span: Duration) -> String {
    let (minutes, hours, days) = (span.as_secs() / 60, span.as_secs() / 3600, span.as_secs() / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{} s", span.as_secs()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) if minutes % 60 == 0 => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {} min", minutes % 60),
        (days, hours, _) if hours % 24 == 0 => format!("{days} d"),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

fn with(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

// === impl Refusal ===

impl Refusal {
    /// Who asked, for people.
    pub(super) fn agent(&self) -> String {
        match (&self.account, &self.instance) {
            (Some(account), Some(instance)) => format!("{account} ({instance})"),
            (Some(account), None) => account.clone(),
            (None, _) => "-".to_owned(),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "seq": self.seq,
            "gate": self.gate,
            "time": self.time,
            "decision": if self.observed { "observe" } else { "reject" },
            "code": self.code,
            "resource": self.resource,
            "agent": self.account.as_ref().map(|account| json!({ "account": account, "instance": self.instance })),
            "change": self.change,
            "message": self.text,
            "holder": self.holder,
            "client": self.client,
            "id": self.id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_reads_well() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (61, "1 min"),
            (3600, "1 h"),
            (7500, "2 h 5 min"),
            (86_400, "1 d"),
            (100_000, "1 d 3 h"),
        ] {
            assert_eq!(since(Duration::from_secs(seconds)), text);
        }
    }
}
