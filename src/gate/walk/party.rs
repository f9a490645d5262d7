//! Who asks, and with whose eyes the gate looks at what it is about.
//!
//! Whoever has a credential is who the tracker says, and what it asks for is read with that. Of a session of a web
//! interface newer trackers do not tell whose it is: it has a name that no account can have, it must be shown the page
//! that its form is on, and its items are read with the service token.

use super::super::concurrency::{Overloaded, Slot};
use super::super::reads::ReadAccess;
use super::super::refusal;
use super::{EarlyExit, Party, Walk};
use crate::admission::{Unnamed, Web};
use crate::dialect::{Credential, Guarded, Request, Sender};
use crate::effect::{IdentifyError, LedgerError};
use crate::gate::{Gate, Reply};
use crate::model::{Account, Actor, Caller, Code, Fingerprint, Instance, Principal, Rejection};
use std::sync::Arc;

/// Before the name of a session whose account is not known; no login has a colon.
const SESSION: &str = "session:";

impl<R: Request> Walk<R> {
    /// Whoever has the credential.
    pub(super) async fn by_credential(&self) -> Result<Caller, EarlyExit> {
        let identify = &self.gate.ports.identify;
        let account = identify.account(&self.ask.credential).await.map_err(|error| match error {
            IdentifyError::Refused(response) => EarlyExit::Tracker(response),
            IdentifyError::Unreadable(why) => EarlyExit::Refuse(refusal::unreadable(&self.request().locator(), &why)),
        })?;
        let mut caller = Gate::caller(&self.rules, account, self.ask.instance.clone(), self.print().clone());
        caller.overrider |= self.ask.operator;
        Ok(caller)
    }

    /// The account, where the tracker tells it of a session (Gitea 1.15 does; Forgejo from 7 does not); else a name for
    /// the session that no account can have, so that whom it assigns is never taken for the sender itself.
    pub(super) async fn by_session(&self, sender: &Sender) -> (Caller, Option<Credential>) {
        let identify = &self.gate.ports.identify;
        let print = identify.fingerprint(&sender.session);
        let account = identify.account(&sender.credential).await.ok();
        let named = account.as_ref().and_then(Principal::login).cloned();
        let reader = self.gate.ports.service.clone().or_else(|| named.as_ref().map(|_| sender.credential.clone()));
        let overrider =
            self.rules.web == Web::Override || named.as_ref().is_some_and(|login| self.rules.is_overrider(login));
        let account = named.map_or_else(|| session(&print), Principal::Named);
        let shared = account.login().is_some_and(|login| login.is_among(&self.rules.shared_accounts));
        let actor = Actor { account, instance: None };
        (Caller { actor, credential: print, shared, overrider }, reader)
    }

    fn not_joined(&self, error: &LedgerError) -> EarlyExit {
        EarlyExit::Refuse(refusal::not_joined(&self.request().locator(), &error.to_string()))
    }

    /// The party, remembered for what is recorded from here on.
    pub(super) fn known(&self, caller: Caller, reader: Option<Credential>) -> Party {
        self.caller.get_or_init(|| caller.clone());
        Party { caller, reader, rules: Arc::clone(&self.rules) }
    }

    pub(super) fn take_slot(&self, caller: &Caller) -> Result<(), EarlyExit> {
        let Some(slot) = &self.slot else { return Ok(()) };
        slot.becomes(caller)
            .map_err(|overloaded| EarlyExit::Refuse(refusal::overloaded(&self.request().locator(), &overloaded)))
    }

    /// There is no slot for it: nothing of it is begun.
    pub(in crate::gate) fn refused_overloaded(&self, overloaded: &Overloaded) -> Reply {
        self.refused(*refusal::overloaded(&self.request().locator(), overloaded))
    }
}

