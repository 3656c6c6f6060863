//! Reading that must end. What is known not to (a loose object that is cut off) is refused before libgit2 sees it; this is for
//! what is not known.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// What every thread is reading, and how many things it read before.
#[derive(Default)]
pub struct Pulse(Mutex<HashMap<ThreadId, (u64, String)>>);

impl Pulse {
    /// Says which object this thread reads next.
    pub fn beat(&self, kind: &str, id: impl Display) {
        let what = format!("{kind} {id}");
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = now.entry(thread::current().id()).or_default();
        *slot = (slot.0 + 1, what);
    }

    /// Says that this thread reads nothing.
    pub fn rest(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&thread::current().id());
    }

    fn now(&self) -> HashMap<ThreadId, (u64, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runs `work` on a thread of its own and gives it up when one of its threads reads one object for longer than
/// `patience`. A thread cannot be stopped from outside: one that was given up turns on until the process ends.
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
    let started = thread::Builder::new().name("git".into()).stack_size(16 << 20).spawn(move || {
        // Nobody listens any more after the work was given up.
        let _ = send.send(work(&theirs));
    });
    started.map_err(|error| Error::io(text!("error-record/watch/no-thread-could-started"), error))?;
    let mut before = pulse.now();
    loop {
        match receive.recv_timeout(patience) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::input(text!("error-record/watch/reading-repository-broke-off")));
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = pulse.now();
                let mut stuck: Vec<&String> = Vec::new();
                stuck.extend(now.iter().filter(|(id, slot)| before.get(id) == Some(slot)).map(|(_, slot)| &slot.1));
                if let Some(what) = stuck.iter().min() {
                    return Err(Error::input(text!(
                        "error-record/watch/missing-or-damaged-reading",
                        what = what.as_str()
                    )));
                }
                before = now;
            }
        }
    }
}
