//! `make run`: the filter in front of the demo upstream, in the foreground.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::envoy::{self, Output, Process};
use crate::module;

/// Where the demo listens.
#[derive(Args)]
pub struct Ports {
    /// Port of the filter on 127.0.0.1
    #[arg(long, env = "PORT", default_value_t = 10000)]
    port: u16,
    /// Port of Envoy's admin interface on 127.0.0.1
    #[arg(long, env = "ADMIN_PORT", default_value_t = 9901)]
    admin_port: u16,
}

/// Of Envoy's own log errors alone, of the filter's what it says at the start.
pub const ARGUMENTS: [&str; 8] = [
    "--concurrency",
    "2",
    "--log-level",
    "error",
    "--component-log-level",
    "wasm:info",
    "--log-format",
    "[%l] %v",
];

/// Runs until Ctrl-C, SIGTERM, or the end of Envoy.
///
/// # Errors
/// What keeps it from running, in one line; or the status with which Envoy ended by itself.
pub fn run(ports: &Ports) -> Result<()> {
    if ports.port == ports.admin_port && ports.port != 0 {
        bail!(
            "PORT and ADMIN_PORT are both {}: choose two ports",
            ports.port
        );
    }
    require_free(ports.port, "PORT")?;
    require_free(ports.admin_port, "ADMIN_PORT")?;
    envoy::binary()?;
    let module = module::build()?;
    println!("{}", module.display());

    let config = envoy::shipped(ports.port, ports.admin_port)?;
    let (interrupt, interrupted) = channel();
    ctrlc::set_handler(move || {
        let _ = interrupt.send(());
    })?;
    let mut process = Process::start(&config, &Output::Shown, &ARGUMENTS)?;
    print!("{}", what_to_try(ports));

    loop {
        match interrupted.recv_timeout(Duration::from_millis(100)) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                process.stop();
                say_stopped();
                return Ok(());
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = process.exited()? {
            // Ctrl-C reaches Envoy as well as us, in either order.
            if interrupted.recv_timeout(Duration::from_millis(200)).is_ok() {
                say_stopped();
                return Ok(());
            }
            bail!("Envoy ended with {status}");
        }
    }
}

/// Whoever ended us may have closed our output too.
fn say_stopped() {
    let _ = writeln!(io::stdout(), "\nstopped");
}

fn require_free(port: u16, variable: &str) -> Result<()> {
    let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) else {
        return Ok(());
    };
    let why = match error.kind() {
        ErrorKind::AddrInUse => "something listens there (`ss -ltnp` names it); stop it or".into(),
        ErrorKind::PermissionDenied => "ports below 1024 are for root;".into(),
        _ => format!("{error};"),
    };
    bail!("127.0.0.1:{port} cannot be used: {why} choose another port: make run {variable}=…")
}

fn what_to_try(Ports { port, admin_port }: &Ports) -> String {
    format!(
        "
Envoy is ready: filter on 127.0.0.1:{port}, admin on 127.0.0.1:{admin_port}. Ctrl-C ends it.
The demo upstream answers with the request headers it received. Try, in another terminal:

  curl -i localhost:{port}
      no id came: a new UUID, the same upstream and in the response

  curl -i -H 'x-request-id: my-id-1' localhost:{port}
      a good id came: my-id-1, the same upstream and in the response

  curl -i -H 'x-amzn-requestid: 4B4NGF0EAWN0GE63' localhost:{port}
      only AWS named one: 37be84ba-5e55-5531-9cda-bc301b676303, derived from it

"
    )
}
