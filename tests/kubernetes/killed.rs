//! Runs of this program that are killed half-way.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use xtask::root;

use crate::namespace::{self, STAGE, Stage};
use crate::{World, tests};

tests![a_run_that_is_killed_leaves_no_process_mount_or_namespace];

/// The environment variable that makes a run stop in a stage and wait to be killed.
const HANG: &str = "REQUEST_ID_FILTER_HANG";

/// Whether this run is one that waits to be killed.
pub fn is_to_hang() -> bool {
    env::var_os(HANG).is_some()
}

/// The kinds of namespaces that a run makes.
const NAMESPACES: [&str; 3] = ["mnt", "net", "pid"];

/// Waits to be killed if the environment says so, with a mount and with a process in a network namespace
/// of its own, as a Pod has it. Prints the run's namespaces.
pub fn hang_if_told(stage: Stage) -> Result<()> {
    if env::var(HANG).as_deref() != Ok(&format!("{stage:?}")) {
        return Ok(());
    }
    namespace::put(&root().join("docs"), &root().join("envoy"))?;
    let mut pod = Command::new("unshare")
        .args(["--net", "sleep", "infinity"])
        .spawn()?;
    let started = Instant::now();
    let is_asleep =
        || fs::read_to_string(format!("/proc/{}/comm", pod.id())).map(|name| name == "sleep\n");
    while !is_asleep()? {
        ensure!(started.elapsed() < PATIENCE, "unshare does not start sleep");
        thread::sleep(INTERVAL);
    }
    let all: Vec<_> = ["self".to_owned(), pod.id().to_string()]
        .iter()
        .flat_map(|process| namespaces(process))
        .collect();
    println!("{}", all.join(" "));
    pod.wait()?;
    bail!("the process of the Pod has ended by itself")
}

const PATIENCE: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(20);

/// Returns the namespaces of a process, such as `pid:[4026531836]`; none if it has ended.
fn namespaces(process: &str) -> Vec<String> {
    NAMESPACES
        .iter()
        .filter_map(|kind| fs::read_link(format!("/proc/{process}/ns/{kind}")).ok())
        .map(|link| link.display().to_string())
        .collect()
}

/// Returns the processes that are in one of these namespaces. One that has ended is none of them, even if
/// its parent has not asked for its exit status (a zombie).
fn processes_in(those: &BTreeSet<String>) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name().display().to_string();
        let has_ended = || {
            let status = fs::read_to_string(format!("/proc/{name}/status"));
            status.is_ok_and(|status| status.contains("\nState:\tZ"))
        };
        if let Ok(process) = name.parse()
            && namespaces(&name)
                .iter()
                .any(|namespace| those.contains(namespace))
            && !has_ended()
        {
            found.push(process);
        }
    }
    Ok(found)
}

/// A run that waits to be killed.
struct Run {
    /// In the place of cargo, which starts the program and waits for it.
    parent: Child,
    namespaces: BTreeSet<String>,
    /// The first process in the namespaces.
    first: u32,
    /// The process that made the namespaces.
    outer: u32,
}

impl Run {
    fn start(stage: Stage) -> Result<Self> {
        let mut parent = Command::new("sh")
            .args(["-c", r#""$0"; exit $?"#])
            .arg(env::current_exe()?)
            .env_remove(STAGE)
            .env(HANG, format!("{stage:?}"))
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped()) // where the shell says that its child was killed
            .spawn()?;
        let mut line = String::new();
        let output = parent.stdout.take().context("no output")?;
        BufReader::new(output).read_line(&mut line)?;
        if line.is_empty() {
            let errors = parent.wait_with_output()?.stderr;
            bail!("the run ends: {}", String::from_utf8_lossy(&errors));
        }
        let own = namespaces("self");
        let new = line.split_whitespace().map(str::to_owned);
        let namespaces: BTreeSet<_> = new.filter(|namespace| !own.contains(namespace)).collect();
        let status = |process: u32, key: &str| -> Result<String> {
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let value = status.lines().find_map(|line| line.strip_prefix(key));
            Ok(value.context("the line is missing")?.trim().into())
        };
        let mut first = None;
        for process in processes_in(&namespaces)? {
            if status(process, "NSpid:")?.ends_with("\t1") {
                first = Some(process);
            }
        }
        let first = first.with_context(|| format!("no first process in {line:?}"))?;
        let outer = status(first, "PPid:")?.parse()?;
        Ok(Self {
            parent,
            namespaces,
            first,
            outer,
        })
    }
}

/// Kills runs in each way in which a person, cargo or a CI system may do it.
fn a_run_that_is_killed_leaves_no_process_mount_or_namespace(_: &World) -> Result<()> {
    let mounts = || fs::read_to_string("/proc/self/mounts");
    let before = mounts()?;
    type Target = fn(&Run) -> String;
    let ways: [(&str, &str, Target); 6] = [
        ("the test program is killed", "KILL", |run| {
            run.first.to_string()
        }),
        ("the test program is terminated", "TERM", |run| {
            run.first.to_string()
        }),
        ("the process outside is killed", "KILL", |run| {
            run.outer.to_string()
        }),
        ("cargo is killed", "KILL", |run| run.parent.id().to_string()),
        ("cargo is terminated", "TERM", |run| {
            run.parent.id().to_string()
        }),
        ("Ctrl-C", "INT", |run| format!("-{}", run.parent.id())),
    ];
    for stage in [Stage::Build, Stage::Test] {
        for (what, signal, target) in ways {
            let mut run = Run::start(stage).with_context(|| format!("{stage:?}"))?;
            let expected = if stage == Stage::Test { 4 } else { 3 };
            ensure!(run.namespaces.len() == expected, "{:?}", run.namespaces);
            ensure!(
                processes_in(&run.namespaces)?.len() >= 2,
                "{what}: nothing runs"
            );
            let sent = Command::new("sh")
                .args(["-c", r#"kill -s "$0" -- "$1""#, signal, &target(&run)])
                .status()?;
            ensure!(
                sent.success(),
                "{stage:?}, {what}: kill {} fails",
                target(&run)
            );
            let started = Instant::now();
            loop {
                let left = processes_in(&run.namespaces)?;
                if left.is_empty() {
                    break;
                }
                ensure!(
                    started.elapsed() < PATIENCE,
                    "{stage:?}, {what}: the processes {left:?} are left"
                );
                thread::sleep(INTERVAL);
            }
            run.parent.wait()?;
            ensure!(mounts()? == before, "{stage:?}, {what}: a mount is left");
        }
    }
    Ok(())
}
