//! Arguments as typed -> settings; results to stdout, talk to stderr.

mod arguments;
mod attest;
mod docket;
mod help;
mod places;
mod progress;
mod scan;
mod witness;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::FromArgMatches;
use scratchproof::audit::choice::settle;
use scratchproof::audit::expand::expand;
use scratchproof::audit::published::published;
use scratchproof::audit::{Asked, audit, audit_into, compare, elsewhere, timeline};
use scratchproof::case::profile::Profile;
use scratchproof::case::{Case, Sampling, is_hub_name};
use scratchproof::checkpoint::{Checkpoint, Summary, check_bytes, template};
use scratchproof::error::{Error, Result};
use scratchproof::evidence::Evidence;
use scratchproof::finding::published::judge as judge_published;
use scratchproof::finding::{Direction, Grade, Outcome};
use scratchproof::folder::Folder;
use scratchproof::init;
use scratchproof::kernel;
use scratchproof::measure::{Quiet, Reporter};
use scratchproof::report::number;
use scratchproof::report::profile::Answers as _;
use scratchproof::report::read::{self, Finished};
use scratchproof::report::text::printable;
use scratchproof::report::{
    Report, compare as comparison, explain, folder, html, inspect, json, markdown, series, terminal, timeline as record,
};
use scratchproof::source::{Access, Network, is_address, keep_fetched, keep_keys};
use scratchproof::store::remember_case;
use scratchproof::texts::{Language, phrase, term};

use arguments::{Arguments, Color, Command, Format, Lang};
use progress::Bar;
use scratchproof_texts::text;

/// Runs the command line and returns the exit status: 0 confirmed or done, 1 refuted, 2 could not, 3 inconclusive.
pub fn run() -> u8 {
    let language = help::language(std::env::args_os().map(|own| own.to_string_lossy().into_owned()));
    let _ = SPOKEN.set(language);
    let whole = help::spoken(arguments::described(), language);
    let matches = match whole.clone().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Help and version are results; everything else is a mistake in the command line.
            if language == Language::English || !error.use_stderr() {
                let _ = error.print();
            } else {
                say(&help::mistake(&error, language));
            }
            return if error.use_stderr() { super::FAILED } else { 0 };
        }
    };
    if let Some(text) = help::of_command(&matches, whole.clone()) {
        return print(&text).map_or(super::FAILED, |()| 0);
    }
    let Ok(arguments) = Arguments::from_arg_matches(&matches) else { return super::FAILED };
    if arguments.format == Format::Html && !matches!(arguments.command, Command::Report { .. }) {
        say("error: --format html is for `report DIR`; `audit` and `timeline` write the page to the folder of -o");
        return super::FAILED;
    }
    if arguments.color == Color::Always {
        // Otherwise colours are taken out again where the output is no terminal.
        anstream::ColorChoice::AlwaysAnsi.write_global();
    }
    keep_keys();
    let ready = threads(&arguments).and_then(|()| arguments.keep_fetched.as_deref().map_or(Ok(()), keep_fetched));
    let done = ready.and_then(|()| match &arguments.command {
        Command::Init { dir } => init_case(&arguments, dir),
        Command::Explain { code } => explain_code(&arguments, code.as_deref()),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut arguments::described(), "scratchproof", &mut script);
            print(&String::from_utf8_lossy(&script)).map(|()| 0)
        }
        Command::Man => help::manual(&whole, language).and_then(|page| print(&page)).map(|()| 0),
        Command::Inspect { model, series: true, .. } => inspect_series(&arguments, model),
        Command::Inspect { model, template, .. } => inspect_model(&arguments, model, *template),
        Command::Compare { subject, parent, controls, output, rows } => {
            let asked = Asked { share: rows.sample, seed: rows.seed, ..Asked::default() };
            compare_models(&arguments, (subject.as_str(), parent.as_str(), controls), output.as_deref(), &asked)
        }
        Command::Fingerprint { model, output, seed, name } => {
            scan::fingerprint_of(&arguments, model, output, *seed, name.as_deref())
        }
        Command::Scan { subject, candidates } => scan::scan(&arguments, subject, candidates),
        Command::Timeline { case, output } => timeline_of(&arguments, case, output.as_deref()),
        Command::Audit { case, output, check, part } => {
            audit_case(&arguments, case, output.as_deref(), *check, &part.asked())
        }
        Command::Plan { case, output, part } => plan_of(&arguments, case, output, &part.asked()),
        Command::Worker { plan, only, output } => work(&arguments, plan, only.as_deref(), output.as_deref()),
        Command::Reduce { plan, dir, output } => reduce(&arguments, plan, dir, output),
        Command::Docket { cases, output } => docket_of(&arguments, cases, output),
        Command::Report { dir, profile: Some(profile), .. } => profile_of(&arguments, dir, profile),
        Command::Report { dir, profile: None, form: None } => report_of(&arguments, dir),
        Command::Report { dir, form: Some(form), .. } => attest::export(dir, *form),
        Command::Attest { dir, key, password, model, certificates, output } => {
            let signer = attest::signer(key, password.as_deref());
            signer.and_then(|signer| match model {
                true => attest::model(&arguments, dir, &signer, certificates, output.as_deref()),
                false => attest::audit(&arguments, dir, &signer, output.as_deref()),
            })
        }
        Command::Witness { what } => witness::run(&arguments, what),
        Command::Verify { path, keys, roots, model, ledger, case, recompute } => {
            let (model, ledger, case) = (model.as_deref(), ledger.as_deref(), case.as_deref());
            let given = attest::Given { keys, roots, model, ledger, case, recompute: *recompute };
            attest::verify(&arguments, path, &given)
        }
    });
    done.unwrap_or_else(|error| {
        let label = term("word", "error", language);
        say(&format!("{label}: {}", cut(&error.say(language))));
        if std::env::var_os("SCRATCHPROOF_ERRORS").is_some_and(|form| form == "json") {
            say(&as_json(&error));
        }
        super::FAILED
    })
}

