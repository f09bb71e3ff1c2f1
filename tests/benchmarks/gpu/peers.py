"""What the published code does, on the same machine: its step with the views ready, and its loader."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from tests.benchmarks.gpu.cases import Case
from tests.benchmarks.gpu.measure import NUM_WARM, Tell
from tests.gpu.watch import wait_for_device

LOADER_CORES, LOADER_BATCHES, LOADER_FILMS = 16, 40, 64
JPEG_PX, GREY_MEAN, GREY_STD = 512, 0.48, 0.25


def measure_published(case: Case, workspace: Path, tell: Tell) -> None:
    """Take steps of the transcription of the published code, its views ready on the device, under autocast."""
    from tests.benchmarks import step as peer

    torch.set_default_device(case.device)
    plain_loss = peer.Published.loss
    warm = 1 if case.is_rehearsal else NUM_WARM

    def loss_left_on_the_device(published: Any, anchors: Any, targets: Any) -> SimpleNamespace:
        """Return the loss as in a loop that logs seldom: the host does not wait to read it."""
        loss = plain_loss(published, anchors, targets)
        return SimpleNamespace(backward=loss.backward, item=loss.detach)

    shapes: dict[str, Any] = {"NUM_FILMS": case.batch_size}
    if case.is_rehearsal:
        shapes |= {"GLOBAL_PX": 64, "FOCAL_PX": 48, "NUM_FOCAL": 2}
    with patch.multiple(peer, **shapes), patch.object(peer.Published, "loss", loss_left_on_the_device):
        published, (views, ehr) = peer.Published(), peer.draw_inputs()
        with torch.autocast(case.device, torch.bfloat16, enabled=case.precision == "bf16"):
            for step in range(warm + case.num_steps):
                if step == warm:
                    wait_for_device()
                    started = time.perf_counter()
                published.step(views, ehr)
            wait_for_device()
    step_s = (time.perf_counter() - started) / case.num_steps
    peak = 0 if case.is_rehearsal else torch.cuda.max_memory_allocated()
    tell({"films_per_s": case.batch_size / step_s, "step_ms": step_s * 1000, "peak_bytes": peak})


def measure_loader(case: Case, workspace: Path, tell: Tell) -> None:
    """Read batches of views as the published loader does: a process a core opens JPEGs and cuts 12 views of each.

    Source: Shurrab et al. 2024, two views of 224 px, scale 0.3 to 1, and ten of 96 px, 0.05 to 0.3, flipped at random.
    """
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    def crop(px: int, scale: tuple[float, float]) -> Any:
        steps = [transforms.RandomResizedCrop(px, scale), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        return transforms.Compose([*steps, transforms.Normalize([GREY_MEAN] * 3, [GREY_STD] * 3)])

    views = [crop(224, (0.3, 1.0))] * 2 + [crop(96, (0.05, 0.3))] * 10
    jpegs = [_draw_jpeg(seed) for seed in range(LOADER_FILMS if not case.is_rehearsal else 2)]
    num_batches = 1 if case.is_rehearsal else LOADER_BATCHES
    size = 4 if case.is_rehearsal else case.batch_size
    num_cores = min(LOADER_CORES, len(os.sched_getaffinity(0)))

    class Films(Dataset[list[Any]]):
        def __len__(self) -> int:
            return (num_batches + num_cores) * size

        def __getitem__(self, film: int) -> list[Any]:
            image = Image.open(io.BytesIO(jpegs[film % len(jpegs)])).convert("RGB")
            return [view(image) for view in views]

    loader = DataLoader(Films(), size, num_workers=num_cores, multiprocessing_context="fork")
    for number, _ in enumerate(loader):
        if number == num_cores - 1:  # every worker has begun
            started = time.perf_counter()
    tell({"films_per_s": num_batches * size / (time.perf_counter() - started), "num_cores": num_cores})


def _draw_jpeg(seed: int) -> bytes:
    """Return a film of lungs and grain as a JPEG."""
    from PIL import Image

    y, x = np.mgrid[0 : 1 : JPEG_PX * 1j, 0 : 1 : JPEG_PX * 1j]
    grey = 190 - 110 * np.exp(-((np.abs(x - 0.5) - 0.2) ** 2) / 0.02 - (y - 0.45) ** 2 / 0.1)
    grey += np.random.default_rng(seed).normal(0, 3, grey.shape)
    file = io.BytesIO()
    Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(file, "jpeg", quality=92)
    return file.getvalue()
