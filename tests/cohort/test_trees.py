"""Trees of MIMIC tables with one file damaged: no crash, no silent difference, every row accounted for."""

from __future__ import annotations

import csv
import gzip
import io
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cxrssl
from cxrssl.cohort.ingest import IngestOptions, build_cohort
from cxrssl.cohort.read import open_cohort
from cxrssl.cohort.sources import SourceOptions, SourceTables, mimic
from cxrssl.cohort.sources.mimic.tables import METADATA, SPECS
from cxrssl.cohort.tables.table import read_table
from cxrssl.core.errors import CxrsslError, DataError
from cxrssl.core.workspace import Workspace
from cxrssl.db import open_database
from tests.cohort.test_table import compare
from tests.mimic_size import Size, link_films, write_mimic
from tests.scale import scaled

SIZE = Size(patients=30, admissions=40, icu_stays=12, film_subjects=12, studies=20, films=30)
MAX_TREE_S = 2.0
"""Of processor time, of all threads."""
COLUMNS = [column for spec in SPECS.values() for column in spec.columns]
FREE_TEXT = [each.name for each in COLUMNS if each.kind == "text" and not each.form and not each.values]
FREE_TEXT += ["view", "position"]
"""Columns in which a damaged cell may be as good as the whole one."""

Mutation = Callable[[list[list[str]], random.Random], bytes]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The six tables and the films of thirty patients."""
    link_films(tmp_path / "data", write_mimic(tmp_path / "data", SIZE, seed=5))
    return tmp_path / "data"


def to_csv(rows: list[list[str]], **options: Any) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n", **options).writerows(rows)
    return buffer.getvalue().encode()


def spoil(rows: list[list[str]], rng: random.Random, cell: Callable[[str], str]) -> bytes:
    row, column = rng.randrange(1, len(rows)), rng.randrange(len(rows[0]))
    rows[row][column] = cell(rows[row][column])
    return to_csv(rows)


def shuffle_columns(rows: list[list[str]], rng: random.Random) -> bytes:
    order = rng.sample(range(len(rows[0])), len(rows[0]))
    return to_csv([[row[place] for place in order] for row in rows])


def drop_column(rows: list[list[str]], rng: random.Random) -> bytes:
    place = rng.randrange(len(rows[0]))
    return to_csv([row[:place] + row[place + 1 :] for row in rows])


def cut(rows: list[list[str]], rng: random.Random) -> bytes:
    """Cut inside a line: a plain file that ends with a line's end is whole for all that it says."""
    data = to_csv(rows)
    places = [place for place in range(1, len(data)) if data[place - 1 : place] != b"\n"]
    return data[: rng.choice(places)]


def insert(rows: list[list[str]], rng: random.Random, piece: bytes) -> bytes:
    data = to_csv(rows)
    place = rng.randrange(len(data))
    return data[:place] + piece + data[place:]


# What must leave everything as it was ...
HARMLESS: dict[str, Mutation] = {
    "as it is": lambda rows, rng: to_csv(rows),
    "CRLF": lambda rows, rng: to_csv(rows).replace(b"\n", b"\r\n"),
    "CR": lambda rows, rng: to_csv(rows).replace(b"\n", b"\r"),
    "BOM": lambda rows, rng: b"\xef\xbb\xbf" + to_csv(rows),
    "all quoted": lambda rows, rng: to_csv(rows, quoting=csv.QUOTE_ALL),
    "columns in another order": shuffle_columns,
    "one more column": lambda rows, rng: to_csv(
        [["more", *rows[0]], *([rng.choice("é,\"'x")] + row for row in rows[1:])]
    ),
    "comma after each line": lambda rows, rng: to_csv([[*row, ""] for row in rows]),
    "blank lines": lambda rows, rng: insert(rows[:1] + [[]] + rows[1:], random.Random(0), b"") + b"\n\r\n",
    "spaces": lambda rows, rng: to_csv([rows[0], *([f" {cell}\t" for cell in row] for row in rows[1:])]),
}
# ... and what must be refused or told.
HARMFUL: dict[str, Mutation] = {
    "cut": cut,
    "ragged": lambda rows, rng: to_csv([row[: rng.choice([1, -1, 99])] for row in rows]),
    "one line longer": lambda rows, rng: to_csv([*rows, [*rows[-1], "x"]]),
    "wrong type": lambda rows, rng: spoil(rows, rng, lambda cell: "?!"),
    "huge field": lambda rows, rng: spoil(rows, rng, lambda cell: "9" * 200_000),
    "NUL": lambda rows, rng: spoil(rows, rng, lambda cell: f"\0{cell}"),
    "latin-1": lambda rows, rng: spoil(rows, rng, lambda cell: f"{cell}ÿ").replace("ÿ".encode(), b"\xff"),
    "line again": lambda rows, rng: to_csv([*rows, rng.choice(rows)]),
    "column twice": lambda rows, rng: to_csv([[*row, row[0]] for row in rows]),
    "column missing": drop_column,
    "quote": lambda rows, rng: insert(rows, rng, b'"'),
    "comma": lambda rows, rng: insert(rows, rng, b","),
    "line end": lambda rows, rng: insert(rows, rng, b"\n"),
    "any byte": lambda rows, rng: insert(rows, rng, bytes([rng.choice([*range(32), *range(127, 256)])])),
    "empty": lambda rows, rng: b"",
    "header only": lambda rows, rng: to_csv(rows[:1]),
    "another file": lambda rows, rng: bytes(rng.randrange(256) for _ in range(500)),
}


