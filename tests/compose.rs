//! `envoy/docker-compose.yaml` without Docker: the text of the file, and a real Envoy that runs its command with its
//! files.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use compose_spec::Compose;
use serde_json::{Map, Value, json};
use test_support::client::{Connection, Response};
use test_support::project;
use test_support::upstream::free_ports;
use xtask::{envoy, module, root, run};

const FILE: &str = "envoy/docker-compose.yaml";

/// The file with the variables that Compose would set. The specification of Compose allows all of it.
fn file() -> Value {
    let text = project::text(FILE);
    let text = text
        .replace(
            "${ENVOY_VERSION:?is in envoy/versions.env}",
            envoy::pinned(),
        )
        .replace("${PORT:-10000}", "10000")
        .replace("${ADMIN_PORT:-9901}", "9901");
    assert!(!text.contains("${"), "unknown variables:\n{text}");
    let compose: Value = serde_saphyr::from_str(&text).expect("the text is valid YAML");
    if let Err(error) = serde_json::from_value::<Compose>(compose.clone()) {
        panic!("{FILE} is no Compose file: {error}");
    }
    compose
}

/// The only service.
fn service() -> Value {
    let services = file()["services"].take();
    assert_eq!(services.as_object().map(Map::len), Some(1), "{services}");
    services["envoy"].clone()
}

/// A file of the host and where the container has it.
fn mounts(service: &Value) -> Vec<(PathBuf, PathBuf)> {
    let volumes = service["volumes"]
        .as_array()
        .expect("the service has volumes");
    let mount = |volume: &Value| {
        assert_eq!(volume["type"], "bind");
        assert_eq!(volume["read_only"], true, "{volume}");
        // Or Docker makes a directory of a module that was not built.
        assert_eq!(volume["bind"]["create_host_path"], false, "{volume}");
        let path = |key: &str| PathBuf::from(volume[key].as_str().expect("the value is a path"));
        (root().join("envoy").join(path("source")), path("target"))
    };
    volumes.iter().map(mount).collect()
}

#[test]
fn the_image_is_of_the_pinned_version() {
    let image = format!("docker.io/envoyproxy/envoy:v{}", envoy::pinned());
    assert_eq!(service()["image"], image);
    // Compose reads `.env` beside its file.
    let version = format!("ENVOY_VERSION={}", envoy::pinned());
    let env = project::text("envoy/.env");
    assert!(env.lines().any(|line| line == version), "{env}");
}

/// In another folder called `envoy` there may be another project.
#[test]
fn it_has_a_name_of_its_own() {
    assert_eq!(file()["name"], "request-id-filter");
}

#[test]
fn only_the_host_itself_reaches_it() {
    let network = &file()["networks"]["default"]["driver_opts"];
    assert_eq!(network["com.docker.network.bridge.enable_icc"], "false");
    let ports = json!(["127.0.0.1:10000:10000", "127.0.0.1:9901:9901"]);
    assert_eq!(service()["ports"], ports);
}

