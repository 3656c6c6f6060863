//! The built-in register of public releases (`data/releases.toml`): when did the weights of a model become public, and
//! which known models of these sizes came before a run?
//!
//! How a row is to be read stands at the head of the file and is followed here to the letter: to clear, the earlier of
//! `not_before` and `released` minus a day; a ceiling alone clears nobody; to say that a model was available, `not_after`,
//! or `released` plus a day.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;

use scratchproof_error::{Error, Result};
pub use scratchproof_record::releases::Before;
use scratchproof_record::releases::Open;
use scratchproof_record::{Interval, Release, Settings, Trust};
use scratchproof_texts::{Text, text};

const BUILT_IN: &str = include_str!("../../../data/releases.toml");
const SCHEMA: &str = "scratchproof.releases/1";
/// Sizes that two models must both have on record to be compared.
const ENOUGH: usize = 3;

/// The register.
#[derive(Clone, Debug)]
pub struct Register {
    /// What came after this day is not in it.
    pub until: NaiveDate,
    /// The rows, in the order of the file.
    pub rows: Vec<Row>,
}

/// What `released` rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Somebody states the day.
    Statement,
    /// Commits of the hub repository; publication may be later.
    Upload,
    /// Only that it was public by then.
    Ceiling,
}

/// One release. The head of the file says what each key means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Row {
    pub id: String,
    pub name: String,
    pub maker: String,
    pub released: String,
    pub precision: String,
    pub grade: String,
    pub basis: Basis,
    pub source: String,
    pub seen: String,
    pub not_before: Option<String>,
    pub not_before_source: Option<String>,
    pub not_after: Option<String>,
    pub not_after_source: Option<String>,
    pub note: Option<String>,
    pub parent: Option<String>,
    pub model_type: Option<String>,
    #[serde(flatten)]
    pub shape: Shape,
}

/// Sizes that make an architecture, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct Shape {
    pub hidden_size: Option<u64>,
    pub layers: Option<u64>,
    pub heads: Option<u64>,
    pub kv_heads: Option<u64>,
    pub experts: Option<u64>,
    pub vocab_size: Option<u64>,
}

/// How the sizes of two models stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// Every size that both have on record is equal, three or more, the hidden size among them.
    Equal,
    /// Hidden size and heads are equal, and the first has more layers: it could be grown from the second in depth.
    Deeper,
    /// Only the vocabulary is equal: one tokenizer, perhaps.
    Vocabulary,
    /// None of these.
    None,
}

impl Relation {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Deeper => "deeper",
            Self::Vocabulary => "vocabulary",
            Self::None => "none",
        }
    }
}

impl Shape {
    /// The sizes of a configuration; what the tensors say goes before it.
    pub fn of(settings: Option<&Settings>, tensors: Self) -> Self {
        let size = |name: &str| settings?.get(name).and_then(|size| u64::try_from(*size).ok()).filter(|size| *size > 0);
        Self {
            hidden_size: tensors.hidden_size.or(size("hidden_size")),
            layers: tensors.layers.or(size("num_hidden_layers")),
            heads: tensors.heads.or(size("num_attention_heads")),
            kv_heads: tensors.kv_heads.or(size("num_key_value_heads")),
            experts: tensors.experts.or(size("n_routed_experts")),
            vocab_size: tensors.vocab_size.or(size("vocab_size")),
        }
    }

    fn sizes(&self) -> [(&'static str, Option<u64>); 6] {
        [
            ("hidden size", self.hidden_size),
            ("layers", self.layers),
            ("heads", self.heads),
            ("kv heads", self.kv_heads),
            ("experts", self.experts),
            ("vocabulary", self.vocab_size),
        ]
    }

    /// The sizes that both have on record, with whether they are equal.
    pub fn compared(&self, other: &Self) -> Vec<(&'static str, bool)> {
        let pairs = self.sizes().into_iter().zip(other.sizes());
        pairs.filter_map(|((name, own), (_, theirs))| Some((name, own? == theirs?))).collect()
    }

    /// How this model stands to another one.
    pub fn relation(&self, other: &Self) -> Relation {
        let compared = self.compared(other);
        let equal = |name: &str| compared.iter().any(|(size, equal)| *size == name && *equal);
        let unlike = |name: &str| compared.iter().any(|(size, equal)| *size == name && !*equal);
        if compared.len() >= ENOUGH && compared.iter().all(|(_, equal)| *equal) && equal("hidden size") {
            return Relation::Equal;
        }
        let deeper = self.layers.zip(other.layers).is_some_and(|(own, theirs)| own > theirs);
        if deeper && equal("hidden size") && equal("heads") && !unlike("kv heads") {
            return Relation::Deeper;
        }
        if equal("vocabulary") { Relation::Vocabulary } else { Relation::None }
    }

    fn is_enough(&self, other: &Self) -> bool {
        self.compared(other).len() >= ENOUGH
    }
}

/// A row of the register held against a case.
#[derive(Clone, Debug)]
pub struct Held {
    /// The row.
    pub row: Row,
    /// When it became public.
    pub release: Release,
    /// Sizes that both have on record, with whether they are equal.
    pub sizes: Vec<(&'static str, bool)>,
    /// How the sizes stand to each other.
    pub relation: Relation,
    /// Whether it was public before the start.
    pub before: Before,
    /// Whether the case names it as a parent or a control.
    pub proposed: bool,
}

/// How often two models of the register by different makers stand in a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance {
    /// Ordered pairs that do.
    pub hits: usize,
    /// Ordered pairs with enough sizes on record.
    pub pairs: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegister {
    schema: String,
    until: String,
    release: Vec<Row>,
}

impl Register {
    /// The register that the program holds.
    ///
    /// # Errors
    /// If the data file it was built from is damaged.
    pub fn built_in() -> Result<Self> {
        Self::parse(BUILT_IN)
    }

