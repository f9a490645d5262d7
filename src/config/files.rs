//! The files that a configuration names: there, and not for everybody to read.
//!
//! A secret that all accounts of a machine can read is no secret; the gate refuses to start with one, since nobody looks
//! at a warning.

use std::path::Path;

use secrecy::SecretString;

use super::layers::Merged;
use super::{Config, Server, Tls};
use crate::clock::SystemClock;
use crate::effect::Clock as _;
use crate::proxy::InterceptedHost;
use crate::server::{PrivateAuthority, TlsFiles, check_certificate, check_owner};
use crate::upstream::check_roots;

/// Reports every named file that is missing, and every secret one that others can read or write.
pub(super) fn check(config: &Config, out: &mut Merged<'_>) {
    let (server, upstream) = (&config.server, &config.upstream);
    let secret = [
        ("server.admin_token_file", &server.admin_token_file),
        ("server.tls.key", &server.tls.key),
        ("upstream.service_token_file", &upstream.service_token_file),
        ("upstream.webhook_secret_file", &upstream.webhook_secret_file),
        ("ledger.password_file", &config.ledger.password_file),
    ];
    let open = [
        ("server.tls.certificate", &server.tls.certificate),
        ("upstream.ca_file", &upstream.ca_file),
        ("ledger.ca_file", &config.ledger.ca_file),
    ];
    let all = secret.iter().map(|file| (file, true)).chain(open.iter().map(|file| (file, false)));
    for ((key, path), secret) in all {
        let problem = path.as_deref().and_then(|path| problem(path, secret));
        if let Some((message, help)) = problem {
            out.report_at(&[key], format!("`{key}`: {message}"), help);
        }
    }
    owners(server, out);
}

/// Reports every user and group of a unix socket that the system does not know.
fn owners(server: &Server, out: &mut Merged<'_>) {
    for (index, listener) in server.listener.iter().enumerate() {
        for (key, owner, group) in
            [("owner", listener.owner.as_deref(), None), ("group", None, listener.group.as_deref())]
        {
            if let Err(error) = check_owner(owner, group) {
                out.report_at(&[&format!("server.listener.{index}.{key}")], error.to_string(), None);
            }
        }
    }
}

/// The same, and whether each file holds what a start reads from it.
pub(super) fn check_contents(config: &Config, out: &mut Merged<'_>) {
    check(config, out);
    let (server, upstream) = (&config.server, &config.upstream);
    let tokens = [
        ("server.admin_token_file", &server.admin_token_file),
        ("upstream.service_token_file", &upstream.service_token_file),
        ("upstream.webhook_secret_file", &upstream.webhook_secret_file),
        ("ledger.password_file", &config.ledger.password_file),
    ];
    for (key, path) in tokens.into_iter().filter_map(|(key, path)| Some((key, readable(path.as_deref(), true)?))) {
        if let Err(error) = read_secret(path) {
            out.report_at(&[key], format!("`{key}`: {}: {error}", path.display()), None);
        }
    }
    certificate(&server.tls, out);
    authority(config, out);
    let roots = upstream.ca_file.as_deref().filter(|_| upstream.url.starts_with("https:"));
    if let Some(Err(error)) = readable(roots, false).map(check_roots) {
        out.report_at(&["upstream.ca_file"], format!("`upstream.ca_file`: {error}"), None);
    }
    // No start fails for it, and no line is lost.
    if let Some(Err(message)) = config.audit.file.as_deref().map(can_be_made) {
        out.warn(format!("`audit.file`: {message}: until it can be written, the audit waits in the ledger"));
    }
}

/// Whether the listeners that intercept could have their certificates.
fn authority(config: &Config, out: &mut Merged<'_>) {
    if !config.server.listener.iter().any(|listener| listener.intercept) {
        return;
    }
    let hosts: Vec<InterceptedHost> = config.intercept.hosts.iter().filter_map(|host| host.parse().ok()).collect();
    let now = SystemClock::start().now();
    let made = PrivateAuthority::load(&config.intercept.authority(&config.server.state_dir))
        .and_then(|authority| hosts.iter().try_for_each(|host| authority.check(host.name(), now)));
    if let Err(error) = made {
        out.report_at(&["intercept.ca_dir", "intercept.hosts"], format!("`intercept`: {error}"), None);
    }
}

fn certificate(tls: &Tls, out: &mut Merged<'_>) {
    let files = readable(tls.certificate.as_deref(), false).zip(readable(tls.key.as_deref(), true));
    let Some((cert, key)) = files.map(|(cert, key)| (cert.to_owned(), key.to_owned())) else { return };
    let of_key = key.display().to_string();
    if let Err(error) = check_certificate(&TlsFiles { cert, key }) {
        let at = if error.path() == Some(&of_key) { "server.tls.key" } else { "server.tls.certificate" };
        out.report_at(&[at], format!("`{at}`: {error}"), None);
    }
}

/// The path, unless something was said of it already.
fn readable(path: Option<&Path>, secret: bool) -> Option<&Path> {
    path.filter(|path| problem(path, secret).is_none())
}

fn can_be_made(file: &Path) -> Result<(), String> {
    if file.is_dir() {
        return Err(format!("{} is a directory", file.display()));
    }
    let within = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if within.is_dir() { Ok(()) } else { Err(format!("{} is not a directory", within.display())) }
}

/// The token in a file, without the line end that editors add.
pub fn read_secret(path: &Path) -> std::io::Result<SecretString> {
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path)?);
    match text.trim() {
        "" => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the file is empty")),
        token => Ok(SecretString::from(token)),
    }
}

fn problem(path: &Path, secret: bool) -> Option<(String, Option<String>)> {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Some((format!("{shown} is not a file"), None)),
        Err(error) => return Some((format!("{shown}: {error}"), None)),
    };
    let open = secret && others_may(&metadata);
    open.then(|| (format!("everybody on this system can read or write {shown}"), Some(format!("chmod o= {shown}"))))
}

#[cfg(unix)]
fn others_may(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o006 != 0
}

#[cfg(not(unix))]
fn others_may(_: &std::fs::Metadata) -> bool {
    false
}
