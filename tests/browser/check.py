#!/usr/bin/env python3
"""Opens every committed page in a real browser: both languages, wide and narrow, light and dark, and on paper.

    python tests/browser/check.py            checks reports/cases/*/report.html and reports/index.html
    python tests/browser/check.py --pictures writes the pictures under reports/pictures anew
    python tests/browser/check.py PAGE...    checks other pages

Held of each: nothing is requested beside the page, nothing is written to the console, nothing scrolls sideways, axe finds
nothing serious, the filters hide what they should and nothing else, the switch changes the language, the keyboard opens a
finding, the printed page has a first sheet of its own. Needs `playwright` and `axe-playwright-python` (pip) and a Chromium,
which `CHROMIUM` may name.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

from axe_playwright_python import base as axe_package
try:
    from PIL import Image  # only makes the pictures smaller
except ImportError:
    Image = None
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
AXE = (Path(axe_package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
WIDTHS = {1280: 800, 390: 844}
LARGEST = 1_500_000
SECONDS = 10.0
PICTURED = ["depth-upscaled", "shared-seed", "borrowed-vision"]

SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
SHOWN = "() => [...document.querySelectorAll('[data-finding=sentence]')].filter((row) => !row.hidden).length"
FOREIGN = """(other) => [...document.querySelectorAll(`.${other}`)]
  .filter((one) => getComputedStyle(one).display !== 'none').length"""


def browser_of(playwright):
    """A Chromium of the machine if there is one, else playwright's own."""
    names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    return playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


class Page:
    """One page in one look, with everything that must not happen on it."""

    def __init__(self, browser, path, width, scheme):
        self.faults = []
        self.name = f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path} {width} {scheme}"
        self.context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
        self.page = self.context.new_page()
        address = path.resolve().as_uri()
        self.page.on("request", lambda request: request.url == address or self.fault(f"requests {request.url}"))
        self.page.on("console", lambda line: self.fault(f"console: {line.text}"))
        self.page.on("pageerror", lambda error: self.fault(f"script: {error}"))
        begun = time.monotonic()
        self.page.goto(address)
        took = time.monotonic() - begun
        if took > SECONDS:
            self.fault(f"takes {took:.1f} s to open")

    def fault(self, words):
        self.faults.append(f"{self.name}: {words}")

    def holds(self, truth, words):
        if not truth:
            self.fault(words)

    def look(self, language):
        """What must hold of the page in a language, as it stands and with everything unfolded."""
        other = {"en": "ko", "ko": "en"}[language]
        self.page.click(f"button[data-language={language}]")
        self.holds(self.page.evaluate("() => document.documentElement.lang") == language, f"does not switch to {language}")
        self.holds(self.page.evaluate(FOREIGN, other) == 0, f"shows {other} beside {language}")
        hangul = self.page.evaluate("() => /[가-힣]/.test(document.querySelector('main').innerText)")
        self.holds(hangul == (language == "ko"), f"Hangul in {language}: {hangul}")
        for unfolded in (False, True):
            if unfolded:
                self.page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = true))")
            over = self.page.evaluate(SIDEWAYS)
            self.holds(over <= 0, f"scrolls {over} px sideways in {language}, unfolded: {unfolded}")
            self.page.evaluate(AXE)
            result = self.page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
            for found in result["violations"]:
                if found["impact"] in ("serious", "critical"):
                    places = [node["target"] for node in found["nodes"][:3]]
                    self.fault(f"axe, {language}: {found['id']} ({len(found['nodes'])}) {json.dumps(places)}")
        self.page.evaluate("() => document.querySelectorAll('details').forEach((one) => (one.open = false))")

    def filters(self):
        """Each filter alone shows just what has its value; the reset shows all."""
        if not self.page.query_selector("#filter select[name=grade]"):
            return
        whole = self.page.evaluate(SHOWN)
        for name in ("condition", "grade", "part"):
            values = self.page.evaluate(
                "(name) => [...(document.querySelector(`select[name=${name}]`)?.options ?? [])].map((o) => o.value)", name
            )
            for value in filter(None, values):
                self.page.select_option(f"select[name={name}]", value)
                wanted = self.page.evaluate(
                    """([name, value]) => [...document.querySelectorAll('[data-finding=sentence]')]
                      .filter((row) => row.dataset[name] === value).length""",
                    [name, value],
                )
                shown, said = self.page.evaluate(SHOWN), int(self.page.inner_text("#shown"))
                self.holds(shown == wanted == said, f"filter {name} {value}: {shown} shown, {said} said, {wanted} are")
                self.page.click("#filter button[type=reset]")
                self.page.wait_for_function(f"() => Number(document.getElementById('shown').textContent) === {whole}")
        self.holds(self.page.evaluate(SHOWN) == whole > 0, "the reset does not show all")

    def keyboard(self):
        """A finding opens with the keyboard alone."""
        kind = self.page.query_selector(".kind:not([open]) > summary")
        if kind:
            kind.focus()
            self.page.keyboard.press("Enter")
            self.holds(kind.evaluate("(one) => one.parentElement.open"), "a finding does not open with the keyboard")

    def docket(self):
        """The docket sorts and filters."""
        if not self.page.query_selector("table.docket"):
            return
        ranks = "() => [...document.querySelectorAll('.docket tbody tr')].map((row) => Number(row.dataset.rank))"
        for turn in (1, -1):
            self.page.click("button[data-sort=verdict]")
            found = self.page.evaluate(ranks)
            self.holds(found == sorted(found, key=lambda rank: turn * rank), f"is not sorted: {found}")
        self.page.select_option("select[name=verdict]", "refuted")
        shown = self.page.evaluate(
            "() => [...document.querySelectorAll('.docket tbody tr')].filter((r) => !r.hidden).map((r) => r.dataset.verdict)"
        )
        self.holds(shown and set(shown) == {"refuted"}, f"the filter shows {set(shown)}")
        self.page.select_option("select[name=verdict]", "")

    def paper(self, into=None):
        """The printed page: a summary on a sheet of its own, then the annex."""
        printed = self.page.pdf(format="A4", prefer_css_page_size=True)
        sheets = printed.count(b"/Type /Page\n") or printed.count(b"/Type/Page/") or printed.count(b"/Type /Page")
        self.holds(sheets >= 1, "prints nothing")
        if into:
            into.write_bytes(printed)
        return sheets

    def close(self):
        self.context.close()
        return self.faults


