//! Two models and controls without a case file: the audit's measurement and judgement of the parent, and the tables that
//! public disputes were argued with.

mod layers;

use std::collections::{BTreeMap, BTreeSet};

use self::layers::layers;
use super::{inputs, models, record};
use scratchproof_case::Case;
use scratchproof_checkpoint::Checkpoint;
use scratchproof_error::Result;
use scratchproof_evidence::{Evidence, Reference};
use scratchproof_facts::parent::{Parents, compared_share, reach};
use scratchproof_facts::{Session, decay, evidence};
use scratchproof_finding::{
    Code, ComponentOutcome, ComponentResult, Condition, Conditions, Direction, Finding, Grade, Heard, decide, parent,
};
use scratchproof_kernel::{Rows, centre, normalise};
use scratchproof_measure::{Asked, Job, Models, Norms, Nowhere, Reporter, Routers, measure, norms, routers};
use scratchproof_measurements::{ALL, Component, Replay, Trails};
use scratchproof_report::compare::{
    Answer, Baseline, Comparison, Family, Figures, LayerCell, LayerMap, MatrixCell, Model, Outcome, Question, SCHEMA,
    Sigma,
};
use scratchproof_report::{Input, InputRole, Tool};
use scratchproof_source::Access;
use scratchproof_stats::{Aligned, Spread, aligned, log10_upper_tail, separation};
use scratchproof_texts::{Text, text};

/// Compares subject and parent of a case, with its controls.
///
/// # Errors
/// If a model cannot be read.
pub fn compare(case: &Case, access: Access, reporter: &dyn Reporter) -> Result<(Comparison, Evidence)> {
    let models = models::open(case, access)?;
    let opened = models.checkpoints.iter().chain(models.references.iter().map(AsRef::as_ref));
    let norms: Vec<Norms> = opened.clone().map(norms).collect::<Result<_>>()?;
    let routers: Vec<Routers> = opened.map(routers).collect::<Result<_>>()?;
    let read = record::read(case, access, models.checkpoints.last().and_then(|last| last.config.as_ref()))?;
    // Of drawn rows it is asked what the tests would still see, for silence is worth no more than that.
    let drawn = case.choice.sampling.is_some();
    let asked = Asked { series: false, every_pair: true, power: drawn || strange(&models) };
    let job = Job { asked, wants_md5: &|_| false, journal: &Nowhere, reporter };
    let measured = measure(models, Replay::Undeclared, &job)?;
    let session = Session { case, measured: &measured, record: &read.reading };
    let evidence = evidence(&session, &Trails::new(&measured.plan, &measured.tensors), &decay(&session));
    let clean = BTreeSet::new();
    let parents = Parents::new(&session, &evidence);
    let (mut parent, components) = parent::judge(&parents.facts(&session, &evidence, &clean), &case.policy);
    let blind = drawn && reach::settled(&session, &evidence, &mut parent).1;
    let unsearched = reach::unsearched(&session).into_iter().filter(|_| !drawn);
    let lacking = unsearched.map(|(parent, class)| {
        let components: Vec<String> = Vec::new();
        text!("power/parent/disguise-missing", parent, class, components)
    });
    parent.missing.extend(lacking);
    let (inputs, mut coverage) = inputs::coverage(&session, &read);
    if drawn {
        parent.missing.extend(inputs.missing.iter().cloned());
    }
    parent.findings.extend(inputs.findings);
    let mut findings: Vec<Finding> = parent.findings;
    findings.sort_by_key(|f| (std::cmp::Reverse(f.grade), f.code));
    let untested = Condition::Untested;
    let conditions = Conditions { start: untested, chain: untested, parent: parent.condition, time: untested };
    // Ids, order and what is missing are the verdict's work; the verdict itself needs a series and is not given here.
    let verdict = decide(&mut findings, Heard { conditions, missing: parent.missing, ..Heard::default() });
    let work = Work { session, inputs: inputs::list(&session, &read), norms, routers };
    let share = compared_share(&work.session);
    let comparable = !evidence.pairs.is_empty();
    coverage.compared =
        evidence.pairs.iter().filter(|row| matches!(row.reference, Reference::Parent(_))).count() as u64;
    for finding in &mut findings {
        // One model has no steps.
        finding.subject.steps.clear();
    }
    let independent = |component: &ComponentResult| component.outcome == ComponentOutcome::Independent;
    // A parent of another width shares no shape with the subject and can be its source all the same.
    let outcome = if findings.iter().any(|f| f.direction == Direction::Against && f.grade == Grade::Conclusive) {
        Outcome::Similar
    } else if work.inputs.len() > 1
        && work.inputs[0].sha256 == work.inputs[1].sha256
        && !work.inputs[0].sha256.is_empty()
    {
        Outcome::Same
    } else if coverage.compared == 0 || share == 0.0 {
        // Heads are held against each other whatever the sizes of the models. Their silence says nothing of the rest.
        let weighed = |f: &Finding| f.direction == Direction::Against && f.grade >= Grade::Moderate;
        let silent = |f: &Finding| !blind && f.code == Code::ParentHeadsSilent && f.grade >= Grade::Strong;
        if findings.iter().any(|f| weighed(f) || silent(f)) { Outcome::Undetermined } else { Outcome::NotComparable }
    } else if 2.0 * share <= 1.0 || !components.iter().any(independent) {
        // Silence over the smaller part of a model says nothing of the rest, and none over parts that are all undetermined.
        Outcome::Undetermined
    } else if !blind && findings.iter().any(|f| f.code == Code::ParentSilent && f.grade >= Grade::Strong) {
        Outcome::Silent
    } else {
        Outcome::Undetermined
    };
    let matrix = work.matrix();
    let questions = if comparable { questions(case, &components, &matrix) } else { Vec::new() };
    let layers = layers(&work, &evidence);
    let comparison = Comparison {
        schema: SCHEMA,
        tool: Tool::this(),
        models: work.models(),
        outcome,
        components,
        families: work.families(),
        layers,
        routers: work.router_figures(),
        baselines: work.baselines(),
        matrix,
        sigma: work.sigma(),
        questions,
        layer_maps: layer_maps(&evidence, &case.parents[0].name),
        findings,
        missing: verdict.missing,
        coverage,
        policy: serde_json::to_value(&case.policy).unwrap_or_default(),
    };
    Ok((comparison, evidence))
}

