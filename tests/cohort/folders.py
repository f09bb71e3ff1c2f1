"""Folders of films with a map, and the cohorts that are made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.cohort.summary import CohortSummary
from cxrssl.core.workspace import Workspace
from tests.cohort.conftest import JPEG

MAPS = Path(__file__).parent / "maps"
SIMPLE = """
labels.findings = { Edema = "edema" }
[films]
file = "films.csv"
image = "file"
subject = "person"
"""


def write_folder(root: Path, table: str, names: tuple[str, ...] = ("a.png", "sub/b.jpg", "c.jpeg")) -> Path:
    """Write films and their table."""
    (root / "data").mkdir(exist_ok=True)
    for name in names:
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    (root / "data" / "films.csv").write_text(table)
    return root / "data"


TABLE = "file,person,edema,sex,years\na.png,7,1,F,50\nb,7,0,F,51\nsub/c.png,8,,M,\n"


def build(workspace: Workspace, root: Path, text: str, **options: Any) -> CohortSummary:
    path = root.parent / "map.toml"
    path.write_text(text)
    return build_cohort(workspace, IngestOptions("folder", root, map=path, **options))


def opened(workspace: Workspace, root: Path, text: str, **options: Any) -> Cohort:
    return open_cohort(build(workspace, root, text, **options).path)


def values_of(cohort: Cohort, name: str) -> list[float | None]:
    column = cohort.column_of(name)
    pairs = zip(cohort.ehr_values[:, column].tolist(), cohort.ehr_known[:, column].tolist(), strict=True)
    return [value if known else None for value, known in pairs]


IMAGE = 'image = "file"\n'
OTHER_LABELS = SIMPLE.replace('labels.findings = { Edema = "edema" }', "")
