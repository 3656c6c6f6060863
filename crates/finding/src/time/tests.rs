use super::{Code, Condition, Direction, Grade, Judgement, ParentRelease, RepositoryFacts, Sizes, TimeFacts, judge};
use scratchproof_case::Policy;
use scratchproof_record::git::testing::{Made, config, settings};
use scratchproof_record::{Covered, Existed};
use scratchproof_record::{Dated, Happened, Interval, KeyMap, Release, Run, Trust};
use scratchproof_timeline::{Saved, Sources, Story};

/// A run of 600 steps, logged every fifth, begun ten hours into the history of [`Made`].
fn run(first_loss: f64) -> Run {
    let mut run = Run { id: "abc".into(), ..Run::default() };
    run.started_at = Some("2026-08-01T10:00:00Z".parse().unwrap());
    for step in (0..600).step_by(5) {
        run.history.rows += 1;
        run.history.push(step, "loss", &(first_loss * (1.0 - 1e-4 * step as f64)).to_string());
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

/// With the story of the runs and releases.
fn of(facts: &TimeFacts<'_>) -> Judgement {
    let releases: Vec<Release> = facts.parents.iter().filter_map(|parent| parent.release.cloned()).collect();
    let story = Story::new(&Sources { runs: facts.runs, releases: &releases, ..Sources::default() });
    judge(&TimeFacts { story: Some(&story), ..*facts }, &Policy::default())
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
    // Beside a start whose weights are a random draw, a low first loss is another log's; before the run changes nothing.
    let drawn = |loss, start| {
        let facts = TimeFacts { runs: &[run(loss)], vocabularies: &[1280], start, ..TimeFacts::default() };
        look(&of(&facts), Code::TimeFirstLoss)
    };
    assert_eq!(drawn(4.57, Condition::Holds), [(Grade::Moderate, Direction::Against)]);
    assert_eq!(drawn(4.57, Condition::Fails), [QUESTION]);
    assert_eq!(drawn(7.18, Condition::Holds), [FOR]);
    let mut late = run(3.0);
    late.history.columns.values_mut().for_each(|column| column.retain(|&(step, _)| step >= 50));
    let judgement = of(&TimeFacts { runs: &[late], vocabularies: &[1280], ..TimeFacts::default() });
    assert_eq!(look(&judgement, Code::TimeFirstLoss), [CONTEXT]);
}

#[test]
fn checkpoints_may_lie_one_logging_step_beyond_the_log() {
    let against = (Grade::Moderate, Direction::Against);
    let outside = [(&[0, 601][..], QUESTION), (&[-1], QUESTION), (&[0, 660], against), (&[0, 3000, 6000], against)];
    for (steps, expected) in [(&[0, 200, 600][..], FOR), (&[0, 599], FOR)].into_iter().chain(outside) {
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

/// The checkpoint of step 500 existed by a time, as an authority says.
fn stamped(what: Covered, by: &str) -> Existed {
    Existed { what, by: Interval::parse(by).unwrap(), trust: Trust::Anchored, source: "token".into() }
}

#[test]
fn what_somebody_outside_dates_raises_the_start_and_can_contradict_the_log() {
    let saved = [Saved { step: 0, at: None }, Saved { step: 500, at: None }];
    let release = Release::new("P", "2026-10-02", Trust::Platform, None).unwrap();
    let parents = [ParentRelease { parent: "P", release: Some(&release) }];
    let runs = [run(7.0)];
    for (by, start, order, condition) in [
        ("2026-09-01T00:00:00Z", (Grade::Strong, Direction::For), FOR, Condition::Holds),
        ("2026-12-01T00:00:00Z", FOR, FOR, Condition::Holds),
        // Before the run started: a question that an hour's distance makes one of zones.
        (
            "2026-07-01T00:20:00Z",
            (Grade::Strong, Direction::For),
            (Grade::Moderate, Direction::Against),
            Condition::Untested,
        ),
        ("2026-08-01T09:08:00Z", (Grade::Strong, Direction::For), QUESTION, Condition::Holds),
    ] {
        let existed = [stamped(Covered::Checkpoint(500), by)];
        let story = Story::new(&Sources {
            runs: &runs,
            checkpoints: &saved,
            releases: std::slice::from_ref(&release),
            existed: &existed,
            ..Sources::default()
        });
        let facts = TimeFacts { runs: &runs, parents: &parents, story: Some(&story), ..TimeFacts::default() };
        let judgement = judge(&facts, &Policy::default());
        assert_eq!(look(&judgement, Code::TimeRunStart), [start], "{by}");
        assert_eq!(look(&judgement, Code::TimeOrder), [order], "{by}: {:?}", judgement.findings);
        assert_eq!(judgement.condition, condition, "{by}");
    }
}

#[test]
fn two_servers_that_contradict_each_other_are_no_wrong_clock() {
    let mut run = run(7.0);
    let seen = |happened, at| Dated {
        happened,
        what: "was created on the server".into(),
        at: Interval::parse(at).unwrap(),
        trust: Trust::Platform,
    };
    run.times = vec![seen(Happened::Started, "2026-08-01T10:00:00Z")];
    let saved = [Saved { step: 500, at: None }];
    let existed = [stamped(Covered::Checkpoint(500), "2026-07-01T00:20:00Z")];
    let runs = [run];
    let story = Story::new(&Sources { runs: &runs, checkpoints: &saved, existed: &existed, ..Sources::default() });
    let judgement = judge(&TimeFacts { runs: &runs, story: Some(&story), ..TimeFacts::default() }, &Policy::default());
    let order = look(&judgement, Code::TimeOrder);
    assert!(order.contains(&(Grade::Strong, Direction::Against)), "{:?}", judgement.findings);
    assert_eq!(judgement.condition, Condition::Fails);
}

#[test]
fn a_parent_is_impossible_only_if_start_run_and_freeze_are_witnessed_before_its_release() {
    let made = Made::new();
    let id = made.commit(0, &[("config.json", &config(8))]).to_string();
    let repository = made.read();
    let last = settings(8);
    let release = Release::new("P", "2026-10-02", Trust::Platform, None).unwrap();
    let parents = [ParentRelease { parent: "P", release: Some(&release) }];
    let runs = [run(7.0)];
    let saved = [Saved { step: 0, at: None }, Saved { step: 500, at: None }];
    let early = "2026-09-01T00:00:00Z";
    let both = [stamped(Covered::Checkpoint(0), early), stamped(Covered::Commit(id.clone()), early)];
    let late = [stamped(Covered::Checkpoint(0), early), stamped(Covered::Commit(id), "2026-12-01T00:00:00Z")];
    for (existed, start, expected) in [
        (&both[..], Condition::Holds, 1),
        (&both[..], Condition::Untested, 0),
        (&late[..], Condition::Holds, 0),
        (&both[..1], Condition::Holds, 0),
        (&both[1..], Condition::Holds, 0),
    ] {
        let story = Story::new(&Sources {
            runs: &runs,
            repository: Some(&repository),
            settings: Some(&last),
            checkpoints: &saved,
            releases: std::slice::from_ref(&release),
            existed,
        });
        let facts = TimeFacts {
            runs: &runs,
            repository: RepositoryFacts::Read(&repository),
            parents: &parents,
            settings: Some(&last),
            story: Some(&story),
            start,
            ..TimeFacts::default()
        };
        let judgement = judge(&facts, &Policy::default());
        assert_eq!(look(&judgement, Code::TimeImpossible).len(), expected, "{existed:?} {start:?}");
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
    assert!(
        judgement
            .findings
            .iter()
            .all(|f| f.message.english().ends_with('.') && f.message.english().starts_with(char::is_uppercase)
                || f.message.english().starts_with(char::is_numeric))
    );
}
