"""The loss of every checkpoint of a case, computed again on tokens that the caller gives. Needs torch; transformers unless a
callable opens the models; pyarrow or polars to write the table."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError, ScratchproofError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["Loss", "recompute_loss"]

Place = str | os.PathLike[str]
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")


@dataclass(frozen=True)
class Loss:
    """One row of the table: mean cross-entropy (natural logarithm) of one checkpoint over `tokens` tokens."""

    step: int
    key: str
    loss: float
    tokens: int
    #: SHA-256 of the one file of weights, or of the lines that `sha256sum` prints for several by name.
    weights: str


def recompute_loss(
    case: Place,
    data: Any,
    *,
    key: str = "eval/loss",
    model: Callable[[Path], Any] | None = None,
    batch_size: int = 8,
    mean: str = "tokens",
    dtype: Any = None,
    device: str = "cpu",
    steps: Iterable[int] | None = None,
    output: Place | None = None,
) -> list[Loss]:
    """Computes the loss of every checkpoint of `case` on `data`, writes it to `evidence/loss.parquet` beside the case file (or
    to `output`), and has the case file name the table, so that the next `audit` holds it against the log.

    data: what the logged loss was computed on: batches as mappings with `input_ids` and, if they differ, `labels` and
    `attention_mask`; or sequences of token ids, which are put together by `batch_size`; a map-style dataset of either. key:
    the log's column; "" for a text that was never logged. mean: "tokens" (every token counts the same) or "batches" (the
    mean of the batches' means, each counted by its sequences, as transformers' Trainer logs it). model: opens a checkpoint's
    folder or file and gives a module that returns logits, or an object with `logits`; without it transformers' own class.
    dtype: of the weights (torch.float32). Rows of another key that the table has are kept.
    """
    if mean not in ("tokens", "batches"):
        raise UsageError(f"mean={mean!r}: tokens or batches is expected")
    import torch

    path = Path(case)
    places = checkpoints(path)
    if steps is not None:
        wanted = set(steps)
        if missing := sorted(wanted - set(places)):
            raise UsageError(f"{path}: no checkpoint has the step {missing[0]}")
        places = {step: place for step, place in places.items() if step in wanted}
    batches = list(_batches(data, batch_size))
    if not batches:
        raise UsageError("there is nothing in the data")
    rows = []
    for step, place in sorted(places.items()):
        weights = digest(place)
        own = _open(place, model, dtype or torch.float32, device)
        loss, tokens = _loss(own, batches, mean, device)
        del own
        if digest(place) != weights:
            raise InputError(f"{place} changed while it was read")
        rows.append(Loss(step, key, loss, tokens, weights))
    file = Path(output) if output is not None else path.parent / "evidence" / "loss.parquet"
    _write(file, [*(row for row in _read(file) if row.key != key), *rows])
    _name(path, file)
    return rows


def checkpoints(case: Path) -> dict[int, Path]:
    """The checkpoints of a case by step; they must lie on this computer."""
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib  # type: ignore[no-redef]

    try:
        subject = tomllib.loads(case.read_text(encoding="utf-8"))["subject"]
    except (KeyError, tomllib.TOMLDecodeError) as cause:
        raise UsageError(f"{case}: {cause}") from cause
    written = subject.get("checkpoints")
    if isinstance(written, list):
        return {int(own["step"]): case.parent / own["model"] for own in written}
    if written is None and "model" in subject:
        return {0: case.parent / subject["model"]}
    if not isinstance(written, str) or written.count("{step}") != 1 or "://" in written:
        raise UsageError(f"{case}: the checkpoints are no local series: {written!r}")
    before, after = written.split("{step}")
    # The part of the path that has the step; what is below it is the same for all.
    head, _, rest = (before + "\0" + after).partition("\0")
    folder, _, start = head.rpartition("/")
    end, slash, below = rest.partition("/")
    pattern = re.compile(re.escape(start) + r"(\d+)" + re.escape(end))
    found: dict[int, Path] = {}
    for entry in sorted((case.parent / folder).iterdir()):
        if match := pattern.fullmatch(entry.name):
            place = entry / below if slash else entry
            if place.exists():
                found[int(match[1])] = place
    if not found:
        raise UsageError(f"{case}: there is no checkpoint like {written}")
    return found


def digest(place: Path) -> str:
    """As `Loss.weights`."""
    files = [place] if place.is_file() else []
    for kind in _WEIGHTS if not files else ():
        files = sorted(own for own in place.iterdir() if own.name.endswith(kind) and own.is_file())
        if files:
            break
    if not files:
        raise InputError(f"{place}: there are no weights")
    sums = []
    for file in files:
        with file.open("rb") as opened:
            own = hashlib.sha256()
            while part := opened.read(1 << 22):
                own.update(part)
        sums.append((file.name, own.hexdigest()))
    if len(sums) == 1:
        return sums[0][1]
    lines = "".join(f"{own}  {name}\n" for name, own in sorted(sums))
    return hashlib.sha256(lines.encode()).hexdigest()


def _open(place: Path, model: Callable[[Path], Any] | None, dtype: Any, device: str) -> Any:
    if model is None:
        from transformers import AutoModelForCausalLM

        own = AutoModelForCausalLM.from_pretrained(place, dtype=dtype)
    else:
        own = model(place)
    return own.to(device).eval()


def _batches(data: Any, size: int) -> Iterator[dict[str, Any]]:
    import torch

    if isinstance(data, (str, bytes)):
        raise UsageError("data are token ids: encode a text with the model's tokenizer first")
    if not isinstance(data, Iterable) or (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        # A map-style dataset, which need not end when it is counted through.
        stored = data
        data = (stored[at] for at in range(len(stored)))
    waiting: list[dict[str, Any]] = []

    def together() -> dict[str, Any]:
        longest = max(own["input_ids"].shape[-1] for own in waiting)
        fill = {"input_ids": 0, "labels": -100, "attention_mask": 0}

        def padded(own: dict[str, Any], name: str) -> Any:
            value = own[name]
            return torch.nn.functional.pad(value, (0, longest - value.shape[-1]), value=fill[name])

        return {name: torch.stack([padded(own, name) for own in waiting]) for name in fill}

    for example in data:
        example = dict(example) if isinstance(example, Mapping) else {"input_ids": example}
        ids = torch.as_tensor(example["input_ids"])
        mask = torch.as_tensor(example.get("attention_mask", torch.ones_like(ids)))
        labels = torch.as_tensor(example.get("labels", torch.where(mask.bool(), ids, -100)))
        own = {"input_ids": ids, "labels": labels, "attention_mask": mask}
        if ids.dim() == 2:
            yield own
            continue
        waiting.append(own)
        if len(waiting) == size:
            yield together()
            waiting = []
    if waiting:
        yield together()


def _loss(model: Any, batches: Sequence[dict[str, Any]], mean: str, device: str) -> tuple[float, int]:
    """Every position predicts the one after it; labels of -100 are not counted."""
    import torch

    total, weight, tokens = 0.0, 0, 0
    with torch.no_grad():
        for batch in batches:
            ids, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
            wanted = batch["labels"].to(device)[:, 1:]
            try:
                made = model(input_ids=ids, attention_mask=mask)
            except TypeError:
                made = model(ids)
            logits = getattr(made, "logits", made)[:, :-1].float()
            count = int((wanted != -100).sum())
            if count == 0:
                continue
            loss = torch.nn.functional.cross_entropy(
                logits.reshape(-1, logits.shape[-1]), wanted.reshape(-1), ignore_index=-100, reduction="sum"
            ).double()
            share = count if mean == "tokens" else len(ids)
            total += float(loss) / count * share
            weight += share
            tokens += count
    if tokens == 0:
        raise UsageError("no token of the data has a label")
    return total / weight, tokens


def _read(file: Path) -> list[Loss]:
    if not file.exists():
        return []
    names = list(Loss.__dataclass_fields__)
    try:
        import pyarrow.parquet as parquet

        table = parquet.read_table(file).to_pylist()
    except ImportError:
        import polars

        table = polars.read_parquet(file).to_dicts()
    return [Loss(**{name: own[name] for name in names}) for own in table]


def _write(file: Path, rows: Sequence[Loss]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [getattr(row, name) for row in rows] for name in Loss.__dataclass_fields__}
    part = file.with_name(file.name + ".part")
    try:
        import pyarrow
        import pyarrow.parquet as parquet

        kinds = {"step": pyarrow.int64(), "key": pyarrow.string(), "loss": pyarrow.float64()}
        kinds |= {"tokens": pyarrow.int64(), "weights": pyarrow.string()}
        arrays = {name: pyarrow.array(own, kinds[name]) for name, own in columns.items()}
        parquet.write_table(pyarrow.table(arrays), part)
    except ImportError:
        try:
            import polars
        except ImportError as cause:
            raise ScratchproofError("pyarrow or polars is needed to write the table of losses") from cause
        polars.DataFrame(columns).write_parquet(part)
    part.replace(file)


def _name(case: Path, file: Path) -> None:
    """Has the case file name the table, if it names none."""
    text = case.read_text(encoding="utf-8")
    if re.search(r"^\s*\[loss\]", text, re.MULTILINE):
        return
    place = os.path.relpath(file, case.parent).replace(os.sep, "/").replace("\\", "/").replace('"', '\\"')
    part = case.with_name(case.name + ".part")
    part.write_text(f'{text.rstrip()}\n\n[loss]\npath = "{place}"\n', encoding="utf-8")
    part.replace(case)
