//! A row of the log beside the record of the summary that the tracker writes with it: the same values, twice.

use std::collections::BTreeMap;

use crate::run::Difference;

/// Values of a row that are kept beside the other; wider rows are not compared.
const WIDE: usize = 64;
/// Bytes of them.
const LONG: usize = 16_384;
/// Names that differ, at most.
const NAMES: usize = 100;

/// Names and texts of the values of one step.
#[derive(Default)]
pub(super) struct Side {
    /// The step, as far as it is known.
    pub step: Option<i64>,
    text: String,
    /// Ends of name and value in the text.
    ends: Vec<(usize, usize)>,
}

impl Side {
    pub fn clear(&mut self) {
        self.step = None;
        self.text.clear();
        self.ends.clear();
    }

    pub fn add(&mut self, name: &str, value: &str) {
        if self.ends.len() < WIDE && self.text.len() + name.len() + value.len() < LONG {
            self.text.push_str(name);
            let middle = self.text.len();
            self.text.push_str(value);
            self.ends.push((middle, self.text.len()));
        }
    }

    pub fn set<'a>(&mut self, step: i64, values: impl Iterator<Item = (&'a str, &'a str)>) {
        self.clear();
        self.step = Some(step);
        values.for_each(|(name, value)| self.add(name, value));
    }

    fn values(&self) -> impl Iterator<Item = (&str, &str)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end.1));
        starts.zip(&self.ends).map(|(start, (middle, end))| (&self.text[start..*middle], &self.text[*middle..*end]))
    }
}

/// What differs, by name.
struct Differs {
    rows: u64,
    step: i64,
    row: f64,
    summary: f64,
}

/// The last row and the last record of the summary.
#[derive(Default)]
pub(super) struct Mirror {
    pub row: Side,
    pub summary: Side,
    done: Option<i64>,
    differs: BTreeMap<String, Differs>,
    same: BTreeMap<String, u64>,
}

impl Mirror {
    /// Compares the two if they are of one step, once.
    pub fn compare(&mut self) {
        let Some(step) = self.row.step.filter(|step| self.summary.step == Some(*step) && self.done != Some(*step))
        else {
            return;
        };
        self.done = Some(step);
        for (name, text) in self.row.values() {
            let Some((_, other)) = self.summary.values().find(|(own, _)| *own == name) else { continue };
            let equal = text == other;
            let (Some(a), Some(b)) =
                (if equal { (Some(0.0), Some(0.0)) } else { (text.parse().ok(), other.parse().ok()) })
            else {
                continue;
            };
            if equal || same(a, b) {
                if let Some(count) = self.same.get_mut(name) {
                    *count += 1;
                } else if self.same.len() < NAMES {
                    self.same.insert(name.to_owned(), 1);
                }
            } else if let Some(differs) = self.differs.get_mut(name) {
                differs.rows += 1;
            } else if self.differs.len() < NAMES {
                self.differs.insert(name.to_owned(), Differs { rows: 1, step, row: a, summary: b });
            }
        }
    }

    /// What was found.
    pub fn finish(self) -> Vec<Difference> {
        let one = |(name, differs): (String, Differs)| {
            let of = differs.rows + self.same.get(&name).copied().unwrap_or(0);
            Difference {
                what: format!("row.{name} from step {} ({} of {of} rows)", differs.step, differs.rows),
                log: differs.row.to_string(),
                other: differs.summary.to_string(),
                source: "the summary written with each row".into(),
            }
        };
        self.differs.into_iter().map(one).collect()
    }
}

/// Clocks are read twice; everything else is one number.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::Mirror;

    #[test]
    fn a_row_and_its_summary_are_compared_once_whichever_comes_first() {
        let mut mirror = Mirror::default();
        for step in 0..4 {
            let loss = if step == 2 { "3.5" } else { "3.25" };
            let late = step % 2 == 0;
            let mut sides = [&mut mirror.row, &mut mirror.summary];
            if late {
                sides.reverse();
            }
            let [first, second] = sides;
            first.set(step, [("loss", "3.25"), ("lr", "0.001")].into_iter());
            second.set(step, [("lr", "1e-3"), ("loss", loss)].into_iter());
            mirror.compare();
            mirror.compare();
        }
        let found = mirror.finish();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "row.loss from step 2 (1 of 4 rows)");
    }
}
