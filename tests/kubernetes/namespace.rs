//! The namespaces that everything runs in: nothing in them can leave the machine or meet other work
//! on it, and with the first process of the process namespace all others end.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Is set inside.
const INSIDE: &str = "REQUEST_ID_FILTER_NAMESPACE";

/// Whether this process is the first of its namespaces.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this program again in namespaces of its own, in place of this process.
///
/// # Errors
/// The namespaces cannot be made: with what is missing.
pub fn enter() -> Result<()> {
    let unshare = unshare()?;
    let mut tried = Command::new(unshare[0]);
    let tried = tried.args(&unshare[1..]).arg("true").output();
    let tried = tried.context("unshare cannot be run (Debian: apt-get install util-linux)")?;
    ensure!(
        tried.status.success(),
        "no namespaces can be made: {}\nRun the test as root, or allow user namespaces: \
         `sysctl kernel.unprivileged_userns_clone=1`, on Ubuntu also \
         `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, and ranges of ids for this user in \
         /etc/subuid and /etc/subgid, with newuidmap (Debian: apt-get install uidmap). In a container: \
         `docker run --privileged`",
        String::from_utf8_lossy(&tried.stderr).trim()
    );
    // With the process that started this one, `unshare` ends, and with it everything.
    let error = Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .args(unshare)
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    bail!("setpriv cannot be run (Debian: apt-get install util-linux): {error}");
}

fn unshare() -> Result<Vec<&'static str>> {
    let mut unshare = vec!["unshare"];
    let status = fs::read_to_string("/proc/self/status")?;
    if !status.contains("\nUid:\t0\t") {
        unshare.extend(["--user", "--map-root-user", "--map-auto"]);
    }
    unshare.extend([
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    Ok(unshare)
}

/// Puts a file or folder in the place of another, for the processes in here.
pub fn put(file: &Path, over: &Path) -> Result<()> {
    let mounted = Command::new("mount")
        .arg("--bind")
        .arg(file)
        .arg(over)
        .output()?;
    let error = String::from_utf8_lossy(&mounted.stderr);
    ensure!(
        mounted.status.success(),
        "{} on {}: {error}",
        file.display(),
        over.display()
    );
    Ok(())
}
