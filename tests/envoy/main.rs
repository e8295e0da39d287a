//! The filter in a real Envoy, in the configuration that the project ships.

#[path = "../cases/mod.rs"]
mod cases;
mod client;
mod log;
mod peers;
mod protocols;
mod replies;
mod stage;
mod table;
mod updates;
mod upstream;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use stage::Shared;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One request at a time: what Envoy logs then belongs to that request.
    arguments.test_threads = Some(1);
    let shared = Arc::new(Shared::default());
    let mut trials = table::trials(&shared);
    for (name, test) in [
        protocols::TESTS,
        peers::TESTS,
        replies::TESTS,
        log::TESTS,
        updates::TESTS,
    ]
    .concat()
    {
        let shared = Arc::clone(&shared);
        trials.push(Trial::test(name, move || {
            test(shared.stage()?);
            Ok(())
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(shared); // ends Envoy, which exiting would not
    conclusion.exit_code()
}
