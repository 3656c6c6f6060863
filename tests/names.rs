//! Names from outside through the users' path: markup, control characters, marks of direction and 10,000 letters stay text
//! in every output of every command that shows them, in both languages.

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

use std::fs;

use scratchproof::report::text::width;
use support::{Copy, program, run};

const CASE: &str = "dense-sgd";
const MARKUP: &str = "</title><script>alert('x')</script>&|`x`![](http://evil.example)";
/// As TOML writes them: an escape sequence, a mark of direction, a bell.
const CONTROL: &str = "\\u001b[2J\\u202e\\u0007";

/// Nothing steers a terminal or turns the direction of what follows.
fn plain(what: &str, text: &str) {
    let bad = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.contains(bad), "{what}: {:?}", text.chars().find(|c| bad(*c)));
}

#[test]
fn names_of_others_stay_text_in_every_output() {
    let copy = Copy::of(CASE);
    let long = "n".repeat(10_000);
    let parent = copy.text();
    let parent =
        parent.split("[[parent]]\nname = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a parent");
    copy.replace(&format!("name = \"{parent}\""), &format!("name = \"{MARKUP}{CONTROL}{long}\""));
    copy.replace("name = \"dense-sgd\"", &format!("name = \"{CONTROL}{long}{MARKUP}\""));
    copy.replace("name = \"dense-sgd subject\"", &format!("name = \"{MARKUP}{CONTROL}{long}\""));
    let out = copy.output();
    let case = copy.path("case.toml");
    let first = copy.audit();
    assert_ne!(first.status, 2, "{}", first.stderr);
    plain("terminal", &first.stdout);
    plain("talk", &first.stderr);
    let folder = out.display().to_string();
    for lang in ["en", "ko"] {
        for (format, name) in [("human", "lines"), ("markdown", "Markdown"), ("html", "page"), ("json", "JSON")] {
            let done =
                run(program().env("COLUMNS", "60").args(["--lang", lang, "--format", format, "-v", "report", &folder]));
            assert_eq!(done.status, first.status, "{}", done.stderr);
            plain(name, &done.stdout);
            match format {
                "human" => {
                    let wide = done.stdout.lines().find(|line| width(line) > 60);
                    assert_eq!(wide, None, "{lang}");
                }
                "html" => {
                    assert!(!done.stdout.contains("<script>alert") && !done.stdout.contains("<title></title>"));
                    assert_eq!(done.stdout.matches("<script").count(), 1, "the page's own script");
                }
                "markdown" => {
                    assert!(!done.stdout.contains("<script>") && !done.stdout.contains("![](http"), "{lang}");
                }
                _ => {
                    let report: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
                    let name = report["case"]["name"].as_str().expect("a name");
                    assert!(name.contains('\u{202e}') && name.contains(&long), "JSON keeps the name as it is");
                }
            }
        }
        let there = copy.folder().join(format!("docket-{lang}"));
        let done = run(program()
            .args(["--lang", lang, "docket"])
            .args([&out, &case.with_file_name("none.toml")])
            .arg("-o")
            .arg(&there));
        assert_ne!(done.status, 2, "{}", done.stderr);
        plain("docket", &done.stdout);
        for file in ["index.html", "docket.csv", "docket.json"] {
            let text = fs::read_to_string(there.join(file)).expect("a file of the docket");
            plain(file, &text);
            assert!(!text.contains("<script>alert") || file != "index.html", "{file}");
        }
        assert_eq!(fs::read_to_string(there.join("index.html")).expect("a page").matches("<script").count(), 1);
        let done = run(program().env("COLUMNS", "60").args(["--lang", lang, "timeline"]).arg(&case));
        plain("timeline", &done.stdout);
        assert_eq!(done.stdout.lines().find(|line| width(line) > 60), None, "{lang}");
    }
}
