//! The filter in a real Envoy, in the configuration that the project ships.

mod counters;
mod echo;
mod hops;
mod hostile;
mod log;
mod protocols;
mod replies;
mod second_run;
mod soak;
mod table;
mod testbed;
mod tracing;
mod trap;
mod updates;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use testbed::SharedTestbeds;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One request at a time: what Envoy logs then belongs to that request.
    arguments.test_threads = Some(1);
    let shared = Arc::new(SharedTestbeds::default());
    let mut trials = table::trials(&shared);
    let tests = [
        protocols::TESTS,
        replies::TESTS,
        log::TESTS,
        updates::TESTS,
        counters::TESTS,
        hops::TESTS,
        second_run::TESTS,
        hostile::TESTS,
        trap::TESTS,
        soak::TESTS,
        tracing::decisions::TESTS,
        tracing::proportions::TESTS,
        tracing::one_id::TESTS,
        tracing::provisional_id::TESTS,
    ];
    for (name, test) in tests.concat() {
        let shared = Arc::clone(&shared);
        let name = name.trim_start_matches("envoy::");
        trials.push(Trial::test(name, move || {
            let testbed = shared.get(None)?;
            testbed.settle();
            test(testbed);
            Ok(())
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(shared); // ends Envoy, which exiting would not
    conclusion.exit_code()
}
