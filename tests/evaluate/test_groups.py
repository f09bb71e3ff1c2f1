"""Groups of seeds: what is one setup, what stands against it, and by how much it is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.compare import compare_evaluations
from cxrssl.evaluate.groups import (
    Resamples,
    SeedGroup,
    compare_groups,
    find_untrained_group,
    find_vanilla_group,
    find_wrong_groups,
    group_seeds,
    score_group,
)
from cxrssl.records.eval_settings import CandidateSettings
from cxrssl.records.features import Architecture
from cxrssl.records.setup import read_setups
from cxrssl.stats.scores import resample_metrics
from tests.records.folders import make_run
from tests.report.test_report import evaluations_of, make_evaluation

SHAPE = Architecture("vit-tiny", 16, 224, 0.5, 0.3, seed=0)


def make_arm(
    workspace: Workspace,
    name: str,
    seeds: Sequence[int] = (0, 1, 2),
    skill: float = 1.0,
    label: str = "",
    **ehr: Any,
) -> None:
    """Publish a run of each seed, with its evaluation; seeds differ a little in skill."""
    for seed in seeds:
        recipe = {"model": {"backbone": "vit-tiny"}, "ehr": {"features": [], **ehr}, "train": {"seed": seed, "lr": 0.1}}
        make_run(workspace, f"{name}-s{seed}", range(3), end="finish", recipe=recipe)
        features = tuple(ehr.get("features", ()))
        shape = replace(SHAPE, seed=seed)
        place = f"{name}-s{seed}"
        make_evaluation(workspace, place, features=features, skill=skill + seed / 10, shape=shape, label=label or name)


def make_untrained(workspace: Workspace, seeds: Sequence[int] = (0, 1, 2)) -> None:
    for seed in seeds:
        shape = replace(SHAPE, seed=seed)
        label = f"random vit-tiny, seed {seed}"
        make_evaluation(workspace, f"untrained-s{seed}", "random-init", skill=0.2, shape=shape, label=label)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    make_arm(workspace, "vanilla", skill=1.0)
    make_arm(workspace, "right", skill=1.5, features=["sex"])
    make_arm(workspace, "shuffled", skill=0.8, features=["sex"], control="shuffled")
    make_arm(workspace, "zeros", seeds=(0, 1), skill=0.8, features=["sex"], control="zeros")
    make_untrained(workspace)
    make_evaluation(workspace, "view-only", kind="view-only", features=("view",), skill=0.1)
    return workspace


def groups_of(workspace: Workspace) -> dict[str, SeedGroup]:
    return {group.label: group for group in group_seeds(evaluations_of(workspace), read_setups(workspace))}


def test_evaluations_that_differ_in_the_seed_alone_are_one_group(workspace: Workspace) -> None:
    groups = groups_of(workspace)
    assert {name: group.seeds for name, group in groups.items()} == {
        "vanilla": (0, 1, 2), "right": (0, 1, 2), "shuffled": (0, 1, 2), "zeros": (0, 1),
        "random vit-tiny": (0, 1, 2), "view-only": (),
    }  # fmt: skip
    assert {name: group.control for name, group in groups.items()} == {
        "vanilla": "none", "right": "none", "shuffled": "shuffled", "zeros": "zeros",
        "random vit-tiny": None, "view-only": None,
    }  # fmt: skip
    assert [each.settings.candidate_id for each in groups["right"].evaluations] == ["right-s0", "right-s1", "right-s2"]
    assert list(groups)[-2:] == ["random vit-tiny", "view-only"]


def test_a_group_is_compared_with_vanilla_with_the_wrong_record_and_with_what_is_untrained(
    workspace: Workspace,
) -> None:
    groups = groups_of(workspace)
    everything = list(groups.values())
    for name in ("right", "shuffled", "zeros"):
        assert find_vanilla_group(groups[name], everything) is groups["vanilla"]
        assert find_untrained_group(groups[name], everything) is groups["random vit-tiny"]
    assert find_wrong_groups(groups["right"], everything) == {
        "shuffled": groups["shuffled"], "zeros": groups["zeros"]
    }  # fmt: skip
    for name in ("vanilla", "shuffled", "view-only"):
        assert find_wrong_groups(groups[name], everything) == {}
    assert find_vanilla_group(groups["vanilla"], everything) is None
    assert find_untrained_group(groups["view-only"], everything) is None


@pytest.mark.parametrize(
    "change", [{"train": {"lr": 0.2}}, {"views": {"flip_prob": 0.0}}, {"ehr": {"start": "random"}}]
)
def test_another_setting_is_another_group(workspace: Workspace, change: dict[str, dict[str, Any]]) -> None:
    ehr = {"features": ["sex"], **change.get("ehr", {})}
    train = {"seed": 3, "lr": 0.1, **change.get("train", {})}
    recipe = {"model": {"backbone": "vit-tiny"}, "ehr": ehr, "train": train}
    recipe |= {section: keys for section, keys in change.items() if section == "views"}
    make_run(workspace, "right-s3", range(3), end="finish", recipe=recipe)
    make_evaluation(workspace, "right-s3", features=("sex",), shape=replace(SHAPE, seed=3), label="right")
    groups = [each for each in group_seeds(evaluations_of(workspace), read_setups(workspace)) if each.label == "right"]
    assert sorted(group.seeds for group in groups) == [(0, 1, 2), (3,)]


@pytest.mark.parametrize("change", [{"split": "hash"}, {"protocol_version": 9}, {"leak": "saw 3 test films"}])
def test_another_split_or_protocol_or_a_leak_is_another_group(workspace: Workspace, change: dict[str, Any]) -> None:
    make_evaluation(workspace, "right-s2", features=("sex",), shape=replace(SHAPE, seed=2), label="right", **change)
    groups = [each for each in group_seeds(evaluations_of(workspace), read_setups(workspace)) if each.label == "right"]
    assert sorted(group.seeds for group in groups) == [(0, 1), (2,)]


def test_the_anchor_encoders_of_runs_are_groups_of_their_own(workspace: Workspace) -> None:
    for name, features in {"vanilla": (), "right": ("sex",), "shuffled": ("sex",)}.items():
        for seed in (0, 1, 2):
            candidate = CandidateSettings(features, architecture=replace(SHAPE, seed=seed), encoder="anchor")
            place = f"{name}-s{seed}"
            make_evaluation(workspace, f"anchor-{place}", label=name, features=features, candidate=candidate)
    everything = group_seeds(evaluations_of(workspace), read_setups(workspace))
    anchors = {each.label: each for each in everything if each.settings.candidate.encoder}
    assert {name: (each.seeds, each.control) for name, each in anchors.items()} == {
        "vanilla": ((0, 1, 2), "none"), "right": ((0, 1, 2), "none"), "shuffled": ((0, 1, 2), "shuffled"),
    }  # fmt: skip
    assert find_vanilla_group(anchors["right"], everything) is anchors["vanilla"]
    assert find_wrong_groups(anchors["right"], everything) == {"shuffled": anchors["shuffled"]}


def test_a_seed_counts_once(workspace: Workspace) -> None:
    make_arm(workspace, "vanilla-again", seeds=(1,), label="vanilla")
    vanilla = groups_of(workspace)["vanilla"]
    assert vanilla.seeds == (0, 1, 2)
    assert [each.settings.candidate_id for each in vanilla.evaluations][1] == "vanilla-again-s1"
    assert [each.settings.candidate_id for each in vanilla.repeats] == ["vanilla-s1"]


def test_runs_that_are_gone_or_whose_recipe_was_changed_stand_alone(workspace: Workspace) -> None:
    for run_id in ("right-s0", "right-s1"):
        description = workspace.runs / run_id / "run.json"
        description.write_text(description.read_text().replace('"recipe":', '"recipe_sha256": "other", "recipe":'))
    (workspace.runs / "right-s2/run.json").unlink()
    groups = [each for each in group_seeds(evaluations_of(workspace), read_setups(workspace)) if each.label == "right"]
    assert sorted(group.seeds for group in groups) == [(0,), (1,), (2,)]
    assert {group.control for group in groups} == {None}


def test_vanilla_runs_are_one_setup_whatever_settings_of_the_record_have_no_effect(workspace: Workspace) -> None:
    make_arm(workspace, "vanilla-paper", seeds=(3,), label="vanilla", missing="paper", control="none")
    assert groups_of(workspace)["vanilla"].seeds == (0, 1, 2, 3)


def test_means_over_seeds_and_differences_are_those_of_the_seeds(workspace: Workspace) -> None:
    groups = groups_of(workspace)
    scores = score_group(groups["right"])
    values = [each.scores.macro_auroc.value for each in groups["right"].evaluations]
    assert scores.macro.auroc.by_seed == pytest.approx(values)
    assert scores.macro.auroc.value == pytest.approx(np.mean(values))
    assert scores.macro.auroc.sd_seeds == pytest.approx(np.std(values, ddof=1))
    difference = compare_groups(groups["right"], groups["vanilla"])
    pairs = zip(groups["right"].evaluations, groups["vanilla"].evaluations, strict=True)
    by_seed = [compare_evaluations(a, b).macro_auroc.value for a, b in pairs]
    assert difference.is_paired
    assert difference.find("auroc").by_seed == pytest.approx(by_seed)
    assert difference.find("auroc", "Edema").value == pytest.approx(np.mean(by_seed))  # the only finding defined
    assert math.isnan(difference.find("auprc", "Hernia").value)
    assert difference.find("auroc", "Hernia").interval.mark == "not defined"
    assert difference.macro.auroc.interval.num_rarer == groups["right"].evaluations[0].scores.macro_auroc.num_rarer
    back = compare_groups(groups["vanilla"], groups["right"]).macro.auroc
    assert (back.value, back.lo) == pytest.approx((-difference.macro.auroc.value, -difference.macro.auroc.hi))


def test_arms_of_other_seeds_are_not_paired(workspace: Workspace) -> None:
    groups = groups_of(workspace)
    difference = compare_groups(groups["right"], groups["zeros"])
    assert not difference.is_paired
    found = difference.macro.auroc
    means = [score_group(groups[name]).macro.auroc.value for name in ("right", "zeros")]
    assert found.value == pytest.approx(means[0] - means[1])
    assert (found.by_seed, found.num_seeds) == ((), 2)
    assert found.lo < found.value < found.hi


def test_what_has_no_seed_is_the_same_for_each(workspace: Workspace) -> None:
    groups = groups_of(workspace)
    found = compare_groups(groups["right"], groups["view-only"])
    (record,) = groups["view-only"].evaluations
    by_seed = [each.scores.macro_auroc.value - record.scores.macro_auroc.value for each in groups["right"].evaluations]
    assert found.is_paired
    assert found.macro.auroc.by_seed == pytest.approx(by_seed)


def test_one_seed_has_the_interval_of_its_published_comparison_and_says_so(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "one").create()
    make_arm(workspace, "vanilla", seeds=(5,))
    make_arm(workspace, "right", seeds=(5,), skill=1.5, features=["sex"])
    groups = groups_of(workspace)
    found = compare_groups(groups["right"], groups["vanilla"]).macro.auroc
    published = compare_evaluations(groups["right"].evaluations[0], groups["vanilla"].evaluations[0]).macro_auroc
    assert found.says_nothing_about_method
    assert found.interval == published
    own = score_group(groups["right"]).macro.auprc
    assert own.interval == groups["right"].evaluations[0].scores.macro_auprc


def test_each_evaluation_is_measured_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []

    def count(*args: Any, **kwargs: Any) -> Any:
        measured.append(1)
        return resample_metrics(*args, **kwargs)

    monkeypatch.setattr("cxrssl.evaluate.resamples.resample_metrics", count)
    groups, resamples = groups_of(workspace), Resamples()
    for against in ("vanilla", "shuffled"):
        compare_groups(groups["right"], groups[against], resamples)
    assert len(measured) == 9


def test_groups_of_other_films_are_not_compared(workspace: Workspace) -> None:
    make_arm(workspace, "elsewhere", features=["sex"])
    groups = groups_of(workspace)
    for each in groups["elsewhere"].evaluations:
        make_evaluation(
            workspace, each.settings.candidate_id, features=("sex",), seed=9, label="elsewhere",
            shape=each.settings.candidate.architecture or SHAPE,
        )  # fmt: skip
    groups = groups_of(workspace)
    with pytest.raises(DataError, match="test films or labels are not those of the others"):
        compare_groups(groups["right"], groups["elsewhere"])
    make_evaluation(workspace, "nih", cohort="nih", label="nih")
    with pytest.raises(DataError, match="not of the same test films"):
        compare_groups(groups["right"], groups_of(workspace)["nih"])
