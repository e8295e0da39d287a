//! The manifests and the documentation under real control planes: a Kubernetes API server, Istio and
//! Envoy Gateway. README.md beside this file says what is real and what stands in for something.

mod admission;
mod cluster;
mod commands;
mod components;
mod envoy_gateway;
mod envoy_gateway_policies;
mod http;
mod istio;
mod istio_bases;
mod istio_changes;
mod killed;
mod load;
mod monitoring;
mod namespace;
mod proxy_config;

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use cluster::Cluster;
use libtest_mimic::{Arguments, Failed, Trial};
use namespace::Stage;
use xtask::image;

/// A test: its name and what it does.
pub type Test = (&'static str, fn(&World) -> Result<()>);

/// Makes `TESTS` of functions, under the names that cargo gives to tests.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        pub const TESTS: &[$crate::Test] =
            &[$((concat!(module_path!(), "::", stringify!($test)), $test)),*];
    };
}
pub(crate) use tests;

/// The cluster and what is installed in it, each when a test first needs it.
#[derive(Default)]
pub struct World {
    cluster: OnceLock<Result<Cluster, String>>,
    istio: OnceLock<Result<istio::Istio, String>>,
    envoy_gateway: OnceLock<Result<envoy_gateway::EnvoyGateway, String>>,
}

impl World {
    pub fn cluster(&self) -> Result<&Cluster> {
        once(&self.cluster, Cluster::start)
    }

    /// The cluster, with Istio in it.
    pub fn with_istio(&self) -> Result<&Cluster> {
        let cluster = self.cluster()?;
        once(&self.istio, || istio::Istio::install(cluster))?;
        Ok(cluster)
    }

    pub fn envoy_gateway(&self) -> Result<&envoy_gateway::EnvoyGateway> {
        once(&self.envoy_gateway, || {
            envoy_gateway::EnvoyGateway::install(self.cluster()?)
        })
    }
}

fn once<T>(cell: &OnceLock<Result<T, String>>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    let made = cell.get_or_init(|| make().map_err(|error| format!("{error:#}")));
    made.as_ref()
        .map_err(|error| anyhow::anyhow!(error.clone()))
}

/// Builds everything that the tests run, and goes on to them.
fn build() -> Result<Infallible> {
    namespace::end_on_signals();
    killed::hang_if_told(Stage::Build)?;
    if !killed::is_to_hang() {
        components::build()?;
        image::make(&image::Source::default())?;
    }
    namespace::leave_network()
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let stage = namespace::stage();
    let next = match stage {
        _ if arguments.list => None,
        Stage::Outside => Some(components::check_tools().and_then(|()| namespace::enter())),
        Stage::Build => Some(build()),
        Stage::Test => None,
    };
    if let Some(Err(error)) = next {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    if stage == Stage::Test {
        namespace::end_on_signals();
        if let Err(error) = killed::hang_if_told(stage) {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    }

    // One test at a time: they share the cluster.
    arguments.test_threads = Some(1);
    let world = Arc::new(World::default());
    let tests = [
        killed::TESTS,
        admission::TESTS,
        istio::TESTS,
        istio_bases::TESTS,
        istio_changes::TESTS,
        envoy_gateway::TESTS,
        envoy_gateway_policies::TESTS,
        commands::TESTS,
        monitoring::TESTS,
    ]
    .concat();
    let trials = tests.into_iter().map(|(name, test)| {
        let world = Arc::clone(&world);
        Trial::test(name.trim_start_matches("kubernetes::"), move || {
            let done = test(&world);
            done.map_err(|error| {
                let logs = match world.cluster.get() {
                    Some(_) => cluster::logs(),
                    None => String::new(),
                };
                Failed::from(format!("{error:#}\n{logs}"))
            })
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(world);
    conclusion.exit_code()
}
