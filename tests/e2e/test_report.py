"""A report of fake suites with known effects: what was put in must come out, and poor suites must
give a report that says what cannot be said."""

# pyright: reportAttributeAccessIssue=false, reportCallIssue=false
from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reports.figures import FIGURES
from reports.report import Written, write_report
from tests.synthetic import write_suite

HOSTILE = (
    "</pre></script><script>document.title='owned'</script>"
    "<img src=x onerror=alert(1)>{{7*7}}\x1b[2J\u202e"
)
SMALL = {"methods": ("grpo", "gift"), "questions": 12, "evaluations": 3, "steps": 6}


class Page(HTMLParser):
    """Tags with their attributes, and the text outside scripts and styles."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag):
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & {*self._inside}:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def ids(self) -> list[str]:
        return [i for _, attributes in self.tags if (i := attributes.get("id"))]


def page(written: Written) -> Page:
    return Page(written.paths[0].read_text())


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Path:
    """gift is far better than grpo, sft far worse; all the seeds are shared."""
    return write_suite(
        tmp_path_factory.mktemp("runs") / "known", ("sft", "grpo", "gift"), questions=48,
        evaluations=4, steps=12, effects={"sft": 0.25, "grpo": 0.45, "gift": 0.70},
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(suite) -> Written:
    return write_report(suite)


def test_files_and_their_order(suite, written):
    assert written.paths[0] == suite / "report" / "report.html"
    assert written.paths[1] == suite / "report" / "report.md"
    assert all(p.is_file() and p.stat().st_size for p in written.paths)
    for kind in ("svg", "pdf", "png", "csv"):
        assert suite / "report" / "figures" / f"forest.{kind}" in written.paths
        assert suite / "report" / "figures" / f"convergence-tokens.{kind}" in written.paths
    for kind in ("tex", "csv"):
        assert suite / "report" / "tables" / f"main.{kind}" in written.paths


def test_known_effects_are_said_in_plain_words(written):
    text = page(written).text
    assert "gift has the highest mean" in text
    assert re.search(r"gift is better than grpo by \d+\.\d points", text)
    assert re.search(r"sft is worse than grpo by \d+\.\d points", text)
    assert "Compared with the control, grpo, sampled: 1 better and 1 worse (2 comparisons)." in text
    assert text.index("gift is better") < text.index("sft is worse") < text.index("Main table")


def test_the_same_verdicts_stand_in_markdown_and_csv(suite, written):
    markdown = written.paths[1].read_text()
    assert re.search(r"\| gift \| better \| \+\d", markdown)
    assert re.search(r"\| sft \| worse \| −\d", markdown)
    table = pd.read_csv(suite / "report" / "tables" / "main.csv").set_index("method")
    assert dict(table["verdict"]) == {"gift": "better", "grpo": "control", "sft": "worse"}
    figure = pd.read_csv(suite / "report" / "figures" / "forest.csv").set_index("method")
    assert figure.loc["gift", "effect"] == pytest.approx(table.loc["gift", "difference"])
    linked = re.findall(r"\]\((\S+\.png)\)", markdown)
    assert linked and all((suite / "report" / name).is_file() for name in linked)


def test_the_page_loads_nothing(written):
    for tag, attributes in page(written).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        assert tag != "script" or "src" not in attributes
        for name, value in attributes.items():
            if name in ("href", "src", "xlink:href", "action"):
                assert re.match(r"#|figures/|tables/", value or ""), (tag, value)
    style = re.findall(r"<style>(.*?)</style>", written.paths[0].read_text(), re.S)
    assert len(style) == 1 and not re.search(r"@import|url\(", style[0])


def test_the_page_is_sound(written):
    found = page(written)
    ids = found.ids()
    assert len(ids) == len(set(ids))
    anchors = [str(a["href"]) for tag, a in found.tags if tag == "a"]
    inner = {a[1:] for a in anchors if a.startswith("#")}
    assert inner and inner <= set(ids)
    assert [tag for tag, _ in found.tags if tag == "h1"] == ["h1"]
    for tag, attributes in found.tags:
        if attributes.get("role") == "img":
            assert len(attributes["aria-label"] or "") > 20
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)


def test_answers_are_shown_with_their_verdicts(suite, written):
    text = page(written).text
    answers = pd.concat(pd.read_parquet(f) for f in suite.glob("grpo-*-s0-*/evals.parquet"))
    last = answers[answers["step"] == answers["step"].max()]
    kept = last[(last["split"] == "test") & last["prompt"].notna()]
    shown = [p for p in kept["prompt"] if p in text]
    assert 12 <= len(shown) <= 28
    row = kept[kept["prompt"] == shown[0]].iloc[0]
    part = text[text.index(f"Prompt {row['prompt']}") :]
    assert part.index(str(row["response"])) < part.index("Prompt", 10)
    assert "✓ right" in text and "✗ wrong" in text and "no answer found" in text


def test_settings_provenance_and_curves_are_there(written):
    found = page(written)
    for words in ("learning rate", "beta=1.0", "12 updates", "torch 0.0"):
        assert words in found.text
    radios = [a["value"] for t, a in found.tags if t == "input" and a.get("name") == "convergence"]
    assert radios == ["updates", "samples", "tokens", "flops", "seconds"]


def test_claims_are_sentences_and_the_untested_fold_away(written):
    text = page(written).text
    assert re.search(
        r"✓ supported GIFT converges faster than GRPO\. \+\d.*? against grpo, p [=<]", text
    )
    assert "◆ law: depends on the reading The objective is convex. With detached" in text
    assert "GRAO converges at a rate of O(1/sqrt(T)). The bound holds" in text
    assert "Not tested here: " in text


@pytest.fixture
def few_figures(monkeypatch):
    """Two kinds of figures instead of all: the odd suites differ in words, not in axes."""
    kept = {k: v for k, v in FIGURES.items() if k in ("forest", "convergence-updates")}
    monkeypatch.setattr("reports.figures.FIGURES", kept)


def report_of(tmp_path, **options) -> Page:
    return page(write_report(write_suite(tmp_path / "suite", **{**SMALL, **options})))


def test_one_seed(tmp_path, few_figures):
    text = report_of(tmp_path, seeds=1).text
    assert "Only one seed of each method" in text
    assert "Cannot be judged: one seed" in text
    assert not re.search(r"(gift|grpo) is (better|worse) than", text)


def test_one_method(tmp_path, few_figures):
    text = report_of(tmp_path, methods=("gift",), seeds=3).text
    assert "There is only one method, so there is nothing to compare it with." in text
    assert "gift: " in text and "highest mean" not in text
    assert "Only 3 seeds" in text


def test_a_diverged_run(tmp_path, few_figures):
    text = report_of(tmp_path, diverged={("gift", 1): 4}).text
    assert "Diverged, counted with the last evaluation: gift s1 (a verdict must also" in text
    assert "Of 5 runs of gift, 1 diverged (95 % interval of the failure rate 1 to 72 %" in text
    assert "loss is not finite at step 4" in text


def test_unequal_seeds(tmp_path, few_figures):
    text = report_of(tmp_path, seeds={"grpo": [0, 1, 2, 3], "gift": [1, 2, 3]}).text
    assert "Unequal numbers of seeds: grpo 4, gift 3." in text


def test_other_seeds(tmp_path, few_figures):
    text = report_of(tmp_path, seeds={"grpo": [0, 1, 2, 3], "gift": [7, 8, 9]}).text
    assert re.search(r"gift .{0,300}3 and 4 seeds, not paired", text)


def test_nothing_finished(tmp_path, few_figures):
    unfinished = {(m, s): 3 for m in ("grpo", "gift") for s in range(2)}
    text = report_of(tmp_path, seeds=2, unfinished=unfinished).text
    assert "No run has finished, so no method can be judged yet." in text
    assert "steps.jsonl: the last line is torn" in text
    assert re.search(r"grpo-arithmetic-s0-\w+ unfinished 3 ", text)


def test_some_finished(tmp_path, few_figures):
    text = report_of(tmp_path, seeds=2, unfinished={("gift", 0): 3, ("gift", 1): 3}).text
    assert "No run of gift has finished" in text
    assert "2 of 4 runs are not finished" in text
    assert "Cannot be judged: no finished run of gift" in text


def test_a_suite_without_runs(tmp_path, few_figures):
    (tmp_path / "suite.json").write_text('{"schema_version": 1, "methods": ["gift"]}')
    written = write_report(tmp_path)
    assert "There are no runs here, so there is nothing to report." in page(written).text
    assert "no method" in written.paths[1].read_text() or "0 methods" in page(written).text


def test_runs_without_evaluations(tmp_path, few_figures):
    suite = write_suite(tmp_path / "suite", **SMALL, seeds=2)
    for file in suite.glob("*/evals.parquet"):
        file.unlink()
    text = page(write_report(suite)).text
    assert "no evals.parquet" in text
    assert "No answers were recorded." in text


def test_two_tasks(tmp_path, few_figures):
    one = write_suite(tmp_path / "a", **SMALL, seeds=2)
    two = write_suite(tmp_path / "b", **SMALL, seeds=2, task="fractions_hard")
    written = write_report([one, two], tmp_path / "out")
    names = {p.name for p in written.paths}
    assert {"forest-arithmetic.svg", "forest-fractions-hard.svg"} <= names
    assert "On arithmetic, " in page(written).text
    assert written.paths[0] == tmp_path / "out" / "report.html"


def test_hostile_text_stays_text(tmp_path, few_figures):
    suite = write_suite(tmp_path / "suite", **SMALL, seeds=2)
    spoil(suite)
    html = write_report(suite).paths[0].read_text()
    found = Page(html)
    assert [t for t, _ in found.tags].count("script") == 1
    assert "img" not in [t for t, _ in found.tags]
    assert "<script>document.title='owned'</script>" in found.text  # as text
    assert "{{7*7}}" in found.text
    assert "\x1b" not in html and "\u202e" not in html


def spoil(suite: Path) -> None:
    """Every text that a model or a data set wrote becomes hostile."""
    for file in suite.glob("*/evals.parquet"):
        table = pq.read_table(file)
        for name in ("response", "extracted", "prompt", "gold"):
            column = table[name].to_pandas()
            column[column.notna()] = HOSTILE
            place = table.column_names.index(name)
            table = table.set_column(place, name, pa.array(column, pa.string()))
        pq.write_table(table, file)
    for file in suite.glob("*/run.json"):
        text = file.read_text().replace(
            '"warnings": []', '"warnings": ["<script>alert(1)</script>"]'
        )
        file.write_text(text.replace('"synthetic"', '"<img src=x onerror=alert(2)>"'))


def test_a_method_may_have_any_name(tmp_path, few_figures):
    suite = write_suite(tmp_path / "suite", methods=("grpo", 'a<b>&"$_%#'), seeds=2,
                        questions=8, evaluations=2, steps=4)  # fmt: skip
    written = write_report(suite)
    found = page(written)
    assert 'a<b>&"$_%#' in found.text
    assert "b" not in [t for t, _ in found.tags]
    assert r"a\textless{}b" in (suite / "report" / "tables" / "main.tex").read_text()


def test_a_report_is_written_again_in_place(tmp_path, few_figures):
    suite = write_suite(tmp_path / "suite", **SMALL, seeds=2)
    first = write_report(suite)
    before = {p.name: p.read_bytes() for p in first.paths if p.suffix in (".svg", ".csv", ".png")}
    second = write_report(suite)  # its own folder is no run
    assert [*first.paths] == [*second.paths]
    after = {p.name: p.read_bytes() for p in second.paths if p.suffix in (".svg", ".csv", ".png")}
    assert before == after
    shutil.rmtree(suite / "report")
