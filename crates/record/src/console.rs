//! Losses that a training program printed, found in its console output.
//!
//! Read are the lines of nanoGPT (`step 250: train loss 2.9, val loss 3.0`, `iter 10: loss 3.1`), Megatron-LM (` iteration
//! 100/ 500 | lm loss: 1.0E+01 |`), torchtitan (`step: 10 loss: 7.5`), `LitGPT`, `OLMo` and Composer (step and loss on lines of
//! their own) and the dictionaries of HF Trainer, which name no step. Progress bars are passed over.

use super::run::Printed;

/// Most lines that are kept.
const KEPT: usize = 1_000_000;
/// Longer lines are cut here.
const LINE: usize = 4096;

/// Takes the output of a program piece by piece.
#[derive(Debug, Default)]
pub(super) struct Console {
    line: Vec<u8>,
    number: u64,
    /// A step that stands on a line of its own, for the lines after it.
    step: Option<i64>,
    printed: Vec<Printed>,
    /// Losses of lines without a step.
    unnumbered: Vec<(u64, f64)>,
}

impl Console {
    /// The next piece of output.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n' || b == b'\r') {
            self.gather(&rest[..end]);
            self.end();
            self.number += u64::from(rest[end] == b'\n');
            rest = &rest[end + 1..];
        }
        self.gather(rest);
    }

    fn gather(&mut self, bytes: &[u8]) {
        let room = LINE.saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(&bytes[..room]);
    }

    fn end(&mut self) {
        if self.printed.len() + self.unnumbered.len() < KEPT && self.line.len() > 5 {
            let line = plain(&self.line);
            self.take(&line);
        }
        self.line.clear();
    }

    fn take(&mut self, line: &str) {
        let number = self.number + 1;
        // `Epoch 0:  12%|#  | 10/80 [00:01<00:09, 7.1it/s, loss=3.2]` shows a smoothed loss at a step of the epoch.
        if line.contains("%|") || line.contains("it/s") && line.contains('|') {
            return;
        }
        let loss = loss(line);
        match (step(line), loss) {
            (Some(step), Some(loss)) => self.printed.push(Printed { line: number, step, loss }),
            (Some(step), None) if alone(line) => self.step = Some(step),
            (None, Some(loss)) if line.trim_start().starts_with('{') => self.unnumbered.push((number, loss)),
            (None, Some(loss)) => {
                // One loss a step: what follows is of another kind.
                if let Some(step) = self.step.take() {
                    self.printed.push(Printed { line: number, step, loss });
                }
            }
            _ => {}
        }
    }

    /// What was printed, by line. A loss that HF Trainer printed has the step of the logged one of the same rank, because
    /// it prints what it logs; those beyond the logged ones are left out.
    pub fn finish(mut self, logged: &[(i64, f64)]) -> Vec<Printed> {
        self.end();
        let steps = logged.iter().map(|(step, _)| *step);
        self.printed.extend(self.unnumbered.iter().zip(steps).map(|(&(line, loss), step)| Printed {
            line,
            step,
            loss,
        }));
        self.printed.sort_by_key(|printed| printed.line);
        self.printed
    }
}

/// The line in lower case, without colours.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            // A sequence ends with a letter.
            letters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            line.push(letter.to_ascii_lowercase());
        }
    }
    line
}

/// Words before a number of steps; the most telling first.
const STEPS: &[&str] = &["global_step", "iteration", "step", "iter", "batch"];

fn step(line: &str) -> Option<i64> {
    STEPS.iter().find_map(|word| {
        after(line, word).find_map(|(before, rest)| {
            if before.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_' || c == '/') {
                return None;
            }
            let rest = rest.trim_start_matches([' ', '\t', ':', '=', '#', '"', '\'', '[']);
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',').len();
            let end = rest[digits..].chars().next();
            let word = &rest[..digits];
            // `step 1.5` is no count; `step 1,000` is one.
            let count = !end.is_some_and(|c| c.is_ascii_alphabetic() || c == '.');
            let word = word.trim_end_matches(',').replace(',', "");
            (count && (1..16).contains(&word.len())).then(|| word.parse().ok()).flatten()
        })
    })
}

/// Kinds of loss that are not the one that is trained, and kinds of figures that are no loss.
const OTHERS: &[&str] = &["val", "valid", "validation", "eval", "test", "aux", "balance", "router", "balancing", "dev"];

