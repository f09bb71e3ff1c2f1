"""Journals: whole lines only, numbers that JSON has no word for, readers that never fail."""

import math

from cxrssl.core.journal import Journal, append_record, read_journal
from cxrssl.core.text import plain


def test_what_is_logged_is_read_again_with_nan_and_infinity(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    journal.log({"step": 1, "loss": math.nan, "parts": [math.inf, 2.0]})
    journal.close()
    append_record(tmp_path / "j.jsonl", {"event": "stop"})
    first, second = read_journal(tmp_path / "j.jsonl")
    assert math.isnan(first["loss"])
    assert first["parts"] == ["inf", 2.0]
    assert second["event"] == "stop"


def test_an_unfinished_last_line_and_lines_that_are_not_records_are_no_data(tmp_path):
    (tmp_path / "j.jsonl").write_bytes(b'{"step":1}\nnoise\n[1]\n\xff\xfe\n{"step":2}\n{"step":3,"lo')
    assert [record["step"] for record in read_journal(tmp_path / "j.jsonl")] == [1, 2]
    assert read_journal(tmp_path / "absent.jsonl") == []


def test_plain_text_has_no_control_bidirectional_or_zero_width_characters():
    hostile = "a\x1b[31mb\x07c\x9bd\u202ee\u200bf\u2066g\n"
    assert not set(plain(hostile)) & set("\x1b\x07\x9b\u202e\u200b\u2066\n")
    assert plain("Hernia, 60 y, Größe 肺") == "Hernia, 60 y, Größe 肺"
    assert len(plain("x" * 10_000)) == 500
