"""The help of every command, 100 columns wide, as golden files.

As a script, `python -m tests.golden.help` or `just help-texts`, it writes them anew: do that where a change of the
command line was meant, and read the difference.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from typer.main import get_command

from cxrssl.cli.app import app
from tests.cli.command import run

FOLDER = Path(__file__).parent / "help"
PLACE = {"COLUMNS": "100"}


def command_words() -> list[str]:
    """Return the words of every command and group, as "cohort show"; of the program itself, none."""
    return list(_walk(get_command(app), ""))


def _walk(command: Any, words: str) -> Iterator[str]:
    yield words
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _walk(child, f"{words} {name}".strip())


def read_help(words: str) -> str:
    """Return what `cxrssl WORDS --help` prints."""
    with patch.dict(os.environ, PLACE):
        found = run(*words.split(), "--help")
    assert found.returncode == 0, found.stderr
    return found.stdout


def path_of(words: str) -> Path:
    """Return the golden file of a command."""
    return FOLDER / f"{words.replace(' ', '-') or 'cxrssl'}.txt"


def write() -> None:
    """Write the golden file of every command, and remove those of commands that are gone."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for words in command_words():
        path_of(words).write_text(read_help(words))


if __name__ == "__main__":
    write()