/// The error for a program that called this one: its kind beside its words.
fn as_json(error: &Error) -> String {
    let kind = match () {
        () if error.is_usage() => "usage",
        () if error.is_input() => "input",
        () => "io",
    };
    serde_json::json!({ "error": { "kind": kind, "message": error.to_string(), "text": error.text() } }).to_string()
}

/// The language that was asked for.
static SPOKEN: OnceLock<Language> = OnceLock::new();

/// Says lines on stderr in the language that was asked for, fit for a terminal whatever names of others are in them; nobody
/// listening is no error.
pub fn say(lines: &str) {
    for line in lines.lines() {
        let _ = writeln!(std::io::stderr(), "{}", printable(&spoken(line)));
    }
}

/// Words in the language that was asked for.
fn spoken(words: &str) -> String {
    phrase(words, SPOKEN.get().copied().unwrap_or_default())
}

/// Threads that may be asked for, at most.
const THREADS: usize = 1024;

/// Starts the threads that the command computes with: without any to be had there is a sentence, and not in the middle.
fn threads(arguments: &Arguments) -> Result<()> {
    let light = matches!(
        arguments.command,
        Command::Witness { .. } | Command::Explain { .. } | Command::Completions { .. } | Command::Man
    );
    if light && arguments.threads.is_none() {
        return Ok(());
    }
    let count =
        arguments.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from).min(THREADS));
    if count == 0 || count > THREADS {
        return Err(Error::usage(text!("error-cli/room/threads-must", threads = THREADS)));
    }
    let failed = |cause: rayon::ThreadPoolBuildError| {
        Error::refused(text!("error-cli/room/threads-cannot-started", count, cause = cause.to_string()))
    };
    rayon::ThreadPoolBuilder::new().num_threads(count).build_global().map_err(failed)
}

