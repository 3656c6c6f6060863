//! Checkpoints that a repository holds by their digests.

use super::{TargetCheckpoint, Targets};
use crate::dated::{Covered, Existed};
use crate::git::{Pointer, Repository};
use crate::releases::{Interval, Trust};

impl Repository {
    /// Checkpoints that the history holds by their digests: all files of weights of one, which were there by the last of the
    /// first commits that name them. A commit's date is whoever made it's own.
    pub fn held(&self, targets: &Targets) -> Vec<Existed> {
        let named = |sha256: &str| {
            self.pointers.iter().filter(|pointer| pointer.sha256.eq_ignore_ascii_case(sha256)).min_by_key(|p| p.at)
        };
        let weights = |name: &str| {
            let name = name.to_ascii_lowercase();
            [".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".distcp"].iter().any(|end| name.ends_with(end))
        };
        let held = |checkpoint: &TargetCheckpoint| {
            let files: Vec<_> = checkpoint.files.iter().filter(|file| weights(&file.name)).collect();
            let found: Option<Vec<&Pointer>> = files.iter().map(|file| named(&file.sha256)).collect();
            let last = found?.into_iter().max_by_key(|pointer| pointer.at)?;
            Some(Existed {
                what: Covered::Checkpoint(checkpoint.step),
                by: Interval { earliest: last.at, latest: last.at },
                trust: Trust::SelfAsserted,
                source: format!("the Git LFS pointer in commit {}", crate::git::short(&last.commit)),
            })
        };
        targets.checkpoints.iter().filter_map(held).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::git::testing::Made;
    use crate::witness::{TargetCheckpoint, TargetFile, Targets};
    use crate::{Covered, Trust};

    fn of(digit: char, bytes: u64) -> String {
        let hex: String = std::iter::repeat_n(digit, 64).collect();
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hex}\nsize {bytes}\n")
    }

    /// Two shards that come in two commits; the last of them dates the checkpoint, and a later copy does not.
    #[test]
    fn a_checkpoint_was_there_when_the_last_of_its_files_was_named() {
        let made = Made::new();
        made.commit(0, &[("a", "0")]);
        made.commit(5, &[("step-10/model-1.safetensors", &of('1', 100)), ("step-10/config.json", "{}")]);
        made.commit(7, &[("step-10/model-2.safetensors", &of('2', 100))]);
        made.commit(90, &[("final/model-1.safetensors", &of('1', 100)), ("final/model-2.safetensors", &of('2', 100))]);
        let repository = made.read();
        assert_eq!(repository.pointers.len(), 4);
        let file = |name: &str, digit: char| TargetFile {
            name: name.into(),
            sha256: std::iter::repeat_n(digit, 64).collect(),
        };
        let checkpoint = |step, files| TargetCheckpoint { step, manifest: String::new(), files };
        let targets = Targets {
            checkpoints: vec![
                checkpoint(
                    10,
                    vec![file("m-1.safetensors", '1'), file("m-2.safetensors", '2'), file("config.json", '9')],
                ),
                checkpoint(20, vec![file("m-1.safetensors", '1'), file("m-2.safetensors", '3')]),
                checkpoint(30, vec![file("config.json", '1')]),
            ],
            ..Targets::default()
        };
        let held = repository.held(&targets);
        assert_eq!(held.len(), 1, "{held:?}");
        let second = repository.pointers.iter().find(|p| p.path.ends_with("step-10/model-2.safetensors")).unwrap();
        assert_eq!((&held[0].what, held[0].by.latest), (&Covered::Checkpoint(10), second.at));
        assert_eq!(held[0].trust, Trust::SelfAsserted);
    }
}
