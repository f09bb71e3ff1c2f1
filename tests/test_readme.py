"""README: short, its commands those of the parser, its test command what CI runs."""

from __future__ import annotations

import re

from tests.pages import COMMANDS, README, ROOT, command_lines


def test_readme_is_read_in_five_minutes() -> None:
    lines = README.splitlines()
    assert len(lines) <= 120
    assert max(map(len, lines)) <= 120


def test_readme_shows_the_way_from_data_to_a_report() -> None:
    named = {words[0] for words in command_lines(README)}
    assert {"demo", "ingest", "pretrain", "probe", "report", "help"} <= named
    assert named <= {name.split()[0] for name in COMMANDS}


def test_readmes_test_command_is_what_ci_runs() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "pip install uv && uv run just check" in README
    assert re.search(r"pip install --quiet uv\nuv run just check\n", script)
