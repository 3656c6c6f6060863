//! What `verify` says: one line an item.

use scratchproof_texts::Text;
use serde::Serialize;

/// What became of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It was checked and holds.
    Verified,
    /// It was checked and does not.
    Contradicts,
    /// It could not be checked.
    Unchecked,
}

/// One thing that was to be checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// What became of it.
    pub standing: Standing,
    /// What was checked and what came out.
    #[serde(serialize_with = "scratchproof_texts::sentence")]
    pub text: Text,
}

/// The items of one verification, in the order of checking.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Items(Vec<Item>);

impl Items {
    /// Adds what holds.
    pub fn verified(&mut self, text: Text) {
        self.0.push(Item { standing: Standing::Verified, text });
    }

    /// Adds what does not.
    pub fn contradicts(&mut self, text: Text) {
        self.0.push(Item { standing: Standing::Contradicts, text });
    }

    /// Adds what could not be checked.
    pub fn unchecked(&mut self, text: Text) {
        self.0.push(Item { standing: Standing::Unchecked, text });
    }

    /// Adds those of another verification.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Item] {
        &self.0
    }

    /// 1 if anything contradicts, else 3 if anything could not be checked, or there was nothing to check; else 0.
    #[must_use]
    pub fn status(&self) -> u8 {
        let any = |standing| self.0.iter().any(|item| item.standing == standing);
        match () {
            () if any(Standing::Contradicts) => 1,
            () if any(Standing::Unchecked) || self.0.is_empty() => 3,
            () => 0,
        }
    }
}
