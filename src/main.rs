//! The command line of scratchproof: parse, resolve, call the library, map the outcome to an exit status. The only
//! place that exits.

mod cli;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

/// The tool could not do its job.
const FAILED: u8 = 2;

fn main() -> ExitCode {
    // The exit status is a contract: a fault of ours must not look like one of its other values.
    let status = catch_unwind(AssertUnwindSafe(cli::run)).unwrap_or_else(|_| {
        cli::say("error: scratchproof has a fault (the lines above say where); please report it with them");
        FAILED
    });
    ExitCode::from(status)
}
