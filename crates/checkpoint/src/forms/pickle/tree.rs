//! Looking at the values of a pickle.

use serde_json::{Map, Number, Value};

use super::{Arena, Id, Node, View};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// How deeply a checkpoint is nested, at most.
const DEPTH: usize = 128;

/// Values that are looked at on one walk, at most: shared values count as often as they are met.
const STEPS: usize = 1 << 22;

/// Values of settings, at most.
const SETTINGS: usize = 1 << 14;

impl Arena {
    pub(in crate::forms) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    /// A value as the only entry of a dict.
    pub(in crate::forms) fn under(&mut self, name: &str, id: Id) -> Id {
        self.nodes.push(Node::Text(name.into()));
        self.nodes.push(Node::Dict(vec![(self.nodes.len() - 1, id)]));
        self.nodes.len() - 1
    }

    /// The items of a list or tuple.
    pub(in crate::forms) fn items(&self, id: Id) -> Option<&[Id]> {
        match &self.nodes[id] {
            Node::List(items) | Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a dict, or of the fields of a record.
    pub(in crate::forms) fn pairs(&self, id: Id) -> Option<&[(Id, Id)]> {
        match &self.nodes[id] {
            Node::Dict(pairs) => Some(pairs),
            Node::Record(Some(state)) => match &self.nodes[*state] {
                Node::Dict(pairs) => Some(pairs),
                _ => None,
            },
            _ => None,
        }
    }

    /// A key as text: numbers are keys of optimizer states.
    pub(in crate::forms) fn key(&self, id: Id) -> Option<String> {
        match &self.nodes[id] {
            Node::Text(text) => Some(text.to_string()),
            Node::Int(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The value of a dict's key; the last one where it is there twice, as Python has it.
    pub(in crate::forms) fn get(&self, id: Id, name: &str) -> Option<Id> {
        let found = self.pairs(id)?.iter().rev();
        found
            .into_iter()
            .find(|(key, _)| matches!(&self.nodes[*key], Node::Text(text) if **text == *name))
            .map(|(_, value)| *value)
    }

    pub(in crate::forms) fn text(&self, id: Id) -> Option<&str> {
        match &self.nodes[id] {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(in crate::forms) fn whole(&self, id: Id) -> Option<i64> {
        match &self.nodes[id] {
            Node::Int(number) => Some(*number),
            Node::Bool(truth) => Some(i64::from(*truth)),
            _ => None,
        }
    }

    /// A number.
    pub(in crate::forms) fn float(&self, id: Id) -> Option<f64> {
        match &self.nodes[id] {
            Node::Float(number) => Some(*number),
            Node::Int(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// Whole numbers from 0, as shapes and strides are; of a torch.Size too.
    pub(in crate::forms) fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        self.items(id)?.iter().map(|id| usize::try_from(self.whole(*id)?).ok()).collect()
    }

    /// Whether there are arrays of `NumPy`, whose state is a version, a shape, a type, an order and the bytes.
    pub(in crate::forms) fn has_arrays(&self) -> bool {
        let array = |state: &Id| match self.items(*state) {
            Some([_, shape, _, _, bytes]) => {
                self.sizes(*shape).is_some()
                    && matches!(self.nodes[*bytes], Node::Bytes | Node::Text(_) | Node::List(_))
            }
            _ => false,
        };
        self.nodes.iter().any(|node| matches!(node, Node::Record(Some(state)) if array(state)))
    }

    pub(in crate::forms) fn view(&self, id: Id) -> Option<&View> {
        match &self.nodes[id] {
            Node::Tensor(view) => Some(view),
            _ => None,
        }
    }

    /// All tensors below a value with their paths joined by dots, in the writer's order. `enter` says whether to go into
    /// an entry of a dict, by its path.
    ///
    /// # Errors
    /// If the value is nested more deeply, or is larger, than a checkpoint can be.
    pub(in crate::forms) fn tensors(&self, root: Id, enter: &dyn Fn(&str) -> bool) -> Result<Vec<(String, Id)>> {
        let mut found = Vec::new();
        let mut steps = 0;
        // Each with what is left to do: a walk without recursion, in order.
        let mut todo: Vec<(String, Id, usize)> = vec![(String::new(), root, 0)];
        while let Some((path, id, depth)) = todo.pop() {
            steps += 1;
            if depth > DEPTH || steps > STEPS || path.len() > 4096 {
                return Err(Error::input(text!("error-checkpoint/tree/pickle-nested-more-deeply")));
            }
            let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            match &self.nodes[id] {
                Node::Tensor(_) | Node::Absent(_) => found.push((path, id)),
                Node::List(items) | Node::Tuple(items) => {
                    let below =
                        items.iter().enumerate().rev().map(|(at, item)| (join(&at.to_string()), *item, depth + 1));
                    todo.extend(below);
                }
                Node::Record(Some(state)) => todo.push((path, *state, depth + 1)),
                Node::Dict(pairs) => {
                    for (key, value) in pairs.iter().rev() {
                        let scalar = matches!(
                            self.nodes[*value],
                            Node::None | Node::Bool(_) | Node::Int(_) | Node::Float(_) | Node::Text(_) | Node::Bytes
                        );
                        let path = self.key(*key).map(|key| join(&key));
                        if let Some(path) = path.filter(|path| !scalar && enter(path)) {
                            todo.push((path, *value, depth + 1));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Settings as JSON: plain values only, others as null.
    pub(in crate::forms) fn settings(&self, root: Id) -> Value {
        let mut left = SETTINGS;
        self.json(root, &mut left, 0)
    }

    fn json(&self, id: Id, left: &mut usize, depth: usize) -> Value {
        if *left == 0 || depth > 16 {
            return Value::Null;
        }
        *left -= 1;
        match &self.nodes[id] {
            Node::Bool(truth) => Value::Bool(*truth),
            Node::Int(number) => Value::from(*number),
            Node::Float(number) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
            Node::Text(text) if text.len() <= 4096 => Value::from(&**text),
            Node::List(items) | Node::Tuple(items) => {
                Value::Array(items.iter().map(|item| self.json(*item, left, depth + 1)).collect())
            }
            Node::Dict(_) | Node::Record(..) => {
                let mut map = Map::new();
                for (key, value) in self.pairs(id).unwrap_or_default() {
                    if let Some(key) = self.key(*key) {
                        map.insert(key, self.json(*value, left, depth + 1));
                    }
                }
                Value::Object(map)
            }
            _ => Value::Null,
        }
    }
}