/// Whether no template knows one of the two models: what its matrices are for is guessed then, and a search that finds nothing
/// is asked whether it would have found a copy.
fn strange(models: &Models) -> bool {
    let unknown = |model: &Checkpoint| model.architecture.is_none();
    models.checkpoints.iter().any(unknown) || models.references.iter().take(models.parents).any(|m| unknown(m))
}

struct Work<'a> {
    session: Session<'a>,
    /// What was read, the models first.
    inputs: Vec<Input>,
    norms: Vec<Norms>,
    routers: Vec<Routers>,
}

impl Work<'_> {
    fn name(&self, model: usize) -> String {
        let case = self.session.case;
        let references = case.parents.iter().chain(&case.controls).map(|r| &r.name);
        std::iter::once(&case.subject.name).chain(references).nth(model).cloned().unwrap_or_default()
    }

    /// Every two models: subject and parent, subject and controls, parent and controls, controls.
    fn pairs(&self) -> Vec<(usize, usize)> {
        let models = self.session.measured.plan.series + self.session.measured.plan.references;
        (0..models).flat_map(|a| (a + 1..models).map(move |b| (a, b))).collect()
    }

    fn models(&self) -> Vec<Model> {
        let models = self.session.measured.models.iter().zip(&self.inputs).enumerate();
        models
            .map(|(index, (model, input))| Model {
                name: self.name(index),
                role: match input.role {
                    InputRole::Parent => "parent",
                    InputRole::Control => "control",
                    _ => "subject",
                },
                architecture: model.architecture.clone(),
                hidden_size: model.hidden_size,
                layers: model.layers,
                tensors: model.tensors.len(),
                parameters: model.tensors.iter().map(|t| t.elements() as u64).sum(),
                uri: input.uri.clone(),
                sha256: input.sha256.clone(),
                bytes: input.bytes,
            })
            .collect()
    }

    /// The column test of the norms that two models have in the same layers, which is exact for vectors too.
    fn norm_test(&self, (a, b): (usize, usize), family: Option<&str>) -> Option<Aligned> {
        let (mut x, mut y, mut hidden, mut count) = (Vec::new(), Vec::new(), 0, 0);
        for (name, layers) in self.norms[a].iter().filter(|(name, _)| family.is_none_or(|f| f == *name)) {
            for (layer, own) in layers {
                let Some(other) = self.norms[b].get(name).and_then(|l| l.get(layer)) else { continue };
                if other.len() != own.len() || hidden != 0 && hidden != own.len() {
                    continue;
                }
                #[allow(clippy::cast_possible_truncation)]
                let mut rows = [own, other].map(|v| v.iter().map(|v| *v as f32).collect::<Vec<f32>>());
                for row in &mut rows {
                    centre(row, own.len());
                }
                let [mut p, mut q] = rows;
                if normalise(&mut p) && normalise(&mut q) {
                    hidden = own.len();
                    count += 1;
                    x.extend(p);
                    y.extend(q);
                }
            }
        }
        if count == 0 {
            return None;
        }
        aligned(Rows::whole(x, hidden).total(&Rows::whole(y, hidden)), f64::from(count), hidden)
    }

    /// Means over the tensors of every family that two models share.
    fn families(&self) -> Vec<Family> {
        let session = self.session;
        let mut found: BTreeMap<(Component, String), Family> = BTreeMap::new();
        for pair in self.pairs() {
            let empty = BTreeMap::new();
            let tests = session.measured.kept.families.iter().find(|(models, _)| *models == pair);
            let tests = tests.map_or(&empty, |(_, tests)| tests);
            let mut sums: BTreeMap<(Component, &str), Means> = BTreeMap::new();
            for (unit, figures) in session.measured.plan.units.iter().zip(&session.measured.tensors) {
                let (Some(a), Some(b)) = (unit.slot(pair.0), unit.slot(pair.1)) else { continue };
                if !unit.in_subject() || unit.role.constant || !unit.role.tower.is_empty() {
                    continue;
                }
                let means = sums.entry((unit.role.component, &unit.role.family)).or_default();
                means.add(&figures.gram.pair(a, b));
            }
            for ((component, family), means) in sums {
                let test = match tests.get(family) {
                    Some(figure) => {
                        aligned(figure.sums, figure.tensors as f64, session.measured.plan.hidden.unwrap_or(0))
                    }
                    None if component == Component::Norms => self.norm_test(pair, Some(family)),
                    None => None,
                };
                let row = found.entry((component, family.to_owned())).or_insert_with(|| Family {
                    family: family.to_owned(),
                    component: component.name(),
                    pairs: Vec::new(),
                });
                row.pairs.push(Figures {
                    first: self.name(pair.0),
                    second: self.name(pair.1),
                    tensors: means.tensors,
                    cosine: means.cosine(),
                    pearson: means.pearson(),
                    relative_l2: means.relative_l2(),
                    z: test.map(|t| t.z),
                    log10_p: test.map(|t| t.log10_p),
                });
            }
        }
        found.into_values().collect()
    }

    fn matrix(&self) -> Vec<MatrixCell> {
        let whole = |pair: (usize, usize)| {
            let figures = self.session.measured.kept.between(pair.0, pair.1);
            let all = figures.iter().find(|f| f.component == ALL && f.tensors > 0)?;
            aligned(all.sums, all.tensors as f64, self.session.measured.plan.hidden?)
        };
        self.pairs()
            .into_iter()
            .map(|pair| {
                let mut cosines = Vec::new();
                let mut pearsons = Vec::new();
                for (family, layers) in &self.norms[pair.0] {
                    for (layer, own) in layers {
                        if let Some(other) = self.norms[pair.1].get(family).and_then(|l| l.get(layer)) {
                            cosines.extend(cosine(own, other));
                            pearsons.extend(pearson(own, other));
                        }
                    }
                }
                let (norms, test) = (self.norm_test(pair, None), whole(pair));
                MatrixCell {
                    first: self.name(pair.0),
                    second: self.name(pair.1),
                    norms: cosines.len(),
                    norm_cosine: Spread::of(&cosines).map(|s| s.mean),
                    norm_pearson: Spread::of(&pearsons).map(|s| s.mean),
                    norm_z: norms.map(|t| t.z),
                    z: test.map(|t| t.z),
                    log10_p: test.map(|t| t.log10_p),
                    effect: test.map(|t| t.effect),
                }
            })
            .collect()
    }

    /// What layers of one model show among themselves, layer 0 left out, and the kinds of norms of one layer.
    fn baselines(&self) -> Vec<Baseline> {
        let mut rows = Vec::new();
        for (model, norms) in self.norms.iter().enumerate() {
            for (family, layers) in norms {
                let inner: Vec<&Vec<f64>> = layers.iter().filter(|(layer, _)| **layer > 0).map(|(_, v)| v).collect();
                let cosines: Vec<f64> = inner
                    .iter()
                    .enumerate()
                    .flat_map(|(at, a)| inner[at + 1..].iter().filter_map(|b| cosine(a, b)))
                    .collect();
                rows.extend(baseline(self.name(model), family.clone(), &cosines));
            }
            let kinds: Vec<&String> = norms.keys().collect();
            for (at, first) in kinds.iter().enumerate() {
                for second in &kinds[at + 1..] {
                    let layers = norms[*first].iter().filter(|(layer, _)| **layer > 0);
                    let cosines: Vec<f64> =
                        layers.filter_map(|(layer, a)| cosine(a, norms[*second].get(layer)?)).collect();
                    rows.extend(baseline(self.name(model), format!("{first} and {second} of one layer"), &cosines));
                }
            }
        }
        rows
    }

    /// The sigma of the accusation, for every reference, by its own arithmetic and with another baseline.
    fn sigma(&self) -> Vec<Sigma> {
        let mut rows = Vec::new();
        for (family, own) in &self.norms[0] {
            for other in 1..self.norms.len() {
                let Some(theirs) = self.norms[other].get(family) else { continue };
                let inner = |layers: &BTreeMap<u32, Vec<f64>>| -> Vec<u32> {
                    layers.keys().copied().filter(|layer| *layer > 0).collect()
                };
                let matched: Vec<f64> =
                    inner(own).iter().filter_map(|layer| cosine(&own[layer], theirs.get(layer)?)).collect();
                let layer_0: Vec<f64> = theirs.get(&0).map_or(Vec::new(), |zero| {
                    inner(theirs).iter().filter_map(|layer| cosine(zero, &theirs[layer])).collect()
                });
                let others: Vec<f64> = inner(own)
                    .iter()
                    .flat_map(|i| inner(theirs).into_iter().filter(move |j| j != i).map(move |j| (*i, j)))
                    .filter_map(|(i, j)| cosine(&own[&i], &theirs[&j]))
                    .collect();
                let Some(group) = Spread::of(&matched) else { continue };
                let [zero, mismatched] = [Spread::of(&layer_0), Spread::of(&others)];
                rows.push(Sigma {
                    norm: family.clone(),
                    first: self.name(0),
                    second: self.name(other),
                    layers: group.n,
                    matched: group.mean,
                    layer_0: zero.map(|s| s.mean),
                    sigma_layer_0: zero.and_then(|s| separation(group, s)),
                    mismatched: mismatched.map(|s| s.mean),
                    sigma_mismatched: mismatched.and_then(|s| separation(group, s)),
                });
            }
        }
        rows
    }
}

