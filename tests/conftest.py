"""Shared fixtures: the real data when it is there, a GPU when it is there, temporary folders in memory."""

import contextlib
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.scale import scaled

REAL_DATA = Path(__file__).parent.parent.parent / "shared" / "data"
MEMORY_DISK = Path("/dev/shm")
MEMORY_NEEDED_BYTES = 4 * 2**30
FOREIGN = ("CXRSSL_", "SLURM_", "SUBMITIT_", "TORCHELASTIC_", "PMI_", "OMPI_")
FOREIGN_NAMES = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR",
    "CLICOLOR_FORCE", "PYTHONWARNINGS",
)  # fmt: skip
"""What a job, a terminal or a user's habits leave in the environment; a test that means it sets it itself."""
OWN_NAMES = ("CXRSSL_SLURM", "CXRSSL_FULL", "CXRSSL_SEED", "CXRSSL_FUZZ_SEED", "CXRSSL_FUZZ_CASES")


def pytest_configure() -> None:
    """Spend no time on waiting: not for fsync, and not for another process's thread.

    Temporary folders lie on a disk in memory if it is large. Where pytest starts a process for each core, Polars has
    one thread in each; the full counts are run with all threads.
    """
    for name in list(os.environ):
        if name in FOREIGN_NAMES or (name.startswith(FOREIGN) and name not in OWN_NAMES):
            del os.environ[name]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with contextlib.suppress(ImportError):  # a machine with a GPU may lack it
        from hypothesis import HealthCheck, settings

        # A test that other processes hold up is no slow one.
        settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
        settings.load_profile("patient")
    if os.access(MEMORY_DISK, os.W_OK) and shutil.disk_usage(MEMORY_DISK).free >= MEMORY_NEEDED_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))
    if "PYTEST_XDIST_WORKER" in os.environ and scaled(True, False):
        os.environ.setdefault("POLARS_MAX_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_tests:
        import torch

        if not torch.cuda.is_available():
            for item in gpu_tests:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real public data; tests that need it are skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data are not here")
    return REAL_DATA
