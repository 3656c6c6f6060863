//! A machine that gives out: files that may not grow, few descriptors, no threads to be had, a clock that jumps, inputs that
//! vanish. Whatever happens there is a sentence and no panic, the same command again gives the bytes of a run that met
//! nothing, and nothing is left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

#[allow(dead_code, reason = "every test binary uses another part of it")]
mod support;

/// What one run said, and how it ended.
struct Ended {
    status: Option<i32>,
    text: String,
}

impl Ended {
    /// No panic and no signal; where it could not do its job, it says so.
    fn told(&self, about: &str) {
        assert!(matches!(self.status, Some(0..=3)), "{about}: {:?} {}", self.status, self.text);
        assert!(!self.text.contains("panicked") && !self.text.contains("has a fault"), "{about}: {}", self.text);
        assert!(self.status != Some(2) || self.text.contains("error: "), "{about}: {}", self.text);
    }
}

/// The program in a folder, behind words of the shell.
fn run(folder: &Path, before: &str, words: &[&str], environment: &[(&str, &Path)]) -> Ended {
    let done = Command::new("bash")
        .args(["-c", &format!("{before} exec \"$@\""), "faulty", env!("CARGO_BIN_EXE_scratchproof")])
        .args(words)
        .current_dir(folder)
        .env("TMPDIR", folder.join("tmp"))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    Ended { status: done.status.code(), text }
}

/// Every file of a folder by its name, but that which holds times of inputs.
fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    support::tree(folder).into_iter().filter(|(name, _)| !name.ends_with(".scratchproof-inputs")).collect()
}

const CASE: &str = r#"schema = 1
name = "tiny"
[claim]
statement = "from-scratch"
[subject]
name = "tiny"
checkpoints = [{ step = 0, model = "first" }, { step = 60, model = "last" }]
"#;

/// A case of two small checkpoints.
fn case() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join("tmp")).expect("a folder");
    for (name, step) in [("first", 0), ("last", 60)] {
        let from = support::fixtures().join(format!("forms/fsdp/truth-{step}"));
        fs::create_dir(dir.path().join(name)).expect("a folder");
        for file in ["model.safetensors", "config.json"] {
            fs::copy(from.join(file), dir.path().join(name).join(file)).expect("copied");
        }
    }
    fs::write(dir.path().join("case.toml"), CASE).expect("written");
    let plan = run(dir.path(), "", &["plan", "case.toml", "-o", "plan.json"], &[]);
    assert_eq!(plan.status, Some(0), "{}", plan.text);
    dir
}

/// What is done, and where its result is.
const JOBS: [(&[&str], &str); 4] = [
    (&["worker", "plan.json", "-o", "units"], "units"),
    (&["reduce", "plan.json", "units", "-o", "reduced"], "reduced"),
    (&["audit", "case.toml", "-o", "out"], "out"),
    (&["docket", "case.toml", "-o", "docket"], "docket"),
];

/// What a machine that gives nothing out makes of each job.
fn expected() -> Vec<BTreeMap<String, Vec<u8>>> {
    let good = case();
    let one = |(words, place): &(&[&str], &str)| {
        run(good.path(), "", words, &[]).told(place);
        bytes(&good.path().join(place))
    };
    JOBS.iter().map(one).collect()
}

/// Each job on a machine that gives out, then again on one that does not; how many of them gave up.
fn suffers(expected: &[BTreeMap<String, Vec<u8>>], about: &str, before: &str, environment: &[(&str, &Path)]) -> usize {
    let dir = case();
    let mut failed = 0;
    for ((words, place), expected) in JOBS.iter().zip(expected) {
        let about = format!("{about}, {place}");
        let ended = run(dir.path(), before, words, environment);
        ended.told(&about);
        failed += usize::from(ended.status == Some(2));
        run(dir.path(), "", words, &[]).told(&about);
        assert!(&bytes(&dir.path().join(place)) == expected, "{about}: the same command again gives other bytes");
        assert_eq!(fs::read_dir(dir.path().join("tmp")).expect("a folder").count(), 0, "{about}: litter");
    }
    failed
}

