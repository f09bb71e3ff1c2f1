"""Every row of a file is accepted or rejected with line, column and rule; a file that cannot be trusted is an error."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import polars as pl
import pytest

from cxrssl.cohort.tables import content
from cxrssl.cohort.tables.columns import Column, TableSpec
from cxrssl.cohort.tables.table import SourceTable, read_table
from cxrssl.core.errors import DataError
from tests.cohort.slow_table import Refused, read_slowly
from tests.scale import scaled

SPEC = TableSpec(
    "things",
    (
        Column("thing_id", form="[0-9]{3}"),
        Column("kind", values=("a", "b"), aliases=("sort",)),
        Column("num", "int", low=0, high=99, may_be_blank=True, when_bad="blank"),
        Column("seen", "time", may_be_blank=True),
    ),
    key=("thing_id",),
)
GOOD = "thing_id,kind,num,seen\n001,a,7,2150-03-01 10:00:00\n002,b,,\n"


def read(tmp_path: Path, text: str | bytes, name: str = "things.csv") -> SourceTable:
    data = text.encode() if isinstance(text, str) else text
    (tmp_path / name).write_bytes(data)
    table = read_table(tmp_path / name, name, SPEC)
    assert table.rows == table.frame.height + table.rejects.height
    return table


def test_good_rows_become_typed_values(tmp_path: Path) -> None:
    table = read(tmp_path, GOOD)
    assert table.frame.schema == {
        "line": pl.Int64,
        "thing_id": pl.String,
        "kind": pl.String,
        "num": pl.Int64,
        "seen": pl.Datetime("us"),
    }
    assert table.frame["num"].to_list() == [7, None]
    assert table.remarks == []


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\r"),
        GOOD + "\n\n",
        "seen,num,extra,kind,thing_id\n2150-03-01 10:00:00,7,x,a,001\n,,y,b,002\n",
        GOOD.replace("kind", "sort"),
        GOOD.replace("\n", ",\n"),
        GOOD.replace("seen\n", "seen,\n"),
        GOOD.replace(",7,", ",7.0,"),
        GOOD.replace("001,a", '"001","a"'),
        GOOD.replace("001,a", " 001 ,a"),
    ],
    ids=["BOM", "CRLF", "CR", "blank lines", "order", "alias", "comma", "header comma", "7.0", "quotes", "spaces"],
)
def test_harmless_differences_do_not_matter(tmp_path: Path, content: str) -> None:
    expected = read(tmp_path, GOOD).frame.drop("line")
    assert read(tmp_path, content).frame.drop("line").equals(expected)


SPELLED = TableSpec(
    "spelled",
    (
        Column("stay_id", "id", form="3[0-9]{2}"),
        Column("hadm_id", "id", form="2[0-9]{2}", may_be_blank=True),
        Column("intime", "time", may_be_blank=True),
        Column("dod", "date", may_be_blank=True),
        Column("flag", "id", values=("0", "1")),
        Column("age", "int", may_be_blank=True),
    ),
    key=("stay_id",),
)
OURS = "301,201,2143-11-10 02:04:58,2143-11-12,1,40"


@pytest.mark.parametrize(
    "row",
    [
        "301.0,201.0,2143-11-10T02:04:58,2143-11-12 00:00:00,1.0,40.0",
        "301.00,201,2143-11-10 02:04:58 UTC,2143-11-12T00:00:00,1,40",
        "301,201,2143-11-10T02:04:58Z,2143-11-12T00:00:00Z,1,40",
        "301,201,2143-11-10 02:04:58.000,2143-11-12 00:00:00.000 UTC,1,40",
        "301,201,2143-11-10T02:04:58.000000+00:00,2143-11-12T00:00:00+0000,1,40",
    ],
)
def test_what_another_program_made_of_a_cell_is_read_where_it_says_the_same(tmp_path: Path, row: str) -> None:
    header = "stay_id,hadm_id,intime,dod,flag,age\n"
    (tmp_path / "t.csv").write_text(f"{header}{row}\n302,NaN,NaT,None,0,<NA>\n303,,,,0,\n")
    (tmp_path / "ours.csv").write_text(f"{header}{OURS}\n302,,,,0,\n303,,,,0,\n")
    table = read_table(tmp_path / "t.csv", "t.csv", SPELLED)
    assert not table.rejects.height
    assert table.frame.equals(read_table(tmp_path / "ours.csv", "ours.csv", SPELLED).frame)


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("301.5,201,2143-11-10 02:04:58,,1,", "stay_id"),
        ("3.01E2,201,2143-11-10 02:04:58,,1,", "stay_id"),
        ("301,201,2143-11-10 02:04:58+01:00,,1,", "intime"),
        ("301,201,2143-11-10 02:04:58.5,,1,", "intime"),
        ("301,201,10/11/2143 02:04,,1,", "intime"),
        ("301,201,2143-11-10 02:04,,1,", "intime"),
        ("301,201,,2143-11-12 10:00:00,1,", "dod"),
        ("NaN,201,,,1,", "stay_id"),
        ("301,201,,,NULL,", "flag"),
    ],
)
def test_a_cell_that_may_say_something_else_is_not_guessed(tmp_path: Path, row: str, column: str) -> None:
    (tmp_path / "t.csv").write_text(f"stay_id,hadm_id,intime,dod,flag,age\n{row}\n")
    table = read_table(tmp_path / "t.csv", "t.csv", SPELLED)
    assert table.rejects["column"].to_list() == [column]


def test_plain_packed_and_twice_packed_files_are_equal(tmp_path: Path) -> None:
    plain = read(tmp_path, GOOD)
    packed = read(tmp_path, gzip.compress(GOOD.encode()), "things.csv.gz")
    members = gzip.compress(GOOD[:30].encode()) + gzip.compress(GOOD[30:].encode())
    assert plain.frame.equals(packed.frame)
    assert plain.frame.equals(read(tmp_path, members, "things.csv.gz").frame)


@pytest.mark.parametrize(
    ("row", "column", "rule"),
    [
        ("3,a,,", "thing_id", "malformed"),
        (",a,,", "thing_id", "blank"),
        ("٠٠٣,a,,", "thing_id", "malformed"),
        ("003,c,,", "kind", "not a known value"),
        ("003,,,", "kind", "blank"),
        ("003,a,,2150-02-29 10:00:00", "seen", "not a time"),
        ("003,a,,2150-03-01", "seen", "not a time"),
        ("003,a,,2150-03-01 24:00:00", "seen", "not a time"),
        ("003,a,,2150-03-01 10:00:60", "seen", "not a time"),
        ("003,a", "", "2 fields where the header has 4"),
        ("003,a,,,x", "", "5 fields where the header has 4"),
        ("0\x003,a,,", "thing_id", "not plain text"),
        ('003,"a"b,,', "", "not CSV: ',' expected after '\"'"),
        ("003," + "a" * 200_000 + ",,", "", "not CSV: field larger than field limit (131072)"),
    ],
    ids=range(14),
)
def test_bad_row_is_rejected_with_line_column_and_rule(tmp_path: Path, row: str, column: str, rule: str) -> None:
    table = read(tmp_path, GOOD + row + "\n004,a,,\n")
    assert table.rejects.drop("subject").rows() == [(4, column, rule)]
    assert table.frame["thing_id"].to_list() == ["001", "002", "004"]


@pytest.mark.parametrize(
    ("cell", "rule"), [("x", "not a whole number"), ("100", "out of range"), ("-1", "out of range")]
)
def test_column_that_may_be_unknown_keeps_the_row_and_counts(tmp_path: Path, cell: str, rule: str) -> None:
    table = read(tmp_path, f"{GOOD}003,a,{cell},\n")
    assert table.frame["num"].to_list() == [7, None, None]
    assert table.blanked == {f"num: {rule}": 1}


def test_bytes_that_are_not_utf8_are_rejected_only_where_they_are_read(tmp_path: Path) -> None:
    head = GOOD.replace("seen\n", "seen,note\n").replace(":00\n", ":00,\n").replace(",,\n", ",,,\n").encode()
    table = read(tmp_path, head + b"003,a,,,caf\xe9\n0\xe94,a,,,\n")
    assert table.frame["thing_id"].to_list() == ["001", "002", "003"]
    assert table.rejects.drop("subject").rows() == [(5, "thing_id", "not plain text")]


def test_quoted_line_break_is_one_row_and_lines_are_counted_on(tmp_path: Path) -> None:
    table = read(tmp_path, 'thing_id,kind,num,seen,note\n001,a,,,"two\nlines"\nbad,a,,,\n')
    assert (table.rows, table.frame.height) == (2, 1)
    assert table.rejects["line"].to_list() == [4]


def test_same_row_twice_is_kept_once_and_conflicting_rows_not_at_all(tmp_path: Path) -> None:
    table = read(tmp_path, GOOD + "002,b,,\n003,a,,\n003,b,,\n")
    assert table.frame["thing_id"].to_list() == ["001", "002"]
    assert table.reject_counts() == {
        "thing_id: the same key with different content": 2,
        "thing_id: the same row again": 1,
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("thing_id,kind,num,seen\n", "has no rows"),
        (GOOD.replace("kind", "kid"), 'column "kind" is missing'),
        (GOOD.replace("num", "kind"), 'column "kind" occurs twice'),
        (GOOD.replace("num", "sort"), 'column "kind" occurs twice'),
        (GOOD + '003,"a,,\n004,a,,\n', "a quote that opens on line 4"),
        (GOOD + '"003,a,,\n004",a\n005,a,,\n', "a quote that opens on line 4"),
        (GOOD.encode("utf-16"), "is not in UTF-8 but in UTF-16"),
        (GOOD.encode("utf-16-be"), "is not in UTF-8 but in UTF-16"),
        (GOOD.replace(",", ";"), "has semicolons between its cells"),
        (GOOD.replace(",", "\t"), "has tabs between its cells"),
        ("\n <!DOCTYPE html><title>Login, please</title>", "is a web page and not a table"),
    ],
)
def test_file_that_cannot_be_trusted_is_an_error(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)
    assert f"things.csv{':' if 'column' in words or 'quote' in words else ''} {words}" in caught.value.what


def test_missing_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path, GOOD.replace("thing_id", "thing_ids"))
    assert caught.value.hint == 'nearest is "thing_ids"'


def test_every_cut_of_a_packed_file_is_refused(tmp_path: Path) -> None:
    data = gzip.compress(GOOD.encode() * 1)
    for size in range(len(data)):
        with pytest.raises(DataError):
            read(tmp_path, data[:size], "things.csv.gz")


def test_every_damaged_byte_of_the_packed_stream_is_refused_or_harmless(tmp_path: Path) -> None:
    data = gzip.compress(GOOD.encode(), mtime=0)
    expected = read(tmp_path, data, "things.csv.gz").frame
    for position in range(len(data)):
        broken = bytearray(data)
        broken[position] ^= 0x41
        try:
            assert read(tmp_path, bytes(broken), "things.csv.gz").frame.equals(expected)  # time stamp, system byte
        except DataError:
            continue


def test_packed_or_plain_is_what_the_bytes_are_and_not_what_the_name_says(tmp_path: Path) -> None:
    plain = read(tmp_path, GOOD)
    for data, name in ((GOOD.encode(), "things.csv.gz"), (gzip.compress(GOOD.encode()), "things.csv")):
        table = read(tmp_path, data, name)
        assert table.frame.equals(plain.frame)
        assert len(table.remarks) == 1
        assert table.remarks[0].startswith("read as it is: p")


def test_table_larger_than_the_bound_is_refused_packed_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MAX_TABLE_BYTES", 1 << 20)
    lines = "".join(f"{number},a,,\n" for number in range(200_000)).encode()
    data = b"thing_id,kind,num,seen\n" + lines
    for name, written in (("things.csv", data), ("things.csv.gz", gzip.compress(data))):
        with pytest.raises(DataError, match=r"has or unpacks to more than 1\.0 MiB"):
            read(tmp_path, written, name)


def test_bomb_is_refused(tmp_path: Path) -> None:
    data = gzip.compress(b"thing_id,kind,num,seen\n" + b"\n" * 40_000_000)
    with pytest.raises(DataError, match="200 times"):
        read(tmp_path, data, "things.csv.gz")


def test_no_cut_of_a_plain_file_is_silent(tmp_path: Path) -> None:
    whole = read(tmp_path, GOOD)
    for size in range(len(GOOD)):
        try:
            table = read(tmp_path, GOOD[:size])
        except DataError:
            continue
        is_told = bool(table.rejects.height or table.remarks)
        assert is_told or table.frame.equals(whole.frame.head(table.rows)), GOOD[:size]


MIXED = TableSpec(
    "mixed",
    (
        Column("subject_id", "id", form="1[0-9]{3}"),
        Column("kind", values=("a", "b", "c,d"), aliases=("sort",)),
        Column("num", "int", low=0, high=99, may_be_blank=True, when_bad="blank"),
        Column("share", "float", may_be_blank=True, when_bad="blank"),
        Column("seen", "time", may_be_blank=True),
        Column("born", "date", may_be_blank=True, when_bad="blank"),
        Column("note", may_be_blank=True),
    ),
    key=("subject_id", "kind"),
)
PIECES = (
    b'"',
    b'""',
    b",",
    b"\n",
    b"\r",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    "é".encode(),
    b" ",
    b"\t",
    b"\x0b",
    b"60",
)

# The fifth holds a line that looks like a row.
NOTES = ("", "x", '"two, ""words"""', '"a\nb"', '"a\n1001,a,,,,,\nb"', "é", '"open', 'x"y')


