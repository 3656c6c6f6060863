//! Arguments as typed -> settings; results to stdout, talk to stderr.

mod arguments;
mod progress;

use std::io::{IsTerminal, Write};
use std::path::Path;

use clap::Parser;
use scratchproof::audit::{audit, compare, timeline};
use scratchproof::case::Case;
use scratchproof::checkpoint::{Checkpoint, Summary, check_bytes};
use scratchproof::error::{Error, Result};
use scratchproof::finding::{Direction, Grade, Outcome};
use scratchproof::kernel;
use scratchproof::measure::{Quiet, Reporter};
use scratchproof::report::{compare as comparison, folder, inspect, json, markdown, terminal, timeline as record};
use scratchproof::source::{Access, Reading, is_address};

use arguments::{Arguments, Color, Command, Format};
use progress::Bar;

/// Runs the command line and returns the exit status: 0 confirmed or done, 1 refuted, 2 could not, 3 inconclusive.
pub fn run() -> u8 {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are results; everything else is a mistake in the command line.
            let _ = error.print();
            return if error.use_stderr() { super::FAILED } else { 0 };
        }
    };
    let done = threads(arguments.threads).and_then(|()| match &arguments.command {
        Command::Inspect { model } => inspect_model(&arguments, model),
        Command::Compare { subject, parent, controls } => compare_models(&arguments, subject, parent, controls),
        Command::Timeline { case, output } => timeline_of(&arguments, case, output.as_deref()),
        Command::Audit { case, output } => audit_case(&arguments, case, output.as_deref()),
    });
    done.unwrap_or_else(|error| {
        say(&format!("error: {error}"));
        super::FAILED
    })
}

/// Says a line on stderr; nobody listening is no error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn threads(count: Option<usize>) -> Result<()> {
    let Some(count) = count else { return Ok(()) };
    if count == 0 {
        return Err(Error::usage("--threads must be 1 or more"));
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .build_global()
        .map_err(|e| Error::io(format!("starting {count} threads"), e))
}

fn inspect_model(arguments: &Arguments, model: &Path) -> Result<u8> {
    // A path need not be text; an address is.
    let checkpoint = match model.to_str().filter(|model| is_address(model)) {
        Some(address) => Checkpoint::open_named(address, access(arguments))?,
        None => Checkpoint::open(model, Reading::Auto)?,
    };
    let mut summary = Summary::of(&checkpoint);
    let bar = reporter(arguments);
    bar.begin("checking bytes", checkpoint.bytes());
    let mut wide = Vec::new();
    let decode = |dtype, bytes: &[u8], out: &mut [f32]| {
        wide.resize(out.len(), 0.0);
        kernel::decode(dtype, bytes, &mut wide);
        for (narrow, value) in out.iter_mut().zip(&wide) {
            #[allow(clippy::cast_possible_truncation)]
            let value = *value as f32;
            *narrow = value;
        }
    };
    summary.check = Some(check_bytes(&checkpoint, decode, |bytes| bar.advance(bytes))?);
    bar.end();
    print(&match arguments.format {
        Format::Human => inspect::to_terminal(&summary, width()),
        Format::Markdown => inspect::to_markdown(&summary),
        Format::Json => inspect::to_json(&summary),
    })?;
    Ok(0)
}

fn audit_case(arguments: &Arguments, case: &Path, output: Option<&Path>) -> Result<u8> {
    let case = Case::read(case)?;
    make(output)?;
    let bar = reporter(arguments);
    let done = audit(&case, access(arguments), bar.as_ref())?;
    if let Some(folder) = output {
        folder::write(&done.report, &done.evidence, folder)?;
    }
    let look = look(arguments);
    match arguments.format {
        Format::Json => print(&json::to_json(&done.report))?,
        Format::Markdown => print(&markdown::to_markdown(&done.report, &done.evidence))?,
        Format::Human if arguments.quiet => {}
        Format::Human => {
            print(&terminal::render(&done.report, &done.evidence, look))?;
            if let Some(folder) = output {
                say(&format!("written: {}", folder.join("report.html").display()));
            }
        }
    }
    Ok(match done.report.verdict.outcome {
        Outcome::Confirmed => 0,
        Outcome::Refuted => 1,
        Outcome::Inconclusive => 3,
    })
}

fn timeline_of(arguments: &Arguments, case: &Path, output: Option<&Path>) -> Result<u8> {
    let case = Case::read_record(case)?;
    make(output)?;
    let (done, evidence) = timeline(&case, access(arguments), output.is_some())?;
    if let Some(folder) = output {
        record::write(&done, &evidence, folder)?;
    }
    let look = look(arguments);
    match arguments.format {
        Format::Json => print(&record::to_json(&done))?,
        Format::Markdown => print(&record::to_markdown(&done))?,
        Format::Human if arguments.quiet => {}
        Format::Human => {
            print(&record::render(&done, look))?;
            if let Some(folder) = output {
                say(&format!("written: {}", folder.join("report.html").display()));
            }
        }
    }
    let conclusive =
        |f: &scratchproof::finding::Finding| f.direction == Direction::Against && f.grade == Grade::Conclusive;
    Ok(match done.outcome {
        _ if done.findings.iter().any(conclusive) => 1,
        record::Outcome::Consistent => 0,
        record::Outcome::Open | record::Outcome::Contradicted => 3,
    })
}

fn compare_models(arguments: &Arguments, subject: &str, parent: &str, controls: &[String]) -> Result<u8> {
    let case = Case::of_models(subject, parent, controls);
    let done = compare(&case, access(arguments), reporter(arguments).as_ref())?;
    let look = look(arguments);
    match arguments.format {
        Format::Json => print(&comparison::to_json(&done))?,
        Format::Markdown => print(&comparison::to_markdown(&done))?,
        Format::Human if arguments.quiet => {}
        Format::Human => print(&comparison::render(&done, look))?,
    }
    Ok(match done.outcome {
        comparison::Outcome::Similar => 1,
        comparison::Outcome::NotComparable => 3,
        comparison::Outcome::Silent | comparison::Outcome::Undetermined => 0,
    })
}

/// Makes the folder of the output first: hours of reading must not end at a folder that cannot be written.
fn make(output: Option<&Path>) -> Result<()> {
    let Some(folder) = output else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder.display(), e))
}

fn look(arguments: &Arguments) -> terminal::Look {
    terminal::Look { colour: arguments.color.wanted(), width: width(), verbose: arguments.verbose > 0 }
}

fn access(arguments: &Arguments) -> Access {
    Access { reading: Reading::Auto, offline: arguments.offline }
}

fn reporter(arguments: &Arguments) -> Box<dyn Reporter> {
    if arguments.quiet || !std::io::stderr().is_terminal() { Box::new(Quiet) } else { Box::new(Bar::new()) }
}

/// Prints a result. A reader that stops reading (`| head`) is no failure.
fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::io("standard output", error)),
        _ => Ok(()),
    }
}

/// Columns of the terminal: `COLUMNS` if it is set, otherwise 100, never below 60.
fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    columns.unwrap_or(100).clamp(60, 200)
}

impl Color {
    fn wanted(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        }
    }
}
