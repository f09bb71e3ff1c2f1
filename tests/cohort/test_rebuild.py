"""R28: a damaged or deleted database costs one command, which its error names; a second writer is told who writes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrssl.cohort.read import open_cohort
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from cxrssl.results.store import refresh_store
from tests.cli.command import Result, run
from tests.cohort.conftest import make_world
from tests.records.folders import make_run
from tests.report.test_report import make_evaluation
from tests.scale import scaled

SEED = int(os.environ.get("CXRSSL_SEED", "20261130"))
BLOCK, HEADERS = 2**18, 3 * 4096
"""Of DuckDB's file, bytes: a block, and what lies before the first."""
HOLD = """
import sys
from pathlib import Path
from cxrssl.core.errors import UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.db import open_database
path = Path(sys.argv[1])
with open_database(path) if path.suffix == ".duckdb" else hold_lock(path, UsageError("")):
    print("held", flush=True)
    sys.stdin.read()
"""
REBUILD = """
import json, random, sys
from functools import partial
from pathlib import Path
import cxrssl.cohort.ingest, cxrssl.db
from cxrssl.core.workspace import Workspace
from tests.cli.command import run
from tests.cohort.conftest import make_world
from tests.cohort.test_rebuild import content_of, databases, ingest
workspace, root, threads, num, seed = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
original = cxrssl.db.open_database
cxrssl.db.open_database = cxrssl.cohort.ingest.open_database = partial(original, threads=threads)
world, rng = make_world(), random.Random(seed)
for trial in range(num):
    for path in workspace.rglob("*.duckdb"):
        path.unlink()
    if trial or threads > 1:
        for table in (world.patients, world.admissions, world.icustays, world.metadata, world.chexpert, world.split):
            rng.shuffle(table)
        world.write(root, gz=False)
    done = [ingest(workspace, root), run("sql", "--results", "SELECT 1", workspace=workspace)]
    assert [each.returncode for each in done] == [0, 0], done
    print(json.dumps([content_of(path) for path in databases(workspace)], default=str), flush=True)
"""


def ingest(workspace: Path, root: Path) -> Result:
    return run("ingest", "mimic", root, "--no-pack", workspace=workspace)


def databases(workspace: Path) -> list[Path]:
    return [workspace / "cohorts/mimic/cohort.duckdb", workspace / "experiments.duckdb"]


def content_of(path: Path) -> dict[str, list[Any]]:
    """Return the sorted rows of every table, without where files lay, how large they are, when the store was made."""
    with open_database(path, read_only=True) as database:
        names = [name for (name,) in database.rows("SELECT table_name FROM duckdb_tables() WHERE NOT internal")]
        rest = {
            name: {"line", "sha256", "num_bytes"} & set(database.columns(name)) for name in names if name != "source"
        }
        lists = {name: f"* EXCLUDE ({', '.join(sorted(left))})" if left else "*" for name, left in rest.items()}
        rows = {name: sorted(database.rows(f"SELECT {what} FROM {name}"), key=str) for name, what in lists.items()}
    assert sum(map(len, rows.values())) > 20
    return rows


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, and a workspace with its cohort, a run, evaluations and their store."""
    folder = tmp_path_factory.mktemp("whole")
    make_world().write(folder / "data", gz=False)
    workspace = Workspace(folder / "ws").create()
    done = ingest(workspace.root, folder / "data")
    assert done.returncode == 0, done.stderr
    make_run(workspace, "vanilla", range(2000), end="finish")
    make_evaluation(workspace, "vanilla", skill=2.0)
    refresh_store(workspace)
    return folder


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, whose dataset is the common one."""
    shutil.copytree(whole / "ws", tmp_path / "ws")
    return tmp_path / "ws"


Change = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, rng: random.Random) -> bytes:
    return _flip(data, rng, len(data))


def flip_a_header(data: bytes, rng: random.Random) -> bytes:
    return _flip(data, rng, HEADERS)


