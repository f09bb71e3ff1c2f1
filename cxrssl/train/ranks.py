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
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed import ProcessGroup
from torch.distributed.rendezvous import rendezvous

from cxrssl.core.errors import SetupError
from cxrssl.core.process import find_launch
from cxrssl.core.progress import format_seconds
from cxrssl.core.text import plain
from cxrssl.train.meter import HostCopy, bring

TIMEOUT = datetime.timedelta(minutes=30)
"""How long a process waits for the others: longer than any checkpoint takes to write."""
PATIENCE = datetime.timedelta(seconds=30)
"""How long they take, when one has not answered, to find out which."""
WORDS_TIMEOUT = datetime.timedelta(seconds=5)
"""How long a process waits for what an ended one has said: it says so before its connections close."""
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

    Raises: SetupError that names the process that has ended, and why; or, on the CPU, the one that has not answered for
    TIMEOUT. On CUDA the watchdog of NCCL ends the processes without help.
    """
    # torchrun and SLURM jobs name the processes through the environment; alone there is nothing to set up.
    place = find_launch()
    if place is None or place.world_size == 1:
        yield Ranks()
        return
    store, rank, world_size = next(iter(rendezvous("env://", timeout=TIMEOUT)))
    backend = "nccl" if device_type == "cuda" else "gloo"
    dist.init_process_group(
        backend, store=PrefixStore("group", store), rank=rank, world_size=world_size, timeout=TIMEOUT
    )
    last_words = PrefixStore("end", store)
    # A message that timed out leaves its connections closed, so the roll is called over connections of its own.
    roll = dist.new_group(backend="gloo", timeout=PATIENCE) if device_type == "cpu" else None
    try:
        yield Ranks(place.rank, place.world_size, place.local_rank, dist.group.WORLD)
    except BaseException as error:
        # With NCCL, destroying a group waits for the others, who may wait for this process: it is left to the exit.
        if isinstance(error, RuntimeError) and is_lost(error):
            raise _name_ended(last_words) from error
        if isinstance(error, RuntimeError) and isinstance(roll, ProcessGroup) and "Timed out" in str(error):
            raise _name_silent(roll) from error
        _say_why(last_words, rank, error)
        if backend == "gloo":
            dist.destroy_process_group()  # so that the others learn of it now
        raise
    dist.destroy_process_group()


LOST = ("closed by peer", "reset by peer", "Broken pipe", "Connection refused", "remote process exited")
"""What gloo and NCCL say where another process is gone."""


def is_lost(error: RuntimeError) -> bool:
    """Return whether a message between processes failed because one of them has ended."""
    return any(words in str(error) for words in LOST)


def _say_why(last_words: Store, rank: int, error: BaseException) -> None:
    """Leave for the others why this process ends; the first of several is kept."""
    why = plain(error, 300) or type(error).__name__
    with contextlib.suppress(Exception):  # the store may be gone, and the error is the one to report
        last_words.compare_set("why", "", f"rank {rank} has ended: {why}")


def _name_ended(last_words: Store) -> SetupError:
    """Return the error that names the process that has ended, from what it has left, if it had the time."""
    try:
        last_words.wait(["why"], WORDS_TIMEOUT)
        what = last_words.get("why").decode(errors="replace")
    except dist.DistNetworkError:  # torchrun keeps the words; without it they lie in the memory of the first process
        what = "rank 0 has ended: what it has printed says why"
    except dist.DistError:
        what = "another process of this run has ended without a word: it was killed, or its machine is gone"
    return SetupError(what, hint="the same command resumes the run")


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
    """Turns the wish of any process to stop into the same step for all, without waiting for the device's last steps."""

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        self._ranks, self._device = ranks, device
        self._lag = VOTE_LAG if device.type == "cuda" else 0
        self._votes: deque[HostCopy] = deque()

    def is_stop(self, is_wanted: bool) -> bool:
        """Return whether all stop after this step. Every process asks once a step."""
        if self._ranks.group is None:
            return is_wanted
        # One scalar a step, on the device: what any process wants, all learn.
        vote = torch.full((), float(is_wanted), device=self._device)
        dist.all_reduce(vote, dist.ReduceOp.MAX, group=self._ranks.group)
        self._votes.append(bring(vote))
        # Its copy was asked for steps ago and waits for nothing later; every process reads the vote of the same step.
        return len(self._votes) > self._lag and bool(self._votes.popleft().read())


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
