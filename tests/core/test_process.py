"""Which process of a run this is: one reader of torchrun's environment."""

from __future__ import annotations

import pytest

from cxrssl.core.process import Launch, find_launch, is_first

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@pytest.mark.parametrize(
    ("values", "place", "speaks"),
    [
        ({}, None, True),
        ({"WORLD_SIZE": "4"}, None, True),
        ({"RANK": "0"}, Launch(0, 1, 0, 1), True),
        ({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}, Launch(5, 8, 1, 4), False),
    ],
)
def test_a_process_knows_its_place(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], place: Launch | None, speaks: bool
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert find_launch() == place
    assert is_first() == speaks