def _flip(data: bytes, rng: random.Random, end: int) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 8])):
        changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def cut_between_blocks(data: bytes, rng: random.Random) -> bytes:
    return data[: HEADERS + BLOCK * rng.randrange((len(data) - HEADERS) // BLOCK)]


def empty(data: bytes, rng: random.Random) -> bytes:
    return b""


def of_another_version(data: bytes, rng: random.Random) -> bytes:
    """Change the number that follows DuckDB's magic bytes."""
    version = rng.choice([1, 39, 63, 70, 99, 2**40])
    return data[:12] + version.to_bytes(8, "little") + data[20:]


def of_something_else(data: bytes, rng: random.Random) -> bytes:
    head = rng.choice([b"SQLite format 3\0", b"PAR1", b"PK\3\4", b"\x89PNG\r\n", b"subject_id,sex\n1,F\n", b"DUCK"])
    return head + rng.randbytes(rng.choice([0, 1000, len(data) - len(head)]))


def garbage_in_a_block(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange((len(data) - 1) // 4096) * 4096
    return data[:at] + rng.randbytes(4096) + data[at + 4096 :]


def blocks_exchanged(data: bytes, rng: random.Random) -> bytes:
    """Each block is whole: DuckDB may read the file without an error, as another one."""
    one, other = sorted(rng.sample(range((len(data) - HEADERS) // BLOCK), 2))
    a, b = HEADERS + one * BLOCK, HEADERS + other * BLOCK
    return data[:a] + data[b : b + BLOCK] + data[a + BLOCK : b] + data[a : a + BLOCK] + data[b + BLOCK :]


DAMAGE: list[Change] = [
    flip, cut, of_another_version, of_something_else, blocks_exchanged, flip_a_header, cut_between_blocks, empty,
    garbage_in_a_block,
]  # fmt: skip
COMMANDS = {
    "sql": ("sql", "SELECT count(*) FROM film"),
    "tables": ("sql", "--tables"),
    "bounded": ("sql", "SELECT count(*) FROM film", "--timeout", "60"),
    "export": ("cohort", "export", "--to", "csv", "--force"),
    "audit": ("cohort", "audit"),
    "show": ("cohort", "show"),
}
OPENING = ("export", "tables", "audit")


def damages(path: Path, num: int) -> Iterator[str]:
    """Damage a file in `num` ways, one after the other, and yield what was done; then bring it back."""
    data, lay = path.read_bytes(), path.stat()
    for number in range(num):
        rng, change = random.Random(f"{SEED} {number}"), DAMAGE[number % len(DAMAGE)]
        while (changed := change(data, rng)) == data:
            pass
        path.write_bytes(changed)
        os.utime(path, ns=(lay.st_atime_ns, lay.st_mtime_ns))
        yield f"seed {SEED}, case {number}, {change.__name__}"
    path.write_bytes(data)


def assert_one_sentence(done: Result, command: str, about: str) -> None:
    """The command ends with code 3 and one error that names the command that makes the cohort again."""
    assert done.returncode == 3, f"{about}: {done}"
    if command == "audit":
        assert "changed-after-publication" in done.stdout, about
        assert "cxrssl ingest" in done.stdout, about
    else:
        assert done.stdout == "", about
        assert done.stderr.count("cxrssl: error: ") == 1, about
        assert "hint: make it again, with its options: cxrssl ingest mimic PATH" in done.stderr, f"{about}: {done}"
    assert "Traceback" not in done.stdout + done.stderr, about
    assert "bug" not in done.stderr, about


@pytest.mark.fuzz
def test_a_damaged_cohort_is_one_sentence_that_names_the_command_which_mends_it(whole: Path, place: Path) -> None:
    path = databases(place)[0]
    wanted, size = content_of(path), path.stat().st_size
    for number, about in enumerate(damages(path, scaled(5, 108))):
        name = OPENING[(number + number // len(DAMAGE)) % len(OPENING)] if path.stat().st_size == size else "show"
        for each in {"sql", name}:
            assert_one_sentence(run(*COMMANDS[each], workspace=place), each, f"{about}, {each}")
        assert not list((place / "exports").glob("*/films.csv")), about
        done = ingest(place, whole / "data")
        assert done.returncode == 0, f"{about}: {done.stderr}"
        assert content_of(path) == wanted, about


@pytest.mark.parametrize("command", ["sql", "bounded", "export", "audit"])
def test_rows_that_another_program_left_in_a_journal_are_none_of_the_cohort(
    whole: Path, place: Path, command: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """DuckDB reads the journal as a part of the file, whose hash is right."""
    path = databases(place)[0]
    wanted = content_of(path)
    code = "import os, sys; from pathlib import Path; from cxrssl.db import open_database\n"
    code += "database = open_database(Path(sys.argv[1])); database.execute('DELETE FROM label'); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
    assert path.with_name("cohort.duckdb.wal").stat().st_size > 0
    done = run(*COMMANDS[command], workspace=place)
    done.stderr += capfd.readouterr().err  # of the process that is bounded
    assert_one_sentence(done, command, command)
    assert ingest(place, whole / "data").returncode == 0
    assert content_of(path) == wanted


@pytest.mark.fuzz
def test_a_damaged_store_is_made_again_by_the_command_that_reads_it(place: Path) -> None:
    path = databases(place)[1]
    wanted = content_of(path)
    rows = run("sql", "--results", "FROM metric ORDER BY ALL", "--csv", "--limit", "0", workspace=place).stdout
    assert rows.count("\n") > 2000
    for about in damages(path, scaled(5, 108)):
        asked = "sql", "--results", "FROM metric ORDER BY ALL", "--csv", "--limit", "0"
        done = run(*asked, workspace=place)
        assert (done.returncode, done.stdout) == (0, rows), f"{about}: {done.stderr}"
        assert content_of(path) == wanted, about
    path.with_name("experiments.crc32").unlink()
    assert run("sql", "--results", "SELECT 1", workspace=place).returncode == 0
    assert path.with_name("experiments.crc32").exists()


@pytest.mark.fuzz
def test_deleted_databases_are_restored_with_the_same_rows_by_any_number_of_threads_and_in_any_order(
    whole: Path, place: Path, tmp_path: Path
) -> None:
    wanted = [content_of(path) for path in databases(place)]
    arrays = open_cohort(place / "cohorts/mimic").content_sha256
    shutil.copytree(whole / "data", tmp_path / "data")
    for threads in (1, 2):
        environment = {
            **os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "POLARS_MAX_THREADS": str(threads),
        }  # fmt: skip
        words = [sys.executable, "-c", REBUILD, place, tmp_path / "data", threads, scaled(1, 10), SEED]
        done = subprocess.run(list(map(str, words)), env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == scaled(1, 10)
        for line in lines:
            assert json.loads(line) == json.loads(json.dumps(wanted, default=str)), f"seed {SEED}, {threads} threads"
        assert open_cohort(place / "cohorts/mimic").content_sha256 == arrays


SECOND = {
    ".lock-cohort-mimic": (2, ("ingest", "mimic", "{data}", "--no-pack")),
    "cohorts/mimic/cohort.duckdb": (4, ("sql", "SELECT count(*) FROM film")),
    "experiments.duckdb": (4, ("sql", "--results", "SELECT count(*) FROM metric")),
}


@pytest.mark.parametrize("held", SECOND)
def test_a_second_writer_is_told_at_once_which_process_writes(whole: Path, place: Path, held: str) -> None:
    """At once: the holder ends only after the second one has."""
    code, words = SECOND[held]
    command = [sys.executable, "-c", HOLD, str(place / held)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        done = run(*(word.format(data=whole / "data") for word in words), workspace=place)
        spent_s = time.monotonic() - started
        assert holder.poll() is None
        holder.kill()
    assert done.returncode == code, done.stderr
    assert f"(PID {holder.pid})" in done.stderr.splitlines()[0]
    assert done.stderr.count("cxrssl: error: ") == 1
    sys.stderr.write(f"{held}: told after {spent_s:.3f} s\n")
