"""The database layer: locked down, errors renamed, frames in and out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from cxrssl.core.errors import CxrsslError, DataError, IntegrityError, SetupError, UsageError
from cxrssl.db import apply_schema, open_database, read_schema, renamed_duckdb_errors


def test_frame_goes_in_by_name_and_comes_out_equal(tmp_path: Path) -> None:
    frame = pl.DataFrame({"b": ["x", None], "a": [1, 2]})
    with open_database(tmp_path / "x.duckdb", memory="200MB", threads=1) as database:
        database.execute("CREATE TABLE t (a BIGINT, b VARCHAR, c DOUBLE)")
        database.insert("t", frame)
        assert database.query("SELECT b, a FROM t WHERE a > ?", [0]).equals(frame)
        assert database.rows("SELECT c FROM t") == [(None,), (None,)]
        assert database.columns("t") == ["a", "b", "c"]
    with open_database(tmp_path / "x.duckdb", read_only=True) as database:
        assert database.rows("SELECT count(*) FROM t") == [(2,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '{out}'",
        "ATTACH '{out}' AS other",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET threads = 1",
        "SELECT * FROM frame",
    ],
)
def test_sql_cannot_leave_the_database(tmp_path: Path, sql: str) -> None:
    frame = pl.DataFrame({"a": [1]})  # would be found by name if replacement scans were on
    with open_database(tmp_path / "x.duckdb") as database, pytest.raises(CxrsslError):
        database.execute(sql.format(out=tmp_path / "out"))
    assert frame.height == 1
    assert not (tmp_path / "out").exists()


def test_wrong_sql_is_a_usage_error_of_one_line() -> None:
    with open_database(None) as database, pytest.raises(UsageError) as caught:
        database.query("SELECT nothing FROM nowhere")
    assert "\n" not in caught.value.what


def test_broken_constraint_is_a_data_error() -> None:
    with open_database(None) as database:
        database.execute("CREATE TABLE t (a INTEGER PRIMARY KEY)")
        with pytest.raises(DataError, match="duplicate key"):
            database.execute("INSERT INTO t VALUES (1), (1)")


def test_missing_and_damaged_files_have_their_own_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no database"):
        open_database(tmp_path / "x.duckdb", read_only=True)
    (tmp_path / "y.duckdb").write_bytes(b"no database at all" * 1000)
    with pytest.raises(IntegrityError):
        open_database(tmp_path / "y.duckdb")


def test_database_held_by_another_process_is_a_setup_error(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path\nfrom cxrssl.core.errors import SetupError\n"
    code += "from cxrssl.db import open_database\ntry: open_database(Path(sys.argv[1]))\n"
    code += "except SetupError as error: sys.exit('in use' in error.what and 7)"
    with open_database(tmp_path / "x.duckdb"):
        result = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.duckdb")], check=False)
    assert result.returncode == 7
    assert SetupError.exit_code == 4


def test_query_leaves_no_noise_on_stderr() -> None:
    code = "from cxrssl.db import open_database\nwith open_database(None) as d: d.query('SELECT 1 AS a')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr == ""


def test_schemas_are_found_and_apply() -> None:
    with open_database(None) as database:
        apply_schema(database, "3_results.sql")
        assert "candidate_id" in database.columns("macro")
    assert "CREATE TABLE patient" in read_schema("1_source.sql")
    with pytest.raises(FileNotFoundError):
        read_schema("9_nothing.sql")


def test_a_full_disk_is_a_setup_error_whatever_class_of_error_duckdb_makes_of_it() -> None:
    text = 'TransactionContext Error: Failed to commit: Could not write file "x.wal": No space left on device'
    for kind in (duckdb.TransactionException, duckdb.IOException, duckdb.Error):
        with pytest.raises(SetupError, match="cannot write the database"), renamed_duckdb_errors(None):
            raise kind(text)