impl Walk {
    pub(super) async fn party(&self) -> Result<Party, EarlyExit> {
        // Before that nobody's credential has the fingerprint that the other gates know it by.
        self.gate.ports.ledger.has_joined().map_err(|error| self.not_joined(&error))?;
        if let Some(sender) = self.request().sender() {
            self.prove_reader(sender).await?;
            let (caller, reader) = self.by_session(sender).await;
            let mut party = self.known(Caller { shared: false, ..caller }, reader);
            if !party.caller.overrider {
                // Assigning others is what the web interface is for; beside a holder it is refused all the same.
                Arc::make_mut(&mut party.rules).assignment.assign_others = true;
            }
            return Ok(party);
        }
        let caller = self.by_credential().await?;
        self.spell_sender(&caller)?;
        if self.request().change().is_some_and(|change| change.assignees.is_some()) {
            self.gate.notice_address(&caller, &self.ask.about);
        }
        // Whoever only repeats what shows need not say which agent it is.
        if !self.request().edits_more() {
            self.is_named(&caller)?;
        }
        Ok(self.known(caller, Some(self.ask.credential.clone())))
    }

    /// From here on the request says whom it assigns.
    fn spell_sender(&self, caller: &Caller) -> Result<(), EarlyExit> {
        let spelled = self
            .asked
            .sent_by(&caller.actor.account)
            .map_err(|why| EarlyExit::Refuse(Box::new(Rejection::of_request(Code::IdentityRequired, why))))?;
        if let Some(spelled) = spelled {
            self.spelled.get_or_init(|| spelled);
        }
        Ok(())
    }

    /// Whether the tracker shows the sender the page that the form is on, and knows it as signed in.
    async fn prove_reader(&self, sender: &Sender) -> Result<(), EarlyExit> {
        if self.is_reader() {
            return Ok(());
        }
        for request in self.request().prove_reader() {
            let answer = self.gate.ports.upstream.read(request).await;
            let (response, _) = answer.map_err(|error| self.not_answered(&error))?;
            if !response.is_success() {
                return Err(EarlyExit::Tracker(Box::new(response)));
            }
        }
        if let (false, Some(page)) = (sender.session.is_anonymous(), self.request().page()) {
            let print = self.gate.ports.identify.fingerprint(&sender.session);
            self.gate.reads.learn_access(&print, ReadAccess::Page(page.clone()), self.gate.ports.clock.boot());
        }
        Ok(())
    }

    /// Whether the tracker has lately shown the sender the page that the form is on.
    fn is_reader(&self) -> bool {
        let (Some(sender), Some(page)) = (self.request().sender(), self.request().page()) else { return false };
        let print = self.gate.ports.identify.fingerprint(&sender.session);
        let page = ReadAccess::Page(page.clone());
        !sender.session.is_anonymous() && self.gate.reads.has_seen(&print, page, self.ask.arrived)
    }

    pub(super) fn is_named(&self, caller: &Caller) -> Result<(), EarlyExit> {
        if self.must_name_itself(caller) { Err(EarlyExit::Refuse(self.nameless(caller))) } else { Ok(()) }
    }

    pub(super) fn must_name_itself(&self, caller: &Caller) -> bool {
        let instance = caller.actor.instance.as_ref();
        let is_missing = caller.shared && instance.is_none_or(Instance::is_address)
            || self.rules.unnamed == Unnamed::Refuse && instance.is_none();
        is_missing && !caller.overrider && !self.is_form()
    }
}

impl Gate {
    /// A slot for the sender, by what is known of it without asking.
    pub(in crate::gate) fn slot_of(
        &self,
        request: &Guarded,
        credential: &Credential,
        instance: Option<&Instance>,
    ) -> Result<Arc<Slot>, Overloaded> {
        let (Some(sender), Some(page)) = (request.sender(), request.page()) else {
            return self.slot(credential, instance);
        };
        let identify = &self.ports.identify;
        let print = identify.fingerprint(&sender.session);
        let signed_in =
            !sender.session.is_anonymous() && self.reads.has_seen_lately(&print, ReadAccess::Page(page.clone()));
        if !signed_in || identify.known(&identify.fingerprint(&sender.credential)).is_some() {
            return self.slot(&sender.credential, None);
        }
        let actor = Actor { account: session(&print), instance: None };
        self.limiter.agent(&Caller { actor, credential: print, shared: false, overrider: false })
    }
}

/// A name that no account can have.
fn session(print: &Fingerprint) -> Principal {
    let session: String = print.as_str().chars().take(12).collect();
    Principal::Named(Account::new(&format!("{SESSION}{session}")))
}

/// Whether it is a session whose account nobody knows.
pub(in crate::gate) fn is_session(actor: &Actor) -> bool {
    actor.account.login().is_some_and(|login| login.as_str().starts_with(SESSION))
}
