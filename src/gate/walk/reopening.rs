//! A closed pull request that is opened again: asked like one that is created.
//!
//! Its entry under each `[[once]]` rule is durable before the item's own write begins, keeps its keys closed while that is
//! under way, and is settled by how it ended. The turns of the issues that it closes are let go before the pull request's own
//! is taken, so that no two requests wait for each other.

use super::super::cancellation::Cancellation;
use super::super::{Answered, Reply, Turn};
use super::once::{CreationOutcome, Told};
use super::{EarlyExit, Party, SectionResult, Walk};
use crate::dialect::{Address, Request as _, WireResponse};
use crate::effect::Decision;
use crate::model::{Code, Existing, Made, OpenState, Rejection, What};

impl Walk {
    /// Whether the write opens an item.
    pub(super) fn reopens(&self) -> bool {
        let opens = self.request().change().is_some_and(|change| change.state == Some(OpenState::Open));
        opens && !self.ask.operator && !self.is_form()
    }

    pub(super) async fn reopen(&self, address: &Address, party: &Party, cancellation: &Cancellation) -> SectionResult {
        let caller = &party.caller;
        let Some((made, closes)) = self.closed_pull(address).await? else {
            return self.items_wherever(party, cancellation).await;
        };
        let Some(project) = address.project() else { return self.items_wherever(party, cancellation).await };
        let surveyed = self.survey_pulls(caller, project, &closes).await;
        let survey = match surveyed {
            Ok(survey) => survey,
            // What is only observed is never in the way.
            Err(_) if !self.enforces_once(What::Pull, caller) => {
                return self.items_wherever(party, cancellation).await;
            }
            Err(stop) => return Err(stop),
        };
        let (told, entered) = self.rule(&survey, caller, cancellation).await?;
        let closes = survey.about();
        drop(survey);
        match told {
            Told::Refused(rejection) => return Err(EarlyExit::Refuse(Box::new(rejection))),
            Told::First(first) => return Err(EarlyExit::Refuse(Box::new(self.there_is_another(&first)))),
            Told::Sends(_) => {}
        }
        let ended = self.items_wherever(party, cancellation).await;
        // Under the turns again: whoever judges by a list from before is told by the entry that it is under way, and whoever
        // comes after reads anew. Where this cannot be written its entry stands as sent, and a read will tell.
        if let Ok(turns) = self.gate.lanes.enter_together(&closes, self.gate.boot_clock()).await {
            turns.iter().for_each(Turn::forget);
            drop(self.settle_once(&entered, outcome(&ended, made)).await);
        }
        ended
    }

    /// The pull request, if it is one, and closed; and the issues that it would close.
    async fn closed_pull(&self, address: &Address) -> Result<Option<(Made, Vec<Address>)>, EarlyExit> {
        let dialect = &self.gate.ports.dialect;
        let response: WireResponse = match self.fetch(dialect.observe_pull(address, &self.ask.credential)).await {
            Ok(response) => response,
            // An issue, or not for this caller's eyes: its own read tells.
            Err(EarlyExit::Tracker(_)) => return Ok(None),
            Err(stop) => return Err(stop),
        };
        let pull = dialect.closed_pull(address, &response, &self.gate.settings.closing);
        Ok(pull.filter(|(_, closes)| !closes.is_empty()))
    }

    /// A representation of another pull request is no answer to an edit of this one.
    fn there_is_another(&self, first: &Existing) -> Rejection {
        let at = self.request().locator();
        let message = format!(
            "{at} closes an issue for which {} has an open pull request already: {}; work on that one",
            first.author, first.made.url
        );
        let rejection = Rejection::of_request(Code::AlreadyCreated, message);
        Rejection { resource: Some(at), holder: Some(first.author.clone()), since: Some(first.since), ..rejection }
    }
}

/// Whether the pull request is open now.
fn outcome(ended: &SectionResult, made: Made) -> CreationOutcome {
    let Ok(Reply { decision, code, answer, .. }) = ended else { return CreationOutcome::Not };
    match answer {
        _ if *code == Some(Code::OutcomeUnknown) => CreationOutcome::Unknown,
        Answered::Tracker(response) if response.is_success() && *decision != Decision::Reject => {
            CreationOutcome::Made(made)
        }
        Answered::Tracker(_) | Answered::Refused(_) => CreationOutcome::Not,
    }
}
