"""Processes of one machine are started for devices that are there, or on the CPU for who says so."""

from __future__ import annotations

import pytest
import torch

from cxrssl.core.errors import SetupError
from cxrssl.launch import torchrun
from cxrssl.launch.torchrun import check_devices
from cxrssl.train.device import choose_device


def have_devices(patch: pytest.MonkeyPatch, number: int) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: number > 0)
    patch.setattr(torch.cuda, "device_count", lambda: number)


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize(("number", "said"), [(0, "this machine has none"), (2, "this machine has 2")])
def test_more_processes_than_devices_are_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, number: int, said: str
) -> None:
    have_devices(monkeypatch, number)
    with pytest.raises(SetupError, match=f"--gpus asks for 4 CUDA devices, and {said} that torch can use") as error:
        check_devices(4, device)
    assert "--device cpu" in error.value.hint
    check_devices(number, device)


def test_processes_on_the_cpu_are_started_for_who_asks_and_told_when_they_share_cores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    have_devices(monkeypatch, 0)
    monkeypatch.setattr(torchrun, "num_cores", lambda: 2)
    check_devices(2, "cpu")
    assert capsys.readouterr().err == ""
    check_devices(4, "cpu")
    assert "note: 4 processes share 2 cores" in capsys.readouterr().err


def test_processes_that_torchrun_has_started_take_no_cpu_that_nobody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    have_devices(monkeypatch, 0)
    assert choose_device("auto").type == "cpu"
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SetupError, match="2 processes were started") as error:
        choose_device("auto")
    assert "--device cpu" in error.value.hint
    assert choose_device("cpu").type == "cpu"
