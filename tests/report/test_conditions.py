"""Conditions on films in reports: an id in one is in no file that may be shared, and stands in what must not be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from cxrssl.cli.compare import _describe_unlike
from cxrssl.cli.probed import describe_asked
from cxrssl.core.durable import hash_settings
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.contrast import explain_terms
from cxrssl.records.eval_settings import Carried, ProbeSettings
from cxrssl.records.run import RunDescription
from cxrssl.records.unlike import Unlike
from cxrssl.report.conditions import conditions_as, hash_recipe, show_asked, show_condition
from cxrssl.report.facts import _own_differences
from cxrssl.report.figures.terms import hash_terms
from cxrssl.report.small import SmallCells
from cxrssl.report.verify_numbers import _name_row
from cxrssl.report.write import write_report
from tests.report.test_report import evaluations_of, make_evaluation

ID = "10000032"
WHERE = f"subject_id <> '{ID}' AND view = 'PA'"
PROBE = ProbeSettings(num_resamples=100, where=WHERE, where_sha256="w")


@pytest.mark.parametrize(("small", "is_shown"), [("hide", False), ("show", True)])
def test_an_id_in_a_condition_stands_only_where_all_is_shown(tmp_path: Path, small: SmallCells, is_shown: bool) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", skill=2.0, probe=PROBE)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2, probe=PROBE)
    folder = write_report(workspace, small=small, has_figures=True).folder
    texts = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    holding = {name for name, content in texts.items() if ID.encode() in content}
    assert ("report.html" in holding) == is_shown
    assert bool(holding) == is_shown
    assert (b"condition 1 (subject_id &lt;&gt; \xe2\x80\xa6" in texts["report.html"]) == (not is_shown)


def ask(where: str, films: str = "") -> str:
    return show_asked(replace(PROBE, where=where, where_sha256=films or None))


def test_two_conditions_that_read_the_same_are_told_apart_by_numbers_and_equal_films_have_one_number() -> None:
    with conditions_as("hide"):
        assert ask("subject_id = 's1'", "a") == "films where condition 1 (subject_id = …)"
        assert ask("view = 'PA'", "b") == "films where view = 'PA'"
        assert ask("subject_id = 's2'", "c") == "films where condition 2 (subject_id = …)"
        assert ask("subject_id IN ('s1')", "a") == "films where condition 1 (subject_id IN (…))"
        assert ask("lower(path) = 's'", "d") == "films where condition 3 (not shown)"
        assert show_condition("subject_id = 's2'") == "condition 2 (subject_id = …)", "of a recipe"
        assert show_condition("subject_id = 's4'") == "condition 4 (subject_id = …)"
        assert ask("subject_id = 's4'", "e") == "films where condition 4 (subject_id = …)"
        assert ask("subject_id = 's4'", "f") == "films where condition 5 (subject_id = …)", "of another cohort"
    with conditions_as("hide"):
        assert ask("subject_id = 's2'", "c").startswith("films where condition 1 ")
    assert ask("subject_id = 's2'", "c") == "films where subject_id = …"


def test_no_name_in_a_report_is_made_of_the_hash_of_films_or_of_the_words(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", probe=PROBE)
    (evaluation,) = evaluations_of(workspace)
    carried = Carried("mimic", "hash", "c", "t")
    names = []
    for where, films, terms in (("subject_id = 's1'", "a", "t"), ("subject_id = 's2'", "b", "u")):
        probe = replace(PROBE, where=where, where_sha256=films)
        of = replace(evaluation.settings, probe=probe, carried=replace(carried, terms_sha256=terms))
        recipe = {"data": {"where": where}}
        run = SimpleNamespace(where=where, recipe=recipe, recipe_sha256=hash_settings(recipe))
        with conditions_as("hide"):
            names.append((hash_terms(of), hash_recipe(cast(RunDescription, run))))
    assert names[0] == names[1]
    with conditions_as("hide"):
        first, second = (hash_terms(replace(of, probe=replace(PROBE, where_sha256=films))) for films in "ab")
    assert first != second


def test_a_report_with_numbered_conditions_is_verified(tmp_path: Path) -> None:
    """Numbers are of the report: the record of a curve is the same in a report of fewer conditions."""
    assert _name_row({"asked": ask_in_report(7)}, ["asked"]) == _name_row({"asked": ask_in_report(1)}, ["asked"])
    assert _name_row({"asked": "films where crp > 3"}, ["asked"]) == ("films where crp > 3",)


def ask_in_report(num: int) -> str:
    with conditions_as("hide"):
        return [ask(f"subject_id = 's{at}'", f"{at}") for at in range(num)][-1]


def test_a_recipe_and_unequal_terms_show_no_id(tmp_path: Path) -> None:
    recipes = [{"data": {"where": WHERE}}, {"data": {"where": ""}}]
    assert ID not in _own_differences(recipes)[0]
    assert "subject_id <> …" in _own_differences(recipes)[0]
    with conditions_as("hide"):
        assert _own_differences(recipes)[0] == "data.where = condition 1 (subject_id <> … AND view = …)"
    with conditions_as("show"):
        assert ID in _own_differences(recipes)[0]
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla")
    (evaluation,) = evaluations_of(workspace)
    other = replace(evaluation.settings, probe=PROBE)
    assert ID not in str(explain_terms(evaluation.settings, other))
    (line,) = describe_asked(replace(evaluation, settings=other))
    assert line.startswith("Only films where subject_id <> … AND view = …; left out:")


def test_compare_prints_no_id_of_a_recipe() -> None:
    rows = {"recipe": [Unlike("data.where", WHERE, "-"), Unlike("train.lr", "0.1", "0.2")]}
    printed = " ".join(" ".join(_describe_unlike(rows, ())).split())
    assert ID not in printed
    assert "data.where subject_id <> … AND view = … - train.lr 0.1 0.2" in printed
