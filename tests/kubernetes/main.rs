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
mod load;
mod monitoring;
mod namespace;
mod proxy_config;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use cluster::Cluster;
use libtest_mimic::{Arguments, Failed, Trial};
use xtask::image;

/// A test: its name and what it does.
pub type Test = (&'static str, fn(&World) -> Result<()>);

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

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !namespace::is_inside() && !arguments.list {
        let entered = components::check_tools()
            .and_then(|()| components::build())
            .and_then(|()| image::make(&image::Source::default()))
            .and_then(|()| namespace::enter());
        if let Err(error) = entered {
            eprintln!("error: {error:#}");
        }
        return ExitCode::FAILURE;
    }
    // The first process of a namespace has to say itself that it ends.
    let handled = ctrlc::set_handler(|| std::process::exit(130));
    handled.expect("no other handler of signals");

    // One test at a time: they share the cluster.
    arguments.test_threads = Some(1);
    let world = Arc::new(World::default());
    let tests = [
        admission::TESTS,
        istio::TESTS,
        envoy_gateway::TESTS,
        commands::TESTS,
        monitoring::TESTS,
    ]
    .concat();
    let trials = tests.into_iter().map(|(name, test)| {
        let world = Arc::clone(&world);
        Trial::test(name, move || {
            let done = test(&world);
            done.map_err(|error| Failed::from(format!("{error:#}\n{}", cluster::logs())))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(world);
    conclusion.exit_code()
}
