//! The files that a configuration names: there, and not for everybody to read.
//!
//! A secret that all accounts of a machine can read is no secret; the gate refuses to start with one, since nobody looks
//! at a warning.

use std::path::Path;

use secrecy::SecretString;

use super::Config;
use super::layers::Merged;

/// Reports every named file that is missing, and every secret one that others can read or write.
pub(super) fn check(config: &Config, out: &mut Merged<'_>) {
    let (server, upstream) = (&config.server, &config.upstream);
    let secret = [
        ("server.admin_token_file", &server.admin_token_file),
        ("server.tls.key", &server.tls.key),
        ("upstream.service_token_file", &upstream.service_token_file),
        ("upstream.webhook_secret_file", &upstream.webhook_secret_file),
    ];
    let open = [("server.tls.certificate", &server.tls.certificate), ("upstream.ca_file", &upstream.ca_file)];
    let all = secret.iter().map(|file| (file, true)).chain(open.iter().map(|file| (file, false)));
    for ((key, path), secret) in all {
        let problem = path.as_deref().and_then(|path| problem(path, secret));
        if let Some((message, help)) = problem {
            out.report_at(&[key], format!("`{key}`: {message}"), help);
        }
    }
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
