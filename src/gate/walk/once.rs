//! Creations that a rule allows only once: a review of a commit, a pull request for an issue.
//!
//! Under the turn of what it is about, what stands in the tracker is read, and a pure function judges by that and by the
//! ledger (`admission/once.rs`). Its entry is durable before the send, as an attempt is, and is settled before the answer. One
//! that is never settled needs nobody to clean up after it: it keeps its key closed until a read shows the creation, or
//! for the doubt period.

use super::super::cancellation::Cancellation;
use super::super::conversation::MOST_PAGES;
use super::super::{Answered, LaneError, Turn, refusal};
use super::constraints::CreationPermit;
use super::turns::sharer;
use super::{EarlyExit, ItemRead, SectionResult, Walk};
use crate::admission::once::{Facts, Learns, OnceRule, OnceStep, Ruling, SecondGets, judge};
use crate::admission::{self, By, OutsideEdit, Refused};
use crate::dialect::{Address, AnswerClass, Creation, Guarded, Request as _, WireResponse};
use crate::effect::{CallError, Decision, LedgerError, Note, OnceCommand, Sending, failpoint};
use crate::model::{
    Actor, AttemptId, BootTime, Caller, Code, Existing, ItemKind, Made, OnceEntry, OnceKey, Place, Project, Rejection,
    ResourceKey, Standing, What,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// One rule's say over this creation.
struct Want<'r> {
    rule: &'r OnceRule,
    key: OnceKey,
    /// The pull request or issue that it is about, and its immutable id.
    at: Place,
    about: String,
    /// Somebody else who holds the issue, where only its holder may create.
    held: Option<Rejection>,
}

/// What a creation is judged by.
pub(super) struct Survey<'r> {
    wants: Vec<Want<'r>>,
    standing: Vec<Existing>,
    /// What is sent: a review is pinned to the commit that it was judged by.
    request: Guarded,
    /// How what stands is read again.
    from: ListSource,
    /// Nobody else creates any of it meanwhile.
    turns: Vec<Turn>,
    /// Nor does its agent create too much else.
    _place: Option<OwnedSemaphorePermit>,
}

impl Survey<'_> {
    /// The items that the rules are about.
    pub(super) fn about(&self) -> Vec<ResourceKey> {
        let all: BTreeSet<&str> = self.wants.iter().map(|want| want.about.as_str()).collect();
        all.into_iter().map(ResourceKey::new).collect()
    }
}

#[derive(Clone)]
enum ListSource {
    Reviews(Address),
    Pulls(Project),
}

/// An issue that a pull request closes.
struct Closed {
    address: Address,
    read: ItemRead,
}

/// What a ruling makes of a request.
pub(super) enum Told {
    /// It goes on; what it remembers is what an observing rule, or one that does not bind a person, would have refused with.
    Sends(CreationPermit),
    /// The second caller gets the first.
    First(Box<Existing>),
    Refused(Rejection),
}

/// The keys that this request creates, entered in the ledger.
pub(super) type TurnContext = Vec<(OnceKey, AttemptId)>;

impl Walk {
    /// A creation: judged where a rule is about it, else only sent.
    pub(super) async fn once(
        &self,
        creation: &Creation,
        caller: &Caller,
        cancellation: &Cancellation,
    ) -> SectionResult {
        if !self.rules.is_ruled(creation.what()) {
            return self.create(caller, cancellation).await;
        }
        if let Some(rejection) = self.ask.expectation.on_nothing(&self.request().locator()) {
            return Err(EarlyExit::Refuse(rejection));
        }
        let surveyed = match creation {
            Creation::Review { pull, commit, event, submits } => {
                self.survey_reviews(caller, pull, commit.as_deref(), (event, *submits)).await
            }
            Creation::Pull { project, closes } => self.survey_pulls(caller, project, closes).await,
        };
        let survey = match surveyed {
            Ok(survey) => survey,
            // What is only observed is never in the way.
            Err(_) if !self.enforces_once(creation.what(), caller) => {
                return self.create(caller, cancellation).await;
            }
            Err(stop) => return Err(stop),
        };
        let (told, entered) = self.rule(&survey, caller, cancellation).await?;
        match told {
            Told::Refused(rejection) => Err(EarlyExit::Refuse(Box::new(rejection))),
            Told::First(first) => self.answered_with(caller, &survey.request, &first),
            Told::Sends(permit) => self.send_entered(survey, caller, entered, permit).await,
        }
    }