#[test]
fn a_disk_that_takes_no_more_costs_nothing_but_the_run() {
    let expected = expected();
    let mut failed = 0;
    for blocks in [0, 1, 4, 16, 40, 64, 100] {
        // As a quota: no file may grow beyond so many KiB; the signal that comes with it is ignored.
        failed +=
            suffers(&expected, &format!("{blocks} KiB a file"), &format!("trap '' XFSZ; ulimit -f {blocks};"), &[]);
    }
    assert!(failed >= 10, "{failed}: this test is to meet what it is about");
}

#[test]
fn few_descriptors_are_a_sentence() {
    let expected = expected();
    let mut failed = 0;
    for most in [4, 6, 8, 10, 12, 16] {
        failed += suffers(&expected, &format!("{most} descriptors"), &format!("ulimit -n {most};"), &[]);
    }
    assert!(failed >= 4, "{failed}: this test is to meet what it is about");
}

#[test]
fn a_clock_that_jumps_changes_no_byte() {
    let dir = tempfile::tempdir().expect("a folder");
    let (source, library) = (dir.path().join("clock.c"), dir.path().join("clock.so"));
    // Every look at the clock is up to 60 years off; once before 1970.
    let text = r#"
        #define _GNU_SOURCE
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>
        static unsigned long n = 88172645463325252UL;
        int clock_gettime(clockid_t id, struct timespec *t) {
            int done = syscall(SYS_clock_gettime, id, t);
            if (id == CLOCK_REALTIME) {
                n ^= n << 13; n ^= n >> 7; n ^= n << 17;
                t->tv_sec += (long)(n % 3800000000UL) - 1900000000L;
                if (getenv("CLOCK_EARLY")) t->tv_sec = -(long)(n % 1000000);
            }
            return done;
        }
    "#;
    fs::write(&source, text).expect("written");
    let made = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(made.expect("a C compiler").success());
    let expected = expected();
    for environment in [&[("LD_PRELOAD", &*library)][..], &[("LD_PRELOAD", &*library), ("CLOCK_EARLY", &*library)]] {
        let about = format!("{} words of the environment", environment.len());
        assert_eq!(suffers(&expected, &about, "", environment), 0, "{about}");
        // A ledger is written with whatever time there is, and never with one that it would not be read with.
        let case = case();
        let words = [
            &["witness", "init", "l", "--note", "a"][..],
            &["witness", "append", "l", "--note", "b"],
            &["verify", "l"],
        ];
        for words in words {
            run(case.path(), "", words, environment).told(&format!("{about}, {words:?}"));
        }
        let ledger = run(case.path(), "", &["verify", "l"], &[]);
        assert!(matches!(ledger.status, Some(0 | 3)), "{}", ledger.text);
    }
}

#[test]
fn without_threads_there_is_a_sentence() {
    // Only root is not bound by the limit, and only root can become somebody else.
    let root = Command::new("id").arg("-u").output().is_ok_and(|done| done.stdout == b"0\n");
    let before = |threads: u32| {
        if root {
            format!(
                "exec setpriv --reuid 65534 --regid 65534 --clear-groups bash -c 'ulimit -u {threads}; exec \"$@\"' x \"$@\"; :"
            )
        } else {
            // Whatever runs for the same person counts too.
            format!("ulimit -u {threads};")
        }
    };
    let dir = case();
    assert!(Command::new("chmod").args(["-R", "a+rwX"]).arg(dir.path()).status().expect("chmod").success());
    for threads in [1, 2, 3, 4] {
        for words in [&["audit", "case.toml"][..], &["--threads", "64", "audit", "case.toml"], &["inspect", "first"]] {
            let ended = run(dir.path(), &before(threads), words, &[]);
            ended.told(&format!("{threads} threads, {words:?}"));
            assert!(ended.status != Some(2) || ended.text.contains("--threads"), "{}", ended.text);
        }
    }
}

