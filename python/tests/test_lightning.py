"""The callback for Lightning, in a real training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="NOT TESTED: torch is not installed")
lightning = pytest.importorskip("lightning", reason="NOT TESTED: lightning is not installed")

import scratchproof  # noqa: E402
from scratchproof.lightning import ScratchproofCallback  # noqa: E402
from scratchproof.recipe import Recorder  # noqa: E402
from scratchproof.training import plan  # noqa: E402


class Module(lightning.LightningModule):
    """Two layers that copy their input."""

    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters({"optimizer": "AdamW", "weight_decay": 0.01})
        self.net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Linear(32, 16))

    def training_step(self, batch: Any, at: int) -> Any:
        loss = ((self.net(batch) - batch) ** 2).mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


def test_a_training_is_kept(tmp_path: Path) -> None:
    with Recorder(5) as recorder:
        module = Module()
    proof = ScratchproofCallback(tmp_path / "proof", recorder=recorder, module="net")
    trainer = lightning.Trainer(
        max_steps=40,
        accelerator="cpu",
        callbacks=[proof],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.randn(400, 16), batch_size=8))
    assert proof.witness.trouble == []
    kept = sorted(int(path.name.removeprefix("step-")) for path in (tmp_path / "proof" / "checkpoints").iterdir())
    assert kept == plan(40)
    history = json.loads((tmp_path / "proof" / "run.json").read_text())["history"]
    assert history[3]["train/loss"] > 0 and history[3]["learning_rate"] == pytest.approx(1e-2)
    assert scratchproof.verify(tmp_path / "proof" / "ledger.jsonl").holds
    # A model of two layers without parents settles nothing, and is read without a line edited.
    assert scratchproof.audit(tmp_path / "proof" / "case.toml").outcome == "inconclusive"
