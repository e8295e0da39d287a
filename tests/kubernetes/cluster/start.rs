//! How the cluster is started: its files, its programs, and the image in its registries.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use xtask::{image, root};

use super::{CREDENTIALS, Cluster, NODE, printed};
use crate::components::{self, write};
use crate::namespace;

/// The same as the registry reads it, with a hash of bcrypt.
const HTPASSWD: &str = "you:$2b$04$EgiOhkJPh9HJvXrEG90q4Oeade90zjfxZ1Lalopoed5xsW1mJzZ3O\n";

impl Cluster {
    pub(super) fn write_files(&self) -> Result<()> {
        let hosts =
            format!("127.0.0.1 localhost\n{NODE} registry.example.com private.example.com\n");
        write(&self.path("hosts"), hosts.as_bytes())?;
        namespace::put(&self.path("hosts"), Path::new("/etc/hosts"))?;
        // The documented commands edit the manifests, so they get a copy.
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
        self.openssl("genpkey -algorithm RSA -out accounts.key")?;
        // This certificate signs itself. Images trust it and no other.
        self.openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=registry \
             -addext subjectAltName=DNS:registry.example.com,DNS:private.example.com \
             -keyout registry.key -out registry.crt",
        )?;
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

    pub(super) fn start_programs(&mut self) -> Result<()> {
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
                // The API server calls webhooks at their Pods, because there is no kube-proxy.
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
                // Our node renews no lease, for which these would evict its Pods.
                "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller",
            ],
        )?;
        for name in ["registry", "private"] {
            let config = self.text_of(&format!("{name}.yaml"));
            self.spawn(name, "registry", &["serve", &config])?;
        }
        self.until("the node and the accounts of its Pods", || {
            self.kubectl(&["get", "node", "node"])?;
            self.kubectl(&["get", "serviceaccount", "default"])
                .map(drop)
        })
    }

    /// Pushes the image to both registries.
    pub(super) fn push(&self) -> Result<()> {
        let (user, password) = CREDENTIALS;
        let layout = root().join(image::LAYOUT).display().to_string();
        self.until("the registries", || {
            self.run("crane", &["catalog", "registry.example.com"])?;
            self.run_line(&format!(
                "crane auth login private.example.com:8443 -u {user} -p {password}"
            ))
            .map(drop)
        })?;
        for registry in ["registry.example.com", "private.example.com:8443"] {
            let name = format!("{registry}/you/request-id-filter:0.1.0");
            self.run("crane", &["push", &layout, &name])?;
        }
        Ok(())
    }

    /// Runs openssl in the folder of the cluster, with words that contain no blanks.
    fn openssl(&self, arguments: &str) -> Result<String> {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(&self.folder)
            .output();
        let output = output.context("openssl is missing (Debian: apt-get install openssl)")?;
        printed("openssl", &output)
    }
}
