"""Mutation testing of the judging rooms, all mutants in one build: what a test would not notice.

mutants.py [ROOM...]: finding and stats, or the rooms that are named (folders of crates/). Needs tree-sitter and tree-sitter-rust
(`pip install tree-sitter tree-sitter-rust`).

Every place below is written so that an environment variable chooses between what stands there and what a mistake would have put
there; the rooms' unit tests are built once and run once a mutant, in a process of its own. A mutant survives when all of them pass:
  edge       a < b to a <= b, and so on: the very value of a threshold
  turned     a < b to a >= b, a == b to a != b, matches!(..) and !a turned
  joined     && and || exchanged
  sum        + and - exchanged, * and / exchanged, -a to a
  higher, lower   a field of the policy, a named number, or a number that something is compared with, times 1.25 and times 0.8 (at
             least one more or less where it is a whole number)
  grade      one grade up, one down; direction   Against, For and Neutral exchanged; condition   Holds, Fails and Untested exchanged
  most       max and min exchanged;  each    any and all exchanged
  answer     a function answers true, false, None, 0, or nothing
What does not compile is left out. What no test reaches is not run. Writes reliability/mutants.csv, one line a survivor, and the table
of docs/reliability.md; where rooms are named, or MUTANTS_ONLY (a regular expression over file names) is set, prints what was not
killed and writes neither. MUTANTS_JOBS processes at once, 2.
"""

import collections
import concurrent.futures
import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import tree_sitter
import tree_sitter_rust

LONG = 1500
FAST = 0.15
LIMIT = 60.0
ROOT = pathlib.Path(__file__).resolve().parent.parent
PLACE = ROOT / "target" / "mutants"
TREE = PLACE / "tree"
EDGE = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
TURNED = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
SUM = {"+": "-", "-": "+", "*": "/", "/": "*"}
JOINED = {"&&": "||", "||": "&&"}
OTHERS = {
    "Direction": ("direction", ["Against", "For", "Neutral"]),
    "Condition": ("condition", ["Holds", "Fails", "Untested"]),
    "ComponentOutcome": ("condition", ["Independent", "Derived", "Undetermined"]),
    "Outcome": ("condition", ["Confirmed", "Refuted", "Inconclusive"]),
}
GRADES = ["Context", "Weak", "Moderate", "Strong", "Conclusive"]
PAIRS = {"max": ("most", "min"), "min": ("most", "max"), "any": ("each", "all"), "all": ("each", "any")}
ANSWERS = [
    (r"bool$", ["true", "false"]),
    (r"Option<", ["None"]),
    (r"Vec<|BTreeMap<|BTreeSet<|HashMap<", ["Default::default()"]),
    (r"(f64|u64|usize|i64|u32)$", ["Default::default()"]),
]

# What a room is given: which mutant is chosen, which are asked for, and numbers a little higher or lower.
SWITCH = """//! Chooses a mutant.
#![allow(missing_docs, clippy::pedantic, clippy::unwrap_used)]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
static CHOSEN: OnceLock<u32> = OnceLock::new();
static LIST: OnceLock<Option<std::sync::Mutex<std::fs::File>>> = OnceLock::new();
static ASKED: [AtomicBool; 60_000] = [const { AtomicBool::new(false) }; 60_000];
pub fn on(id: u32) -> bool {
    if let Some(file) = LIST.get_or_init(|| {
        std::env::var_os("MUTANTS_REACHED").map(|path| {
            std::sync::Mutex::new(std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap())
        })
    }) && !ASKED[id as usize].swap(true, Ordering::Relaxed)
    {
        use std::io::Write;
        writeln!(file.lock().unwrap(), "{id}").unwrap();
    }
    *CHOSEN.get_or_init(|| std::env::var("MUTANT").ok().and_then(|id| id.parse().ok()).unwrap_or(0)) == id
}
pub trait Scale: Copy {
    fn higher(self) -> Self;
    fn lower(self) -> Self;
}
impl Scale for f64 {
    fn higher(self) -> Self { self + 0.25 * self.abs() }
    fn lower(self) -> Self { self - 0.2 * self.abs() }
}
macro_rules! whole { ($($of:ty)*) => { $(impl Scale for $of {
    fn higher(self) -> Self { self + (self / 4).max(1) }
    fn lower(self) -> Self { self - (self / 5).max(1).min(self) }
})* } }
whole!(u32 u64 usize i64 i32);
impl Scale for f32 {
    fn higher(self) -> Self { self + 0.25 * self.abs() }
    fn lower(self) -> Self { self - 0.2 * self.abs() }
}
"""


