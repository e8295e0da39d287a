//! The filter in a real Envoy, in the configuration that the project ships.

mod client;
mod counters;
mod echo;
mod hops;
mod hostile;
mod log;
mod memory;
mod peers;
mod protocols;
mod replies;
mod second_run;
mod soak;
mod stage;
mod table;
mod tracing;
mod trap;
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
    trials.extend(tracing::trials());
    let untraced = [
        protocols::TESTS,
        peers::TESTS,
        replies::TESTS,
        log::TESTS,
        updates::TESTS,
        counters::TESTS,
        hops::TESTS,
        second_run::TESTS,
        memory::TESTS,
        hostile::TESTS,
        trap::TESTS,
        soak::TESTS,
    ];
    for (name, test) in untraced.concat() {
        let shared = Arc::clone(&shared);
        trials.push(Trial::test(name, move || {
            let stage = shared.traced(None)?;
            stage.settle();
            test(stage);
            Ok(())
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(shared); // ends Envoy, which exiting would not
    conclusion.exit_code()
}