/// Sums of the figures of one family.
#[derive(Default)]
struct Means {
    tensors: usize,
    sums: [(f64, usize); 3],
}

impl Means {
    fn add(&mut self, pair: &scratchproof_kernel::Pair) {
        self.tensors += 1;
        let relative = Some((pair.distance2 / pair.squares[0]).sqrt()).filter(|v| v.is_finite());
        for (sum, value) in self.sums.iter_mut().zip([pair.cosine(), pair.pearson(), relative]) {
            if let Some(value) = value {
                sum.0 += value;
                sum.1 += 1;
            }
        }
    }

    fn mean(&self, which: usize) -> Option<f64> {
        let (sum, n) = self.sums[which];
        (n > 0).then(|| sum / n as f64)
    }

    fn cosine(&self) -> Option<f64> {
        self.mean(0)
    }

    fn pearson(&self) -> Option<f64> {
        self.mean(1)
    }

    fn relative_l2(&self) -> Option<f64> {
        self.mean(2)
    }
}

fn baseline(model: String, norm: String, cosines: &[f64]) -> Option<Baseline> {
    let spread = Spread::of(cosines)?;
    Some(Baseline {
        model,
        norm,
        pairs: spread.n,
        mean: spread.mean,
        least: cosines.iter().copied().fold(f64::INFINITY, f64::min),
        most: cosines.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    })
}

