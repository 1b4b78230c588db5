"""The official scores of GSM8K and MATH, as their authors define them: only strings.

They are reported beside the flexible score, because the same outputs differ by tens of points.
"""

import re

from tasks.answers.extract import after_thinking

_GSM8K = re.compile(r"#### (-?[0-9.,]+)")


def gsm8k_answer(text: str) -> str | None:
    """GSM8K: the first `#### n`, commas dropped; None where there is none."""
    match = _GSM8K.search(text)
    return match.group(1).replace(",", "") if match else None


def gsm8k_strict(response: str, gold: str) -> bool:
    """GSM8K's official score. `gold` is a reference solution with `#### n`, or the number alone."""
    answer = gsm8k_answer(after_thinking(response))
    target = gsm8k_answer(gold) or gold.strip().replace(",", "")
    return answer is not None and answer == target


def math_answer(text: str) -> str | None:
    """MATH: the content of the last `\\boxed` (or `\\fbox`), braces matched."""
    start = text.rfind("\\boxed")
    if start < 0:
        start = text.rfind("\\fbox")
    if start < 0:
        return None
    if text.startswith("\\boxed ", start):
        return text[start + len("\\boxed ") :].split("$", 1)[0]
    opened, depth = text.find("{", start), 0
    if opened < 0:
        return None
    for place in range(opened, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[opened + 1 : place]
    return None


def _braced_fractions(text: str) -> str:
    r"""`\frac12` and `\frac1{72}` with braces around each single-character argument."""
    return re.sub(
        r"\\frac\s*(?:\{([^{}]*)\}|([^{\\\s]))(?:([^{\\\s])|(?=\{))",
        lambda m: f"\\frac{{{m[2] if m[1] is None else m[1]}}}" + (f"{{{m[3]}}}" if m[3] else ""),
        text,
    )


def math_normal(text: str) -> str:
    """MATH's normal form of an answer: layout, units and degrees dropped, fractions braced."""
    text = text.replace("\n", "").replace("\\!", "").replace("\\\\", "\\")
    text = text.replace("tfrac", "frac").replace("dfrac", "frac")
    text = text.replace("\\left", "").replace("\\right", "")
    text = text.replace("^{\\circ}", "").replace("^\\circ", "").replace("\\$", "")
    parts = text.split("\\text{ ")
    if len(parts) == 2:  # a unit at the right end
        text = parts[0]
    text = text.replace("\\%", "").replace("%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    if text.startswith("."):
        text = "0" + text
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:  # "k = 3"
        text = sides[1]
    text = re.sub(r"\\sqrt(?!\{)(.)", r"\\sqrt{\1}", text).replace(" ", "")
    text = _braced_fractions(text)
    if text == "0.5":
        text = "\\frac{1}{2}"
    if slash := re.fullmatch(r"(-?\d+)/(-?\d+)", text):
        text = f"\\frac{{{slash[1]}}}{{{slash[2]}}}"
    return text


def math_strict(response: str, gold: str) -> bool:
    """MATH's official score: the last box equals the gold answer in normal form, as strings.

    `gold` is the answer, or a reference solution whose last box is the answer.
    """
    answer = math_answer(after_thinking(response))
    target = math_answer(gold) or gold
    return answer is not None and math_normal(answer) == math_normal(target)
