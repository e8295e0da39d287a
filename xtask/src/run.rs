//! `make run`: Envoy with the filter in front of a demo upstream, in the foreground.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::envoy::{self, Output, Process};
use crate::module;

/// The ports of the demo.
#[derive(Args)]
pub struct Ports {
    /// Port of the listener with the filter, on 127.0.0.1
    #[arg(long, env = "PORT", default_value_t = 10000)]
    port: u16,
    /// Port of Envoy's admin interface, on 127.0.0.1
    #[arg(long, env = "ADMIN_PORT", default_value_t = 9901)]
    admin_port: u16,
}

/// Envoy's arguments: two workers, and a log with Envoy's errors and the filter's messages.
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

/// Runs the demo until Ctrl-C, SIGTERM, or the end of Envoy.
///
/// # Errors
/// Returns an error if the demo cannot run, or if Envoy ends by itself.
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
            // Ctrl-C reaches both Envoy and this process; Envoy may have been faster.
            if interrupted.recv_timeout(Duration::from_millis(200)).is_ok() {
                say_stopped();
                return Ok(());
            }
            bail!("Envoy ended with {status}");
        }
    }
}

/// Prints that the demo has stopped, unless the output is closed already.
fn say_stopped() {
    let _ = writeln!(io::stdout(), "\nstopped");
}

/// Checks that a port is free, which `variable` chose.
fn require_free(port: u16, variable: &str) -> Result<()> {
    let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) else {
        return Ok(());
    };
    let why = match error.kind() {
        ErrorKind::AddrInUse => {
            "another program listens there (`ss -ltnp` shows which); stop it or".into()
        }
        ErrorKind::PermissionDenied => "only root may use ports below 1024;".into(),
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
      The request has no id, so the filter generates a UUID. The upstream and you see the same one.

  curl -i -H 'x-request-id: my-id-1' localhost:{port}
      The request has a valid id, so the filter keeps it: my-id-1.

  curl -i -H 'x-amzn-requestid: 4B4NGF0EAWN0GE63' localhost:{port}
      The request has only an id from AWS. The filter uses 37be84ba-5e55-5531-9cda-bc301b676303,
      the UUID derived from it.

"
    )
}
