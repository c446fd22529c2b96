"""Runs the examples in docstrings under the modules' real names; `torch` is there without an import line."""

from __future__ import annotations

import doctest
import importlib

import pytest
import torch
from sources import modules

WITH_EXAMPLES = [name for name, module in modules().items() if ">>> " in module.file.read_text()]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_give_what_they_say(name):
    outcome = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS,
                              extraglobs={"torch": torch})
    assert outcome.attempted > 0
    assert outcome.failed == 0
