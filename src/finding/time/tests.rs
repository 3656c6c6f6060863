use super::{Code, Condition, Direction, Grade, Judgement, ParentRelease, RepositoryFacts, Sizes, TimeFacts, judge};
use crate::case::Policy;
use crate::timeline::git::tests::{Made, config, settings};
use crate::timeline::{KeyMap, Release, Run, Trust};

/// A run of 600 steps, logged every fifth, begun ten hours into the history of [`Made`].
fn run(first_loss: f64) -> Run {
    let mut run = Run { id: "abc".into(), ..Run::default() };
    run.started_at = Some("2026-08-01T10:00:00Z".parse().unwrap());
    for step in (0..600).step_by(5) {
        run.history.rows += 1;
        run.history.push(step, "loss", &first_loss.to_string());
        run.history.push(step, "_step", &step.to_string());
        run.history.push(step, "_timestamp", &(1_785_578_400 + step).to_string());
    }
    run.config = [("hidden_size".to_owned(), 64.into()), ("num_hidden_layers".to_owned(), 8.into())].into();
    run.choose_keys(&KeyMap::default()).unwrap();
    run
}

fn sizes(layers: u64) -> Sizes {
    Sizes { hidden: Some(64), layers: Some(layers), vocabulary: Some(1280), ..Sizes::default() }
}

fn look(judgement: &Judgement, code: Code) -> Vec<(Grade, Direction)> {
    judgement.findings.iter().filter(|f| f.code == code).map(|f| (f.grade, f.direction)).collect()
}

fn of(facts: &TimeFacts<'_>) -> Judgement {
    judge(facts, &Policy::default())
}

const FOR: (Grade, Direction) = (Grade::Weak, Direction::For);
const QUESTION: (Grade, Direction) = (Grade::Weak, Direction::Neutral);
const CONTEXT: (Grade, Direction) = (Grade::Context, Direction::Neutral);

#[test]
fn nothing_is_untested_and_says_what_is_missing() {
    let judgement = of(&TimeFacts::default());
    assert!(judgement.findings.is_empty() && judgement.condition == Condition::Untested);
    assert_eq!(judgement.missing.len(), 2);
}

#[test]
fn the_first_loss_is_a_question_at_most() {
    for (loss, vocabularies, expected) in [
        (7.18, &[1280][..], FOR),
        (4.45, &[65], FOR),
        (4.57, &[1024], QUESTION),
        (25.48, &[50257], CONTEXT),
        (10.99, &[512, 50257], FOR),
    ] {
        let judgement = of(&TimeFacts { runs: &[run(loss)], vocabularies, ..TimeFacts::default() });
        assert_eq!(look(&judgement, Code::TimeFirstLoss), [expected], "{loss}");
        assert_eq!(judgement.condition, Condition::Holds);
    }
    let mut late = run(3.0);
    late.history.columns.values_mut().for_each(|column| column.retain(|&(step, _)| step >= 50));
    let judgement = of(&TimeFacts { runs: &[late], vocabularies: &[1280], ..TimeFacts::default() });
    assert_eq!(look(&judgement, Code::TimeFirstLoss), [CONTEXT]);
}

#[test]
fn checkpoints_may_lie_one_logging_step_beyond_the_log() {
    for (steps, expected) in [(&[0, 200, 600][..], FOR), (&[0, 599], FOR), (&[0, 601], QUESTION), (&[-1], QUESTION)] {
        let judgement = of(&TimeFacts { runs: &[run(7.0)], steps, ..TimeFacts::default() });
        assert_eq!(look(&judgement, Code::TimeSteps), [expected], "{steps:?}");
    }
}

#[test]
fn other_sizes_are_against_unless_another_run_fits() {
    let runs = [run(7.0)];
    let judgement = of(&TimeFacts { runs: &runs, sizes: sizes(8), ..TimeFacts::default() });
    assert_eq!((look(&judgement, Code::TimeSizes), judgement.condition), (vec![FOR], Condition::Holds));
    let judgement = of(&TimeFacts { runs: &runs, sizes: sizes(6), ..TimeFacts::default() });
    assert_eq!(look(&judgement, Code::TimeSizes), [(Grade::Moderate, Direction::Against)]);
    assert_eq!(judgement.condition, Condition::Untested, "one moderate finding decides nothing");
    let mut other = run(7.0);
    other.config.insert("num_hidden_layers".into(), 6.into());
    let judgement = of(&TimeFacts { runs: &[run(7.0), other], sizes: sizes(6), ..TimeFacts::default() });
    assert_eq!(look(&judgement, Code::TimeSizes), [CONTEXT, FOR]);
    let mut padded = run(7.0);
    padded.config.insert("vocab_size".into(), 1260.into());
    let judgement = of(&TimeFacts { runs: &[padded.clone()], sizes: sizes(8), ..TimeFacts::default() });
    assert_eq!(look(&judgement, Code::TimeSizes), [FOR]);
    padded.config.insert("vocab_size".into(), 1300.into());
    let judgement = of(&TimeFacts { runs: &[padded], sizes: sizes(8), ..TimeFacts::default() });
    assert_eq!(look(&judgement, Code::TimeSizes), [QUESTION]);
}

