//! Reading that must end: libgit2 (1.9) turns in a circle on a loose object whose compressed bytes are cut off.

use std::fmt::Display;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};

/// What is being read, and how many things were before it.
#[derive(Default)]
pub struct Pulse(Mutex<(u64, String)>);

impl Pulse {
    /// Says which object is read next.
    pub fn beat(&self, kind: &str, id: impl Display) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = (now.0 + 1, format!("{kind} {id}"));
    }

    fn now(&self) -> (u64, String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs `work` on a thread of its own and gives it up when it reads one object for longer than `patience`. A thread
/// cannot be stopped from outside: one that was given up turns on until the process ends.
///
/// # Errors
/// Those of the work, and one that names the object that was being read.
pub fn run<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce(&Pulse) -> Result<T> + Send + 'static,
) -> Result<T> {
    let pulse = Arc::new(Pulse::default());
    let (send, receive) = channel();
    let theirs = Arc::clone(&pulse);
    let started = thread::Builder::new().name("git".into()).spawn(move || {
        // Nobody listens any more after the work was given up.
        let _ = send.send(work(&theirs));
    });
    started.map_err(|error| Error::io("no thread could be started to read the repository", error))?;
    let mut before = pulse.now();
    loop {
        match receive.recv_timeout(patience) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::input(format!("reading the {} broke off", pulse.now().1)));
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = pulse.now();
                if now == before {
                    let what = now.1;
                    return Err(Error::input(format!("the {what} is missing or damaged: reading it does not end")));
                }
                before = now;
            }
        }
    }
}
