//! The record of a training: run logs, the repository, release dates, put on one clock.
//!
//! Every fact carries who vouches for it ([`Trust`]). Nothing is judged here.

pub mod accelerators;
mod console;
pub mod events;
mod export;
pub mod git;
mod hashed;
pub mod history;
pub mod keys;
pub mod leveldb;
pub mod listed;
pub mod logs;
pub mod order;
pub mod recipe;
pub mod register;
pub mod releases;
pub mod run;
pub mod schedule;
pub mod service;
pub mod settings;
pub mod story;
mod tensorboard;
mod trainer_state;
pub mod wandb;
mod wire;
pub mod witness;

pub use accelerators::{Accelerator, Grade as PeakGrade, accelerator};
pub use events::{Event, Record};
pub use git::{Commit, Freeze, Lookup, Repository, Stamp};
pub use history::{HISTOGRAM_NORM, History};
pub use keys::{KeyMap, Keys};
pub use leveldb::{Damage, Tail};
pub use order::{Bound, Clock, Contradiction, Moment, Orders};
pub use recipe::{Decay, Optimizer};
pub use register::{Held, Register, Relation, Shape};
pub use releases::{Interval, Open, Release, Trust};
pub use run::{Continues, Dated, Devices, Difference, Form, Happened, LoggedFile, Printed, Run, StepRange};
pub use schedule::{RateSum, rate_sum, rates};
pub use settings::Settings;
pub use story::{Covered, Existed, Saved, Sources, Story};
pub use witness::{Target, Targets, Witnessed};
