//! The arguments as typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Settles with recomputable evidence whether an AI model was trained from scratch or grown from somebody else's
/// weights.
///
/// Exit status: 0 the claim is confirmed (or, without a claim, done), 1 refuted, 3 inconclusive, 2 the tool could not
/// do its job.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// Form of the result on standard output
    #[arg(long, global = true, value_enum, default_value = "human")]
    pub format: Format,
    /// Whether to colour the result
    #[arg(long, global = true, value_enum, default_value = "auto")]
    pub color: Color,
    /// Print the verdict line alone; with --format json or markdown the whole result
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Show every finding
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Threads to compute with; the result is the same for any number
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Language of sentences and headings, where there are texts in it; as LC_ALL, LC_MESSAGES or LANG say without. JSON is
    /// the same in every language
    #[arg(long, global = true, value_enum)]
    pub lang: Option<Lang>,
    /// Reach no network: a model at an address of one is an error
    #[arg(long, global = true)]
    pub offline: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is in a checkpoint and check its bytes
    Inspect {
        /// Directory or file of safetensors, `hf://org/name[@revision]`, or `https://...`
        model: PathBuf,
        /// Print templates for the names that the tool does not know, to be corrected and named in a case file
        /// (`architecture = "my.toml"` under `[subject]`)
        #[arg(long)]
        template: bool,
    },
    /// Compare two models, with controls: similarity tables, layer maps, tests
    ///
    /// Exit status: 0 done and nothing conclusive, 1 a conclusive finding, 3 nothing could be compared, 2 the tool could
    /// not do its job.
    Compare {
        /// The model in question: as MODEL of `inspect`
        subject: String,
        /// The model it may come from
        parent: String,
        /// A model known to be unrelated to both, of the same hidden size; may be given several times
        #[arg(long = "control", value_name = "MODEL")]
        controls: Vec<String>,
        /// Folder for compare.json, compare.md and the tables as parquet below evidence/
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// Audit a case: everything its case file offers, one verdict
    Audit {
        /// The case file
        case: PathBuf,
        /// Folder for report.json, report.html, report.md, the evidence and what was measured: an audit that was interrupted
        /// goes on there, and what is measured is judged again without the weights
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
        /// Hold the digests of all files against those in DIR first, where names, lengths and times are equal
        #[arg(long, requires = "output")]
        check: bool,
    },
    /// Write the work of a case as data, to be done in parts elsewhere
    ///
    /// The search for disguises is made here; what is left is cut into units of about equal bytes.
    Plan {
        /// The case file
        case: PathBuf,
        /// The plan
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Do some of the work of a plan; what is done already is not done again
    Worker {
        /// The plan
        plan: PathBuf,
        /// Units, from 0: `3`, `0-7`, or `2/8`, the third of eight equal shares
        #[arg(long, value_name = "RANGE")]
        only: Option<String>,
        /// Folder for the units; several workers may share it. Left out: `units` beside the plan
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// Fold the work of a plan, which must be whole, and judge: the result of an audit on one machine
    Reduce {
        /// The plan
        plan: PathBuf,
        /// Folder of the units; they may lie in folders of their own below it
        dir: PathBuf,
        /// Folder for the result, as of `audit`
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Many submissions: one table (CSV, JSON, parquet) and one page, a static site in both languages
    ///
    /// A case file is audited into a folder of its own below DIR, and goes on there when the docket is made again; a finished
    /// output folder is read without its weights; a case that cannot be run is a row with the reason.
    ///
    /// Exit status: 0 every claim is confirmed, 1 one is refuted, 3 one is not settled or could not be run, 2 the docket
    /// could not be written.
    Docket {
        /// Case files, folders with a case.toml, or finished output folders
        #[arg(required = true, value_name = "CASE|DIR")]
        cases: Vec<PathBuf>,
        /// Folder for index.html, docket.csv, docket.json, docket.parquet and the pages of the cases
        #[arg(short, long, value_name = "DIR")]
        output: PathBuf,
    },
    /// Render again what an earlier audit or timeline found, from its folder
    ///
    /// Nothing is measured and nothing is judged. The exit status is that of the earlier run.
    Report {
        /// The folder that `-o` of the earlier run named
        dir: PathBuf,
        /// Answer a programme's questions instead: kr-sovereign-ai, eu-model-documentation, model-openness, or a file of
        /// questions in their form. Markdown, or JSON with --format json
        #[arg(long, value_name = "NAME|FILE")]
        profile: Option<String>,
    },
    /// Write what the tests need of a model into a small file, to test against it without its weights
    Fingerprint {
        /// Directory or file, `hf://org/name[@revision]`, or `https://...`
        model: String,
        /// The file to write, at most 16 MiB
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// The public seed that chooses rows
        #[arg(long, default_value_t = 1, value_name = "N")]
        seed: u64,
        /// What the file calls the model (default: the last part of its path or address)
        #[arg(long)]
        name: Option<String>,
    },
    /// Hold one model against many: fingerprints, models, or folders of either
    ///
    /// Exit status: 0 nothing conclusive, 1 a conclusive test, 3 nothing could be tested, 2 the tool could not do its job.
    Scan {
        /// The model in question: as MODEL of `inspect`
        subject: String,
        /// Fingerprints, model folders, or folders that hold them
        #[arg(required = true, value_name = "DIR|FILE")]
        candidates: Vec<PathBuf>,
    },
    /// Read only the record of a case: run logs, repository, witnesses, releases
    ///
    /// Exit status: 0 nothing in the record contradicts the claim or itself, 1 a conclusive finding, 3 a contradiction or a
    /// question is left, or there is too little, 2 the tool could not do its job.
    Timeline {
        /// The case file
        case: PathBuf,
        /// Folder for report.json, report.html, report.md and the evidence
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Human,
    Json,
    Markdown,
    /// The page, for `report`
    Html,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    En,
    Ko,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}
