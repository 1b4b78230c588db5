"""The report's page in a real browser, from disk: no errors, and what can be operated works.

Debian's chromium is run headless; it is steered by the address (`#axis=tokens`) and, for clicks, by
a script that is added to a copy of the page.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from reports.plots import css_class
from reports.report import write_report
from tests.e2e.test_report import Page, spoil
from tests.synthetic import write_suite

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr", "--hide-scrollbars",
)  # fmt: skip
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@dataclass(frozen=True)
class Seen:
    """A page as the browser has it once its scripts have run."""

    html: str
    console: list[str]

    def shown(self, group: str) -> list[str]:
        """The panels of a switch that are not hidden."""
        panels = [a for _, a in Page(self.html).tags if a.get("class") == "panel"]
        return [
            str(a["data-value"]) for a in panels if a["data-group"] == group and "hidden" not in a
        ]

    def checked(self, group: str) -> list[str]:
        """What the added script noted: `checked` is a property and stands in no attribute."""
        return re.findall(rf'data-noted-{group}="([^"]*)"', self.html)


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    """browse(page, fragment) -> Seen."""
    browser = next((path for name in NAMES if (path := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")

    def run(page: Path, fragment: str = "") -> Seen:
        profile = tmp_path_factory.mktemp("profile")
        command = [
            browser, *FLAGS, f"--user-data-dir={profile}", "--window-size=1200,900",
            "--virtual-time-budget=5000", "--dump-dom", f"{page.resolve().as_uri()}{fragment}",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "</html>" in done.stdout, done.stderr[-2000:]
        return Seen(done.stdout, re.findall(r"CONSOLE[^\n]*", done.stderr))

    return run


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    suite = write_suite(
        tmp_path_factory.mktemp("runs") / "suite", ("sft", "grpo", "gift"), seeds=3, questions=16,
        evaluations=3, steps=6, diverged={("sft", 1): 3},
    )  # fmt: skip
    spoil(suite)  # nothing that a model wrote may do anything
    return write_report(suite).paths[0]


def scripted(report: Path, name: str, script: str) -> Path:
    """A copy of the page, without its policy, that runs one more script at its end."""
    html, found = POLICY.subn("", report.read_text())
    assert found == 1
    copy = report.parent / f"{name}.html"
    copy.write_text(html.replace("</body>", f"<script>{{ {script} }}</script></body>"))
    return copy


def test_an_error_would_be_seen(browse, report):
    seen = browse(scripted(report, "broken", "missing_function()"))
    assert any("missing_function" in line for line in seen.console)


def test_no_errors_and_nothing_hostile_runs(browse, report):
    seen = browse(report)
    assert seen.console == []
    assert re.search(r"<title>Evenbench: suite</title>", seen.html)


def test_the_policy_stops_what_would_get_through(browse, report):
    copy = report.parent / "injected.html"
    injected = (
        "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
    )
    copy.write_text(report.read_text().replace("<main>", f"<main>{injected}"))
    seen = browse(copy)
    assert "<title>Evenbench: suite</title>" in seen.html
    assert any("Content Security Policy" in line for line in seen.console)


@pytest.mark.parametrize("axis", ["updates", "samples", "tokens", "flops", "seconds"])
def test_the_address_sets_the_axis(browse, report, axis):
    seen = browse(report, f"#axis={axis}")
    assert seen.shown("convergence") == [axis]
    assert seen.shown("cost") == [axis]


def test_a_click_sets_the_axis(browse, report):
    assert browse(report).shown("convergence") == ["updates"]
    click = 'document.querySelector("input[name=convergence][value=flops]").click()'
    seen = browse(scripted(report, "click", click))
    assert seen.shown("convergence") == ["flops"]
    assert seen.shown("cost") == ["flops"]  # where it starts


def test_an_unknown_fragment_changes_nothing(browse, report):
    seen = browse(report, "#axis=%22%5D&theme=x&hide=y&at=z&axis=miles")
    assert seen.console == []
    assert seen.shown("convergence") == ["updates"]


def test_colours_can_be_chosen(browse, report):
    note = "document.body.dataset.notedBackground = getComputedStyle(document.body).backgroundColor"
    page = scripted(report, "colours", note)
    light = browse(page, "#theme=light").checked("background")
    dark = browse(page, "#theme=dark").checked("background")
    assert light == ["rgb(255, 255, 255)"]
    assert dark != light


def test_a_method_can_be_hidden_in_all_curves(browse, report):
    name = css_class("gift")
    script = (
        f'document.querySelector(".methods input[value={name}]").click();'
        f'const all = [...document.getElementsByClassName("{name}")];'
        "document.body.dataset.notedHidden ="
        ' `${all.filter((e) => e.style.display === "none").length} of ${all.length}`;'
        f"const boxes = [...document.querySelectorAll('.methods input[value={name}]')];"
        "document.body.dataset.notedBoxes = boxes.map((b) => b.checked).join();"
    )
    seen = browse(scripted(report, "hide", script))
    (hidden,) = seen.checked("hidden")
    some, every = hidden.split(" of ")
    assert some == every != "0"
    assert seen.checked("boxes") == ["false,false"]


def test_tables_sort_by_a_click_on_a_header(browse, report):
    script = """
    const table = document.querySelector("#table-main table");
    const header = [...table.tHead.rows[0].cells].find((c) => c.textContent.startsWith("greedy"));
    const at = header.cellIndex;
    const order = () => [...table.tBodies[0].rows].map((r) => r.children[at].dataset.value);
    header.querySelector("button").click();
    document.body.dataset.notedDown = order().join();
    document.body.dataset.notedState = header.getAttribute("aria-sort");
    header.querySelector("button").click();
    document.body.dataset.notedUp = order().join();
    const difference = [...table.tHead.rows[0].cells].find((c) => c.textContent.startsWith("vs "));
    difference.querySelector("button").click();
    document.body.dataset.notedLast = [...table.tBodies[0].rows].at(-1).cells[0].textContent;
    """
    seen = browse(scripted(report, "sort", script))
    assert seen.console == []
    down = [float(x) for x in seen.checked("down")[0].split(",")]
    up = [float(x) for x in seen.checked("up")[0].split(",")]
    assert len(down) == 3 and down == sorted(down, reverse=True) and up == sorted(up)
    assert seen.checked("state") == ["descending"]
    assert seen.checked("last") == ["grpo"]  # the control has no difference: missing stays last


def test_questions_can_be_filtered(browse, report):
    script = """
    const kind = document.getElementById("kind"), search = document.getElementById("search");
    const count = () => document.querySelectorAll(".question:not([hidden])").length;
    document.body.dataset.notedAll = count();
    kind.value = "random"; kind.dispatchEvent(new Event("change"));
    document.body.dataset.notedRandom = count();
    search.value = "no question says this"; search.dispatchEvent(new Event("input"));
    const found = document.getElementById("found").textContent;
    document.body.dataset.notedNone = `${count()} ${found}`;
    """
    seen = browse(scripted(report, "filter", script))
    assert 0 < int(seen.checked("random")[0]) < int(seen.checked("all")[0])
    assert seen.checked("none")[0].startswith("0 0 of ")


def test_a_phone_shows_it_without_scrolling_sideways(browse, report):
    script = """
    document.querySelectorAll("details").forEach((d) => { d.open = true; });
    const width = `${innerWidth} ${document.documentElement.scrollWidth}`;
    const figure = document.querySelector("#differences figure.plot");
    const svgs = [...figure.querySelectorAll("svg")];
    const drawn = svgs.filter((s) => s.getBoundingClientRect().width);
    parent.postMessage(`${width} ${drawn.map((s) => s.parentNode.className).join()}`, "*");
    """
    page = scripted(report, "phone", script)
    frame = page.with_name("frame.html")  # a window of this browser is at least 500 pixels wide
    for width, figure in ((390, "narrow"), (1100, "wide")):
        frame.write_text(
            "<body><script>onmessage = (e) => { document.body.dataset.notedPage = e.data; };"
            f'</script><iframe src="{page.name}" width="{width}" height="800" frameborder="0">'
            "</iframe></body>"
        )
        (noted,) = browse(frame).checked("page")
        inner, scroll, drawn = noted.split()
        assert (inner, drawn) == (str(width), figure)
        assert int(scroll) <= width


def test_everything_works_from_the_keyboard(browse, report):
    """Whatever reacts to a click can have the focus, and says what it is."""
    script = """
    const active = [...document.querySelectorAll("button, input, select, summary, a, [tabindex]")];
    const name = (e) => e.textContent.trim() || e.getAttribute("aria-label")
      || e.closest("label")?.textContent.trim();
    document.body.dataset.notedNameless = active.filter((e) => !name(e)).length;
    document.querySelectorAll("details").forEach((d) => { d.open = true; });
    const visible = active.filter((e) => e.checkVisibility() && !e.closest(".skip"));
    const deaf = visible.filter((e) => { e.focus(); return document.activeElement !== e; });
    document.body.dataset.notedDeaf = `${deaf.length} of ${visible.length}`;
    """
    seen = browse(scripted(report, "keyboard", script))
    assert seen.checked("nameless") == ["0"]
    (deaf,) = seen.checked("deaf")
    assert deaf.startswith("0 of ") and int(deaf.split()[-1]) > 50