class File:
    """One file's mutants, written into it."""

    def __init__(self, room: str, path: str, first: int, dropped: set[tuple[str, int, str]]) -> None:
        self.path, self.next, self.dropped = path, first, dropped
        self.source = (ROOT / path).read_bytes()
        self.mutants: list[dict[str, object]] = []
        tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language())).parse(self.source)
        self.consts = set(re.findall(rb"(?:const|static) ([A-Z][A-Z0-9_]*): (?:f64|u64|usize|i64|u32|i32|f32)\b", self.source))
        self.room = room
        self.written = self.write(tree.root_node, False)

    def text(self, node: tree_sitter.Node) -> bytes:
        return self.source[node.start_byte : node.end_byte]

    def new(self, node: tree_sitter.Node, kind: str, becomes: str) -> int:
        """The number of a mutant, or 0 where it did not compile."""
        key = (self.path, node.start_byte, kind + becomes)
        number = self.next
        self.next += 1
        if key in self.dropped or number in self.dropped:
            return 0
        line = node.start_point[0] + 1
        was = " ".join(self.text(node).decode().split())
        self.mutants.append(
            {"id": number, "file": self.path, "line": line, "kind": kind, "was": was[:100], "becomes": becomes, "key": key}
        )
        return number

    def choose(self, node: tree_sitter.Node, plain: bytes, others: list[tuple[str, str, bytes]]) -> bytes:
        """What stands there, or one of the others: each is written once more, so that long texts are left as they are."""
        out = b""
        for kind, becomes, other in others:
            if len(other) > LONG:
                continue
            number = self.new(node, kind, becomes)
            if number:
                out += b"if crate::mutant::on(%d) { %s } else " % (number, other)
        return b"(" + out + b"{ " + plain + b" })" if out else plain

    def turned(self, node: tree_sitter.Node, plain: bytes, becomes: str) -> bytes:
        number = self.new(node, "turned", becomes)
        return b"(crate::mutant::on(%d) != (%s))" % (number, plain) if number else plain

    def inner(self, node: tree_sitter.Node, still: bool) -> bytes:
        """The node's text with its children written."""
        out, at = b"", node.start_byte
        for child in node.children:
            out += self.source[at : child.start_byte] + self.write(child, still)
            at = child.end_byte
        return out + self.source[at : node.end_byte]

    def write(self, node: tree_sitter.Node, still: bool) -> bytes:
        kind = node.type
        if kind in ("attribute_item", "inner_attribute_item", "line_comment", "block_comment", "use_declaration", "token_tree"):
            return self.text(node)
        if kind == "mod_item" and node.child_by_field_name("body"):
            return self.text(node)
        if kind in ("const_item", "static_item", "array_type", "type_item", "struct_item", "enum_item", "match_pattern", "trait_item"):
            if kind != "match_pattern":
                return self.text(node)
            guard = node.child_by_field_name("condition")
            if guard is None:
                return self.text(node)
            return self.source[node.start_byte : guard.start_byte] + self.write(guard, still)
        if kind.endswith("_pattern") or kind in ("let_condition",) and still:
            return self.text(node)
        if kind == "let_condition":
            value = node.child_by_field_name("value")
            return self.source[node.start_byte : value.start_byte] + self.inner(value, still)
        if kind == "function_item":
            return self.function(node)
        if kind == "let_declaration":
            out, at = b"", node.start_byte
            for field in ("value", "alternative"):
                child = node.child_by_field_name(field)
                if child:
                    out += self.source[at : child.start_byte] + self.write(child, still)
                    at = child.end_byte
            return out + self.source[at : node.end_byte]
        if kind == "binary_expression":
            return self.binary(node, still)
        if kind == "unary_expression":
            operator = self.text(node.children[0])
            inner = self.write(node.children[1], still)
            if operator == b"!":
                return self.turned(node, b"!" + inner, "")
            if operator == b"-" and node.children[1].type not in ("float_literal", "integer_literal"):
                return self.choose(node, b"-" + inner, [("sum", "", inner)])
            return operator + inner
        if kind == "macro_invocation":
            text = self.text(node)
            if text.startswith(b"matches!"):
                return self.turned(node, text, "!")
            return text
        if kind == "field_expression":
            text = self.inner(node, still)
            if re.fullmatch(rb"(self\.)?policy\.[a-z_0-9]+", self.text(node)) and node.parent.type != "call_expression":
                if not self.text(node).endswith((b".requires", b".profile", b".version")):
                    return self.scaled(node, text)
            return text
        if kind == "identifier" and self.text(node) in self.consts and node.parent.type != "scoped_identifier":
            return self.scaled(node, self.text(node))
        if kind == "scoped_identifier":
            return self.variant(node)
        if kind == "call_expression":
            called = node.child_by_field_name("function")
            if called.type == "field_expression":
                name = self.text(called.child_by_field_name("field")).decode()
                if name in PAIRS:
                    what, other = PAIRS[name]
                    value = self.write(called.child_by_field_name("value"), still)
                    arguments = self.write(node.child_by_field_name("arguments"), still)
                    # Written twice, each with its own numbers asked: only one of the two runs.
                    plain = value + b"." + name.encode() + arguments
                    if arguments != b"()":
                        return self.choose(node, plain, [(what, other, value + b"." + other.encode() + arguments)])
                    return plain
        return self.inner(node, still)

    def scaled(self, node: tree_sitter.Node, text: bytes) -> bytes:
        return self.choose(
            node,
            text,
            [
                ("higher", "", b"crate::mutant::Scale::higher(%s)" % text),
                ("lower", "", b"crate::mutant::Scale::lower(%s)" % text),
            ],
        )

    def variant(self, node: tree_sitter.Node) -> bytes:
        text = self.text(node).decode()
        enum, _, name = text.partition("::")
        if enum == "Grade" and name in GRADES:
            at = GRADES.index(name)
            near = [GRADES[i] for i in (at - 1, at + 1) if 0 <= i < len(GRADES)]
            return self.choose(node, text.encode(), [("grade", n, f"Grade::{n}".encode()) for n in near])
        if enum in OTHERS and name in OTHERS[enum][1]:
            kind, names = OTHERS[enum]
            return self.choose(node, text.encode(), [(kind, n, f"{enum}::{n}".encode()) for n in names if n != name])
        return text.encode()

    def binary(self, node: tree_sitter.Node, still: bool) -> bytes:
        left, middle, right = node.child_by_field_name("left"), node.child_by_field_name("operator"), node.child_by_field_name("right")
        operator = self.text(middle).decode()
        if left is None or right is None:
            return self.inner(node, still)
        compares = operator in TURNED
        a, b = (self.operand(side, still, compares) for side in (left, right))
        # A cast before `<` would read as a generic argument.
        if left.type == "type_cast_expression":
            a = b"(" + a + b")"
        plain = b"%s %s %s" % (a, operator.encode(), b)

        def with_operator(other: str) -> bytes:
            return b"%s %s %s" % (a, other.encode(), b)

        if compares:
            written = plain
            if operator in EDGE:
                written = self.choose(node, plain, [("edge", EDGE[operator], with_operator(EDGE[operator]))])
            return self.turned(node, written, TURNED[operator])
        if operator in JOINED:
            # a && b is `if a { b } else { false }`, a || b is `if !a { b } else { true }`.
            number = self.new(node, "joined", JOINED[operator])
            if not number:
                return plain
            on = b"crate::mutant::on(%d)" % number
            if operator == "&&":
                return b"(if (%s) != %s { %s } else { %s })" % (a, on, b, on)
            return b"(if (%s) == %s { %s } else { !%s })" % (a, on, b, on)
        if operator in SUM:
            return self.choose(node, plain, [("sum", SUM[operator], with_operator(SUM[operator]))])
        return plain

    def operand(self, node: tree_sitter.Node, still: bool, compares: bool) -> bytes:
        text = self.text(node)
        if compares and node.type in ("float_literal", "integer_literal") and not re.fullmatch(rb"0(\.0)?(_?[a-z0-9]+)?", text):
            suffixed = text
            if node.type == "float_literal" and not text.endswith((b"f64", b"f32")):
                suffixed = text + b"_f64"
            return self.scaled(node, suffixed)
        return self.write(node, still)

    def function(self, node: tree_sitter.Node) -> bytes:
        body = node.child_by_field_name("body")
        head = self.source[node.start_byte : body.start_byte]
        if b"const fn" in head.split(b"(")[0]:
            return self.text(node)
        back = node.child_by_field_name("return_type")
        answers: list[str] = [""] if back is None else []
        if back is not None:
            name = self.text(back).decode()
            for pattern, values in ANSWERS:
                if re.match(pattern, name):
                    answers = values
                    break
        written = self.inner(body, False)
        out = b""
        for answer in answers:
            number = self.new(node, "answer", answer or "()")
            if number:
                out += b" if crate::mutant::on(%d) { return %s; }" % (number, answer.encode())
        return head + b"{" + out + written[1:]


