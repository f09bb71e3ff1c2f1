"""README and the pages of the manual, and what they name: commands, options, keys, topics."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from typer.main import get_command

from cxrssl.cli.app import app
from cxrssl.cli.manual import read_topic, topic_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {"README": README, **{name: read_topic(name) for name in topic_names()}}


def leaf_commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command that can be run, by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaf_commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def options_of(command: Any) -> set[str]:
    """Return the options of a command, as they are typed."""
    options = (option for each in command.params for option in (*each.opts, *each.secondary_opts))
    return {"--help", *options}


PROGRAM = get_command(app)
COMMANDS = dict(leaf_commands(PROGRAM))
OPTIONS = {name: options_of(command) for name, command in COMMANDS.items()}
ROOT_OPTIONS = options_of(PROGRAM)


def command_lines(text: str) -> list[list[str]]:
    """Return the words after `cxrssl` of every command in an indented line or between backticks."""
    indented = (line.partition(" #")[0].strip() for line in text.splitlines() if line.startswith("    "))
    quoted = re.findall(r"`(cxrssl [^`]+)`", text)
    found = (re.search(r"(?:^|&& uv run |-m )cxrssl (?!=)(.+)", line) for line in [*indented, *quoted])
    return [shlex.split(match[1].partition(" < ")[0]) for match in found if match]


def find_command(words: list[str]) -> str:
    """Return the name of the command that the words begin with, empty if there is none."""
    return next((name for name in (" ".join(words[:2]), words[0]) if name in COMMANDS), "")


def values_of(words: list[str], option: str) -> list[str]:
    """Return what follows each occurrence of an option."""
    return [value for word, value in pairwise(words) if word == option]


def quoted(text: str, pattern: str) -> set[str]:
    """Return what the group of `pattern` matches at the beginning of what stands between backticks."""
    return set(re.findall(rf"`{pattern}", text))


def table_rows(text: str) -> list[list[str]]:
    """Return the cells of every row of the tables of a page, but their rules."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if set("".join(row)) - {"-"}]
