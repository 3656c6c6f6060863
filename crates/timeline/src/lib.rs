//! What the record says, on one clock: events, what must come before what, the register of releases, the story.
//!
//! Nothing is read here and nothing is judged.

pub mod events;
pub mod order;
pub mod register;
pub mod story;

pub use events::Record;
pub use order::{Bound, Clock, Contradiction, Moment, Orders};
pub use register::{Held, Register, Relation, Shape};
pub use story::{Saved, Sources, Story};