def make(room: str, dropped: set[object]) -> list[dict[str, object]]:
    """Writes the room's files into the tree, with every mutant that is not dropped."""
    mutants: list[dict[str, object]] = []
    source = ROOT / "crates" / room / "src"
    number = 1
    for path in sorted(source.rglob("*.rs")):
        if path.name in ("tests.rs", "code.rs", "test_support.rs"):
            continue
        relative = str(path.relative_to(ROOT))
        file = File(room, relative, number, dropped)
        number = file.next
        written = file.written
        if path == source / "lib.rs":
            written = written.replace(b"\nuse ", b"\nmod mutant;\nuse ", 1) if b"\nuse " in written else written + b"\nmod mutant;\n"
        (TREE / relative).write_bytes(written)
        mutants += file.mutants
    (TREE / "crates" / room / "src" / "mutant.rs").write_text(SWITCH)
    return mutants


def needs(rooms: list[str]) -> list[str]:
    """The rooms and those below them."""
    found: list[str] = []
    todo = list(rooms)
    while todo:
        room = todo.pop()
        if room not in found:
            found.append(room)
            todo += re.findall(r"^scratchproof-([a-z-]+)", (ROOT / "crates" / room / "Cargo.toml").read_text(), re.M)
    return sorted(found)


def copy(rooms: list[str]) -> None:
    """The rooms and what they need, elsewhere; beside them an empty program that asks for the same dependencies, so that those are
    built as they are for everything else."""
    shutil.rmtree(TREE, ignore_errors=True)
    kept = needs(rooms)
    for room in kept:
        shutil.copytree(ROOT / "crates" / room, TREE / "crates" / room)
    for name in ("data", "docs", "fixtures", "profiles", "tests"):
        (TREE / name).symlink_to(ROOT / name)
    (TREE / "src").mkdir()
    (TREE / "src" / "lib.rs").write_text("//! Nothing.\n")
    shutil.copyfile(ROOT / "Cargo.lock", TREE / "Cargo.lock")
    text = (ROOT / "Cargo.toml").read_text()
    head, _, rest = text.partition("\n[dependencies]\n")
    _, _, profiles = rest.partition("\n# One profile")
    outside = [n for n in re.findall(r"^([a-z0-9_-]+) = ", head.partition("[workspace.dependencies]")[2].partition("\n[")[0], re.M) if not n.startswith("scratchproof-")]
    outside = [n for n in outside if re.search(rf"^{n}.workspace = true", rest, re.M) or any(
        re.search(rf"^{n}(.workspace)? = ", path.read_text(), re.M) for path in (ROOT / "crates").glob("*/Cargo.toml"))]
    asked = "".join(f"{n}.workspace = true\n" for n in outside)
    head = head.replace('members = ["crates/*"]', "members = [" + ", ".join(f'"crates/{room}"' for room in kept) + "]")
    head = head.replace('default-members = [".", "crates/*"]\n', "").replace("[package]\n", "[package]\nautotests = false\nautobenches = false\nautoexamples = false\n")
    (TREE / "Cargo.toml").write_text(head + "\n[dependencies]\n" + asked + "\n# One profile" + profiles)


