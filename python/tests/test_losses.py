"""Losses recomputed from checkpoints: the logged ones are met, a column of another run is not. Needs torch and transformers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="NOT TESTED: torch is not installed")
transformers = pytest.importorskip("transformers", reason="NOT TESTED: transformers is not installed")
pytest.importorskip("accelerate", reason="NOT TESTED: accelerate is not installed")

import scratchproof  # noqa: E402
from scratchproof.transformers import ScratchproofCallback  # noqa: E402
from test_training import OTHERS, PARENT, Text  # noqa: E402

STEPS = 120


def run(folder: Path, seed: int, **more: Any) -> Path:
    """A small training that is evaluated at every step whose checkpoint is kept; its `proof` folder."""
    transformers.set_seed(seed)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(PARENT))
    data = Text()
    args = transformers.TrainingArguments(
        str(folder / "trainer"),
        max_steps=STEPS,
        per_device_train_batch_size=8,
        per_device_eval_batch_size=8,
        learning_rate=3e-3,
        weight_decay=0.1,
        lr_scheduler_type="cosine",
        warmup_steps=10,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=12,
        eval_on_start=True,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=seed,
        **more,
    )
    proof = ScratchproofCallback(folder / "proof", **OTHERS)
    held = torch.utils.data.Subset(data, range(0, len(data), 8))
    rest = torch.utils.data.Subset(data, [at for at in range(len(data)) if at % 8])
    trainer = transformers.Trainer(model=model, args=args, train_dataset=rest, eval_dataset=held, callbacks=[proof])
    trainer.train()
    assert proof.witness.trouble == []
    return folder / "proof"


def judged(case: Path) -> list[dict[str, Any]]:
    report = scratchproof.timeline(case)
    return [own for own in report["findings"] if own["code"] == "time/recomputed-loss"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("losses")
    return run(folder / "one", 1), run(folder / "other", 2)


def held() -> list[Any]:
    data = Text()
    return [data[at] for at in range(0, len(data), 8)]


def test_the_logged_losses_are_met(two: tuple[Path, Path]) -> None:
    case = two[0] / "case.toml"
    rows = scratchproof.recompute_loss(case, held(), mean="batches")
    logged = {row["_step"]: row["eval/loss"] for row in json.loads((two[0] / "run.json").read_text())["history"] if "eval/loss" in row}
    both = [row for row in rows if row.step in logged]
    assert len(both) >= 10
    worst = max(abs(row.loss / logged[row.step] - 1) for row in both)
    print(f"logged against recomputed: {worst:.1e} of it at most, {len(both)} checkpoints")
    assert worst < 1e-5
    (finding,) = judged(case)
    assert (finding["grade"], finding["direction"]) == ("weak", "for")
    # A second call adds nothing to the case file and replaces the rows.
    text = case.read_text()
    assert scratchproof.recompute_loss(case, held(), mean="batches", steps=[0, STEPS])[0] == rows[0]
    assert case.read_text() == text and text.count("[loss]") == 1
    scratchproof.recompute_loss(case, held(), mean="batches")


def test_a_pasted_column_is_not_met(two: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "pasted"
    shutil.copytree(two[0], folder)
    own, other = (json.loads((place / "run.json").read_text()) for place in two)
    pasted = {row["_step"]: row["eval/loss"] for row in other["history"] if "eval/loss" in row}
    misses = {}
    for row in own["history"]:
        if "eval/loss" in row:
            misses[row["_step"]] = abs(pasted[row["_step"]] / row["eval/loss"] - 1)
            row["eval/loss"] = pasted[row["_step"]]
    print("another seed's column:", {step: f"{miss:.1e}" for step, miss in misses.items()})
    (folder / "run.json").write_text(json.dumps(own))
    scratchproof.recompute_loss(folder / "case.toml", held(), mean="batches")
    (finding,) = judged(folder / "case.toml")
    assert (finding["grade"], finding["direction"]) == ("moderate", "against")


def test_other_precision_and_other_tokens(two: tuple[Path, Path], tmp_path: Path) -> None:
    logged = {row["_step"]: row["eval/loss"] for row in json.loads((two[0] / "run.json").read_text())["history"] if "eval/loss" in row}

    def worst(rows: Any) -> float:
        return max(abs(row.loss / logged[row.step] - 1) for row in rows if row.step in logged)

    folder = tmp_path / "copy"
    shutil.copytree(two[0], folder)
    case = folder / "case.toml"
    half = worst(scratchproof.recompute_loss(case, held(), mean="batches", dtype=torch.bfloat16))
    few = worst(scratchproof.recompute_loss(case, held()[:-8], mean="batches"))
    text = worst(scratchproof.recompute_loss(case, [own["input_ids"] for own in held()]))
    other = worst(scratchproof.recompute_loss(case, [Text()[at + 1] for at in range(0, len(Text()) - 8, 8)]))
    print(f"weights in bf16 {half:.1e}, eight sequences left out {few:.1e}, as ids {text:.1e}, other sequences {other:.1e}")
    assert half < 5e-3 and text < 1e-5 and other > 5e-4
    # A callable opens what transformers does not know.
    own = scratchproof.recompute_loss(
        case, held(), model=lambda place: transformers.LlamaForCausalLM.from_pretrained(place, dtype=torch.float32)
    )
    assert worst(own) < 1e-5


def test_what_cannot_be_done_is_told(two: tuple[Path, Path], tmp_path: Path) -> None:
    case = two[0] / "case.toml"
    for bad in ({"data": "a text"}, {"data": []}, {"data": held(), "mean": "x"}, {"data": held(), "steps": [5]}):
        with pytest.raises(scratchproof.UsageError):
            scratchproof.recompute_loss(case, **bad)
