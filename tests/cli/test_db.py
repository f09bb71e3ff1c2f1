"""`cxrssl db` and what damages of the store come to: one sentence, and a rebuild that restores every row."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import duckdb
import pytest

from cxrssl.core.errors import DataError, SetupError
from cxrssl.core.lock import hold_lock
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.results import bounded, store
from cxrssl.results.check import check_store, content_sha256, hash_tables
from cxrssl.results.store import Busy, fold_store, rebuild_store
from tests.cli.command import run
from tests.records.folders import make_evaluation, make_run, metric, write_lines
from tests.scale import scaled

SEED = int(os.environ.get("CXRSSL_SEED", "20261201"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    workspace.mark()
    make_run(workspace, "one", range(300), end="finish")
    make_run(workspace, "two", range(30), end="finish")
    make_evaluation(workspace, "one", "run", 0.75)
    return workspace


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check reads in a process of its own, unless it is told that this is the one."""
    monkeypatch.setenv(bounded.MARK, "1")


def test_a_check_reads_in_a_process_of_its_own(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(bounded.MARK)
    fold_store(workspace)
    assert run("db", "check", workspace=workspace.root).returncode == 0
    assert capfd.readouterr().out.startswith("the store holds what a rebuild makes: 2,")
    monkeypatch.setattr(bounded, "run_bounded", lambda *_: (_ for _ in ()).throw(SetupError("SIGABRT")))
    ended = run("db", "check", workspace=workspace.root)
    assert (ended.returncode, "reading it ends the process" in ended.stderr) == (3, True)
    assert "hint: make it again: cxrssl db rebuild" in ended.stderr


def test_a_rebuild_and_a_check_give_the_same_content(workspace: Workspace) -> None:
    made = json.loads(run("db", "rebuild", "--json", workspace=workspace.root).stdout)
    write_lines(workspace.runs / "two/metrics-0001.jsonl", [metric(step) for step in range(30, 40)])
    checked = json.loads(run("db", "check", "--json", workspace=workspace.root).stdout)
    again = json.loads(run("db", "rebuild", "--json", workspace=workspace.root).stdout)
    assert checked["content_sha256"] == again["content_sha256"] != made["content_sha256"]
    assert checked["rows"] == again["rows"]
    assert (made["rows"]["metric"], again["rows"]["metric"]) == (330 * 7, 340 * 7)
    assert run("db", "check", workspace=workspace.root).stdout.startswith("the store holds what a rebuild makes: 2,")


def damage(path: Path, rng: random.Random, number: int) -> str:
    """Damage a file as a disk, a program or a person may, and say how."""
    data = bytearray(path.read_bytes())
    kind = ("flip", "cut", "zeros", "empty", "text", "append", "shift", "swap")[number % 8]
    at = rng.randrange(len(data))
    if kind == "flip":
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "zeros":
        data[at : at + 4096] = bytes(len(data[at : at + 4096]))
    elif kind == "shift":
        del data[at : at + 1]
    elif kind == "swap" and len(data) > 3 * 4096:
        data[4096:8192], data[8192:12288] = data[8192:12288], data[4096:8192]
    if bytes(data) == path.read_bytes():
        data[at] ^= 1
    made = {"cut": bytes(data[:at]), "empty": b"", "text": b"no database\n" * 9, "append": bytes(data) + b"\0" * 99}
    path.write_bytes(made.get(kind, bytes(data)))
    return f"{kind} at {at}"


@pytest.mark.fuzz
def test_every_damage_gets_one_sentence_that_names_the_rebuild_which_restores_all(workspace: Workspace) -> None:
    wanted = content_sha256(hash_tables(rebuild_store(workspace)))
    rng = random.Random(SEED)
    for number in range(scaled(8, 100)):
        lay = workspace.store.stat()
        about = damage(workspace.store, rng, number)
        os.utime(workspace.store, ns=(lay.st_atime_ns, lay.st_mtime_ns))
        checked = run("db", "check", workspace=workspace.root)
        assert checked.returncode == 3, (SEED, about)
        error, where, hint = checked.stderr.splitlines()
        assert error == "cxrssl: error: the store is damaged, or another program wrote to it", (SEED, about)
        assert (where.strip(), hint) == (f"at {workspace.store}", "  hint: make it again: cxrssl db rebuild")
        made = run("db", "rebuild", "--json", workspace=workspace.root)
        assert json.loads(made.stdout)["content_sha256"] == wanted, (SEED, about)


def test_rows_that_are_not_those_of_the_journals_are_found(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fold_store(workspace)
    with open_database(workspace.store) as database:
        database.execute("UPDATE metric SET value = 9 WHERE step = 5")
    monkeypatch.setattr("cxrssl.results.check.is_sealed", lambda path: True)
    monkeypatch.setattr("cxrssl.results.check.refresh_store", lambda workspace: workspace.store)
    with pytest.raises(DataError) as caught:
        check_store(workspace)
    assert caught.value.what == "the store holds other rows than its sources in metric"


def test_a_query_makes_a_damaged_store_again_and_says_so(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(bounded.MARK)
    fold_store(workspace)
    workspace.store.write_bytes(workspace.store.read_bytes()[:-5000])
    asked = run("sql", "--results", "--csv", "SELECT count(*) AS n FROM metric", workspace=workspace.root)
    assert (asked.returncode, asked.stdout) == (0, "n\n2310\n")
    note = (
        "cxrssl: note: the store is damaged, or another program wrote to it; it is made again, as by cxrssl db rebuild"
    )
    assert asked.stderr.splitlines() == [note]


def test_a_copy_of_a_workspace_needs_no_rebuild(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are others, with the same bytes."""
    fold_store(workspace)
    shutil.copytree(workspace.root, tmp_path / "copy")
    copy = Workspace(tmp_path / "copy")
    assert store.read_previous(copy) is not None
    (copy.root / "experiments.crc32").unlink()
    assert store.read_previous(copy) is None


def test_a_second_writer_is_refused_at_once_with_the_process_of_the_first(workspace: Workspace) -> None:
    with hold_lock(workspace.root / ".experiments.lock", Busy("busy")):
        result = run("db", "rebuild", workspace=workspace.root)
    assert result.returncode == 2
    assert f"experiments.duckdb is being made by another process (PID {os.getpid()})" in result.stderr


def test_tables_are_exported_as_parquet_and_for_an_older_duckdb(workspace: Workspace, tmp_path: Path) -> None:
    assert run("db", "export", "--out", tmp_path / "tables", workspace=workspace.root).returncode == 0
    file = tmp_path / "old.duckdb"
    assert run("db", "export", "--compat", "--out", file, workspace=workspace.root).returncode == 0
    with duckdb.connect() as connection:
        (rows,) = connection.execute(f"SELECT count(*) FROM '{tmp_path}/tables/metric.parquet'").fetchall()
        connection.execute(f"ATTACH '{file}' AS old (READ_ONLY)")
        assert connection.execute("SELECT count(*) FROM old.metric").fetchall() == [rows] == [(330 * 7,)]
        (tags,) = connection.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'old'").fetchall()
        assert tags[0]["storage_version"].startswith("v1.2")
        assert connection.execute("SELECT auroc FROM old.run_score WHERE run_id = 'one'").fetchall() == [(0.75,)]
    assert "/" not in (tmp_path / "tables/load.sql").read_text()
    assert run("db", "export", "--out", tmp_path / "tables", workspace=workspace.root).returncode == 2
    assert run("db", "export", "--out", tmp_path / "a.duckdb", workspace=workspace.root).returncode == 2


def test_a_row_is_printed_a_line_for_each_value(workspace: Workspace) -> None:
    fold_store(workspace)
    query = "SELECT run_id, step, NULL AS nothing FROM run ORDER BY run_id"
    shown = run("sql", "--results", "--vertical", query, workspace=workspace.root).stdout
    assert shown.splitlines()[:5] == ["-- row 1", "run_id   one", "step     1000", "nothing  NULL", "-- row 2"]
    assert run("sql", "--results", "--vertical", "--json", query, workspace=workspace.root).returncode == 2
