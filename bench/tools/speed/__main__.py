"""Measures the one point of growth that is given as JSON."""

import json
import sys

from .growth import Point, measure
from .work import Work

given = json.loads(sys.argv[1])
print(json.dumps(measure(Point(**{**given, "work": Work(**given["work"])}))))
