//! Who is at work by the singleton rules, apart from any one write: hearing of agents, listing, ending.
//!
//! Being heard of is noted in memory, without a wait, and written down now and then; a write of a rival carries what is
//! not written down yet into its own transaction, so that nobody loses a project between two flushes.

use super::reads::{Proof, ReadAccess};
use super::{Gate, OperatorWord};
use crate::admission::{AcquireLease, Heartbeat, LeaseStep, Rules, Singleton};
use crate::dialect::{Credential, WireResponse};
use crate::effect::{Decision, IdentifyError, LedgerError, Note, Subject};
use crate::model::{Actor, BootTime, Caller, Instance, ItemKind, Principal, Project, ProjectLease, Time};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// Why it was not ended, or not listed.
#[derive(Debug)]
pub enum LeaseError {
    /// Nobody is at work there by that rule.
    Nobody,
    /// Somebody else is; the caller may not end it.
    NotYours(Box<ProjectLease>),
    /// The tracker refuses the credential; its own answer goes back.
    Denied(Box<WireResponse>),
    /// The tracker could not be asked who that is.
    Unreadable(String),
    /// The ledger failed.
    Ledger(LedgerError),
}

/// Who was heard of in a project of which rule, since it was last written down.
#[derive(Debug, Default)]
pub(super) struct PendingHeartbeats(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    places: Places,
    /// How often each account is among them.
    of_account: HashMap<Principal, usize>,
}

type Place = (String, Project);
type Places = HashMap<Place, HashMap<Actor, Heartbeat>>;

/// Rules times projects of which this is kept.
const MOST_PLACES: usize = 10_000;
/// Agents of one class in one project, of all accounts and of one. Their names are what they call themselves.
const MOST_AGENTS: usize = 1_000;
const MOST_OF_ACCOUNT: usize = 100;
/// Agents of one account in all projects: one account does not fill all places.
const MOST_NOTES_OF_ACCOUNT: usize = 1_000;

// === impl PendingHeartbeats ===

impl PendingHeartbeats {
    fn note(&self, place: Place, actor: &Actor, at: Time, idle: Duration) {
        // One that is being emptied is not waited for: the agent will be heard of again.
        let Ok(mut noted) = self.0.try_lock() else { return };
        let Noted { places, of_account } = &mut *noted;
        if let Some(heard) = places.get_mut(&place).and_then(|agents| agents.get_mut(actor)) {
            return heard.again(at, idle);
        }
        let own = of_account.entry(actor.account.clone()).or_default();
        if *own >= MOST_NOTES_OF_ACCOUNT || (places.len() >= MOST_PLACES && !places.contains_key(&place)) {
            return;
        }
        let agents = places.entry(place).or_default();
        let before = agents.len();
        if has_room(agents, actor) {
            agents.insert(actor.clone(), Heartbeat::once(actor.clone(), at));
            *own += agents.len().saturating_sub(before);
        }
    }

    fn of(&self, place: &Place) -> Vec<Heartbeat> {
        self.lock().places.get(place).into_iter().flat_map(HashMap::values).cloned().collect()
    }

    fn all(&self) -> Places {
        self.lock().places.clone()
    }

