"""Two processes: FSDP of both kinds, and accelerate, with the three lines of a hand-written loop. Needs torch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="NOT TESTED: torch is not installed")
if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
    pytest.skip("NOT TESTED: torch has no gloo", allow_module_level=True)

import scratchproof  # noqa: E402

LOOP = """
import os, sys, torch
import torch.distributed as dist
from scratchproof.training import Witness

kind, output = sys.argv[1:]
torch.set_num_threads(1)
torch.manual_seed(7)
model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.GELU(), torch.nn.Linear(32, 16))
optimizer = None
if kind == "accelerate":
    from accelerate import Accelerator
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    model, optimizer = accelerator.prepare(model, optimizer)
else:
    dist.init_process_group("gloo")
    if kind == "fsdp":
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import FullyShardedDataParallel
        model = FullyShardedDataParallel(model, device_id=torch.device("cpu"))
    else:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
        fully_shard(model, mesh=init_device_mesh("cpu", (2,)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
generator = torch.Generator().manual_seed(dist.get_rank())
witness = Witness(output, steps=20)
witness.begin(model, optimizer, config={"optimizer": "AdamW"})
for step in range(20):
    batch = torch.randn(8, 16, generator=generator)
    loss = ((model(batch) - batch) ** 2).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    witness.step(step + 1, model, optimizer, loss=loss.detach(), learning_rate=1e-2)
witness.end(model)
assert witness.trouble == [], witness.trouble
dist.barrier()
dist.destroy_process_group()
"""


def port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


@pytest.mark.parametrize("kind", ["fsdp", "fsdp2", "accelerate"])
def test_two_processes_keep_one_evidence(kind: str, tmp_path: Path) -> None:
    if kind == "accelerate":
        pytest.importorskip("accelerate", reason="NOT TESTED: accelerate is not installed")
    from scratchproof.training import plan

    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port()), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "1"}
    output = tmp_path / "proof"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", LOOP, kind, output],
            env={**os.environ, **address, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in started:
            _, told = process.communicate(timeout=240)
            assert process.returncode == 0, told[-2000:]
    finally:
        for process in started:
            process.kill()
    from safetensors.torch import load_file

    names = [f"step-{step}" for step in plan(20)]
    assert sorted(own.name for own in (output / "checkpoints").iterdir()) == sorted(names)
    history = {row["_step"]: row for row in json.loads((output / "run.json").read_text())["history"]}
    for step in plan(20):
        weights = load_file(output / "checkpoints" / f"step-{step}" / "model.safetensors")
        # Whole, not the half of the first process.
        assert {name: tuple(own.shape) for name, own in weights.items()} == {
            "0.weight": (32, 16),
            "0.bias": (32,),
            "2.weight": (16, 32),
            "2.bias": (16,),
        }
        for name, own in weights.items():
            assert history[step][f"norms/{name}"] == pytest.approx(float(own.double().norm()), rel=1e-6)
    assert sorted(own.name for own in (output / "optimizer").iterdir()) == [f"step-{step}.pt" for step in (10, 11, 12)]
    assert scratchproof.verify(output / "ledger.jsonl").holds
    # A model of two layers without parents settles nothing, and is read without a line edited.
    assert scratchproof.audit(output / "case.toml").outcome == "inconclusive"
