//! What `claimgate --version` says: the version, the commit, the profile and the machine that it was built for.
//!
//! A release is built anew for a new commit; a build for development is not, and names none. Where there is no git (an image,
//! a package), `CLAIMGATE_COMMIT` says which commit it is.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=src/build.rs");
    println!("cargo::rerun-if-env-changed=CLAIMGATE_COMMIT");
    let text = |name: &str| env::var(name).unwrap_or_default();
    let (profile, version) = (text("PROFILE"), text("CARGO_PKG_VERSION"));
    let given = Some(text("CLAIMGATE_COMMIT")).filter(|commit| !commit.is_empty());
    let commit = given.or_else(|| if profile == "release" { head() } else { None });
    let commit = commit.map_or_else(|| "commit unknown".to_owned(), |commit| format!("commit {commit}"));
    println!("cargo::rustc-env=CLAIMGATE_BUILD={version} ({commit}, {profile} build for {})", text("TARGET"));
}

/// The commit that is checked out.
fn head() -> Option<String> {
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    println!("cargo::rerun-if-changed={log}");
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}
