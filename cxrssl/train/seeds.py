"""Several runs in one process, each as if it were alone in it.

In: plans of runs that differ in the seed. Out: each run ended before the next begins. Never: a number of a run that
depends on the runs before it, or memory of theirs that it lacks.
"""

from __future__ import annotations

import gc
import sys

import torch

from cxrssl.train import loop
from cxrssl.train.plan import RunPlan


def pretrain_alone(plan: RunPlan) -> loop.RunResult:
    """Train a run and leave the process as it was: see `loop.pretrain`.

    A run that is resumed may set the number of threads that its checkpoint was made with; the next has torch's own.
    """
    num_threads = torch.get_num_threads()
    try:
        return loop.pretrain(plan)
    finally:
        if torch.get_num_threads() != num_threads:
            torch.set_num_threads(num_threads)
        if "torch._dynamo" in sys.modules:
            torch.compiler.reset()  # compiled steps hold the model of their run
        gc.collect()
        torch.cuda.empty_cache()
