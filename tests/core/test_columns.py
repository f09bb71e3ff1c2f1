"""Columns line up on a terminal, whatever the width of a letter."""

from __future__ import annotations

from rich.cells import cell_len

from cxrssl.core.columns import align_rows, cell_width, pad_cells


def test_cells_are_padded_to_the_widest_of_their_column_numbers_flush_right() -> None:
    assert align_rows([("a", "1"), ("bcd", "22")], right={1}) == ["a     1", "bcd  22"]
    assert align_rows([("a", "x"), ("bc", "")], indent="  ") == ["  a   x", "  bc"]
    assert align_rows([]) == []


def test_wide_letters_take_two_places_and_accents_none() -> None:
    for text in ("film", "胸部X線", "n\u0303", "é", "…", "0.734 [0.702, 0.765]", ""):
        assert cell_width(text) == cell_len(text), text
    (first, _), (second, _) = pad_cells([("胸", "a"), ("abc", "b")])
    assert cell_width(first) == cell_width(second) == 3
