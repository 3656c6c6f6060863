//! The arguments as typed.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use scratchproof::audit::Asked;

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
    /// Language of sentences and headings, where there are texts in it; as `LC_ALL`, `LC_MESSAGES` or `LANG` say without. JSON is
    /// the same in every language
    #[arg(long, global = true, value_enum)]
    pub lang: Option<Lang>,
    /// Reach no network: a model at an address of one is an error
    #[arg(long, global = true)]
    pub offline: bool,

    /// Keep what is fetched from a network in DIR, so that nothing is fetched twice, by a later audit neither
    #[arg(long, global = true, value_name = "DIR")]
    pub keep_fetched: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented case file from what lies in a folder
    ///
    /// Checkpoints of any form, run logs, a repository and the recipe of an initialisation are found and opened; an audit
    /// of the file runs without a line edited. Comments say where parents and controls are to be found.
    Init {
        /// The folder that a training wrote to
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Say what a finding means, how it is computed, what can fool it and what to do next
    Explain {
        /// A code such as `chain/memory`, or a word of one; every code is listed without it
        code: Option<String>,
    },
    /// Print a script that completes commands and options in a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, in roff
    Man,
    /// Show what is in a checkpoint and check its bytes
    Inspect {
        /// Directory or file of any form, `hf://org/name[/folder][@revision]`, `https://...`, `s3://...`, `gs://...` or `az://...`
        model: PathBuf,
        /// Print templates for the names that the tool does not know, to be corrected and named in a case file
        /// (`architecture = "my.toml"` under `[subject]`)
        #[arg(long)]
        template: bool,
        /// List a series of a hub and check it by the digests of its files, without a byte of weight:
        /// `hf://org/name@step{step}` (branches), `hf://org/name/folder/step{step}` or `.../{tokens}B` (folders), or of a bucket
        /// `s3://bucket/run/step{step}`
        #[arg(long, conflicts_with = "template")]
        series: bool,
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
        #[command(flatten)]
        rows: Rows,
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
        #[command(flatten)]
        part: Part,
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
        #[command(flatten)]
        part: Part,
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
        /// An audit in a form that others read
        #[arg(long = "as", value_enum, value_name = "FORM", conflicts_with_all = ["format", "profile"])]
        form: Option<Form>,
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
    /// Sign a finished audit, or with --model a model's folder as `OpenSSF` Model Signing does
    ///
    /// The envelope of an audit holds an in-toto statement: subjects are the manifests of the checkpoints, the predicate is
    /// the audit. Signed again by another key it gets one more signature.
    Attest {
        /// The folder that `-o` of `audit` named; with --model a model's folder or file
        dir: PathBuf,
        /// The private key, in PEM: PKCS#8 (encrypted too) or SEC 1; Ed25519, P-256, P-384 or P-521
        #[arg(long, value_name = "KEY.pem")]
        key: PathBuf,
        /// A file with the password of the key in its first line; otherwise the variable `SCRATCHPROOF_KEY_PASSWORD`
        #[arg(long, value_name = "FILE")]
        password: Option<PathBuf>,
        /// Sign a model's folder or file, not an audit
        #[arg(long)]
        model: bool,
        /// With --model: certificates, the signer's own first
        #[arg(long = "certificate", value_name = "CERT.pem", requires = "model")]
        certificates: Vec<PathBuf>,
        /// The file to write: DIR/attestation.json, or for a model MODEL/model.sig
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Keep a ledger during a training: what was fixed, in which order
    Witness {
        #[command(subcommand)]
        what: Witness,
    },
    /// Check a finished audit, an attestation, a signed model, a ledger or what was revealed
    ///
    /// One line an item. Exit status: 0 all verified, 1 something contradicts, 3 something could not be checked, 2 there is
    /// nothing that could be read.
    Verify {
        /// An output folder, an attestation, a signature over a model, a ledger, or what `witness reveal` wrote
        path: PathBuf,
        /// A public key that is trusted, in PEM; may be given several times
        #[arg(long = "key", value_name = "PUB.pem")]
        keys: Vec<PathBuf>,
        /// Certificates that are trusted
        #[arg(long = "root", value_name = "ROOT.pem")]
        roots: Vec<PathBuf>,
        /// The model that a signature is over (otherwise the folder the signature lies in), or of what is revealed
        #[arg(long, value_name = "MODEL")]
        model: Option<PathBuf>,
        /// The ledger that published the root of what is revealed
        #[arg(long, value_name = "LEDGER")]
        ledger: Option<PathBuf>,
        /// The case file, where it is not where it was when it was audited
        #[arg(long, value_name = "CASE")]
        case: Option<PathBuf>,
        /// Run the audit again from its inputs and demand equal bits
        #[arg(long)]
        recompute: bool,
    },
}

/// What of a case is used. A folder of the output remembers it.
#[derive(Debug, clap::Args)]
pub struct Part {
    /// Use these steps of the series only: `0,1000,10000`
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "every")]
    pub steps: Vec<i64>,
    /// Use every so many checkpoints of the series, the first and the last among them
    #[arg(long, value_name = "N", value_parser = every)]
    pub every: Option<usize>,
    /// Fetch at most so much from a network (`20GB`): a share of the rows is read as --sample does, as large as that allows;
    /// where the least share is too much, fewer checkpoints of the series too, evenly, the first and the last among them
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_fetch: Option<u64>,
    #[command(flatten)]
    pub rows: Rows,
}

