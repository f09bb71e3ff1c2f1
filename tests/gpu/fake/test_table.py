"""The compiled step keeps to its goals of launches and bytes, as inductor writes it for a GPU that is not there."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.gpu.fake.table import describe_case, list_rows
from tests.gpu.fake.test_step import run_cases

MAX_LAUNCHES, MAX_GIGABYTES = 700, 85
"""Of a step of 256 films of vit-tiny. Eager it takes 2,000 and 112, compiled as it was 1,246 and 93."""

NUM_GRAPHS = 5
"""Of anchors and loss, forward and backward, and of targets; none is compiled again at the second step."""


@pytest.mark.skipif(not os.environ.get("CXRSSL_FULL"), reason="takes a minute; with CXRSSL_FULL=1")
def test_a_compiled_step_of_256_films_keeps_to_its_goals(tmp_path: Path) -> None:
    found = run_cases(tmp_path, {"step": describe_case("vit-tiny", 256, is_compiled=True)})["step"]
    assert found["error"] == ""
    assert len(found["graphs"]) == NUM_GRAPHS
    together = list_rows(found)["together"]
    assert together["launches"] <= MAX_LAUNCHES
    assert together["gigabytes"] <= MAX_GIGABYTES


def test_a_table_adds_up_parts_and_graphs_of_a_step_and_nothing_else() -> None:
    part: dict[str, Any] = {"num_launches": 3, "num_bytes": 2e9}
    graph = {"name": "encode", "num_generated": 4, "externs": {"mm": 2}, "num_bytes": 1e9, "kept_bytes": 5e8}
    graphs = [{**graph, "is_backward": False}, {**graph, "is_backward": True}]
    rows = list_rows({"parts": {"views": part, "features": part}, "graphs": graphs})
    assert list(rows) == ["views", "encode", "encode, backward", "together"]
    assert rows["encode"]["launches"] == 6
    assert rows["together"] == {"launches": 15, "gigabytes": 4}
