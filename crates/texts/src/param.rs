//! What is filled into a text.

use serde::{Deserialize, Serialize};

use crate::Text;

/// A value with its type: how it is written is the entry's business.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum Param {
    Flag(bool),
    /// How many.
    Count(u64),
    /// A step or another number that may be negative.
    Integer(i64),
    /// A measured figure. One that is not finite is null in JSON.
    Number(f64),
    /// A name of a model, a tensor, a file.
    Word(String),
    List(Vec<Param>),
    /// A part of a sentence that has an entry of its own.
    Text(Box<Text>),
    /// Nothing: entries ask `is none`.
    None,
}

macro_rules! from {
    ($($kind:ty => $make:expr,)*) => {
        $(impl From<$kind> for Param { fn from(value: $kind) -> Self { let make: fn($kind) -> Self = $make; make(value) } })*
    };
}

from! {
    bool => Param::Flag,
    u8 => |n| Param::Count(n.into()),
    u32 => |n| Param::Count(n.into()),
    u64 => Param::Count,
    usize => |n| Param::Count(n as u64),
    i32 => |n| Param::from(i64::from(n)),
    i64 => |n| u64::try_from(n).map_or(Param::Integer(n), Param::Count),
    f32 => |x| Param::Number(x.into()),
    f64 => Param::Number,
    &str => |s| Param::Word(s.to_owned()),
    &String => |s| Param::Word(s.clone()),
    String => Param::Word,
    &&str => |s| Param::Word((*s).to_owned()),
    &usize => |n| Param::from(*n),
    &u64 => |n| Param::from(*n),
    &u32 => |n| Param::from(*n),
    &u8 => |n| Param::from(*n),
    &i64 => |n| Param::from(*n),
    u16 => |n| Param::Count(n.into()),
    std::path::Display<'_> => |path| Param::Word(path.to_string()),
    Text => |t| Param::Text(Box::new(t)),
}

impl<T: Into<Param>> From<Vec<T>> for Param {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Clone + Into<Param>> From<&[T]> for Param {
    fn from(values: &[T]) -> Self {
        Self::List(values.iter().cloned().map(Into::into).collect())
    }
}

impl<T: Into<Param>> From<Option<T>> for Param {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
