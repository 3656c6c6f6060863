//! Tidy tables: every figure of the audit, one row an observation, as parquet in and out.

pub mod docket;
mod looked;
mod releases;
mod rows;
#[doc(hidden)]
pub mod sample;
mod seal;
mod table;
#[cfg(test)]
mod tests;

use std::path::Path;

use scratchproof_error::Result;
use table::tables;

pub use looked::LookedRow;
pub use releases::ReleaseRow;
pub use rows::{
    AngleRow, CalibrationRow, ChainRow, CkaRow, ComponentRow, CopyRow, DecayRow, DisguiseRow, ITSELF, ITSELF_FIRST,
    LayerMapRow, LineRow, MatchedRow, MentionRow, MergeRow, PairRow, PartialRow, PathRow, Reference, ReplayRow,
    ReturnedRow, RunRow, SettingRow, SignatureRow, StartRow, TensorRow, TimelineRow, TokenizerRow, TrajectoryRow,
};

tables! {
    /// Every checkpoint against every reference, tensor by tensor.
    trajectory: TrajectoryRow {
        step, tensor, component, family, layer, expert, reference, elements, cosine, pearson, l2, relative_l2, rms, z,
        log10_p
    }
    /// Every checkpoint against every reference, component by component.
    components: ComponentRow { step, component, reference, effect, z, log10_p, rows, columns }
    /// Layers of the subject against layers of the parents and controls.
    layer_map: LayerMapRow { parent, family, layer_subject, layer_parent, pearson, z }
    /// The catalogue.
    tensors: TensorRow {
        model, tensor, component, family, layer, expert, residual, dtype, shape, elements, bytes, known, constant
    }
    /// Every logged value.
    runs: RunRow { run, key, step, value }
    /// Every dated fact.
    timeline: TimelineRow { at, until, what, source, grade }
    /// Known models against the sizes and the start of the run.
    releases: ReleaseRow {
        id, name, maker, released, not_before, not_after, grade, source, relation, equal, unequal, before_start, proposed
    }
    /// Sizes along the history of the repository.
    settings: SettingRow { commit, at, path, place, line, name, value, former }
    /// Other people's models in the history of the repository.
    mentions: MentionRow { kind, text, parent, path, line, place, first, gone, main }
    /// Signed commits and tags.
    signatures: SignatureRow { object, tag, kind, result, words }
    /// The final checkpoint against the parents and controls.
    pairs: PairRow {
        tensor, component, family, layer, expert, reference, elements, cosine, pearson, mean_abs_diff, relative_l2,
        p99_diff, cv_diff, z
    }
    /// The first and the final checkpoint against the parents and controls, element by element.
    copies: CopyRow {
        step, tensor, component, family, layer, expert, reference, elements, formats, rounding, equal, equal_shifted, eight_bits, rows,
        equal_rows, blocks, extremes, extremes_shared, extremes_log10_p, proportional_rows, ratio, ratio_sd, rest
    }
    /// Rows and columns of the first and the final checkpoint that a parent has somewhere.
    lines: LineRow {
        step, tensor, component, family, layer, expert, reference, like, vector, deduced, lines, controls, of
    }
    /// Rows of the first and the final checkpoint that two matchings find in another place of a parent or control.
    matched_rows: MatchedRow {
        step, tensor, component, family, layer, expert, reference, like, rows, of, cosine, by_chance
    }
    /// Angles between rows of MLP matrices.
    row_angles: AngleRow {
        step, component, family, reference, layer, expert, layer_other, expert_other, tried, matrices, z, effect, log10_p
    }
    /// The earliest checkpoint against a random draw.
    start: StartRow {
        tensor, component, family, layer, expert, elements, mean, std, excess_kurtosis, max_abs, scheme, rule,
        fit_distance, fit_log10_p, matrices, edge_ratio, edge_score, edge_log10_p, cosines_z, cosines_log10_p,
        row_norm_log10_p, column_norm_log10_p, nearest, nearest_pearson, nearest_log10_p
    }
    /// The earliest checkpoint against what its seed draws.
    replay: ReplayRow {
        tensor, component, elements, drawn, constant, equal, share, within_ulp, explained, generator, variant
    }
    /// Neighbouring checkpoints.
    chain: ChainRow {
        from_step, to_step, component, rms, lr_sum, budget, bound, off_chord, lag1_cosine, memory_z, memory_effect
    }
    /// The path of every component.
    path: PathRow {
        step, component, size, pc1, pc2, pc3, share1, share2, share3, step_length, relative_speed, turn, start_cosine,
        start_retained, expected_retained, expected_cosine, carried, carried_cosine
    }
    /// Rows that no training reached.
    decay: DecayRow {
        tensor, component, from_step, to_step, rows, of, state, ratio, ratio_sd, cosine, law, predicted, predicted_low,
        predicted_high, deviation, reading
    }
    /// Rows of tokens that left an earlier direction and stand on it again.
    returned: ReturnedRow { tensor, component, row, from_step, away_step, to_step, moved, off }
    /// Tests whose answer is known.
    calibration: CalibrationRow { model, against, component, effect, z, log10_p, rows }
    /// Similarity to a parent given the start.
    partial: PartialRow { step, component, parent, effect, z, log10_p, rows }
    /// The search for a disguise.
    disguise: DisguiseRow {
        reference, question, frame, between, component, layer_subject, layer_parent, agreed, expected, of, z, log10_p,
        effect, in_place, from_step, to_step
    }
    /// What the tests were made of.
    looked: LookedRow {
        test, reference, component, layers, of_layers, matrices, of_matrices, rows, of_rows, smallest_correlation
    }
    /// The subject's tokenizer against those of the parents and controls.
    tokenizers: TokenizerRow {
        reference, kind, reference_kind, tokens, reference_tokens, shared, merges, reference_merges, shared_merges,
        merge_spearman, same_id, shift, shift_share, first_256, prefix, rows_by, note
    }
    /// Attention after the residual axis is aligned through shared tokens.
    cka: CkaRow {
        reference, part, layer_subject, layer_reference, cka, null_mean, null_sd, z, log10_p, draws, tokens, columns
    }
    /// The final checkpoint as a weighted sum of the parents.
    merge: MergeRow {
        component, layer, parent, weight, alone, gain, share, roundings, effect, z, log10_p, tensors, elements
    }
}