def pack(data: bytes, rng: random.Random) -> bytes:
    """Return gzip in one member, or in two."""
    place = rng.choice([0, rng.randrange(len(data) + 1)])
    return gzip.compress(data[:place], mtime=0) + gzip.compress(data[place:], mtime=0)


def read_tree(root: Path, listing: dict[str, int]) -> SourceTables:
    tables = mimic.read(mimic.find(SourceOptions("mimic", root)), listing)
    for table in tables.files:
        table.check_account()
    return tables


def content(tables: SourceTables, free_text: bool) -> list[list[tuple[Any, ...]]]:
    """Return all that later steps see, without order; free text, which may be anything, where it is asked for."""
    hospital, official = tables.hospital, tables.official
    assert hospital is not None
    assert official is not None
    stays = hospital.patient, hospital.admission, hospital.icu_stay
    left_out = ["line", *(() if free_text else FREE_TEXT)]
    frames = [frame.drop(left_out, strict=False) for frame in (tables.image, tables.given, *stays)]
    return [sorted(frame.rows(), key=repr) for frame in (*frames, tables.labels, official)]


def complaints(tables: SourceTables) -> list[Any]:
    told = [(table.reject_counts(), table.blanked, table.remarks) for table in tables.files]
    return [*told, tables.remarks]


@pytest.mark.fuzz
def test_damage_to_a_tree_is_harmless_or_refused_or_told(tree: Path) -> None:
    listing = dict.fromkeys((path.relative_to(tree).as_posix() for path in tree.glob("files/**/*.jpg")), 1)
    files = mimic.find(SourceOptions("mimic", tree)).files
    whole = read_tree(tree, listing)
    expected, calm = {free: content(whole, free) for free in (True, False)}, complaints(whole)
    outcomes: dict[str, int] = {}
    started = time.process_time()
    for seed in range(num_trees := scaled(200, 2_000)):
        rng = random.Random(seed)
        name, file = rng.choice(sorted(files.items()))
        kind = [*HARMLESS, *HARMFUL][seed % (len(HARMLESS) + len(HARMFUL))]
        original = file.path.read_bytes()
        rows = list(csv.reader(io.StringIO(gzip.decompress(original).decode())))
        data = {**HARMLESS, **HARMFUL}[kind](rows, rng)
        is_packed = rng.random() < 0.5
        path = file.path if is_packed else file.path.with_suffix("")
        file.path.unlink()
        path.write_bytes(pack(data, rng) if is_packed else data)
        where = f"seed {seed}: {kind} in {path.name}"
        try:
            compare(path, SPECS[name], data)
            tables = read_tree(tree, listing)
            is_same = content(tables, kind in HARMLESS) == expected[kind in HARMLESS]
            outcome = "same" if is_same else "told"
            assert is_same or complaints(tables) != calm, f"{where}: different without a word"
        except CxrsslError:
            outcome = "refused"
        path.unlink()
        file.path.write_bytes(original)
        assert outcome == "same" or kind in HARMFUL, f"{where}: {outcome}"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert set(outcomes) == {"same", "told", "refused"}
    assert time.process_time() - started < MAX_TREE_S * num_trees


def repack(root: Path, pack_file: Callable[[bytes], bytes] | None) -> None:
    """Pack every table anew, or unpack it."""
    for path in sorted(root.rglob("*.csv.gz")):
        data = gzip.decompress(path.read_bytes())
        if pack_file is None:
            path.unlink()
            path.with_suffix("").write_bytes(data)
        else:
            path.write_bytes(pack_file(data))


