"""A finished run continued for more epochs: what it was is checked, its last state taken over, its new schedule stated.

In: `train.extends` of a recipe, a workspace. Out: a Start whose `extended` says where the run takes over.
Never: another recipe, cohort or film than those of the run that is extended, or weights without the optimiser's state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.config import build_settings
from cxrssl.core.errors import ConfigError, DataError, UsageError
from cxrssl.core.text import count_noun, plain, shell_word
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.check import flatten
from cxrssl.recipe.settings import Recipe, TrainSettings
from cxrssl.records.encoder import Lineage, open_record, parse_films
from cxrssl.records.imported import refuse_imported
from cxrssl.records.run import RunFiles, read_description
from cxrssl.records.setup import find_setup
from cxrssl.train.schedule import settings_at

HASH_CHARS = 16
OWN = frozenset({"train.num_epochs", "train.extends", "train.extend_schedule", "model.init"})
"""Keys in which a run may differ from the one that it extends; what that started from is taken over."""
AS_PLANNED = "a run planned for {} epochs from the start has other schedules: cxrssl pretrain --set train.num_epochs={}"
CHANGED = {"cohort_sha256": "its cohort", "images_sha256": "the packed films of its cohort"}


@dataclass(frozen=True)
class Extended:
    """The run that is extended."""

    files: RunFiles
    weights_sha256: str
    recipe: Recipe
    step: int
    """Steps that it has done."""
    lineage: Lineage
    """The run itself and what it descends from, nearest first."""
    setup: tuple[str, ...] | None
    """Hashes of its setup without its seed (records.setup); None where these are not known."""

    @property
    def run_id(self) -> str:
        return self.files.folder.name

    @property
    def canonical(self) -> str:
        """What the recipe of the run says: the id, and the beginning of the SHA-256 of the weights."""
        return f"{self.run_id}@{self.weights_sha256[:HASH_CHARS]}"

    @property
    def checkpoint(self) -> Path:
        """The checkpoint of its last step."""
        return self.files.checkpoints / f"step-{self.step:08d}"


def find_extended(workspace: Workspace, recipe: Recipe) -> Extended:
    """Return the run that `train.extends` of a recipe names: RUN or RUN@HASH.

    Raises: UsageError when there is no such run, or the recipe is not its own but for more epochs; DataError when it is
    not finished; IntegrityError when it is damaged.
    """
    name, _, said = recipe.train.extends.partition("@")
    files = RunFiles(workspace.find_run(name))
    run_id = files.folder.name
    refuse_imported(files.folder, "extended: pretrain in another workspace")
    if not files.is_published:
        what = f"run {run_id} is not finished, so that it cannot be extended"
        raise DataError(what, files.folder, f"finish it first: cxrssl runs resume {shell_word(run_id)}")
    record = open_record(files.encoder)
    if said and not record.weights_sha256.startswith(said):
        what = f"the weights of run {run_id} are not those that the recipe names: {record.weights_sha256[:HASH_CHARS]}"
        raise UsageError(what, files.encoder, f"to extend these: train.extends={run_id}")
    try:
        own = build_settings(Recipe, record.recipe)
    except ConfigError as error:
        raise DataError(f"the recipe of run {run_id} is of another version: {error.what}", files.encoder) from None
    _check_recipe(recipe, own, run_id)
    description, _ = read_description(files)
    setup = find_setup(description) if description else None
    hashes = (setup.sha256, setup.right_sha256, setup.vanilla_sha256) if setup else None
    return Extended(files, record.weights_sha256, own, record.origin.step, record.lineage(run_id), hashes)


def take_over(recipe: Recipe, extended: Extended) -> Recipe:
    """Return the recipe with the run that it extends spelt out, and what that one started from."""
    train = replace(recipe.train, extends=extended.canonical)
    return replace(recipe, model=replace(recipe.model, init=extended.recipe.model.init), train=train)


def check_data(
    extended: Extended, origin: dict[str, str], own_id: str, image_id: NDArray[np.str_], has_checkpoint: bool
) -> None:
    """Raise DataError when cohort or films are not those of the run that is extended, or its last state is gone.

    `origin` are the hashes of the plan, `own_id` is what the run that is extended would be called on this data, and
    `image_id` are the films that are to be trained on. `has_checkpoint` says that the state was taken over before.
    """
    itself, lists = extended.lineage[0][0], extended.lineage[1]
    was = itself.origin.to_dict()
    changed = [CHANGED.get(key, key) for key in origin if key != "recipe_sha256" and origin[key] != was.get(key)]
    where, run_id = extended.files.folder, extended.run_id
    if changed:
        what = f"run {run_id} cannot be extended: {' and '.join(changed)} changed since it was trained"
        raise DataError(what, where, "bring them back as they were, or start another run from its weights: --init")
    films = parse_films(lists[itself.films], extended.files.encoder)
    if own_id.rpartition("-")[2] != run_id.rpartition("-")[2] or not np.array_equal(films.image_id, image_id):
        what = f"run {run_id} cannot be extended: it is of another version or of an evaluation, and shows other films"
        raise DataError(what, where, f"start another run from its weights: --init {shell_word(run_id)}")
    if not has_checkpoint and not extended.checkpoint.is_dir():
        what = f"run {run_id} cannot be extended: the checkpoint of its last step was removed"
        raise DataError(what, extended.checkpoint, f"start a run from its weights: --init {shell_word(run_id)}")


def describe_extension(extended: Extended, recipe: Recipe, num_steps: int, steps_per_epoch: int) -> Iterator[str]:
    """Yield how the run continues, in sentences."""
    train, first = recipe.train, extended.step
    added = count_noun(num_steps - first, "step")
    at = f"step {first:,}, epoch {first // steps_per_epoch:,} of {train.num_epochs:,}"
    yield f"the run continues {extended.run_id} at {at}: its weights, optimiser, target and order of films"
    began, ends = (
        settings_at(step, num_steps, steps_per_epoch, train, first) for step in (first, num_steps)
    )  # what a step of each would use
    has_target = "train.ema_start" not in recipe.objective.idle
    if train.extend_schedule == "hold":
        target = f" and the target's momentum {ends.ema_momentum:.6g}" if has_target else ""
        held = f"learning rate {ends.lr:.3g}, weight decay {ends.weight_decay:.3g}{target}"
        yield f"schedule hold: for {added} {held}, the ends of the schedules"
    else:
        peak = "" if train.warmup_frac == 0 else f" to {train.lr:.3g} over {train.warmup_frac:.0%} of them"
        rate = f"the learning rate begins anew at {began.lr:.3g}, goes{peak} and ends at {ends.lr:.3g}"
        decay = f"weight decay goes from {began.weight_decay:.3g} to {ends.weight_decay:.3g}"
        target = f", the target's momentum from {began.ema_momentum:.6g} to {ends.ema_momentum:.6g}"
        yield f"schedule cosine: over {added} {rate}; {decay}{target if has_target else ''}"
    yield AS_PLANNED.format(f"{train.num_epochs:,}", train.num_epochs)


def _check_recipe(recipe: Recipe, own: Recipe, run_id: str) -> None:
    """Raise UsageError when a recipe is not the one of a run, but for more epochs."""
    done, asked = own.train.num_epochs, recipe.train.num_epochs
    if asked <= done:
        what = f"run {run_id} has done {count_noun(done, 'epoch')}, not fewer than the {asked:,} asked for"
        raise UsageError(what, hint=f"name all epochs, those that are done too: more than {done:,}")
    wanted, found = flatten(own), flatten(recipe)
    unlike = [key for key in sorted({*wanted, *found} - OWN) if wanted.get(key) != found.get(key)]
    init = recipe.model.init
    if init and init.partition("@")[0] != own.model.init.partition("@")[0]:
        unlike.append("model.init")
    if unlike:
        what = f"a run cannot extend {run_id} with another {', '.join(plain(key, 60) for key in unlike[:4])}"
        raise UsageError(what, hint=f"cxrssl runs extend {shell_word(run_id)} --epochs {asked} takes its recipe over")
    if recipe.train.extend_schedule == "hold":
        _check_held(recipe.train, run_id, has_target="train.ema_start" not in recipe.objective.idle)


def _check_held(train: TrainSettings, run_id: str, has_target: bool) -> None:
    """Raise UsageError when nothing that is published would change with the schedules held at their ends."""
    ends = settings_at(1, 2, 1, train, 1)
    stays = "its learning rate has come to 0" if ends.lr == 0 else ""
    if has_target and ends.ema_momentum == 1:
        stays = "the momentum of its target has come to 1, and the target is what is published"
    if stays:
        what = f"with the schedule hold, run {run_id} would stay as it is: {stays}"
        again = f"cxrssl runs extend {shell_word(run_id)} --epochs {train.num_epochs} --schedule cosine"
        raise UsageError(what, hint=f"{again} begins the schedules anew")
