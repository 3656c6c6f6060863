//! What is to be fetched, and how it is brought below a limit: fewer rows first, then fewer checkpoints.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet};

use scratchproof_case::{Case, PublishedFile, Sampling};
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::{Error, Result};
use scratchproof_source::{Access, Network, is_address, locate};
use scratchproof_texts::text;

use super::asked::Asked;
use super::published::weights;

/// Shares of the rows that a limit may come to, falling. With the last a tensor of 4,096 rows has 64 to 96 of them, what the
/// test of one tensor looks at in a whole audit.
const SHARES: [f64; 12] = [0.75, 0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1, 0.075, 0.05, 0.03, 0.02];

/// Bytes that are fetched of every file to know what is in it, about.
const HEADER: u64 = 40 << 10;

/// Models of fewer bytes are not thinned by their rows.
const WORTH: u64 = 1 << 20;

/// What is to be fetched of one model.
#[derive(Clone, Copy, Default)]
struct Length {
    bytes: u64,
    files: u64,
}

/// Bytes of the tensors of a model that are read, and of all.
type Part = Option<(u64, u64)>;

/// The models of a case by what is to be fetched of them.
struct Bill {
    access: Access,
    series: Vec<Length>,
    beside: Vec<Length>,
    /// A model at an address, whose rows stand for those of all: their tensors are alike.
    place: Option<String>,
    opened: OnceCell<Checkpoint>,
    /// Bytes that were fetched to know it.
    spent: Cell<u64>,
}

impl Bill {
    fn of(case: &Case, access: Access, limited: bool) -> Result<Self> {
        let known: BTreeMap<&str, Length> = case
            .subject
            .published
            .iter()
            .map(|step| {
                let bytes = step.weights.iter().map(|file| file.bytes).sum();
                (step.address.as_str(), Length { bytes, files: step.weights.len() as u64 })
            })
            .filter(|(_, length)| length.bytes > 0 || !limited)
            .collect();
        let others = case.parents.iter().chain(&case.controls).filter(|reference| !reference.fingerprint);
        let others: Vec<&str> = others.map(|reference| reference.location.written.as_str()).collect();
        let own: Vec<&str> = case.subject.checkpoints.iter().map(|entry| entry.location.written.as_str()).collect();
        let place = own.iter().rev().chain(&others).find(|place| is_address(place)).map(|place| (*place).to_owned());
        let (series, beside) = (Vec::new(), Vec::new());
        let mut bill = Self { access, series, beside, place, opened: OnceCell::new(), spent: Cell::new(0) };
        let length = |address: &&str| match known.get(address) {
            Some(length) => Ok(*length),
            // Asked for only where somebody wants to know.
            None if !limited || !is_address(address) => Ok(Length::default()),
            None => bill.asked(address),
        };
        let beside: Vec<Length> = others.iter().map(length).collect::<Result<_>>()?;
        let series: Vec<Length> = own.iter().map(length).collect::<Result<_>>()?;
        (bill.series, bill.beside) = (series, beside);
        Ok(bill)
    }

    /// The length of a model as its place lists it; a server that lists none says it when the files are opened.
    fn asked(&self, address: &str) -> Result<Length> {
        let files = locate(address, self.access)?.listed().unwrap_or_default();
        let weights: Vec<PublishedFile> = files.into_iter().filter_map(|file| weights(file, "")).collect();
        let bytes = weights.iter().map(|file| file.bytes).sum();
        if bytes > 0 {
            return Ok(Length { bytes, files: weights.len() as u64 });
        }
        let model = self.open(address)?;
        let bytes = model.shards.iter().map(|shard| shard.blob.len()).sum();
        Ok(Length { bytes, files: model.shards.len() as u64 })
    }

    fn open(&self, place: &str) -> Result<Checkpoint> {
        let before = Network::shared().fetched();
        let model = Checkpoint::open_named(place, self.access);
        self.spent.set(self.spent.get() + Network::shared().fetched() - before);
        model
    }

