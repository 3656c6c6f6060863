"""A training that logs to W&B (offline), read by `init` without a line edited. Needs torch, transformers and wandb."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="NOT TESTED: torch is not installed")
transformers = pytest.importorskip("transformers", reason="NOT TESTED: transformers is not installed")
pytest.importorskip("accelerate", reason="NOT TESTED: accelerate is not installed")
wandb = pytest.importorskip("wandb", reason="NOT TESTED: wandb is not installed")

import scratchproof  # noqa: E402
from scratchproof.recipe import Recorder  # noqa: E402
from scratchproof.transformers import ScratchproofCallback  # noqa: E402
from test_training import OTHERS, PARENT, Text, keys  # noqa: E402


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_PROJECT": "x"}.items():
        monkeypatch.setenv(name, value)


def trained(model: Any, folder: Path, callback: Any, steps: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    wandb.init(project="x", dir=folder, mode="offline")
    args = transformers.TrainingArguments(
        str(folder / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=8,
        learning_rate=3e-3,
        weight_decay=0.1,
        adam_beta2=0.95,
        lr_scheduler_type="cosine",
        warmup_steps=20,
        logging_steps=1,
        save_strategy="no",
        report_to=["wandb"],
        use_cpu=True,
        disable_tqdm=True,
        seed=2026,
    )
    transformers.Trainer(model=model, args=args, train_dataset=Text(), callbacks=[callback]).train()
    wandb.finish()


def initialised(folder: Path) -> Path:
    """The case file that `init` writes of the folder, as the callback had written none."""
    case = folder / "case.toml"
    case.unlink(missing_ok=True)
    subprocess.run([scratchproof.find(), "-q", "init", folder], check=True)
    assert case.is_file()
    return case


def test_from_scratch_is_confirmed_by_what_wandb_kept(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    with Recorder(2026) as recorder:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(PARENT))
    callback = ScratchproofCallback(proof, recorder=recorder, **OTHERS)
    trained(model, proof, callback, 300)
    assert callback.witness.trouble == []
    # The tracker's log alone: the callback's own is put aside.
    (proof / "run.json").rename(tmp_path / "run.json")
    (proof / "log.jsonl").rename(tmp_path / "log.jsonl")
    case = initialised(proof)
    text = case.read_text()
    assert "wandb" in text and "init-recipe.json" in text and "ledger.jsonl" in text, text
    for kind, models in OTHERS.items():
        for name, place in models.items():
            text += f'\n[[{kind.removesuffix("s")}]]\nname = "{name}"\nmodel = "{place}"\n'
    # `init` cannot know the parents; nothing it wrote is edited.
    case.write_text(text)
    report = scratchproof.audit(case, tmp_path / "out")
    codes = {own["code"]: (own["grade"], own["direction"]) for own in report.findings}
    print(report.outcome, codes.get("time/tensor-norms"), codes.get("time/artifacts"), codes.get("start/replay"))
    assert report.outcome == "confirmed", report.missing
    # The digests are references, of which a tracker's digest need be no MD5: the reader leaves them alone.
    assert codes["time/tensor-norms"] == ("moderate", "for")
    key, public = keys(tmp_path)
    scratchproof.attest(tmp_path / "out", key)
    assert scratchproof.verify(tmp_path / "out", [public], recompute=True).holds


def test_continued_from_another_is_refuted(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    model = transformers.LlamaForCausalLM.from_pretrained(PARENT, dtype=torch.float32)
    callback = ScratchproofCallback(proof, **OTHERS)
    trained(model, proof, callback, 60)
    report = scratchproof.audit(proof / "case.toml", tmp_path / "out")
    assert report.outcome == "refuted"
    assert scratchproof.verify(tmp_path / "out").holds
