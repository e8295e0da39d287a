//! Requests that go on while something changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use crate::http::Response;

/// How many requests each thread sends at least.
const LEAST: usize = 50;

/// Two threads that send one request after the other.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Load {
    pub fn start(send: impl Fn() -> Result<Response> + Clone + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..2)
            .map(|_| {
                let (send, stop) = (send.clone(), Arc::clone(&stop));
                thread::spawn(move || {
                    let mut sent = 0;
                    while !stop.load(Ordering::Relaxed) || sent < LEAST {
                        send()?.same_id()?;
                        sent += 1;
                    }
                    Ok(())
                })
            })
            .collect();
        Self { stop, threads }
    }

    /// Ends the load. Each request has to have been answered with 200 and one id up and down.
    pub fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().ok().context("a thread panicked")??;
        }
        Ok(())
    }
}
