"""What a probe is fitted on: a run's encoder, the same encoder untrained, the health record alone, the view alone.

In: a run id or the name of a baseline. Out: a matrix with one row a film, and who it stands for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from cxrssl.cohort.features import FEATURE_NAMES, is_outcome_used, name_features
from cxrssl.cohort.read import Cohort
from cxrssl.core.config import build_settings
from cxrssl.core.errors import DataError, IntegrityError
from cxrssl.core.recipe import Recipe
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.features import extract_features
from cxrssl.images.store import ImageStore
from cxrssl.train.encoder import Encoder, open_encoder
from cxrssl.train.state import init_state


@dataclass(frozen=True)
class Candidate:
    """Something whose frozen features are probed."""

    candidate_id: str
    kind: str
    """`run`, `random-init`, `ehr-only` or `view-only`."""
    label: str
    """How tables call it, such as "MSN + sex, age"."""
    settings: dict[str, Any]
    """What decides its features."""
    features: Callable[[], NDArray[np.float32]]
    pretrained_on: dict[str, str]
    """image_id -> subject_id of every film that shaped it; empty for baselines."""
    pretrained_dataset: str = ""
    is_outcome_used: bool = False


def open_run(workspace: Workspace, run_id: str) -> tuple[dict[str, Any], Path]:
    """Return description and folder of a run whose encoder is published; raises DataError when it is not finished."""
    folder = workspace.find_run(run_id)
    try:
        description: dict[str, Any] = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError) as error:
        raise IntegrityError(f"run.json of {folder.name} cannot be read: {error}", folder) from None
    if not (folder / "encoder").is_dir():
        raise DataError(f"run {folder.name} is not finished", folder, "run the same pretrain command to go on")
    return description, folder


def run_candidate(workspace: Workspace, run_id: str, images: ImageStore, device: torch.device) -> Candidate:
    """Return the target encoder of a finished run."""
    description, folder = open_run(workspace, run_id)
    encoder = open_encoder(folder / "encoder")
    names = encoder.recipe.ehr.features
    lines = (folder / "films.csv").read_text().splitlines()[1:]
    return Candidate(
        candidate_id=folder.name,
        kind="run",
        label="MSN + " + name_features(names, ", ") if names else "MSN",
        settings={
            "weights_sha256": encoder.weights_sha256,
            "features": list(names),
            "architecture": architecture_of(encoder.recipe),
        },
        features=lambda: extract_features(workspace, encoder, images, device).values_ND,
        pretrained_on=dict(line.split(",", 1) for line in lines),
        pretrained_dataset=str(description["dataset"]),
        is_outcome_used=is_outcome_used(names),
    )


def random_candidate(workspace: Workspace, recipe: Recipe, images: ImageStore, device: torch.device) -> Candidate:
    """Return the recipe's encoder as it is before its first step: same architecture, same seed, no training."""
    module = init_state(recipe, 0, torch.device("cpu")).model.target_encoder.eval()
    weights = {name: value.detach() for name, value in module.state_dict().items()}
    sha256 = hashlib.sha256(save(weights)).hexdigest()
    encoder = Encoder(module, recipe, sha256)
    return Candidate(
        candidate_id=f"random-init-{recipe.model.backbone}-s{recipe.train.seed}-{sha256[:8]}",
        kind="random-init",
        label=f"random {recipe.model.backbone}, seed {recipe.train.seed}",
        settings={"weights_sha256": sha256, "architecture": architecture_of(recipe)},
        features=lambda: extract_features(workspace, encoder, images, device).values_ND,
        pretrained_on={},
    )


def table_candidate(cohort: Cohort, names: tuple[str, ...], kind: str) -> Candidate:
    """Return the health record itself as features: `ehr-only` takes the named ones, `view-only` the view."""
    return Candidate(
        candidate_id=kind if kind == "view-only" else f"{kind}-{name_features(names, '+')}",
        kind=kind,
        label="view alone" if kind == "view-only" else "record alone: " + name_features(names, ", "),
        settings={"features": list(names)},
        features=lambda: cohort.features(names, "mask"),
        pretrained_on={},
        is_outcome_used=is_outcome_used(names),
    )


def baseline_candidates(
    workspace: Workspace, recipe: Recipe, cohort: Cohort, images: ImageStore, device: torch.device
) -> list[Candidate]:
    """Return the baselines that stand beside every run: untrained encoder, all of the record there is, the view.

    A feature that is unknown for every film of the cohort is left out.
    """
    known = [name for row, name in enumerate(FEATURE_NAMES) if cohort.ehr_known[:, row].any()]
    baselines = [random_candidate(workspace, recipe, images, device)]
    if known:
        baselines.append(table_candidate(cohort, tuple(known), "ehr-only"))
    if "view" in known:
        baselines.append(table_candidate(cohort, ("view",), "view-only"))
    return baselines


def recipe_of_run(workspace: Workspace, run_id: str) -> Recipe:
    """Return the recipe a run was made with."""
    description, _ = open_run(workspace, run_id)
    return build_settings(Recipe, description["recipe"])


def architecture_of(recipe: Recipe) -> dict[str, Any]:
    """Return what a run and its random-initialised baseline share."""
    model, seed = recipe.model, recipe.train.seed
    return {"backbone": model.backbone, "patch_px": model.patch_px, "view_px": recipe.views.global_px, "seed": seed}