def build(room: str) -> tuple[pathlib.Path, list[dict[str, object]]]:
    """The room's unit tests with all mutants that compile; what does not is dropped by the place of the message."""
    dropped: set[object] = set()
    while True:
        mutants = make(room, dropped)
        command = ["cargo", "test", "--release", "--offline", "--package=scratchproof", f"--package=scratchproof-{room}", "--lib", "--no-run", "--message-format=json"]
        environment = os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target")}
        done = subprocess.run(command, cwd=TREE, capture_output=True, text=True, env=environment)
        failed: set[object] = set()
        program = None
        for line in done.stdout.splitlines():
            message = json.loads(line)
            if message["reason"] == "compiler-artifact" and message.get("executable") and message["target"]["name"] == f"scratchproof_{room}":
                program = pathlib.Path(message["executable"])
            if message["reason"] == "compiler-message" and message["message"]["level"] == "error":
                for span in message["message"]["spans"]:
                    failed |= near(TREE / span["file_name"], span["byte_start"], span["byte_end"])
                    if not span["is_primary"]:
                        continue
        if done.returncode == 0 and program:
            print(f"{room}: {len(mutants)} mutants, {len(dropped)} did not compile", file=sys.stderr)
            return program, mutants
        if not failed - dropped:
            sys.exit(done.stderr[-4000:] + "\n".join(l for l in done.stdout.splitlines() if '"error"' in l)[:3000])
        print(f"{room}: {len(failed - dropped)} do not compile", file=sys.stderr)
        dropped |= failed


