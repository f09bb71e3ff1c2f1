"""The files of a cohort: text in films.npz comes out as it went in, keys in cohort.duckdb name one row each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.cohort.database import KEYS, check_keys
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.core.errors import DataError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database


def test_text_that_is_not_ascii_comes_out_of_the_archive_as_it_went_in(
    world: Any, workspace: Workspace, tmp_path: Path
) -> None:
    data = world.write(tmp_path / "data")
    folder = data / "files" / "Röntgen" / "p10"
    shutil.move(data / "files" / "p10", folder)
    cohort = open_cohort(build_cohort(workspace, IngestOptions("mimic", data)).path)
    assert all(path.startswith("files/Röntgen/p10/") for path in cohort.path.tolist())
    assert all((cohort.root / path).is_file() for path in cohort.path.tolist())


def test_text_is_kept_as_bytes(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    path = build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data"))).path
    with np.load(path / "films.npz", allow_pickle=False) as archive:
        assert {archive[name].dtype.kind for name in ("image_id", "path", "view", "taken_at")} == {"S"}
    assert open_cohort(path).image_id.dtype.kind == "U"


def test_two_rows_with_one_key_are_refused(world: Any, workspace: Workspace, tmp_path: Path) -> None:
    path = build_cohort(workspace, IngestOptions("mimic", world.write(tmp_path / "data"))).path
    with open_database(path / "cohort.duckdb") as database:
        check_keys(database)
        filled = [table for table in KEYS if database.rows(f"SELECT 1 FROM {table}")]
        assert set(KEYS) - set(filled) == {"ed_stay", "measure"}
        for table in filled:
            database.execute(f"INSERT INTO {table} SELECT * FROM {table} LIMIT 1")
            with pytest.raises(DataError, match=rf"^{table}: 1 row with a {KEYS[table]} that another row has"):
                check_keys(database)
            database.execute(f"CREATE TABLE kept AS SELECT DISTINCT * FROM {table}; DELETE FROM {table}")
            database.execute(f"INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept")
