"""The store: all that a workspace holds and what of it is damaged, as the records say it now."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrssl.core.errors import SetupError
from cxrssl.core.journal import append_record
from cxrssl.core.process import describe_process, start_ticks
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.records import published
from cxrssl.records.published import read_published
from cxrssl.report.write import write_report
from cxrssl.results import store
from cxrssl.results.fold import Folded, fold
from cxrssl.results.rows import METRICS, DifferenceRow, difference_rows
from cxrssl.results.sql import list_damage, run_query
from cxrssl.results.store import is_store_current, rebuild_store, refresh_store
from tests.cli.command import run
from tests.records.folders import make_run
from tests.report.test_report import FINDINGS, make_evaluation
from tests.scale import scaled

NAN = "nan"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path / "ws").create()
    make_run(workspace, "vanilla", range(10))
    make_evaluation(workspace, "vanilla", skill=2.0)
    make_evaluation(workspace, "with-sex", features=("sex",), skill=3.0)
    make_evaluation(workspace, "untrained", kind="random-init", skill=0.2)
    return workspace


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as if they had been written long before they are read."""
    monkeypatch.setattr(published, "CLOCK_STEP_S", 0.0)


def content_of(path: Path) -> dict[str, list[Any]]:
    """Return the sorted rows of every table but the one that says how the files lay; nan is equal to itself."""
    with open_database(path, read_only=True) as database:
        names = [name for (name,) in database.rows("SELECT table_name FROM duckdb_tables()")]
        rows = {name: database.rows(f"SELECT * FROM {name} ORDER BY ALL") for name in names if name != "source"}
    return {
        name: [tuple(NAN if cell != cell else cell for cell in row) for row in found] for name, found in rows.items()
    }


def test_everything_published_is_there_and_what_cannot_be_used_is_named(workspace: Workspace) -> None:
    write_report(workspace)
    broken = workspace.comparisons / "someone's"
    broken.mkdir()
    (workspace.runs / "half").mkdir()
    (workspace.runs / "half/run.json").write_text("{")
    results = read_published(workspace)
    assert [each.run_id for each in results.runs] == ["vanilla"]
    assert [each.settings.candidate_id for each in results.evaluations] == ["untrained", "vanilla", "with-sex"]
    assert len(results.comparisons) == 3
    assert [(each.kind, each.name) for each in results.damage] == [("run", "half"), ("comparison", "someone's")]
    assert results.probed == [("mimic", "official")]
    with open_database(refresh_store(workspace), read_only=True) as database:
        assert sorted(list_damage(database)) == sorted(results.damage)
    notes = run("sql", "SELECT 1", "--results", workspace=workspace.root).stderr.splitlines()
    assert [note.removeprefix("cxrssl: note: ") for note in notes] == sorted(each.sentence for each in results.damage)


def test_the_store_holds_every_number_of_every_comparison(workspace: Workspace) -> None:
    write_report(workspace)
    results = read_published(workspace)
    columns = ", ".join(field.name for field in fields(DifferenceRow))
    with open_database(workspace.store, read_only=True) as database:
        names, rows, _ = run_query(database, f"SELECT {columns} FROM comparison")
    stored = [DifferenceRow(**dict(zip(names, row, strict=True))) for row in rows]
    made = [row for each in results.comparisons for row in difference_rows(each)]
    assert stored == made
    assert len(made) == 3 * len(METRICS) * (1 + len(FINDINGS))


def test_the_table_of_comparisons_is_listed_with_what_its_columns_mean(workspace: Workspace) -> None:
    listing = json.loads(run("sql", "--results", "--tables", "--json", workspace=workspace.root).stdout)["tables"]
    (table,) = [each for each in listing if each["name"] == "comparison"]
    assert table["comment"].startswith("Paired differences")
    assert {column["name"] for column in table["columns"]} == {field.name for field in fields(DifferenceRow)}


@pytest.mark.usefixtures("settled")
def test_the_store_is_made_again_when_a_comparison_was_published(workspace: Workspace) -> None:
    refresh_store(workspace)
    assert is_store_current(workspace)
    write_report(workspace)
    assert is_store_current(workspace)
    (workspace.comparisons / "another").mkdir()
    assert not is_store_current(workspace)


def test_what_was_written_just_before_it_was_read_is_read_again(workspace: Workspace) -> None:
    """Within one tick of the file system's clock a second version of a file has the times of the first."""
    refresh_store(workspace)
    assert not is_store_current(workspace)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("name", ["run.json", "events.jsonl", "metrics-0001.jsonl"])
