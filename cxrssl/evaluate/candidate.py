"""What a probe is fitted on: a run's encoder, the same encoder untrained, the health record alone or the view alone.

In: a run id or the name of a baseline. Out: a matrix with one row for each film, and what made it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cxrssl.audit.seen import Pretraining, read_pretraining
from cxrssl.cohort.features import find_feature, is_outcome_used, name_features
from cxrssl.cohort.read import Cohort
from cxrssl.core.durable import hash_settings
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.before import find_finished
from cxrssl.evaluate.features import architecture_of, extract_features
from cxrssl.evaluate.record import films_features, known_features
from cxrssl.images.store import ImageStore
from cxrssl.model.encoder import Encoder, open_encoder, pack_weights
from cxrssl.model.finding_head import FindingHead
from cxrssl.model.record import NO_RECORD
from cxrssl.recipe.settings import EhrSettings, Recipe
from cxrssl.records.encoder import NOWHERE, EncoderName
from cxrssl.records.eval_settings import (
    ANCHOR_PREFIX,
    CandidateKind,
    CandidateSettings,
    label_cohorts,
    label_extended,
    label_run,
    label_start,
)
from cxrssl.records.fields import write_fields
from cxrssl.records.run import RunFiles, read_description
from cxrssl.train.device import Devices
from cxrssl.train.state import init_state


@dataclass(frozen=True)
class Candidate:
    """Something whose frozen features are probed."""

    candidate_id: str
    kind: CandidateKind
    label: str
    """How tables call it; see `label_run`."""
    settings: CandidateSettings
    """What decides its features."""
    features: Callable[[], Any]
    """A row for each film of the cohort, [N, D]; for a probe that sees patches `patches.Tokens`."""
    pretraining: Pretraining | None = None
    """What its encoder was shown; None for baselines."""
    is_outcome_used: bool = False
    encoder: Encoder | None = None
    """What can be read in other ways than `features` does; None for what has none."""
    head: FindingHead | None = None
    """The run's own layer for findings, where that scores films in place of a probe."""


def open_run(workspace: Workspace, run_id: str, which: EncoderName = "target") -> tuple[str, Encoder]:
    """Return the id and a published encoder of a run.

    Raises: DataError when the run is not finished, or has no such encoder.
    """
    files = find_finished(workspace, run_id)
    return files.folder.name, open_encoder(files.encoder, which)


def run_candidate(
    workspace: Workspace,
    run_id: str,
    encoder: Encoder,
    images: ImageStore,
    devices: Devices,
    which: EncoderName = "target",
) -> Candidate:
    """Return the target or the anchor encoder of a finished run."""
    recipe, origin = encoder.recipe, encoder.origin
    names = tuple(dict.fromkeys((*recipe.ehr.features, *recipe.ehr.predict)))
    seen = read_pretraining(workspace, run_id)
    taught = tuple(dict.fromkeys(name for each in (seen, *seen.before) for name in each.features))
    start = recipe.model.init.partition("@")[0]
    without_ehr = _without_record(workspace, run_id, recipe)
    hashes = {"cohort_sha256": origin.cohort_sha256, "images_sha256": origin.images_sha256}
    is_target = which == "target"
    return Candidate(
        candidate_id=run_id if is_target else f"{ANCHOR_PREFIX}{run_id}",
        kind="run",
        label=label_run(recipe.objective.label, describe_record(recipe.ehr), which)
        + label_cohorts([each.cohort for each in origin.cohorts])
        + (label_start(start, seen.unlisted) if start else "")
        + (label_extended(recipe.train.extend_schedule) if recipe.train.extends else ""),
        settings=CandidateSettings(
            weights_sha256=encoder.weights_sha256,
            features=names,
            missing=recipe.ehr.missing if recipe.ehr.features else "",
            num_epochs=recipe.train.num_epochs,
            architecture=architecture_of(recipe),
            setup_sha256=hash_settings([without_ehr, hashes] if is_target else [without_ehr, hashes, which]),
            encoder=None if is_target else which,
            start=recipe.model.init or None,
            extends=recipe.train.extends or None,
            taught_before=taught if set(taught) - set(names) else None,
            unlisted=seen.unlisted or None,
        ),
        features=lambda: extract_features(workspace, encoder, images, devices),
        encoder=encoder,
        pretraining=seen,
        is_outcome_used=is_outcome_used(taught),
    )


