"""The command that measures a GPU: it runs on a CPU too, with no more than a GPU machine has, and adds up rightly."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cxrssl.model.record import Record, RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.train.state import init_state
from cxrssl.train.step import Batch, backward
from cxrssl.views.draw import Views, make_views
from tests.benchmarks.gpu.cases import list_cases
from tests.benchmarks.gpu.child import Child, Outcome
from tests.benchmarks.gpu.results import Results
from tests.gpu.trace import GAPS, NO_SPAN, WINDOW, profile_trace

ROOT = Path(__file__).resolve().parents[2]
ABSENT = ("duckdb", "polars", "pydicom", "textual", "typer", "rich", "orjson", "lightly", "sklearn")
MAX_OPERATIONS = {"views": 370, "the step": 2490}
"""As counted, and a tenth more: what the host has to dispatch for one step, whatever the batch."""


def run_bench(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command on a CPU, its results in a folder."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu", "--device", "cpu", "--results", str(folder), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def read_results(folder: Path) -> dict[str, Any]:
    return {each["name"]: each for each in json.loads((folder / "cpu.json").read_text())["results"]}


def test_the_benchmark_runs_without_what_a_gpu_machine_may_lack_writes_down_what_fails_and_goes_on(
    tmp_path: Path,
) -> None:
    blocked, folder = tmp_path / "blocked", tmp_path / "results"
    blocked.mkdir()
    for name in ABSENT:
        (blocked / f"{name}.py").write_text(f"raise ImportError('{name} is not here')\n")
    words = ["--steps", "1", "--minutes", "60", "--backbones", "vit-micro", "vit-none"]
    words += ["--only", "vit-micro 4, eager", "vit-none 4, eager"]
    done = run_bench(folder, *words, PYTHONPATH=str(blocked))
    assert done.returncode == 0, done.stderr
    found = read_results(folder)
    assert sorted(found) == ["vit-micro 4, eager", "vit-none 4, eager"]
    assert "vit-none" in found["vit-none 4, eager"]["error"]
    assert "failed: " in done.stdout
    run = found["vit-micro 4, eager"]
    assert "error" not in run
    assert run["found"]["films_per_s"] > 0
    assert f"torch {run['by']['torch']}" in done.stdout
    shares = run["found"]["profile"]["shares"]
    for name in ("views", "target encoder", "anchor encoder", "head and loss", "backward", "optimiser"):
        assert shares[name] > 0
    written = (folder / "cpu.json").read_bytes()
    again = run_bench(folder, *words, PYTHONPATH=str(blocked))
    assert again.returncode == 0, again.stderr
    assert (folder / "cpu.json").read_bytes() == written, "what has a result is not measured again"
    assert "vit-micro 4, eager" in again.stdout


def test_no_time_is_told_and_leaves_what_is_known(tmp_path: Path) -> None:
    done = run_bench(tmp_path, "--minutes", "0.01", "--only", "run", "loader")
    assert done.returncode == 0, done.stderr
    assert "no time for: vit-micro 4, compiled; vit-micro 4, eager;" in done.stdout
    assert not (tmp_path / "cpu.json").exists()


def test_what_a_case_has_told_when_the_clock_ends_it_is_kept_and_measured_again_later(tmp_path: Path) -> None:
    code = "import time; print('{\"films_per_s\": 7}\\n{half', flush=True); time.sleep(99)"
    with Child([sys.executable, "-c", code], {}) as child:
        outcome = child.wait(5.0)
    assert outcome.found == {"films_per_s": 7}
    assert outcome.error == "not done after 5 s"
    machine, case = {"device": "NVIDIA H100", "torch": "2.14"}, list_cases("cuda", ["vit-tiny"], [64], 100)[0]
    results = Results(tmp_path, machine)
    results.keep(case, outcome, 5.0)
    later = Results(tmp_path, machine)
    assert later.by_name[case.name]["found"] == {"films_per_s": 7}
    assert not later.has(case)
    later.keep(case, Outcome({"films_per_s": 8}), 5.0)
    assert Results(tmp_path, machine).has(case)
    assert not Results(tmp_path, {**machine, "torch": "2.15"}).has(case), "of another torch"
    assert later.path.name == "nvidia-h100.json"


def test_cases_are_ordered_by_value_and_each_name_is_of_one_case() -> None:
    cases = list_cases("cuda", ["vit-tiny", "vit-small"], [64, 256], 100)
    names = [case.name for case in cases]
    assert names[:2] == ["vit-tiny 256, compiled", "vit-tiny 256, eager"]
    assert {f"{backbone} {size}, {how}" for backbone in ("vit-tiny", "vit-small") for size in (64, 256)
            for how in ("eager", "compiled", "graphs")} <= set(names)  # fmt: skip
    assert len(set(names)) == len(names)
    rehearsed = {case.kind for case in list_cases("cpu", ["vit-micro"], [4], 1)}
    assert rehearsed == {case.kind for case in cases}


def span(name: str, ts: float, dur: float, cat: str = "user_annotation", **args: Any) -> dict[str, Any]:
    return {"ph": "X", "name": name, "cat": cat, "ts": ts, "dur": dur, "args": args}


def test_a_kernel_belongs_to_the_innermost_span_that_launched_it_and_idle_time_is_told() -> None:
    events = [
        span(WINDOW, 0, 1),
        span("backward", 100, 300),
        span("optimiser", 350, 20),
        span("cudaLaunchKernel", 110, 2, "cuda_runtime", correlation=1),
        span("cudaLaunchKernel", 355, 2, "cuda_runtime", correlation=2),
        span("cuLaunchKernel", 500, 2, "cuda_driver", correlation=3),
        span("matmul", 200, 400, "kernel", correlation=1),  # runs on while the host is in the next span
        span("adamw", 600, 100, "kernel", correlation=2),
        span("copy", 650, 150, "gpu_memcpy", correlation=3),  # beside the one before
        span("backward", 200, 400, "gpu_user_annotation"),  # the profiler's own summary of kernels
        span("cudaStreamSynchronize", 360, 30, "cuda_runtime", correlation=9),
        span("cudaDeviceSynchronize", 900, 90, "cuda_runtime", correlation=10),
        span("matmul", 1001, 50, "kernel", correlation=11),  # after the window
        span(WINDOW, 1000, 1),
    ]
    profile = profile_trace(events, ["backward", "optimiser"], num_steps=2)
    assert profile.step_ms == 0.5
    assert profile.shares() == {"backward": 0.4, GAPS: 0.4, NO_SPAN: 0.15, "optimiser": 0.1}
    assert profile.num_kernels == {"backward": 0.5, "optimiser": 0.5, NO_SPAN: 0.5}
    assert profile.syncs == {"cudaStreamSynchronize in optimiser": 0.5}
    assert profile.blocked_ms == 0.015


class Count(TorchDispatchMode):
    """Counts operations that do something, which a GPU would each be asked for by the host."""

    FREE: tuple[str, ...] = (
        "view",
        "expand",
        "transpose",
        "aten.t.",
        "select.int",
        "slice",
        "squeeze",
        "detach",
        "alias",
        "permute",
    )
    FREE += ("split", "unbind", "as_strided", "profiler.")

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += not any(word in str(function) for word in self.FREE)
        return function(*args, **(kwargs or {}))


def test_a_step_asks_the_device_for_no_more_operations_than_it_did() -> None:
    recipe = load_recipe("strict", ["model.backbone=vit-tiny"], {"ehr": {"features": ["sex"]}})
    state, films = (
        init_state(recipe, RecordColumns(3), torch.device("cpu")),
        torch.zeros(2, 320, 320, dtype=torch.uint8),
    )
    valid, record = torch.tensor([[0.0, 0.0, 320.0, 320.0]]).expand(2, 4), torch.rand(2, 3)

    def views_of(part: slice) -> Views:
        return make_views(films[part], valid, state.model.view_plan, 0, 0, part)

    def take_step() -> None:
        backward(state.model, Batch(views_of, Record(record), [slice(0, 2)]), torch.bfloat16)
        state.optimizer.step()

    take_step()  # moments are made once
    counts = {}
    for name, work in (("views", lambda: views_of(slice(None))), ("the step", take_step)):
        with Count() as count:
            work()
        counts[name] = count.number
        assert count.number <= MAX_OPERATIONS[name], counts