    /// Reads a register.
    ///
    /// # Errors
    /// If it is none, or a date or a grade in it cannot be read; the message names the row.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: Text| Error::input(text!("error-timeline/register/register-releases", what));
        let raw: RawRegister =
            toml::from_str(text).map_err(|error| wrong(error.message().replace('\n', " ").into()))?;
        if raw.schema != SCHEMA {
            return Err(wrong(text!(
                "error-timeline/register/schema-read",
                schema = format!("{:?}", raw.schema),
                schema_2 = format!("{SCHEMA:?}")
            )));
        }
        let until = raw
            .until
            .parse()
            .map_err(|_| wrong(text!("error-timeline/register/until-no-day", until = format!("{:?}", raw.until))))?;
        for row in &raw.release {
            row.release()
                .map_err(|error| error.context(text!("error-timeline/register/register-releases-2", id = &row.id)))?;
        }
        Ok(Self { until, rows: raw.release })
    }

    /// The row of a model: by `hf://org/name[@revision]`, otherwise by its id or its name, whatever the case of letters.
    pub fn find(&self, name: &str, address: &str) -> Option<&Row> {
        let lower = |text: &str| text.to_ascii_lowercase();
        let hub = address.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("hf://")).map(|_| &address[5..]);
        let id = hub.map(|rest| lower(rest.split_once('@').map_or(rest, |(model, _)| model)));
        if let Some(id) = id {
            // An address says which model it is; the name that the case gives it is only a name.
            return self.rows.iter().find(|row| lower(&row.id) == id);
        }
        let name = lower(name.trim());
        let last = |id: &str| lower(id.rsplit('/').next().unwrap_or(id));
        let mut hits =
            self.rows.iter().filter(|row| lower(&row.id) == name || lower(&row.name) == name || last(&row.id) == name);
        let first = hits.next()?;
        hits.next().is_none().then_some(first)
    }

    /// Every row held against a model of these sizes and a run that started at `start`. `proposed` holds ids of rows.
    pub fn hold(&self, shape: &Shape, start: Option<DateTime<Utc>>, proposed: &BTreeSet<String>) -> Vec<Held> {
        let held = |row: &Row| {
            let release = row.release().ok()?;
            Some(Held {
                sizes: shape.compared(&row.shape),
                relation: shape.relation(&row.shape),
                before: start.map_or(Before::Unknown, |start| release.before(start)),
                proposed: proposed.contains(&row.id),
                row: row.clone(),
                release,
            })
        };
        self.rows.iter().filter_map(held).collect()
    }

    /// How often two models by different makers, neither the parent of the other, stand in this relation.
    pub fn chance(&self, relation: Relation) -> Chance {
        let mut chance = Chance { hits: 0, pairs: 0 };
        for a in &self.rows {
            for b in &self.rows {
                let kin = |child: &Row, parent: &Row| child.parent.as_ref().is_some_and(|id| *id == parent.id);
                if a.maker == b.maker || kin(a, b) || kin(b, a) || !a.shape.is_enough(&b.shape) {
                    continue;
                }
                chance.pairs += 1;
                chance.hits += usize::from(a.shape.relation(&b.shape) == relation);
            }
        }
        chance
    }
}

