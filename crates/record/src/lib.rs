//! The record of a training: run logs, the repository, release dates, put on one clock.
//!
//! Every fact carries who vouches for it ([`Trust`]). Nothing is judged here.

pub mod accelerators;
mod console;
pub mod dated;
mod export;
pub mod git;
mod hashed;
pub mod history;
pub mod keys;
pub mod leveldb;
pub mod listed;
pub mod logs;
mod quiet;
pub mod recipe;
pub mod releases;
pub mod run;
mod scaling;
pub mod schedule;
pub mod service;
pub mod settings;
mod tensorboard;
mod trainer_state;
pub mod wandb;
mod wire;
pub mod witness;

pub use accelerators::{Accelerator, Grade as PeakGrade, accelerator};
pub use dated::{Covered, Event, Existed, Ledgered, Recomputed};
pub use export::{Loss, Losses, losses};
pub use git::{Commit, Freeze, Lookup, Repository, Stamp};
pub use history::{HISTOGRAM_NORM, History};
pub use keys::{KeyMap, Keys};
pub use leveldb::{Damage, Tail};
pub use recipe::{Decay, Optimizer};
pub use releases::{Interval, Open, Release, Trust};
pub use run::{Continues, Dated, Devices, Difference, Form, Happened, LoggedFile, Printed, Run, StepRange};
pub use schedule::{RateSum, rate_sum, rates};
pub use settings::Settings;
pub use witness::{Target, Targets, Witnessed};
