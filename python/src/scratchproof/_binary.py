"""Where the program is, and running it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import from_program

NAME = "scratchproof"


def find() -> str:
    """Path of the program: the one that the wheel installed, or `SCRATCHPROOF` in the environment.

    Raises FileNotFoundError if there is none: the wheel is not one for this platform.
    """
    name = NAME + (sysconfig.get_config_var("EXE") or "")
    given = os.environ.get("SCRATCHPROOF")
    places = [Path(given)] if given else []
    schemes = [None, "osx_framework_user" if sys.platform == "darwin" else f"{os.name}_user"]
    for scheme in schemes:
        path = sysconfig.get_path("scripts", scheme) if scheme else sysconfig.get_path("scripts")
        places.append(Path(path) / name)
    # `pip install --target` puts programs beside the packages.
    places.append(Path(__file__).resolve().parent.parent / "bin" / name)
    for place in places:
        if place.is_file() and os.access(place, os.X_OK):
            return str(place)
    raise FileNotFoundError(
        f"the program {name} is in none of {', '.join(map(str, places))}: is the wheel one for this platform?"
    )


def run(arguments: Sequence[str | os.PathLike[str]], *, fine: Sequence[int] = (0, 1, 3)) -> tuple[int, str]:
    """Runs the program; its exit status and what it printed. A status that is not fine raises."""
    words = [find(), *(os.fspath(word) for word in arguments)]
    environment = {**os.environ, "SCRATCHPROOF_ERRORS": "json"}
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", check=False, env=environment)
    if done.returncode not in fine:
        raise from_program(done.stderr, done.returncode)
    return done.returncode, done.stdout


def ask(arguments: Sequence[str | os.PathLike[str]]) -> tuple[int, dict[str, Any]]:
    """As `run`, with the JSON that was printed."""
    status, text = run(["--format", "json", *arguments])
    return status, json.loads(text)
