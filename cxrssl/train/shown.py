"""The views that a run cuts of one film, cut by the code that its steps use, for a person to look at.

In: a workspace, a run, a film of its cohort, an epoch. Out: ShownViews.
As a script it answers one line of JSON on its standard input after another with views on its standard output, so that
the dashboard shows views without loading torch. Never: a film whose corners are not covered, unless that is asked for.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.config import build_settings
from cxrssl.core.errors import CxrsslError, DataError
from cxrssl.core.filestate import FileState, look_at
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace
from cxrssl.images.corners import cover_corners
from cxrssl.images.store import ImageStore, open_images
from cxrssl.model.build import build_objective
from cxrssl.model.record import RecordColumns
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.settings import Recipe
from cxrssl.records.run import RunDescription, RunFiles, read_description
from cxrssl.train.order import batch_rows, find_step
from cxrssl.train.plan import RunPlan
from cxrssl.train.pooled import find_row, pool_films
from cxrssl.train.rows import choose_rows
from cxrssl.views.draw import make_views, place_views
from cxrssl.views.plan import ViewPlan
from cxrssl.views.shown import AskedViews, ShownView, ShownViews, send_views


def cut_film(asked: AskedViews) -> ShownViews:
    """Return the views of a film in the step of an epoch that has it.

    Raises: DataError when the run cannot be read, it was trained on another state of the cohort, or the film is not
    packed.
    """
    about = _describe(asked.root, asked.run_id) if asked.run_id else None
    names = [each.cohort for each in about.members or ()] if about else []
    state = _state_of(asked.root, [asked.cohort, *names])
    plan, views = _plan(asked.root, asked.cohort, asked.run_id, state)
    row = find_row(plan.cohort, asked.cohort, asked.row)
    epoch = min(max(asked.epoch, 0), plan.recipe.train.num_epochs - 1)
    found = find_step(plan, row, epoch) if asked.run_id and plan.steps_per_epoch else None
    step, place = found or (epoch * plan.steps_per_epoch, 0)
    rows = batch_rows(plan, step) if found else np.array([row])
    film, box = plan.images.read_rows([row])[0], plan.images.box_N4[row].tolist()
    film = cover_corners(film, tuple(box)) if asked.is_covered else film
    return ShownViews(
        _cut(film, plan.images.box_N4[rows], views, plan.recipe, step, place),
        asked.run_id,
        epoch,
        plan.recipe.train.num_epochs,
        step,
        place,
        plan.recipe.train.batch_size,
        found is not None,
        "" if found else _why_not(plan, asked, row),
    )


def _why_not(plan: RunPlan, asked: AskedViews, row: int) -> str:
    if not asked.run_id:
        return "no run of this cohort: the default recipe"
    if row in plan.rows:
        return "in no batch; cut as if it were"
    return "not trained on; cut as if it were"


def _describe(root: str, run_id: str) -> RunDescription:
    """Return what a run is. Raises: DataError when it cannot be read."""
    files = RunFiles(Workspace(Path(root)).runs / run_id)
    about, fault = read_description(files)
    if about is None:
        raise DataError(f"run {run_id} cannot be read: {fault}", files.folder)
    return about


def _state_of(root: str, cohorts: Sequence[str]) -> tuple[FileState, ...]:
    """Return what is another when one of the cohorts or its films were published anew."""
    return tuple(look_at(Path(root) / kind / name) for name in cohorts for kind in ("cohorts", "images"))


def _open(root: str, name: str) -> tuple[Cohort, ImageStore]:
    return _open_state(root, name, _state_of(root, [name]))


@functools.lru_cache(maxsize=4)
def _open_state(root: str, name: str, state: tuple[FileState, ...]) -> tuple[Cohort, ImageStore]:
    workspace = Workspace(Path(root))
    cohort = open_cohort(workspace.cohorts / name, verify=False, check=False)
    return cohort, open_images(workspace.images / name, verify=False)


@functools.lru_cache(maxsize=4)
def _plan(root: str, name: str, run_id: str, state: tuple[FileState, ...]) -> tuple[RunPlan, ViewPlan]:
    """Return the plan of a run, as far as its views need it."""
    cohort, images = _open(root, name)
    folder, recipe, scheme = Workspace(Path(root)).runs / run_id, Recipe(), cohort.default_split
    if run_id:
        about = _describe(root, run_id)
        if about.members:
            # The dashboard, which asks for this, keeps nothing.
            members = [_open(root, each.cohort) for each in about.members]
            cohort, images = pool_films(Workspace(Path(root)), members, may_keep=False)
            name = about.cohort
        if about.cohort_sha256 != cohort.content_sha256 or about.images_sha256 != images.content_sha256:
            raise DataError(f"run {run_id} was trained on an older state of cohort {name}", folder)
        recipe, scheme = build_settings(Recipe, about.recipe), about.split
    if recipe.data.where:
        what = f"the films of run {run_id} were chosen by SQL, which is not asked here"
        raise DataError(what, folder, "look at a run on all films of its cohorts")
    rows = choose_rows(cohort, images, recipe, scheme).rows
    plan = RunPlan(run_id, folder, recipe, Machine(), cohort, images, scheme, rows)
    # Weights without memory: what an objective asks for is known when it is built.
    with torch.device("meta"):
        return plan, build_objective(recipe, RecordColumns(num_findings=1)).view_plan


def _cut(
    film_SS: NDArray[np.uint8],
    box_B4: NDArray[np.int16],
    plan: ViewPlan,
    recipe: Recipe,
    step: int,
    place: int,
) -> tuple[ShownView, ...]:
    valid_B4 = torch.from_numpy(box_B4.astype(np.float32))
    film_1SS, part = torch.from_numpy(film_SS)[None], slice(place, place + 1)
    made = make_views(film_1SS, valid_B4, plan, recipe.train.seed, step, part)
    mean, std = recipe.views.pixel_mean, recipe.views.pixel_std
    found = []
    for kind in (kind for kind in plan.kinds if kind.num_views):
        view, boxes = made[kind.purpose], place_views(valid_B4, kind, plan, recipe.train.seed, step).of(part)
        grey = (view.pixels_BV1PP[0, :, 0] * std + mean).mul(255).round().clamp(0, 255).byte().numpy()
        film_area = float(valid_B4[place, 2] * valid_B4[place, 3])
        for at in range(kind.num_views):
            kept = None if view.kept_BVK is None else _mark(view.kept_BVK[0, at].numpy(), kind.px // plan.patch_px)
            area_frac = float(boxes.height_BV[0, at] * boxes.width_BV[0, at]) / film_area
            is_flipped = bool(boxes.is_flipped_BV[0, at])
            found.append(ShownView(kind.purpose, at + 1, grey[at], kept, area_frac, is_flipped))
    return tuple(found)


def _mark(kept_K: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    """Return which patches are kept, [G, G]."""
    is_kept = np.zeros(side * side, np.bool_)
    is_kept[kept_K] = True
    return is_kept.reshape(side, side)


def serve(requests: Iterable[str], answers: BinaryIO) -> None:
    """Answer each line of JSON with views, or with why there are none."""
    for line in requests:
        try:
            shown = cut_film(AskedViews(**json.loads(line)))
        except CxrsslError as error:
            shown = ShownViews(why=plain(error.what, 300))
        send_views(answers, shown)


def main() -> None:
    """Answer the standard input until it ends."""
    torch.set_num_threads(1)
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
