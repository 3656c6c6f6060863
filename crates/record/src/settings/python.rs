//! Sizes in Python, parsed and never executed: constants, class fields, defaults, keyword arguments, dictionaries,
//! options of a command line.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use tree_sitter::{Node, ParseOptions, Parser, Tree};

use super::{Block, Places};

/// Expressions and blocks inside each other.
const DEPTH: usize = 64;
/// Steps of the parser's own count before a file is given up: far above any real file of a megabyte.
const PATIENCE: u32 = 200_000;

/// A syntax tree, or nothing where the parser gives up.
pub(super) fn parse(text: &[u8], language: &tree_sitter::Language) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(language).ok()?;
    let mut left = PATIENCE;
    let mut tired = |_: &tree_sitter::ParseState| {
        left = left.saturating_sub(1);
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut tired);
    parser.parse_with_options(&mut |at, _| text.get(at..).unwrap_or_default(), None, Some(options))
}

/// The blocks of a program.
pub fn read(text: &[u8]) -> Vec<Block> {
    let Some(tree) = parse(text, &tree_sitter_python::LANGUAGE.into()) else { return Vec::new() };
    let mut walk = Walk { text, places: Places::default(), frames: vec![BTreeMap::new()], path: Vec::new() };
    walk.statements(tree.root_node(), 0);
    walk.places.blocks()
}

/// Constants by name; `None` is a name whose value is not known.
type Frame = BTreeMap<String, Option<i64>>;

struct Walk<'a> {
    text: &'a [u8],
    places: Places,
    frames: Vec<Frame>,
    path: Vec<String>,
}

impl<'a> Walk<'a> {
    fn text(&self, node: Node<'_>) -> &'a str {
        std::str::from_utf8(self.text.get(node.byte_range()).unwrap_or_default()).unwrap_or_default()
    }

    fn here(&self) -> String {
        self.path.join(".")
    }

    fn known(&self, name: &str) -> Option<i64> {
        self.frames.iter().rev().find_map(|frame| frame.get(name)).copied().flatten()
    }

    fn define(&mut self, name: &str, value: Option<i64>) {
        if let Some(frame) = self.frames.last_mut() {
            frame.insert(name.to_owned(), value);
        }
    }

    /// Does something inside a named place whose own names end with it.
    fn inside(&mut self, name: &str, work: impl FnOnce(&mut Self)) -> Frame {
        self.path.push(name.chars().take(60).collect());
        self.frames.push(Frame::new());
        work(self);
        self.path.pop();
        self.frames.pop().unwrap_or_default()
    }

    /// Does something in a branch that need not be taken: what is set there is not known afterwards.
    fn branch(&mut self, name: &str, work: impl FnOnce(&mut Self)) {
        for name in self.inside(name, work).into_keys() {
            self.define(&name, None);
        }
    }

    fn statements(&mut self, node: Node<'_>, depth: usize) {
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor) {
            self.statement(child, depth);
        }
    }

    fn statement(&mut self, node: Node<'_>, depth: usize) {
        if depth > DEPTH {
            return;
        }
        match node.kind() {
            "comment" | "string" => {}
            "class_definition" | "function_definition" => {
                let name = node.child_by_field_name("name").map_or("", |name| self.text(name));
                self.inside(name, |walk| {
                    if let Some(parameters) = node.child_by_field_name("parameters") {
                        walk.parameters(parameters, depth);
                    }
                    if let Some(body) = node.child_by_field_name("body") {
                        walk.statements(body, depth + 1);
                    }
                });
            }
            "decorated_definition" => {
                if let Some(definition) = node.child_by_field_name("definition") {
                    self.statement(definition, depth + 1);
                }
            }
            "if_statement" | "elif_clause" => {
                let condition: String =
                    node.child_by_field_name("condition").map_or("", |c| self.text(c)).chars().take(40).collect();
                if let Some(body) = node.child_by_field_name("consequence") {
                    self.branch(&format!("[{condition}]"), |walk| walk.statements(body, depth + 1));
                }
                let mut cursor = node.walk();
                for other in node.children_by_field_name("alternative", &mut cursor) {
                    self.statement(other, depth + 1);
                }
            }
            "else_clause" | "finally_clause" | "except_clause" | "case_clause" | "for_statement"
            | "while_statement" => {
                let first = self.text(node).lines().next().unwrap_or_default();
                let name: String = first.trim_end_matches(':').chars().take(40).collect();
                self.branch(&format!("[{name}]"), |walk| walk.statements(node, depth + 1));
            }
            "assignment" => self.assignment(node, depth),
            "augmented_assignment" => {
                if let Some(left) = node.child_by_field_name("left") {
                    self.define(self.text(left), None);
                }
            }
            "call" | "dictionary" | "list" | "tuple" | "conditional_expression" | "await" | "keyword_argument" => {
                self.expression(node, depth);
            }
            // Blocks, modules, `with`, `try`, `return` and whatever else holds statements.
            _ => self.statements(node, depth + 1),
        }
    }