fn loss(line: &str) -> Option<f64> {
    let words = ["lm loss", "train loss", "train_loss", "train/loss", "training loss", "loss"];
    let plain = words.iter().find_map(|word| {
        after(line, word).find_map(|(before, rest)| {
            let before = before.trim_end_matches(['\'', '"', '/', '_', ' ', '-']);
            let kind = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
            if OTHERS.contains(&kind) || kind == "z" || kind == "mtp" {
                return None;
            }
            // `loss scale: 1.0` and `loss train: 10.9`.
            let rest = rest.strip_prefix(" train").unwrap_or(rest);
            figure(rest.strip_prefix("/train/total").unwrap_or(rest))
        })
    });
    plain.or_else(|| {
        after(line, "crossentropyloss").find_map(|(before, rest)| {
            let kind = before.trim_end_matches(['/', '_', ' ']);
            if kind.ends_with("eval") || kind.ends_with("val") { None } else { figure(rest) }
        })
    })
}

/// The number after the separators.
fn figure(rest: &str) -> Option<f64> {
    let value = rest.trim_start_matches([' ', '\t', ':', '=', '"', '\'', '|']);
    if value.len() == rest.len() {
        return None;
    }
    let end = value.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | 'e' | '+' | '-'))).unwrap_or(value.len());
    value[..end].trim_end_matches(['.', 'e', '-', '+']).parse().ok().filter(|loss: &f64| loss.is_finite())
}

/// A step on a line of its own: `[step=10/1000,epoch=0]` (`OLMo`), `[batch=5/100]:` (Composer).
fn alone(line: &str) -> bool {
    line.trim_end_matches([':', ' ']).ends_with(']') && (line.contains("[step=") || line.contains("[batch="))
}

/// Every place of a word: the text before and after it.
fn after<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    line.match_indices(word).map(move |(at, _)| (&line[..at], &line[at + word.len()..]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Console;

    fn read(text: &str) -> Vec<(i64, f64)> {
        let mut console = Console::default();
        for piece in text.as_bytes().chunks(7) {
            console.feed(piece);
        }
        console.finish(&[(10, 0.0), (20, 0.0)]).iter().map(|printed| (printed.step, printed.loss)).collect()
    }

    #[test]
    fn the_lines_of_common_trainers_are_read() {
        for (text, expected) in [
            ("step 250: train loss 2.9, val loss 3.0", &[(250, 2.9)][..]),
            ("iter 1276: loss 4.3412, time 313.25ms, mfu 108.00%", &[(1276, 4.3412)]),
            (
                " [2024-01-01 00:00:00] iteration      100/  500000 | consumed samples:  25600 | learning rate: 1.5E-05 | \
                 global batch size:   256 | lm loss: 1.03E+01 | loss scale: 1.0 | grad norm: 2.5 |",
                &[(100, 10.3)],
            ),
            (
                "[titan] root - INFO - \u{1b}[31mstep: 10  \u{1b}[32mloss:  7.5123  \u{1b}[33mgrad_norm: 1.2",
                &[(10, 7.5123)],
            ),
            ("[Epoch 0] Step 50/107124 | loss=8.9444 | lr=1.50e-06 | time=1.1s", &[(50, 8.9444)]),
            ("Epoch 1 | iter 16 step 1 | loss train: 10.97, val: n/a | iter time: 9 ms", &[(1, 10.97)]),
            (
                "[step=10/1000,epoch=0]\n    optim/lr=1e-4\n    train/CrossEntropyLoss=9.21\n    train/Perplexity=1",
                &[(10, 9.21)],
            ),
            ("[batch=5/100]:\n\t Train time/epoch: 0\n\t Train loss/train/total: 12.02", &[(5, 12.02)]),
            (
                "{'loss': 2.34, 'grad_norm': 1.2, 'learning_rate': 5e-05}\n{'loss': '2.1'}\n{'loss': 1}",
                &[(10, 2.34), (20, 2.1)],
            ),
            ("Epoch 0:  12%|#  | 10/80 [00:01<00:09, 7.1it/s, step 3 loss=3.2]", &[]),
            ("step 10: val loss 3.0, eval_loss 2, validation loss: 3", &[]),
            ("{'eval_loss': 2.0, 'eval_runtime': 3}", &[]),
            ("footstep 10 loss 3, step 1.5 loss 2, step x loss", &[]),
            ("step 7 loss nan, step 8", &[]),
            ("step 1,000: loss 3.0.", &[(1000, 3.0)]),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn lines_are_counted_and_long_ones_are_cut() {
        let mut console = Console::default();
        console.feed(b"a\nprogress\rstep 1 loss 2\n");
        console.feed(&vec![b'x'; 1 << 20]);
        assert!(console.line.len() <= super::LINE);
        console.feed(b"\nstep 2 loss 1.5");
        let lines: Vec<_> = console.finish(&[]).iter().map(|printed| printed.line).collect();
        assert_eq!(lines, [2, 4]);
    }
}
