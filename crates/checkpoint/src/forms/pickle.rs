//! The closed machine for pickles: it builds dicts, lists, tuples, strings, numbers, tensors and a few named records, and
//! has no way to call, import or look up anything else. What it does not know is named and refused.
//!
//! Opcodes: `Lib/pickletools.py` of CPython, protocols 0 to 5. Values live in one arena, so that shared and cyclic ones cost
//! nothing to hold or to drop; nothing here recurses.

mod globals;
mod machine;
mod tree;

use crate::Dtype;

pub(super) use globals::Global;
pub(super) use machine::{Settings, run};

/// Where a value is in the arena.
pub(super) type Id = usize;

/// Values of a pickle.
#[derive(Debug, Default)]
pub(super) struct Arena {
    pub(super) nodes: Vec<Node>,
    /// Storages by the order in which they are first named.
    pub(super) storages: Vec<Storage>,
    /// Objects whose fields are kept as data although their class is no trainer's: said to the user.
    pub(super) foreign: Vec<String>,
}

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    /// A byte string, or a number beyond 64 bits. What is in it matters to nobody.
    Bytes,
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A name that may stand in a checkpoint.
    Global(Global),
    /// Index into the storages.
    Storage(usize),
    Tensor(View),
    /// A tensor that is not read, and why.
    Absent(&'static str),
    /// Fields of an object, as data: its state (a dict, a tuple, or the arguments it was made with).
    Record(Option<Id>),
}

/// The numbers that tensors look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// Its name in the archive.
    pub(super) key: String,
    /// Its elements.
    pub(super) kind: Kind,
    /// How many, or bytes where the storage has no type.
    pub(super) elements: u64,
}

/// What a storage's elements are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Numbers(Dtype),
    /// Bytes whose type the tensor names.
    Untyped,
    /// A type that is named and not read: name, bytes of an element.
    Other(&'static str, usize),
}

impl Kind {
    pub(super) fn width(self) -> usize {
        match self {
            Self::Numbers(dtype) => dtype.width(),
            Self::Untyped => 1,
            Self::Other(_, width) => width,
        }
    }
}

/// A tensor: a view of a storage.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Index into the storages.
    pub(super) storage: usize,
    pub(super) kind: Kind,
    /// First element, counted from the beginning of the storage.
    pub(super) offset: u64,
    pub(super) shape: Vec<usize>,
    /// Elements from one to the next, of each axis.
    pub(super) strides: Vec<usize>,
    /// Scale and zero point, or a tensor of each and the axis.
    pub(super) quantised: Option<Id>,
    /// Whether torch is to negate or conjugate the stored numbers.
    pub(super) turned: bool,
}
