"""What a clock does not show: numbers beside the CPU's, bit for bit again, resumed, and shared by processes."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.gpu.cases import Case
from tests.benchmarks.gpu.child import start_case
from tests.benchmarks.gpu.measure import Tell
from tests.gpu.band import BAND, FIRST, measure_away
from tests.gpu.runs import read_losses, train
from tests.gpu.world import draw_workspace

NUM_FILMS = 200


def check_band(case: Case, workspace: Path, tell: Tell) -> None:
    """Train a calm recipe in fp32 on the CPU and in bf16 here, and tell how far the curves are apart."""
    with tempfile.TemporaryDirectory() as temp:
        drawn = draw_workspace(Path(temp), NUM_FILMS).root
        expected = read_losses(train(drawn, "fp32", case.num_steps, device="cpu"))
        found = read_losses(train(drawn, "bf16", case.num_steps, device=case.device, precision="bf16", compile="off"))
    away = measure_away(found, expected)
    tell({"away": away._asdict(), "band": BAND._asdict(), "is_right": away.is_within(), "num_steps": len(found)})


def check_repeat(case: Case, workspace: Path, tell: Tell) -> None:
    """Train the same run twice, and once killed and resumed; all at once, as no clock is read."""
    case = dataclasses.replace(case, kind="train", checkpoint_every=2)
    killed_at = case.num_steps // 2
    names = ("first", "again", "killed")
    cases = {name: dataclasses.replace(case, run_name=f"repeat-{name}") for name in names}
    kill_at = {"killed": f"train-after-step:{killed_at}"}
    with contextlib.ExitStack() as stack:
        children = {
            name: stack.enter_context(start_case(cases[name], workspace, CXRSSL_KILL_AT=kill_at.get(name, "")))
            for name in names
        }
        done = {name: child.wait() for name, child in children.items()}
    assert done["killed"].code == -signal.SIGKILL, f"it was not killed: {done['killed'].error}"
    found = {name: done[name].need() for name in ("first", "again")}
    tell({"is_repeated": _same(found["first"], found["again"])})
    with start_case(cases["killed"], workspace) as child:
        resumed = child.wait().need()
    is_resumed = _same(found["first"], resumed)
    tell({"is_resumed": is_resumed, "killed_at": killed_at, "is_right": is_resumed and _same(*found.values())})


def check_ranks(case: Case, workspace: Path, tell: Tell) -> None:
    """Train alone, then as one run of two processes that share the device, over gloo; tell rates and first losses."""
    case = dataclasses.replace(case, kind="train")
    with start_case(dataclasses.replace(case, run_name="alone"), workspace) as child:
        alone = child.wait().need()
    tell({"films_per_s_alone": alone["films_per_s"]})
    with contextlib.ExitStack() as stack:
        store = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(_free_port())}
        shared = dataclasses.replace(case, run_name="shared")
        children = [
            stack.enter_context(start_case(shared, workspace, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE="2", **store))
            for rank in ("0", "1")
        ]
        found, _ = (child.wait() for child in children)
    shared_found = found.need()
    pairs = zip(alone["losses"][:FIRST], shared_found["losses"][:FIRST], strict=True)
    away = max(abs(two / one - 1) for one, two in pairs)
    tell({"films_per_s": shared_found["films_per_s"], "first_losses_away": away, "is_right": away < BAND.first})


def check_pair(case: Case, workspace: Path, tell: Tell) -> None:
    """Train two runs at once on one device; tell the sum of their rates while both train."""
    with tempfile.TemporaryDirectory() as temp, contextlib.ExitStack() as stack:
        case = dataclasses.replace(case, kind="train", meeting=temp, num_meeting=2)
        children = [
            stack.enter_context(start_case(dataclasses.replace(case, run_name=f"pair-{number}"), workspace))
            for number in range(2)
        ]
        rates = [child.wait().need()["films_per_s"] for child in children]
    tell({"films_per_s": sum(rates), "films_per_s_each": rates})


def _same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return bool(one["losses"] == two["losses"] and one["weights"] == two["weights"])


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])
