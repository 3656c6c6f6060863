//! `heads FOLDER...`: the head tests of every two of these models as CSV, for the calibration in `docs/methods.md`.

#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::path::Path;
use std::process::ExitCode;

use scratchproof::checkpoint::Checkpoint;
use scratchproof::disguise::{Products, alike, products};

fn main() -> ExitCode {
    let mut models: Vec<(String, Products)> = Vec::new();
    for folder in std::env::args().skip(1) {
        let read = Checkpoint::open(Path::new(&folder)).and_then(|model| products(&model));
        match read {
            Ok(Some(products)) => models.push((folder, products)),
            Ok(None) => println!("# {folder}: no heads"),
            Err(why) => println!("# {folder}: {why}"),
        }
    }
    println!("first,second,test,agreed,expected,of,log10_p,correlation,chance");
    for (at, (first, own)) in models.iter().enumerate() {
        for (second, other) in &models[at + 1..] {
            let found = alike(own, other);
            for s in &found.signs {
                println!(
                    "{first},{second},{},{},{},{},{:.3},{:.4},{}",
                    s.between.replace(',', ""),
                    s.agreed,
                    s.of as f64 / 2.0,
                    s.of,
                    s.log10_p,
                    s.correlation,
                    s.heads
                );
            }
            for t in &found.tests {
                println!(
                    "{first},{second},{},{},{:.3},{},{:.3},{:.3},{:.3}",
                    t.between,
                    t.agreed,
                    t.expected,
                    t.of,
                    t.log10_p,
                    t.correlation.unwrap_or(f64::NAN),
                    t.chance.unwrap_or(f64::NAN)
                );
            }
        }
    }
    ExitCode::SUCCESS
}