def dump(database_path: Path) -> dict[str, list[Any]]:
    """Return all rows of all tables but the one of the files' hashes; names of files without .gz."""
    with open_database(database_path, read_only=True) as database:
        names = [name for (name,) in database.rows("SELECT table_name FROM duckdb_tables() ORDER BY 1")]
        rows = {name: database.rows(f'SELECT * FROM "{name}"') for name in names if name != "source_file"}
    return {name: sorted(repr(row).replace(".csv.gz", ".csv") for row in found) for name, found in rows.items()}


def test_plain_packed_and_twice_packed_trees_give_equal_databases(tree: Path, workspace: Workspace) -> None:
    (tree / "hosp" / "patients.csv.gz").write_bytes(
        gzip.compress(gzip.decompress((tree / "hosp" / "patients.csv.gz").read_bytes()) + b"1,F,,,,\n")
    )
    found: list[tuple[dict[str, list[Any]], str]] = []
    for pack_file in (lambda data: data, lambda data: pack(data, random.Random(1)), None):
        if pack_file is None or found:
            repack(tree, pack_file)
        else:
            repack(tree, gzip.compress)
        summary = build_cohort(workspace, IngestOptions("mimic", tree, allow_losses=True))
        assert not summary.was_current
        found.append((dump(summary.path / "cohort.duckdb"), open_cohort(summary.path).content_sha256))
    assert found[0] == found[1] == found[2]
    assert found[0][0]["reject"], "a reject row is compared as well"


def test_a_cut_or_damaged_packed_file_is_refused_100_times_of_100(tree: Path) -> None:
    path = tree / "mimic-cxr-2.0.0-metadata.csv.gz"
    whole = path.read_bytes()
    rng = random.Random(15)
    for _ in range(50):
        path.write_bytes(whole[: rng.randrange(len(whole))])
        with pytest.raises(DataError, match=r"cut short|is empty"):
            read_table(path, path.name, METADATA)
    for _ in range(50):
        broken = bytearray(whole)
        broken[-rng.randint(1, 8)] ^= rng.randint(1, 255)  # the last eight bytes are CRC and length
        path.write_bytes(broken)
        with pytest.raises(DataError, match="is damaged"):
            read_table(path, path.name, METADATA)


def test_rejects_name_file_line_column_rule_and_a_pseudonym_but_no_subject(tree: Path, workspace: Workspace) -> None:
    path = tree / "hosp" / "patients.csv.gz"
    rows = list(csv.reader(io.StringIO(gzip.decompress(path.read_bytes()).decode())))
    path.write_bytes(
        gzip.compress(to_csv([*rows[:1], [rows[1][0], "x", *rows[1][2:]], ["?", *rows[2][1:]], *rows[3:]]))
    )
    cohort = build_cohort(workspace, IngestOptions("mimic", tree, allow_losses=True)).path
    text = (cohort / "rejects.csv").read_text()
    rejects = list(csv.DictReader(io.StringIO(text)))
    of_file = [reject for reject in rejects if reject["file"] == "hosp/patients.csv.gz"]
    assert [(reject["line"], reject["column"], reject["rule"]) for reject in of_file] == [
        ("2", "gender", "not a known value"),
        ("3", "subject_id", "malformed"),
    ]
    assert re.fullmatch("[0-9a-f]{16}", of_file[0]["pseudonym"])
    assert of_file[1]["pseudonym"] == ""
    lost = {row[0] for row in rows[1:]}
    assert not any(subject in text for subject in lost)
    by_admission = {reject["pseudonym"] for reject in rejects if reject["rule"] == "subject not in patients"}
    assert by_admission & {of_file[0]["pseudonym"]} or not any(rows[1][0] in str(row) for row in rejects)


def test_no_type_is_sniffed_anywhere() -> None:
    package = Path(cxrssl.__file__).parent
    texts = {
        str(path.relative_to(package)): re.sub(r"rmtree\([^)]*\)", "", path.read_text())
        for path in package.rglob("*.py")
        if path.name != "guess.py"  # of whose map a person is the judge
    }
    # All columns of the events are text, and DuckDB keeps the lines that it refuses.
    words = re.compile(
        r"ignore_errors(?! = true, store_rejects)|infer_schema_length|read_csv_auto|sniff|try_parse_dates"
    )
    assert [(name, words.findall(text)) for name, text in texts.items() if words.search(text)] == []
    assert [name for name, text in texts.items() if "pl.read_csv(" in text] == ["cohort/tables/lines.py"]
