"""The primary specification of a comparison: the choices that are made before the runs."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator


class Specification(BaseModel):
    """What a verdict is about: the table `[primary]` of a recipe. The control and the margin of
    equivalence stand beside it, as `control` and `margin` of the suite.

    Everything that could as well have been chosen otherwise is a neighbour of it (results/
    neighbours.py): the verdict says whether it survives there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Literal["avg", "maj"] = "avg"  # mean of the samples' scores, or of their majority
    decoding: str | None = None  # greedy | sampled | T=0.6; None: sampled where that was evaluated
    split: str | None = None  # None: test
    axis: Literal["end", "samples", "tokens", "flops"] = "end"  # end of the run, or at equal cost
    reading: Literal["headline", "strict"] = "headline"  # of the checker
    checkpoint: Literal["last", "selected"] = "last"  # selected: best on validation questions
    family: Literal["control", "pairs"] = "control"  # each against the control, or every pair

    @field_validator("decoding")
    @classmethod
    def _known(cls, decoding: str | None) -> str | None:
        if decoding and not re.fullmatch(r"greedy|sampled|T=\d+(\.\d+)?", decoding):
            raise ValueError("expected greedy, sampled, or a temperature such as 'T=0.6'")
        return decoding
