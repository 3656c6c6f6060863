//! Every threshold of the judgement, once. Overridable in the case file, printed in every report.

use serde::{Deserialize, Serialize};

use super::profile::Profile;
use super::requirement::Requirement;
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// The thresholds of METHODS 7. A change of a default is a new `version`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Version of the defaults.
    pub version: u32,
    /// What must have been handed over, and be tied to the weights where it can be, before anything is confirmed.
    pub requires: Vec<Requirement>,
    /// Name of a programme's questions (`kr-sovereign-ai`, `eu-model-documentation`, `model-openness`): the report answers them,
    /// and what they require beside the weights is added to `requires`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// A conclusive finding has at most this log10 p after multiplicity ...
    pub conclusive_log10_p: f64,
    /// ... and at least this effect (correlation centred over the residual axis).
    pub conclusive_effect: f64,
    /// A strong finding has at most this log10 p ...
    pub strong_log10_p: f64,
    /// ... and at least this effect.
    pub strong_effect: f64,
    /// Share of neurons, experts or heads, matched twice alike, that is conclusive.
    pub matched_conclusive: f64,
    /// Share of them that is strong; fewer may be features that any two models of one language learn.
    pub matched_strong: f64,
    /// The same where only token rows say how the residual axis is read: models of one tokenizer that learned one language
    /// have more in common along the axis that their tokens propose.
    pub matched_by_tokens: f64,
    /// A moderate finding has at most this log10 p.
    pub moderate_log10_p: f64,
    /// A component counts as independent only if this effect would have been graded moderate.
    pub detectable_effect: f64,
    /// A parent is cleared only if no test can reach at most this share of the final checkpoint's bytes; nothing is confirmed
    /// while what was handed over with a checkpoint and is neither it nor a trainer's is more than this share of it.
    pub unreached_share: f64,
    /// Given the start, less than this of the correlation with the parent is left in two models of one seed that were
    /// trained apart.
    pub shared_seed_partial: f64,
    /// A path that is this many times shorter with two neighbouring checkpoints exchanged is out of order.
    pub order_excess: f64,
    /// Neighbours whose distances from the straight line have a cosine below this, where a training path would have
    /// `noise_expected` or more, were not reached by training.
    pub noise_cosine: f64,
    /// See `noise_cosine`.
    pub noise_expected: f64,
    /// Of the correlation that decay leaves, honest runs showed this share or more in every component. Measured: 0.45 and
    /// above (a head, a learning rate 30 times too large; attention under Muon), over the whole model 0.75.
    pub memory_share: f64,
    /// The whole model may have been trained at this many times the logged learning rates ...
    pub own_rate_whole: f64,
    /// ... and a component at this many times. Nothing is conclusive that such rates would explain.
    pub own_rate_part: f64,
    /// Holding less than this share of what decay leaves of the start raises a question. Measured, whole model: 0.87.
    pub start_retained_whole: f64,
    /// The same in a component. Measured: 0.45.
    pub start_retained_part: f64,
    /// Holding less than this share of the progress so far, decay apart, raises a question. Measured, whole model: 1.00.
    pub carried_whole: f64,
    /// The same in embedding, head, MLPs and experts. Measured over 188 honest runs: 0.82 (embedding), 0.85 (MLPs).
    pub carried_matrices: f64,
    /// The same in attention. Measured: 0.58 (SGD without momentum).
    pub carried_attention: f64,
    /// The same in any other component. Measured: 0.46 in a router.
    pub carried_part: f64,
    /// The whole model holding less than this is strong.
    pub carried_strong: f64,
    /// An interval this many times faster than both beside it is a leap. Measured: 1.3 within a series, 2.0 at its end.
    pub leap: f64,
    /// An interval this many times slower than both beside it, while the learning rate is not, is a standstill. Measured:
    /// 3.
    pub standstill: f64,
    /// What lies between checkpoints is noise if at least this share of its matrices shows no structure ...
    pub noise_clean: f64,
    /// ... all of them together lie within so many standard deviations of independent signs ...
    pub noise_z: f64,
    /// ... and their median ratio is this near to 1.
    pub noise_ratio: f64,
    /// Displacements before and after a checkpoint with a cosine below minus this raise a question ...
    pub turn_moderate: f64,
    /// ... and below minus this are out of order.
    pub turn_strong: f64,
    /// Less than this share of the weights on a line through two others is a question.
    pub blend_share: f64,
    /// A matrix whose start and progress grew by one factor, apart from its kind and from other intervals by this logarithm, is a
    /// question. Measured: 0.104.
    pub scaled_matrix: f64,
    /// So many rows of tokens that point the other way after one interval are a question. Measured: 3, and 8 under Adam with
    /// L2.
    pub rows_reversed: u64,
    /// So many rows of tokens that come back to where they were are a question. Measured: none.
    pub rows_returned: u64,
    /// A checkpoint at which the cosine of the displacements before and after is larger than at both checkpoints beside it, by
    /// this as inverse hyperbolic tangents, may be an average of the three. Measured: 0.55; averages 0.88 or more.
    pub average_straightens: f64,
    /// Increments that have this cosine or more after a mean of two neighbours was undone are those of such means. Measured:
    /// -0.03; such means 0.18 or more.
    pub average_undone: f64,
    /// An interval of one component whose cosine with the one before is below minus this ...
    pub splice_cosine: f64,
    /// ... and smaller than those at the checkpoints beside by this, as inverse hyperbolic tangents ...
    pub splice_dip: f64,
    /// ... and that is so many times as fast as both beside it, is a question. Measured: no honest interval comes nearer than
    /// (0.09, 0.08, 1.16) and (-0.02, 0.26, 1.23).
    pub splice_faster: f64,
    /// One layer that bends more than the others by this, as inverse hyperbolic tangents, ...
    pub layer_splice_dip: f64,
    /// ... and hastens more than they by this factor, is a question. Measured, where the cosine is negative: (0.094, 1.36),
    /// (0.221, 1.01); (0.205, 1.23) under Adam with L2.
    pub layer_splice_faster: f64,
    /// The last interval has one beside it: two components must bend by this ...
    pub splice_dip_last: f64,
    /// ... and faster by this. Measured: one component.
    pub splice_faster_last: f64,
    /// A budget above this many times what the optimiser can do is out of the question.
    pub budget_excess: f64,
    /// Layers that moved beside the rows of tokens that were met by this many times what they do in the intervals beside are a
    /// question, if they also moved faster ...
    pub moved_layers: f64,
    /// ... by this. Measured, both at once: (1.33, 1.17), (1.18, 1.47).
    pub moved_layers_pace: f64,
    /// The same in the first and in the last interval, which has one beside it. Measured: 1.69, and 1.73 of two intervals; half
    /// of a hidden parent 1.92 and 2.06.
    pub moved_layers_end: f64,
    /// This much is strong. Measured with a hidden parent: 3.5 and 4.1.
    pub moved_layers_strong: f64,
    /// The same of one kind of matrix beside the embedding and the other kinds, with `moved_pace`. Measured: (1.50, 1.29),
    /// (1.38, 1.24), (1.11, 1.17).
    pub moved_part: f64,
    /// See `moved_part`. Measured: 2.0.
    pub moved_part_end: f64,
    /// The same of output layer and embedding. Measured: 2.05.
    pub moved_tokens: f64,
    /// See `moved_tokens`. Measured: 1.86.
    pub moved_tokens_end: f64,
    /// How much faster than the intervals beside, inside a series.
    pub moved_pace: f64,
    /// Single weights that moved this many times the sum of the learning rates are a question. Measured: 1.10.
    pub reach_moderate: f64,
    /// A log is tied by step sizes only if every interval spent at least this share of what the optimiser can reach ...
    pub spent_least: f64,
    /// ... the speeds follow the logged rates with a power between this and its inverse ...
    pub follows_slope: f64,
    /// ... and stray from them by no more than this factor between the largest and the smallest.
    pub follows_spread: f64,
    /// Rows that no training reached agree with the log within this share of the predicted decay, beside the errors of
    /// both.
    pub clock_tolerance: f64,
    /// Fewer such rows give no strong finding.
    pub clock_rows: u64,
    /// A checkpoint nearer to the line through its neighbours than this many roundings of its number format is a blend.
    pub blend_roundings: f64,
    /// A first loss below this share of ln(vocabulary) raises a question.
    pub first_loss_low: f64,
    /// A first loss above this share of ln(vocabulary) raises a question.
    pub first_loss_high: f64,
    /// A first loss outside of that is an untrained model's in another count (summed over calls, in bits) if it is at least
    /// this share of ln(vocabulary) in that count, ...
    pub first_loss_counted_low: f64,
    /// ... and at most this. Measured: 0.992 to 1.021 by the mean; continued models from 0.55 on, which is 1.1 by twice.
    pub first_loss_counted_high: f64,
    /// The first loss is held against ln(vocabulary) only if it was logged at this training step or before: later ones
    /// have already fallen.
    pub first_loss_step: i64,
    /// A checkpoint may lie outside the logged steps by so many of the log's widest steps: logs are written now and
    /// then, and count from 0 or from 1.
    pub step_slack: f64,
    /// A last checkpoint that lies beyond that by more than this share of the logged steps is a question: the log does not
    /// tell how the training ended.
    pub unlogged_share: f64,
    /// An embedding may have so many rows more than the configured vocabulary: padding for the hardware.
    pub vocabulary_padding: u64,
    /// Clocks of one record may disagree by so many seconds.
    pub clock_slack_seconds: i64,
    /// A learning rate follows known laws if at least this share of its rows does.
    pub schedule_explained: f64,
    /// The largest logged rate may differ from the configured one by this share of it.
    pub schedule_peak: f64,
    /// Steps of the warm-up and of the whole law may differ from the configured ones by this share, beside two steps.
    pub schedule_steps: f64,
    /// Tokens a step are the same in two gaps if they differ by no more than this share.
    pub tokens_even: f64,
    /// Tokens a step are batch times length if they differ by no more than this share.
    pub tokens_product: f64,
    /// Times of a summary and of the row it was made from may lie so many seconds apart.
    pub summary_seconds: f64,
    /// A printed loss is the logged one if they differ by no more than this share of it (or this much, below 1): two decimals.
    pub printed_loss: f64,
    /// Columns that are computed from each other may differ here and there in this share of the rows; in more they are no
    /// such columns.
    pub identity_scattered: f64,
    /// So many losses in a row that stand in two places are a copy.
    pub repeated_rows: u64,
    /// A log of so many rows in which the loss never changes is a question.
    pub flat_rows: usize,
    /// A loss so many robust standard deviations above the rows beside it is a spike.
    pub loss_spike: f64,
    /// Six rows of a loss that are all above the six before by this factor, for good or until it falls back so, are a
    /// question. Measured: 1.15.
    pub loss_rise: f64,
    /// So many values in one block that are written with other digits than their column ask a question.
    pub odd_digits: u64,
    /// A wait of so many usual ones ...
    pub pause_times: f64,
    /// ... and of so many seconds is a pause.
    pub pause_seconds: f64,
    /// A gap whose steps took less than this share of the time of the fastest tenth, and that is wider than the others, holds steps that were not trained.
    pub pace_fast: f64,
    /// A device is busy above this utilisation, in percent.
    pub device_busy_percent: f64,
    /// Devices busy in less than this share of the measurements are idle.
    pub device_busy_share: f64,
    /// More than this many times the peak rate in bf16 cannot be: 8-bit products double it.
    pub compute_impossible: f64,
    /// A logged norm is that of a checkpoint if they differ by no more than this share: bf16 holds 8 bits.
    pub norm_agrees: f64,
    /// The same for the norm of a vector, whose values may all round to one side.
    pub norm_vector_agrees: f64,
    /// The same for a norm that is taken from a histogram of 64 bins.
    pub norm_histogram_agrees: f64,
    /// Logged norms of tensors are those of the checkpoints if this share of them agrees.
    pub norm_tensors_agree: f64,
    /// Beyond this share no choice of tensors explains the difference.
    pub norm_differs: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: 2,
            requires: vec![Requirement::Log],
            profile: None,
            conclusive_log10_p: -30.0,
            conclusive_effect: 0.1,
            strong_log10_p: -10.0,
            strong_effect: 0.03,
            matched_conclusive: 0.5,
            matched_strong: 0.1,
            matched_by_tokens: 0.4,
            moderate_log10_p: -4.0,
            detectable_effect: 0.1,
            unreached_share: 0.01,
            shared_seed_partial: 0.3,
            order_excess: 1.2,
            noise_cosine: 0.05,
            noise_expected: 0.3,
            memory_share: 0.4,
            own_rate_whole: 3.0,
            own_rate_part: 10.0,
            start_retained_whole: 0.87,
            start_retained_part: 0.3,
            carried_whole: 0.97,
            carried_matrices: 0.75,
            carried_attention: 0.45,
            carried_part: 0.3,
            carried_strong: 0.5,
            leap: 2.0,
            standstill: 30.0,
            noise_clean: 0.9,
            noise_z: 6.0,
            noise_ratio: 0.2,
            turn_moderate: 0.5,
            turn_strong: 0.65,
            blend_share: 0.05,
            scaled_matrix: 0.13,
            rows_reversed: 12,
            rows_returned: 1,
            average_straightens: 0.75,
            average_undone: 0.1,
            splice_cosine: 0.05,
            splice_dip: 0.12,
            splice_faster: 1.15,
            layer_splice_dip: 0.26,
            layer_splice_faster: 1.13,
            splice_dip_last: 0.15,
            splice_faster_last: 1.4,
            budget_excess: 1.5,
            moved_layers: 1.4,
            moved_layers_pace: 1.3,
            moved_layers_end: 1.85,
            moved_layers_strong: 3.0,
            moved_part: 1.45,
            moved_part_end: 2.25,
            moved_tokens: 2.2,
            moved_tokens_end: 2.75,
            moved_pace: 1.4,
            reach_moderate: 1.25,
            spent_least: 0.01,
            follows_slope: 0.5,
            follows_spread: 3.5,
            clock_tolerance: 0.002,
            clock_rows: 8,
            blend_roundings: 2.0,
            first_loss_low: 0.9,
            first_loss_high: 1.3,
            first_loss_counted_low: 0.96,
            first_loss_counted_high: 1.08,
            first_loss_step: 10,
            step_slack: 1.0,
            unlogged_share: 0.05,
            vocabulary_padding: 1024,
            clock_slack_seconds: 300,
            schedule_explained: 0.9,
            schedule_peak: 0.005,
            schedule_steps: 0.02,
            tokens_even: 1e-6,
            tokens_product: 0.005,
            summary_seconds: 60.0,
            printed_loss: 0.006,
            identity_scattered: 0.1,
            repeated_rows: 5,
            flat_rows: 20,
            loss_spike: 8.0,
            loss_rise: 1.3,
            odd_digits: 3,
            pause_times: 20.0,
            pause_seconds: 600.0,
            pace_fast: 0.1,
            device_busy_percent: 2.0,
            device_busy_share: 0.1,
            compute_impossible: 2.0,
            norm_agrees: 1e-3,
            norm_vector_agrees: 4e-3,
            norm_histogram_agrees: 5e-3,
            norm_tensors_agree: 0.9,
            norm_differs: 0.2,
        }
    }
}