#[test]
fn a_start_before_the_release_is_for_and_later_is_nothing() {
    for (date, expected) in [("2026-10-02", FOR), ("2026-08-01", CONTEXT), ("2025-01-01", CONTEXT)] {
        let release = Release::new("P", date, Trust::Platform, None).unwrap();
        let parents =
            [ParentRelease { parent: "P", release: Some(&release) }, ParentRelease { parent: "Q", release: None }];
        let judgement = of(&TimeFacts { runs: &[run(7.0)], parents: &parents, ..TimeFacts::default() });
        assert_eq!(look(&judgement, Code::TimeRunStart), [expected], "{date}");
        assert!(judgement.missing.iter().any(|missing| missing.contains("Q became public")));
    }
}

type Seen = Vec<(Grade, Direction)>;

/// What the commit and the freeze look like for a run begun at hour 10 from `commit`.
fn history(made: &Made, commit: &str) -> (Seen, Seen, Condition) {
    let repository = made.read();
    let last = settings(8);
    let runs = [Run { commit: Some(commit.into()), ..run(7.0) }];
    let facts = TimeFacts {
        runs: &runs,
        repository: RepositoryFacts::Read(&repository),
        settings: Some(&last),
        ..TimeFacts::default()
    };
    let judgement = of(&facts);
    (look(&judgement, Code::TimeCommit), look(&judgement, Code::TimeFreeze), judgement.condition)
}

#[test]
fn the_repository_supports_weakly_and_accuses_never() {
    let moderate = (Grade::Moderate, Direction::Neutral);
    let made = Made::new();
    made.commit(0, &[("c.json", &config(4))]);
    let settled = made.commit(1, &[("c.json", &config(8))]).to_string();
    assert_eq!(history(&made, &settled[..10]), (vec![FOR], vec![FOR], Condition::Holds));
    assert_eq!(history(&made, "0123456789").0, [QUESTION]);
    assert_eq!(history(&made, "main").0, [CONTEXT]);
    let later = made.commit(30, &[("c.json", &config(12))]).to_string();
    assert_eq!(history(&made, &later), (vec![QUESTION], vec![FOR], Condition::Holds), "went on to another model");

    let changed = Made::new();
    changed.commit(0, &[("c.json", &config(4))]);
    changed.commit(12, &[("c.json", &config(8))]);
    assert_eq!(history(&changed, "0123456789"), (vec![QUESTION], vec![moderate], Condition::Holds));

    let never = Made::new();
    never.commit(0, &[("c.json", &config(4))]);
    assert_eq!(history(&never, "0123456789").1, [QUESTION]);

    // Made anew three hours after the run: nothing of it can be told, and nothing is wrong with it.
    let anew = Made::new();
    anew.commit(13, &[("c.json", &config(8))]);
    assert_eq!(history(&anew, "0123456789"), (vec![QUESTION], vec![CONTEXT], Condition::Holds));

    // Rebased after the run.
    let rebased = Made::new();
    rebased.commit(0, &[("a", "x")]);
    rebased.commit_as(1, 40, &[("c.json", &config(8))], "rebased");
    assert_eq!(history(&rebased, "0123456789").1, [CONTEXT]);
}

#[test]
fn what_cannot_be_read_is_said() {
    let mut broken = run(7.0);
    broken.damaged = 3;
    let repository = RepositoryFacts::Unreadable("x is not a git repository");
    let judgement = of(&TimeFacts { runs: &[broken], repository, ..TimeFacts::default() });
    assert_eq!(look(&judgement, Code::TimeLogDamage), [CONTEXT]);
    assert_eq!(look(&judgement, Code::TimeRepository), [CONTEXT]);
    assert_eq!(judgement.condition, Condition::Holds);
    assert!(judgement.findings.iter().all(|f| f.message.ends_with('.') && f.message.starts_with(char::is_uppercase)
        || f.message.starts_with(char::is_numeric)));
}
