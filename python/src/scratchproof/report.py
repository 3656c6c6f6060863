"""A finished folder, read: what was found, and every table, without a copy where the reader allows it."""

from __future__ import annotations

import html
import importlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import InputError, ReadError

SCHEMA = "scratchproof.report/1"


class Result(Mapping[str, Any]):
    """A JSON document of the program, as a mapping."""

    def __init__(self, value: Mapping[str, Any], status: int | None = None) -> None:
        self._value = value
        #: Exit status of the program, where it was run.
        self.status = status

    def __getitem__(self, name: str) -> Any:
        return self._value[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._value)

    def __len__(self) -> int:
        return len(self._value)

    @property
    def outcome(self) -> str:
        """What came out, in one word."""
        return str(self._value["outcome"])

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The findings, the weightiest first."""
        return list(self._value.get("findings", []))

    def __repr__(self) -> str:
        words = [type(self).__name__, self._value.get("schema"), self._value.get("outcome")]
        return f"<{' '.join(str(word) for word in words if word)}>"


class Report(Result):
    """An audit's result: of a folder that `audit -o` wrote, or of a run without one."""

    def __init__(
        self, value: Mapping[str, Any], status: int | None = None, folder: str | os.PathLike[str] | None = None
    ) -> None:
        if value.get("schema") != SCHEMA:
            raise InputError(f"a report has the schema {SCHEMA}, this has {value.get('schema')!r}")
        super().__init__(value, status)
        #: Where it was read from; None without a folder.
        self.folder = None if folder is None else Path(folder)

    @classmethod
    def read(cls, folder: str | os.PathLike[str]) -> Report:
        """Reads a finished folder."""
        path = Path(folder) / "report.json"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError as cause:
            raise ReadError(f"{path}: {cause.strerror}: is this a finished output folder?") from cause
        except ValueError as cause:
            raise InputError(f"{path}: {cause}") from cause
        if not isinstance(value, dict):
            raise InputError(f"{path} is no report")
        return cls(value, folder=folder)

    def __repr__(self) -> str:
        return f"<Report {self['case']['name']}: {self.outcome}>"

    @property
    def outcome(self) -> str:
        """`confirmed`, `refuted` or `inconclusive`."""
        return str(self["verdict"]["outcome"])

    @property
    def conditions(self) -> dict[str, str]:
        """Of start, chain, parent and time: `holds`, `fails` or `untested`."""
        return dict(self["verdict"]["conditions"])

    @property
    def missing(self) -> list[str]:
        """What would be needed for more, in words."""
        return list(self["verdict"]["missing"])

    @property
    def tables(self) -> list[str]:
        """Names of the tables, for `table`."""
        if self.folder is None:
            return []
        return sorted(path.stem for path in (self.folder / "evidence").glob("*.parquet"))

    def table(self, name: str, using: str | None = None) -> Any:
        """One table, as `polars`, `pandas` or `pyarrow` (`using`, else the first of them that is installed)."""
        if self.folder is None:
            raise InputError("a report without a folder has no tables: audit with an output folder")
        path = self.folder / "evidence" / f"{name}.parquet"
        if name not in self.tables:
            raise InputError(f"there is no table {name!r}; there are {', '.join(self.tables)}")
        for library in [using] if using else ["polars", "pandas", "pyarrow"]:
            try:
                if library == "polars":
                    return importlib.import_module("polars").read_parquet(path)
                arrow = importlib.import_module("pyarrow.parquet")
            except ImportError:
                continue
            if library == "pyarrow":
                return arrow.read_table(path)
            try:
                importlib.import_module("pandas")
            except ImportError:
                continue
            # Through Arrow: columns of numbers are not copied where pandas can use them as they are.
            return arrow.read_table(path).to_pandas(split_blocks=True, self_destruct=True)
        raise ImportError("tables need polars, or pyarrow with or without pandas: pip install 'scratchproof[tables]'")

    def _repr_html_(self) -> str:
        """The page where there is one, otherwise verdict and findings."""
        if self.folder is not None:
            page = self.folder / "report.html"
            if page.is_file():
                source = html.escape(page.read_text(encoding="utf-8"), quote=True)
                return f'<iframe sandbox srcdoc="{source}" style="width:100%;height:600px;border:0"></iframe>'
        rows = "".join(
            f"<tr><td>{html.escape(str(own['grade']))}</td><td>{html.escape(str(own['message']))}</td></tr>"
            for own in self.findings[:20]
        )
        return f"<h3>{html.escape(str(self['case']['name']))}: {html.escape(self.outcome)}</h3><table>{rows}</table>"


class Verification(Result):
    """What `verify` said, one item each."""

    @property
    def holds(self) -> bool:
        """Whether everything was verified."""
        return self.outcome == "verified"

    @property
    def checked(self) -> list[dict[str, str]]:
        """`standing` (`verified`, `contradicts`, `unchecked`) and `text` of every item."""
        return list(self["items"])
