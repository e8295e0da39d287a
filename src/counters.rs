//! The counters of one plugin in one VM.
//!
//! Counts are added up here and passed to the host from time to time, because a host call for every
//! request would make every request more expensive.

use std::cell::Cell;

use request_id_rules::counters::Counter;

use crate::host_calls::{self, Refused};

/// The counts that the host does not have yet. They reach the host with [`Self::flush`], and at the
/// latest when the plugin and its last stream are gone.
#[derive(Default)]
pub struct Counters {
    counts: [Cell<i64>; Counter::ALL.len()],
    /// The host's ids of the counters; `None` if it has no metrics.
    ids: Option<[u32; Counter::ALL.len()]>,
}

impl Counters {
    /// Defines the counters. The host allows that from `on_vm_start` on.
    ///
    /// # Errors
    /// Returns the status of a host that has no metrics.
    pub fn define(&mut self) -> Result<(), Refused> {
        let mut ids = [0; Counter::ALL.len()];
        for (id, (_, name)) in ids.iter_mut().zip(Counter::ALL) {
            *id = host_calls::define_counter(name)?;
        }
        self.ids = Some(ids);
        Ok(())
    }

    /// Adds one to a counter.
    pub fn increment(&self, counter: Counter) {
        if let Some(count) = self.counts.get(counter as usize) {
            count.set(count.get().saturating_add(1));
        }
    }

    /// Passes the counts to the host.
    pub fn flush(&self) {
        for (id, count) in self.ids.iter().flatten().zip(&self.counts) {
            if let count @ 1.. = count.take() {
                host_calls::increment_counter(*id, count);
            }
        }
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.flush();
    }
}
