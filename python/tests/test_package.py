"""The installed package: the program inside, the exceptions, a finished folder, signatures. Needs the fixtures, not torch."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import scratchproof

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "out"
    report = scratchproof.audit(FIXTURES / "cases" / "scratch-moe" / "case.toml", folder)
    assert (report.outcome, report.status) == ("confirmed", 0)
    return folder


def test_the_module_is_the_program() -> None:
    done = subprocess.run([sys.executable, "-m", "scratchproof", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("scratchproof ")
    place = Path(scratchproof.__file__).parent
    assert (place / "py.typed").is_file() and (place / "recipe.py").is_file()


def test_a_finished_folder_is_read(out: Path) -> None:
    report = scratchproof.Report.read(out)
    assert report.outcome == "confirmed"
    assert set(report.conditions.values()) == {"holds"}
    assert report["schema"] == "scratchproof.report/1" and len(report) == len(json.loads((out / "report.json").read_text()))
    assert "trajectory" in report.tables and report.findings[0]["grade"] == "conclusive"
    page = report._repr_html_()
    assert page.startswith("<iframe sandbox srcdoc=") and "<script" not in page.split("srcdoc=")[0]
    bare = scratchproof.Report(dict(report))
    assert "confirmed" in bare._repr_html_() and bare.tables == []
    with pytest.raises(scratchproof.InputError, match="no table"):
        report.table("nothing")


def test_tables_are_those_of_the_library_at_hand(out: Path) -> None:
    report = scratchproof.Report.read(out)
    libraries = [name for name in ("polars", "pandas", "pyarrow") if importlib.util.find_spec(name)]
    if not libraries:
        pytest.skip("NOT TESTED: none of polars, pandas, pyarrow is installed")
    assert type(report.table("trajectory")).__module__.startswith(libraries[0])
    rows = {name: report.table("trajectory", using=name) for name in libraries}
    lengths = {len(table) for table in rows.values()}
    assert len(lengths) == 1 and lengths.pop() > 100
    if "pandas" in rows:
        table = rows["pandas"]
        last = table[(table.step == 600) & (table.reference == "parent:parent-glm")]
        assert not last.empty and abs(last.cosine.mean()) < 0.5


def test_one_tree_of_exceptions(tmp_path: Path) -> None:
    bad = tmp_path / "case.toml"
    bad.write_text("schema = 1\nnothing = 2\n")
    with pytest.raises(scratchproof.UsageError, match="line") as told:
        scratchproof.audit(bad)
    assert isinstance(told.value, scratchproof.ScratchproofError) and isinstance(told.value, ValueError)
    with pytest.raises(scratchproof.ScratchproofError, match="nothing.here"):
        scratchproof.audit(tmp_path / "nothing.here")
    with pytest.raises(scratchproof.ReadError, match="finished output folder"):
        scratchproof.Report.read(tmp_path)
    (tmp_path / "report.json").write_text("[1]")
    with pytest.raises(scratchproof.InputError):
        scratchproof.Report.read(tmp_path)


def test_compare_inspect_timeline(out: Path) -> None:
    models = FIXTURES / "models"
    found = scratchproof.compare(str(models / "parent-llama"), str(models / "control-llama"), [str(models / "control-mixtral")])
    assert found.outcome in ("silent", "undetermined") and found.status == 0
    assert scratchproof.compare(str(models / "parent-llama"), str(models / "parent-llama")).outcome == "similar"
    inspected = scratchproof.inspect(models / "parent-llama")
    assert inspected["parameters"] > 0 and repr(inspected).startswith("<Result")
    scanned = scratchproof.scan(str(models / "parent-llama"), [models / "control-llama"])
    assert scanned.status in (0, 3) and len(scanned["candidates"]) == 1
    assert scratchproof.timeline(FIXTURES / "cases" / "scratch-moe" / "case.toml").outcome in ("consistent", "open")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="NOT TESTED: openssl makes the keys")
def test_signed_and_verified(out: Path, tmp_path: Path) -> None:
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", key], check=True)
    subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-out", public], check=True)
    scratchproof.attest(out, key)
    assert scratchproof.verify(out, [public]).holds
    assert scratchproof.verify(out).outcome == "unchecked"
    report = out / "report.json"
    text = report.read_text()
    report.write_text(text.replace('"confirmed"', '"refuted"', 1))
    told = scratchproof.verify(out, [public])
    assert told.outcome == "contradicted" and any("report.json" in item["text"] for item in told.checked)
    report.write_text(text)
