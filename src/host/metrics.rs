//! The counters in the host.

use std::cell::RefCell;

use super::abi::{self, Refused};
use crate::stats::{Counter, Counts};

/// The counters of one plugin in one VM. What is counted is handed to the host by [`Self::flush`],
/// and at the latest when the plugin and its last stream are gone.
#[derive(Default)]
pub struct Metrics {
    counts: RefCell<Counts>,
    ids: [Option<u32>; Counter::ALL.len()],
}

impl Metrics {
    /// Defines the counters. Legal from `on_vm_start` on.
    ///
    /// # Errors
    /// The status of a host that has no metrics.
    pub fn define(&mut self) -> Result<(), Refused> {
        for (id, (_, name)) in self.ids.iter_mut().zip(Counter::ALL) {
            *id = Some(abi::define_counter(name)?);
        }
        Ok(())
    }

    pub fn add(&self, counter: Counter) {
        if let Ok(mut counts) = self.counts.try_borrow_mut() {
            counts.add(counter);
        }
    }

    pub fn flush(&self) {
        let Ok(mut counts) = self.counts.try_borrow_mut() else {
            return;
        };
        for (id, count) in self.ids.iter().zip(counts.take()) {
            if let (Some(id), 1..) = (id, count) {
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
