//! A cluster: etcd, the API server, the controller manager, a registry, and the stand-in for a node.

mod start;

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use xtask::{image, root};

use crate::components;

/// The longest wait for any condition.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The address of the node, and of the API server and the registries.
const NODE: &str = "10.244.0.1";

/// The user and the password of the private registry.
pub const CREDENTIALS: (&str, &str) = ("you", "secret");

pub struct Cluster {
    /// The folder for logs and everything else that is written. It stays there after the run.
    folder: PathBuf,
    processes: Vec<Child>,
    /// Held as long as the folder is used.
    _lock: File,
    /// The digest of the image that is tested.
    pub digest: String,
}

impl Cluster {
    /// Starts the cluster and waits until it is ready.
    pub fn start() -> Result<Self> {
        let lock = File::create(components::folder().join("lock"))?;
        lock.try_lock()
            .context("another run of this test is going on")?;
        let folder = components::folder().join("run");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("logs"))?;
        let index = fs::read_to_string(root().join(image::LAYOUT).join("index.json"))?;
        let index: Value = serde_json::from_str(&index)?;
        let digest = index["manifests"][0]["digest"].as_str();
        let digest = digest.context("no digest in the image's index")?.into();
        let mut cluster = Self {
            folder,
            processes: Vec::new(),
            _lock: lock,
            digest,
        };
        cluster.write_files()?;
        cluster.start_programs()?;
        cluster.push()?;
        Ok(cluster)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn text_of(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Returns the image's name in the public registry.
    pub fn image(&self) -> String {
        format!("registry.example.com/you/request-id-filter@{}", self.digest)
    }

    fn spawn(&mut self, name: &str, program: &str, arguments: &[&str]) -> Result<()> {
        let log = File::create(self.path("logs").join(format!("{name}.log")))?;
        let child = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| program.to_owned())?;
        self.processes.push(child);
        Ok(())
    }

    /// Starts a program that runs until the cluster ends, with a log of that name.
    pub fn start_program(&self, name: &str, program: &str, arguments: &[&str]) -> Result<Running> {
        let log = File::create(self.path("logs").join(format!("{name}.log")))?;
        let mut command = self.command(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Running(
            command.spawn().with_context(|| program.to_owned())?,
        ))
    }

    /// A command in the project's root, with the programs of the test first of all.
    pub fn command(&self, program: &str) -> Command {
        let path = env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", components::programs().display());
        let mut command = Command::new("env"); // which finds the program by that path
        command
            .arg(program)
            .current_dir(root())
            .env("PATH", path)
            .env("KUBECONFIG", self.path("kubeconfig"))
            .env("SSL_CERT_FILE", self.path("registry.crt"))
            .env("DOCKER_CONFIG", self.path("docker"))
            .env("HOME", self.path("home"))
            .env("IMAGE", self.image());
        for kept in ["CARGO_HOME", "RUSTUP_HOME"] {
            let home = env::var("HOME").unwrap_or_default();
            let usual = format!(
                "{home}/.{}",
                kept.split('_').next().unwrap_or_default().to_lowercase()
            );
            command.env(kept, env::var(kept).unwrap_or(usual));
        }
        command
    }

    /// Runs a program, which has to succeed, and returns what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self
            .command(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()?;
        printed(&format!("{program} {}", arguments.join(" ")), &output)
    }

    /// The same with a command line whose words contain no blanks.
    pub fn run_line(&self, command: &str) -> Result<String> {
        let words: Vec<_> = command.split_whitespace().collect();
        let (program, arguments) = words.split_first().context("an empty command")?;
        self.run(program, arguments)
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run("kubectl", arguments)
    }

