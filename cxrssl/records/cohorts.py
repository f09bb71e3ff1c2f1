"""Which cohorts a workspace holds, as far as those must know who read what was scored on them.

In: a workspace. Out: the dataset of each cohort by its name; why an evaluation is of a cohort that is gone.
Never: a cohort opened, whose tables and arrays are those of `cohort`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from cxrssl.core.artefact import MANIFEST, open_artefact
from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace

KIND = "cohort"


def find_datasets(workspace: Workspace) -> dict[str, str]:
    """Return the dataset of each cohort of a workspace; "" for one that is damaged."""
    return {name: _find_dataset(workspace.cohorts / name) for name in workspace.cohort_names()}


def describe_gone(cohort: str, dataset: str, datasets: Mapping[str, str]) -> str:
    """Return that a cohort is not in the workspace any more, in words, or "".

    A workspace without any cohort holds results alone, and they stand for themselves.
    """
    name = plain(cohort, 60)
    if not datasets:
        return ""
    if cohort not in datasets:
        return f"its cohort {name} is gone"
    now = datasets[cohort]
    if dataset and now and now != dataset:
        return f"its cohort {name} of dataset {plain(dataset, 40)} is gone: {name} is of dataset {plain(now, 40)} now"
    return ""


def _find_dataset(folder: Path) -> str:
    try:
        lay = (folder / MANIFEST).stat()
    except OSError:
        return ""
    return _read_dataset(folder, (lay.st_mtime_ns, lay.st_ctime_ns, lay.st_size, lay.st_ino))


@functools.lru_cache(256)
def _read_dataset(folder: Path, lay: tuple[int, ...]) -> str:
    """Return the dataset that a manifest names which lies as `lay` says."""
    try:
        return str(open_artefact(folder, KIND, verify=False).settings.get("dataset", ""))
    except IntegrityError:
        return ""
