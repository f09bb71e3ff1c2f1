"""Comparisons: resampled once, published, read ever after; damaged or out of date, made again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.evaluate.compare import compare_evaluations, group_evaluations, list_pairs, publish_comparisons
from cxrssl.records.comparison import DIFFERENCES, list_comparisons, open_comparison
from cxrssl.report.write import write_report
from cxrssl.results.sql import list_damage
from cxrssl.results.store import refresh_store
from cxrssl.stats import measure
from tests.records.breaking import edit_manifest, with_value
from tests.report.test_report import evaluations_of, make_evaluation

VANILLA, FUSED, UNTRAINED = "vanilla-on-mimic", "with-sex-on-mimic", "untrained-on-mimic"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "with-sex", features=("sex",), skill=3.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    return workspace


def forbid_resampling(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        pytest.fail("a resample was drawn")

    monkeypatch.setattr(measure, "draw_subject_counts", fail)


def only_damage(workspace: Workspace) -> str:
    _, (damage,) = list_comparisons(workspace)
    return damage.sentence


def test_a_second_report_draws_no_resample(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_report(workspace)
    forbid_resampling(monkeypatch)
    assert write_report(workspace).markdown == first.markdown


def test_published_differences_equal_those_made_now_to_the_last_digit(workspace: Workspace) -> None:
    write_report(workspace)
    evaluations = {each.eval_id: each for each in evaluations_of(workspace)}
    records, damage = list_comparisons(workspace)
    assert not damage
    pairs = [(each.settings.eval_id, each.settings.against_id) for each in records]
    assert sorted(pairs) == [(VANILLA, UNTRAINED), (FUSED, UNTRAINED), (FUSED, VANILLA)]
    for each, (a, b) in zip(records, pairs, strict=True):
        now = compare_evaluations(evaluations[a], evaluations[b])
        assert repr(each.differences) == repr(now)


def test_a_damaged_comparison_is_named_and_made_again(workspace: Workspace) -> None:
    first = write_report(workspace)
    path = list_comparisons(workspace)[0][0].path
    good = (path / DIFFERENCES).read_bytes()
    (path / DIFFERENCES).write_bytes(good.replace(b"1", b"2", 1))
    what = "differences.json is damaged: its SHA-256 does not match the manifest"
    assert only_damage(workspace) == f"comparison {path.name}: {what}"
    second = write_report(workspace)
    assert [each.sentence for each in second.damage] == [f"comparison {path.name}: {what}"]
    assert f"- comparison {path.name}: {what}" in second.markdown
    assert (path / DIFFERENCES).read_bytes() == good
    with open_database(refresh_store(workspace), read_only=True) as database:
        assert list_damage(database) == []
    assert write_report(workspace).markdown == first.markdown


def test_an_evaluation_that_is_made_again_is_compared_again_in_the_same_place(workspace: Workspace) -> None:
    pairs = list_pairs(evaluations_of(workspace))
    before = publish_comparisons(workspace, pairs)
    make_evaluation(workspace, "vanilla", skill=0.5)
    after = publish_comparisons(workspace, list_pairs(evaluations_of(workspace)))
    assert repr(before[VANILLA, UNTRAINED]) != repr(after[VANILLA, UNTRAINED])
    assert repr(before[FUSED, UNTRAINED]) == repr(after[FUSED, UNTRAINED])
    assert len(list_comparisons(workspace)[0]) == 3


def test_another_way_of_comparing_is_another_comparison(workspace: Workspace) -> None:
    publish_comparisons(workspace, list_pairs(evaluations_of(workspace)))
    record = open_comparison(list_comparisons(workspace)[0][0].path)
    assert replace(record.settings, method="permutation").comparison_id == record.comparison_id
    assert replace(record.settings, method="permutation") != record.settings


def test_what_cannot_be_compared_says_why_and_publishes_nothing(workspace: Workspace) -> None:
    (a, *_), *_ = list_pairs(evaluations_of(workspace))
    other = replace(a, settings=replace(a.settings, probe=replace(a.settings.probe, seed=1)))
    differences = publish_comparisons(workspace, [(a, other)])
    assert differences == {(a.eval_id, a.eval_id): "these evaluations are not of the same test films and labels"}
    assert list_comparisons(workspace) == ([], [])


def test_a_comparison_that_a_newer_version_made_stays_as_it_is(workspace: Workspace) -> None:
    write_report(workspace)
    folder = workspace.comparisons / list_comparisons(workspace)[0][0].comparison_id
    edit_manifest(folder, with_value(99, "format_version"))
    before = (folder / "manifest.json").read_bytes()
    what = f"{folder.name} was written by a newer cxrssl"
    assert what in publish_comparisons(workspace, list_pairs(evaluations_of(workspace))).values()
    assert f"- comparison {folder.name}: {what}" in write_report(workspace).markdown
    assert (folder / "manifest.json").read_bytes() == before


def test_evaluations_of_two_ways_of_probing_stand_in_two_tables(workspace: Workspace) -> None:
    make_evaluation(workspace, "newer", protocol_version=99)
    groups = group_evaluations(evaluations_of(workspace))
    assert sorted(len(group) for group in groups) == [1, 3]
