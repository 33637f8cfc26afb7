"""The contract of ``fim.inference``: ``CodeCompleter`` whole, streamed and in batches."""

from __future__ import annotations

import pytest

from fim.config import InferSettings
from fim.errors import InvalidSettingError
from fim.inference import CodeCompleter
from fim.types import ContextItem
from scripted_model import END_ID, Script, ScriptedModel, ScriptEncoder


@pytest.fixture
def completer() -> CodeCompleter:
    script = Script([[b"re", b"turn", b" 1", END_ID]])
    settings = InferSettings(max_new_tokens=16, token_healing=False)
    return CodeCompleter(
        model=ScriptedModel(script), encoder=ScriptEncoder(script), settings=settings
    )


def test_whole_and_streamed_are_the_same_text(completer: CodeCompleter) -> None:
    whole = completer.complete("def one():\n    ", "\n", language="Python")
    assert (whole.text, whole.stop_reason) == ("return 1", "end")
    pieces = list(completer.stream("def one():\n    ", "\n", language="Python"))
    assert len(pieces) > 1
    assert "".join(pieces) == whole.text


def test_context_and_generation_parameters_are_taken(completer: CodeCompleter) -> None:
    context = (ContextItem(text="ONE = 1\n", path="one.py"),)
    assert completer.complete("x", "", context=context, max_new_tokens=2).text == "return"
    with pytest.raises(InvalidSettingError, match="temperature"):
        completer.complete("x", "", temperature=-1.0)
