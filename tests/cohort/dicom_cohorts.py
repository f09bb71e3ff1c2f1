"""Cohorts of a folder of DICOM, and what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database


def build(workspace: Workspace, root: Path, **options: Any) -> Any:
    return open_cohort(build_cohort(workspace, IngestOptions("dicom", root, **options)).path)


def feature(cohort: Any, name: str) -> list[float | None]:
    at = FEATURE_NAMES.index(name)
    pairs = zip(cohort.ehr_values[:, at].tolist(), cohort.ehr_known[:, at].tolist(), strict=True)
    return [value if is_known else None for value, is_known in pairs]


def given(cohort: Any, workspace: Workspace, column: str) -> list[Any]:
    with open_database(workspace.cohorts / cohort.name / "cohort.duckdb", read_only=True) as database:
        return [value for (value,) in database.rows(f"SELECT {column} FROM given_feature ORDER BY image_id")]
