"""README, --help and the code say the same."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from cxrssl.cli.app import app
from cxrssl.cohort.features import FEATURES
from cxrssl.core.errors import CxrsslError
from cxrssl.recipe.load import recipe_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def leaf_commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaf_commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


COMMANDS = dict(leaf_commands(get_command(app)))


def command_lines() -> list[list[str]]:
    lines = [line.strip().split("#")[0] for line in README.splitlines() if line.startswith("    ")]
    return [shlex.split(line[line.index("cxrssl ") :]) for line in lines if "cxrssl " in line]


def test_every_command_line_of_readme_names_a_command_and_options_that_exist() -> None:
    assert len(command_lines()) >= 9
    for _, *words in command_lines():
        command = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
        known = {option for parameter in COMMANDS[command].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, (command, words)


def test_every_command_stands_in_readmes_table_and_every_option_it_mentions_exists() -> None:
    in_table = set(re.findall(r"^\| `([\w ]+)` \|", README, re.M))
    assert set(COMMANDS) <= in_table
    options = {option for command in COMMANDS.values() for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"`(--[a-z-]+)", README)) <= options | {"--help", "--allow-overlap"}


def test_groups_features_recipes_and_exit_codes_are_those_of_the_code() -> None:
    table = README[README.index("## What the health record is") :]
    for feature in FEATURES:
        row = next(line for line in table.splitlines() if line.startswith(f"| `{feature.group}`"))
        assert f"`{feature.name}`" in row
    for name in recipe_names():
        assert f"--recipe {name}" in README

    def codes(cls: type[CxrsslError]) -> Iterator[int]:
        yield cls.exit_code
        for child in cls.__subclasses__():
            yield from codes(child)

    sentence = README[README.index("## Exit codes") :]
    for code in {*codes(CxrsslError), 130}:
        assert re.search(rf"\b{code}\b", sentence), code


def test_readmes_test_command_is_what_ci_runs() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert "pip install uv && uv run just check" in README
    assert re.search(r"pip install --quiet uv\nuv run just check\n", script)
