//! Unix sockets that clients connect to: who may open one is a matter of its mode and owner.
//!
//! The socket is made under a name of its own, given its mode and owner, and then renamed into place: at no moment can
//! somebody connect whom the mode keeps out, and one that a dead gate left is replaced in one step. One that somebody
//! listens on is never taken. At the end the file is removed, unless another gate has taken its place already.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// A unix socket to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketFile {
    /// Where.
    pub path: PathBuf,
    /// Its permission bits, for instance `0o660`. Who may write may connect.
    pub mode: u32,
    /// The user that it belongs to, by name or number.
    pub owner: Option<String>,
    /// The group that it belongs to, by name or number.
    pub group: Option<String>,
}

/// A socket file that this process made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

// === impl SocketFile ===

impl SocketFile {
    /// For the gate's own user alone.
    pub fn at(path: PathBuf) -> Self {
        Self { path, mode: 0o600, owner: None, group: None }
    }

    /// Opens it, with room for so many connections that wait to be accepted.
    pub(super) fn bind(&self, backlog: i32) -> io::Result<(UnixListener, OwnFile)> {
        self.make_way()?;
        let (user, group) = (user_id(self.owner.as_deref())?, group_id(self.group.as_deref())?);
        let making = self.path.with_extension(format!("{}~", std::process::id()));
        let made = bound(&making).and_then(|socket| {
            fs::set_permissions(&making, Permissions::from_mode(self.mode))?;
            if user.is_some() || group.is_some() {
                chown(&making, user, group).map_err(|error| self.not_given(&error))?;
            }
            rustix::net::listen(&socket, backlog)?;
            fs::rename(&making, &self.path)?;
            Ok(UnixListener::from(socket))
        });
        let listener = made.inspect_err(|_| drop(fs::remove_file(&making))).map_err(|error| self.in_words(error))?;
        Ok((listener, OwnFile::of(&self.path)?))
    }

    /// A socket that nobody listens on any more may be replaced, and nothing else.
    fn make_way(&self) -> io::Result<()> {
        let Ok(there) = fs::symlink_metadata(&self.path) else { return Ok(()) };
        if !there.file_type().is_socket() {
            let why = "a file is there already that is no socket: remove it, or give this listener another path";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        match UnixStream::connect(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            // It went away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(_) => {
                let why = "somebody listens on it already: stop that process, or give this listener another path";
                Err(io::Error::new(io::ErrorKind::AddrInUse, why))
            }
            Err(error) => {
                let why = format!("it cannot be told whether somebody listens on it already: {error}");
                Err(io::Error::new(error.kind(), why))
            }
        }
    }

    fn not_given(&self, error: &io::Error) -> io::Error {
        let to = [("user", &self.owner), ("group", &self.group)];
        let to = to.iter().filter_map(|(what, name)| Some(format!("the {what} {}", name.as_ref()?)));
        let why = format!(
            "it cannot be given to {}: {error}; a process without privileges can give a file only to a group of its own",
            to.collect::<Vec<_>>().join(" and ")
        );
        io::Error::new(error.kind(), why)
    }

    fn in_words(&self, error: io::Error) -> io::Error {
        match (error.kind(), self.path.parent()) {
            (io::ErrorKind::NotFound, Some(dir)) => {
                let why = format!("the directory {} does not exist", dir.display());
                io::Error::new(io::ErrorKind::NotFound, why)
            }
            (io::ErrorKind::InvalidFilename, _) => {
                let why = "the path is too long for a socket: the system takes about 100 bytes";
                io::Error::new(io::ErrorKind::InvalidFilename, why)
            }
            _ => error,
        }
    }
}

// === impl OwnFile ===

impl OwnFile {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() })
    }

    /// Removes it, unless the file of that name is another by now.
    pub(super) fn remove(&self) {
        if Self::of(&self.path).is_ok_and(|there| there == *self) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A socket of this name that nobody can connect to yet.
fn bound(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &address)?;
    Ok(socket)
}

/// Whether this user and this group are known to the system; the same look-up as the listener's.
pub fn check_owner(owner: Option<&str>, group: Option<&str>) -> io::Result<()> {
    user_id(owner).and(group_id(group)).map(drop)
}

fn user_id(name: Option<&str>) -> io::Result<Option<u32>> {
    let find = |name: &str| User::from_name(name).map(|found| found.map(|user| user.uid.as_raw()));
    id_of("user", name, find)
}

fn group_id(name: Option<&str>) -> io::Result<Option<u32>> {
    let find = |name: &str| Group::from_name(name).map(|found| found.map(|group| group.gid.as_raw()));
    id_of("group", name, find)
}

fn id_of(what: &str, name: Option<&str>, find: impl Fn(&str) -> nix::Result<Option<u32>>) -> io::Result<Option<u32>> {
    let Some(name) = name else { return Ok(None) };
    if let Ok(id) = name.parse() {
        return Ok(Some(id));
    }
    let unknown = || io::Error::new(io::ErrorKind::NotFound, format!("there is no {what} `{name}` on this system"));
    find(name)?.ok_or_else(unknown).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = SocketFile { mode: 0o620, ..SocketFile::at(dir.path().join("a.sock")) };
        let (first, own) = file.bind(8).unwrap();
        assert_eq!(mode(&file.path), 0o620);
        let taken = file.bind(8).unwrap_err();
        assert!(taken.to_string().contains("somebody listens on it already"), "{taken}");
        drop(first);
        let (_second, new) = file.bind(8).unwrap();
        UnixStream::connect(&file.path).unwrap();
        own.remove();
        assert!(file.path.exists(), "it is the second one's");
        new.remove();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = SocketFile::at(dir.path().join("precious"));
        fs::write(&file.path, "x").unwrap();
        let error = file.bind(8).unwrap_err();
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read(&file.path).unwrap(), b"x");
    }

    #[test]
    fn what_cannot_be_had_is_said_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| SocketFile::at(dir.path().join(name));
        let nobody = |name: &str| Some(name.to_owned());
        for (file, why) in [
            (at("no/such/a.sock"), "does not exist"),
            (at(&"d".repeat(120)), "too long"),
            (SocketFile { owner: nobody("no-such-user"), ..at("a") }, "there is no user `no-such-user`"),
            (SocketFile { group: nobody("no-such-group"), ..at("a") }, "there is no group `no-such-group`"),
        ] {
            let error = file.bind(8).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn owners_are_known_by_name_and_by_number() {
        check_owner(Some("root"), Some("root")).unwrap();
        check_owner(Some("4711"), None).unwrap();
        assert_eq!((user_id(Some("root")).unwrap(), group_id(Some("7")).unwrap()), (Some(0), Some(7)));
    }
}
