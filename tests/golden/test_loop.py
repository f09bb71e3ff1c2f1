"""Eight steps of `pretrain` give the losses that they gave when the golden files were written."""

import json
from pathlib import Path

import pytest

from tests.cli.command import run
from tests.golden.compare import compare
from tests.golden.loop import CASES, FOLDER, NUM_STEPS, Trace, make_workspace, read_trace, run_case, words_of

TOLERANCE = {"loss": 5e-5, "grad_norm": 1e-3}
"""Relative. One unit of rounding on every weight at the start moves the losses of these steps by up to 7e-6 and the
gradient norms by up to 1.1e-4; other kernels (ATEN_CPU_CAPABILITY, MKL_CBWR) and other numbers of threads by less."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("golden"))


@pytest.mark.parametrize("case", CASES)
def test_eight_steps_of_a_run_give_the_losses_that_they_gave(case: str, workspace: Path) -> None:
    if "--gpus" in words_of(case):
        trace = run_case(case, workspace)
    else:
        assert run(*words_of(case), workspace=workspace).returncode == 0
        trace = read_trace(case, workspace)
    assert len(trace.steps) == NUM_STEPS
    for name, wanted in json.loads((FOLDER / f"{case}.json").read_text()).items():
        assert trace.column(name) == pytest.approx(wanted, rel=TOLERANCE[name]), name


def test_a_comparison_names_the_first_digit_that_differs() -> None:
    steps = [{"step": 0, "loss": 2.5, "lr": 0.1}, {"step": 1, "loss": 2.4, "lr": 0.1}]
    other = [steps[0], {"step": 1, "loss": 2.4000000000000004, "lr": 0.1}]
    assert compare(Trace(steps, ["a"]), Trace(steps, ["a"])) == ""
    assert compare(Trace(steps, ["a"]), Trace(other, ["a"])) == "step 1: loss 2.4, now 2.4000000000000004"
    assert compare(Trace(steps, ["a"]), Trace(steps[:1], ["a"])) == "2 steps, now 1"
    assert compare(Trace(steps, ["a", "b"]), Trace(steps, ["a", "c"])) == "2 tensors differ after the last step"