    /// Returns what `kubectl get` prints as JSON.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        Ok(serde_json::from_str(&self.kubectl(&arguments)?)?)
    }

    /// Runs `kubectl` with a text as its input, such as `apply -f -`.
    pub fn feed(&self, arguments: &[&str], text: &str) -> Result<String> {
        let output = self.try_feed(arguments, text)?;
        printed(
            &format!("kubectl {} of\n{text}", arguments.join(" ")),
            &output,
        )
    }

    pub fn try_feed(&self, arguments: &[&str], text: &str) -> Result<Output> {
        let mut kubectl = self
            .command("kubectl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let input = kubectl.stdin.take();
        input.context("no input")?.write_all(text.as_bytes())?;
        Ok(kubectl.wait_with_output()?)
    }

    pub fn apply(&self, text: &str) -> Result<()> {
        self.feed(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            text,
        )
        .map(drop)
    }

    /// Deletes what a text describes, and waits until it is gone.
    pub fn delete(&self, text: &str) -> Result<()> {
        self.feed(&["delete", "--ignore-not-found", "-f", "-"], text)
            .map(drop)
    }

    /// Waits until a condition holds, and returns what it returned.
    pub fn until<T>(&self, what: &str, holds: impl Fn() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        loop {
            match holds() {
                Ok(value) => return Ok(value),
                Err(error) if started.elapsed() > PATIENCE => {
                    bail!("waited {} s for {what}: {error:#}", PATIENCE.as_secs())
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Waits until a container has printed `text`.
    pub fn wait_for_log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        text: &str,
    ) -> Result<()> {
        self.until(&format!("{text} in the log of {pod}"), || {
            let log = self.container_log(namespace, pod, container)?;
            ensure!(log.contains(text), "the log does not contain it");
            Ok(())
        })
    }

    /// Returns what a container has printed, in all Pods whose names begin with `pod`.
    pub fn container_log(&self, namespace: &str, pod: &str, container: &str) -> Result<String> {
        let mut all = String::new();
        for file in fs::read_dir(self.path("logs"))? {
            let file = file?;
            let name = file.file_name().into_string().unwrap_or_default();
            if name.starts_with(&format!("{namespace}_{pod}"))
                && name.ends_with(&format!("_{container}.log"))
            {
                all += &String::from_utf8_lossy(&fs::read(file.path())?);
            }
        }
        Ok(all)
    }

    /// Waits for exactly one Pod with these labels that is ready and not being deleted.
    pub fn pod(&self, namespace: &str, labels: &str) -> Result<Pod> {
        self.until(&format!("a Pod with {labels}"), || {
            let pods = self.get(&["-n", namespace, "pods", "-l", labels])?;
            let mut found = Vec::new();
            for pod in pods["items"].as_array().context("no list")? {
                if pod["metadata"]["deletionTimestamp"].is_null() {
                    let conditions = pod["status"]["conditions"]
                        .as_array()
                        .context("no conditions")?;
                    let is_ready = |condition: &Value| {
                        condition["type"] == "Ready" && condition["status"] == "True"
                    };
                    ensure!(conditions.iter().any(is_ready), "not ready: {pod:#}");
                    found.push(Pod {
                        name: pod["metadata"]["name"].as_str().context("no name")?.into(),
                        address: pod["status"]["podIP"]
                            .as_str()
                            .context("no address")?
                            .into(),
                    });
                }
            }
            ensure!(found.len() == 1, "{} Pods", found.len());
            found.pop().context("no Pod")
        })
    }
}

#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub address: String,
}

/// A program that is stopped when this is dropped.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn printed(what: &str, output: &Output) -> Result<String> {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(
        output.status.success(),
        "{what} fails ({}):\n{stdout}{stderr}",
        output.status
    );
    Ok(stdout.into_owned())
}

/// Returns the end of each log of the cluster.
pub fn logs() -> String {
    let mut all = String::new();
    let mut files: Vec<_> = fs::read_dir(components::folder().join("run/logs"))
        .into_iter()
        .flatten()
        .filter_map(|file| Some(file.ok()?.path()))
        .collect();
    files.sort();
    for file in files {
        let text = fs::read(&file).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(25)..].join("\n");
        let _ = write!(all, "\n===== {}\n{end}\n", file.display());
    }
    all
}