    fn parameters(&mut self, node: Node<'_>, depth: usize) {
        let mut cursor = node.walk();
        for parameter in node.named_children(&mut cursor) {
            let (Some(name), Some(value)) =
                (parameter.child_by_field_name("name"), parameter.child_by_field_name("value"))
            else {
                continue;
            };
            let value = self.value(value, depth);
            self.named(self.text(name), value, name);
        }
    }

    /// A name of the present place gets a value.
    fn named(&mut self, name: &str, value: Option<i64>, at: Node<'_>) {
        self.define(name, value);
        let here = self.here();
        self.set(&here, name, value, at);
    }

    fn set(&mut self, place: &str, name: &str, value: Option<i64>, at: Node<'_>) {
        if let (Some(value), Some(_)) = (value, super::known(name.as_bytes())) {
            let place = self.places.place(place);
            self.places.set(place, name, value, at.start_position().row as u64 + 1);
        }
    }

    fn assignment(&mut self, node: Node<'_>, depth: usize) {
        let (Some(left), Some(right)) = (node.child_by_field_name("left"), node.child_by_field_name("right")) else {
            return;
        };
        let value = self.value(right, depth);
        match left.kind() {
            "identifier" => self.named(self.text(left), value, left),
            // config.n_layer = 12
            "attribute" => {
                if let (Some(object), Some(name)) =
                    (left.child_by_field_name("object"), left.child_by_field_name("attribute"))
                {
                    let place = self.inner(self.text(object));
                    self.set(&place, self.text(name), value, left);
                }
            }
            // config["n_layer"] = 12
            "subscript" => {
                if let (Some(object), Some(key)) =
                    (left.child_by_field_name("value"), left.child_by_field_name("subscript"))
                    && let Some(name) = self.string(key)
                {
                    let place = self.inner(self.text(object));
                    self.set(&place, name, value, left);
                }
            }
            _ => {}
        }
        if value.is_none() {
            let name: String = self.text(left).chars().take(60).collect();
            self.path.push(name);
            self.expression(right, depth + 1);
            self.path.pop();
        }
    }

    fn inner(&self, name: &str) -> String {
        let here = self.here();
        let name: String = name.chars().take(60).collect();
        if here.is_empty() { name } else { format!("{here}.{name}") }
    }

    /// Looks for calls and dictionaries.
    fn expression(&mut self, node: Node<'_>, depth: usize) {
        if depth > DEPTH {
            return;
        }
        match node.kind() {
            "call" => self.call(node, depth),
            "dictionary" => self.dictionary(node, depth),
            "list" | "tuple" => {
                let mut cursor = node.walk();
                for (number, item) in node.named_children(&mut cursor).enumerate() {
                    let name = self.called(item).map_or_else(|| number.to_string(), ToOwned::to_owned);
                    self.path.push(name.chars().take(60).collect());
                    self.expression(item, depth + 1);
                    self.path.pop();
                }
            }
            "string" | "comment" | "integer" | "float" | "identifier" => {}
            "lambda" => {
                if let Some(body) = node.child_by_field_name("body") {
                    self.expression(body, depth + 1);
                }
            }
            _ => {
                let mut cursor = node.walk();
                for child in node.named_children(&mut cursor) {
                    self.expression(child, depth + 1);
                }
            }
        }
    }

    fn call(&mut self, node: Node<'_>, depth: usize) {
        let (Some(function), Some(arguments)) =
            (node.child_by_field_name("function"), node.child_by_field_name("arguments"))
        else {
            return;
        };
        let function = self.text(function);
        let last = function.rsplit('.').next().unwrap_or_default();
        if last == "add_argument" || last == "option" {
            return self.option(arguments, depth);
        }
        let unnamed = matches!(last, "dict" | "update" | "parse_args" | "DictConfig" | "OmegaConf");
        if !unnamed {
            self.path.push(last.chars().take(60).collect());
        }
        let mut place = None;
        let mut cursor = arguments.walk();
        let mut inner = Vec::new();
        for argument in arguments.named_children(&mut cursor) {
            if argument.kind() != "keyword_argument" {
                inner.push(argument);
                continue;
            }
            let (Some(name), Some(value)) =
                (argument.child_by_field_name("name"), argument.child_by_field_name("value"))
            else {
                continue;
            };
            let name = self.text(name);
            match self.value(value, depth) {
                Some(number) if super::known(name.as_bytes()).is_some() => {
                    let here = self.here();
                    let place = *place.get_or_insert_with(|| self.places.new_place(&here));
                    self.places.set(place, name, number, argument.start_position().row as u64 + 1);
                }
                Some(_) => {}
                None => inner.push(value),
            }
        }
        for argument in inner {
            self.expression(argument, depth + 1);
        }
        if !unnamed {
            self.path.pop();
        }
    }

