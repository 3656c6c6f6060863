//! Columns that a program computes from each other: perplexity from the loss, bits per byte from the loss, a sum from its
//! terms, a column logged under two names. One of them altered alone no longer fits.

use std::f64::consts::LN_2;

use super::{Code, Direction, Grade, Judgement, RUNS, called, config, finding};
use scratchproof_case::Policy;
use scratchproof_record::{Form, Run};
use scratchproof_stats::{Broken, Grain, Identity, Pair, identity};
use scratchproof_texts::{Text, text};

/// Columns of one kind that are held against each other, at most.
const COLUMNS: usize = 24;
/// Values of them, at most; longer columns are left out.
const VALUES: usize = 1 << 22;
/// Rows that a relation is looked for on before all are read.
const LOOKED_AT: usize = 96;
/// Relations that are named in one finding.
const NAMED: usize = 6;

/// A logged column.
struct Column<'a> {
    name: &'a str,
    rows: Vec<(i64, f64)>,
    grain: Grain,
    /// Least and greatest value.
    ends: (f64, f64),
    /// Those of the two that stand in several rows: a cap may have set them.
    caps: Vec<f64>,
}

/// How two or three columns are related.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Exponential,
    Multiple,
    Sum,
}

struct Found {
    kind: Kind,
    words: Text,
    identity: Identity,
    /// Step of every row that was compared.
    steps: Vec<i64>,
    /// Two names of one thing: `loss` and `train/loss`.
    same_name: bool,
}

/// Looks for relations between the columns of losses and says where they break.
pub fn judge(to: &mut Judgement, policy: &Policy, run: &Run) {
    let losses = columns(run, is_loss);
    let perplexities = columns(run, is_perplexity);
    let mut found = exponentials(to, run, &perplexities, &losses);
    let (multiples, related) = multiples(&losses);
    found.extend(multiples);
    found.extend(sums(&losses, &related));
    let whole: Vec<&Found> = found.iter().filter(|one| one.identity.broken == Broken::Nowhere).collect();
    if !whole.is_empty() {
        let relations: Vec<Text> = whole.iter().take(NAMED).map(|one| one.words.clone()).collect();
        let rows: usize = whole.iter().map(|one| one.identity.holds).sum();
        let message = text!("time/identities/agree", run = called(run), relations, more = whole.len() > NAMED);
        let mut finding = finding(Code::TimeIdentities, Grade::Weak, Direction::For, message);
        finding.n = Some(rows as u64);
        finding.evidence = Some(RUNS.into());
        to.push(finding);
    }
    for one in found.iter().filter(|one| one.identity.broken != Broken::Nowhere).take(NAMED) {
        broken(to, policy, run, one);
    }
    unrelated(to, run, &perplexities, &losses);
}

fn broken(to: &mut Judgement, policy: &Policy, run: &Run, one: &Found) {
    let Identity { holds, differs, broken, .. } = one.identity;
    // A folder is the log of one process, whose program did not change.
    let one_process = matches!(run.form, Form::Wandb | Form::Folder) && !run.resumed;
    let certain = one.kind == Kind::Exponential || one.same_name;
    let (from, until, question, place) = match broken {
        Broken::Nowhere => return,
        Broken::Block(from, until) => (from, until, certain || one.kind == Kind::Multiple, "between"),
        Broken::End(from, until) => (from, until, certain && one_process, "from-there-on"),
        Broken::Scattered(rows) => {
            if (rows as f64) > policy.identity_scattered * (holds + differs) as f64 {
                return;
            }
            (0, one.steps.len() - 1, false, "here-and-there")
        }
    };
    let (Some(&first), Some(&last)) = (one.steps.get(from), one.steps.get(until)) else { return };
    let grade = if question { (Grade::Moderate, Direction::Against) } else { (Grade::Weak, Direction::Neutral) };
    let message = text!(
        "time/identities/broken",
        run = called(run),
        relation = one.words.clone(),
        holds,
        differs,
        first,
        last,
        place
    );
    let mut finding = finding(Code::TimeIdentities, grade.0, grade.1, message);
    finding.statistic = Some(differs as f64 / (holds + differs) as f64);
    finding.n = Some((holds + differs) as u64);
    finding.subject.steps = vec![first, last];
    finding.null = text!("time/identities/null");
    finding.evidence = Some(RUNS.into());
    to.push(finding);
}

fn words_of(name: &str) -> Vec<String> {
    name.to_ascii_lowercase().split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_owned).collect()
}

