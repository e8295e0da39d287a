//! The namespaces that everything runs in. No process in them can reach another machine or meet other
//! work on this one, and when the first process ends, the kernel ends all others.

use std::convert::Infallible;
use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The environment variable that names the stage.
pub const STAGE: &str = "REQUEST_ID_FILTER_STAGE";

/// The program runs itself again, in place of itself, for each stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    /// Outside: there is nothing to clean up.
    Outside,
    /// In process and mount namespaces, with the machine's network, from which Go fetches modules.
    Build,
    /// In a network namespace, too.
    Test,
}

pub fn stage() -> Stage {
    match env::var(STAGE).as_deref() {
        Ok("build") => Stage::Build,
        Ok("test") => Stage::Test,
        _ => Stage::Outside,
    }
}

/// Goes on to the build, in process and mount namespaces.
///
/// # Errors
/// The namespaces cannot be made: with what is missing.
pub fn enter() -> Result<Infallible> {
    let unshare = unshare()?;
    let mut tried = Command::new(unshare[0]);
    let tried = tried.args(&unshare[1..]).args(["--net", "true"]).output();
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
    // If the process that started this one ends, `unshare` is killed, and everything with it.
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--pdeathsig", "KILL"]).args(unshare);
    replace(setpriv, "build")
}

/// Goes on to the tests, in a network namespace.
pub fn leave_network() -> Result<Infallible> {
    let mut unshare = Command::new("unshare");
    unshare.arg("--net");
    replace(unshare, "test")
}

/// Replaces this process with this program in another stage, which `command` starts.
fn replace(mut command: Command, stage: &str) -> Result<Infallible> {
    let error = command
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(STAGE, stage)
        .exec();
    let program = command.get_program().display().to_string();
    bail!("{program} cannot be run (Debian: apt-get install util-linux): {error}");
}

fn unshare() -> Result<Vec<&'static str>> {
    let mut unshare = vec!["unshare"];
    let status = fs::read_to_string("/proc/self/status")?;
    if !status.contains("\nUid:\t0\t") {
        unshare.extend(["--user", "--map-root-user", "--map-auto"]);
    }
    unshare.extend(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    Ok(unshare)
}

/// Makes this process end on Ctrl-C and on SIGTERM, which the kernel ignores for the first process of a
/// namespace otherwise.
pub fn end_on_signals() {
    let handled = ctrlc::set_handler(|| std::process::exit(130));
    handled.expect("no signal handler has been set before");
}

/// Mounts a file or folder over another, for the processes in here.
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
