//! The work of a case as units that know nothing of each other: any machine can do any of them, in any order.

use super::journal::{Journal, Piece, kept};
use super::pieces::{HASHED, Part, Pieces, elementwise, part, parts};
use super::{Prepared, Reporter, digests, optimizer, token_rows, vocabularies};
use scratchproof_error::Result;

/// What is done.
#[derive(Clone, Debug)]
enum Work {
    Figures(Part),
    Elementwise(Part),
    Digests(usize),
    TokenRows,
    Optimizer,
    Vocabularies,
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

/// All of them, in the order in which they are folded.
#[must_use]
pub fn units(prepared: &Prepared) -> Vec<Unit> {
    let parts = parts(&prepared.plan);
    let mut units = Vec::new();
    for own in &parts {
        let piece = own.piece(prepared);
        units.push(Unit {
            piece,
            bytes: own.bytes,
            tensors: Some(own.units.clone()),
            work: Work::Figures(own.clone()),
        });
    }
    for own in parts {
        let piece = own.elementwise(prepared);
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
    ] {
        units.push(Unit { piece, bytes: 0, tensors: None, work });
    }
    units
}

impl Unit {
    /// Does it, unless the journal has it.
    ///
    /// # Errors
    /// If a file cannot be read; those of the journal.
    pub fn run(&self, prepared: &Prepared, journal: &dyn Journal, reporter: &dyn Reporter) -> Result<()> {
        let Prepared { material, plan, steps, .. } = prepared;
        match &self.work {
            Work::Figures(own) => part(prepared, own, journal, reporter).map(|_| ()),
            Work::Elementwise(own) => elementwise(prepared, std::slice::from_ref(own), journal, reporter).map(|_| ()),
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
            Work::Vocabularies => kept(journal, &self.piece, || vocabularies::read(material, plan)).map(|_| ()),
        }
    }
}
