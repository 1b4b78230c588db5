"""Some questions with every method's answers, to show what the numbers mean.

A fixed rule chooses them: questions on which the methods differ most, some at random (by content
hash), and those that are nearly always wrong or nearly always right. Answers are of one seed.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from results import Results, scores

KINDS = {
    "differ": "methods differ most",
    "random": "picked at random",
    "hard": "nearly always wrong",
    "easy": "nearly always right",
}
LONGEST = 2000  # characters of one text that are shown
GRADES = {  # others are right or wrong
    "unparsable_answer": "no answer found",
    "unparsable_gold": "reference answer not readable",
    "timeout": "checker ran out of time",
    "limit": "checker reached a limit",
}


@dataclass(frozen=True)
class Answer:
    correct: bool
    grade: str  # in words
    extracted: str
    tokens: int | None
    finished: bool
    text: str | None  # None where it was not stored


@dataclass(frozen=True)
class Answers:
    """One method's answers to one question."""

    method: str
    seed: int
    share: float  # of all sampled answers, over all seeds
    greedy: list[Answer]
    sampled: list[Answer]

    @property
    def right(self) -> int:
        return sum(a.correct for a in self.sampled)


@dataclass(frozen=True)
class Question:
    id: str
    task: str
    kind: str
    prompt: str
    gold: str
    methods: list[Answers]

    @property
    def place(self) -> int:
        """The position of its kind in KINDS."""
        return [*KINDS].index(self.kind)

    @property
    def range(self) -> str:
        """Least and largest share of right answers among the methods."""
        shares = [100 * m.share for m in self.methods]
        low, high = min(shares), max(shares)
        return f"{low:.0f} to {high:.0f} % right" if high - low >= 0.5 else f"{low:.0f} % right"


def score_table(results: Results, split: str | None = None) -> pd.DataFrame:
    """task, question_id and a column per method: avg@K over all seeds; NaN where not asked."""
    split = split or scores.headline_split(results)
    frame = scores.metric_scores(results, None, split)
    wide = frame.pivot_table("score", ["task", "question_id"], "method", observed=True)
    wide.columns = [str(c) for c in wide.columns]
    return wide.reset_index().astype({"task": str, "question_id": str})


def choose(table: pd.DataFrame, differ: int = 12, random: int = 8, ends: int = 4) -> dict[str, str]:
    """question_id -> kind. A question belongs to the first kind that selects it."""
    shares = table.set_index("question_id").drop(columns="task").dropna().sort_index()
    spread, mean = shares.max(axis=1) - shares.min(axis=1), shares.mean(axis=1)
    ranked = {
        "differ": spread[spread > 0].sort_values(ascending=False, kind="stable").head(differ).index,
        "random": shares.index[:random],
        "hard": mean.sort_values(kind="stable").head(ends).index,
        "easy": mean.sort_values(ascending=False, kind="stable").head(ends).index,
    }
    return {q: kind for kind in reversed(ranked) for q in ranked[kind]}


def pick(results: Results, split: str | None = None) -> list[Question]:
    """The chosen questions of each task with prompt, reference and every method's answers."""
    split = split or scores.headline_split(results)
    table = score_table(results, split)
    shown = _one_seed(results)
    if table.empty or shown.empty:
        return []
    rows = results.query(f"run in {shown['run'].astype(str).tolist()}").last_responses(split)
    rows = rows.astype({"question_id": str, "task": str, "method": str})
    questions = []
    for task, asked in table.groupby("task"):
        chosen, shares = choose(asked), asked.set_index("question_id")
        by_question = dict([*rows[rows["task"] == task].groupby("question_id")])
        for kind in KINDS:
            for name in sorted(q for q in chosen if chosen[q] == kind and q in by_question):
                answers = _answers(by_question[name], results.methods, shares.loc[name])
                questions.append(Question(
                    id=name, task=str(task), kind=kind, prompt=_first(by_question[name], "prompt"),
                    gold=_first(by_question[name], "gold"), methods=answers,
                ))  # fmt: skip
    return questions


def _one_seed(results: Results) -> pd.DataFrame:
    """One run a task and method: of the seed that most methods have."""
    runs = scores.counted(results)
    parts = []
    for _, own in runs.groupby("task", observed=True):
        seeds = own.groupby("seed")["method"].nunique()
        first = int(seeds.idxmax()) if len(seeds) else 0
        ranked = own.assign(other=own["seed"] != first).sort_values(["other", "seed"])
        parts.append(ranked.drop_duplicates("method"))
    return pd.concat(parts) if parts else runs


def _answers(rows: pd.DataFrame, methods: list[str], shares: pd.Series) -> list[Answers]:
    """The answers of each method that answered, in the given order."""
    made = []
    for method in methods:
        own = rows[rows["method"] == method].sort_values("sample")
        if own.empty:
            continue
        greedy, sampled = (
            [_answer(row) for row in own[own["decoding"] == decoding].to_dict("records")]
            for decoding in ("greedy", "sampled")
        )
        seed, share = int(own["seed"].iloc[0]), float(shares[method])
        made.append(Answers(method, seed, share, greedy=greedy, sampled=sampled))
    return made


def _answer(row: Mapping[Hashable, Any]) -> Answer:
    status, tokens = row.get("status"), row.get("tokens")
    correct = bool(row["correct"])
    grade = GRADES.get(str(status), "right" if correct else "wrong")
    return Answer(
        correct=correct, grade=grade, extracted=_text(row.get("extracted")) or "",
        tokens=None if tokens is None or tokens != tokens else int(tokens),
        finished=bool(row.get("finished", True)), text=_text(row.get("response")),
    )  # fmt: skip


def _first(rows: pd.DataFrame, column: str) -> str:
    known = rows[column].dropna() if column in rows else []
    return _text(known.iloc[0]) or "" if len(known) else ""


def _text(value: object) -> str | None:
    """The text, cut where it is very long; control characters are made visible."""
    if value is None or value != value:
        return None
    text = str(value)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} … ({len(text) - LONGEST:,} more characters)"
    return "".join(c if c.isprintable() or c in "\n\t" else f"⟨{ord(c):X}⟩" for c in text)
