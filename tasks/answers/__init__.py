"""The answer checker: does a response's final answer mean the same as the gold answer?"""

from tasks.answers.check import check, grade
from tasks.answers.extract import STYLES, extract
from tasks.answers.options import GRADER_VERSION, CheckResult, Options
from tasks.answers.protocols import gsm8k_strict, math_strict
from tasks.answers.workers.pool import grade_many

__all__ = [
    "GRADER_VERSION",
    "STYLES",
    "CheckResult",
    "Options",
    "check",
    "extract",
    "grade",
    "grade_many",
    "gsm8k_strict",
    "math_strict",
]
