"""The manual, README, --help and the code say the same."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest

from cxrssl.audit.checks import CHECKS
from cxrssl.cohort.features import FEATURES, find_feature
from cxrssl.cohort.maps.parse import FEATURES as MAPPED
from cxrssl.cohort.schema import create_tables
from cxrssl.cohort.sources import DATASETS
from cxrssl.core.errors import CxrsslError
from cxrssl.core.workspace import Workspace
from cxrssl.db import apply_schema, open_database, read_schema
from cxrssl.dicom import SYNTAXES
from cxrssl.images.decode import DECODE_RULES
from cxrssl.recipe.check import flatten
from cxrssl.recipe.keys import machine_keys, recipe_keys
from cxrssl.recipe.load import load_recipe, recipe_names
from tests.cli.command import run
from tests.pages import (
    COMMANDS,
    OPTIONS,
    PAGES,
    ROOT_OPTIONS,
    command_lines,
    find_command,
    quoted,
    table_rows,
    values_of,
)

each_page = pytest.mark.parametrize("page", PAGES)
RECIPE_KEYS = {key.name for key in recipe_keys()}
MACHINE_KEYS = {key.name for key in machine_keys()}
SECTIONS = "|".join(sorted({name.partition(".")[0] for name in RECIPE_KEYS}))


@each_page
def test_every_command_exists_with_the_options_that_are_given_to_it(page: str) -> None:
    for words in command_lines(PAGES[page]):
        command = find_command(words)
        assert command or words[0] in ROOT_OPTIONS or words[0] == "COMMAND", words
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= OPTIONS.get(command, ROOT_OPTIONS)


@each_page
def test_every_option_recipe_key_and_topic_that_is_named_exists(page: str) -> None:
    text = PAGES[page]
    assert quoted(text, "(--[a-z][a-z-]*)") <= ROOT_OPTIONS.union(*OPTIONS.values())
    assert quoted(text, rf"((?:{SECTIONS})\.[a-z_]+)") <= RECIPE_KEYS
    assert set(re.findall(r"topics? `([^`]+)`", text)) <= set(PAGES)
    lines = command_lines(text)
    lines += [line.split() for line in re.findall(r"`(--(?:set|machine|recipe) [^`]+)`", text)]
    for words in lines:
        assert {value.partition("=")[0] for value in values_of(words, "--set")} <= RECIPE_KEYS | {"section.key"}, words
        assert {value.partition("=")[0] for value in values_of(words, "--machine")} <= MACHINE_KEYS | {"key"}, words
        assert {each for each in values_of(words, "--recipe") if not each.endswith(".toml")} <= set(recipe_names())
        if words[0] == "help":
            assert set(words[1:]) <= {*PAGES, "TOPIC"}


@pytest.mark.parametrize("page", [name for name in PAGES if name != "README"])
def test_a_page_is_plain_text_that_a_terminal_shows(page: str) -> None:
    text = PAGES[page]
    assert re.match(rf"# {page}: [^\n]+\n\n", text)
    assert text.endswith("\n")
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 100
    shown = run("help", page)
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, text, "")


def test_topics_are_listed_with_a_line_each_and_an_unknown_one_gets_the_nearest() -> None:
    lines = run("help").stdout.splitlines()
    assert [line.split()[0] for line in lines[:-2]] == [name for name in PAGES if name != "README"]
    assert max(map(len, lines)) <= 100
    refused = run("help", "flims")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert 'nearest is "films"' in refused.stderr
    assert "cxrssl pretrain --help" in run("help", "pretrain").stderr


def test_the_overview_names_every_command() -> None:
    assert {re.sub("`", "", row[0]) for row in table_rows(PAGES["overview"])[1:]} == set(COMMANDS)


def test_groups_features_and_times_are_those_of_the_code() -> None:
    _, *rows = table_rows(PAGES["record"])
    found = {}
    for group, features, known in rows:
        names = [name for name in re.findall("`([a-z0-9_]+)`", features) if name in {each.name for each in FEATURES}]
        names = [name for name in names if find_feature(name).group == group.strip("`")]
        found[group.strip("`")] = (set(names), set(known.split(", ")))
    groups = dict.fromkeys(feature.group for feature in FEATURES)
    assert found == {
        group: (
            {feature.name for feature in FEATURES if feature.group == group},
            {feature.known for feature in FEATURES if feature.group == group},
        )
        for group in groups
    }


def test_every_link_status_has_its_line() -> None:
    (known,) = re.findall(r"link_status IN \(([^)]+)\)", read_schema("2_cohort.sql"))
    for status in re.findall("'([a-z_]+)'", known):
        assert re.search(rf"^    {status}  +\S", PAGES["record"], re.M), status


def test_the_datasets_and_what_a_map_fills_are_those_of_the_code() -> None:
    assert set(DATASETS) == set(re.findall(r"^([a-z]+)  +\S", PAGES["datasets"], re.M))
    listed = PAGES["datasets"].partition("FEATURE is\none of ")[2]
    assert set(re.findall(r"\w+", listed)) == set(MAPPED)


def test_the_rules_and_codecs_of_films_are_those_of_the_code() -> None:
    page = PAGES["films"]
    named = [rule for line in page.splitlines() for rule in re.split(r"  +", line.strip()) if line.startswith("    ")]
    assert set(DECODE_RULES) <= set(named)
    codecs: dict[str, set[str]] = {}
    for names, package in table_rows(page)[1:]:
        for name in names.replace(" (little endian)", "").split(", "):
            codecs.setdefault(package, set()).add(name)
    for name, package in SYNTAXES.values():
        assert name in codecs[package or "none is needed"]


def test_every_leak_is_listed_with_what_follows_from_it() -> None:
    rows = [row for row in table_rows(PAGES["leaks"]) if row[0].startswith("`")]
    assert {row[0].strip("`"): row[1] for row in rows} == {code: check.severity for code, check in CHECKS.items()}


def test_every_table_that_can_be_asked_is_listed() -> None:
    with open_database(None) as database:
        create_tables(database)
        apply_schema(database, "3_results.sql")
        tables = {name for (name,) in database.rows("SELECT table_name FROM information_schema.tables")}
    assert {name for row in table_rows(PAGES["sql"])[1:] for name in re.findall("`([a-z_]+)`", row[0])} == tables


def test_every_folder_of_a_workspace_is_listed() -> None:
    names = {name for name, value in vars(Workspace).items() if isinstance(value, property)} - {"store"}
    listed = {row[0].strip("`").partition("/")[0] for row in table_rows(PAGES["workspace"])[1:]}
    assert listed == names | {"experiments.duckdb"}


def test_every_key_of_a_machine_has_its_line() -> None:
    section = PAGES["training"].partition("## Settings of the machine")[2].partition("##")[0]
    assert set(re.findall(r"^    ([a-z_]+)  +\S", section, re.M)) == MACHINE_KEYS


def test_the_two_recipes_differ_in_what_the_page_on_the_method_says() -> None:
    strict, paper = (flatten(load_recipe(name)) for name in ("strict", "paper"))
    differ = {key: (strict[key], paper[key]) for key in strict if strict[key] != paper[key]}
    rows = [row for row in table_rows(PAGES["method"]) if row[0].startswith("`")]
    assert {key.strip("`"): (value_of(first), value_of(second)) for key, first, second, _ in rows} == differ


def value_of(text: str) -> object:
    return tomllib.loads(f"value = {text}")["value"]


def test_every_exit_code_is_explained() -> None:
    def codes(cls: type[CxrsslError]) -> Iterator[int]:
        yield cls.exit_code
        for child in cls.__subclasses__():
            yield from codes(child)

    listed = [int(row[0]) for row in table_rows(PAGES["exit-codes"])[1:]]
    assert listed == sorted({*codes(CxrsslError), 0, 130})
