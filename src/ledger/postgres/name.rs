//! Who a gate is among those that share a ledger: a name, and a token that only its own state directory knows.

use super::OpenError;
use super::lineage::Lineage;
use super::tail::Tail;
use crate::ledger::sqlite::lock_state_dir;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

/// A gate's name and token. While this is held, no other process takes the state directory.
#[derive(Clone, Debug)]
pub struct GateName {
    pub(super) name: String,
    pub(super) token: String,
    /// Its state directory.
    dir: Option<PathBuf>,
    _lock: Option<Arc<File>>,
}

/// Where name and token are kept, one a line.
const FILE: &str = "gate";

// === impl GateName ===

impl GateName {
    /// Of a gate without a state directory: each start is another gate, unless it has the name and the token of one.
    pub fn new(name: &str, token: &str) -> Self {
        Self { name: name.to_owned(), token: token.to_owned(), dir: None, _lock: None }
    }

    /// Of this state directory, made at the first start; a name from the configuration comes first. A predecessor with this
    /// directory has ended, since the directory is locked.
    pub fn in_dir(dir: &Path, name: Option<&str>) -> Result<Self, OpenError> {
        let lock = lock_state_dir(dir).map_err(|error| OpenError::StateDir(error.to_string()))?;
        let path = dir.join(FILE);
        let failed = |error: std::io::Error| OpenError::StateDir(format!("{}: {error}", path.display()));
        let (made, token) = match std::fs::read_to_string(&path) {
            Ok(text) => {
                let mut lines = text.lines().map(str::to_owned);
                let both = lines.next().zip(lines.next());
                both.ok_or_else(|| OpenError::StateDir(format!("{} does not read: remove it", path.display())))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let id = Uuid::now_v7().simple().to_string();
                let (made, token) = (format!("gate-{}", &id[20..]), Uuid::now_v7().to_string());
                let mut options = OpenOptions::new();
                let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
                writeln!(file, "{made}\n{token}").and_then(|()| file.sync_all()).map_err(failed)?;
                (made, token)
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Self {
            name: name.map_or(made, str::to_owned),
            token,
            dir: Some(dir.to_owned()),
            _lock: Some(Arc::new(lock)),
        })
    }

    /// The server that this gate has proven last to have everything.
    pub(super) fn last_server(&self) -> Lineage {
        Lineage::last_seen(self.dir.as_deref())
    }

    /// Remembers it.
    pub(super) fn keep_server(&self, server: &Lineage) {
        let kept = self.dir.as_deref().map_or(Ok(()), |dir| server.keep(dir));
        if let Err(error) = kept {
            tracing::warn!(%error, "the next start will not know an old primary by itself");
        }
    }

    /// What an earlier life of this gate knows that the ledger must have.
    pub(super) fn last_tail(&self) -> Option<Tail> {
        self.dir.as_deref().and_then(Tail::last_kept)
    }

    /// Remembers it.
    pub(super) fn keep_tail(&self, tail: &Tail) {
        let kept = self.dir.as_deref().map_or(Ok(()), |dir| tail.keep(dir));
        if let Err(error) = kept {
            tracing::debug!(%error, "the next start will not know what the ledger must have");
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}
