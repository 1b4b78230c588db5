"""Where the variance of a reported mean comes from: a bar of shares for each method."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .look import COLOURS, INK
from .parts import is_narrow, panel
from .plot import Plot

PARTS = {"seed": "seed", "question": "question", "residual": "seed × question",
         "decoding": "decoding"}  # fmt: skip
PAINT = dict(zip(PARTS, (COLOURS[2], COLOURS[1], COLOURS[5], COLOURS[6]), strict=True))
HATCH = dict(zip(PARTS, ("", "//", "..", "xx"), strict=True))  # also without colours


def variance(shares: pd.DataFrame, *, name: str = "variance") -> Plot:
    """Shares of the variance of each method's mean, and its standard error.

    shares: method, seeds, questions, samples, a column per name of PARTS (shares of 1; NaN where a
    part cannot be told apart), error (standard error of the mean, a share of 1).
    """
    rows = shares.reset_index(drop=True)

    def draw(width: float) -> Figure:
        narrow = is_narrow(width)
        figure, ax = panel(width, 0.95 + 0.27 * len(rows) + 0.2 * narrow)
        place, left = np.arange(len(rows))[::-1], np.zeros(len(rows))
        for part, label in PARTS.items():
            share = 100 * rows[part].fillna(0).to_numpy(float)
            ax.barh(place, share, left=left, height=0.72, color=PAINT[part], hatch=HATCH[part],
                    edgecolor="white", lw=0.4, label=label)  # fmt: skip
            left = left + share
        for y, error in zip(place, rows["error"], strict=True):
            ax.annotate(
                f"±{100 * error:.1f}", (1, y), xytext=(5, 0), textcoords="offset points",
                xycoords=("axes fraction", "data"), va="center", fontsize=8,
            )  # fmt: skip
        ax.set(xlim=(0, 100), xlabel="share of the variance of the mean (%); right: its standard"
               + ("\n" if narrow else " ") + "error in points")  # fmt: skip
        ax.set_yticks(place, [str(m) for m in rows["method"]])
        ax.tick_params(axis="y", length=0, labelcolor=INK, labelsize=8.5)
        ax.grid(visible=False)
        figure.legend(loc="outside lower center", ncols=2 if narrow else 4, handlelength=1.6)
        return figure

    said = (
        f"{r.method}: standard error {100 * r.error:.1f} points, {100 * r.seed:.0f} % from seeds"
        for r in rows.itertuples()
    )
    title, alt = "Where the variance of the mean comes from", "; ".join(said)
    return Plot(name=name, title=title, alt=alt, data=rows, draw=draw)