/// Losses, and the same by bits or bytes. What only a running extreme, a mean or a scale has is none.
fn is_loss(name: &str) -> bool {
    let words = words_of(name);
    let says = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let kinds = ["loss", "nll", "ce", "crossentropy", "crossentropyloss", "bpb", "bpc", "bits", "losses"];
    (says(&kinds) || name.to_ascii_lowercase().ends_with("loss"))
        && !says(&[
            "scale", "scaler", "best", "min", "max", "lowest", "ema", "avg", "smooth", "smoothed", "delta", "weight",
        ])
}

fn is_perplexity(name: &str) -> bool {
    let words = words_of(name);
    let says = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    says(&["ppl", "perplexity", "languageperplexity"]) && !says(&["best", "min", "max", "ema", "avg"])
}

fn columns(run: &Run, kind: fn(&str) -> bool) -> Vec<Column<'_>> {
    let mut named: Vec<(&String, usize)> =
        run.history.columns.iter().filter(|(name, _)| kind(name)).map(|(name, rows)| (name, rows.len())).collect();
    // The longest first: of hundreds of evaluations some are looked at, and the training is.
    named.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let mut room = VALUES;
    named.retain(|(_, rows)| {
        let fits = *rows <= room;
        room -= if fits { *rows } else { 0 };
        fits
    });
    let read = named.into_iter().take(COLUMNS).map(|(name, _)| {
        let rows = run.history.series(name, "_step");
        let values: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let ends = values.iter().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        let several = |end: &f64| values.iter().filter(|v| same(**v, *end)).nth(1).is_some();
        let caps = [ends.0, ends.1].into_iter().filter(several).collect();
        Column { name, grain: Grain::of(&values), rows, ends, caps }
    });
    read.filter(|column| column.rows.len() >= 8 && column.ends.0 < column.ends.1).collect()
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * b.abs()
}

impl Column<'_> {
    fn at(&self, step: i64) -> Option<(usize, f64)> {
        let at = self.rows.binary_search_by_key(&step, |row| row.0).ok()?;
        Some((at, self.rows[at].1))
    }

    /// Whether the value of a row may be a cap, or what an earlier row left behind.
    fn silent(&self, at: usize) -> bool {
        let value = self.rows[at].1;
        at > 0 && same(self.rows[at - 1].1, value) || self.caps.iter().any(|cap| same(value, *cap))
    }
}

/// Rows that are compared, and their steps.
type Rows = (Vec<Pair>, Vec<i64>);

/// The rows that two columns share, `value` as `of` gives it of the first and the row's step.
fn joined<'a>(
    column: &'a Column<'a>,
    base: &'a Column<'a>,
    of: impl Fn(i64, f64) -> Option<(f64, f64)> + 'a,
) -> impl Fn(&[(i64, f64)]) -> Rows + 'a {
    move |rows| {
        let one = |&(step, own): &(i64, f64)| {
            let (at, b) = base.at(step)?;
            let (value, value_slack) = of(step, own)?;
            let silent = base.silent(at) || column.silent(column.at(step)?.0);
            Some((Pair { value, value_slack, of: b, of_slack: base.grain.at(b), silent }, step))
        };
        rows.iter().filter_map(one).unzip()
    }
}

/// Looks at a few rows, then at all.
fn look(
    column: &Column<'_>,
    rows: impl Fn(&[(i64, f64)]) -> Rows,
    given: &[f64],
    free: bool,
) -> Option<(Identity, Vec<i64>)> {
    // Neighbours, so that what is cut out has the same noise; from the middle, the beginning and the end.
    if column.rows.len() > 4 * LOOKED_AT {
        let (n, third) = (column.rows.len(), LOOKED_AT / 3);
        let mut some = column.rows[..third].to_vec();
        some.extend_from_slice(&column.rows[(n - third) / 2..][..third]);
        some.extend_from_slice(&column.rows[n - third..]);
        identity(&rows(&some).0, given, free)?;
    }
    let (pairs, steps) = rows(&column.rows);
    Some((identity(&pairs, given, free)?, steps))
}

