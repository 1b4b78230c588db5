"""Units: which texts name the same one, and which contradict each other."""

import re

from tasks.answers.words.vocabulary import UNITS

COMPOUND = re.compile(r"(?<![\^{\d-])\d")  # a number in a unit's text that is no exponent
TEMPERATURES = frozenset(("celsius", "fahrenheit", "kelvin"))
_UNIT_TOKEN = re.compile(r"[a-z]+|\^\s*\{?\s*-?\s*\d+\s*\}?|/")


def unit_key(words: str) -> tuple[tuple[str, int], ...] | None:
    """A unit as (name, power) pairs, None where a word is not a known unit."""
    text = words.lower().replace(".", "").replace("$", "").strip()
    text = text.replace("mph", "mile/hour").replace("kph", "km/hour").replace("kmh", "km/hour")
    powers: dict[str, int] = {}
    sign, factor, last = 1, 1, ""
    for token in _UNIT_TOKEN.findall(text):
        if token in ("/", "per"):
            sign = -1
        elif token in ("square", "sq"):
            factor = 2
        elif token in ("cubic", "cu"):
            factor = 3
        elif token in ("squared", "cubed"):
            if last:
                powers[last] *= 2 if token == "squared" else 3
        elif token[0] == "^":
            if last:
                powers[last] *= int(re.sub(r"[^\d-]", "", token) or 1)
        else:
            last = "unit" if token in ("unit", "units") else UNITS.get(token, "")
            if not last:
                return None
            powers[last] = powers.get(last, 0) + sign * factor
            factor = 1
    if len(powers) > 1 and not TEMPERATURES.isdisjoint(powers):
        powers.pop("degree", None)  # degrees Celsius
    return tuple(sorted(powers.items()))


def conflicting(one: str, two: str) -> bool:
    """Whether two unit texts name different known units."""
    left, right = unit_key(one), unit_key(two)
    if left is None or right is None or left == right:
        return False
    areas = [power for _, power in left] == [power for _, power in right]
    unnamed = any(name == "unit" for name, _ in (*left, *right))
    return not (areas and unnamed)  # "square units" beside "cm^2"
