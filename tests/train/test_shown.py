"""The views that a person looks at are those of the run's own steps, to the last patch."""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.model.build import OBJECTIVES, build_objective
from cxrssl.model.record import RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.records.run import DESCRIPTION
from cxrssl.train import loop
from cxrssl.train.folder import describe_run
from cxrssl.train.order import batch_rows
from cxrssl.train.plan import RunPlan
from cxrssl.train.shown import cut_film, serve
from cxrssl.views.draw import Views
from cxrssl.views.shown import AskedViews, ShownViews, receive_views, send_views
from tests.small_runs import plan_in, two_layers  # noqa: F401
from tests.world import make_workspace


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=20)


def train_watched(plan: RunPlan, patch: pytest.MonkeyPatch) -> list[Views]:
    """Train, and return the views of each step."""
    seen: list[Views] = []
    make = loop.make_views

    def make_and_keep(*args: Any) -> Views:
        seen.append(make(*args))
        return seen[-1]

    patch.setattr(loop, "make_views", make_and_keep)
    loop.pretrain(plan)
    return seen


def describe(plan: RunPlan) -> None:
    """Write what a run says of itself at its start."""
    plan.folder.mkdir(parents=True)
    describe_run(plan, torch.device("cpu"))


def asked_of(plan: RunPlan, row: int, **changes: Any) -> AskedViews:
    return AskedViews(str(plan.workspace), "nih", row, plan.run_id, **changes)


def grey_of(plan: RunPlan, pixels: torch.Tensor) -> Any:
    views = plan.recipe.views
    return ((pixels * views.pixel_std + views.pixel_mean) * 255).round().clamp(0, 255).byte().numpy()


@pytest.mark.parametrize("overrides", [(), ("views.rotation_deg=10", "views.contrast=0.2")])
def test_shown_views_are_those_of_the_step_that_had_the_film(
    tmp_path: Path, template: Workspace, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...]
) -> None:
    plan = plan_in(tmp_path, template, overrides=overrides)
    seen = train_watched(plan, monkeypatch)
    num_shown = 0
    for step in (0, plan.steps_per_epoch):
        for place in (0, 5):
            row = int(batch_rows(plan, step)[place])
            shown = cut_film(asked_of(plan, row, epoch=step // plan.steps_per_epoch, is_covered=False))
            assert (shown.step, shown.place, shown.is_trained_on, shown.why) == (step, place, True, "")
            for view in shown.views:
                made, at = seen[step][view.purpose], view.number - 1
                assert np.array_equal(view.pixels_PP, grey_of(plan, made.pixels_BV1PP[place, at, 0]))
                if made.kept_BVK is None:
                    assert view.is_kept_GG is None
                else:
                    assert view.is_kept_GG is not None
                    assert np.flatnonzero(view.is_kept_GG).tolist() == made.kept_BVK[place, at].tolist()
                num_shown += 1
    assert num_shown >= 4


def test_corners_are_covered_before_a_film_is_cut(
    tmp_path: Path, template: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(tmp_path, template)
    describe(plan)
    row = int(plan.rows[0])
    bare, covered = (cut_film(asked_of(plan, row, is_covered=is_covered)) for is_covered in (False, True))
    whole = [max(shown.views, key=lambda view: view.area_frac).pixels_PP for shown in (bare, covered)]
    assert not np.array_equal(whole[0], whole[1])
    assert 0 < covered.views[0].area_frac <= 1


def test_a_film_that_is_not_trained_on_is_cut_as_if_it_were_alone_and_this_is_said(
    tmp_path: Path, template: Workspace
) -> None:
    plan = plan_in(tmp_path, template)
    describe(plan)
    other = int(np.setdiff1d(np.arange(len(plan.cohort)), plan.rows)[0])
    shown = cut_film(asked_of(plan, other))
    assert (shown.is_trained_on, shown.why) == (False, "not trained on; cut as if it were")
    assert len(shown.views) == len(cut_film(asked_of(plan, int(plan.rows[0]))).views)
    usual = cut_film(AskedViews(str(plan.workspace), "nih", other))
    assert usual.why == "no run of this cohort: the default recipe"
    assert {view.purpose for view in usual.views} == {"target", "random", "focal"}


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_objective_says_its_views_without_weights(name: str) -> None:
    recipe = load_recipe("strict", [f"objective.name={name}"])
    with torch.device("meta"):
        found = build_objective(recipe, RecordColumns(num_findings=1)).view_plan
    assert found == build_objective(recipe, RecordColumns(num_findings=1)).view_plan


def test_a_run_of_an_older_state_of_the_cohort_is_refused(tmp_path: Path, template: Workspace) -> None:
    plan = plan_in(tmp_path, template)
    describe(plan)
    path = plan.folder / DESCRIPTION
    path.write_text(json.dumps({**json.loads(path.read_text()), "images_sha256": "0" * 64}))
    with pytest.raises(DataError, match="older state"):
        cut_film(asked_of(plan, 0))


def test_views_travel_between_processes(tmp_path: Path, template: Workspace) -> None:
    plan = plan_in(tmp_path, template)
    describe(plan)
    asked = asked_of(plan, int(plan.rows[0]))
    stream = io.BytesIO()
    serve([json.dumps(each) for each in (asdict(asked), asdict(asked) | {"cohort": "none"})], stream)
    stream.seek(0)
    first, second = receive_views(stream), receive_views(stream)
    assert stream.read() == b""
    assert [view.pixels_PP.tolist() for view in first.views] == [v.pixels_PP.tolist() for v in cut_film(asked).views]
    assert not second.views
    assert second.why
    kept = io.BytesIO()
    send_views(kept, ShownViews(why="no view"))
    with pytest.raises(EOFError):
        receive_views(io.BytesIO(kept.getvalue()[:-5]))
