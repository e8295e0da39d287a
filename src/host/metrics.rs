//! The counters in the host.

use std::cell::Cell;

use super::abi::{self, Refused};
use crate::stats::Counter;

/// The counters of one plugin in one VM. What is counted is handed to the host by [`Self::flush`],
/// and at the latest when the plugin and its last stream are gone.
#[derive(Default)]
pub struct Metrics {
    counts: [Cell<i64>; Counter::ALL.len()],
    /// What the host calls them; nothing where it has none.
    ids: Option<[u32; Counter::ALL.len()]>,
}

impl Metrics {
    /// Defines the counters. Legal from `on_vm_start` on.
    ///
    /// # Errors
    /// The status of a host that has no metrics.
    pub fn define(&mut self) -> Result<(), Refused> {
        let mut ids = [0; Counter::ALL.len()];
        for (id, (_, name)) in ids.iter_mut().zip(Counter::ALL) {
            *id = abi::define_counter(name)?;
        }
        self.ids = Some(ids);
        Ok(())
    }

    pub fn add(&self, counter: Counter) {
        if let Some(count) = self.counts.get(counter as usize) {
            count.set(count.get().saturating_add(1));
        }
    }

    pub fn flush(&self) {
        for (id, count) in self.ids.iter().flatten().zip(&self.counts) {
            if let count @ 1.. = count.take() {
                abi::increment(*id, count);
            }
        }
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.flush();
    }
}
