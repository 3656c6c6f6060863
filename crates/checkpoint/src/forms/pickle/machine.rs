//! Opcodes -> values.

use std::collections::HashMap;

use super::super::tape::Tape;
use super::{Arena, Global, Id, Kind, Node, Storage, View};
use crate::header::quoted;
use scratchproof_error::{Error, Result};
use scratchproof_texts::{Text, text};

/// Values, at most: the memory of one pickle stays below some hundred megabytes whatever it says.
const VALUES: usize = 1 << 22;

/// Places in containers, at most, all together.
const PLACES: usize = 1 << 23;

/// Bytes of all texts and byte strings together, at most.
const TEXT: u64 = 128 << 20;

/// Axes of a tensor, at most.
const AXES: usize = 64;

/// Whether a name is of tensors that carry a class of their own, which safetensors does not take either.
fn is_subclass(module: &str, name: &str) -> bool {
    let own = ["torchao.", "torch.distributed.tensor", "torch.distributed._tensor", "bitsandbytes."];
    name == "_rebuild_wrapper_subclass" || own.iter().any(|start| module.starts_with(start))
}

/// How a pickle is read.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::forms) struct Settings {
    /// The archive is a `TorchScript` module: classes below `__torch__` are its own.
    pub(in crate::forms) scripted: bool,
}

/// Builds the value of the pickle that begins at the tape's place; the tape is then behind it.
///
/// # Errors
/// If it asks for anything but the values of [`Node`], is cut short or damaged, or is larger than a checkpoint's can be.
pub(in crate::forms) fn run(tape: &mut Tape<'_>, arena: &mut Arena, settings: Settings) -> Result<Id> {
    let mut machine = Machine {
        arena,
        settings,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        places: 0,
        text: 0,
        storages: HashMap::new(),
    };
    loop {
        let opcode = tape.byte()?;
        if opcode == b'.' {
            return machine.pop();
        }
        machine.step(opcode, tape)?;
    }
}

struct Machine<'a> {
    arena: &'a mut Arena,
    settings: Settings,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    places: usize,
    text: u64,
    storages: HashMap<String, usize>,
}

fn damaged(what: Text) -> Error {
    Error::input(text!("error-checkpoint/machine/pickle-damaged", what))
}

