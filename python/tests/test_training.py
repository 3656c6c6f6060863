"""A tiny Llama, trained with the callback and audited without a line edited. Needs torch and transformers."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="NOT TESTED: torch is not installed")
transformers = pytest.importorskip("transformers", reason="NOT TESTED: transformers is not installed")
pytest.importorskip("accelerate", reason="NOT TESTED: accelerate is not installed")

import scratchproof  # noqa: E402
from scratchproof.recipe import Recorder  # noqa: E402
from scratchproof.training import TrainingWarning, Witness, plan  # noqa: E402
from scratchproof.transformers import ScratchproofCallback  # noqa: E402

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PARENT = FIXTURES / "models" / "parent-llama"
OTHERS = {
    "parents": {"parent-llama": PARENT},
    "controls": {name: FIXTURES / "models" / name for name in ("control-llama", "control-mixtral")},
}
STEPS = 300
torch.set_num_threads(1)


class Text(torch.utils.data.Dataset):
    """Bytes of a document as tokens."""

    def __init__(self) -> None:
        self.bytes = (FIXTURES.parent / "docs" / "methods.md").read_bytes()

    def __len__(self) -> int:
        return (len(self.bytes) - 64) // 16

    def __getitem__(self, at: int) -> dict[str, Any]:
        ids = torch.tensor(list(self.bytes[16 * at : 16 * at + 64]))
        return {"input_ids": ids, "labels": ids.clone()}


def trained(model: Any, folder: Path, callback: Any, steps: int = STEPS) -> None:
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
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=2026,
    )
    transformers.Trainer(model=model, args=args, train_dataset=Text(), callbacks=[callback]).train()


def keys(folder: Path) -> tuple[Path, Path]:
    key, public = folder / "key.pem", folder / "key.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    return key, public


def test_from_scratch_is_confirmed_and_verified(tmp_path: Path) -> None:
    key, public = keys(tmp_path)
    with Recorder(2026) as recorder:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(PARENT))
    proof = ScratchproofCallback(tmp_path / "proof", recorder=recorder, key=key, **OTHERS)
    trained(model, tmp_path, proof)
    assert proof.witness.trouble == []
    report = scratchproof.audit(tmp_path / "proof" / "case.toml", tmp_path / "out")
    assert report.outcome == "confirmed", report.missing
    assert any(own["code"] == "start/replay" and own["direction"] == "for" for own in report.findings)
    assert any(own["code"] == "time/ledger" for own in report.findings)
    scratchproof.attest(tmp_path / "out", key)
    assert scratchproof.verify(tmp_path / "out", [public], recompute=True).holds
    ledger = tmp_path / "proof" / "ledger.jsonl"
    assert scratchproof.verify(ledger, [public]).holds
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    kept = [own["body"]["step"] for own in entries if own["what"] == "checkpoint"]
    assert kept == plan(STEPS) and entries[-1]["what"] == "close"
    middle = STEPS // 2
    states = sorted(path.name for path in (tmp_path / "proof" / "optimizer").iterdir())
    assert states == sorted([f"step-{middle}.pt", f"step-{middle + 1}.pt"])


def test_continued_from_another_is_refuted(tmp_path: Path) -> None:
    model = transformers.LlamaForCausalLM.from_pretrained(PARENT, dtype=torch.float32)
    proof = ScratchproofCallback(tmp_path / "proof", **OTHERS)
    trained(model, tmp_path, proof, 60)
    report = scratchproof.audit(tmp_path / "proof" / "case.toml", tmp_path / "out")
    assert report.outcome == "refuted"
    assert scratchproof.verify(tmp_path / "out").holds


def test_a_loop_by_hand_and_failures_that_stop_nothing(tmp_path: Path) -> None:
    def loop(output: Path) -> Witness:
        with Recorder(3) as recorder:
            model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Linear(16, 8))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        witness = Witness(output, steps=20, recorder=recorder)
        witness.begin(model, optimizer, config={"optimizer": "AdamW", "weight_decay": 0.01})
        for step in range(20):
            loss = (model(torch.ones(4, 8)) ** 2).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            witness.step(step + 1, model, optimizer, loss=loss, learning_rate=1e-2)
        witness.end(model)
        return witness

    fine = loop(tmp_path / "proof")
    assert fine.trouble == []
    assert (tmp_path / "proof" / "init-recipe.json").is_file()
    history = json.loads((tmp_path / "proof" / "run.json").read_text())["history"]
    assert [row["_step"] for row in history] == list(range(21)) and history[5]["loss"] > 0
    # A file stands where the folder should be; then no program is found.
    (tmp_path / "file").write_text("x")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        broken = loop(tmp_path / "file")
    assert broken.trouble and any(issubclass(own.category, TrainingWarning) for own in told)
    assert (tmp_path / "file").read_text() == "x"


FULL = """
import resource, sys, torch
from scratchproof.training import Witness
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
model = torch.nn.Linear(64, 128)
witness = Witness(sys.argv[1], steps=10)
witness.begin(model)
for step in range(10):
    witness.step(step + 1, model, loss=float(step))
witness.end(model)
print(len(witness.trouble))
"""


def test_a_disk_that_is_full_stops_nothing(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path / "proof"], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 0 and "the training goes on without it" in done.stderr
    # What is small is kept: the log, and a ledger that is whole.
    assert len(json.loads((tmp_path / "proof" / "run.json").read_text())["history"]) == 10
    assert scratchproof.verify(tmp_path / "proof" / "ledger.jsonl").holds
    assert list((tmp_path / "proof" / "checkpoints").iterdir()) == []
