"""Tables: cells from data never break them."""

from cxrssl.report.tables import Table


def test_cells_from_data_stay_in_their_cell() -> None:
    table = Table("T", ["a|b", "c"], [["x|y\n| z", "<script>\x1b[31m"], ["plain", "1"]])
    lines = table.to_markdown().splitlines()[2:]
    assert len(lines) == 4
    for line in lines:
        assert line.replace("\\|", "").count("|") == 3
    assert "<script" not in "".join(lines)
    assert "\x1b" not in "".join(lines)
