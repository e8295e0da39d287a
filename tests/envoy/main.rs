//! The filter in a real Envoy, in the configuration that the project ships.

mod counters;
mod echo;
mod hops;
mod hostile;
mod istio;
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
use testbed::{Shared, Testbed};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // One request at a time: what Envoy logs then belongs to that request.
    arguments.test_threads = Some(1);
    let shared = Arc::new(Shared::default());
    let mut trials = table::trials(&shared);
    let untraced = [
        protocols::TESTS,
        replies::TESTS,
        log::TESTS,
        updates::TESTS,
        counters::TESTS,
        hops::TESTS,
        second_run::TESTS,
        istio::TESTS,
        hostile::TESTS,
        trap::TESTS,
        soak::TESTS,
    ];
    let traced: [(_, _, fn(&Testbed)); 2] = [
        (
            "tracing: at 100 % every new id is sampled",
            Some(100),
            tracing::all_are_sampled,
        ),
        (
            "tracing: at 50 % about half of the new ids are",
            Some(50),
            tracing::half_are_sampled,
        ),
    ];
    let untraced = untraced
        .concat()
        .into_iter()
        .map(|(name, test)| (name, None, test));
    for (name, sampling, test) in untraced.chain(traced) {
        let shared = Arc::clone(&shared);
        trials.push(Trial::test(name, move || {
            let testbed = shared.traced(sampling)?;
            testbed.settle();
            test(testbed);
            Ok(())
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(shared); // ends Envoy, which exiting would not
    conclusion.exit_code()
}