    /// Forgets what has been written down, and nothing that was noted since.
    fn forget(&self, written: &Places) {
        let mut noted = self.lock();
        for (place, agents) in written {
            let Some(left) = noted.places.get_mut(place) else { continue };
            left.retain(|actor, heard| agents.get(actor) != Some(heard));
            if left.is_empty() {
                noted.places.remove(place);
            }
        }
        let mut of_account = HashMap::new();
        for actor in noted.places.values().flat_map(HashMap::keys) {
            *of_account.entry(actor.account.clone()).or_default() += 1;
        }
        noted.of_account = of_account;
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room for one more, where its account has as many as it may: the one that was silent for longest is forgotten.
fn has_room(agents: &mut HashMap<Actor, Heartbeat>, actor: &Actor) -> bool {
    let own = || agents.values().filter(|heard| heard.actor.account == actor.account);
    if own().count() < MOST_OF_ACCOUNT {
        return agents.len() < MOST_AGENTS;
    }
    let silent = own().min_by_key(|heard| heard.to).map(|heard| heard.actor.clone());
    silent.is_some_and(|silent| agents.remove(&silent).is_some())
}

// === impl Gate ===

impl Gate {
    /// The agent was heard of in the project. Cheap: without a rule for it nothing is done, and no lock is waited for.
    pub(super) fn record_heartbeat(&self, actor: &Actor, project: Option<&Project>) {
        let Some(project) = project else { return };
        for rule in self.rules.load().singletons.iter().filter(|rule| rule.covers(actor)) {
            let place = (rule.name.clone(), project.clone());
            self.heard.note(place, actor, self.ports.clock.now(), rule.idle);
        }
    }

    /// What a write by this rule takes.
    pub(super) fn take_by(&self, rule: &Singleton, caller: &Caller, project: &Project) -> AcquireLease {
        AcquireLease {
            rule: rule.name.clone(),
            project: project.clone(),
            actor: caller.actor.clone(),
            credential: caller.credential.clone(),
            idle: rule.idle,
            heard: self.heard.of(&(rule.name.clone(), project.clone())),
        }
    }

    /// Writes down who was heard of, and counts who is at work.
    pub async fn flush_leases(&self) {
        let rules = self.rules();
        if rules.singletons.is_empty() {
            return;
        }
        if let Err(error) = self.write_heard(&rules).await {
            return tracing::warn!(ledger.error = %error, "who is at work was not written down");
        }
        if let Ok(lasting) = self.lasting(&rules).await {
            self.ports.metrics.singletons.set(i64::try_from(lasting.len()).unwrap_or(i64::MAX));
        }
    }

    async fn write_heard(&self, rules: &Rules) -> Result<(), LedgerError> {
        // What is heard from now on comes too late for what is over by now.
        let now = self.ports.clock.now();
        let (heard, leases) = (self.heard.all(), self.ports.ledger.leases().await?);
        for lease in leases {
            let rule = rules.singletons.iter().find(|rule| rule.name == lease.rule);
            let agents = heard.get(&(lease.rule.clone(), lease.project.clone())).filter(|_| rule.is_some());
            // Most who are heard of are not the one at work.
            let own = agents.into_iter().flat_map(HashMap::values);
            let own = own.filter(|one| lease.actor.goes_on_as(&one.actor) && one.to > lease.seen);
            let own: Vec<Heartbeat> = own.cloned().collect();
            let (over, since, seen) = (!lease.lasts(now), lease.since, lease.seen);
            let (rule_name, project) = (lease.rule, lease.project);
            let mut lasts = !over;
            if let (Some(rule), false) = (rule, own.is_empty()) {
                let step =
                    LeaseStep::Renew { rule: rule_name.clone(), project: project.clone(), heard: own, idle: rule.idle };
                let renewed = self.ports.ledger.change_lease(step, now).await?;
                lasts |= renewed.iter().any(|lease| lease.lasts(now));
            }
            if !lasts {
                let step = LeaseStep::End { rule: rule_name, project, since, unheard_since: Some(seen) };
                self.ports.ledger.change_lease(step, now).await?;
            }
        }
        self.heard.forget(&heard);
        Ok(())
    }

    async fn lasting(&self, rules: &Rules) -> Result<Vec<ProjectLease>, LedgerError> {
        let now = self.ports.clock.now();
        let in_force = |lease: &ProjectLease| rules.singletons.iter().any(|rule| rule.name == lease.rule);
        let leases = self.ports.ledger.leases().await?;
        Ok(leases.into_iter().filter(|lease| lease.lasts(now) && in_force(lease)).collect())
    }

    /// Who is at work, as of now.
    pub async fn leases(&self) -> Result<Vec<ProjectLease>, LedgerError> {
        let rules = self.rules();
        self.write_heard(&rules).await?;
        self.lasting(&rules).await
    }

    /// The same, as far as it is this caller's to know: its own, and where it has lately been seen to read.
    pub async fn leases_for(
        &self,
        credential: &Credential,
        instance: Option<Instance>,
    ) -> Result<Vec<ProjectLease>, LeaseError> {
        let (caller, arrived) = (self.known_caller(credential, instance).await?, self.ports.clock.boot());
        let mut told = Vec::new();
        for lease in self.leases().await.map_err(LeaseError::Ledger)? {
            let own = caller.overrider || lease.actor.goes_on_as(&caller.actor);
            // Asked of the tracker anew, but only where it has lately shown something: a list costs no stranger's reads.
            if own
                || self.reads.has_seen_lately(&caller.credential, ReadAccess::Project(lease.project.clone()))
                    && self.is_reader(credential, &lease.project, arrived).await?
            {
                told.push(lease);
            }
        }
        Ok(told)
    }

    /// Whether the tracker shows the credential anything of the project, as of now.
    async fn is_reader(
        &self,
        credential: &Credential,
        project: &Project,
        arrived: BootTime,
    ) -> Result<bool, LeaseError> {
        let print = self.ports.identify.fingerprint(credential);
        if self.reads.has_seen(&print, ReadAccess::Project(project.clone()), arrived) {
            return Ok(true);
        }
        for kind in [ItemKind::Issue, ItemKind::Pull] {
            match self.prove_kind(project, kind, credential, arrived).await {
                Proof::Shown | Proof::Empty => return Ok(true),
                Proof::Denied(_) | Proof::Moved => {}
                Proof::Unreadable(why) => return Err(LeaseError::Unreadable(why)),
            }
        }
        Ok(false)
    }

    /// The agent says that it is done; overriders may say so for it. Once begun it is carried through on `runtime`.
    pub async fn end_lease_as(
        self: &Arc<Self>,
        (rule, project): (&str, &Project),
        credential: &Credential,
        instance: Option<Instance>,
        runtime: &Handle,
    ) -> Result<ProjectLease, LeaseError> {
        let caller = self.known_caller(credential, instance).await?;
        let found = self.lease(rule, project).await;
        let own = |lease: &ProjectLease| caller.overrider || lease.actor.goes_on_as(&caller.actor);
        // Asked whether or not somebody is at work: to a stranger both look alike, and take as long.
        if !found.as_ref().is_ok_and(own) && !self.is_reader(credential, project, self.ports.clock.boot()).await? {
            return Err(LeaseError::Nobody);
        }
        let lease = found?;
        if !own(&lease) {
            return Err(LeaseError::NotYours(Box::new(lease)));
        }
        let mut note = self.note_of_end(&lease);
        note.agent = Some((caller.actor, caller.credential));
        self.end(lease, note, runtime).await
    }

    /// The operator says so.
    pub async fn end_lease(
        self: &Arc<Self>,
        rule: &str,
        project: &Project,
        word: impl Into<OperatorWord>,
    ) -> Result<ProjectLease, LeaseError> {
        let word = word.into();
        let lease = self.lease(rule, project).await?;
        let mut note = self.note_of_end(&lease);
        (note.subject, note.reason, note.client) = (Subject::Operator, Some(word.reason), word.by);
        self.end(lease, note, &Handle::current()).await
    }

    async fn lease(&self, rule: &str, project: &Project) -> Result<ProjectLease, LeaseError> {
        let leases = self.leases().await.map_err(LeaseError::Ledger)?;
        let found = leases.into_iter().find(|lease| lease.rule == rule && lease.project == *project);
        found.ok_or(LeaseError::Nobody)
    }

    async fn end(
        self: &Arc<Self>,
        lease: ProjectLease,
        note: Note,
        runtime: &Handle,
    ) -> Result<ProjectLease, LeaseError> {
        let gate = Arc::clone(self);
        let ending = async move {
            let now = gate.ports.clock.now();
            let ProjectLease { rule, project, since, .. } = lease;
            let step = LeaseStep::End { rule, project, since, unheard_since: None };
            let ended = gate.ports.ledger.change_lease(step, now).await.map_err(LeaseError::Ledger)?;
            let ended = ended.into_iter().next().ok_or(LeaseError::Nobody)?;
            gate.ports.ledger.record(note, now);
            gate.recorded().await;
            Ok(ended)
        };
        // None ends without its line because whoever asked has gone.
        self.whole(ending, runtime).await
    }

    fn note_of_end(&self, lease: &ProjectLease) -> Note {
        let id = self.ports.entropy.attempt_id(self.ports.clock.now());
        let mut note = Note::of_gate(id.as_str().to_owned(), None);
        note.decision = Decision::Admit;
        note.change = format!("end of singleton {} of {} in {}", lease.rule, lease.actor, lease.project);
        note
    }

    async fn known_caller(&self, credential: &Credential, instance: Option<Instance>) -> Result<Caller, LeaseError> {
        let account = self.ports.identify.account(credential).await.map_err(|error| match error {
            IdentifyError::Refused(response) => LeaseError::Denied(response),
            IdentifyError::Unreadable(why) => LeaseError::Unreadable(why),
        })?;
        Ok(Self::caller(&self.rules(), account, instance, self.ports.identify.fingerprint(credential)))
    }
}