impl Row {
    /// When it became public, as the head of the file says it is to be read.
    ///
    /// # Errors
    /// If a date or the grade cannot be read.
    pub fn release(&self) -> Result<Release> {
        let trust: Trust = self.grade.parse()?;
        let released = Interval::parse(&self.released)?;
        let day = |at: DateTime<Utc>, days: i64| {
            let date = at.date_naive();
            let moved = if days < 0 {
                date.checked_sub_days(Days::new(days.unsigned_abs()))
            } else {
                date.checked_add_days(Days::new(days.unsigned_abs()))
            };
            moved.unwrap_or(date).and_time(NaiveTime::MIN).and_utc()
        };
        let written = match self.released.len() {
            // The day as written, not the first instant that it is that day somewhere.
            10 => self.released.parse::<NaiveDate>().ok().map(|date| date.and_time(NaiveTime::MIN).and_utc()),
            _ => Some(released.earliest),
        };
        let written = written.unwrap_or(released.earliest);
        let not_before = self.not_before.as_deref().map(Interval::parse).transpose()?.map(|span| span.earliest);
        let eve = (self.basis != Basis::Ceiling).then(|| day(written, -1));
        let floor = match (not_before, eve) {
            (Some(a), Some(b)) => Some(a.min(b)),
            // "The earlier of not_before and released minus one day" holds for a ceiling too, if there is a floor.
            (Some(a), None) => Some(a.min(day(written, -1))),
            (None, eve) => eve,
        };
        let latest = match self.not_after.as_deref().map(Interval::parse).transpose()? {
            Some(span) => span.latest,
            // The whole of the day after.
            None => day(written, 2) - chrono::TimeDelta::seconds(1),
        };
        let earliest = floor.map_or(DateTime::UNIX_EPOCH, |floor| floor.min(latest));
        let mut notes = vec![format!("register: {} ({}); {}", self.released, self.basis.words(), self.seen)];
        notes.extend(self.note.clone());
        Ok(Release {
            name: self.name.clone(),
            at: Interval { earliest, latest },
            trust,
            source: Some(self.source.clone()),
            open: if floor.is_some() { Open::No } else { Open::Start },
            notes,
        })
    }
}

impl Basis {
    fn words(self) -> &'static str {
        match self {
            Self::Statement => "stated",
            Self::Upload => "day of the upload",
            Self::Ceiling => "public by then",
        }
    }
}

/// An end that nobody reaches and every calendar writes: who does not look whether an end is open accuses nobody.
fn end_of_time() -> DateTime<Utc> {
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).unwrap_or(NaiveDate::MAX);
    last.and_time(NaiveTime::MIN).and_utc()
}

