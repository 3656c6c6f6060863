"""Lines of the rooms that ran, from lcov on stdin; tests and what only they use do not count.

coverage.py ROOT [FILES]: a table for docs/reliability.md, and to stderr the so many files with most lines that did not run.
"""

import collections
import pathlib
import sys

ROOMS = ("stats", "facts", "finding", "case", "checkpoint", "record", "source", "attest", "fingerprint", "store", "timeline")


def own(text: str) -> int:
    """The number of lines before the tests of a file."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.strip() == "#[cfg(test)]" and any("mod " in after for after in lines[number + 1 : number + 4]):
            return number
    return len(lines)


def main() -> None:
    root = pathlib.Path(sys.argv[1]).resolve()
    most = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    ran: dict[str, dict[int, int]] = collections.defaultdict(dict)
    file = ""
    for line in sys.stdin:
        kind, _, rest = line.strip().partition(":")
        if kind == "SF":
            file = str(pathlib.Path(rest).resolve().relative_to(root)) if rest.startswith(str(root)) else rest
        elif kind == "DA":
            number, count = rest.split(",")[:2]
            # A file that several programs hold is there several times.
            ran[file][int(number)] = max(ran[file].get(int(number), 0), int(count))
    rooms: dict[str, list[int]] = {room: [0, 0] for room in ROOMS}
    files = []
    for file, lines in sorted(ran.items()):
        parts = pathlib.PurePath(file).parts
        if parts[:1] != ("crates",) or parts[1] not in rooms or "src" not in parts:
            continue
        if "tests" in parts or parts[-1] in ("tests.rs", "testing.rs"):
            continue
        end = own((root / file).read_text())
        counted = {number: count for number, count in lines.items() if number <= end}
        missed = [number for number, count in counted.items() if count == 0]
        rooms[parts[1]][0] += len(counted)
        rooms[parts[1]][1] += len(counted) - len(missed)
        files.append((len(missed), file, missed))
    print("| room | lines | ran | share |")
    print("| --- | ---: | ---: | ---: |")
    for room, (all_, did) in rooms.items():
        if all_:
            print(f"| {room} | {all_} | {did} | {100 * did / all_:.1f} % |")
    for count, file, missed in sorted(files, reverse=True)[:most]:
        spans: list[list[int]] = []
        for number in sorted(missed):
            if spans and number <= spans[-1][1] + 2:
                spans[-1][1] = number
            else:
                spans.append([number, number])
        print(f"{count:5} {file}: {' '.join(f'{a}-{b}' if a < b else str(a) for a, b in spans)}", file=sys.stderr)


if __name__ == "__main__":
    main()