def draw_table(rng: random.Random) -> bytes:
    """Return a table of which most is well: plain lines, quoted cells, blank lines, all three ends of lines."""
    rows = ["subject_id,kind,num,share,seen,born,note"]
    for _ in range(rng.randrange(12)):
        seen = f"2150-03-{rng.randint(1, 31):02d} 10:00:{rng.randint(0, 60):02d}"
        kind, note = rng.choice(["a", "b", '"c,d"']), rng.choice(NOTES)
        seen = seen.replace(" ", rng.choice("   T")) + rng.choice(["", "", "", ".000", "Z", " UTC", "+00:00", "+01:00"])
        id_ = f"1{rng.randrange(30):03d}" + rng.choice(["", "", "", ".0", ".1"])
        row = [id_, kind, rng.choice(["", "7", "7.0", "700", "NaN"]), rng.choice(["", "1.5", "-2."])]
        born = rng.choice(["", "2100-02-29", "2104-02-29", "2104-02-29 00:00:00", "2104-02-29 00:00:01", "NaT"])
        rows.append(",".join([*row, rng.choice(["", seen, "NULL"]), born, note]))
        if rng.random() < 0.1:
            rows.append(rng.choice(["", rows[-1], rows[-1] + ",", rows[-1] + ",x", "1"]))
    end = rng.choice(["\n", "\n", "\r\n", "\r"])
    return (end.join(rows) + rng.choice([end, end, ""])).encode()


