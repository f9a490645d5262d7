//! What a passed read keeps fresh: what its credential was shown, and that its sender is alive.
//!
//! Most reads are repeated: of the same place, by the same credential. What one of them touches in the gate's tables is found
//! once and kept here, so that the next touches that and no table. Cheap: nothing is waited for, and nobody is asked.

use super::Gate;
use super::reads::ReadAccess;
use super::renewals::LastBeat;
use crate::dialect::{Address, Credential, Shows};
use crate::model::{Actor, BootTime, Fingerprint, Instance, Place, Project};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The reads of one place by one credential.
#[derive(Debug)]
pub struct ReadMark {
    credential: Fingerprint,
    instance: Option<Instance>,
    project: Option<Project>,
    item: Option<Place>,
    access: Option<ReadAccess>,
    kept: Option<Kept>,
}

/// What was found in the tables.
#[derive(Debug)]
struct Kept {
    since: BootTime,
    /// When the credential was shown the place, and its project.
    shown: Vec<Arc<AtomicU64>>,
    /// Who that is, where that is known.
    actor: Option<Actor>,
    /// When the sender was heard of about the item.
    heartbeat: Option<Arc<LastBeat>>,
    /// Whether all was found that there is.
    is_whole: bool,
}

/// The tables drop what nobody looks at for ten minutes.
const KEPT_FOR: Duration = Duration::from_mins(1);

// === impl Gate ===

impl Gate {
    /// For reads about the items of this project.
    pub fn read_mark(
        &self,
        credential: &Credential,
        instance: Option<Instance>,
        (project, address): (Option<&Project>, Option<&Address>),
        shows: Shows,
    ) -> ReadMark {
        let access = match (shows, address) {
            (Shows::Items(kind), _) => project.map(|project| ReadAccess::Kind(project.clone(), kind)),
            (Shows::Item, Some(address)) => Some(ReadAccess::Item(address.locator())),
            (Shows::Item, None) | (Shows::Beside, _) => None,
        };
        ReadMark {
            credential: self.ports.identify.fingerprint(credential),
            instance,
            project: project.cloned(),
            item: address.map(Address::locator),
            access,
            kept: None,
        }
    }

    /// A read that is not kept passed and got a 2xx; see [`touch`](Self::touch).
    pub fn saw_read(
        &self,
        credential: &Credential,
        instance: Option<Instance>,
        about: (Option<&Project>, Option<&Address>),
        shows: Shows,
    ) {
        self.touch(&mut self.read_mark(credential, instance, about, shows));
    }

    /// Such a read passed and got a 2xx: its credential has just been shown what the answer shows, and if it is a holder's,
    /// the holder is alive.
    pub fn touch(&self, mark: &mut ReadMark) {
        let now = self.ports.clock.boot();
        let Some(kept) = mark.kept.take().filter(|kept| kept.is_whole && now < kept.since + KEPT_FOR) else {
            mark.kept = Some(self.keep(mark, now));
            return;
        };
        for at in &kept.shown {
            at.fetch_max(now.0, Ordering::Relaxed);
        }
        if let Some(actor) = &kept.actor {
            self.record_heartbeat(actor, mark.project.as_ref());
        }
        if let Some(heartbeat) = &kept.heartbeat {
            heartbeat.beat(self.ports.clock.now());
        }
        mark.kept = Some(kept);
    }

    /// A read that is not kept was not answered; see [`miss`](Self::miss).
    pub fn missed_read(&self, credential: &Credential, instance: Option<Instance>, address: Option<&Address>) {
        self.miss(&self.read_mark(credential, instance, (None, address), Shows::Beside));
    }

    /// A call of this client's was not answered by the tracker. It is alive all the same, if it was known before.
    pub fn miss(&self, mark: &ReadMark) {
        self.hearing.failed(self.ports.clock.now());
        if let (Some(account), Some(item)) = (self.ports.identify.known(&mark.credential), &mark.item) {
            let actor = Actor { account, instance: mark.instance.clone() };
            self.renewals.note(item.clone(), actor, self.ports.clock.now());
        }
    }

    /// Looks everything up anew.
    fn keep(&self, mark: &ReadMark, now: BootTime) -> Kept {
        // Whoever was shown an item was shown something about its project.
        let access = mark.access.clone().into_iter().chain(mark.project.clone().map(ReadAccess::Project));
        let shown = access.map(|access| self.reads.access(&mark.credential, access, now)).collect();
        let account = self.ports.identify.known(&mark.credential);
        let actor = account.map(|account| Actor { account, instance: mark.instance.clone() });
        let heartbeat = actor.as_ref().and_then(|actor| {
            self.record_heartbeat(actor, mark.project.as_ref());
            self.renewals.last_beat(mark.item.clone()?, actor.clone(), self.ports.clock.now())
        });
        // An account that is not known yet may be after the sender's next write, and a table that is busy is not so for long.
        let is_whole = actor.is_some() && (heartbeat.is_some() || mark.item.is_none());
        Kept { since: now, shown, actor, heartbeat, is_whole }
    }
}
