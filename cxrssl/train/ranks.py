"""The processes that train one run together: who this one is, what they agree on, how they are started and end.

In: the environment that torchrun or a SLURM job sets. Out: a Ranks, a process group, one exit for all.
Never: a process left waiting for one that has died, or two that stop at different steps.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from cxrssl.core.errors import CxrsslError, Preempted, SetupError
from cxrssl.core.progress import format_seconds
from cxrssl.core.text import plain

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
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield Ranks()
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo", timeout=TIMEOUT)
    # A message that timed out leaves its connections closed, so the roll is called over connections of its own.
    roll = dist.new_group(backend="gloo", timeout=PATIENCE) if device_type == "cpu" else None
    try:
        yield Ranks(rank, world_size, local_rank, dist.group.WORLD)
    except RuntimeError as error:
        if not isinstance(roll, ProcessGroup) or "Timed out" not in str(error):
            raise
        raise _name_silent(roll) from error
    finally:
        dist.destroy_process_group()


def _name_silent(roll: ProcessGroup) -> SetupError:
    """Return the error that names whoever does not answer: rank 0 hears of all, the others of rank 0 alone."""
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


def launch(num_processes: int, words: Sequence[str]) -> None:
    """Run `cxrssl WORDS` in `num_processes` processes of this machine, through torchrun, until all are done.

    Raises: Preempted when they stopped on a signal, SetupError naming the rank that failed and how.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=num_processes,
        run_id=f"cxrssl-{os.getpid()}",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.2,
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    try:
        elastic_launch(config, sys.executable)("-m", "cxrssl", *words)
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        raise Preempted(f"stopped by {error.sigval.name}", hint="run the same command to go on") from None
    except ChildFailedError as error:
        raise _name_failure(error.get_first_failure()) from None


def _name_failure(first: tuple[int, object]) -> CxrsslError:
    rank, failure = first
    code = int(getattr(failure, "exitcode", 1))
    if code == Preempted.exit_code:
        return Preempted("stopped on a signal", hint="run the same command to go on")
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
    error = SetupError(f"rank {rank} {how}; the others were ended", hint=plain("its own message stands above, if any"))
    if code > 1:
        error.exit_code = code  # of the error that the rank itself has told
    return error