/// Which rows are read.
#[derive(Debug, clap::Args)]
pub struct Rows {
    /// Read this share of the rows of every large tensor (`0.1` or `10%`), the same rows of every model; 1 for all. What the
    /// tests would still see is measured and said
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub sample: Option<f64>,
    /// The seed that decides which rows (otherwise one that nobody could know before; it is recorded)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..1 << 53))]
    pub seed: Option<u64>,
}

impl Part {
    /// As the library takes it.
    pub fn asked(&self) -> Asked {
        let Self { steps, every, max_fetch, rows } = self;
        Asked { steps: steps.clone(), every: *every, most: *max_fetch, share: rows.sample, seed: rows.seed }
    }
}

/// A number of checkpoints from 1.
fn every(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|every| *every > 0).ok_or_else(|| "a whole number from 1".to_owned())
}

/// `0.1`, `10%`.
fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|number| number / scale);
    share.filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(|| "a share such as 0.1 or 10%".to_owned())
}

/// `20GB`, `500MiB`, `1000000`.
fn size(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let power = |letter: &str| ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letter);
    let unit = unit.trim().to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix("ib") {
        Some(letter) => (letter, 1024.0_f64),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1000.0),
    };
    let power = power(letter).and_then(|power| i32::try_from(power).ok());
    let value = number.parse::<f64>().ok().zip(power).map(|(number, power)| number * base.powi(power));
    let value = value.filter(|value| (1.0..1e18).contains(value));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in range")]
    value.map(|value| value as u64).ok_or_else(|| "a size such as 20GB or 500MiB".to_owned())
}

/// The forms in which others read an audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The in-toto statement that `attest` signs
    Statement,
    /// An in-toto simple verification result
    Svr,
    /// `CycloneDX` 1.6 with declarations
    Cyclonedx,
    /// Metadata of a model card
    ModelCard,
    /// A block of text for the documentation that the EU's AI Act asks for
    #[value(name = "eu-form")]
    Eu,
}

/// What is done with a ledger. It is hash-chained, and only ever added to.
#[derive(Debug, Subcommand)]
pub enum Witness {
    /// Make a ledger with its first entry
    Init {
        /// The file to make
        ledger: PathBuf,
        #[command(flatten)]
        body: Body,
    },
    /// Add an entry: a checkpoint, or what --note and --set say
    Append {
        /// The ledger
        ledger: PathBuf,
        #[command(flatten)]
        body: Body,
    },
    /// Ask the outside clocks that are still to be asked
    Stamp {
        /// The ledger
        ledger: PathBuf,
        /// Seconds to wait for all of them
        #[arg(long, value_name = "SECONDS", default_value_t = 30)]
        patience: u64,
    },
    /// Reveal one tensor, or some rows of it, under the root that `append --tree` published
    Reveal {
        /// A model of safetensors, folder or file
        model: PathBuf,
        /// The tensor, by its name in the file
        #[arg(long, value_name = "NAME")]
        tensor: String,
        /// Rows to show, counted from 0 along all axes but the last
        #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
        rows: Vec<u64>,
        /// Rows that follow from a word: N of them
        #[arg(long, value_name = "N", requires = "word")]
        sample: Option<u64>,
        /// The auditor's word, chosen after the root was published
        #[arg(long, value_name = "TEXT")]
        word: Option<String>,
        /// The file to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Add the last entry: nothing may follow it
    Close {
        /// The ledger
        ledger: PathBuf,
        #[command(flatten)]
        body: Body,
    },
}

/// What stands in an entry.
#[derive(Debug, clap::Args)]
pub struct Body {
    /// A checkpoint to digest, folder or file, as `attest --model` does
    #[arg(long, value_name = "MODEL")]
    pub checkpoint: Option<PathBuf>,
    /// Its step
    #[arg(long, value_name = "N")]
    pub step: Option<i64>,
    /// Tokens seen
    #[arg(long, value_name = "N")]
    pub tokens: Option<u64>,
    /// A run log to digest as far as it is written
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// The commit of the training code
    #[arg(long, value_name = "ID")]
    pub commit: Option<String>,
    /// Anything else to fix, such as a setting of the optimiser; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// With --checkpoint: commit to its tensors and rows too, so that one of them can be revealed without the rest
    #[arg(long, requires = "checkpoint")]
    pub tree: bool,
    /// An RFC 3161 authority to stamp the ledger up to this entry; may be given several times
    #[arg(long = "authority", value_name = "URL")]
    pub authorities: Vec<String>,
    /// A calendar of `OpenTimestamps` to do the same; may be given several times
    #[arg(long = "calendar", value_name = "URL")]
    pub calendars: Vec<String>,
    /// Seconds to wait for all of them, earlier questions too; what is not answered waits for the next entry, or for
    /// `witness stamp`
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub patience: u64,
    /// A sentence
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// A private key to sign the entry with, in PEM
    #[arg(long, value_name = "KEY.pem")]
    pub key: Option<PathBuf>,
    /// A file with the password of the key in its first line
    #[arg(long, value_name = "FILE")]
    pub password: Option<PathBuf>,
}

/// The whole command line, as clap describes it.
pub fn described() -> clap::Command {
    Arguments::command()
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
