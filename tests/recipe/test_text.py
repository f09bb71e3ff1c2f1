"""Values of a recipe as TOML: whatever a text holds, it is read back."""

from __future__ import annotations

import tomllib

from cxrssl.core.text import valid
from cxrssl.recipe.text import format_value
from tests.hostile import hostile_texts


def test_every_text_is_read_back() -> None:
    for text in hostile_texts(500, seed=4):
        written = f"a = {format_value(text)}\nb = {format_value((text, 1, True))}"
        assert written.isascii()
        assert tomllib.loads(written) == {"a": valid(text), "b": [valid(text), 1, True]}