impl Machine<'_> {
    fn step(&mut self, opcode: u8, tape: &mut Tape<'_>) -> Result<()> {
        match opcode {
            0x80 => self.protocol(tape.number(1)?),
            // A frame's length only helps those who read from a socket.
            0x95 => tape.number(8).map(drop),
            b'(' => self.mark(),
            b'0' => self.pop().map(drop),
            b'1' => self.popped().map(drop),
            b'2' => {
                let top =
                    *self.stack.last().ok_or_else(|| damaged(text!("error-checkpoint/machine/nothing-repeat")))?;
                self.put(top)
            }
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'J' => {
                let number = tape.number(4)?;
                self.push(Node::Int(i64::from(u32::try_from(number).unwrap_or(0).cast_signed())))
            }
            b'K' => self.whole(tape, 1),
            b'M' => self.whole(tape, 2),
            b'I' | b'L' => self.written(&tape.line()?),
            0x8a => {
                let length = tape.number(1)?;
                self.long(tape, length)
            }
            0x8b => {
                let length = tape.number(4)?;
                self.long(tape, length)
            }
            b'F' => {
                let line = tape.line()?;
                let number = line.trim().parse().map_err(|_| damaged(text!("error-checkpoint/machine/number-none")))?;
                self.push(Node::Float(number))
            }
            b'G' => self.push_float(tape.number(8)?),
            b'X' | b'T' => self.string(tape, 4, opcode == b'X'),
            0x8c | b'U' => self.string(tape, 1, opcode == 0x8c),
            0x8d => self.string(tape, 8, true),
            b'B' => self.string(tape, 4, false),
            b'C' => self.string(tape, 1, false),
            0x8e | 0x96 => self.string(tape, 8, false),
            b'V' => {
                let line = tape.line()?;
                self.count_text(line.len() as u64)?;
                self.push(Node::Text(line.into()))
            }
            b'S' => {
                let line = tape.line()?;
                self.count_text(line.len() as u64)?;
                self.push(Node::Text(line.trim_matches(['\'', '"']).into()))
            }
            b']' | 0x8f => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            _ => self.gather(opcode, tape),
        }
    }

    /// Opcodes that put values together.
    #[allow(clippy::match_same_arms, clippy::too_many_lines, reason = "one arm an opcode")]
    fn gather(&mut self, opcode: u8, tape: &mut Tape<'_>) -> Result<()> {
        match opcode {
            b'l' => {
                let items = self.popped()?;
                self.push(Node::List(items))
            }
            b't' => {
                let items = self.popped()?;
                self.push(Node::Tuple(items))
            }
            0x85..=0x87 => {
                let length = usize::from(opcode - 0x84);
                let from = self.stack.len().checked_sub(length).filter(|from| *from >= self.floor());
                let items =
                    self.stack.split_off(from.ok_or_else(|| damaged(text!("error-checkpoint/machine/tuple-nothing")))?);
                self.push(Node::Tuple(items))
            }
            b'd' => {
                let items = self.popped()?;
                let pairs = pairs(&items)?;
                self.push(Node::Dict(pairs))
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(vec![item])
            }
            b'e' | 0x90 => {
                let items = self.popped()?;
                self.extend(items)
            }
            0x91 => {
                let items = self.popped()?;
                self.push(Node::List(items))
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])
            }
            b'u' => {
                let items = self.popped()?;
                self.insert(&items)
            }
            b'p' => {
                let line = tape.line()?;
                self.remember(
                    line.trim().parse().map_err(|_| damaged(text!("error-checkpoint/machine/place-memo-no-number")))?,
                )
            }
            b'q' => self.remember(tape.number(1)?),
            b'r' => self.remember(tape.number(4)?),
            0x94 => self.remember(self.memo.len() as u64),
            b'g' => {
                let line = tape.line()?;
                self.recall(
                    line.trim().parse().map_err(|_| damaged(text!("error-checkpoint/machine/place-memo-no-number")))?,
                )
            }
            b'h' => self.recall(tape.number(1)?),
            b'j' => self.recall(tape.number(4)?),
            b'c' => {
                let (module, name) = (tape.line()?, tape.line()?);
                self.global(&module, &name)
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Text(module), Node::Text(name)) = (&self.arena.nodes[module], &self.arena.nodes[name])
                else {
                    return Err(damaged(text!("error-checkpoint/machine/name-no-text")));
                };
                let (module, name) = (module.clone(), name.clone());
                self.global(&module, &name)
            }
            b'Q' => self.storage(),
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let made = self.apply(function, arguments, false)?;
                self.put(made)
            }
            0x81 => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                let made = self.apply(class, arguments, true)?;
                self.put(made)
            }
            0x92 => {
                let (named, arguments, class) = (self.pop()?, self.pop()?, self.pop()?);
                if !matches!(&self.arena.nodes[named], Node::Dict(pairs) if pairs.is_empty()) {
                    return Err(self.refused(text!("error-checkpoint/machine/make-object-named-arguments")));
                }
                let made = self.apply(class, arguments, true)?;
                self.put(made)
            }
            b'b' => self.build(),
            b'i' => {
                let name = format!("{}.{}", tape.line()?, tape.line()?);
                self.popped()?;
                Err(self.refused(text!("error-checkpoint/machine/make-object", name = quoted(&name))))
            }
            _ => Err(self.refused(match opcode {
                b'o' => text!("error-checkpoint/machine/object"),
                0x82..=0x84 => text!("error-checkpoint/machine/extension"),
                b'P' => text!("error-checkpoint/machine/by-name"),
                0x97 | 0x98 => text!("error-checkpoint/machine/buffer"),
                _ => text!("error-checkpoint/machine/unknown", byte = format!("0x{opcode:02x}")),
            })),
        }
    }

    fn protocol(&self, version: u64) -> Result<()> {
        if version > 5 {
            return Err(self.refused(text!("error-checkpoint/machine/speak-protocol-up-known", version)));
        }
        Ok(())
    }

    /// A refusal that says what was wanted, and for which entry.
    fn refused(&self, wanted: Text) -> Error {
        let key = self.stack.iter().rev().find_map(|id| match &self.arena.nodes[*id] {
            Node::Text(text) => Some(quoted(text)),
            _ => None,
        });
        Error::input(text!("error-checkpoint/machine/pickle-wants-no-table", wanted, key))
    }

    fn push(&mut self, node: Node) -> Result<()> {
        self.places += match &node {
            Node::List(items) | Node::Tuple(items) => items.len(),
            Node::Dict(pairs) => 2 * pairs.len(),
            Node::Tensor(view) => 2 * view.shape.len(),
            _ => 0,
        };
        let id = self.make(node)?;
        self.put(id)
    }

    fn make(&mut self, node: Node) -> Result<Id> {
        if self.arena.nodes.len() >= VALUES || self.places > PLACES {
            return Err(Error::input(text!("error-checkpoint/machine/pickle-more-values-no", values = VALUES)));
        }
        self.arena.nodes.push(node);
        Ok(self.arena.nodes.len() - 1)
    }

    fn put(&mut self, id: Id) -> Result<()> {
        if self.stack.len() >= VALUES {
            return Err(Error::input(text!("error-checkpoint/machine/pickle-s-stack-deeper")));
        }
        self.stack.push(id);
        Ok(())
    }

    fn push_float(&mut self, bits: u64) -> Result<()> {
        // The one number that is written with its highest byte first.
        self.push(Node::Float(f64::from_bits(bits.swap_bytes())))
    }

    fn mark(&mut self) -> Result<()> {
        if self.marks.len() >= VALUES {
            return Err(Error::input(text!("error-checkpoint/machine/pickle-nested-more-deeply")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// What is below the last mark is not to be touched.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id> {
        if self.stack.len() <= self.floor() {
            return Err(damaged(text!("error-checkpoint/machine/stack-empty-where-value")));
        }
        self.stack.pop().ok_or_else(|| damaged(text!("error-checkpoint/machine/stack-empty-where-value")))
    }

    /// Everything above the last mark.
    fn popped(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| damaged(text!("error-checkpoint/machine/no-mark")))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn whole(&mut self, tape: &mut Tape<'_>, width: u32) -> Result<()> {
        let number = tape.number(width)?;
        self.push(Node::Int(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn written(&mut self, line: &str) -> Result<()> {
        match line.trim_end_matches('L').trim() {
            "00" => self.push(Node::Bool(false)),
            "01" => self.push(Node::Bool(true)),
            digits => match digits.parse::<i64>() {
                Ok(number) => self.push(Node::Int(number)),
                Err(_) => self.push(Node::Text(digits.into())),
            },
        }
    }

    /// A number of any size: those beyond 64 bits (seeds) are kept as bytes.
    fn long(&mut self, tape: &mut Tape<'_>, length: u64) -> Result<()> {
        self.count_text(length)?;
        let bytes = tape.take(length)?;
        if bytes.len() > 8 {
            return self.push(Node::Bytes);
        }
        let fill = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [fill; 8];
        wide[..bytes.len()].copy_from_slice(&bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)))
    }

    fn count_text(&mut self, length: u64) -> Result<()> {
        self.text = self.text.saturating_add(length);
        if self.text > TEXT {
            return Err(Error::input(text!("error-checkpoint/machine/pickle-more-bytes-text", text = TEXT)));
        }
        Ok(())
    }

    fn string(&mut self, tape: &mut Tape<'_>, width: u32, text: bool) -> Result<()> {
        let length = tape.number(width)?;
        self.count_text(length)?;
        let bytes = tape.take(length)?;
        // Protocol 2 of Python 2 writes text as byte strings: keys of old checkpoints.
        match String::from_utf8(bytes) {
            Ok(words) if text || words.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') && width != 8 => {
                self.push(Node::Text(words.into()))
            }
            Err(_) if text => Err(damaged(text!("error-checkpoint/machine/text-not-utf"))),
            _ => self.push(Node::Bytes),
        }
    }

    fn remember(&mut self, place: u64) -> Result<()> {
        let top = *self.stack.last().ok_or_else(|| damaged(text!("error-checkpoint/machine/nothing-remember")))?;
        if self.memo.len() >= VALUES {
            return Err(Error::input(text!("error-checkpoint/machine/pickle-remembers-more-checkpoint")));
        }
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u64) -> Result<()> {
        let id = *self
            .memo
            .get(&place)
            .ok_or_else(|| damaged(text!("error-checkpoint/machine/recalls-what-never-remembered")))?;
        self.put(id)
    }

    fn extend(&mut self, items: Vec<Id>) -> Result<()> {
        let target = *self.stack.last().ok_or_else(|| damaged(text!("error-checkpoint/machine/no-list-add")))?;
        self.places += items.len();
        if self.places > PLACES {
            return Err(Error::input(text!("error-checkpoint/machine/pickle-larger-lists-checkpoint")));
        }
        match &mut self.arena.nodes[target] {
            Node::List(list) => list.extend(items),
            _ => return Err(self.refused(text!("error-checkpoint/machine/add-what-not-list"))),
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Id]) -> Result<()> {
        let added = pairs(items)?;
        let target = *self.stack.last().ok_or_else(|| damaged(text!("error-checkpoint/machine/no-dict-add")))?;
        self.places += items.len();
        if self.places > PLACES {
            return Err(Error::input(text!("error-checkpoint/machine/pickle-larger-dicts-checkpoint")));
        }
        // A dict's subclass (a namespace of settings) whose items come before its fields.
        let fields = match self.arena.nodes[target] {
            Node::Dict(_) => target,
            Node::Record(Some(state)) if matches!(self.arena.nodes[state], Node::Dict(_)) => state,
            Node::Record(..) => {
                let made = self.make(Node::Dict(Vec::new()))?;
                if let Node::Record(state) = &mut self.arena.nodes[target] {
                    *state = Some(made);
                }
                made
            }
            _ => return Err(self.refused(text!("error-checkpoint/machine/set-items-what-not"))),
        };
        if let Node::Dict(dict) = &mut self.arena.nodes[fields] {
            dict.extend(added);
        }
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        match Global::of(module, name, self.settings.scripted) {
            Some(global) => self.push(Node::Global(global)),
            None if is_subclass(module, name) => {
                let name = quoted(&format!("{module}.{name}"));
                Err(Error::input(text!("error-checkpoint/machine/subclass", name)))
            }
            None => {
                Err(self.refused(text!("error-checkpoint/machine/import", name = quoted(&format!("{module}.{name}")))))
            }
        }
    }

    /// The storage that the persistent id on the stack names: ("storage", class, key, device, elements).
    fn storage(&mut self) -> Result<()> {
        let id = self.pop()?;
        let fields =
            self.arena.items(id).ok_or_else(|| damaged(text!("error-checkpoint/machine/persistent-id-no-tuple")))?;
        let field = |at: usize| fields.get(at).map(|id| &self.arena.nodes[*id]);
        let (Some(Node::Text(tag)), Some(Node::Global(Global::Storage(kind)))) = (field(0), field(1)) else {
            return Err(self.refused(text!("error-checkpoint/machine/load-something-not-storage")));
        };
        let key = match field(2) {
            Some(Node::Text(key)) => key.to_string(),
            Some(Node::Int(key)) => key.to_string(),
            _ => return Err(damaged(text!("error-checkpoint/machine/storage-no-name"))),
        };
        let elements = match field(4) {
            Some(Node::Int(elements)) => u64::try_from(*elements).ok(),
            _ => None,
        };
        let elements = elements.ok_or_else(|| damaged(text!("error-checkpoint/machine/storage-no-length")))?;
        if &**tag != "storage" {
            return Err(self.refused(text!("error-checkpoint/machine/load-something-not-storage")));
        }
        if field(5).is_some_and(|view| !matches!(view, Node::None)) {
            return Err(self.refused(text!("error-checkpoint/machine/look-part-storage-torch")));
        }
        let storage = Storage { key, kind: *kind, elements };
        let index = match self.storages.get(&storage.key) {
            Some(index) if self.arena.storages[*index] == storage => *index,
            Some(_) => {
                return Err(damaged(text!(
                    "error-checkpoint/machine/storage-two-types-or",
                    key = quoted(&storage.key)
                )));
            }
            None => {
                self.storages.insert(storage.key.clone(), self.arena.storages.len());
                self.arena.storages.push(storage);
                self.arena.storages.len() - 1
            }
        };
        self.push(Node::Storage(index))
    }

    /// What one of the known names makes of its arguments. `new` where the pickle makes an object without calling its
    /// class.
    fn apply(&mut self, function: Id, arguments: Id, new: bool) -> Result<Id> {
        let Node::Global(global) = self.arena.nodes[function].clone() else {
            return Err(self.refused(text!("error-checkpoint/machine/call-value")));
        };
        let Some(items) = self.arena.items(arguments).map(<[Id]>::to_vec) else {
            return Err(damaged(text!("error-checkpoint/machine/arguments-call-no-tuple")));
        };
        match global {
            Global::Dict => self.dict(&items),
            Global::Set | Global::Size | Global::Same => match items.first() {
                Some(first) if self.arena.items(*first).is_some() || matches!(global, Global::Same) => Ok(*first),
                None => self.make(Node::List(Vec::new())),
                _ => Err(damaged(text!("error-checkpoint/machine/size-no-list"))),
            },
            Global::Tensor => self.tensor(&items, None, None),
            Global::TypedTensor => {
                let kind = match items.get(6).map(|id| &self.arena.nodes[*id]) {
                    Some(Node::Global(Global::Format(kind))) => *kind,
                    _ => return Err(damaged(text!("error-checkpoint/machine/tensor-does-not-say"))),
                };
                self.tensor(&items, Some(kind), None)
            }
            Global::Quantised => {
                let how = items
                    .get(4)
                    .copied()
                    .ok_or_else(|| damaged(text!("error-checkpoint/machine/quantised-tensor-no-scale")))?;
                self.tensor(&items, None, Some(how))
            }
            Global::Absent(why) => self.make(Node::Absent(why)),
            Global::Parameter => match items.first() {
                Some(id) if matches!(self.arena.nodes[*id], Node::Tensor(_) | Node::Absent(_)) => Ok(*id),
                _ => Err(damaged(text!("error-checkpoint/machine/parameter-holds-no-tensor"))),
            },
            Global::FromType => match items[..] {
                [inner, _, arguments, ..]
                    if matches!(
                        self.arena.nodes[inner],
                        Node::Global(
                            Global::Tensor
                                | Global::TypedTensor
                                | Global::Quantised
                                | Global::Parameter
                                | Global::Absent(_)
                        )
                    ) =>
                {
                    self.apply(inner, arguments, false)
                }
                _ => Err(self.refused(text!("error-checkpoint/machine/rebuild-tensor-other-means"))),
            },
            Global::Latin1 => match items.first().map(|id| &self.arena.nodes[*id]) {
                Some(Node::Text(text)) => {
                    if text.chars().any(|character| u8::try_from(u32::from(character)).is_err()) {
                        return Err(damaged(text!("error-checkpoint/machine/bytes-none")));
                    }
                    self.make(Node::Bytes)
                }
                _ => Err(damaged(text!("error-checkpoint/machine/bytes-none"))),
            },
            Global::Reconstruct => match items.first().map(|id| self.arena.nodes[*id].clone()) {
                Some(Node::Global(Global::Record)) => self.make(Node::Record(None)),
                Some(Node::Global(Global::Dict)) => self.make(Node::Dict(Vec::new())),
                _ => Err(self.refused(text!("error-checkpoint/machine/make-object-unknown-class"))),
            },
            Global::Record => {
                let state = (!items.is_empty()).then_some(arguments);
                self.make(Node::Record(state))
            }
            Global::Foreign(class) if new && items.is_empty() => self.foreign(class),
            Global::Foreign(class) => Err(self.refused(text!("error-checkpoint/machine/call", class = quoted(&class)))),
            Global::Storage(_) | Global::Format(_) => {
                Err(self.refused(text!("error-checkpoint/machine/make-storage-own")))
            }
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "the name comes from an opcode and goes nowhere else")]
    fn foreign(&mut self, class: Box<str>) -> Result<Id> {
        if self.arena.foreign.len() < 64 && !self.arena.foreign.iter().any(|known| **known == *class) {
            self.arena.foreign.push(class.to_string());
        }
        self.make(Node::Record(None))
    }

    /// A dict of a list of pairs; what a `defaultdict` makes of missing keys is dropped.
    fn dict(&mut self, items: &[Id]) -> Result<Id> {
        let mut found = Vec::new();
        if items.iter().any(|id| matches!(self.arena.nodes[*id], Node::Global(Global::Foreign(_)))) {
            return Err(self.refused(text!("error-checkpoint/machine/make-missing-keys-class")));
        }
        for pair in items.iter().rev().find_map(|id| self.arena.items(*id)).into_iter().flatten() {
            match self.arena.items(*pair) {
                Some([key, value]) => found.push((*key, *value)),
                _ => return Err(damaged(text!("error-checkpoint/machine/dict-made-what-no"))),
            }
        }
        self.places += 2 * found.len();
        self.make(Node::Dict(found))
    }

    fn tensor(&mut self, items: &[Id], kind: Option<Kind>, quantised: Option<Id>) -> Result<Id> {
        let node = |at: usize| items.get(at).map(|id| &self.arena.nodes[*id]);
        let Some(Node::Storage(storage)) = node(0) else {
            return Err(damaged(text!("error-checkpoint/machine/tensor-no-storage")));
        };
        let Some(Node::Int(offset)) = node(1) else {
            return Err(damaged(text!("error-checkpoint/machine/tensor-no-place-storage")));
        };
        let offset = u64::try_from(*offset)
            .map_err(|_| damaged(text!("error-checkpoint/machine/tensor-begins-before-storage")))?;
        let shape = items.get(2).and_then(|id| self.arena.sizes(*id));
        let strides = items.get(3).and_then(|id| self.arena.sizes(*id));
        let (Some(shape), Some(strides)) = (shape, strides) else {
            return Err(damaged(text!("error-checkpoint/machine/tensor-s-shape-or")));
        };
        if shape.len() != strides.len() || shape.len() > AXES {
            return Err(damaged(text!("error-checkpoint/machine/tensor-s-shape-strides")));
        }
        let typed = kind.is_some();
        let kind = kind.unwrap_or(self.arena.storages[*storage].kind);
        // The arguments end with what is to be done to the numbers: bits for the conjugate and the negative.
        let plain = if typed { 7 } else { 6 };
        let turned = quantised.is_none() && matches!(node(plain), Some(Node::Dict(pairs)) if !pairs.is_empty());
        let view = View { storage: *storage, kind, offset, shape, strides, quantised, turned };
        self.places += 2 * view.shape.len();
        self.make(Node::Tensor(view))
    }

    /// The state of the object on the stack. A dict's attributes are dropped, a tensor has none.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let target = *self.stack.last().ok_or_else(|| damaged(text!("error-checkpoint/machine/no-object-fill")))?;
        match &mut self.arena.nodes[target] {
            Node::Record(fields) => *fields = Some(state),
            Node::Dict(_) | Node::Tensor(_) | Node::Absent(_) => {}
            _ => return Err(self.refused(text!("error-checkpoint/machine/set-state-value"))),
        }
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(damaged(text!("error-checkpoint/machine/key-no-value")));
    }
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}
