"""A whole training step beside a plain transcription of the published one, on all cores, in turns: ratios and memory.

Both: ViT-tiny with 6 heads, 1 + 10 anchors a film with the same numbers of patches kept, EHR of 6 columns, float32,
AdamW. The published step is given its views as tensors, as its loader would; ours makes its own from packed films, and
is timed with ready ones too. Each is a process of its own, with its own memory: the peak of its first two steps.
"""

import copy
import functools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from cxrssl.core.process import keep_freed_memory, peak_rss_bytes
from cxrssl.model.record import Record, RecordColumns
from cxrssl.recipe.load import load_recipe
from cxrssl.train.guard import Guard
from cxrssl.train.schedule import StepSettings
from cxrssl.train.state import init_state
from cxrssl.train.step import Batch, take_step
from cxrssl.views.draw import Views, make_views

NUM_FILMS, NUM_TURNS, STORE_PX, NUM_EHR = 64, 9, 320, 6
NUM_FOCAL, GLOBAL_PX, FOCAL_PX, PATCH_PX, MASK_FRAC, MOMENTUM = 10, 224, 96, 16, 0.15, 0.996


class Published(nn.Module):
    """Shurrab et al. 2024 as released: grey films as three channels, prototypes at rest, the target moved first."""

    def __init__(self) -> None:
        super().__init__()
        width, hidden = 192, 768
        self.backbone = VisionTransformer(
            img_size=GLOBAL_PX, patch_size=PATCH_PX, embed_dim=width, num_heads=6, num_classes=0, dynamic_img_size=True
        )
        self.head = nn.Sequential(
            *(nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.GELU()),
            *(nn.Linear(hidden, hidden, bias=False), nn.BatchNorm1d(hidden), nn.GELU()),
            nn.Linear(hidden, width, bias=False),
        )
        self.embed_ehr, self.fuse = nn.Linear(NUM_EHR, 128), nn.Linear(width + 128, width)
        self.target_backbone = copy.deepcopy(self.backbone).requires_grad_(False)
        self.target_head = copy.deepcopy(self.head).requires_grad_(False)
        self.prototypes = torch.rand(1024, width)
        self.optimizer = torch.optim.AdamW(self.parameters(), lr=1e-4, weight_decay=1e-3)

    def encode(self, backbone: VisionTransformer, images: torch.Tensor, is_masked: bool) -> torch.Tensor:
        tokens = backbone._pos_embed(backbone.patch_embed(images))
        if is_masked:
            num_patches = tokens.shape[1] - 1
            num_kept = int(num_patches * (1 - MASK_FRAC)) - 1
            kept = torch.rand(len(tokens), num_patches - 1).argsort(1)[:, :num_kept] + 1
            kept = torch.cat([torch.zeros(len(tokens), 1, dtype=torch.long), kept], 1)
            tokens = tokens.gather(1, kept[:, :, None].expand(-1, -1, tokens.shape[2]))
        class_token: torch.Tensor = backbone.norm(backbone.blocks(tokens))[:, 0]
        return class_token

    def loss(self, anchors: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        prototypes = F.normalize(self.prototypes, dim=1)
        probs = F.softmax(F.normalize(anchors, dim=1) @ prototypes.T / 0.1, dim=1)
        with torch.no_grad():
            wanted = F.softmax(F.normalize(targets, dim=1) @ prototypes.T / 0.1, dim=1) ** 4
            wanted = (wanted / wanted.sum(1, keepdim=True)).T
            for _ in range(3):
                wanted = wanted / wanted.sum(1, keepdim=True) / len(prototypes)
                wanted = wanted / wanted.sum(0, keepdim=True) / len(targets)
            wanted = (wanted * len(targets)).T.repeat(1 + NUM_FOCAL, 1)
        mean = probs.mean(0)
        return -(wanted * probs.log()).sum(1).mean() + math.log(len(prototypes)) + (mean * mean.log()).sum()

    def step(self, views: list[torch.Tensor], ehr: torch.Tensor) -> float:
        for online, target in ((self.backbone, self.target_backbone), (self.head, self.target_head)):
            for ours, theirs in zip(online.parameters(), target.parameters(), strict=True):
                theirs.data = theirs.data * MOMENTUM + ours.data * (1 - MOMENTUM)
        with torch.no_grad():
            targets = self.target_head(self.encode(self.target_backbone, views[0], False))
        seen = [self.encode(self.backbone, images, True) for images in (views[1], torch.cat(views[2:]))]
        record = self.embed_ehr(ehr.repeat(1 + NUM_FOCAL, 1))
        loss = self.loss(self.head(self.fuse(torch.cat([torch.cat(seen), record], 1))), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


class Ours:
    def __init__(self) -> None:
        self.recipe = load_recipe("paper", [], {"ehr": {"features": ["sex"]}})
        self.state = init_state(self.recipe, RecordColumns(NUM_EHR), torch.device("cpu"))
        self.guard = Guard(self.state.optimizer, torch.device("cpu"))
        self.now = StepSettings(lr=1e-4, weight_decay=1e-3, ema_momentum=MOMENTUM, progress=0.0)
        self.films = torch.randint(0, 256, (NUM_FILMS, STORE_PX, STORE_PX), dtype=torch.uint8)
        self.valid = torch.tensor([[0.0, 0.0, STORE_PX, STORE_PX]]).expand(NUM_FILMS, 4)

    def make_views(self, part: slice = slice(None)) -> Views:
        return make_views(self.films[part], self.valid, self.state.model.view_plan, 0, self.state.step, part)

    def step(self, views_of: Callable[[slice], Views], ehr: torch.Tensor) -> float:
        batch = Batch(views_of, Record(ehr), [slice(0, NUM_FILMS)])
        loss, _ = take_step(self.state, batch, self.now, self.guard, self.recipe.train)
        return loss.total.item()


def draw_inputs() -> tuple[list[torch.Tensor], torch.Tensor]:
    sides = [GLOBAL_PX] * 2 + [FOCAL_PX] * NUM_FOCAL
    return [torch.randn(NUM_FILMS, 3, px, px) for px in sides], torch.rand(NUM_FILMS, NUM_EHR)


class Contender:
    """A process that takes a step each time it is told to; used from the parent."""

    def __init__(self, name: str) -> None:
        words = [sys.executable, __file__, name]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, what: str) -> Any:
        print(what, file=self._process.stdin, flush=True)
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def answer(name: str) -> None:
    """Read questions, `views`, `ready` or `peak`, until there are no more; in the child."""
    steps = {}
    if name == "published":
        published, (views, ehr) = Published(), draw_inputs()
        steps["ready"] = steps["views"] = lambda: published.step(views, ehr)
    else:
        keep_freed_memory()  # as `pretrain` does
        ours, (_, ehr) = Ours(), draw_inputs()
        steps["views"] = lambda: ours.step(ours.make_views, ehr)
        ready = functools.cache(ours.make_views)
        steps["ready"] = lambda: ours.step(lambda part: ready(), ehr)
    for line in sys.stdin:
        if line.strip() == "peak":
            print(peak_rss_bytes() / 2**20, flush=True)
            continue
        started, cpu = time.perf_counter(), time.process_time()
        assert np.isfinite(steps[line.strip()]())
        print([time.perf_counter() - started, time.process_time() - cpu], flush=True)


def main() -> None:
    published, ours = Contender("published"), Contender("ours")
    for contender in (published, ours) * 2:
        contender.ask("views")
    mine, theirs = ours.ask("peak"), published.ask("peak")
    ours.ask("ready")
    times = []
    for _ in range(NUM_TURNS):
        times.append([published.ask("ready"), ours.ask("ready"), ours.ask("views")])
    wall, cpu = np.moveaxis(np.array(times), 2, 0)
    print(f"training step, {torch.get_num_threads()} of {os.cpu_count()} cores, films/s (medians)", end="")
    print("   ours   published   median ratio of the turns (lowest to highest; by CPU time)")
    for column, shown in ((1, "views ready on both sides"), (2, "ours makes its views from packed films")):
        rates = NUM_FILMS / np.median(wall, 0)
        ratios, by_cpu = (kind[:, 0] / kind[:, column] for kind in (wall, cpu))
        print(f"  {shown:<55} {rates[column]:>10.2f} {rates[0]:>11.2f} {np.median(ratios):>7.2f}", end="")
        print(f" ({ratios.min():.2f} to {ratios.max():.2f}; {np.median(by_cpu):.2f})")
    print(f"  {f'peak memory, {NUM_FILMS} films, MiB':<55} {mine:>10,.0f} {theirs:>11,.0f} {theirs / mine:>7.2f}")


if __name__ == "__main__":
    answer(sys.argv[1]) if sys.argv[1:] else main()