def test_a_file_changed_in_place_at_equal_size_and_time_is_read_again(workspace: Workspace, name: str) -> None:
    refresh_store(workspace)
    path = workspace.runs / "vanilla" / name
    lay, data = path.stat(), path.read_bytes()
    path.write_bytes(data.replace(b"1234", b"4321").replace(b'"step":0', b'"step":3'))
    os.utime(path, ns=(lay.st_atime_ns, lay.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (lay.st_size, lay.st_mtime_ns)
    assert path.read_bytes() != data
    before = content_of(workspace.store)
    assert content_of(refresh_store(workspace)) != before


@pytest.mark.usefixtures("settled")
def test_a_run_that_was_killed_is_running_no_more(workspace: Workspace) -> None:
    """Nothing in its folder tells."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    about = {**describe_process(), "pid": process.pid, "pid_started": start_ticks(process.pid)}
    make_run(workspace, "killed", range(3), process=about)
    query = ("sql", "SELECT state FROM run WHERE run_id = 'killed'", "--results", "--csv")
    assert run(*query, workspace=workspace.root).stdout == "state\nrunning\n"
    assert is_store_current(workspace)
    process.kill()
    process.wait()
    assert run(*query, workspace=workspace.root).stdout == "state\ndied\n"


@pytest.mark.usefixtures("settled")
def test_what_is_logged_while_the_store_is_written_is_in_the_next(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish_then_fold(*args: Any) -> Folded:
        append_record(workspace.runs / "vanilla/events.jsonl", {"event": "finish"})
        return fold(*args)

    with monkeypatch.context() as patch:
        patch.setattr(store, "fold", finish_then_fold)
        rebuild_store(workspace)
    assert [row[9] for row in content_of(refresh_store(workspace))["run"]] == ["finished"]


@pytest.mark.usefixtures("settled")
def test_a_store_that_someone_wrote_to_is_made_again(workspace: Workspace) -> None:
    wanted = content_of(refresh_store(workspace))
    with open_database(workspace.store) as database:
        database.execute("UPDATE eval_result SET value = 0.99")
    assert content_of(refresh_store(workspace)) == wanted
    workspace.store.with_name("experiments.duckdb.wal").write_bytes(b"of another database")
    assert content_of(rebuild_store(workspace)) == wanted


@pytest.mark.usefixtures("settled")
def test_rows_of_a_damaged_store_are_not_kept(workspace: Workspace) -> None:
    make_run(workspace, "long", range(3000))
    wanted = content_of(rebuild_store(workspace))
    lay, data = workspace.store.stat(), bytearray(workspace.store.read_bytes())
    for place in range(len(data) // 2, len(data), 4096):
        data[place] ^= 0x10
    workspace.store.write_bytes(data)
    os.utime(workspace.store, ns=(lay.st_atime_ns, lay.st_mtime_ns))
    asked = run("sql", "SELECT sum(step) FROM metric", "--results", workspace=workspace.root)
    if asked.returncode:  # else what it says of itself was damaged too, and it was made again at once
        assert (asked.returncode, "make it again: cxrssl db rebuild" in asked.stderr) == (3, True), asked.stderr
    assert content_of(rebuild_store(workspace)) == wanted


def test_what_killed_builders_left_is_removed_and_what_a_living_one_builds_is_not(workspace: Workspace) -> None:
    code = (
        "import sys; from pathlib import Path; from cxrssl.core.workspace import Workspace\n"
        "from cxrssl.results.store import rebuild_store; rebuild_store(Workspace(Path(sys.argv[1])))"
    )
    for point in ("store-before-check", "store-before-rename", "store-after-rename"):
        words = [sys.executable, "-c", code, str(workspace.root)]
        done = subprocess.run(words, env={**os.environ, "CXRSSL_KILL_AT": f"{point}:1"}, check=False)
        assert done.returncode == -9
    (workspace.root / ".experiments.duckdb.999999999").touch()  # as older versions call it
    assert len(hidden(workspace)) == 3  # with the lock of the one that was killed
    with store.building_folder(workspace.store) as folder:
        assert [name for name in hidden(workspace) if "lock" not in name] == [folder.name]
        rebuild_store(workspace)
        assert hidden(workspace) == [folder.name]
    assert hidden(workspace) == []


def hidden(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.root.iterdir() if path.name.startswith("."))


@contextmanager
def files_of_at_most(num_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.crash
@pytest.mark.parametrize("is_first", [True, False])
def test_the_store_on_a_full_disk_is_whole_or_the_one_before(workspace: Workspace, is_first: bool) -> None:
    """A limit on the size of a file stops DuckDB in the middle: in its journal, or, past that, in its file."""
    if not is_first:
        rebuild_store(workspace)
    before = content_of(workspace.store) if not is_first else None
    make_run(workspace, "long", range(300))
    outcomes = set()
    for limit in np.geomspace(1_000, 4_000_000, scaled(12, 100)).astype(int).tolist():
        try:
            with files_of_at_most(limit):
                rebuild_store(workspace)
        except SetupError:
            outcomes.add("refused")
            assert workspace.store.exists() is not is_first
            assert before is None or content_of(workspace.store) == before
        else:
            outcomes.add("whole")
            assert len(content_of(workspace.store)["metric"]) == 310 * 7
            break
        assert hidden(workspace) == []
    assert outcomes == {"refused", "whole"}


@pytest.mark.crash
def test_the_store_is_folded_within_a_gibibyte_whatever_the_number_of_runs(tmp_path: Path) -> None:
    """The journal of one run stands for all; in full 200 runs of 20,000 steps, 28 million numbers."""
    workspace, num_runs, num_steps = Workspace(tmp_path / "ws"), scaled(3, 200), scaled(2000, 20_000)
    journal = make_run(workspace, "run-0", range(num_steps)) / "metrics-0001.jsonl"
    for number in range(1, num_runs):
        os.link(journal, make_run(workspace, f"run-{number}") / journal.name)
    code = (
        "import sys; from pathlib import Path; from cxrssl.core.workspace import Workspace\n"
        "from cxrssl.core.process import peak_rss_bytes; from cxrssl.results.store import rebuild_store\n"
        "rebuild_store(Workspace(Path(sys.argv[1]))); sys.stdout.write(str(peak_rss_bytes()))"
    )
    words = [sys.executable, "-c", code, str(workspace.root)]
    assert int(subprocess.run(words, capture_output=True, text=True, check=True).stdout) < 1 << 30
    with open_database(workspace.store, read_only=True) as database:
        assert database.rows("SELECT count(*) FROM metric") == [(num_runs * num_steps * 7,)]
