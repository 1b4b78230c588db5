"""How figures look: a method's colour, dashes and marker, the same in every figure of every report;
sizes, fonts and the words of the axes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.typing import LineStyleType, RcKeyType

WIDE, COLUMN = 7.0, 3.5  # inches: a page's text and a column of a two-column paper (or a phone)

MINUS = "−"
INK, FAINT, RULE, SHADE = "#1b1b1f", "#62626b", "#d4d4da", "#e9e9ee"

# Twelve colours that stay apart in every pair for readers with full, red-weak or green-weak sight
# (a test computes it): Okabe & Ito (2008) without yellow, which has too little contrast on white,
# then five found by search. Dashes and marks differ too. Black is not quite black: SVG leaves out
# a fill that is its default, and then a dark page could not change it.
COLOURS = (
    "#0a0a0a", "#e69f00", "#0072b2", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#8400cd",
    "#661100", "#e6194b", "#3b0f70", "#882255",
)  # fmt: skip
DASHES: tuple[LineStyleType, ...] = (
    "-", (0, (5, 1.6)), (0, (5, 1.6, 1.2, 1.6)), (0, (1.4, 1.2)), (0, (9, 2)), (0, (3, 1.2)),
    (0, (5, 1.4, 1.2, 1.4, 1.2, 1.4)), (0, (9, 1.6, 1.2, 1.6)), (0, (2.4, 2.4)),
    (0, (9, 1.6, 3, 1.6)), (0, (3, 1.2, 1.2, 1.2)), (0, (7, 1.4, 2.4, 1.4, 2.4, 1.4)),
)  # fmt: skip
DASHED: LineStyleType = (0, (4, 3))  # a level to compare with
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*", "p", "h")
ORDER = (
    "sft", "rift", "grpo", "grao", "gift", "dpo", "ppo", "rft", "una", "dft", "gift-author-code",
    "naive", "unlikelihood", "kto", "ipo", "simpo", "orpo", "reinforce", "rloo",
    "reinforce++", "dr-grpo", "dapo", "gspo", "cispo", "nft", "psr", "nsr", "topr",
)  # fmt: skip

AXES = {
    "updates": "optimiser updates", "samples": "samples", "tokens": "tokens (generated + trained)",
    "flops": "FLOPs", "seconds": "seconds",
}  # fmt: skip
DIVERGING = LinearSegmentedColormap.from_list("loses-wins", ["#a53e00", "#f4f1ee", "#005b8f"])

RC: dict[RcKeyType, object] = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 8.5,
    "text.color": INK, "text.parse_math": False,
    "axes.titlesize": 8.5, "axes.titlelocation": "left", "axes.labelsize": 8.5,
    "axes.edgecolor": FAINT, "axes.labelcolor": INK, "axes.linewidth": 0.6,
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": RULE, "grid.linewidth": 0.5,
    "xtick.color": FAINT, "xtick.labelsize": 8, "xtick.major.width": 0.6,
    "ytick.color": FAINT, "ytick.labelsize": 8, "ytick.major.width": 0.6,
    "legend.frameon": False, "legend.fontsize": 8, "lines.linewidth": 1.5, "lines.markersize": 4.5,
    "hatch.linewidth": 0.5,
    "figure.dpi": 100, "savefig.dpi": 200, "path.simplify_threshold": 0.2,
    "svg.fonttype": "none", "svg.hashsalt": "evenbench", "pdf.fonttype": 42,
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a method is drawn, everywhere."""

    colour: str
    dashes: LineStyleType
    marker: str


def looks(methods: Iterable[str]) -> dict[str, Look]:
    """Name -> Look: known methods in a fixed order, then others by name. The first twelve of ORDER
    look the same in any company; a later name takes the next look that is free. Up to twelve differ
    in colour, in dashes and in marker each; more repeat colours, with other dashes and markers."""
    given = set(methods)
    known = [name for name in ORDER if name in given]
    taken: Counter[int] = Counter()
    found = {}
    for name in [*known, *sorted(given - set(known))]:
        fewest = min(taken[i] for i in range(len(COLOURS)))
        wanted = ORDER.index(name) if name in ORDER else 0
        ahead = ((wanted + i) % len(COLOURS) for i in range(len(COLOURS)))
        slot = next(i for i in ahead if taken[i] == fewest)
        dashes, marker = (slot + 5 * fewest) % len(DASHES), (slot + 7 * fewest) % len(MARKERS)
        found[name] = Look(COLOURS[slot], DASHES[dashes], MARKERS[marker])
        taken[slot] += 1
    return found


def css_class(method: str) -> str:
    """The class of a method's marks in an SVG of a page, whatever characters its name has."""
    return f"m-{method.encode().hex()}"


CSS = {INK: "--ink", FAINT: "--faint", RULE: "--rule", SHADE: "--shade"} | {
    colour: f"--c-{colour[1:]}" for colour in COLOURS
}