/// Writes `case.toml` into the folder; one that is there is somebody's work and is left alone.
fn init_case(arguments: &Arguments, dir: &Path) -> Result<u8> {
    const NAME: &str = "case.toml";
    let file = dir.join(NAME);
    let found = init::look(dir)?;
    let text = init::write(&found, NAME, language(arguments));
    let written = std::fs::File::create_new(&file).and_then(|mut out| out.write_all(text.as_bytes()));
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::usage(text!("error-cli/room/already-move-away-another", file = file.display())));
        }
        other => other.map_err(|error| Error::io(file.display(), error))?,
    }
    if !arguments.quiet {
        say(&format!("written: {}", file.display()));
    }
    Ok(0)
}

fn explain_code(arguments: &Arguments, word: Option<&str>) -> Result<u8> {
    let Some(word) = word else {
        print(&explain::list(look(arguments)))?;
        return Ok(0);
    };
    let codes = explain::codes(word);
    let [code] = codes.as_slice() else {
        let names: Vec<&str> = codes.iter().map(|code| code.name()).collect();
        return Err(Error::usage(if names.is_empty() {
            text!("error-cli/room/no-finding-called-scratchproof", word)
        } else {
            text!("error-cli/room/part-several-codes", word, names = names.join(", "))
        }));
    };
    print(&match arguments.format {
        Format::Json => explain::to_json(*code),
        Format::Markdown => explain::to_markdown(*code, language(arguments)),
        Format::Human | Format::Html => explain::to_terminal(*code, look(arguments)),
    })?;
    Ok(0)
}

fn inspect_model(arguments: &Arguments, model: &Path, only_template: bool) -> Result<u8> {
    model.to_str().map_or(Ok(()), named)?;
    // A path need not be text; an address is.
    let checkpoint = match model.to_str().filter(|model| is_address(model)) {
        Some(address) => Checkpoint::open_named(address, access(arguments))?,
        None => Checkpoint::open(model)?,
    };
    if only_template {
        print(&template(&checkpoint))?;
        return Ok(0);
    }
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
        Format::Human => {
            let all = inspect::to_terminal(&summary, width(), language(arguments));
            // What there is of a verdict is what came of the bytes, which stands last at the head.
            let head: Vec<&str> = all.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
            match head[..] {
                [name, .., checked] if arguments.quiet => format!("{name}  {checked}\n"),
                _ => all,
            }
        }
        Format::Markdown => inspect::to_markdown(&summary, language(arguments)),
        Format::Json => inspect::to_json(&summary),
        Format::Html => String::new(),
    })?;
    Ok(0)
}

/// What a hub lists of a series.
fn inspect_series(arguments: &Arguments, pattern: &Path) -> Result<u8> {
    let Some(pattern) = pattern.to_str() else { return Err(Error::usage(text!("error-cli/room/address-text"))) };
    let found = published(pattern, access(arguments))?;
    let findings = judge_published(&found.steps).findings;
    let listed = series::Listed { pattern, steps: &found.steps, findings: &findings, fetched: found.fetched };
    print(&match arguments.format {
        Format::Json => series::to_json(&listed),
        Format::Markdown => series::to_markdown(&listed, language(arguments)),
        Format::Human | Format::Html => series::to_terminal(&listed, width(), language(arguments)),
    })?;
    Ok(0)
}

