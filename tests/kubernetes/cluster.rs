//! A cluster: etcd, the API server, the controller manager, a registry, and the stand-in for a node.

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use xtask::{image, root};

use crate::components::{self, write};
use crate::namespace;

/// How long anything may take that is waited for.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The node's address, at which the API server and the registry are, too.
const NODE: &str = "10.244.0.1";

/// The user and password of the registry's part that is private.
pub const CREDENTIALS: (&str, &str) = ("you", "secret");

/// The same as the registry reads it, with a hash of bcrypt.
const HTPASSWD: &str = "you:$2b$04$EgiOhkJPh9HJvXrEG90q4Oeade90zjfxZ1Lalopoed5xsW1mJzZ3O\n";

pub struct Cluster {
    /// For everything that is written. It stays there, to be looked at.
    folder: PathBuf,
    processes: Vec<Child>,
    /// Held as long as the folder is used.
    _lock: File,
    /// The digest of the image that is tested.
    pub digest: String,
}

impl Cluster {
    /// Starts it and waits until it can be used.
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

    fn write_files(&self) -> Result<()> {
        let hosts =
            format!("127.0.0.1 localhost\n{NODE} registry.example.com private.example.com\n");
        write(&self.path("hosts"), hosts.as_bytes())?;
        namespace::put(&self.path("hosts"), Path::new("/etc/hosts"))?;
        // The documented commands edit the manifests: a copy of them.
        let copied = Command::new("cp")
            .arg("-a")
            .arg(root().join("envoy"))
            .arg(&self.folder)
            .status()?;
        ensure!(copied.success(), "the manifests cannot be copied");
        namespace::put(&self.path("envoy"), &root().join("envoy"))?;

        write(
            &self.path("tokens.csv"),
            b"admin,admin,admin,system:masters\n",
        )?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{NODE}:6443"),
                "certificate-authority": self.text_of("api/apiserver.crt"),
            }}],
            "users": [{"name": "admin", "user": {"token": "admin"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
            "current-context": "test",
        });
        write(&self.path("kubeconfig"), config.to_string().as_bytes())?;
        openssl(&[
            "genpkey",
            "-algorithm",
            "RSA",
            "-out",
            &self.text_of("accounts.key"),
        ])?;
        // Trusts itself, and is the only certificate that images trust.
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "1",
            "-subj",
            "/CN=registry",
            "-addext",
            "subjectAltName=DNS:registry.example.com,DNS:private.example.com",
            "-keyout",
            &self.text_of("registry.key"),
            "-out",
            &self.text_of("registry.crt"),
        ])?;
        let image = components::folder().join("image");
        let trusted = image.join("etc/ssl/certs/ca-certificates.crt");
        write(&trusted, &fs::read(self.path("registry.crt"))?)?;
        // A waypoint's Envoy would need an extension that only Istio's own build has.
        let bootstrap = image.join("var/lib/istio/envoy/envoy_bootstrap_tmpl.json");
        let template = fs::read_to_string(&bootstrap)?;
        let template = template.replace("{{- if .metadata_discovery }}", "{{- if false }}");
        write(&bootstrap, template.as_bytes())?;
        fs::create_dir_all(image.join("var/lib/istio/data"))?;
        write(&self.path("htpasswd"), HTPASSWD.as_bytes())?;
        for (name, port, auth) in [
            ("registry", 443, json!({})),
            (
                "private",
                8443,
                json!({
                    "htpasswd": {"realm": "https://private.example.com/", "path": self.text_of("htpasswd")}
                }),
            ),
        ] {
            let config = json!({
                "version": "0.1",
                "log": {"level": "info"},
                "storage": {"filesystem": {"rootdirectory": self.text_of(name)}},
                "http": {
                    "addr": format!("{NODE}:{port}"),
                    "tls": {
                        "certificate": self.text_of("registry.crt"),
                        "key": self.text_of("registry.key"),
                    },
                },
                "auth": auth,
            });
            write(
                &self.path(&format!("{name}.yaml")),
                config.to_string().as_bytes(),
            )?;
        }
        Ok(())
    }

    fn start_programs(&mut self) -> Result<()> {
        self.run("node", &["network"])?;
        self.spawn(
            "etcd",
            "etcd",
            &[
                "--data-dir",
                &self.text_of("etcd"),
                "--unsafe-no-fsync",
                "--log-level",
                "warn",
            ],
        )?;
        self.spawn(
            "kube-apiserver",
            "kube-apiserver",
            &[
                "--etcd-servers=http://127.0.0.1:2379",
                &format!("--advertise-address={NODE}"),
                "--endpoint-reconciler-type=none",
                // A webhook is asked at its Pods: there is no kube-proxy.
                "--enable-aggregator-routing=true",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                &format!(
                    "--service-account-key-file={}",
                    self.text_of("accounts.key")
                ),
                &format!(
                    "--service-account-signing-key-file={}",
                    self.text_of("accounts.key")
                ),
                &format!("--token-auth-file={}", self.text_of("tokens.csv")),
                &format!("--cert-dir={}", self.text_of("api")),
            ],
        )?;
        self.until("the API server", || {
            self.kubectl(&["get", "--raw", "/readyz"]).map(drop)
        })?;
        self.spawn(
            "node",
            "node",
            &[
                "-kubeconfig",
                &self.text_of("kubeconfig"),
                "-state",
                &self.text_of(""),
                "-bin",
                &components::programs().display().to_string(),
                "-files",
                &components::folder().join("image").display().to_string(),
            ],
        )?;
        self.spawn(
            "kube-controller-manager",
            "kube-controller-manager",
            &[
                "--kubeconfig",
                &self.text_of("kubeconfig"),
                "--root-ca-file",
                &self.text_of("api/apiserver.crt"),
                "--service-account-private-key-file",
                &self.text_of("accounts.key"),
                "--use-service-account-credentials=true",
                "--leader-elect=false",
                // The stand-in for a node renews no lease.
                "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller",
            ],
        )?;
        self.spawn(
            "registry",
            "registry",
            &["serve", &self.text_of("registry.yaml")],
        )?;
        self.spawn(
            "private",
            "registry",
            &["serve", &self.text_of("private.yaml")],
        )?;
        self.until("the node and the accounts of its Pods", || {
            self.kubectl(&["get", "node", "node"])?;
            self.kubectl(&["get", "serviceaccount", "default"])
                .map(drop)
        })
    }

    /// Puts the image into both registries, as the documentation says but without skopeo.
    fn push(&self) -> Result<()> {
        let (user, password) = CREDENTIALS;
        let layout = root().join(image::LAYOUT).display().to_string();
        self.until("the registries", || {
            self.run("crane", &["catalog", "registry.example.com"])?;
            let login = [
                "auth",
                "login",
                "private.example.com:8443",
                "-u",
                user,
                "-p",
                password,
            ];
            self.run("crane", &login).map(drop)
        })?;
        for registry in ["registry.example.com", "private.example.com:8443"] {
            self.run(
                "crane",
                &[
                    "push",
                    &layout,
                    &format!("{registry}/you/request-id-filter:0.1.0"),
                ],
            )?;
        }
        Ok(())
    }

    /// The image's name in the registry that anyone may read.
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

    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.run("kubectl", arguments)
    }

    /// What kubectl prints as JSON.
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

    /// Waits until something holds.
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

    /// What a container has printed, of all Pods whose name begins so.
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

    /// The only ready Pod with these labels that is not being deleted.
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

/// The end of each log of the cluster that was started last.
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

fn openssl(arguments: &[&str]) -> Result<String> {
    let output = Command::new("openssl").args(arguments).output();
    let output = output.context("openssl is missing (Debian: apt-get install openssl)")?;
    printed("openssl", &output)
}
