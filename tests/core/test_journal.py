"""Journals: whole lines only, numbers that JSON has no word for, readers that never fail."""

import contextlib
import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrssl.core.errors import SetupError
from cxrssl.core.journal import Journal, append_record, iter_records, read_journal
from cxrssl.core.numbers import decode_number
from cxrssl.core.text import plain
from tests.faults import KINDS, FailingDisk
from tests.scale import scaled


def test_what_is_logged_is_read_again_with_nan_and_infinity(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    journal.log({"step": 1, "loss": math.nan, "parts": [math.inf, 2.0]})
    journal.close()
    append_record(tmp_path / "j.jsonl", {"event": "stop"})
    first, second = read_journal(tmp_path / "j.jsonl")
    assert math.isnan(first["loss"])
    assert first["parts"] == ["inf", 2.0]
    assert second["event"] == "stop"


def test_an_unfinished_last_line_and_lines_that_are_not_records_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "j.jsonl").write_bytes(b'{"step":1}\nnoise\n[1]\n\xff\xfe\n{"step":2}\n{"step":3,"lo')
    assert [record["step"] for record in read_journal(tmp_path / "j.jsonl")] == [1, 2]
    assert read_journal(tmp_path / "absent.jsonl") == []


def log_two(path: Path) -> None:
    with contextlib.closing(Journal(path)) as journal:
        journal.log({"step": 2})
        journal.log({"step": 3})
        journal.sync()


@pytest.mark.crash
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fails_at_any_call_is_told_and_costs_no_other_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for fail_at in itertools.count(1):
        path = tmp_path / str(fail_at) / "j.jsonl"
        append_record(path, {"step": 1})
        told = []
        with monkeypatch.context() as patch:
            disk = FailingDisk(fail_at, kind).install(patch.setattr)
            try:
                log_two(path)
            except SetupError as error:
                told.append(error)
        assert bool(told) == (disk.failed != "" and kind != "short")
        assert all(error.where == str(path) for error in told)
        append_record(path, {"step": 4})
        steps = [record["step"] for record in read_journal(path)]
        assert steps[0] == 1
        assert steps[-1] == 4
        assert set(steps) <= {1, 2, 3, 4}
        assert told or steps == [1, 2, 3, 4]
        if disk.num_calls < fail_at:
            break
    assert fail_at == 5  # open, twice write, sync; then nothing is left to fail


def test_a_journal_that_was_told_of_a_failure_goes_on_with_a_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "j.jsonl")
    with monkeypatch.context() as patch:
        FailingDisk(1, "ENOSPC").install(patch.setattr)
        with pytest.raises(SetupError, match="no space left"):
            journal.log({"step": 1, "note": "x" * 100})
    journal.log({"step": 2})
    journal.close()
    assert [record["step"] for record in read_journal(tmp_path / "j.jsonl")] == [2]


def test_a_device_that_is_truly_full_is_told(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no space left"):
        append_record(Path("/dev/full"), {"step": 1})


def test_plain_text_has_no_control_bidirectional_or_zero_width_characters() -> None:
    hostile = "a\x1b[31mb\x07c\x9bd\u202ee\u200bf\u2066g\n"
    assert not set(plain(hostile)) & set("\x1b\x07\x9b\u202e\u200b\u2066\n")
    assert plain("Hernia, 60 y, Größe 肺") == "Hernia, 60 y, Größe 肺"
    assert len(plain("x" * 10_000)) == 500


LINES = st.one_of(
    st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["nan", "inf", "-inf", "é", "\\"]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode()),
)


@pytest.mark.fuzz
@settings(max_examples=scaled(100, 5000))
@given(st.lists(st.tuples(st.sampled_from([b"", b" ", b"\t"]), LINES, st.sampled_from([b"", b" ", b"\r", b"x"]))))
def test_the_fast_reading_of_a_line_is_that_of_the_standard_library(lines: list[tuple[bytes, bytes, bytes]]) -> None:
    data = b"".join(b"".join(line) + b"\n" for line in lines)
    wanted = []
    for line in data.splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                wanted.append({key: decode_number(item) for key, item in value.items()})
    assert repr(list(iter_records(data))) == repr(wanted)
