"""Shared fixtures: the real data when it is there, a GPU when it is there, temporary folders in memory."""

import os
import shutil
from pathlib import Path

import pytest

REAL_DATA = Path(__file__).parent.parent.parent / "shared" / "data"
MEMORY_DISK = Path("/dev/shm")
MEMORY_NEEDED_BYTES = 4 * 2**30


def pytest_configure():
    """Put temporary folders on a disk in memory if it is large: a third of many a test would be waiting for fsync."""
    if os.access(MEMORY_DISK, os.W_OK) and shutil.disk_usage(MEMORY_DISK).free >= MEMORY_NEEDED_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY_DISK))


def pytest_collection_modifyitems(items):
    gpu_tests = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_tests:
        import torch

        if not torch.cuda.is_available():
            for item in gpu_tests:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def real_data():
    """The folder of real public data; tests that need it are skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data are not here")
    return REAL_DATA
