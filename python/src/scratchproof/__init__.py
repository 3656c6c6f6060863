"""scratchproof: was a model trained from scratch, or grown from somebody else's weights?

Everything is done by the program that the wheel holds; these functions call it and read what it writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from ._binary import ask, find, run
from .errors import InputError, ReadError, ScratchproofError, UsageError
from .losses import Loss, recompute_loss
from .report import Report, Result, Verification

__all__ = [
    "InputError",
    "Loss",
    "ReadError",
    "Report",
    "Result",
    "ScratchproofError",
    "UsageError",
    "Verification",
    "attest",
    "audit",
    "compare",
    "find",
    "inspect",
    "recompute_loss",
    "scan",
    "timeline",
    "verify",
]

Place = str | os.PathLike[str]


def _options(output: Place | None, offline: bool, threads: int | None) -> list[Place]:
    words: list[Place] = [] if output is None else ["-o", output]
    if offline:
        words.append("--offline")
    if threads is not None:
        words += ["--threads", str(threads)]
    return words


def audit(
    case: Place, output: Place | None = None, *, offline: bool = False, threads: int | None = None, check: bool = False
) -> Report:
    """Audits a case. With `output` the folder is written, and an audit that was interrupted goes on there."""
    words = ["audit", case, *_options(output, offline, threads), *(["--check"] if check else [])]
    status, value = ask(words)
    return Report(value, status, output)


def compare(
    subject: str, parent: str, controls: Iterable[str] = (), *, offline: bool = False, threads: int | None = None
) -> Result:
    """Compares two models, with controls; `outcome` is `similar`, `silent`, `undetermined` or `not-comparable`."""
    words: list[Place] = ["compare", subject, parent, *_options(None, offline, threads)]
    for control in controls:
        words += ["--control", control]
    status, value = ask(words)
    return Result(value, status)


def inspect(model: Place, *, offline: bool = False) -> Result:
    """What is in a checkpoint; its bytes are checked."""
    status, value = ask(["inspect", model, *_options(None, offline, None)])
    return Result(value, status)


def timeline(case: Place, output: Place | None = None, *, offline: bool = False) -> Result:
    """Reads the record of a case alone; `outcome` is `consistent`, `open` or `contradicted`."""
    status, value = ask(["timeline", case, *_options(output, offline, None)])
    return Result(value, status)


def scan(model: str, others: Sequence[Place], *, offline: bool = False) -> Result:
    """One model against many."""
    status, value = ask(["scan", model, *others, *_options(None, offline, None)])
    return Result(value, status)


def attest(
    folder: Place,
    key: Place,
    output: Place | None = None,
    *,
    password: Place | None = None,
    model: bool = False,
    certificates: Iterable[Place] = (),
) -> None:
    """Signs a finished audit, or with `model` a model's folder as OpenSSF Model Signing does."""
    words: list[Place] = ["attest", folder, "--key", key]
    if output is not None:
        words += ["-o", output]
    if password is not None:
        words += ["--password", password]
    if model:
        words.append("--model")
    for certificate in certificates:
        words += ["--certificate", certificate]
    run(words, fine=(0,))


def verify(
    path: Place,
    keys: Iterable[Place] = (),
    roots: Iterable[Place] = (),
    *,
    model: Place | None = None,
    case: Place | None = None,
    recompute: bool = False,
) -> Verification:
    """Checks a finished folder, an attestation, a signature over a model, or a ledger."""
    words: list[Place] = ["verify", path]
    for key in keys:
        words += ["--key", key]
    for root in roots:
        words += ["--root", root]
    if model is not None:
        words += ["--model", model]
    if case is not None:
        words += ["--case", case]
    if recompute:
        words.append("--recompute")
    status, value = ask(words)
    return Verification(value, status)
