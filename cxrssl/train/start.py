"""What a run starts from when it does not start from weights that were drawn: a run of the workspace, or local files.

In: `model.init` of a recipe. Out: Start, with a name that is a function of the weights, and what these have seen.
Never: torch for a start that is a run, before the run itself begins; a path in what is hashed and published.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrssl.audit.seen import Pretraining, trace_ancestors
from cxrssl.core.errors import CxrsslError, DataError, IntegrityError, UsageError
from cxrssl.core.text import plain, shell_word
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.settings import TIMM_PREFIX, Recipe
from cxrssl.records.encoder import (
    ANCHOR_NAME,
    NOWHERE,
    Ancestor,
    EhrInput,
    EncoderName,
    EncoderRecord,
    Lineage,
    open_record,
    parse_films,
)
from cxrssl.records.run import RunFiles
from cxrssl.train.extend import HASH_CHARS, Extended, find_extended, take_over

if TYPE_CHECKING:
    from cxrssl.model.encoder import Encoder
    from cxrssl.model.objective import Objective
    from cxrssl.records.external import ExternalSource
    from cxrssl.train.state import TrainState

ENDING = ".safetensors"


@dataclass(frozen=True)
class FileOptions:
    """What the user says of files of others."""

    pixel_mean: tuple[float, ...] = ()
    pixel_std: tuple[float, ...] = ()
    ignore: tuple[str, ...] = ()
    """Patterns of tensors that are no part of the encoder."""


NOTHING_SAID = FileOptions()


@dataclass(frozen=True)
class Start:
    """Weights that a run starts from."""

    name: str
    """A run id, with ":anchor" where it is that encoder; of files their name."""
    weights_sha256: str
    path: Path
    """The published encoder, or the files."""
    lineage: Lineage
    """The start itself and what that descends from, nearest first."""
    grid_px: int = 0
    """Side of the views that its positions are of; 0 where the files were not asked."""
    options: FileOptions | None = None
    """Of files of others; None for a run."""
    encoder: Encoder | None = None
    """The weights themselves, where they are at hand; else they are read from `path`."""
    extended: Extended | None = None
    """The run whose whole state is taken over, and not its weights alone."""

    @property
    def canonical(self) -> str:
        """What the recipe of the run says: the name, and the beginning of the SHA-256 of the weights."""
        return f"{self.name}@{self.weights_sha256[:HASH_CHARS]}"

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Names of those of the lineage whose training films are unknown."""
        return tuple(each.name for each in self.lineage[0] if not each.films)

    def seen(self) -> tuple[Pretraining, ...]:
        """Return what those of the lineage were shown whose training films are known, without packed films."""
        ancestors, lists = self.lineage
        films = {name: parse_films(data, self.path / name) for name, data in lists.items()}
        return trace_ancestors(ancestors, films, lambda cohort: None)

    def describe(self, recipe: Recipe) -> list[str]:
        """Return what is to be known of it before the run begins, in sentences."""
        sentences = [f"the films that shaped {name} are unknown: every evaluation says so" for name in self.unlisted]
        source = self.lineage[0][0].external if self.lineage[0] else None
        if source is not None:
            ignored = f", and leaves out {', '.join(source.ignored)} of its file" if source.ignored else ""
            sentences.append(f"the run starts from all {source.num_tensors} tensors of {self.name}{ignored}")
        if self.grid_px != recipe.views.global_px:
            what = f"its positions are of views of {self.grid_px} px, resampled to {recipe.views.global_px} px"
            sentences.append(f"the run starts from {self.name}; {what}")
        return sentences


def find_start(workspace: Workspace, recipe: Recipe, options: FileOptions = NOTHING_SAID) -> Start:
    """Return what `model.init` of a recipe names: RUN, RUN:anchor, RUN@HASH, or a path of files.

    Raises: UsageError when there is no such thing, or it is of another architecture than the recipe; DataError when
    the run is not finished or has no such encoder; IntegrityError when it is damaged.
    """
    text, _, said = recipe.model.init.partition("@")
    if _names_files(workspace, recipe.model.init):
        return _find_files(Path(recipe.model.init), recipe, options)
    if options != NOTHING_SAID:
        what = f"{plain(text, 120)} is a run: its recipe says its pixels, and all of its tensors are used"
        raise UsageError(what, hint="leave --pixel-mean, --pixel-std and --ignore out")
    return _find_run(workspace, text, said, recipe)


def find_shape(workspace: Workspace, init: str) -> dict[str, Any]:
    """Return backbone and patch of the run that `init` names, for a recipe that names none; {} for files.

    Raises: UsageError for an unknown run, IntegrityError for a damaged one.
    """
    if _names_files(workspace, init):
        return {}
    files = RunFiles(workspace.find_run(_split(init.partition("@")[0])[0]))
    model = open_record(files.encoder, verify=False).recipe.get("model") if files.is_published else None
    return {key: model[key] for key in ("backbone", "patch_px") if key in model} if isinstance(model, dict) else {}


def _names_files(workspace: Workspace, init: str) -> bool:
    """Return whether `init` is the path of files, and not a run."""
    path = Path(init)
    is_path = os.sep in init or path.suffix == ENDING
    return is_path or (path.exists() and not _begins_run(workspace, init.partition("@")[0]))


def begin_from(start: Start, recipe: Recipe, origin: Sequence[str], state: TrainState) -> None:
    """Give a run that has no checkpoint yet what it starts from: weights, or the whole last state of another run.

    `origin` are the hashes by which a checkpoint is known to be of that run.
    Raises: IntegrityError when what was planned with is damaged or another.
    """
    if start.extended is None:
        load_weights(start, recipe, state.model)
        return
    from cxrssl.train.checkpoint import load_checkpoint
    from cxrssl.train.state import restore_state

    known = start.lineage[0][0].origin.to_dict()
    restore_state(state, load_checkpoint(start.extended.checkpoint, {key: known[key] for key in origin}))