/// Perplexities as exponentials of losses; what speaks of a factor between them is said here.
fn exponentials(to: &mut Judgement, run: &Run, perplexities: &[Column<'_>], losses: &[Column<'_>]) -> Vec<Found> {
    let mut all = Vec::new();
    for perplexity in perplexities {
        let log = |_, value: f64| (value > 0.0).then(|| (value.ln(), perplexity.grain.at(value) / value));
        let mut own: Vec<(&Column<'_>, Found)> = Vec::new();
        for loss in losses {
            let Some((identity, steps)) = look(perplexity, joined(perplexity, loss, log), &[1.0, LN_2], true) else {
                continue;
            };
            let factor = Some(identity.factor).filter(|factor| !same(*factor, 1.0) && !same(*factor, LN_2));
            let words = text!(
                "time/identities/exponential",
                column = perplexity.name,
                of = loss.name,
                factor,
                bits = same(identity.factor, LN_2)
            );
            own.push((loss, Found { kind: Kind::Exponential, words, identity, steps, same_name: false }));
        }
        // Of several losses it is that of the one that fits best.
        own.sort_by_key(|(_, found)| std::cmp::Reverse(found.identity.holds));
        let Some((loss, found)) = own.into_iter().next() else { continue };
        if factor_is_known(run, found.identity.factor) {
            all.push(found);
        } else {
            let (relation, holds) = (found.words, found.identity.holds);
            let message = text!("time/identities/odd-factor", run = called(run), relation, holds);
            let mut finding = finding(Code::TimeIdentities, Grade::Moderate, Direction::Against, message);
            finding.statistic = Some(found.identity.factor);
            finding.n = Some(found.identity.holds as u64);
            finding.null = text!("time/identities/odd-factor-null", of = loss.name);
            finding.evidence = Some(RUNS.into());
            to.push(finding);
        }
    }
    all
}

/// Nats, bits, a sum over a whole number of things or its inverse, or what the configuration says.
fn factor_is_known(run: &Run, factor: f64) -> bool {
    let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-4;
    let whole = |f: f64| (0.9..65_536.0).contains(&f) && near(f, f.round());
    [1.0, LN_2].iter().any(|unit| near(factor, *unit) || whole(factor / unit) || whole(unit / factor))
        || config::mentions(run, factor)
}

/// Losses that are multiples of each other: the same under two names, and bits per byte of one set of texts. Which columns
/// are a multiple of an earlier one is given too.
fn multiples(losses: &[Column<'_>]) -> (Vec<Found>, Vec<bool>) {
    let mut related = vec![false; losses.len()];
    let mut all = Vec::new();
    for (i, base) in losses.iter().enumerate() {
        if related[i] {
            continue;
        }
        for (j, column) in losses.iter().enumerate().skip(i + 1).filter(|(j, _)| !related[*j]).collect::<Vec<_>>() {
            let own = |_, value: f64| Some((value, column.grain.at(value)));
            let Some((identity, steps)) = look(column, joined(column, base, own), &[1.0], true) else { continue };
            related[j] = true;
            let last = |name: &str| name.rsplit(['/', '.']).next().map(str::to_ascii_lowercase);
            let equal = same(identity.factor, 1.0);
            let factor = Some(identity.factor).filter(|_| !equal);
            let words = text!("time/identities/multiple", column = column.name, of = base.name, factor);
            let same_name = equal && last(column.name) == last(base.name);
            // A total is its first term while the others are off.
            let kind = if equal && !same_name { Kind::Sum } else { Kind::Multiple };
            all.push(Found { kind, words, identity, steps, same_name });
        }
    }
    (all, related)
}

/// Losses that are another one and a fixed multiple of a third.
fn sums(losses: &[Column<'_>], related: &[bool]) -> Vec<Found> {
    let plain: Vec<&Column<'_>> =
        losses.iter().zip(related).filter(|(_, related)| !**related).map(|(c, _)| c).collect();
    let mut all = Vec::new();
    for (y, total) in plain.iter().enumerate() {
        let mut best: Option<Found> = None;
        for (a, first) in plain.iter().enumerate().filter(|(a, _)| *a != y) {
            for (_, second) in plain.iter().enumerate().filter(|(b, _)| *b != y && *b != a) {
                let rest = |step: i64, value: f64| {
                    let own = first.at(step)?.1;
                    Some((value - own, total.grain.at(value) + first.grain.at(own)))
                };
                let Some((identity, steps)) = look(total, joined(total, second, rest), &[1.0], true) else { continue };
                // Each is the other two: only a sum is said, and of its two orders the one with the plain term first.
                if identity.factor < 0.0 || best.as_ref().is_some_and(|best| best.identity.holds >= identity.holds) {
                    continue;
                }
                let factor = Some(identity.factor).filter(|factor| (factor - 1.0).abs() >= 1e-6);
                let words =
                    text!("time/identities/sum", column = total.name, first = first.name, second = second.name, factor);
                best = Some(Found { kind: Kind::Sum, words, identity, steps, same_name: false });
            }
        }
        all.extend(best);
    }
    all
}

/// Perplexities and losses of one name that no exponential relates: the loss of a mean is at most the mean of exponentials'.
fn unrelated(to: &mut Judgement, run: &Run, perplexities: &[Column<'_>], losses: &[Column<'_>]) {
    for perplexity in perplexities {
        let group = |name: &str| {
            words_of(name)
                .into_iter()
                .filter(|w| !["loss", "ppl", "perplexity"].contains(&w.as_str()))
                .collect::<Vec<_>>()
        };
        let Some(loss) = losses.iter().find(|loss| group(loss.name) == group(perplexity.name)) else { continue };
        let both: Vec<f64> = perplexity
            .rows
            .iter()
            .filter(|row| row.1 > 0.0)
            .filter_map(|row| Some(row.1.ln() - loss.at(row.0)?.1))
            .filter(|difference| difference.is_finite())
            .collect();
        let below = both.iter().filter(|d| **d < -1e-3).count();
        let above = both.iter().filter(|d| **d > 1e-3).count();
        if both.len() < 8 || below * 10 < both.len() || above * 10 < both.len() {
            continue;
        }
        let message = text!(
            "time/identities/unrelated",
            run = called(run),
            column = perplexity.name,
            of = loss.name,
            below,
            above,
            rows = both.len()
        );
        let mut finding = finding(Code::TimeIdentities, Grade::Weak, Direction::Neutral, message);
        finding.n = Some(both.len() as u64);
        finding.evidence = Some(RUNS.into());
        to.push(finding);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Code, Direction, Grade, TimeFacts, judge};
    use scratchproof_case::Policy;
    use scratchproof_record::{Form, KeyMap, Run};

    /// As a program holds it.
    #[allow(clippy::cast_possible_truncation)]
    fn single(value: f64) -> f64 {
        f64::from(value as f32)
    }

    fn noise(step: i64, seed: i64) -> f64 {
        ((step * 7919 + seed * 104_729 + 13) % 1009) as f64 / 1009.0 - 0.5
    }

    fn curve(step: i64, seed: i64) -> f64 {
        3.0 + 3.5 * (-(step as f64) / 120.0).exp() + 0.2 * noise(step, seed)
    }

    /// 150 rows: the loss is cross-entropy and z-loss, with its perplexity; every fifth row the loss of other texts and
    /// their bits per byte.
    fn honest() -> Run {
        let mut run = Run { id: "abc".into(), form: Form::Wandb, ..Run::default() };
        for step in 0..150 {
            run.history.rows += 1;
            let (ce, z) = (single(curve(step, 1)), single(0.01 + 0.004 * noise(step, 5)));
            let loss = single(ce + z);
            let mut row = vec![
                ("train/loss", loss),
                ("train/ce_loss", ce),
                ("train/z_loss", z),
                ("train/perplexity", single(loss.min(6.0).exp())),
                ("loss", loss),
                ("train/loss_ema", single(curve(step, 9))),
            ];
            if step % 5 == 0 {
                let own = single(curve(step, 3));
                row.extend([("val/loss", own), ("val/bpb", single(own / (4.7 * std::f64::consts::LN_2)))]);
            }
            for (key, value) in row {
                run.history.columns.entry(key.into()).or_default().push((step, value));
            }
        }
        run.choose_keys(&KeyMap::default()).unwrap();
        run
    }

    fn found(run: Run) -> Vec<(Grade, Direction, String)> {
        let judgement = judge(&TimeFacts { runs: &[run], ..TimeFacts::default() }, &Policy::default());
        let of = judgement.findings.into_iter().filter(|f| f.code == Code::TimeIdentities);
        of.map(|f| (f.grade, f.direction, f.message.english())).collect()
    }

    fn change(run: &mut Run, key: &str, of: impl Fn(i64, f64) -> f64) {
        for row in run.history.columns.get_mut(key).unwrap() {
            row.1 = single(of(row.0, row.1));
        }
    }

    #[test]
    fn columns_computed_from_each_other_are_found() {
        let found = found(honest());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0, found[0].1), (Grade::Weak, Direction::For));
        for words in [
            "`train/perplexity` is the exponential of `",
            "`train/loss` is `loss`",
            "`val/loss` is 3.257792 times `val/bpb`",
            "`loss` is `train/ce_loss` and `train/z_loss`",
        ] {
            assert!(found[0].2.contains(words), "{words}: {}", found[0].2);
        }
    }

    /// Its name, the columns that it is done to, and what is done.
    type Alteration<'a> = (&'a str, &'a [&'a str], fn(i64, f64) -> f64);
    /// Its name, and what is done.
    type Oddity<'a> = (&'a str, fn(&mut Run));

    fn change_both(run: &mut Run, of: impl Fn(i64, f64) -> f64) {
        change(run, "train/loss", &of);
        change(run, "loss", &of);
    }

    #[test]
    fn one_of_them_altered_alone_is_asked_about() {
        let question = |run: Run| {
            let found = found(run);
            let asked = found.iter().filter(|f| f.0 == Grade::Moderate && f.1 == Direction::Against);
            asked.map(|f| f.2.clone()).collect::<Vec<_>>()
        };
        let altered: &[Alteration] = &[
            ("a stretch", &["train/loss", "loss"], |s, v| if (50..90).contains(&s) { 2.0 * v } else { v }),
            ("from a step on", &["train/loss", "loss"], |s, v| if s >= 60 { 0.5 * v } else { v }),
            ("another part", &["train/loss", "loss"], |s, v| if s >= 90 { curve(s - 40, 1) } else { v }),
            ("one of two names", &["loss"], |s, v| if s >= 60 { 0.9 * v } else { v }),
            ("whole", &["train/loss", "loss", "train/ce_loss", "train/z_loss"], |_, v| 1.1 * v),
            ("other texts, a stretch", &["val/loss"], |s, v| if (50..100).contains(&s) { 0.9 * v } else { v }),
        ];
        for (name, keys, of) in altered {
            let mut run = honest();
            for key in *keys {
                change(&mut run, key, of);
            }
            assert!(!question(run).is_empty(), "{name}");
        }
        let mut run = honest();
        change_both(&mut run, |s, v| if s >= 60 { 0.5 * v } else { v });
        run.form = Form::Service;
        assert_eq!(question(run), Vec::<String>::new(), "several programs may have written what a service holds");
    }

    #[test]
    fn what_honest_programs_do_is_no_question() {
        let honest_oddities: &[Oddity] = &[
            ("mean of exponentials", |run| change(run, "train/perplexity", |s, v| v * (1.02 + 0.01 * noise(s, 77)))),
            ("other windows", |run| change(run, "train/perplexity", |s, v| v * (1.0 + 0.1 * noise(s, 77)))),
            ("in bits", |run| {
                change_both(run, |_, v| v / std::f64::consts::LN_2);
            }),
            ("summed over four", |run| change_both(run, |_, v| 4.0 * v)),
            ("a weight of the configuration", |run| {
                run.config.insert("loss_weight".into(), 0.9.into());
                change_both(run, |_, v| 0.9 * v);
            }),
            ("z-loss from step 60 on", |run| {
                let z = run.history.columns["train/z_loss"].clone();
                let on =
                    |s: i64, v: f64, sign: f64| if s < 60 { v + sign * z[usize::try_from(s).unwrap()].1 } else { v };
                change_both(run, |s, v| on(s, v, -1.0));
                let loss = run.history.columns["loss"].clone();
                change(run, "train/perplexity", |s, _| loss[usize::try_from(s).unwrap()].1.min(6.0).exp());
                change(run, "train/z_loss", |s, v| if s < 60 { 0.0 } else { v });
            }),
            ("other texts to evaluate on", |run| change(run, "val/bpb", |s, v| if s >= 70 { 0.93 * v } else { v })),
            ("two decimals", |run| {
                let keys: Vec<String> = run.history.columns.keys().cloned().collect();
                for key in keys {
                    run.history
                        .columns
                        .get_mut(&key)
                        .unwrap()
                        .iter_mut()
                        .for_each(|row| row.1 = (row.1 * 100.0).round() / 100.0);
                }
            }),
            ("a best so far", |run| {
                let mut best = f64::MAX;
                let own = run.history.columns["val/loss"].clone();
                let least = own
                    .iter()
                    .map(|(s, v)| {
                        (*s, {
                            best = best.min(*v);
                            best
                        })
                    })
                    .collect();
                run.history.columns.insert("val/loss_so_far".into(), least);
            }),
        ];
        for (name, of) in honest_oddities {
            let mut run = honest();
            of(&mut run);
            let found = found(run);
            assert!(found.iter().all(|f| f.0 < Grade::Moderate), "{name}: {found:?}");
        }
    }
}
