"""What the papers claim, tested on runs.

findings = evaluate(results.load("runs/quick"))
print(claims_table(findings).text())
"""

from .judge import Finding, evaluate
from .measure import per_run
from .read import Claim, ClaimError, load_claims
from .show import claim_sentences, claims_table

__all__ = [
    "Claim", "ClaimError", "Finding", "claim_sentences", "claims_table", "evaluate", "load_claims",
    "per_run",
]  # fmt: skip
