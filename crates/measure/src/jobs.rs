//! The work of a case as units: any machine can do any of them. The searches for disguises come first; units over tensors
//! rest on those of the parents, and of two machines that lack one both may make it, to the same bytes.

use super::journal::{Journal, Piece, kept};
use super::pieces::{HASHED, Part, Pieces, elementwise, figures, parts};
use super::{Prepared, Reporter, digests, lines, optimizer, search, token_rows, vocabularies, within_start};
use scratchproof_error::Result;

/// What is done.
#[derive(Clone, Debug)]
enum Work {
    Search(usize),
    Injected(usize),
    Added(usize, usize),
    Figures(Part),
    Elementwise(Part),
    Digests(usize),
    TokenRows,
    Optimizer,
    Vocabularies,
    /// Rows and columns of tensors that no unit has.
    Lines,
    /// Whether the matrices of the first checkpoint know of each other.
    WithinStart,
}

/// One unit of work.
#[derive(Clone, Debug)]
pub struct Unit {
    /// The piece that comes of it.
    pub piece: Piece,
    /// Bytes that are read for it, about.
    pub bytes: u64,
    /// Tensors of the plan that it is over, as positions; none where it is over whole models.
    pub tensors: Option<std::ops::Range<usize>>,
    work: Work,
}

/// All of them, in the order in which they are folded: the searches first. They are the same before a disguise was looked for
/// and after.
#[must_use]
pub fn units(prepared: &Prepared) -> Vec<Unit> {
    let parts = parts(&prepared.plan);
    let mut units = searches(prepared);
    for own in &parts {
        let piece = own.piece(&prepared.keys);
        units.push(Unit {
            piece,
            bytes: own.bytes,
            tensors: Some(own.units.clone()),
            work: Work::Figures(own.clone()),
        });
    }
    for own in parts {
        let piece = own.elementwise(&prepared.keys);
        units.push(Unit { piece, bytes: own.bytes, tensors: Some(own.units.clone()), work: Work::Elementwise(own) });
    }
    for (at, some) in prepared.material.given().chunks(HASHED).enumerate() {
        let piece = Pieces::of(some.iter().copied()).digests_piece(at);
        let bytes = some.iter().map(|model| model.bytes()).sum();
        units.push(Unit { piece, bytes, tensors: None, work: Work::Digests(at) });
    }
    for (piece, work) in [
        (prepared.token_rows_piece(), Work::TokenRows),
        (prepared.optimizer_piece(), Work::Optimizer),
        (prepared.vocabularies_piece(), Work::Vocabularies),
        (prepared.lines_piece(), Work::Lines),
        (prepared.within_start_piece(), Work::WithinStart),
    ] {
        units.push(Unit { piece, bytes: 0, tensors: None, work });
    }
    units
}

/// The units that rest on no other: what is asked of whole models before the tensors.
fn searches(prepared: &Prepared) -> Vec<Unit> {
    let Prepared { material, searched, .. } = prepared;
    let subject = material.series.checkpoints.last().map_or(0, scratchproof_checkpoint::Checkpoint::bytes);
    let mut units = Vec::new();
    for (at, (own, reference)) in searched.iter().zip(&material.references).enumerate() {
        let all = [(&own.search, subject, Work::Search(at)), (&own.injected, 0, Work::Injected(at))];
        for (piece, bytes, work) in all {
            let Some(piece) = piece.clone() else { continue };
            units.push(Unit { piece, bytes: bytes + reference.bytes(), tensors: None, work });
        }
        // A control is asked where a parent's answers stand out, which is known when they are folded.
        for (piece, to) in own.added.iter().zip(0..).filter(|_| at < material.parents) {
            units.push(Unit { piece: piece.clone(), bytes: 0, tensors: None, work: Work::Added(at, to) });
        }
    }
    units
}

impl Unit {
    /// Whether the searches of the parents must have been made before ([`Prepared::relabel`]).
    #[must_use]
    pub fn rests_on_searches(&self) -> bool {
        !matches!(self.work, Work::Search(_) | Work::Injected(_) | Work::Added(..) | Work::Digests(_))
    }

    /// The names of the units that it rests on.
    #[must_use]
    pub fn after(&self, prepared: &Prepared) -> Vec<String> {
        if !self.rests_on_searches() {
            return Vec::new();
        }
        let parents = prepared.searched.iter().take(prepared.material.parents);
        parents.filter_map(|own| Some(own.search.as_ref()?.name.clone())).collect()
    }

    /// Does it, unless the journal has it.
    ///
    /// # Errors
    /// If a file cannot be read; those of the journal.
    pub fn run(&self, prepared: &Prepared, journal: &dyn Journal, reporter: &dyn Reporter) -> Result<()> {
        let Prepared { material, plan, steps, .. } = prepared;
        match &self.work {
            Work::Search(at) => search::search(material, *at, &self.piece, journal),
            Work::Injected(at) => search::injected(material, *at, &self.piece, journal).map(|_| ()),
            Work::Added(at, to) => search::added(material, *at, *to, &self.piece, journal),
            Work::Figures(own) => figures(prepared, own, journal, reporter),
            Work::Elementwise(own) => elementwise(prepared, own, journal, reporter),
            Work::Digests(at) => {
                let given = material.given();
                let some = given.chunks(HASHED).nth(*at).unwrap_or_default();
                kept(journal, &self.piece, || digests(some)).map(|_| ())
            }
            Work::TokenRows => kept(journal, &self.piece, || token_rows::token_rows(plan, material, steps)).map(|_| ()),
            Work::Optimizer => kept(journal, &self.piece, || {
                let rows =
                    kept(journal, &prepared.token_rows_piece(), || token_rows::token_rows(plan, material, steps))?;
                optimizer::optimizer(plan, material, &rows)
            })
            .map(|_| ()),
            Work::Lines => kept(journal, &self.piece, || lines::others(plan, &material.models())).map(|_| ()),
            Work::WithinStart => kept(journal, &self.piece, || within_start(material)).map(|_| ()),
            Work::Vocabularies => kept(journal, &self.piece, || vocabularies::read(material, plan)).map(|_| ()),
        }
    }
}
