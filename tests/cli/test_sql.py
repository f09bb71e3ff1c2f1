"""`cxrssl sql`: questions answered in three forms, nothing written, nothing outside the database reached."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrssl.cohort.export import make_codebook
from cxrssl.cohort.films import collect_films
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.schema import create_tables
from cxrssl.core.errors import CxrsslError, SetupError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.db import Database, open_database
from cxrssl.records import published
from cxrssl.results import bounded
from cxrssl.results.sql import format_table, list_tables, make_unique, run_query, write_csv, write_json
from tests.cli.command import Result
from tests.cli.command import run as run_command
from tests.scale import scaled
from tests.world import write_nih

SLOW = (
    "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c WHERE (a.range * b.range + c.range) % 7 = 3"
)
WRITES = [
    "DROP TABLE film", "DELETE FROM image", "UPDATE image SET path = 'x'", "INSERT INTO flow VALUES (9, 'x', 1)",
    "CREATE TABLE x (a INTEGER)", "CREATE TEMP TABLE x (a INTEGER)", "ALTER TABLE image ADD x INTEGER", "CHECKPOINT",
    "COPY image TO 'out'", "COPY (SELECT 1) TO 'out'", "EXPORT DATABASE 'out'", "ATTACH 'out' AS o", "INSTALL httpfs",
    "LOAD httpfs", "SET enable_external_access = true", "PRAGMA enable_profiling", "CALL pragma_version()", "VACUUM",
    "BEGIN", "SELECT 1; DROP TABLE image", "USE memory", "PREPARE p AS SELECT 1", "", ";", "-- nothing",
]  # fmt: skip
READS = [
    "SELECT * FROM '{file}'", "FROM '{file}'", "SELECT * FROM read_text('{file}')", "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM read_csv('{file}')", "SELECT * FROM read_csv_auto(['{file}'])", "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM read_json('{file}')", "SELECT * FROM read_parquet('{file}')", "FROM parquet_metadata('{file}')",
    "SELECT * FROM glob('{folder}/*')", "SELECT * FROM query('FROM ''{file}''')", "SELECT * FROM query_table('{file}')",
    "SELECT * FROM duckdb_secrets()", "SELECT * FROM read_duckdb('{file}')", "EXPLAIN ANALYZE SELECT * FROM '{file}'",
    "SELECT getenv('HOME')", "SELECT * FROM read_text('https://example.org')",
]  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("sql")
    workspace = Workspace(root / "workspace")
    build_cohort(workspace, IngestOptions("nih", write_nih(root / "nih", num_patients=30)))
    return workspace


@pytest.fixture
def path(workspace: Workspace) -> Path:
    return workspace.cohorts / "nih" / "cohort.duckdb"


def run(workspace: Workspace, *words: str, text: str = "") -> Result:
    return run_command("sql", *words, workspace=workspace.root, text=text)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_answer_is_a_table_a_csv_or_json(workspace: Workspace) -> None:
    query = "SELECT view, count(*) AS films, NULL AS nothing FROM film GROUP BY view ORDER BY view"
    lines = run(workspace, query).stdout.splitlines()
    assert lines[0].split() == ["view", "films", "nothing"]
    assert set(lines[1]) == {"-", " "}
    assert [line.split()[0] for line in lines[2:4]] == ["AP", "PA"]
    assert lines[2].endswith("NULL")
    assert lines[4] == "(2 rows)"
    records = json.loads(run(workspace, query, "--json").stdout)
    assert sum(record["films"] for record in records) == 60
    assert records[0]["nothing"] is None
    rows = list(csv.DictReader(io.StringIO(run(workspace, "-", "--csv", text=query).stdout)))
    assert [(row["view"], int(row["films"]), row["nothing"]) for row in rows] == [
        (record["view"], record["films"], "") for record in records
    ]


def test_a_cut_answer_says_so_and_all_is_shown_on_request(workspace: Workspace) -> None:
    cut = run(workspace, "SELECT * FROM film_label", "--csv", "--limit", "5")
    assert len(cut.stdout.splitlines()) == 6
    assert "first 5 rows" in cut.stderr
    whole = run(workspace, "SELECT * FROM film_label", "--csv", "--limit", "0")
    assert len(whole.stdout.splitlines()) == 60 * 14 + 1
    assert whole.stderr == ""


def test_tables_and_views_are_listed_with_what_they_mean(workspace: Workspace) -> None:
    text = run(workspace, "--tables").stdout
    assert "film (view)  One row a film" in text
    listing = {table["name"]: table for table in json.loads(run(workspace, "--tables", "--json").stdout)["tables"]}
    assert all(table["comment"] for table in listing.values()), "give it a COMMENT ON in schemas/"
    assert listing["image"]["rows"] == 60
    assert {"film", "film_label", "link_count", "split_count", "flow", "reject"} <= set(listing)


def test_the_store_of_experiments_is_made_when_asked(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "CLOCK_STEP_S", 0.0)  # however new the cohort is
    workspace.store.unlink(missing_ok=True)
    assert json.loads(run(workspace, "SELECT count(*) AS runs FROM run", "--results", "--json").stdout) == [{"runs": 0}]
    made = workspace.store.stat().st_mtime_ns
    listing = json.loads(run(workspace, "--results", "--tables", "--json").stdout)["tables"]
    assert {"run", "metric", "eval_result", "macro"} <= {table["name"] for table in listing}
    assert all(table["comment"] for table in listing)
    assert workspace.store.stat().st_mtime_ns == made, "it is made again only when something has changed"


def test_mistakes_are_one_sentence_with_a_hint(workspace: Workspace) -> None:
    cases = {
        ("SELECT agey FROM film",): (2, '"age_y"'),
        ("SELECT * FROM flim",): (2, '"film"'),
        ("SELECT * FROM film WHERE",): (2, "syntax error"),
        ("SELECT 1; SELECT 2",): (2, "one query at a time"),
        ("DROP TABLE image",): (2, "only a query is allowed, and this is DROP"),
        ("SELECT 1", "--cohort", "nhi"): (2, "nih"),
        ("SELECT 1", "--json", "--csv"): (2, "exclude each other"),
        ("SELECT 1", "--results", "--cohort", "nih"): (2, "exclude each other"),
        ("SELECT 1", "--tables"): (2, "give one query"),
        (): (2, "give one query"),
        ("SELECT CAST('x' AS INTEGER)",): (3, "Could not convert"),
    }
    for words, (code, fragment) in cases.items():
        result = run(workspace, *words)
        assert (result.returncode, result.stdout) == (code, ""), words
        assert fragment in result.stderr, result.stderr
        assert len(result.stderr.splitlines()) <= 3


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_but_one_query_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    monkeypatch.chdir(tmp_path)
    before = sha256(path)
    with open_database(path, read_only=True) as database, pytest.raises(UsageError):
        database.read(sql)
    assert sha256(path) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sql", READS)
def test_no_query_reaches_a_file(path: Path, tmp_path: Path, sql: str) -> None:
    (tmp_path / "canary.csv").write_text("canary\n1\n")
    with open_database(path, read_only=True) as database, pytest.raises(CxrsslError):
        database.read(sql.format(file=tmp_path / "canary.csv", folder=tmp_path))


def test_a_query_too_large_for_memory_leaves_nothing_beside_the_cohort(path: Path) -> None:
    before = sorted(path.parent.iterdir())
    large = "SELECT random() AS r FROM range(20000000) ORDER BY r"
    with open_database(path, read_only=True, memory="60MB") as database, pytest.raises(CxrsslError, match="memory"):
        database.read(large, 1)
    assert sorted(path.parent.iterdir()) == before


def test_a_query_that_takes_too_long_is_stopped(path: Path) -> None:
    before = set(threading.enumerate())
    with open_database(path, read_only=True) as database:
        with pytest.raises(UsageError, match=r"longer than 0\.2 s"):
            run_query(database, SLOW, timeout_s=0.2)  # it would take days
        assert run_query(database, "SELECT 1", timeout_s=600)[1] == [(1,)]
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), thread.name


HOSTILE_QUERIES = {
    "cross join": SLOW,
    "one huge text": "SELECT length(repeat('x', 3000000000))",
    "one huge list": "SELECT len(range(2000000000))",
    "texts": "SELECT repeat('x', 100000000) || range::VARCHAR FROM range(1000)",
    "lists in lists": "SELECT list_sort(list_reverse(range(200000000)))",
    "rows": "SELECT * FROM range(1000000000)",
    "wide rows": "SELECT " + ", ".join(f"range + {k} AS c{k}" for k in range(300)) + " FROM range(100000000)",
    "one aggregate": "SELECT len(list(range)) FROM range(2000000000)",
    "one text": "SELECT length(string_agg(range::VARCHAR, ',')) FROM range(3000000000)",
    "groups": "SELECT count(*) FROM (SELECT range, count(*) FROM range(5000000000) GROUP BY 1)",
    "order": "SELECT * FROM range(2000000000) ORDER BY random()",
    "recursion": "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT max(n) FROM t",
    "doubling": "WITH RECURSIVE t(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t",
    "reduction": "SELECT list_reduce(range(100000000), lambda a, b: a + b)",
    "edit distance": "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))",
    "json": "SELECT to_json(range(100000000))",
    "depth": "SELECT " + "[" * 3000 + "1" + "]" * 3000,
}
MEASURE = """
import os, resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
sys.stdout.write(f"{chr(10)}{code} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")
"""


@pytest.mark.fuzz
@pytest.mark.parametrize("name", [*HOSTILE_QUERIES][: scaled(3, 99)])
def test_a_hostile_query_ends_in_time_and_memory_with_one_sentence(workspace: Workspace, name: str) -> None:
    """Its process is killed where DuckDB does not hear that it should stop; memory is that of all processes, in KiB."""
    words = ("sql", HOSTILE_QUERIES[name], "--limit", "0", "--timeout", str(scaled(2, 15)))
    command = [sys.executable, "-m", "cxrssl", *words, "--workspace", str(workspace.root)]
    done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True, text=True, check=True)
    shown, _, told = done.stdout.rpartition("\n")
    code, peak_kib = told.split()
    assert int(peak_kib) < 2 << 20
    assert (code in ("2", "4"), shown) == (True, ""), done
    assert (done.stderr.count("cxrssl: error: "), done.stderr.count("Traceback")) == (1, 0), done.stderr


def test_a_query_under_a_timeout_answers_as_any_other(workspace: Workspace) -> None:
    query = "SELECT view, count(*) AS films FROM film GROUP BY view ORDER BY view"
    command = [sys.executable, "-m", "cxrssl", "sql", "--csv", "--workspace", str(workspace.root)]
    bounded = subprocess.run([*command, "-", "--timeout", "600"], input=query, capture_output=True, text=True)
    assert (bounded.returncode, bounded.stdout) == (0, run(workspace, query, "--csv").stdout)
    wrong = subprocess.run([*command, "SELECT nothing", "--timeout", "600"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr.count("cxrssl: error:")) == (2, 1)


def test_a_process_that_does_not_hear_is_killed_and_one_that_dies_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.touch(mode=0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(bounded, "GRACE_S", 0.0)
    started: list[Any] = []
    start = subprocess.Popen

    def remember(*args: Any, **more: Any) -> Any:
        started.append(start(*args, **more))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
    program.write_text("#!/bin/sh\nexec sleep 100000\n")
    with pytest.raises(UsageError, match=r"longer than 0\.1 s"):
        bounded.run_bounded(["sql"], 0.1)
    assert [process.returncode for process in started] == [-signal.SIGKILL]
    program.write_text("#!/bin/sh\nkill -SEGV $$\n")
    with pytest.raises(SetupError, match="SIGSEGV"):
        bounded.run_bounded(["sql"], 600.0)


def test_ctrl_c_ends_a_query_with_130(workspace: Workspace, path: Path) -> None:
    command = [sys.executable, "-m", "cxrssl", "sql", SLOW, "--workspace", str(workspace.root)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not has_open(process.pid, path):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    begun_s = cpu_s(process.pid)
    while cpu_s(process.pid) < begun_s + 0.5:  # of the query's own work
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    assert (process.returncode, "Traceback" in error) == (130, False)


def has_open(pid: int, path: Path) -> bool:
    """Return whether a process has a file open."""
    with suppress(OSError):
        return any(file.exists() and file.samefile(path) for file in Path(f"/proc/{pid}/fd").iterdir())
    return False


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_numbers_stand_right_and_wide_text_is_cut() -> None:
    lines = format_table(["n", "text"], [(1, "x" * 99), (1000, "肺"), (None, None)])
    assert [line[:4] for line in lines[2:5]] == ["   1", "1000", "NULL"]
    assert len(lines[2]) == 4 + 2 + 60
    assert lines[-1] == "(3 rows)"
    assert format_table(["a"], [])[-1] == "(0 rows)"


def test_columns_of_one_name_are_told_apart() -> None:
    assert make_unique(["a", "a", "a_2", "a"]) == ["a", "a_2", "a_2_2", "a_3"]


def test_json_has_no_number_that_json_lacks() -> None:
    out = io.StringIO()
    write_json(["a", "b", "c"], [(float("nan"), [float("inf"), None], {"x": True})], out)
    assert json.loads(out.getvalue()) == [{"a": "nan", "b": ["inf", None], "c": {"x": True}}]
    empty = io.StringIO()
    write_json(["a"], [], empty)
    assert json.loads(empty.getvalue()) == []


QUOTES = ["'", '"', "`", "$$", "/*", "--", ""]
ATTACKS = [
    " OR 1=1",
    "; DROP TABLE image; --",
    "UNION SELECT * FROM read_text('/etc/passwd')",
    "\u202e[/x]",
    "\0",
    "\x1b]52;c;aGk=\x07",
]
HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.builds("{}{}{}".format, st.sampled_from(QUOTES), st.sampled_from(ATTACKS), st.sampled_from(QUOTES)),
)


@pytest.fixture(scope="module")
def filled() -> Database:
    database = open_database(None)
    create_tables(database)
    return database


def test_a_name_that_closes_its_quotes_is_still_a_name(filled: Database) -> None:
    before = catalogue(filled)
    for name in ('image"; DROP TABLE word; --', 'image"; CREATE TABLE x (a INTEGER); --'):
        with pytest.raises(CxrsslError):
            filled.columns(name)
    assert catalogue(filled) == before


def catalogue(database: Database) -> list[tuple[object, ...]]:
    return database.rows("SELECT table_name, column_name, data_type FROM duckdb_columns() ORDER BY ALL")


@pytest.mark.fuzz
@settings(max_examples=scaled(40, 1000), deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(HOSTILE, min_size=5, max_size=5, unique=True))
def test_headers_paths_and_labels_are_data_and_never_sql(filled: Database, texts: list[str]) -> None:
    """R31: the catalogue stays as it is, and what went in comes out."""
    before = catalogue(filled)
    for table in ("ehr", "label", "image"):
        filled.execute(f"DELETE FROM {table}")
    for header in set(texts) - set(filled.columns("image")):
        with pytest.raises(CxrsslError):
            filled.insert("image", pl.DataFrame({header: ["x"]}))
        with suppress(CxrsslError):  # the text may be a table's name
            filled.columns(header)
    findings = tuple(f"{text} " for text in texts)
    ids = pl.DataFrame({"image_id": texts, "study_id": texts, "subject_id": texts})
    filled.insert("image", ids.with_columns(path="study_id"))
    filled.insert("ehr", ids.select("image_id", age_is_censored=pl.lit(False)))
    filled.insert("label", ids.select("study_id", finding=pl.Series(findings), value=pl.lit(1)))
    films = collect_films(filled, findings)
    assert sorted(films.select("path", "subject_id").rows()) == sorted((text, text) for text in texts)
    for text, finding in zip(texts, findings, strict=True):
        assert films.filter(pl.col(finding) == 1)["path"].to_list() == [text]
        assert filled.rows("SELECT path FROM film WHERE path = ?", [text]) == [(text,)]
    assert make_codebook(filled, films, findings)["role"].to_list()[-5:] == ["label"] * 5
    assert catalogue(filled) == before
    out = io.StringIO()
    out.write("\n".join(format_table(texts, [tuple(texts)])))
    write_csv(texts, [tuple(texts)], out)
    write_json(texts, [tuple(texts)], out)
    assert not set(out.getvalue()) & set(map(chr, [*range(10), *range(11, 32), *range(127, 160), 0x202E, 0x200B]))


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(scaled(1, 10)))
def test_no_mixture_of_statements_reads_or_writes_anything_else(path: Path, tmp_path: Path, seed: int) -> None:
    """R31: SQL glued together at random, a canary beside the database; its content never comes out."""
    rng = random.Random(seed)
    canary = tmp_path / "canary.csv"
    canary.write_text("canary\ncanary-7f3a\n")
    before, entries = sha256(path), sorted(os.listdir(path.parent))
    parts = [part.format(file=canary, folder=tmp_path) for part in [*WRITES, *READS]]
    parts += [
        "SELECT * FROM film",
        "WITH x AS (",
        ")",
        "UNION ALL",
        "PIVOT film ON view USING count(*)",
        "(",
        "';",
        '"',
        "--",
    ]
    with open_database(path, read_only=True) as database:
        for _ in range(scaled(150, 500)):
            sql = rng.choice([" ", "; ", "\n", " UNION ALL "]).join(rng.choices(parts, k=rng.randrange(1, 4)))
            try:
                names, rows, _ = database.read(sql, 5)
            except CxrsslError as error:
                assert "\n" not in error.what
            else:
                assert "canary-7f3a" not in f"{names}{rows}", sql
        assert database.rows(
            "SELECT current_setting('enable_external_access'), current_setting('lock_configuration')"
        ) == [(False, True)]
        assert {table["name"] for table in list_tables(database)} >= {"film", "image"}
    assert (sha256(path), sorted(os.listdir(path.parent))) == (before, entries)
    assert [entry.name for entry in tmp_path.iterdir()] == ["canary.csv"]


def test_text_from_data_does_not_drive_the_terminal(workspace: Workspace) -> None:
    query = "SELECT chr(27) || ']52;c;aGk=' || chr(7) || chr(155) || chr(8238) || '[/x][link=a]' AS \"a\x1b[31m\""
    for form in ([], ["--csv"], ["--json"]):
        result = run(workspace, query, *form)
        assert result.returncode == 0, result.stderr
        assert not set(result.stdout) & {"\x1b", "\x07", "\x9b", "\u202e"}
        assert "[/x][link=a]" in result.stdout
