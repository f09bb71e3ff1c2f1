"""Conditions on films in reports: an id in one is in no file that may be shared, and stands in what must not be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cxrssl.cli.compare import _describe_unlike
from cxrssl.cli.probed import describe_asked
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.contrast import explain_terms
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.unlike import Unlike
from cxrssl.report.conditions import conditions_as, show_asked
from cxrssl.report.facts import _own_differences
from cxrssl.report.small import SmallCells
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
    assert (b"subject_id &lt;&gt; \xe2\x80\xa6" in texts["report.html"]) == (not is_shown)


def test_two_conditions_that_read_the_same_are_told_apart_by_the_films_that_meet_them() -> None:
    said = [show_asked(replace(PROBE, where=f"subject_id = '{at}'", where_sha256=f"{at}" * 64)) for at in (1, 2)]
    assert said == ["films where subject_id = … (set 111111)", "films where subject_id = … (set 222222)"]
    assert show_asked(replace(PROBE, where="view = 'PA'")) == "films where view = 'PA'"


def test_a_recipe_and_unequal_terms_show_no_id(tmp_path: Path) -> None:
    recipes = [{"data": {"where": WHERE}}, {"data": {"where": ""}}]
    assert ID not in _own_differences(recipes)[0]
    assert "subject_id <> …" in _own_differences(recipes)[0]
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