fn audit_case(arguments: &Arguments, case: &Path, output: Option<&Path>, check: bool, asked: &Asked) -> Result<u8> {
    let mut case = read_case(case, output)?;
    let folder = make(output)?;
    let chosen = settle(&mut case, access(arguments), asked, folder.as_ref())?;
    let used = case.subject.checkpoints.len();
    if chosen.remembered && !arguments.quiet {
        say("the folder remembers which checkpoints and rows are used");
    }
    if chosen.left > 0 && !arguments.quiet {
        if chosen.left == 1 {
            say(&format!("1 checkpoint of the series left out, {used} used"));
        } else {
            say(&format!("{} checkpoints of the series left out, {used} used", chosen.left));
        }
    }
    rows_drawn(arguments, &case);
    if chosen.bytes > 0 && !arguments.quiet {
        say(&format!("{} of weights are to be fetched", number::bytes(chosen.bytes)));
    }
    let before = Network::shared().fetched();
    let bar = reporter(arguments);
    let done = if let Some(folder) = &folder {
        let (mut done, kept) = audit_into(&case, access(arguments), folder, check, bar.as_ref())?;
        if !arguments.quiet && kept.whole {
            say("judged from the measurements in the folder: no weight was opened");
        } else if !arguments.quiet && kept.finished > 0 {
            say(&format!(
                "{} pieces of the work were finished before, {} are measured now",
                kept.finished, kept.measured
            ));
        }
        folder::write(&mut done.report, &done.evidence, folder, language(arguments))?;
        remember_case(folder.root(), &case.path)?;
        done
    } else {
        audit(&case, access(arguments), bar.as_ref())?
    };
    let fetched = Network::shared().fetched() - before;
    if fetched > 0 && !arguments.quiet {
        let needed = done.report.inputs.iter().filter(|input| is_address(&input.uri)).map(|input| input.bytes).sum();
        say(&format!("{} were fetched, of files that have {}", number::bytes(fetched), number::bytes(needed)));
    }
    show_audit(arguments, &done.report, &done.evidence)?;
    written(arguments, output);
    Ok(status(&done.report))
}

/// Says which rows are read.
fn rows_drawn(arguments: &Arguments, case: &Case) {
    if let Some(sampling) = case.choice.sampling.filter(|_| !arguments.quiet) {
        let Sampling { share, seed } = sampling;
        say(&format!("of every large tensor a share of {share} of the rows is read, drawn by the seed {seed}"));
    }
}

/// Writes the work of a case as data.
fn plan_of(arguments: &Arguments, case: &Path, output: &Path, asked: &Asked) -> Result<u8> {
    let mut read = Case::read(case)?;
    expand(&mut read, access(arguments), asked)?;
    rows_drawn(arguments, &read);
    let jobs = elsewhere::plan(&read, access(arguments), output)?;
    if !arguments.quiet {
        say(&format!("{jobs} units of work: worker {} --only 0-{}", output.display(), jobs.saturating_sub(1)));
    }
    Ok(0)
}

/// Does some of the work of a plan.
fn work(arguments: &Arguments, plan: &Path, only: Option<&str>, output: Option<&Path>) -> Result<u8> {
    let bar = reporter(arguments);
    let done = elsewhere::work(plan, only, output, access(arguments), bar.as_ref())?;
    if !arguments.quiet {
        say(&format!("{} units were there, {} were measured", done.0, done.1));
    }
    Ok(0)
}

/// Folds the work of a plan and judges.
fn reduce(arguments: &Arguments, plan: &Path, dir: &Path, output: &Path) -> Result<u8> {
    let folder = Folder::open(output)?;
    folder::check(&folder)?;
    let bar = reporter(arguments);
    let mut done = elsewhere::reduce(plan, dir, &folder, access(arguments), bar.as_ref())?;
    folder::write(&mut done.report, &done.evidence, &folder, language(arguments))?;
    show_audit(arguments, &done.report, &done.evidence)?;
    written(arguments, Some(output));
    Ok(status(&done.report))
}

/// What was measured whole is judged without the weights, which may be elsewhere by now: then models need not be there.
fn read_case(path: &Path, output: Option<&Path>) -> Result<Case> {
    let whole = |folder: &Path| folder.join(folder::MEASUREMENTS).join("measurements.json").is_file();
    let measured = output.is_some_and(whole);
    let lenient = |error| match Case::read_record(path) {
        Ok(case) if measured && !case.subject.checkpoints.is_empty() => Ok(case),
        _ => Err(error),
    };
    Case::read(path).or_else(lenient)
}

fn show_audit(arguments: &Arguments, report: &Report, evidence: &Evidence) -> Result<()> {
    print(&match arguments.format {
        Format::Json => json::to_json(report),
        Format::Markdown => markdown::to_markdown(report, evidence, language(arguments)),
        Format::Html => html::render(report, evidence, language(arguments))?,
        Format::Human if arguments.quiet => terminal::verdict_line(report, language(arguments)),
        Format::Human => terminal::render(report, evidence, look(arguments)),
    })
}

