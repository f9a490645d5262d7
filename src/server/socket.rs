//! The operator's socket: `operator.sock` in the state directory, for the gate's own account alone.
//!
//! Agents often live on the gate's host, and every local user reaches a loopback port. What changes the gate is therefore
//! asked here. The file has mode 0600, and who connects is asked of the system besides: between the making of a socket and
//! its mode there is a moment, and some file systems know no modes.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Its name in the state directory.
const NAME: &str = "operator.sock";
/// The system takes no longer paths for a socket (`sun_path`, unix(7)), less some for the end.
const LONGEST_PATH: usize = 100;

/// Where the socket of a gate with this state directory is.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    std::path::absolute(state_dir).unwrap_or_else(|_| state_dir.to_owned()).join(NAME)
}

/// Opens it in the place of one that an earlier gate left. Only who has the ledger may call this.
pub(super) fn bind(path: &Path) -> io::Result<UnixListener> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    let listener = within_reach(path, UnixListener::bind)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects to it.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    within_reach(path, UnixStream::connect)
}

/// Whether this user may say what the gate does: its own account, and the system's administrator.
pub(super) fn may_operate(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}

/// Names a socket by its directory's descriptor, if its path is too long for the system.
fn within_reach<T>(path: &Path, of: impl FnOnce(PathBuf) -> io::Result<T>) -> io::Result<T> {
    match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) if path.as_os_str().len() > LONGEST_PATH => {
            let dir = File::open(dir)?;
            of(PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name))
        }
        _ => of(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_directory_is_no_hindrance() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let path = socket_path(&deep);
        for _ in 0..2 {
            let listener = bind(&path).unwrap();
            connect(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            drop(listener);
        }
        assert!(connect(&path).is_err(), "nobody listens");
    }
}
