"""The processes that train one run together: who this one is, what they agree on, how they end.

In: the place that torchrun or a SLURM job gives this process. Out: a Ranks, a process group, one exit for all.
Never: a process left waiting for one that has died, or two that stop at different steps.
"""

from __future__ import annotations

import contextlib
import datetime
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from cxrssl.core.errors import SetupError
from cxrssl.core.process import find_launch
from cxrssl.core.progress import format_seconds

TIMEOUT = datetime.timedelta(minutes=30)
"""How long a process waits for the others: longer than any checkpoint takes to write."""
PATIENCE = datetime.timedelta(seconds=30)
"""How long they take, when one has not answered, to find out which."""
VOTE_LAG = 4


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    group: ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0


@contextlib.contextmanager
def join_ranks(device_type: str) -> Iterator[Ranks]:
    """Yield this process's place; alone unless torchrun or a SLURM job has started it as one of several.

    Raises: SetupError that names a process that has not answered for TIMEOUT. Only on the CPU: on CUDA the watchdog of
    NCCL ends the processes without help.
    """
    # torchrun and SLURM jobs name the processes through the environment; alone there is nothing to set up.
    place = find_launch()
    if place is None or place.world_size == 1:
        yield Ranks()
        return
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=TIMEOUT)
    # A message that timed out leaves its connections closed, so the roll is called over connections of its own.
    roll = dist.new_group(backend="gloo", timeout=PATIENCE) if device_type == "cpu" else None
    try:
        yield Ranks(place.rank, place.world_size, place.local_rank, dist.group.WORLD)
    except RuntimeError as error:
        if not isinstance(roll, ProcessGroup) or "Timed out" not in str(error):
            raise
        raise _name_silent(roll) from error
    finally:
        dist.destroy_process_group()


def _name_silent(roll: ProcessGroup) -> SetupError:
    """Return the error that names the silent process: rank 0 hears from all, the others from rank 0 alone."""
    who = "a process"
    try:
        dist.monitored_barrier(roll, PATIENCE, wait_all_ranks=True)
    except RuntimeError as error:
        found = re.search(r"Ranks ([\d, ]+) failed", str(error))
        who = f"rank {found[1]}" if found else "rank 0, or one that rank 0 names,"
    what = f"{who} has not answered for {format_seconds(TIMEOUT.total_seconds())}"
    return SetupError(what, hint="see what its process or its machine is doing")


class StopVote:
    """Turns the wish of any process to stop into the same step for all, without waiting for the device."""

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self._ranks, self._device = ranks, device
        self._lag = VOTE_LAG if device.type == "cuda" else 0
        self._votes: deque[Tensor] = deque()

    def is_stop(self, is_wanted: bool) -> bool:
        """Return whether all stop after this step. Every process asks once a step."""
        if self._ranks.group is None:
            return is_wanted
        # One scalar a step, on the device: what any process wants, all learn.
        vote = torch.full((), float(is_wanted), device=self._device)
        dist.all_reduce(vote, dist.ReduceOp.MAX, group=self._ranks.group)
        self._votes.append(vote)
        # An old vote has long arrived, so reading it delays nothing.
        return len(self._votes) > self._lag and bool(self._votes.popleft().item())


def check_same_step(step: int, ranks: Ranks, device: torch.device) -> None:
    """Raise SetupError if the processes do not begin at one step, as on folders that are not shared."""
    if ranks.group is None:
        return
    # Nodes that do not share a disk would find different checkpoints, and average their gradients all the same.
    steps = [torch.zeros((), dtype=torch.int64, device=device) for _ in range(ranks.world_size)]
    dist.all_gather(steps, torch.tensor(step, device=device), group=ranks.group)
    found = sorted({int(each) for each in steps})
    if len(found) > 1:
        what = f"the processes found checkpoints of different steps: {', '.join(map(str, found))}"
        raise SetupError(what, hint="all nodes must see one workspace")


def wait_for_all(ranks: Ranks) -> None:
    """Wait until every process is here, so that none leaves, and takes the others with it, while one still writes."""
    if ranks.group is not None:
        dist.barrier(ranks.group)
