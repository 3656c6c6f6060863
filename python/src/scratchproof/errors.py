"""One tree of exceptions, made from the program's one error type."""

from __future__ import annotations

import json


class ScratchproofError(Exception):
    """The program could not do its job; the message is one sentence."""


class UsageError(ScratchproofError, ValueError):
    """What was asked for cannot be: a bad option, a bad case file."""


class InputError(ScratchproofError, ValueError):
    """A file from outside is not what it must be."""


class ReadError(ScratchproofError, OSError):
    """The operating system or the network refused."""


_KINDS = {"usage": UsageError, "input": InputError, "io": ReadError}


def from_program(stderr: str, status: int) -> ScratchproofError:
    """The exception for what the program said on its way out."""
    for line in reversed(stderr.splitlines()):
        if line.startswith('{"error"'):
            try:
                error = json.loads(line)["error"]
                return _KINDS.get(error["kind"], ScratchproofError)(error["message"])
            except (ValueError, KeyError, TypeError):
                break
    last = stderr.strip().splitlines()[-1:] or [f"the program ended with status {status}"]
    # Mistakes in the command line are told by the parser of arguments.
    return (UsageError if "Usage:" in stderr else ScratchproofError)(last[0].removeprefix("error: "))
