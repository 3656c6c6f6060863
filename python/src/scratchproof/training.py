"""What a training must keep so that it can be audited: checkpoints at chosen steps, the log, the ledger, the case file.

Nothing here stops a training. What fails is warned of once, written to `trouble`, and left out.
"""

from __future__ import annotations

import functools
import json
import os
import queue
import re
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ._binary import run

if TYPE_CHECKING:
    import torch

_Call = TypeVar("_Call", bound=Callable[..., None])
#: Settings that are written to the log's configuration have one of these kinds.
_PLAIN = (str, int, float, bool, type(None))


class TrainingWarning(UserWarning):
    """Something could not be kept; the training goes on without it."""


def plan(steps: int) -> list[int]:
    """The steps whose checkpoints are kept of a run of `steps` updates: the first, one after some tens, one in every
    tenth of the run, two that follow each other in its middle, the last."""
    early = min(40, max(1, steps // 10))
    tenths = [round(steps * tenth / 10) for tenth in range(1, 10)]
    middle = steps // 2
    return sorted({step for step in [0, early, *tenths, middle, middle + 1, steps] if 0 <= step <= steps})


def _never_stops(call: _Call) -> _Call:
    @functools.wraps(call)
    def guarded(self: Witness, *arguments: Any, **named: Any) -> None:
        try:
            call(self, *arguments, **named)
        except Exception as cause:  # noqa: BLE001 - whatever it is, a training of weeks is worth more
            self._failed(call.__name__, cause)

    return guarded  # type: ignore[return-value]


class Witness:
    """Keeps the evidence of one training below a folder.

    output: the folder; made if there is none. steps: updates of the run, for the default plan; keep: the steps to keep
    instead. recorder: a `scratchproof.recipe.Recorder` under which the model was built. parents, controls: models by name,
    for the case file. ledger: whether a ledger is kept; key: a private key to sign its entries with; authorities, calendars:
    addresses of RFC 3161 authorities and of OpenTimestamps calendars that stamp it, asked in the background; tree: whether
    every checkpoint's tensors and rows are committed to, so that one can be revealed later. wandb: a run of W&B to log norms
    of tensors and digests of checkpoints to; "auto" takes the one that is open, None none.
    """

    def __init__(
        self,
        output: str | os.PathLike[str],
        *,
        name: str | None = None,
        steps: int | None = None,
        keep: Iterable[int] | None = None,
        recorder: Any = None,
        parents: Mapping[str, str | os.PathLike[str]] | None = None,
        controls: Mapping[str, str | os.PathLike[str]] | None = None,
        repository: str | os.PathLike[str] | None = None,
        commit: str | None = None,
        ledger: bool = True,
        key: str | os.PathLike[str] | None = None,
        authorities: Iterable[str] = (),
        calendars: Iterable[str] = (),
        tree: bool = False,
        wandb: Any = "auto",
    ) -> None:
        self.output = Path(output)
        self.name = name or self.output.resolve().name
        self.recorder = recorder
        self.parents = dict(parents or {})
        self.controls = dict(controls or {})
        self.repository = repository
        self.commit = commit
        #: What could not be kept, in words.
        self.trouble: list[str] = []
        #: Seconds: in all calls, and of those in saving.
        self.seconds = {"all": 0.0, "saving": 0.0}
        self._keep = None if keep is None else set(keep) | {0}
        if self._keep is None and steps is not None:
            self._keep = set(plan(steps))
        self._saved: list[int] = []
        self._gathered: set[int] = set()
        self._config: dict[str, Any] = {}
        self._rows: dict[int, dict[str, Any]] = {}
        self._log: Any = None
        self._last = 0
        self._key = key
        self._clocks = [word for own in authorities for word in ("--authority", own)]
        self._clocks += [word for own in calendars for word in ("--calendar", own)]
        self._tree = tree
        self._wandb = wandb
        self._ledger = self.output / "ledger.jsonl" if ledger else None
        self._work: queue.Queue[list[Any] | Callable[[], None] | None] = queue.Queue()
        self._worker: threading.Thread | None = None

    # What a training calls.

    @_never_stops
    def begin(
        self, model: torch.nn.Module, optimizer: Any = None, config: Mapping[str, Any] | None = None, steps: int | None = None
    ) -> None:
        """Before the first update: keeps step 0, the recipe of its draws and the settings."""
        with self._timed("all"):
            if self._keep is None:
                self._keep = set(plan(steps or 0))
            # Every process takes part in gathering, and before anything that may fail on one of them alone.
            whole = self._whole(0, model, optimizer)
            if not _first():
                return
            self.output.mkdir(parents=True, exist_ok=True)
            self._config = {name: value for name, value in (config or {}).items() if isinstance(value, _PLAIN)}
            self._log = (self.output / "log.jsonl").open("a", encoding="utf-8")
            if self.recorder is not None:
                with self._timed("saving"):
                    self._recipe(model)
            if self._ledger is not None:
                words: list[Any] = ["init", self._ledger] if not self._ledger.exists() else ["append", self._ledger]
                words += ["--note", f"training of {self.name} begins"]
                for setting, value in sorted(self._config.items()):
                    words += ["--set", f"{setting}={value}"]
                self._witness(words)
            self._save(0, model, optimizer, whole)

    @_never_stops
    def step(self, step: int, model: torch.nn.Module, optimizer: Any = None, **figures: Any) -> None:
        """After update number `step`, counted from 1, with what is logged of it: `loss`, `learning_rate`, `grad_norm`,
        `tokens`."""
        with self._timed("all"):
            self._last = max(self._last, step)
            wanted = self._keep is not None and step in self._keep and step not in self._gathered
            whole = self._whole(step, model, optimizer) if wanted else None
            if not _first():
                return
            self._row(step, figures)
            if wanted:
                self._save(step, model, optimizer, whole)

    @_never_stops
    def log(self, step: int, figures: Mapping[str, Any]) -> None:
        """Adds figures to the log of a step."""
        with self._timed("all"):
            self._row(step, figures)

    @_never_stops
    def end(self, model: torch.nn.Module, step: int | None = None, optimizer: Any = None) -> None:
        """After the last update: keeps the last checkpoint, closes the ledger, writes the log and the case file."""
        with self._timed("all"):
            last = step if step is not None else self._last
            # Whether to gather is decided by what every process knows, or one of them would wait for ever.
            whole = self._whole(last, model, optimizer) if last not in self._gathered else None
            if not _first():
                return
            if last not in self._saved and (whole is not None or not _sharded(model)):
                # What fails here must not take the log and the ledger with it.
                self._try("the last checkpoint", lambda: self._save(last, model, optimizer, whole))
            with self._timed("saving"):
                self._try("the log", self._write_run)
            if self._ledger is not None:
                words = ["close", self._ledger, "--log", self.output / "log.jsonl", *self._commit()]
                self._witness([*words, *self._clocks])
        self._work.put(None)
        if self._worker is not None:
            self._worker.join()
        with self._timed("all"):
            self._try("the case file", self._write_case)
        if self._log is not None:
            self._log.close()
            self._log = None

    # How it is done.

    def _failed(self, what: str, cause: BaseException) -> None:
        words = f"scratchproof: {what}: {type(cause).__name__}: {cause}"
        if words in self.trouble:
            return
        self.trouble.append(words)
        warnings.warn(f"{words}; the training goes on without it", TrainingWarning, stacklevel=3)

    def _try(self, what: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as cause:  # noqa: BLE001
            self._failed(what, cause)

    def _timed(self, what: str) -> _Timer:
        return _Timer(self.seconds, what)

    def _row(self, step: int, figures: Mapping[str, Any]) -> None:
        self._last = max(self._last, step)
        row: dict[str, Any] = {}
        for name, value in figures.items():
            value = value.item() if hasattr(value, "item") else value
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                row[name] = value
        if not row:
            return
        own = self._rows.setdefault(step, {"_step": step, "_timestamp": time.time()})
        own.update(row)
        if self._log is not None:
            self._log.write(json.dumps({"_step": step, "_timestamp": own["_timestamp"], **row}) + "\n")

    def _recipe(self, model: torch.nn.Module) -> None:
        # The rest of the evidence is worth keeping without it.
        self._try("the recipe", lambda: self.recorder.write(str(self.output / "init-recipe.json"), model))

    def _whole(self, step: int, model: torch.nn.Module, optimizer: Any) -> tuple[Any, Any] | None:
        """The whole state of a model that lies in shards on several processes, on the first of them; None of another."""
        self._gathered.add(step)
        if not _sharded(model):
            return None
        with self._timed("saving"):
            from torch.distributed.checkpoint import state_dict

            options = state_dict.StateDictOptions(full_state_dict=True, cpu_offload=True)
            weights = state_dict.get_model_state_dict(model, options=options)
            states = None
            if optimizer is not None and self._beside(step):
                states = state_dict.get_optimizer_state_dict(model, optimizer, options=options)
            return weights, states

    def _beside(self, step: int) -> bool:
        return bool({step - 1, step + 1} & (self._keep or set()))

    def _save(self, step: int, model: torch.nn.Module, optimizer: Any, whole: tuple[Any, Any] | None) -> None:
        weights, states = whole or (None, None)
        with self._timed("saving"):
            folder = self.output / "checkpoints" / f"step-{step}"
            part = folder.with_name(folder.name + ".part")
            part.mkdir(parents=True, exist_ok=True)
            try:
                store(model, part, weights)
            except Exception:
                # A disk that is full gets its room back.
                shutil.rmtree(part, ignore_errors=True)
                raise
            if optimizer is not None and self._beside(step):
                import torch

                state = self.output / "optimizer" / f"step-{step}.pt"
                state.parent.mkdir(exist_ok=True)
                torch.save(optimizer.state_dict() if states is None else states, state)
            part.rename(folder)
            self._saved.append(step)
            of_tensors = norms(model, weights)
            self._row(step, of_tensors)
        if self._log is not None:
            self._log.flush()
        self._try("W&B", lambda: self._track(step, folder, of_tensors))
        if self._ledger is not None:
            words = ["append", self._ledger, "--checkpoint", folder, "--step", str(step), *self._clocks]
            words += ["--tree"] if self._tree else []
            tokens = self._rows.get(step, {}).get("tokens")
            if tokens is not None:
                words += ["--tokens", str(int(tokens))]
            self._witness([*words, "--log", self.output / "log.jsonl", *self._commit()])

    def _track(self, step: int, folder: Path, of_tensors: Mapping[str, float]) -> None:
        """Logs to W&B what ties its run and the weights together."""
        run_of = self._wandb
        if run_of == "auto":
            # Not imported for its own sake: a training without it does not wait for it.
            run_of = getattr(sys.modules.get("wandb"), "run", None)
        if run_of is None:
            return
        # Under the step that transformers' own callback counts by; rows of other steps are not touched.
        run_of.log({**of_tensors, "train/global_step": step})

        def digests() -> None:
            import wandb

            # References: W&B keeps name, length and MD5 of the files, not the files.
            artifact = wandb.Artifact(f"{_plain(self.name)}-step-{step}", type="model", metadata={"step": step})
            for file in sorted(own for own in folder.rglob("*") if own.is_file()):
                artifact.add_reference(file.resolve().as_uri(), name=file.relative_to(folder).as_posix())
            run_of.log_artifact(artifact, aliases=[f"step-{step}"])

        self._background(digests)

    def _commit(self) -> list[str]:
        return ["--commit", self.commit] if self.commit else []

    def _witness(self, words: list[Any]) -> None:
        """Has the program hash and write, in the background: a training does not wait for it."""
        if self._key is not None:
            words = [*words, "--key", self._key]
        self._background(words)

    def _background(self, work: list[Any] | Callable[[], None]) -> None:
        if self._worker is None:
            self._worker = threading.Thread(target=self._work_off, name="scratchproof-witness", daemon=True)
            self._worker.start()
        self._work.put(work)

    def _work_off(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                if callable(work):
                    work()
                else:
                    run(["witness", *work, "--quiet"], fine=(0,))
            except Exception as cause:  # noqa: BLE001
                self._failed("W&B" if callable(work) else "the ledger", cause)

    def _write_run(self) -> None:
        rows = [self._rows[step] for step in sorted(self._rows)]
        run_of = {"name": self.name, "state": "finished", "config": self._config, "history": rows}
        _whole(self.output / "run.json", json.dumps(run_of))

    def _write_case(self) -> None:
        path = self.output / "case.toml"
        if path.exists():
            return
        _whole(path, self.case())

    def case(self) -> str:
        """The case file of what was kept."""
        lines = ["schema = 1", f"name = {_quoted(self.name)}", "", "[claim]", 'statement = "from-scratch"', ""]
        lines += ["[subject]", f"name = {_quoted(self.name)}", 'checkpoints = "checkpoints/step-{step}"', ""]
        if (self.output / "init-recipe.json").exists():
            lines += ["[subject.init]", f"seed = {int(self.recorder.seed)}", 'framework = "torch-cpu"']
            lines += ['recipe = "init-recipe.json"', ""]
        for kind, models in (("parent", self.parents), ("control", self.controls)):
            for name, place in models.items():
                lines += [f"[[{kind}]]", f"name = {_quoted(name)}", f"model = {_quoted(self._place(place))}", ""]
        lines += ["[[run]]", 'log = "run.json"', ""]
        if self._ledger is not None and self._ledger.exists():
            lines += ["[ledger]", 'path = "ledger.jsonl"', ""]
        if self.repository is not None:
            lines += ["[repository]", f"git = {_quoted(self._place(self.repository))}", ""]
        return "\n".join(lines)

    def _place(self, place: str | os.PathLike[str]) -> str:
        text = os.fspath(place)
        return text if "://" in text else os.path.relpath(text, self.output)


class _Timer:
    def __init__(self, seconds: dict[str, float], what: str) -> None:
        self._seconds, self._what = seconds, what

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._what] += time.perf_counter() - self._start


def _first() -> bool:
    """Whether this is the only process of the training, or the first of several."""
    import torch

    alone = not torch.distributed.is_available() or not torch.distributed.is_initialized()
    return alone or torch.distributed.get_rank() == 0


def _sharded(model: torch.nn.Module) -> bool:
    """Whether a model's parameters lie in parts on several processes (FSDP, both kinds)."""
    import torch

    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return False
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.distributed.tensor import DTensor

    return any(isinstance(own, FullyShardedDataParallel) for own in model.modules()) or any(
        isinstance(own, DTensor) for own in model.parameters()
    )


def store(model: torch.nn.Module, folder: Path, weights: Mapping[str, Any] | None = None) -> None:
    """Writes a model's weights, and its configuration where it has one, as safetensors. `weights`: the whole state where the
    model holds a part of it."""
    while hasattr(model, "module") and not hasattr(model, "save_pretrained"):
        model = model.module
    if hasattr(model, "save_pretrained"):
        model.save_pretrained(folder, **({} if weights is None else {"state_dict": dict(weights)}))
        return
    if weights is not None:
        from safetensors.torch import save_file

        # A tensor that two names share is written under both.
        save_file({name: own.contiguous().clone() for name, own in weights.items()}, str(folder / "model.safetensors"))
        return
    from safetensors.torch import save_model

    save_model(model, str(folder / "model.safetensors"))


def norms(model: torch.nn.Module, weights: Mapping[str, Any] | None = None) -> dict[str, float]:
    """The L2 norm of every parameter in double precision: what ties a log to the weights. `weights` as for `store`."""
    import torch

    named = model.named_parameters() if weights is None else weights.items()
    with torch.no_grad():
        return {
            f"norms/{name.removeprefix('module.')}": float(torch.linalg.vector_norm(own, dtype=torch.float64))
            for name, own in named
            if own.is_floating_point()
        }


def _whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _plain(text: str) -> str:
    """A name as W&B takes it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:100]


def _quoted(text: str) -> str:
    """As a TOML string; JSON's escapes are among TOML's."""
    return json.dumps(text)
