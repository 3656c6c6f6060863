//! The record of a training: run logs, the repository, release dates, put on one clock.
//!
//! Every fact carries who vouches for it ([`Trust`]). Nothing is judged here.

pub mod accelerators;
pub mod events;
pub mod git;
pub mod keys;
pub mod leveldb;
pub mod order;
pub mod recipe;
pub mod releases;
pub mod run;
pub mod schedule;
pub mod service;
pub mod settings;
pub mod story;
pub mod wandb;

pub use accelerators::{Accelerator, accelerator};
pub use events::{Event, Record};
pub use git::{Commit, Freeze, Lookup, Repository, Stamp};
pub use keys::{KeyMap, Keys};
pub use leveldb::{Damage, Tail};
pub use order::{Bound, Clock, Contradiction, Moment, Orders};
pub use recipe::{Decay, Optimizer};
pub use releases::{Interval, Release, Trust};
pub use run::{Continues, Dated, Devices, Form, Happened, History, LoggedFile, Printed, Run, StepRange};
pub use schedule::{RateSum, rate_sum, rates};
pub use settings::Settings;
pub use story::{Covered, Existed, Saved, Sources, Story};
