"""The help of every command is the one that was last read by a person: `just help-texts` writes it anew."""

from __future__ import annotations

import pytest

from tests.golden.help import FOLDER, command_words, path_of, read_help

COMMANDS = command_words()


@pytest.mark.parametrize("words", COMMANDS)
def test_the_help_of_a_command_is_its_golden_file(words: str) -> None:
    text = read_help(words)
    assert text == path_of(words).read_text(), "if this was meant: just help-texts"
    assert max(map(len, text.splitlines())) <= 100


def test_there_is_no_golden_file_of_a_command_that_is_gone() -> None:
    assert sorted(FOLDER.iterdir()) == sorted(path_of(words) for words in COMMANDS)