def mutate(data: bytes, rng: random.Random) -> bytes:
    mutant = bytearray(data)
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        at = rng.randrange(len(mutant) + 1)
        match rng.randrange(4):
            case 0:
                mutant[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del mutant[at : at + rng.randint(1, 20)]
            case 2:
                mutant[at:at] = rng.choice(PIECES)
            case 3:
                mutant[at:at] = mutant[: rng.randint(0, 60)]
    return bytes(mutant)


def compare(path: Path, spec: TableSpec, data: bytes, has_header: bool = True) -> bool:
    """Assert that the reader and its plain twin agree on an unpacked file; return whether it was read."""
    try:
        expected = read_slowly(data, spec, has_header)
    except Refused as refused:
        with pytest.raises(DataError) as caught:
            read_table(path, path.name, spec, has_header)
        assert str(refused) in caught.value.what
        return False
    table = read_table(path, path.name, spec, has_header)
    assert table.rows == expected.rows
    assert table.frame.rows() == expected.frame
    assert table.rejects.rows() == expected.rejects
    assert table.blanked == expected.blanked
    assert table.remarks == expected.remarks
    return True


@pytest.mark.fuzz
def test_reader_agrees_with_the_plainest_one_cell_by_cell_and_reject_by_reject(tmp_path: Path) -> None:
    path, num_read = tmp_path / "mixed.csv", 0
    for seed in range(scaled(200, 30_000)):
        rng = random.Random(seed)
        data = mutate(draw_table(rng), rng)
        path.write_bytes(data)
        try:
            num_read += compare(path, MIXED, data)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {data!r}") from error
    assert num_read > seed / 4


@pytest.mark.fuzz
def test_list_of_names_without_header_is_read_as_by_the_plainest_reader(tmp_path: Path) -> None:
    spec = TableSpec("names", (Column("name", form="[a-z]{1,3}"),), key=("name",))
    path, num_read = tmp_path / "names.txt", 0
    for seed in range(scaled(100, 5_000)):
        rng = random.Random(seed)
        names = [rng.choice(["", " ", "a", "bc", "def", '"g"', "h,", "ij,k", "L"]) for _ in range(rng.randrange(9))]
        data = mutate(rng.choice(["\n", "\r\n"]).join(names).encode(), rng)
        path.write_bytes(data)
        try:
            num_read += compare(path, spec, data, has_header=False)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {data!r}") from error
    assert num_read > seed / 4
