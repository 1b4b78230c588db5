"""The statistics of a comparison, as plain functions on arrays; docs/statistics.md says why each.

Shape suffixes: S seeds, Q questions, K samples of one question, T tasks, so `x_SQ` holds a score
per seed and question. Scores are shares (0..1) unless said otherwise. The seed is the replication
unit: where an interval is over questions alone its name says so.
"""

from .decisions import *  # noqa: F403
from .inference import *  # noqa: F403
from .psychometrics import *  # noqa: F403
from .questions import *  # noqa: F403
from .sequential import *  # noqa: F403
from .summaries import *  # noqa: F403
