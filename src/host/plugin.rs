//! One configured filter in one VM: what its streams share.

use std::cell::RefCell;

use super::metrics::Metrics;
use super::random::Random;
use crate::generate::Generator;
use crate::policy::Policy;

/// Lives as long as its last stream, also when a new configuration has taken its place.
#[derive(Default)]
pub struct Plugin {
    pub policy: Policy,
    pub ids: RefCell<Ids>,
    pub metrics: Metrics,
}

/// Where new ids come from.
#[derive(Default)]
pub struct Ids {
    pub random: Random,
    pub generator: Generator,
}
