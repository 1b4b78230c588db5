"""Laws of every registered objective. A new method is held to them by being registered."""

from __future__ import annotations

import pytest

import methods
from methods.contract import LAWS

from . import factory

CASES = factory.cases()


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("case", CASES, ids=map(factory.label, CASES))
def test_law(case, law):
    LAWS[law](methods.get(case[0], **case[1]))


def test_registry_describes_each_method():
    for name in methods.names():
        found = methods.entry(name)
        assert found.about
        assert (found.cls.__doc__ or "").strip()
        assert methods.get(name).needs().source in methods.get(name).needs().sources