def near(path: pathlib.Path, start: int, end: int) -> set[object]:
    """The mutants whose choice encloses a message's place, the innermost ones."""
    text = path.read_bytes()
    found: set[object] = set()
    # Choices that begin inside of the place, or the nearest before it whose branch holds it.
    for match in re.finditer(rb"on\((\d+)\) \{", text):
        depth, at = 1, match.end()
        while depth and at < len(text):
            depth += {123: 1, 125: -1}.get(text[at], 0)
            at += 1
        if match.end() <= start and end <= at:
            found = {int(match[1])}
    if not found:
        inside = [int(m[1]) for m in re.finditer(rb"on\((\d+)\) \{", text) if start - 4 <= m.start() < end]
        found = set(inside[:4])
    return found


def tests_of(program: pathlib.Path, room: str) -> list[tuple[str, float, set[int]]]:
    """Every test with its seconds and the mutants it reaches, the fastest first."""
    listed = subprocess.run([program, "--list"], cwd=ROOT / "crates" / room, capture_output=True, text=True, check=True).stdout
    names = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]
    path = PLACE / "reached"
    found = []
    for name in names:
        path.unlink(missing_ok=True)
        began = os.times()
        done = subprocess.run(
            [program, "--quiet", "--exact", name], cwd=ROOT / "crates" / room, env=os.environ | {"MUTANTS_REACHED": str(path)}, capture_output=True
        )
        now = os.times()
        if done.returncode:
            sys.exit(f"{name} fails without a mutant")
        seconds = now.children_user + now.children_system - began.children_user - began.children_system
        found.append((name, seconds, {int(n) for n in path.read_text().split()} if path.exists() else set()))
    return sorted(found, key=lambda test: test[1])