/// Returns the command of the service, which the image's entrypoint runs as it is.
fn command(service: &Value) -> Command {
    let words = service["command"]
        .as_array()
        .expect("there is a command")
        .iter();
    let words = words.map(|word| word.as_str().expect("a word is a text").replace("$$", "$"));
    let words: Vec<_> = words.collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Returns `PATH` with another folder before the others.
fn path_with(folder: &Path) -> String {
    let path = std::env::var("PATH").expect("PATH is set");
    format!("{}:{path}", folder.display())
}

/// Ends what it started.
struct Container {
    child: Child,
    files: tempfile::TempDir,
}

impl Container {
    fn log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the command as the image's entrypoint does, in a folder with the mounted files alone.
fn start(service: &Value, port: u16, admin_port: u16) -> Container {
    let files = tempfile::tempdir().expect("a temporary folder can be made");
    let inside = |path: &Path| {
        files
            .path()
            .join(path.strip_prefix("/").expect("the path is absolute"))
    };
    for (source, target) in mounts(service) {
        let target = inside(&target);
        fs::create_dir_all(target.parent().expect("the path has a parent"))
            .expect("the folder can be made");
        fs::copy(&source, &target).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        if target.extension().is_some_and(|kind| kind == "yaml") {
            let config = fs::read_to_string(&target).expect("the configuration can be read");
            let config = config
                .replace("port_value: 10000", &format!("port_value: {port}"))
                .replace("port_value: 9901", &format!("port_value: {admin_port}"));
            fs::write(&target, config).expect("the file can be written");
        }
    }
    let envoy = envoy::binary().expect("Envoy can be installed");
    symlink(envoy, files.path().join("envoy")).expect("the link can be made");
    let working_dir = service["working_dir"]
        .as_str()
        .expect("the value is a path");
    let log = fs::File::create(files.path().join("log")).expect("the log can be written");
    let child = command(service)
        .current_dir(inside(Path::new(working_dir)))
        .env("PATH", path_with(files.path()))
        .stdout(log.try_clone().expect("the log can be written"))
        .stderr(log)
        .spawn()
        .expect("sh is missing");
    Container { child, files }
}

fn get(port: u16, path: &str, line: &str) -> Response {
    let mut connection = Connection::open(port);
    connection.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n{line}\r\n\r\n").as_bytes());
    connection.receive()
}

#[test]
fn it_behaves_as_make_run_does() {
    module::build().expect("the module can be built");
    let [port, admin_port] = free_ports();
    let service = service();
    let mut container = start(&service, port, admin_port);
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let ended = container
            .child
            .try_wait()
            .expect("the process can be asked");
        assert_eq!(ended, None, "Envoy ended: {}", container.log());
        let is_in_time = started.elapsed() < Duration::from_secs(60);
        assert!(is_in_time, "Envoy is not ready: {}", container.log());
        thread::sleep(Duration::from_millis(20));
    }

    let response = get(port, "/", "x-amzn-requestid: 4B4NGF0EAWN0GE63");
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.id(), "37be84ba-5e55-5531-9cda-bc301b676303");
    let upstream: Value = serde_json::from_slice(&response.body).expect("the text is valid JSON");
    assert_eq!(upstream["x-request-id"], response.id());

    // From outside a container nothing reaches its 127.0.0.1.
    let listeners = get(admin_port, "/listeners?format=json", "connection: close");
    let listeners = String::from_utf8_lossy(&listeners.body).into_owned();
    assert!(
        listeners.contains(r#""address": "0.0.0.0""#) && !listeners.contains("127.0.0.1"),
        "{listeners}"
    );
    let command = service["command"].as_array().expect("there is a command");
    let arguments = [&envoy::COMMON_ARGUMENTS[..], &run::ARGUMENTS].concat();
    assert_eq!(command[command.len() - arguments.len()..], arguments);
}

/// As where the checkout was made with umask 077.
#[test]
fn a_file_that_envoy_cannot_read_is_named() {
    let empty = tempfile::tempdir().expect("a temporary folder can be made");
    let output = command(&service())
        .current_dir(&empty)
        .output()
        .expect("sh is missing");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let remedy = "cannot read envoy/envoy.yaml: chmod a+r envoy/envoy.yaml";
    let is_as_expected = error.starts_with("error: Envoy (uid ") && error.contains(remedy);
    assert!(is_as_expected, "{error}");
}

/// Runs `make run-docker` with a `docker` that only notes its arguments, and ends with a line of shell. Returns
/// what is printed, and the arguments of each call.
fn make_run_docker(last_line: &str) -> (Output, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (docker, asked) = (folder.path().join("docker"), folder.path().join("asked"));
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {}\n{last_line}\n",
        asked.display()
    );
    fs::write(&docker, script).expect("the file can be written");
    fs::set_permissions(&docker, fs::Permissions::from_mode(0o755))
        .expect("the script can be made executable");
    let output = project::command("make")
        .arg("run-docker")
        .env("PATH", path_with(folder.path()))
        .output()
        .expect("make is missing: apt-get install make");
    (
        output,
        fs::read_to_string(asked).expect("docker was called"),
    )
}

/// Ctrl-C makes `docker compose up` end with status 130, once it has stopped the container.
#[test]
fn make_run_docker_builds_starts_and_removes_it_and_reports_errors() {
    for (status, is_error) in [(0, false), (130, false), (1, true)] {
        let up = format!("case $* in *up) exit {status};; esac");
        let (output, asked) = make_run_docker(&up);
        assert_eq!(output.status.success(), !is_error, "{output:?}");
        let calls =
            format!("compose version\ncompose --file {FILE} up\ncompose --file {FILE} down\n");
        assert_eq!(asked, calls);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(printed.contains(module::PATH), "{printed}");
    }
}

#[test]
fn without_docker_make_run_docker_says_what_to_do() {
    let (output, asked) = make_run_docker("false");
    assert!(!output.status.success());
    assert_eq!(asked, "compose version\n");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.starts_with("error: docker compose is missing: install Docker"),
        "{error}"
    );
}
