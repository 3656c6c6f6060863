"""`python -m scratchproof`: the program itself."""

from __future__ import annotations

import os
import subprocess
import sys

from ._binary import find


def main() -> int:
    """Runs the program with this process's arguments; on POSIX in this process's place."""
    arguments = [find(), *sys.argv[1:]]
    if os.name == "posix":
        os.execv(arguments[0], arguments)
    return subprocess.run(arguments, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