def _without_record(workspace: Workspace, run_id: str, recipe: Recipe) -> dict[str, Any]:
    """Return a recipe without the record; the run that it extends stands for its setup, without the record either."""
    values = {key: value for key, value in recipe.to_dict().items() if key != "ehr"}
    if recipe.train.extends:
        description, _ = read_description(RunFiles(workspace.runs / run_id))
        setup = description.extends_setup if description else None
        values["train"]["extends"] = setup[-1] if setup else recipe.train.extends
    return values


def describe_record(ehr: EhrSettings) -> str:
    """Return what of the record takes part in a run, for tables: "demo, predicts icu, shuffled"."""
    parts = [name_features(ehr.features, ", ")] if ehr.features else []
    parts += ["predicts " + name_features(ehr.predict, ", ")] if ehr.predict else []
    return ", ".join(parts + ([ehr.control] if ehr.control != "none" else []))


def random_candidate(workspace: Workspace, recipe: Recipe, images: ImageStore, devices: Devices) -> Candidate:
    """Return the recipe's encoder before its first step: same architecture, same seed, no training."""
    module = init_state(recipe, NO_RECORD, torch.device("cpu")).model.published.eval()
    sha256 = hashlib.sha256(pack_weights(module)).hexdigest()
    encoder = Encoder(module, recipe, sha256, NOWHERE)
    digest = hash_settings([sha256, write_fields(architecture_of(recipe))])[:8]
    return Candidate(
        candidate_id=f"random-init-{recipe.model.backbone}-s{recipe.train.seed}-{digest}",
        kind="random-init",
        label=f"random {recipe.model.backbone}, seed {recipe.train.seed}",
        settings=CandidateSettings(weights_sha256=sha256, architecture=architecture_of(recipe)),
        features=lambda: extract_features(workspace, encoder, images, devices),
        encoder=encoder,
    )


def table_candidate(cohort: Cohort, names: tuple[str, ...], kind: CandidateKind, label: str = "") -> Candidate:
    """Return the health record itself as features: `ehr-only` takes the named ones, `view-only` the view."""
    is_view = kind == "view-only"
    return Candidate(
        candidate_id=kind if is_view else f"{kind}-{name_features(names, '+')}",
        kind=kind,
        label=label or ("view alone" if is_view else "record alone: " + name_features(names, ", ")),
        settings=CandidateSettings(features=names, chosen_by=None if is_view else "folds of train"),
        features=lambda: cohort.features(names, "mask"),
        is_outcome_used=is_outcome_used(names),
    )


def baseline_candidates(
    workspace: Workspace, recipe: Recipe, cohort: Cohort, images: ImageStore, devices: Devices
) -> list[Candidate]:
    """Return the baselines of every run that are its own: untrained encoder, the record, the view."""
    given = (*recipe.ehr.features, *recipe.ehr.predict)
    return [random_candidate(workspace, recipe, images, devices), *record_candidates(cohort, given)]


def record_candidates(cohort: Cohort, given: Sequence[str] = ()) -> list[Candidate]:
    """Return the baselines that need no encoder: the record and the view, where they are known.

    The record twice: all that is known when a film is taken (`known_features`), and of that what a run was `given`, or
    predicted, in pretraining. A feature of the run that is known only later is left out of it, and named.
    """
    known, baselines = known_features(cohort), []
    if known:
        baselines.append(table_candidate(cohort, known, "ehr-only"))
    names = tuple(name for name in cohort.names if name in given and name in films_features(cohort))
    if names and set(names) != set(known):
        later = [name for name in cohort.names if name in given and find_feature(name).known == "after"]
        left_out = f" (without {', '.join(later)}, known later)" if later else ""
        label = f"record alone, as in the run: {name_features(names, ', ')}{left_out}"
        baselines.append(table_candidate(cohort, names, "ehr-only", label))
    if "view" in known:
        baselines.append(table_candidate(cohort, ("view",), "view-only"))
    return baselines