def load_weights(start: Start, recipe: Recipe, model: Objective) -> None:
    """Give the encoders of a model the start's weights. Raises: IntegrityError when these are not those planned."""
    from cxrssl.model.start import adapt_weights, load_start

    source = _open(start, recipe)
    if source.weights_sha256 != start.weights_sha256:
        raise IntegrityError(f"the weights of {start.name} were changed since the run was planned", start.path)
    load_start(model, adapt_weights(source, recipe, start.name))


def _begins_run(workspace: Workspace, text: str) -> bool:
    return any(run_id.startswith(_split(text)[0]) for run_id in workspace.run_ids())


def _split(text: str) -> tuple[str, EncoderName]:
    """Return a run and which encoder of it."""
    is_anchor = text.endswith(f":{ANCHOR_NAME}")
    return text.removesuffix(f":{ANCHOR_NAME}").removesuffix(":target"), ANCHOR_NAME if is_anchor else "target"


def _find_run(workspace: Workspace, text: str, said: str, recipe: Recipe) -> Start:
    run, which = _split(text)
    try:
        files = RunFiles(workspace.find_run(run))
    except UsageError as error:
        hint = f"{error.hint}; or name a path of files, such as {shell_word('./' + text)}"
        raise UsageError(f"model.init: {error.what}", error.where, hint) from None
    run_id = files.folder.name
    if not files.is_published:
        what = f"run {run_id}, from which this one is to start, is not finished"
        raise DataError(what, files.folder, "finish it first: run its pretrain command again")
    record = open_record(files.encoder)
    sha256 = record.anchor_sha256 if which == ANCHOR_NAME else record.weights_sha256
    if not sha256:
        raise DataError(f"run {run_id} has no anchor encoder", files.encoder, f"start from its target: --init {run_id}")
    if said and not sha256.startswith(said):
        what = f"the weights of run {run_id} are not those that the recipe names: {sha256[:HASH_CHARS]}"
        raise UsageError(what, files.encoder, f"to start from these: --init {run_id}")
    name = run_id if which == "target" else f"{run_id}:{which}"
    return Start(name, sha256, files.encoder, record.lineage(name), _check_shape(record, recipe, name))


def _check_shape(record: EncoderRecord, recipe: Recipe, name: str) -> int:
    """Return the side of the views of a run of the recipe's architecture. Raises: UsageError for another one."""
    section, views = (record.recipe.get(key) for key in ("model", "views"))
    said, side = section if isinstance(section, dict) else {}, views if isinstance(views, dict) else {}
    for key, option in (("backbone", "--backbone "), ("patch_px", "--set model.patch_px=")):
        found, wanted = said.get(key), getattr(recipe.model, key)
        if found != wanted:
            what = f'run {plain(name, 120)} has model.{key} "{plain(found, 60)}", and the recipe "{wanted}"'
            raise UsageError(what, hint=option + shell_word(found))
    return int(side.get("global_px", 0))


def _find_files(path: Path, recipe: Recipe, options: FileOptions) -> Start:
    from cxrssl.model.start import adapt_weights

    encoder, source = _read_files(path, recipe, options)
    name = path.absolute().name.removesuffix(ENDING)
    adapt_weights(encoder, recipe, name)  # refused now, rather than in a job
    name, sha256 = plain(name, 80).replace("@", "-"), encoder.weights_sha256
    itself = Ancestor(name, sha256, NOWHERE, EhrInput(()), False, external=source)
    grid_px = int(encoder.module.patch_embed.img_size[0])
    return Start(name, sha256, path.absolute(), ((itself,), {}), grid_px, options)


def _read_files(path: Path, recipe: Recipe, options: FileOptions) -> tuple[Encoder, ExternalSource]:
    """Return the encoder of files of others; where they do not say their architecture, it is the recipe's."""
    from cxrssl.model.external import ExternalChoices, open_external

    arch = "" if (path / "config.json").is_file() else recipe.model.backbone.removeprefix(TIMM_PREFIX)
    choices = ExternalChoices(path, arch, 0, options.pixel_mean, options.pixel_std, options.ignore)
    try:
        encoder, source = open_external(choices)
    except CxrsslError as error:
        if "--arch" in error.hint:
            error.hint = "their architecture is taken to be that of --backbone: choose the one that they are of"
        raise
    return encoder, replace(source, input_px=recipe.views.global_px)


def _open(start: Start, recipe: Recipe) -> Encoder:
    if start.encoder is not None:
        return start.encoder
    if start.options is not None:
        return _read_files(start.path, recipe, start.options)[0]
    from cxrssl.model.encoder import open_encoder

    return open_encoder(start.path, _split(start.name)[1])


def find_continued(workspace: Workspace, recipe: Recipe) -> Start:
    """Return the run that `train.extends` of a recipe names. Raises: what `find_extended` raises."""
    found = find_extended(workspace, recipe)
    grid_px = recipe.views.global_px
    return Start(found.run_id, found.weights_sha256, found.files.encoder, found.lineage, grid_px, extended=found)


def with_name(recipe: Recipe, start: Start | None) -> Recipe:
    """Return the recipe with its start spelt out: the same weights make the same run, wherever they lie."""
    if start is not None and start.extended is not None:
        return take_over(recipe, start.extended)
    return replace(recipe, model=replace(recipe.model, init=start.canonical if start else ""))
