"""Tables: cells from data never break them, and "not defined" is said in words."""

from cxrssl.report.tables import Table, format_interval


def test_cells_from_data_stay_in_their_cell() -> None:
    table = Table("T", ["a|b", "c"], [["x|y\n| z", "<script>\x1b[31m"], ["plain", "1"]])
    lines = table.to_markdown().splitlines()[2:]
    assert len(lines) == 4
    for line in lines:
        assert line.replace("\\|", "").count("|") == 3
    assert "<script" not in "".join(lines)
    assert "\x1b" not in "".join(lines)


def test_intervals_are_written_with_their_bounds_and_undefined_ones_in_words() -> None:
    interval = {"value": 0.7341, "lo": 0.7019, "hi": 0.7654}
    assert format_interval(interval) == "0.734 [0.702, 0.765]"
    assert format_interval({"value": -0.01, "lo": -0.02, "hi": 0.01}, signed=True) == "-0.010 [-0.020, +0.010]"
    assert format_interval({"value": None, "lo": None, "hi": None}) == "not defined"