impl Policy {
    /// Adds what the profile requires.
    ///
    /// # Errors
    /// If no profile has this name.
    pub fn take_profile(&mut self) -> Result<()> {
        let Some(name) = &self.profile else { return Ok(()) };
        for requirement in Profile::named(name)?.requires {
            if !self.requires.contains(&requirement) {
                self.requires.push(requirement);
            }
        }
        Ok(())
    }

    /// Refuses thresholds that would turn the grades upside down.
    ///
    /// # Errors
    /// If a log10 p is above 0 or the grades are not in order.
    #[allow(clippy::too_many_lines, reason = "one line a threshold")]
    pub fn check(&self) -> Result<()> {
        let order = [
            ("conclusive_log10_p", self.conclusive_log10_p),
            ("strong_log10_p", self.strong_log10_p),
            ("moderate_log10_p", self.moderate_log10_p),
        ];
        for (name, value) in order {
            if value.is_nan() || value > 0.0 {
                return Err(Error::usage(text!("error-case/policy/not-log10-probability-most", name, value)));
            }
        }
        for pair in order.windows(2) {
            if pair[0].1 > pair[1].1 {
                return Err(Error::usage(text!(
                    "error-case/policy/must-not-above",
                    pair = pair[0].0,
                    pair_2 = pair[1].0
                )));
            }
        }
        for (name, value) in [
            ("conclusive_effect", self.conclusive_effect),
            ("strong_effect", self.strong_effect),
            ("matched_conclusive", self.matched_conclusive),
            ("matched_strong", self.matched_strong),
            ("matched_by_tokens", self.matched_by_tokens),
            ("detectable_effect", self.detectable_effect),
            ("unreached_share", self.unreached_share),
            ("shared_seed_partial", self.shared_seed_partial),
            ("order_excess", self.order_excess),
            ("noise_cosine", self.noise_cosine),
            ("noise_expected", self.noise_expected),
            ("memory_share", self.memory_share),
            ("own_rate_whole", self.own_rate_whole),
            ("own_rate_part", self.own_rate_part),
            ("start_retained_whole", self.start_retained_whole),
            ("start_retained_part", self.start_retained_part),
            ("carried_whole", self.carried_whole),
            ("carried_matrices", self.carried_matrices),
            ("carried_attention", self.carried_attention),
            ("carried_part", self.carried_part),
            ("carried_strong", self.carried_strong),
            ("leap", self.leap),
            ("standstill", self.standstill),
            ("noise_clean", self.noise_clean),
            ("noise_z", self.noise_z),
            ("noise_ratio", self.noise_ratio),
            ("turn_moderate", self.turn_moderate),
            ("turn_strong", self.turn_strong),
            ("blend_share", self.blend_share),
            ("scaled_matrix", self.scaled_matrix),
            ("average_straightens", self.average_straightens),
            ("average_undone", self.average_undone),
            ("splice_cosine", self.splice_cosine),
            ("splice_dip", self.splice_dip),
            ("splice_faster", self.splice_faster),
            ("layer_splice_dip", self.layer_splice_dip),
            ("layer_splice_faster", self.layer_splice_faster),
            ("splice_dip_last", self.splice_dip_last),
            ("splice_faster_last", self.splice_faster_last),
            ("budget_excess", self.budget_excess),
            ("moved_layers", self.moved_layers),
            ("moved_layers_end", self.moved_layers_end),
            ("moved_layers_strong", self.moved_layers_strong),
            ("moved_part", self.moved_part),
            ("moved_part_end", self.moved_part_end),
            ("moved_layers_pace", self.moved_layers_pace),
            ("moved_tokens", self.moved_tokens),
            ("moved_tokens_end", self.moved_tokens_end),
            ("moved_pace", self.moved_pace),
            ("reach_moderate", self.reach_moderate),
            ("spent_least", self.spent_least),
            ("follows_slope", self.follows_slope),
            ("follows_spread", self.follows_spread),
            ("clock_tolerance", self.clock_tolerance),
            ("blend_roundings", self.blend_roundings),
            ("first_loss_low", self.first_loss_low),
            ("first_loss_high", self.first_loss_high),
            ("first_loss_counted_low", self.first_loss_counted_low),
            ("first_loss_counted_high", self.first_loss_counted_high),
            ("step_slack", self.step_slack),
            ("unlogged_share", self.unlogged_share),
            ("schedule_explained", self.schedule_explained),
            ("schedule_peak", self.schedule_peak),
            ("schedule_steps", self.schedule_steps),
            ("tokens_even", self.tokens_even),
            ("tokens_product", self.tokens_product),
            ("summary_seconds", self.summary_seconds),
            ("printed_loss", self.printed_loss),
            ("identity_scattered", self.identity_scattered),
            ("loss_spike", self.loss_spike),
            ("loss_rise", self.loss_rise),
            ("pause_times", self.pause_times),
            ("pause_seconds", self.pause_seconds),
            ("pace_fast", self.pace_fast),
            ("device_busy_percent", self.device_busy_percent),
            ("device_busy_share", self.device_busy_share),
            ("compute_impossible", self.compute_impossible),
            ("norm_agrees", self.norm_agrees),
            ("norm_vector_agrees", self.norm_vector_agrees),
            ("norm_histogram_agrees", self.norm_histogram_agrees),
            ("norm_tensors_agree", self.norm_tensors_agree),
            ("norm_differs", self.norm_differs),
        ] {
            // Against NaN every comparison is false, so that nothing would ever be found.
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::usage(text!("error-case/policy/not-threshold-or-more", name, value)));
            }
        }
        if self.conclusive_effect < self.strong_effect {
            return Err(Error::usage(text!("error-case/policy/conclusive-effect-must-not")));
        }
        if self.matched_conclusive < self.matched_strong {
            return Err(Error::usage(text!("error-case/policy/matched-conclusive-must-not")));
        }
        Ok(())
    }
}