#[test]
fn inputs_that_vanish_are_named_and_leave_nothing() {
    let good = case();
    run(good.path(), "", &["audit", "case.toml", "-o", "out"], &[]).told("good");
    let expected = bytes(&good.path().join("out"));
    for round in 0..24_u64 {
        let dir = case();
        let (file, away) = (dir.path().join("last/model.safetensors"), dir.path().join("away"));
        let whole = fs::read(&file).expect("a file");
        std::thread::scope(|scope| {
            let audit = scope.spawn(|| run(dir.path(), "", &["audit", "case.toml", "-o", "out"], &[]));
            std::thread::sleep(Duration::from_millis(3 * round));
            match round % 3 {
                0 => fs::rename(&file, &away).expect("moved"),
                1 => fs::File::options().write(true).open(&file).and_then(|own| own.set_len(2_000)).expect("cut"),
                _ => fs::rename(dir.path().join("last"), &away).expect("moved"),
            }
            let ended = audit.join().expect("a run");
            ended.told(&format!("round {round}"));
            assert!(ended.status != Some(2) || ended.text.contains("last"), "round {round}: {}", ended.text);
        });
        match round % 3 {
            0 => fs::rename(&away, &file).expect("moved"),
            1 => fs::write(&file, &whole).expect("written"),
            _ => fs::rename(&away, dir.path().join("last")).expect("moved"),
        }
        run(dir.path(), "", &["audit", "case.toml", "-o", "out"], &[]).told(&format!("round {round}, again"));
        assert!(bytes(&dir.path().join("out")) == expected, "round {round}: other bytes");
        assert_eq!(fs::read_dir(dir.path().join("tmp")).expect("a folder").count(), 0, "round {round}: litter");
    }
}

/// An Ed25519 key that signs nothing but this test.
const KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEILBQAsCsj/tCX+qCRzz5Inh3eBV9IHgl8O8SxzvLtUiA
-----END PRIVATE KEY-----
";

#[test]
fn what_cannot_be_signed_stays_as_it_was() {
    let dir = case();
    run(dir.path(), "", &["audit", "case.toml", "-o", "out"], &[]).told("audit");
    fs::write(dir.path().join("key.pem"), KEY).expect("written");
    let before = bytes(&dir.path().join("out"));
    let sign = ["attest", "out", "--key", "key.pem"];
    for blocks in [0, 1] {
        let ended = run(dir.path(), &format!("trap '' XFSZ; ulimit -f {blocks};"), &sign, &[]);
        assert_eq!(ended.status, Some(2), "{blocks}: {}", ended.text);
        ended.told("attest");
        assert!(bytes(&dir.path().join("out")) == before, "{blocks} KiB a file: {}", ended.text);
    }
    let ended = run(dir.path(), "", &sign, &[]);
    assert_eq!(ended.status, Some(0), "{}", ended.text);
    let ended = run(dir.path(), "", &["verify", "out"], &[]);
    assert!(matches!(ended.status, Some(0 | 3)), "{}", ended.text);
}

#[test]
fn a_ledger_that_cannot_grow_keeps_what_it_has() {
    let dir = case();
    let ledger = dir.path().join("ledger.jsonl");
    let append = ["witness", "append", "ledger.jsonl", "--checkpoint", "first", "--step", "0"];
    for words in [&["witness", "init", "ledger.jsonl"][..], &append, &append] {
        let ended = run(dir.path(), "", words, &[]);
        assert_eq!(ended.status, Some(0), "{}", ended.text);
    }
    let before = fs::read(&ledger).expect("a ledger");
    for blocks in [0, 1] {
        let ended = run(dir.path(), &format!("trap '' XFSZ; ulimit -f {blocks};"), &append, &[]);
        assert_eq!(ended.status, Some(2), "{blocks}: {}", ended.text);
        ended.told("witness append");
        assert!(fs::read(&ledger).expect("a ledger") == before, "{blocks} KiB a file: {}", ended.text);
        let ended = run(dir.path(), "", &["verify", "ledger.jsonl"], &[]);
        assert_eq!(ended.status, Some(0), "{}", ended.text);
    }
    let ended = run(dir.path(), "", &append, &[]);
    assert_eq!(ended.status, Some(0), "{}", ended.text);
    let after = fs::read(&ledger).expect("a ledger");
    assert!(after.starts_with(&before) && after.len() > before.len());
}