/// What a hub says of a repository that the register does not know: its creation is a floor, never the release.
pub fn from_hub(name: &str, created: DateTime<Utc>, source: String) -> Release {
    Release {
        name: name.to_owned(),
        at: Interval { earliest: created, latest: end_of_time() },
        trust: Trust::Platform,
        source: Some(source),
        open: Open::End,
        notes: vec![
            "the creation of its hub repository: a floor; the weights may have become public at any time after".into(),
        ],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(keys: &str) -> Result<Release> {
        let text = format!(
            "schema = \"{SCHEMA}\"\nuntil = \"2026-01-04\"\n[[release]]\nid = \"o/Model-1\"\nname = \"Model 1\"\nmaker = \"o\"\n\
             precision = \"day\"\ngrade = \"platform\"\nsource = \"page\"\nseen = \"it\"\n{keys}\n"
        );
        Register::parse(&text)?.rows[0].release()
    }

    #[test]
    fn rows_are_read_as_the_head_of_the_file_says() {
        let span = |keys: &str| {
            let release = row(keys).unwrap();
            let text = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H").to_string();
            (text(release.at.earliest), text(release.at.latest), release.open)
        };
        let is = |a: &str, b: &str, open| (a.to_owned(), b.to_owned(), open);
        let (stated, ceiling) =
            ("basis = \"statement\"\nreleased = \"2025-07-28\"", "basis = \"ceiling\"\nreleased = \"2025-07-28\"");
        assert_eq!(span(stated), is("2025-07-27T00", "2025-07-29T23", Open::No));
        assert_eq!(
            span(&format!("{stated}\nnot_before = \"2025-07-20T03:27:25Z\"\nnot_after = \"2025-07-29\"")),
            is("2025-07-20T03", "2025-07-30T11", Open::No)
        );
        // A floor on the day itself clears nobody of the day before: the earlier of the two counts.
        assert_eq!(span(&format!("{stated}\nnot_before = \"2025-07-28T05:00:00Z\"")).0, "2025-07-27T00");
        assert_eq!(span(ceiling), is("1970-01-01T00", "2025-07-29T23", Open::Start));
        assert_eq!(span(&format!("{ceiling}\nnot_before = \"2025-07-20T03:00:00Z\"")).2, Open::No);
        let hour = "basis = \"statement\"\nreleased = \"2025-06-30T04:03:39Z\"";
        assert_eq!(span(hour), is("2025-06-29T00", "2025-07-01T23", Open::No));
        let start = |day: &str| Interval::parse(day).unwrap().earliest;
        assert_eq!(row(ceiling).unwrap().before(start("1980-01-01T00:00:00Z")), Before::Unsettled);
        assert_eq!(row(stated).unwrap().before(start("2025-07-26T23:00:00Z")), Before::No);
        assert_eq!(row(stated).unwrap().before(start("2025-07-30T00:00:00Z")), Before::Yes);
        for (keys, word) in [
            ("basis = \"rumour\"\nreleased = \"2025-07-28\"", "rumour"),
            ("basis = \"upload\"\nreleased = \"soon\"", "o/Model-1"),
            ("basis = \"upload\"\nreleased = \"2025-07-28\"\ncolour = 3", "colour"),
        ] {
            let error = row(keys).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_built_in_register_is_whole() {
        let register = Register::built_in().unwrap();
        assert!(register.rows.len() >= 80);
        for row in &register.rows {
            let release = row.release().unwrap();
            assert!(release.at.earliest <= release.at.latest, "{}", row.id);
            assert!(!row.source.is_empty() && !row.seen.is_empty(), "{}", row.id);
            let ids = register.rows.iter().filter(|other| other.id == row.id).count();
            assert_eq!((ids, row.released.contains('T')), (1, row.precision == "hour"), "{}", row.id);
            assert_eq!(register.find("any", &format!("hf://{}@main", row.id)).map(|found| &found.id), Some(&row.id));
            assert_eq!(register.find(&row.name.to_uppercase(), "parent").map(|found| &found.id), Some(&row.id));
        }
        // Few rows are of later days, put in one by one: they do not make it whole up to then.
        let later = |row: &&Row| row.release().unwrap().at.latest.date_naive() > register.until + Days::new(2);
        let later: Vec<&str> = register.rows.iter().filter(later).map(|row| row.id.as_str()).collect();
        assert_eq!(later, ["Rakuten/RakutenAI-3.0", "Motif-Technologies/Motif-3-Beta"]);
        let air = register.find("GLM-4.5-AIR", "models/air").unwrap();
        assert_eq!((air.id.as_str(), air.shape.hidden_size), ("zai-org/GLM-4.5-Air", Some(4096)));
        assert!(register.find("GLM-4.5-Air", "hf://someone/else").is_none(), "the address goes before the name");
    }

    #[test]
    fn sizes_are_held_against_all_and_against_chance() {
        let register = Register::built_in().unwrap();
        let air = register.find("zai-org/GLM-4.5-Air", "").unwrap().shape;
        let start = Some(Interval::parse("2025-10-01T00:00:00Z").unwrap().earliest);
        let held = register.hold(&air, start, &BTreeSet::from(["zai-org/GLM-4.5-Air".to_owned()]));
        let equal: Vec<_> = held.iter().filter(|held| held.relation == Relation::Equal).collect();
        let ids: Vec<&str> = equal.iter().map(|held| held.row.id.as_str()).collect();
        assert!(ids.contains(&"zai-org/GLM-4.5-Air") && ids.contains(&"PrimeIntellect/INTELLECT-3"), "{ids:?}");
        assert!(equal.iter().all(|h| (h.before == Before::Yes) == (h.row.id == "zai-org/GLM-4.5-Air")
            && h.proposed == (h.before == Before::Yes)));
        let deeper = Shape {
            layers: Some(48),
            vocab_size: Some(1),
            ..Shape { layers: Some(32), ..register.find("Mistral-7B-v0.1", "").unwrap().shape }
        };
        let held = register.hold(&deeper, None, &BTreeSet::new());
        assert!(held.iter().any(|h| h.row.id == "mistralai/Mistral-7B-v0.1"
            && h.relation == Relation::Deeper
            && h.before == Before::Unknown));
        let (equal, deeper) = (register.chance(Relation::Equal), register.chance(Relation::Deeper));
        assert!(equal.pairs > 500 && equal.pairs == deeper.pairs && equal.hits * 20 < equal.pairs);
    }

    #[test]
    fn dates_that_contradict_each_other_are_counted_in_days() {
        let at = |text: &str| Release::new("P", text, Trust::Press, None).unwrap();
        assert_eq!(at("2026-01-01T00:00:00Z").apart(&at("2026-01-03T12:00:00Z")), Some(-2.5));
        assert_eq!(at("2026-01-03T12:00:00Z").apart(&at("2026-01-01T00:00:00Z")), Some(2.5));
        assert_eq!(at("2026-01-02").apart(&at("2026-01-01")), None);
        let floor = from_hub("P", at("2026-01-05").at.earliest, String::new());
        assert_eq!(floor.apart(&at("2026-02-05")), None, "a floor says nothing of later dates");
        assert!(at("2026-01-01").apart(&floor).is_some());
        assert_eq!(floor.before(at("2026-01-01").at.earliest), Before::No);
        assert_eq!(floor.before(at("2027-01-01").at.earliest), Before::Unsettled);
    }
}