fn status(report: &Report) -> u8 {
    match report.verdict.outcome {
        Outcome::Confirmed => 0,
        Outcome::Refuted => 1,
        Outcome::Inconclusive => 3,
    }
}

/// Says where the page is.
fn written(arguments: &Arguments, output: Option<&Path>) {
    if let Some(folder) = output.filter(|_| arguments.format == Format::Human && !arguments.quiet) {
        say(&format!("written: {}", folder.join("report.html").display()));
    }
}

/// Letters of an error that are said: names in it come from files.
const WORDS: usize = 4000;

/// A sentence as far as anybody reads it.
fn cut(text: &str) -> String {
    match text.char_indices().nth(WORDS) {
        Some((at, _)) => format!("{} [...]", &text[..at]),
        None => text.to_owned(),
    }
}

/// A longer file of a programme is none.
const PROFILE: u64 = 1 << 20;

/// Answers the questions of a programme from a finished folder. The exit status is that of the audit.
fn profile_of(arguments: &Arguments, dir: &Path, name: &str) -> Result<u8> {
    let file = Path::new(name);
    let profile = if file.extension().is_some_and(|ending| ending == "toml") {
        let text = scratchproof::source::plain::text(file, PROFILE)?;
        Profile::parse(&text)?
    } else {
        Profile::named(name)?
    };
    let Finished::Audit(report, evidence) = read::read(dir)? else {
        return Err(Error::usage(text!("error-cli/room/folder-holds-record-alone")));
    };
    print(&match arguments.format {
        Format::Json => profile.to_json(&report, &evidence),
        _ => profile.to_markdown(&report, &evidence, language(arguments)),
    })?;
    Ok(status(&report))
}

fn docket_of(arguments: &Arguments, cases: &[PathBuf], output: &Path) -> Result<u8> {
    use scratchproof::report::docket as table;
    let bar = reporter(arguments);
    let talk = |line: &str| {
        if !arguments.quiet {
            say(line);
        }
    };
    let language = language(arguments);
    let entries = docket::run(cases, output, || access(arguments), bar.as_ref(), language, talk)?;
    print(&match arguments.format {
        Format::Json => table::to_json(&entries),
        Format::Markdown => table::to_markdown(&entries, language),
        Format::Html => table::to_html(&entries, language)?,
        Format::Human => table::to_terminal(&entries, language),
    })?;
    if arguments.format == Format::Human && !arguments.quiet {
        say(&format!("written: {}", output.join("index.html").display()));
    }
    Ok(docket::status(&entries))
}

/// Renders again what an earlier run found. The exit status is that of the run.
fn report_of(arguments: &Arguments, dir: &Path) -> Result<u8> {
    match read::read(dir)? {
        Finished::Audit(report, evidence) => {
            show_audit(arguments, &report, &evidence)?;
            Ok(status(&report))
        }
        Finished::Timeline(found, _) => {
            show_timeline(arguments, &found)?;
            Ok(timeline_status(&found))
        }
    }
}

fn timeline_of(arguments: &Arguments, case: &Path, output: Option<&Path>) -> Result<u8> {
    let case = Case::read_record(case)?;
    let folder = make(output)?;
    let (mut done, evidence) = timeline(&case, access(arguments), output.is_some())?;
    if let Some(folder) = &folder {
        folder::write_timeline(&mut done, &evidence, folder, language(arguments))?;
    }
    show_timeline(arguments, &done)?;
    written(arguments, output);
    Ok(timeline_status(&done))
}

fn show_timeline(arguments: &Arguments, found: &record::Timeline) -> Result<()> {
    print(&match arguments.format {
        Format::Json => record::to_json(found),
        Format::Markdown => record::to_markdown(found, language(arguments)),
        Format::Html => html::timeline(found, language(arguments))?,
        Format::Human if arguments.quiet => record::verdict_line(found),
        Format::Human => record::render(found, look(arguments)),
    })
}

