//! Signs that several agents use one account without a name: to the gate they are one, and what one of them claims, each of
//! them is told to hold.
//!
//! Nothing is decided here. Each sign is counted, and said once an account; one agent gives them seldom.

use super::{About, Gate};
use crate::admission::Unnamed;
use crate::model::{Account, Caller, ResourceKey};

/// Claims of agents without a name, as far back as they are remembered.
#[derive(Debug)]
pub(super) struct Claims {
    /// The address from which each account was first seen to claim.
    addresses: moka::sync::Cache<Account, String>,
    /// The item that each account claimed last, and over which connection.
    last: moka::sync::Cache<Account, (ResourceKey, String)>,
    /// Over which connection each item was claimed.
    items: moka::sync::Cache<ResourceKey, String>,
    /// Accounts of which it was said.
    warned: moka::sync::Cache<Account, ()>,
}

const MOST: u64 = 10_000;
const ADVICE: &str = "if these are two agents, each is told that it holds what the other claims: list the account in \
    identity.shared_accounts and name each, or set identity.unnamed";

impl Default for Claims {
    fn default() -> Self {
        let (addresses, last) = (moka::sync::Cache::new(MOST), moka::sync::Cache::new(MOST));
        Self { addresses, last, items: moka::sync::Cache::new(MOST), warned: moka::sync::Cache::new(MOST) }
    }
}

impl Gate {
    /// A claim is asked for: from where the account never claimed before?
    pub(super) fn notice_address(&self, caller: &Caller, about: &About) {
        let (Some(login), Some(client)) = (self.nameless_login(caller), &about.client) else { return };
        let first = self.nameless.addresses.get_with(login.clone(), || client.clone());
        if first != *client {
            self.say_nameless(login, &format!("one account claims from two addresses, {first} and {client}"));
        }
    }

    /// A claim went through; `repeated`: the account held the item before.
    pub(super) async fn notice_claim(&self, caller: &Caller, about: &About, item: &ResourceKey, repeated: bool) {
        let (Some(login), Some(connection)) = (self.nameless_login(caller), &about.connection) else { return };
        if repeated {
            let before = self.nameless.items.get(item);
            if before.is_some_and(|before| before != *connection) {
                self.say_nameless(login, "one account claims an item twice, over two connections");
            }
            return;
        }
        self.nameless.items.insert(item.clone(), connection.clone());
        let last = self.nameless.last.get(login);
        self.nameless.last.insert(login.clone(), (item.clone(), connection.clone()));
        let Some((other, before)) = last.filter(|(other, before)| other != item && before != connection) else {
            return;
        };
        drop(before);
        let record = self.ports.ledger.item(&other).await.ok().flatten();
        if record.and_then(|record| record.holding).is_some_and(|held| !held.parked && held.actor == caller.actor) {
            self.say_nameless(login, "one account works on two items at once, claimed over two connections");
        }
    }

    fn nameless_login<'a>(&self, caller: &'a Caller) -> Option<&'a Account> {
        let is_one = self.rules().unnamed == Unnamed::One && caller.actor.instance.is_none() && !caller.overrider;
        caller.actor.account.login().filter(|_| is_one)
    }

    fn say_nameless(&self, account: &Account, sign: &str) {
        self.ports.metrics.unnamed_instances.inc();
        if self.nameless.warned.entry(account.clone()).or_insert(()).is_fresh() {
            tracing::warn!(%account, sign, "{ADVICE}");
        }
    }
}
