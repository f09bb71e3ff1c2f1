"""A command in several processes of this machine, through torchrun.

In: the words of a command. Out: all of its processes ended, or the error of the first that failed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from cxrssl.core.errors import CxrsslError, Preempted, SetupError
from cxrssl.core.process import num_cores
from cxrssl.core.signals import stop_name
from cxrssl.core.text import count_noun, plain


def run_processes(num_processes: int, words: Sequence[str]) -> None:
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
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, num_cores() // num_processes)))
    try:
        elastic_launch(config, sys.executable)("-m", "cxrssl", *words)
    except SignalException as error:
        name = stop_name(error.sigval)
        what = f"stopped by {name}; each process has said what it has saved"
        raise Preempted(what, hint="run the same command to resume", asked_by=error.sigval) from None
    except ChildFailedError as error:
        raise _name_failure(error.get_first_failure()) from None


def check_devices(num_processes: int, device: str) -> None:
    """Raise SetupError when this machine has not one device for each process; say when it has not one core for each."""
    import torch

    if device == "cpu":
        if num_processes > num_cores():
            sys.stderr.write(f"cxrssl: note: {num_processes} processes share {count_noun(num_cores(), 'core')}\n")
        return
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < num_processes:
        what = (
            f"--gpus asks for {num_processes} CUDA devices, and this machine has {found or 'none'} that torch can use"
        )
        raise SetupError(what, hint="ask for fewer with --gpus, or for processes on the CPU: --device cpu")


def _name_failure(first: tuple[int, object]) -> CxrsslError:
    rank, failure = first
    code = int(getattr(failure, "exitcode", 1))
    if code in (Preempted.exit_code, 130):
        return Preempted("stopped, as its own message above says", hint="run the same command to resume")
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
    error = SetupError(f"rank {rank} {how}; the others were ended", hint=plain("its own message is above, if any"))
    if code > 1:
        error.exit_code = code  # of the error that the rank has printed
    return error
