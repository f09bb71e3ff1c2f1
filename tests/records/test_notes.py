"""What was said of a run is read back as it was said."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from cxrssl.records.notes import add_note, read_notes


@pytest.mark.parametrize("word", ["nan", "inf", "-inf"])
def test_only_a_value_is_a_number(tmp_path: Path, word: str) -> None:
    add_note(tmp_path, {"tag": word})
    add_note(tmp_path, {"tag": "kept"})
    add_note(tmp_path, {"note": word})
    add_note(tmp_path, {"metric": word, "step": 3, "value": math.inf})
    notes = read_notes(tmp_path)
    assert (notes.tags, notes.note) == (tuple(sorted((word, "kept"))), word)
    assert [(each.key, each.step, each.value) for each in notes.added] == [(word, 3, math.inf)]
    add_note(tmp_path, {"untag": word})
    assert read_notes(tmp_path).tags == ("kept",)
