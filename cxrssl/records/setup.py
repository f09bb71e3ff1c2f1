"""What runs share but for their seed, but for a wrong record in place of the right one, and but for the record.

In: the recipe and the data that a run's folder names. Out: Setup, of hashes that are equal for equal setups.
Never: two runs taken for one setup because a setting of theirs is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cxrssl.core.durable import hash_settings
from cxrssl.core.workspace import Workspace
from cxrssl.records.run import RunDescription, RunFiles, read_description

RIGHT = "none"
"""The `ehr.control` of a run that is given the right record, or none at all."""


@dataclass(frozen=True)
class Setup:
    """A run without its seed."""

    seed: int
    control: str
    """How the record is wrong, such as "shuffled"; RIGHT where it is not."""
    has_record: bool
    """Whether anything of the record is given or predicted; if not, the run is vanilla."""
    sha256: str
    """Equal for runs that differ in the seed alone."""
    right_sha256: str
    """Equal for those that differ in seed and control alone."""
    vanilla_sha256: str
    """Equal for those that differ in seed and record alone."""


def find_setup(description: RunDescription) -> Setup | None:
    """Return the setup of a run; None where run.json does not name a seed, or its recipe is not the one it hashes."""
    recipe, seed = description.recipe, description.facts.train.seed
    tables = all(isinstance(keys, Mapping) for keys in recipe.values())
    if not tables or seed is None or description.recipe_sha256 not in ("", hash_settings(recipe)):
        return None
    train = {key: value for key, value in recipe.get("train", {}).items() if key != "seed"}
    before = _find_before(train, description.extends_setup)
    others = {section: keys for section, keys in recipe.items() if section not in ("ehr", "train")}
    data = description.cohort, description.cohort_sha256, description.images_sha256
    shared = [others, train, data]
    ehr = recipe.get("ehr", {})
    has_record = bool(ehr.get("features") or ehr.get("predict"))
    right = {key: value for key, value in ehr.items() if key != "control"} if has_record else {}
    control = str(ehr.get("control", RIGHT)) if has_record else RIGHT
    return Setup(
        seed=seed,
        control=control,
        has_record=has_record,
        sha256=hash_settings([shared, right, control, *before[:1]]),
        right_sha256=hash_settings([shared, right, *before[1:2]]),
        vanilla_sha256=hash_settings([*shared, *before[2:]]),
    )


def _find_before(train: dict[str, Any], setup: tuple[str, ...] | None) -> tuple[str, ...]:
    """Take the run that is extended, whose id names its seed, out of `train`; return its setup in its place."""
    if "extends" not in train or setup is None or len(setup) != 3:
        return ()
    del train["extends"]
    return setup


def find_setups(descriptions: Iterable[tuple[str, RunDescription]]) -> dict[str, Setup]:
    """Return the setups of runs, by run_id; a run without one is left out."""
    found = ((run_id, find_setup(description)) for run_id, description in descriptions)
    return {run_id: setup for run_id, setup in found if setup is not None}


def read_setups(workspace: Workspace) -> dict[str, Setup]:
    """Return the setups of the runs of a workspace, by run_id."""
    read = ((run_id, read_description(RunFiles(workspace.runs / run_id))[0]) for run_id in workspace.run_ids())
    return find_setups((run_id, description) for run_id, description in read if description is not None)
