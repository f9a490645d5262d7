//! Who acts: the account that the tracker sees, and the instance behind it.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// An account of the tracker. Compared by its id, without regard to ASCII case, since a forge's ids are login names.
#[derive(Clone)]
pub struct Account {
    /// What the tracker's requests name it by.
    id: Arc<str>,
    /// What people call it; the same text where that is the id.
    name: Arc<str>,
}

/// Keyed hash of a credential (HMAC-SHA256, hex): names it without revealing it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(Arc<str>);

/// One of several processes behind one account.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance(Arc<str>);

/// The account as the tracker sees it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// The tracker named it.
    Named(Account),
    /// The credential may not ask who it is (scoped tokens): its fingerprint stands for it.
    Opaque(Fingerprint),
}

/// Who acts: account and, where known, instance. A holder is this pair (manual: rules).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Actor {
    /// The account that the tracker sees.
    pub account: Principal,
    /// The process behind it, where it was named.
    pub instance: Option<Instance>,
}

/// One request's sender, for decisions and for the audit.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who acts.
    pub actor: Actor,
    /// Keyed fingerprint of the credential.
    pub credential: Fingerprint,
    /// The account is declared shared: an instance must be named, and only equal instances are one agent.
    pub shared: bool,
    /// A person whom no rule refuses.
    pub overrider: bool,
}

// === impl Account ===

impl Account {
    /// An account whose name is its id (a forge's login). Takes the spelling as it is.
    pub fn new(login: &str) -> Self {
        let id: Arc<str> = login.into();
        Self { name: Arc::clone(&id), id }
    }

    /// An account that people call otherwise than requests do.
    pub fn named(id: &str, name: &str) -> Self {
        Self { id: id.into(), name: name.into() }
    }

    /// The id, spelled as first seen.
    pub fn as_str(&self) -> &str {
        &self.id
    }

    /// What people call it, where that is not its id.
    pub fn other_name(&self) -> Option<&str> {
        (self.name != self.id).then_some(&*self.name)
    }

    /// Whether it is listed there, by its id or by its name.
    pub fn is_among(&self, listed: &BTreeSet<Self>) -> bool {
        listed.contains(self) || self.other_name().is_some_and(|name| listed.contains(&Self::new(name)))
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.id.bytes().map(|b| b.to_ascii_lowercase())
    }
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        self.id.eq_ignore_ascii_case(&other.id)
    }
}

impl Eq for Account {}

impl Hash for Account {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded().for_each(|b| state.write_u8(b));
    }
}

impl PartialOrd for Account {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Account {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

/// For people: its name.
impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.other_name() {
            Some(name) => write!(f, "{:?} ({name})", self.id),
            None => write!(f, "{:?}", self.id),
        }
    }
}

// === impl Fingerprint, Instance ===

impl Fingerprint {
    /// From its hex form.
    pub fn new(hex: &str) -> Self {
        Self(hex.into())
    }

    /// The hex form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Instance {
    /// The name as the client or the listener gave it, already checked to be printable and short.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Of an agent that is known by its client's address alone.
    pub fn of_address(address: &str) -> Self {
        Self::new(&format!("{}{address}", Self::ADDRESS))
    }

    /// Whether it is a client's address, and nothing that an agent calls itself.
    pub fn is_address(&self) -> bool {
        self.0.starts_with(Self::ADDRESS)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How the names of agents begin that are known by their address. No agent may call itself so.
    pub const ADDRESS: &'static str = "addr:";
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Principal ===

impl Principal {
    /// The tracker's account, where the tracker named one.
    pub fn login(&self) -> Option<&Account> {
        match self {
            Self::Named(login) => Some(login),
            Self::Opaque(_) => None,
        }
    }

    /// What no two of them share: the account's id, or the credential's fingerprint.
    pub fn id(&self) -> Cow<'_, str> {
        match self {
            Self::Named(account) => Cow::Borrowed(account.as_str()),
            Self::Opaque(fingerprint) => Cow::Owned(format!("credential:{}", fingerprint.as_str())),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(login) => login.fmt(f),
            Self::Opaque(fingerprint) => write!(f, "credential:{}", fingerprint.as_str()),
        }
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

// === impl Actor ===

impl Actor {
    /// Whether what is recorded of this agent is `other`'s to go on with: the same account, and the instance that is recorded.
    /// What is recorded without an instance goes on as the first that names one; but where one is recorded, a request
    /// that names none is another agent's, or any name could come by way of it.
    pub fn goes_on_as(&self, other: &Self) -> bool {
        self.account == other.account && (self.instance.is_none() || self.instance == other.instance)
    }

    /// Whether the two may be one agent: the same account, and instances that do not differ where both are named.
    pub fn may_be(&self, other: &Self) -> bool {
        self.goes_on_as(other) || other.goes_on_as(self)
    }

    /// What no two agents share: for keys, where [`Display`](fmt::Display) is for people.
    pub fn id(&self) -> String {
        match &self.instance {
            Some(instance) => format!("{} ({})", self.account.id(), instance.as_str()),
            None => self.account.id().into_owned(),
        }
    }

    /// Whether only the name is missing in which `other` could be this agent.
    pub fn lacks_the_name_of(&self, other: &Self) -> bool {
        self.account == other.account && self.instance.is_none() && other.instance.is_some()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.instance {
            Some(instance) => write!(f, "{} ({})", self.account, instance.as_str()),
            None => self.account.fmt(f),
        }
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