    /// Which part of a model is read with a share of the rows.
    fn part(&self, sampling: Option<Sampling>) -> Result<Part> {
        let (Some(sampling), Some(place)) = (sampling, &self.place) else { return Ok(None) };
        if self.opened.get().is_none() {
            let _ = self.opened.set(self.open(place)?);
        }
        let model = self.opened.get().map(|model| model.shared().sampled(sampling)).transpose()?;
        Ok(model.and_then(|model| model.sample.as_ref().map(|sample| sample.bytes)))
    }

    /// Bytes of some checkpoints and of everything beside them.
    fn sum(&self, series: &[usize], part: Part) -> u64 {
        let one = |length: &Length| match part {
            None => length.bytes,
            Some((drawn, of)) => {
                let drawn = u128::from(length.bytes) * u128::from(drawn) / u128::from(of.max(1));
                (u64::try_from(drawn).unwrap_or(u64::MAX) + HEADER * length.files).min(length.bytes)
            }
        };
        series.iter().map(|at| one(&self.series[*at])).chain(self.beside.iter().map(one)).sum()
    }

    fn fits(&self, bytes: u64, most: u64) -> bool {
        bytes.saturating_add(self.spent.get()) <= most
    }

    /// The largest share of the rows of all models that is within a limit, or else the least there is.
    fn rows(&self, all: &[usize], most: u64, seed: u64) -> Result<(Option<Sampling>, Part)> {
        let largest = self.series.iter().chain(&self.beside).map(|length| length.bytes).max().unwrap_or(0);
        let mut least = (None, None);
        if largest < WORTH {
            return Ok(least);
        }
        for share in SHARES {
            let tried = Some(Sampling { share, seed });
            let drawn = self.part(tried)?;
            // Where tensors are too small for rows to be drawn, nothing is saved.
            if drawn.is_none_or(|(drawn, of)| drawn >= of) || drawn == least.1 {
                continue;
            }
            least = (tried, drawn);
            if self.fits(self.sum(all, drawn), most) {
                break;
            }
        }
        Ok(least)
    }
}

/// The bytes of the case that are to be fetched, and which rows are read. With a limit it is the rows that are fewer first, and
/// checkpoints only where the least rows of all of them are too many, evenly over the series. Headers that are fetched to know
/// it count.
pub(super) fn budget(case: &mut Case, access: Access, asked: &Asked) -> Result<(u64, Option<Sampling>)> {
    let bill = Bill::of(case, access, asked.most.is_some())?;
    let all: Vec<usize> = (0..bill.series.len()).collect();
    let mut sampling = asked.sampling();
    let mut part = if bill.sum(&all, None) > 0 { bill.part(sampling)? } else { None };
    let whole = bill.sum(&all, part);
    let Some(most) = asked.most.filter(|most| !bill.fits(whole, *most)) else { return Ok((whole, sampling)) };
    if asked.share.is_none() {
        (sampling, part) = bill.rows(&all, most, asked.seed())?;
    }
    for every in 1..=bill.series.len().max(1) {
        let mut chosen = all.clone();
        every_so_many(&mut chosen, every);
        let bytes = bill.sum(&chosen, part);
        if bill.fits(bytes, most) {
            let stays: BTreeSet<usize> = chosen.into_iter().collect();
            let mut at = 0..;
            case.subject.checkpoints.retain(|_| at.next().is_some_and(|at| stays.contains(&at)));
            return Ok((bytes, sampling));
        }
    }
    let mut ends = all;
    every_so_many(&mut ends, usize::MAX);
    let bytes = bill.sum(&ends, part);
    Err(Error::usage(match sampling {
        None => text!("error-audit/published/max-fetch-allows-bytes", most, series = bytes),
        Some(Sampling { share, .. }) => text!("error-audit/budget/share", most, share = share.to_string(), bytes),
    }))
}

/// Keeps every so many of a series, the first and the last among them.
pub(super) fn every_so_many<T>(series: &mut Vec<T>, every: usize) {
    let last = series.len().saturating_sub(1);
    let mut at = 0..;
    series.retain(|_| at.next().is_some_and(|at| every < 2 || at % every == 0 || at == last));
}