fn timeline_status(found: &record::Timeline) -> u8 {
    let conclusive =
        |f: &scratchproof::finding::Finding| f.direction == Direction::Against && f.grade == Grade::Conclusive;
    match found.outcome {
        _ if found.findings.iter().any(conclusive) => 1,
        record::Outcome::Consistent => 0,
        record::Outcome::Open | record::Outcome::Contradicted => 3,
    }
}

/// A name of the hub without its scheme is a slip that a message about a missing folder does not explain.
fn named(model: &str) -> Result<()> {
    if !is_address(model) && is_hub_name(model) && !Path::new(model).exists() {
        return Err(Error::usage(text!("error-cli/room/no-such-file-or", model)));
    }
    Ok(())
}

fn compare_models(
    arguments: &Arguments,
    (subject, parent, controls): (&str, &str, &[String]),
    output: Option<&Path>,
    asked: &Asked,
) -> Result<u8> {
    [subject, parent].into_iter().chain(controls.iter().map(String::as_str)).try_for_each(named)?;
    let mut case = Case::of_models(subject, parent, controls);
    case.choice.sampling = asked.sampling();
    rows_drawn(arguments, &case);
    let folder = output.map(Folder::open).transpose()?;
    let (done, evidence) = compare(&case, access(arguments), reporter(arguments).as_ref())?;
    if let Some(folder) = &folder {
        folder.write("compare.json", comparison::to_json(&done).as_bytes())?;
        folder.write("compare.md", comparison::to_markdown(&done, language(arguments)).as_bytes())?;
        let wanted = |name: &str| ["pairs", "layer_map", "components", "tensors", "copies", "disguise"].contains(&name);
        evidence.encode(wanted, |name, bytes| folder.write(&format!("evidence/{name}"), bytes).map(|_| ()))?;
        folder.finish()?;
    }
    let look = look(arguments);
    match arguments.format {
        Format::Json => print(&comparison::to_json(&done))?,
        Format::Markdown => print(&comparison::to_markdown(&done, language(arguments)))?,
        Format::Human if arguments.quiet => {}
        Format::Human => print(&comparison::render(&done, look))?,
        Format::Html => {}
    }
    Ok(match done.outcome {
        comparison::Outcome::Similar | comparison::Outcome::Same => 1,
        comparison::Outcome::NotComparable => 3,
        comparison::Outcome::Silent | comparison::Outcome::Undetermined => 0,
    })
}

/// Opens the folder of the output first: hours of reading must not end at a folder that cannot be written.
fn make(output: Option<&Path>) -> Result<Option<Folder>> {
    let Some(output) = output else { return Ok(None) };
    let folder = Folder::open(output)?;
    folder::check(&folder)?;
    Ok(Some(folder))
}

fn look(arguments: &Arguments) -> terminal::Look {
    terminal::Look {
        colour: arguments.color.wanted(),
        width: width(),
        verbose: arguments.verbose > 0,
        language: language(arguments),
    }
}

/// `--lang`, else what the environment says, in the order that POSIX has.
fn language(arguments: &Arguments) -> Language {
    match arguments.lang {
        Some(Lang::En) => Language::English,
        Some(Lang::Ko) => Language::Korean,
        None => of_environment(),
    }
}

fn of_environment() -> Language {
    let named = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().filter_map(|name| std::env::var(name).ok());
    let mut named = named.filter(|locale| !locale.is_empty());
    named.next().map_or(Language::English, |locale| Language::of_locale(&locale))
}

fn access(arguments: &Arguments) -> Access {
    Access { offline: arguments.offline }
}

fn reporter(arguments: &Arguments) -> Box<dyn Reporter> {
    if arguments.quiet || !std::io::stderr().is_terminal() { Box::new(Quiet) } else { Box::new(Bar::new()) }
}

/// Prints a result. A reader that stops reading (`| head`) is no failure.
fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::io(text!("error-cli/room/standard-output"), error))
        }
        _ => Ok(()),
    }
}

/// Columns of the terminal: `COLUMNS` if it is set, else the real terminal's, otherwise 100; never below 40.
fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let real = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    columns.or_else(real).unwrap_or(100).clamp(40, 200)
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