    /// Whether some rule may refuse this caller.
    pub(super) fn enforces_once(&self, what: What, caller: &Caller) -> bool {
        self.rules.once.iter().any(|rule| rule.what == what && rule.enforces(caller))
    }

    // === what it is about, and what stands ===

    async fn survey_reviews<'r>(
        &'r self,
        caller: &Caller,
        pull: &Address,
        commit: Option<&str>,
        (event, submits): (&str, Option<u64>),
    ) -> Result<Survey<'r>, EarlyExit> {
        // Whether it may be seen at all is found out before anybody has to wait for it.
        let began = self.gate.ports.clock.boot();
        let mut seen = self.reviewed(pull).await?;
        let key = ResourceKey::new(&format!("once:{}", pull.locator()));
        let turn = self.enter_one(&key, &pull.locator(), caller).await?;
        if !self.all_stand(std::slice::from_ref(&turn), began) {
            seen = self.reviewed(pull).await?;
        }
        let (about, head, standing) = seen;
        let draft = |id: u64| standing.iter().find(|one| one.made.id == id.to_string());
        let commit = match submits {
            Some(id) => draft(id).map_or(head, |draft| draft.commit.clone()),
            None => commit.map_or(head, str::to_owned),
        };
        let facts = Facts { what: What::Review, actor: &caller.actor, about: &about, commit: &commit, event };
        let want = |rule: &'r OnceRule| {
            let key = rule.key(&facts)?;
            Some(Want { rule, key, at: pull.locator(), about: about.clone(), held: None })
        };
        Ok(Survey {
            wants: self.rules.once.iter().filter_map(want).collect(),
            standing,
            request: self.request().pinned(&commit).unwrap_or_else(|| Arc::clone(self.request())),
            from: ListSource::Reviews(pull.clone()),
            turns: vec![turn],
            _place: None,
        })
    }

    /// The id and the head of a pull request, and the reviews that stand.
    async fn reviewed(&self, pull: &Address) -> Result<(String, String, Vec<Existing>), EarlyExit> {
        let response = self.fetch(self.gate.ports.dialect.observe_pull(pull, &self.ask.credential)).await?;
        let shown = self.gate.ports.dialect.pull(pull, &response, &self.gate.settings.closing);
        let (about, head, _) = shown.ok_or_else(|| self.cannot_read("the pull request"))?;
        Ok((about, head, self.standing_reviews(pull).await?))
    }

    /// Whether what was read before these turns, since then, stands for a read inside them: nothing was changed in them
    /// meanwhile, and there are no turns but those of this process.
    fn all_stand(&self, turns: &[Turn], began: BootTime) -> bool {
        self.gate.ports.ledger.admits_early_reads() && turns.iter().all(|turn| turn.is_quiet_since(began))
    }

    pub(super) async fn survey_pulls<'r>(
        &'r self,
        caller: &Caller,
        project: &Project,
        closes: &[Address],
    ) -> Result<Survey<'r>, EarlyExit> {
        let may_write = self.may_write(project).await?;
        let mut issues = Vec::new();
        for address in closes {
            issues.extend(self.closed_issue(address).await?);
        }
        // In one order for all, so that two requests never wait for each other.
        issues.sort_by(|one, other| one.read.seen.key.cmp(&other.read.seen.key));
        issues.dedup_by(|one, other| one.read.seen.key == other.read.seen.key);
        // A long list is read before anybody has to wait for it.
        let began = self.gate.ports.clock.boot();
        let ruled = issues.iter().any(|issue| self.is_ruled(caller, issue));
        let mut standing = if ruled { self.standing_pulls(project).await? } else { Vec::new() };
        let place = if ruled { Some(self.place_to_create(caller, may_write).await?) } else { None };
        let keys: Vec<ResourceKey> = issues.iter().map(|issue| issue.read.seen.key.clone()).collect();
        let turns = self.gate.lanes.enter_together(&keys, self.gate.boot_clock()).await;
        let turns = turns.map_err(|error| self.no_turn(error))?;
        if ruled && !self.all_stand(&turns, began) {
            standing = self.standing_pulls(project).await?;
        }
        let mut wants = Vec::new();
        for (issue, turn) in issues.into_iter().zip(&turns) {
            self.wants_of(caller, issue, turn, &mut wants).await?;
        }
        standing.extend(self.recorded_elsewhere(&wants, project).await?);
        let (request, from) = (Arc::clone(self.request()), ListSource::Pulls(project.clone()));
        Ok(Survey { wants, standing, request, from, turns, _place: place })
    }

    /// Whether the caller may write there, where the tracker lets it create anything at all; else the tracker's own answer.
    async fn may_write(&self, project: &Project) -> Result<bool, EarlyExit> {
        let dialect = &self.gate.ports.dialect;
        let Some(request) = dialect.observe_project(project, &self.ask.credential) else { return Ok(false) };
        let answer = self.gate.ports.upstream.read(request).await;
        let (response, _) = answer.map_err(|error| self.not_answered(&error))?;
        match response.class() {
            // A token may not ask: it counts as one that only reads.
            AnswerClass::Ok | AnswerClass::Redirect | AnswerClass::Forbidden => Ok(dialect.may_write(&response)),
            class if class.is_refusal() => Err(self.tracker_denies(response)),
            _ => Err(EarlyExit::Refuse(refusal::unreadable(
                &self.request().locator(),
                &format!("the tracker answered {}", response.code()),
            ))),
        }
    }

    fn no_turn(&self, error: LaneError) -> EarlyExit {
        let at = self.request().locator();
        let why = match error {
            LaneError::Full => "too many writes of an item that this names are waiting",
            LaneError::Late => "the turns of all items that this names did not come in time",
        };
        let message = format!("{}: {why}; try again", at.project_name());
        EarlyExit::Refuse(refusal::retry(Code::LaneTimeout, &at, message, Duration::from_secs(1)))
    }

    async fn place_to_create(&self, caller: &Caller, may_write: bool) -> Result<OwnedSemaphorePermit, EarlyExit> {
        let place = self.gate.creators.enter(&sharer(caller), may_write, &self.gate.lanes).await;
        place.ok_or_else(|| {
            let at = self.request().locator();
            let message = format!("{}: other creations that name items took too long; try again", at.project_name());
            EarlyExit::Refuse(refusal::retry(Code::LaneTimeout, &at, message, Duration::from_secs(1)))
        })
    }

    fn is_ruled(&self, caller: &Caller, issue: &Closed) -> bool {
        let about = issue.read.seen.key.as_str();
        let facts = Facts { what: What::Pull, actor: &caller.actor, about, commit: "", event: "" };
        self.rules.once.iter().any(|rule| rule.key(&facts).is_some())
    }

    /// None where the caller can see no issue of that number: naming it closes nothing.
    async fn closed_issue(&self, address: &Address) -> Result<Option<Closed>, EarlyExit> {
        match self.read(address, "resolve").await {
            Ok(read) if read.seen.kind == ItemKind::Pull => Ok(None),
            Ok(read) => Ok(Some(Closed { address: address.clone(), read })),
            Err(EarlyExit::Tracker(response)) if response.class().is_hidden() => Ok(None),
            Err(stop) => Err(stop),
        }
    }

    /// The rules' say over one issue, under its turn.
    async fn wants_of<'r>(
        &'r self,
        caller: &Caller,
        issue: Closed,
        turn: &Turn,
        wants: &mut Vec<Want<'r>>,
    ) -> Result<(), EarlyExit> {
        let (key, at) = (issue.read.seen.key.clone(), issue.read.seen.locator.clone());
        let about = key.as_str().to_owned();
        let facts = Facts { what: What::Pull, actor: &caller.actor, about: &about, commit: "", event: "" };
        let mut fitting: Vec<Want<'r>> = Vec::new();
        for rule in &self.rules.once {
            if let Some(key) = rule.key(&facts) {
                fitting.push(Want { rule, key, at: at.clone(), about: about.clone(), held: None });
            }
        }
        if fitting.iter().any(|want| want.rule.by == By::Holder) {
            let held = self.held_by_another(caller, &key, issue, turn).await?;
            for want in fitting.iter_mut().filter(|want| want.rule.by == By::Holder) {
                want.held.clone_from(&held);
            }
        }
        wants.extend(fitting);
        Ok(())
    }

    /// Who holds the issue, if that is somebody else and still so: a parked holding excludes nobody, and neither does
    /// one that an outside edit has ended.
    async fn held_by_another(
        &self,
        caller: &Caller,
        key: &ResourceKey,
        issue: Closed,
        turn: &Turn,
    ) -> Result<Option<Rejection>, EarlyExit> {
        let record = self.gate.ports.ledger.item(key).await;
        let record = record.map_err(|error| Self::no_record(&issue.read.seen.locator, &error))?;
        let Some(record) = record else { return Ok(None) };
        let Some(held) = record.held_by_another(&caller.actor).filter(|held| !held.parked).cloned() else {
            return Ok(None);
        };
        let fresh = if self.still_stands(&issue.read, turn) {
            issue.read
        } else {
            self.read(&issue.address, "observe").await?
        };
        let edit = admission::outside_edit(&record, &fresh.seen, &self.rules, self.gate.ports.clock.now());
        if matches!(edit, Some(OutsideEdit::Takes { .. })) {
            return Ok(None);
        }
        let at = &fresh.seen.locator;
        let message = format!("{at} is held by {held}; only the holder may open a pull request that closes it");
        let mut rejection = *refusal::plain(Code::NotHolder, at, message);
        "the caller holds the issue, or nobody does".clone_into(&mut rejection.expected);
        rejection.observed = Some(self.rules.workflow.shown(&fresh.seen));
        rejection.holder = Some(held.actor);
        rejection.since = Some(held.since);
        Ok(Some(rejection))
    }

    async fn standing_reviews(&self, pull: &Address) -> Result<Vec<Existing>, EarlyExit> {
        let dialect = &self.gate.ports.dialect;
        let page = |page| dialect.list_reviews(pull, page, &self.ask.credential);
        let listed = self.gate.fetch_all(MOST_PAGES, "the reviews", page, |response| dialect.reviews(pull, response));
        listed.await.map_err(|unread| self.not_read(unread))
    }

    async fn standing_pulls(&self, project: &Project) -> Result<Vec<Existing>, EarlyExit> {
        let listed = self.gate.open_pulls(project, &self.ask.credential);
        listed.await.map_err(|unread| self.not_read(unread))
    }

    /// An issue may be closed from another repository: what the ledger knows of there is looked at by itself.
    async fn recorded_elsewhere(&self, wants: &[Want<'_>], here: &Project) -> Result<Vec<Existing>, EarlyExit> {
        let mut found: Vec<Existing> = Vec::new();
        for entry in self.entries(wants).await?.into_iter().flatten() {
            let Standing::Made(made) = entry.standing else { continue };
            let known = found.iter().any(|one| one.made.at == made.at);
            let Some(address) = self.gate.address_of(&made.at).filter(|_| !made.at.is_in(here) && !known) else {
                continue;
            };
            match self.fetch(self.gate.ports.dialect.observe_pull(&address, &self.ask.credential)).await {
                Ok(response) => {
                    let shown = self.gate.ports.dialect.pull(&address, &response, &self.gate.settings.closing);
                    found.extend(shown.ok_or_else(|| self.cannot_read("a pull request"))?.2);
                }
                // Gone, or not for this caller's eyes: nothing may be in the way that nobody can see.
                Err(EarlyExit::Tracker(response)) if response.class().is_hidden() => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(found)
    }

    // === the rules ===

    async fn entries(&self, wants: &[Want<'_>]) -> Result<Vec<Option<OnceEntry>>, EarlyExit> {
        if wants.is_empty() {
            return Ok(Vec::new());
        }
        let keys = wants.iter().map(|want| want.key.clone()).collect();
        self.gate.ports.ledger.once(keys).await.map_err(|error| Self::no_record(&self.request().locator(), &error))
    }

    /// Judges by every rule. Where it may go on, all of its keys are in the ledger when this returns.
    pub(super) async fn rule(
        &self,
        survey: &Survey<'_>,
        caller: &Caller,
        cancellation: &Cancellation,
    ) -> Result<(Told, TurnContext), EarlyExit> {
        let lenient = !survey.wants.iter().any(|want| want.rule.enforces(caller));
        let entries = match self.entries(&survey.wants).await {
            Ok(entries) => entries,
            Err(_) if lenient => {
                return Ok((Told::Sends(self.permit_to_create(caller, cancellation).await?), Vec::new()));
            }
            Err(stop) => return Err(stop),
        };
        let (mut commands, mut entered, mut observed) = (Vec::new(), Vec::new(), None);
        let mut ended = None;
        for (want, entry) in survey.wants.iter().zip(&entries) {
            let ruling =
                judge(entry.as_ref(), &Self::standing(survey, want, entry.as_ref()), self.gate.ports.clock.now());
            if let Ruling::Exists { first, by, learns: Some(learns) } = &ruling {
                self.learn_first(want, first, by, learns).await?;
            }
            match Self::answer_to(want, &ruling) {
                None => {
                    let Ruling::Free { replaces } = ruling else { continue };
                    let (command, attempt) = self.enter_once(want, caller, replaces);
                    commands.push(command);
                    entered.push((want.key.clone(), attempt));
                }
                Some(told) if want.rule.enforces(caller) => ended = ended.or(Some(told)),
                Some(Told::Refused(rejection)) => observed = observed.or(Some(rejection.code)),
                Some(_) => observed = observed.or(Some(Code::AlreadyCreated)),
            }
        }
        if let Some(told) = ended {
            return Ok((told, Vec::new()));
        }
        // The rules over agents come last, so that nobody is at work by a creation that another rule refused.
        let mut permit = self.permit_to_create(caller, cancellation).await?;
        permit.observed = observed.or(permit.observed);
        failpoint::reach("t2.before");
        match self.gate.ports.ledger.commit_once(commands).await {
            Ok(()) => Ok((Told::Sends(permit), entered)),
            Err(_) if lenient => Ok((Told::Sends(permit), Vec::new())),
            Err(error) => {
                self.give_back(&mut permit).await;
                Err(Self::no_record(&self.request().locator(), &error))
            }
        }
    }

    /// What fills in the same key, oldest first.
    fn standing<'s>(survey: &'s Survey<'_>, want: &Want<'_>, entry: Option<&OnceEntry>) -> Vec<&'s Existing> {
        let closes = |one: &&Existing| match survey.from {
            ListSource::Reviews(_) => true,
            ListSource::Pulls(_) => one.closes.contains(&want.at),
        };
        let about: Vec<&Existing> = survey.standing.iter().filter(closes).collect();
        want.rule.standing(&want.key, &want.about, entry, &about)
    }

    /// What a rule makes of its ruling; nothing where it lets the creation go on.
    fn answer_to(want: &Want<'_>, ruling: &Ruling) -> Option<Told> {
        if let Some(held) = &want.held {
            return Some(Told::Refused(held.clone()));
        }
        match ruling {
            Ruling::Free { .. } => None,
            Ruling::Exists { first, .. } if want.rule.answer == SecondGets::First => Some(Told::First(first.clone())),
            Ruling::Exists { first, by, .. } => {
                Some(Told::Refused(want.rule.already_created(&want.at, &want.key, first, by)))
            }
            Ruling::InDoubt { left } => {
                let message = format!(
                    "{}: a creation for \"{}\" was sent and its outcome is not known yet; for another {} s at most",
                    want.at,
                    want.key,
                    left.as_secs()
                );
                Some(Told::Refused(*refusal::retry(Code::InDoubt, &want.at, message, *left)))
            }
        }
    }

    /// The ledger learns of what it did not create, or did not know to have landed. Whoever was quicker knows as much.
    async fn learn_first(
        &self,
        want: &Want<'_>,
        first: &Existing,
        by: &Actor,
        learns: &Learns,
    ) -> Result<(), EarlyExit> {
        tracing::warn!(once.key = %want.key, resource = %want.at, "{}", learns.how);
        let standing = Standing::Made(first.made.clone());
        let mut entry = self.once_entry(want, by, standing);
        entry.since = first.since;
        let step = OnceStep::Put { entry, replaces: learns.replaces.clone() };
        let command = self.once_command(&want.key, step, Some(learns.how.clone()));
        match self.gate.ports.ledger.commit_once(vec![command]).await {
            Ok(()) | Err(LedgerError::Refused(_)) => Ok(()),
            // It stands whether or not the ledger can be told.
            Err(LedgerError::Unavailable(why)) => {
                tracing::warn!(ledger.error = why, "what exists was not recorded");
                Ok(())
            }
        }
    }

    fn enter_once(&self, want: &Want<'_>, caller: &Caller, replaces: Option<AttemptId>) -> (OnceCommand, AttemptId) {
        let until = self.gate.ports.clock.now() + self.doubt_period();
        let entry = self.once_entry(want, &caller.actor, Standing::Sent { until });
        let attempt = entry.attempt.clone();
        (self.once_command(&want.key, OnceStep::Put { entry, replaces }, None), attempt)
    }

    fn once_entry(&self, want: &Want<'_>, actor: &Actor, standing: Standing) -> OnceEntry {
        let now = self.gate.ports.clock.now();
        let (gate, epoch) = self.gate.ports.ledger.identity();
        OnceEntry {
            key: want.key.clone(),
            about: want.at.clone(),
            actor: actor.clone(),
            since: now,
            attempt: self.gate.ports.entropy.attempt_id(now),
            gate,
            epoch,
            standing,
        }
    }

    // === the send ===

    /// Sends what is entered, settles it, and answers.
    async fn send_entered(
        &self,
        survey: Survey<'_>,
        caller: &Caller,
        entered: TurnContext,
        mut permit: CreationPermit,
    ) -> SectionResult {
        failpoint::reach("t2.after");
        let answer = self.send_creation(Sending::creation(), &survey.request, self.emit_by()).await;
        failpoint::reach("answered");
        let (step, answer) = self.judge_answer(&survey, &entered, answer).await;
        if !matches!(step, CreationOutcome::Not) {
            // What others saw of it does not stand any more.
            survey.turns.iter().for_each(Turn::forget);
        }
        if matches!(step, CreationOutcome::Not) && !answer.as_ref().is_ok_and(WireResponse::is_success) {
            self.give_back(&mut permit).await;
        }
        failpoint::reach("t3.before");
        let settled = self.settle_once(&entered, step).await;
        failpoint::reach("t3.after");
        // What it was judged by is settled; whoever waits for these turns may hold the one that the new item takes next.
        drop(survey);
        let unknown = || EarlyExit::Refuse(self.unknown_creation());
        match answer {
            // Told only once it is recorded. Until then the entry stands as sent, and a read will tell.
            _ if settled.is_err() => Err(unknown()),
            Ok(response) => Ok(self.finish(caller, &permit, response).await),
            Err(CallError::Unknown(_)) => Err(unknown()),
            Err(error) => Err(self.uncreated(&error)),
        }
    }

    /// What an answer says of the creation. A 500 may have been written, and a 2xx may say nothing of it: a read tells.
    async fn judge_answer(
        &self,
        survey: &Survey<'_>,
        entered: &TurnContext,
        answer: Result<WireResponse, CallError>,
    ) -> (CreationOutcome, Result<WireResponse, CallError>) {
        let response = match answer {
            Ok(response) => response,
            Err(error @ CallError::Unknown(_)) => return (CreationOutcome::Unknown, Err(error)),
            Err(error) => return (CreationOutcome::Not, Err(error)),
        };
        let (class, code) = (response.class(), response.code());
        match survey.request.made(&response) {
            Some(made) => return (CreationOutcome::Made(made), Ok(response)),
            None if class.is_refusal() || entered.is_empty() => return (CreationOutcome::Not, Ok(response)),
            None if class == AnswerClass::Unavailable => {
                let why = format!("the tracker answered {}", response.code());
                return (CreationOutcome::Unknown, Err(CallError::Unknown(why)));
            }
            None => {}
        }
        match (self.shows(survey, entered).await, response.is_success()) {
            (Some(Some(first)), _) => {
                let success = survey.request.first(&first).unwrap_or(response);
                (CreationOutcome::Made(first.made), Ok(success))
            }
            (Some(None), false) => (CreationOutcome::Not, Ok(response)),
            (Some(None), true) | (None, _) => {
                (CreationOutcome::Unknown, Err(CallError::Unknown(format!("the tracker answered {code}"))))
            }
        }
    }

    /// What stands now under one of the keys, where nothing stood before; nothing known if it cannot be read.
    async fn shows(&self, survey: &Survey<'_>, entered: &TurnContext) -> Option<Option<Existing>> {
        let standing = match &survey.from {
            ListSource::Reviews(pull) => self.standing_reviews(pull).await,
            ListSource::Pulls(project) => self.standing_pulls(project).await,
        };
        let entries = self.entries(&survey.wants).await.ok()?;
        let now = Survey {
            wants: Vec::new(),
            standing: standing.ok()?,
            request: survey.request.clone(),
            from: survey.from.clone(),
            turns: Vec::new(),
            _place: None,
        };
        let ours =
            survey.wants.iter().zip(&entries).filter(|(want, _)| entered.iter().any(|(key, _)| *key == want.key));
        let found =
            ours.filter_map(|(want, entry)| Self::standing(&now, want, entry.as_ref()).first().copied().cloned());
        Some({ found }.next())
    }

    pub(super) async fn settle_once(&self, entered: &TurnContext, outcome: CreationOutcome) -> Result<(), LedgerError> {
        if entered.is_empty() {
            return Ok(());
        }
        let until = self.gate.ports.clock.now() + self.doubt_period();
        let step = |attempt: &AttemptId| match &outcome {
            CreationOutcome::Made(made) => OnceStep::Made { attempt: attempt.clone(), made: made.clone() },
            CreationOutcome::Not => OnceStep::Freed { attempt: attempt.clone() },
            CreationOutcome::Unknown => OnceStep::Doubted { attempt: attempt.clone(), until },
        };
        let commands = entered.iter().map(|(key, attempt)| self.once_command(key, step(attempt), None)).collect();
        self.gate.ports.ledger.commit_once(commands).await.inspect_err(|error| {
            tracing::error!(ledger.error = %error, "the end of a creation was not recorded");
        })
    }

    // === answers ===

    /// The second caller gets the first.
    fn answered_with(&self, caller: &Caller, request: &Guarded, first: &Existing) -> SectionResult {
        let response = request.first(first).ok_or_else(|| self.cannot_read("the first one"))?;
        let mut note = self.bare_note(Decision::Noop, Some(Code::AlreadyCreated));
        note.agent = Some((caller.actor.clone(), caller.credential.clone()));
        note.reason = Some(format!("answered with the first: {}", first.made.url));
        Ok(self.recorded(note, Decision::Noop, Some(Code::AlreadyCreated), Answered::Tracker(response)))
    }

    fn no_record(at: &Place, error: &LedgerError) -> EarlyExit {
        match error {
            LedgerError::Refused(Refused::Busy) => {
                let message = format!("{at}: another creation of the same is under way; try again");
                EarlyExit::Refuse(refusal::plain(Code::Busy, at, message))
            }
            LedgerError::Refused(Refused::Fenced) => EarlyExit::Refuse(refusal::fenced(at)),
            other => EarlyExit::Refuse(refusal::no_ledger(at, &other.to_string())),
        }
    }

    fn once_command(&self, key: &OnceKey, step: OnceStep, reason: Option<String>) -> OnceCommand {
        let mut note = Note::of_gate(String::new(), reason);
        self.ask.about.fill(&mut note);
        OnceCommand { key: key.clone(), step, note: Box::new(note), now: self.gate.ports.clock.now() }
    }
}

/// How a creation ended.
pub(super) enum CreationOutcome {
    Made(Made),
    Not,
    Unknown,
}