    /// `add_argument("--n-layer", type=int, default=12)`
    fn option(&mut self, arguments: Node<'_>, depth: usize) {
        let (mut names, mut value) = (Vec::new(), None);
        let mut cursor = arguments.walk();
        for argument in arguments.named_children(&mut cursor) {
            match argument.kind() {
                "string" => names.extend(self.string(argument)),
                "keyword_argument" => {
                    let named = argument.child_by_field_name("name").map(|name| self.text(name));
                    if let (Some("default"), Some(default)) = (named, argument.child_by_field_name("value")) {
                        value = self.value(default, depth);
                    }
                }
                _ => {}
            }
        }
        let place = self.inner("options");
        for name in names {
            self.set(&place, name, value, arguments);
        }
    }

    fn dictionary(&mut self, node: Node<'_>, depth: usize) {
        let (mut place, mut inner) = (None, Vec::new());
        let mut cursor = node.walk();
        for pair in node.named_children(&mut cursor) {
            let (Some(key), Some(value)) = (pair.child_by_field_name("key"), pair.child_by_field_name("value")) else {
                continue;
            };
            let Some(name) = self.string(key) else {
                inner.push(("", value));
                continue;
            };
            match self.value(value, depth) {
                Some(number) if super::known(name.as_bytes()).is_some() => {
                    let here = self.here();
                    let place = *place.get_or_insert_with(|| self.places.new_place(&here));
                    self.places.set(place, name, number, key.start_position().row as u64 + 1);
                }
                Some(_) => {}
                None => inner.push((name, value)),
            }
        }
        for (name, value) in inner {
            self.path.push(name.chars().take(60).collect());
            self.expression(value, depth + 1);
            self.path.pop();
        }
    }

    /// The name that a dictionary or a call gives itself: `dict(name="small", ...)`.
    fn called(&self, node: Node<'_>) -> Option<&'a str> {
        let list = if node.kind() == "call" { node.child_by_field_name("arguments")? } else { node };
        let mut cursor = list.walk();
        list.named_children(&mut cursor).take(64).find_map(|entry| {
            let name = entry.child_by_field_name("name").map(|name| self.text(name));
            let key = entry.child_by_field_name("key").and_then(|key| self.string(key));
            (name.or(key) == Some("name")).then(|| self.string(entry.child_by_field_name("value")?)).flatten()
        })
    }

    /// The content of a plain string.
    fn string(&self, node: Node<'_>) -> Option<&'a str> {
        let text = (node.kind() == "string").then(|| self.text(node))?;
        let text = text.trim_start_matches(['r', 'R', 'u', 'U', 'b', 'B']);
        let quote = text.chars().next().filter(|c| *c == '"' || *c == '\'')?;
        let inner = text.trim_matches(quote);
        (!inner.contains(['\n', quote])).then_some(inner)
    }

    /// A whole number, as far as it can be told without running anything.
    fn value(&self, node: Node<'_>, depth: usize) -> Option<i64> {
        if depth > DEPTH {
            return None;
        }
        let field = |name: &str| node.child_by_field_name(name);
        match node.kind() {
            "integer" => whole(self.text(node)),
            "identifier" => self.known(self.text(node)),
            "parenthesized_expression" => self.value(node.named_child(0)?, depth + 1),
            "binary_operator" => {
                let (a, b) = (self.value(field("left")?, depth + 1)?, self.value(field("right")?, depth + 1)?);
                match self.text(field("operator")?) {
                    "+" => a.checked_add(b),
                    "-" => a.checked_sub(b),
                    "*" => a.checked_mul(b),
                    "//" => (b > 0).then(|| a.div_euclid(b)),
                    "/" => (b > 0 && a % b == 0).then(|| a / b),
                    "%" => (b > 0).then(|| a.rem_euclid(b)),
                    "**" => a.checked_pow(u32::try_from(b).ok()?),
                    "<<" => (0..=40).contains(&b).then(|| a.checked_mul(1 << b)).flatten(),
                    _ => None,
                }
            }
            // field(default=12), Field(12), int(12)
            "call" => {
                let function = self.text(field("function")?);
                let last = function.rsplit('.').next()?;
                if !matches!(last, "field" | "Field" | "int" | "Integer") {
                    return None;
                }
                let arguments = field("arguments")?;
                let mut cursor = arguments.walk();
                let mut list = arguments.named_children(&mut cursor);
                list.find_map(|argument| match argument.kind() {
                    "keyword_argument" => {
                        let name = self.text(argument.child_by_field_name("name")?);
                        let value = argument.child_by_field_name("value")?;
                        (name == "default").then(|| self.value(value, depth + 1)).flatten()
                    }
                    _ => self.value(argument, depth + 1),
                })
            }
            _ => None,
        }
    }
}

fn whole(text: &str) -> Option<i64> {
    let text = text.replace('_', "").to_ascii_lowercase();
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
