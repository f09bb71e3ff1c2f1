"""Which process of a run this is: one reader of torchrun's environment."""

from __future__ import annotations

import pytest

from cxrssl.core.process import (
    Launch,
    boot_mark,
    bounded_workers,
    describe_process,
    find_launch,
    is_alive,
    is_first,
    owner_mark,
)

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def test_a_process_of_another_container_cannot_be_seen_and_one_of_before_the_last_start_is_gone() -> None:
    """Both containers have a process 1, started at their own time."""
    own = describe_process()
    assert is_alive(own) is True
    assert is_alive({**own, "pid_started": 1}) is False
    assert is_alive({**own, "pid_namespace": "pid:[1]"}) is None
    assert is_alive({**own, "host": "elsewhere"}) is None
    assert is_alive({**own, "boot": "00000000"}) is False
    old = {key: own[key] for key in ("host", "pid", "pid_started")}
    assert is_alive(old) is True, "as earlier versions wrote it"


def test_no_two_marks_of_what_is_being_built_are_equal() -> None:
    marks = {owner_mark() for _ in range(100)}
    assert len(marks) == 100
    assert {mark.split("~")[1] for mark in marks} == {boot_mark()}
    assert all(len(mark.split("~")) == 3 for mark in marks)


@pytest.mark.parametrize(("asked", "workers", "said"), [(0, 2, ""), (3, 3, ""), (1000, 4, "4 workers, not 1,000")])
def test_no_more_workers_are_started_than_the_machine_can_use(
    asked: int, workers: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bounded_workers(asked, 2, 4) == workers
    assert said in capsys.readouterr().err


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
