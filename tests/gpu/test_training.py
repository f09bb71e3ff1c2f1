"""Training on a GPU: the same draws as on the CPU, so nearly the same first losses; bf16 within a band."""

import pytest

from cxrssl.core.recipe import Machine, load_recipe
from cxrssl.results import read_run
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from tests.world import TINY, make_workspace

pytestmark = pytest.mark.gpu
NUM_COMPARED = 10


def first_losses(workspace, device, precision):
    recipe = load_recipe("demo", [*TINY, f"train.precision={precision}"], {"ehr": {"features": ["sex", "view"]}})
    plan = plan_run(workspace, "nih", recipe, Machine(device=device), f"msn-{device}")
    pretrain(plan)
    return [record["loss"] for record in read_run(plan.folder).metrics[:NUM_COMPARED]]


def test_the_first_losses_agree_between_devices_and_precisions(tmp_path):
    workspace = make_workspace(tmp_path, num_patients=60)
    cpu = first_losses(workspace, "cpu", "fp32")
    assert first_losses(workspace, "cuda", "fp32") == pytest.approx(cpu, rel=5e-3)
    assert first_losses(workspace, "cuda", "bf16") == pytest.approx(cpu, rel=5e-2)