def run(program: pathlib.Path, room: str, number: int, tests: list[tuple[str, float, set[int]]]) -> str:
    """What the tests that reach a mutant say of it: the fast ones at once, the others one by one."""
    own = [(name, seconds) for name, seconds, reached in tests if number in reached]
    fast = [name for name, seconds in own if seconds <= FAST]
    for names in [fast] + [[name] for name, seconds in own if seconds > FAST]:
        if not names:
            continue
        try:
            done = subprocess.run(
                [program, "--quiet", "--test-threads=1", "--exact", *names], cwd=ROOT / "crates" / room,
                env=os.environ | {"MUTANT": str(number), "RUST_BACKTRACE": "0", "RAYON_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            return "killed"
        if done.returncode:
            return "killed"
    return "survived" if own else "not reached"


def judge(room: str) -> list[dict[str, object]]:
    program, mutants = build(room)
    tests = tests_of(program, room)
    only = os.environ.get("MUTANTS_ONLY")
    if only:
        mutants = [m for m in mutants if re.search(only, str(m["file"]))]
    print(f"{room}: {len(tests)} tests of {sum(t[1] for t in tests):.1f} s", file=sys.stderr)
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("MUTANTS_JOBS", "2"))) as pool:
        outcomes = pool.map(lambda m: run(program, room, m["id"], tests), mutants)
        for done, (mutant, outcome) in enumerate(zip(mutants, outcomes), 1):
            mutant["outcome"] = outcome
            if done % 200 == 0:
                print(f"{room}: {done} of {len(mutants)}", file=sys.stderr, flush=True)
    return mutants


def group(mutant: dict[str, object]) -> str:
    """What the table says of it."""
    room, file = str(mutant["file"]).split("/")[1], str(mutant["file"]).split("/src/")[1]
    if room != "finding":
        return room
    if file in ("verdict.rs", "ground.rs", "lib.rs"):
        return "finding: verdict and ground"
    if file.startswith("power"):
        return "finding: power"
    if "policy." in str(mutant["was"]) and mutant["kind"] in ("edge", "turned", "higher", "lower"):
        return "finding: thresholds of the policy"
    return "finding: the rest"


def main() -> None:
    rooms = sys.argv[1:] or ["finding", "stats"]
    copy(rooms)
    everything = [mutant for room in rooms for mutant in judge(room)]
    for mutant in everything:
        del mutant["key"]
    (PLACE / "all.json").write_text(json.dumps(everything, indent=1))
    if sys.argv[1:] or os.environ.get("MUTANTS_ONLY"):
        for m in everything:
            if m["outcome"] != "killed":
                print(m["file"], m["line"], m["kind"], m["was"], "=>", m["becomes"], f"({m['outcome']})")
        return
    tell(everything)


def tell(everything: list[dict[str, object]]) -> None:
    """The list and the table."""
    with open(ROOT / "reliability" / "mutants.csv", "w", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        names = ["file", "line", "kind", "was", "becomes"]
        writer.writerow(names)
        writer.writerows([m[name] for name in names] for m in everything if m["outcome"] == "survived")
    groups: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for m in everything:
        groups[group(m)][str(m["outcome"])] += 1
    table = ["| what | mutants | killed | survived | reached by no test |", "| --- | ---: | ---: | ---: | ---: |"]
    table += [
        f"| {name} | {counts.total()} | {counts['killed']} | {counts['survived']} | {counts['not reached']} |"
        for name, counts in sorted(groups.items())
    ]
    page = ROOT / "docs" / "reliability.md"
    before, _, rest = page.read_text().partition("<!-- mutants -->\n")
    _, end, after = rest.partition("<!-- end of mutants -->")
    page.write_text(before + "<!-- mutants -->\n" + "\n".join(table) + "\n" + end + after)


if __name__ == "__main__":
    main()