fn cosine(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(p, q)| p * q).sum::<f64>();
    let cosine = product(a, b) / (product(a, a).sqrt() * product(b, b).sqrt());
    cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0))
}

fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let centred = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        // The mean of a constant may be off by a rounding, and noise has a correlation.
        let constant = values.iter().all(|v| v.to_bits() == values[0].to_bits());
        values.iter().map(|v| if constant { 0.0 } else { v - mean }).collect::<Vec<f64>>()
    };
    if a.is_empty() || b.is_empty() { None } else { cosine(&centred(a), &centred(b)) }
}

fn layer_maps(evidence: &Evidence, parent: &str) -> Vec<LayerMap> {
    let mut maps: BTreeMap<(bool, &str), LayerMap> = BTreeMap::new();
    for row in evidence.layer_map.iter().filter(|row| row.parent == parent) {
        let map = maps
            .entry((row.family != ALL, &row.family))
            .or_insert_with(|| LayerMap { family: row.family.clone(), cells: Vec::new() });
        map.cells.push(LayerCell {
            subject: row.layer_subject,
            parent: row.layer_parent,
            z: row.z,
            pearson: row.pearson,
        });
    }
    maps.into_values().collect()
}

/// The two questions that a comparison of norms leaves open.
fn questions(case: &Case, components: &[ComponentResult], matrix: &[MatrixCell]) -> Vec<Question> {
    let (subject, parent) = (&case.subject.name, &case.parents[0].name);
    let cell = |a: &str, b: &str| matrix.iter().find(|c| c.first == *a && c.second == *b);
    let rich: Vec<_> = components.iter().filter(|c| c.name != "norms" && c.z.is_some()).collect();
    let derived = rich.iter().filter(|c| c.outcome == ComponentOutcome::Derived).count();
    let figures: Vec<Text> = rich
        .iter()
        .map(|c| {
            let (z, correlation) = (c.z.unwrap_or(0.0), c.effect.unwrap_or(0.0));
            text!("report/compare/figure", component = &c.name, z, correlation)
        })
        .collect();
    let norms = cell(subject, parent);
    let independent = rich.iter().any(|c| c.outcome == ComponentOutcome::Independent);
    let beyond = |p: Option<f64>| p.is_some_and(|p| p <= case.policy.moderate_log10_p);
    let answer = if derived > 0 {
        Answer::Yes
    } else if independent && !rich.iter().any(|c| beyond(c.log10_p)) {
        Answer::No
    } else {
        Answer::CannotBeSaid
    };
    let preserved = Question {
        id: "selective-preservation",
        question: text!("report/compare/preserved"),
        answer,
        why: if rich.is_empty() {
            text!("report/compare/no-matrix")
        } else {
            text!("report/compare/preserved-why", cosine = norms.and_then(|c| c.norm_cosine), figures)
        },
        z: norms.and_then(|c| c.z),
        log10_p: norms.and_then(|c| c.log10_p),
    };
    let own = norms.and_then(|c| c.z);
    let controls: Vec<(&str, f64)> = case
        .controls
        .iter()
        .filter_map(|control| Some((control.name.as_str(), cell(subject, &control.name)?.z?)))
        .collect();
    // Both are standard normal for unrelated models, so their difference over sqrt 2 is; the nearest control is the hardest test.
    let nearest = controls.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let (answer, why, z) = match (own, nearest) {
        (Some(own), Some((control, theirs))) => {
            let z = (own - theirs) / std::f64::consts::SQRT_2;
            let answer = if log10_upper_tail(z) <= case.policy.moderate_log10_p { Answer::Yes } else { Answer::No };
            let why = text!(
                "report/compare/nearer-why",
                own,
                parent,
                theirs = *theirs,
                control = *control,
                controls = controls.len(),
                z
            );
            (answer, why, Some(z))
        }
        (None, _) => (Answer::CannotBeSaid, text!("report/compare/nothing-to-compare"), None),
        (_, None) if case.controls.is_empty() => (Answer::CannotBeSaid, text!("report/compare/without-control"), None),
        (_, None) => (Answer::CannotBeSaid, text!("report/compare/controls-without-matrix"), None),
    };
    let nearer = Question {
        id: "nearer-than-control",
        question: text!("report/compare/nearer"),
        answer,
        why,
        z,
        log10_p: z.map(log10_upper_tail),
    };
    vec![preserved, nearer]
}