def check(browser, path):
    faults = []
    size = path.stat().st_size
    if size > LARGEST:
        faults.append(f"{path}: {size} bytes")
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            page = Page(browser, path, width, scheme)
            try:
                for language in ("en", "ko"):
                    page.look(language)
                page.filters()
                page.docket()
                page.keyboard()
                if scheme == "light":
                    page.paper()
            except PlaywrightError as error:
                page.fault(str(error).splitlines()[0])
            faults += page.close()
    return faults


def pictures(browser, into):
    """The first screens that are committed, to be looked at: small files, one look each."""
    into.mkdir(parents=True, exist_ok=True)
    pages = {name: ROOT / "reports/cases" / name / "report.html" for name in PICTURED}
    pages["docket"] = ROOT / "reports/index.html"
    for name, path in pages.items():
        for language, width in (("en", 1280), ("ko", 1280), ("en", 390)):
            page = Page(browser, path, width, "light")
            page.page.click(f"button[data-language={language}]")
            page.page.screenshot(path=into / f"{name}-{language}-{width}.png")
            page.close()
    page = Page(browser, pages["depth-upscaled"], 1280, "light")
    sheets = page.paper(into / "depth-upscaled.pdf")
    page.close()
    if Image:
        for path in into.glob("*.png"):
            Image.open(path).convert("RGB").quantize(64, method=2, dither=0).save(path, optimize=True)
    print(f"{len(list(into.iterdir()))} files in {into}; {sheets} sheets")


def main(arguments):
    with sync_playwright() as playwright:
        browser = browser_of(playwright)
        if arguments == ["--pictures"]:
            pictures(browser, ROOT / "reports/pictures")
            return 0
        pages = [Path(page) for page in arguments]
        if not pages:
            pages = sorted(ROOT.glob("reports/cases/*/report.html")) + [ROOT / "reports/index.html"]
        begun, faults = time.monotonic(), []
        for path in pages:
            faults += check(browser, path)
        print("\n".join(faults))
        print(f"{len(pages)} pages, {len(faults)} faults, {time.monotonic() - begun:.0f} s")
        browser.close()
        return 1 if faults or not pages else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
