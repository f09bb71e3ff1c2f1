"""A report in each format is the one that was last read by a person: `just report-texts` writes it anew."""

from __future__ import annotations

import pytest

from tests.golden.report import FOLDER, make_files

FILES = make_files()


@pytest.mark.parametrize("name", FILES)
def test_a_report_in_a_format_is_its_golden_file(name: str) -> None:
    assert FILES[name].decode() == (FOLDER / name).read_text(encoding="utf-8"), "if this was meant: just report-texts"


def test_there_is_no_golden_file_of_a_format_that_is_gone() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(FILES)
