"""Pretraining beside lightly's MSN and DINO: the same encoder, films, crops, steps, optimiser and schedules.

lightly's part is its backbone wrapper with its start of weights and positions, its masks, heads, losses and moving
average, put together as in its examples. Each run is a process of its own with one thread, the peers in turns; what it
costs is CPU time. All encoders are probed alike, every film of the cohort by folds of people. One table:
AUROC, seconds, and ours minus lightly's with the interval for other subjects and other seeds.

    uv run python -m tests.benchmarks.pretraining WORKSPACE COHORT RECIPE.toml --seeds 0 1 2 --folds 5
"""

from __future__ import annotations

import argparse
import copy
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

os.environ.update(OMP_NUM_THREADS="1", LIGHTLY_DID_VERSION_CHECK="True")

import numpy as np
import torch
from lightly.loss import DINOLoss, MSNLoss
from lightly.models.modules import MaskedVisionTransformerTIMM
from lightly.models.modules.heads import DINOProjectionHead, MSNProjectionHead
from lightly.models.utils import random_token_mask, update_momentum
from numpy.typing import NDArray
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from cxrssl.core.durable import write_bytes
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.external import probe_external
from cxrssl.evaluate.run import ProbeChoices, probe_run
from cxrssl.model.encoder import pack_weights
from cxrssl.model.external import ExternalChoices
from cxrssl.model.record import NO_RECORD
from cxrssl.model.vit import build_encoder
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.machine import Machine
from cxrssl.recipe.objectives import DinoSettings, MsnSettings
from cxrssl.recipe.settings import Recipe
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation
from cxrssl.stats.scores import resample_metrics
from cxrssl.stats.seeds import SeedMean, compare_unpaired
from cxrssl.train.loop import pretrain
from cxrssl.train.order import batch_rows
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.schedule import settings_at
from cxrssl.train.state import init_state
from cxrssl.views.draw import Views, make_views

OBJECTIVES = ("msn", "dino")
WHOSE = ("cxrssl", "lightly")


class Peer(nn.Module):
    """An encoder and a head that are taught, and the moving average of both that teaches them."""

    def __init__(self, recipe: Recipe, make_head: Callable[[], nn.Module]) -> None:
        super().__init__()
        vit = build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px)
        self.backbone, self.head = MaskedVisionTransformerTIMM(vit=vit), make_head()
        self.teacher = copy.deepcopy(self.backbone).requires_grad_(False)
        # Made anew, as a layer under weight_norm cannot be copied.
        self.teacher_head = make_head().requires_grad_(False)
        self.teacher_head.load_state_dict(self.head.state_dict())

    def loss_of(self, views: Views) -> Tensor:
        raise NotImplementedError

    def see(self, pixels: Tensor, dropped_frac: float = 0.0) -> Tensor:
        kept = None
        if dropped_frac:
            num_tokens = 1 + (pixels.shape[-1] // self.backbone.vit.patch_embed.patch_size[0]) ** 2
            kept, _ = random_token_mask((len(pixels), num_tokens), mask_ratio=dropped_frac)
        embedded: Tensor = self.head(self.backbone(pixels, idx_keep=kept))
        return embedded

    @torch.no_grad()
    def teach(self, pixels: Tensor) -> Tensor:
        wanted: Tensor = self.teacher_head(self.teacher(pixels))
        return wanted

    def move_teacher(self, momentum: float) -> None:
        update_momentum(self.backbone, self.teacher, momentum)
        update_momentum(self.head, self.teacher_head, momentum)


class PeerMSN(Peer):
    def __init__(self, recipe: Recipe) -> None:
        assert isinstance(recipe.objective, MsnSettings), "of the recipe"
        width, self.settings = width_of(recipe), recipe.objective
        hidden = width * recipe.model.head_hidden_mult
        super().__init__(recipe, lambda: MSNProjectionHead(width, hidden, width))
        self.prototypes = nn.Linear(width, self.settings.num_prototypes, bias=False)
        self.loss = MSNLoss(self.settings.anchor_temp, self.settings.sinkhorn_iters, self.settings.memax_weight)

    def loss_of(self, views: Views) -> Tensor:
        wanted = self.teach(flat(views, "target"))
        frac = self.settings.mask_frac
        seen = [self.see(flat(views, "random"), frac), self.see(flat(views, "focal"), frac * self.settings.mask_focal)]
        loss: Tensor = self.loss(torch.cat(seen), wanted, self.prototypes.weight, self.settings.target_temp)
        return loss


class PeerDINO(Peer):
    def __init__(self, recipe: Recipe) -> None:
        assert isinstance(recipe.objective, DinoSettings), "of the recipe"
        width, settings = width_of(recipe), recipe.objective
        sizes = (width, width * recipe.model.head_hidden_mult, settings.bottleneck_dim, settings.num_outputs)
        super().__init__(recipe, lambda: DINOProjectionHead(*sizes))
        temps = {"teacher_temp": settings.teacher_temp, "student_temp": settings.student_temp}
        self.loss = DINOLoss(settings.num_outputs, center_momentum=settings.centre_momentum, **temps)

    def loss_of(self, views: Views) -> Tensor:
        num_films = len(views["global"].pixels_BV1PP)
        seen = [self.see(flat(views, kind)).split(num_films) for kind in ("global", "focal")]
        loss: Tensor = self.loss(list(self.teach(flat(views, "global")).split(num_films)), [*seen[0], *seen[1]])
        return loss


PEERS: dict[str, type[PeerMSN | PeerDINO]] = {"msn": PeerMSN, "dino": PeerDINO}


def width_of(recipe: Recipe) -> int:
    return int(build_encoder(recipe.model.backbone, recipe.model.patch_px, recipe.views.global_px).embed_dim)


def flat(views: Views, kind: str) -> Tensor:
    """Return the views of a kind one after the other, [V B, 1, P, P]."""
    return views[kind].pixels_BV1PP.transpose(0, 1).flatten(0, 1)


def train_peer(plan: RunPlan, peer: Peer) -> None:
    """Take all steps of a plan."""
    recipe, train = plan.recipe, plan.recipe.train
    view_plan = init_state(recipe, NO_RECORD, torch.device("cpu")).model.view_plan
    trained = [(name, each) for name, each in peer.named_parameters() if each.requires_grad]
    decayed = [each for name, each in trained if each.ndim > 1 and "prototypes" not in name]
    others = [each for name, each in trained if not (each.ndim > 1 and "prototypes" not in name)]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others}], lr=train.lr)
    for step in range(plan.num_steps):
        now = settings_at(step, plan.num_steps, plan.steps_per_epoch, train)
        rows = batch_rows(plan, step)
        films = torch.from_numpy(plan.images.read_rows(rows))
        valid = torch.from_numpy(plan.images.box_N4[rows].astype("float32"))
        loss = peer.loss_of(make_views(films, valid, view_plan, train.seed, step))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        if train.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_([each for _, each in trained], train.clip_norm)
        for group, decay in zip(optimizer.param_groups, (now.weight_decay, 0.0), strict=True):
            group.update(lr=now.lr, weight_decay=decay)
        optimizer.step()
        peer.move_teacher(now.ema_momentum)


@dataclass(frozen=True)
class Job:
    """One run of either side."""

    whose: str
    objective: str
    seed: int

    def plan(self, args: argparse.Namespace) -> RunPlan:
        tables = {"objective": {"name": self.objective}, "train": {"seed": self.seed}}
        recipe = load_recipe(args.recipe, [], tables)
        return plan_run(Workspace(args.workspace), args.cohort, recipe, Machine("cpu", 1, probe_every=0))

    def weights(self, args: argparse.Namespace) -> Path:
        folder: Path = args.workspace / "peers"
        return folder / f"lightly-{self.objective}-{args.cohort}-s{self.seed}.safetensors"

    def run(self, args: argparse.Namespace) -> None:
        """Train, in a process of its own."""
        torch.set_num_threads(1)
        plan = self.plan(args)
        if self.whose == "cxrssl":
            pretrain(plan)
        elif not self.weights(args).exists():
            torch.manual_seed(self.seed)
            peer = PEERS[self.objective](plan.recipe)
            train_peer(plan, peer)
            self.weights(args).parent.mkdir(exist_ok=True)
            write_bytes(self.weights(args), pack_weights(cast(VisionTransformer, peer.teacher.vit)))

    def probe(self, args: argparse.Namespace) -> Evaluation:
        workspace, settings = Workspace(args.workspace), ProbeSettings(folds=args.folds)
        choices = ProbeChoices(baselines=False, device="cpu")
        plan = self.plan(args)
        if self.whose == "cxrssl":
            return probe_run(workspace, plan.run_id, args.cohort, "", settings, choices)[0]
        views = plan.recipe.views
        mean, std = (views.pixel_mean,), (views.pixel_std,)
        files = ExternalChoices(self.weights(args), plan.recipe.model.backbone, views.global_px, mean, std)
        return probe_external(workspace, files, None, args.cohort, "", settings, choices)[0]


def jobs_of(args: argparse.Namespace) -> Iterator[Job]:
    """Return the runs, the two sides in turns."""
    for seed in args.seeds:
        for objective in OBJECTIVES:
            yield from (Job(whose, objective, seed) for whose in WHOSE)


def cpu_s_of(job: Job, args: argparse.Namespace, words: list[str]) -> float:
    """Train in a child, and return the CPU time that it took, start included; nan for a run that was done before."""
    if job.plan(args).files.is_published if job.whose == "cxrssl" else job.weights(args).exists():
        return math.nan
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = [sys.executable, "-m", "tests.benchmarks.pretraining", *words]
    subprocess.run([*child, "--only", job.whose, job.objective, str(job.seed)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(words: list[str]) -> None:
    """Run all, and print the table."""
    args = parse(words)
    if args.only:
        whose, objective, seed = args.only
        Job(whose, objective, int(seed)).run(args)
        return
    found: dict[Job, tuple[float, Evaluation]] = {}
    for job in jobs_of(args):
        found[job] = cpu_s_of(job, args, words), job.probe(args)
        print(job, f"{found[job][0]:.0f} s", found[job][1].scores.macro_auroc.to_text(), flush=True)
    print("\nobjective  whose    macro AUROC by seed         CPU s a run")
    for objective in OBJECTIVES:
        for whose in WHOSE:
            own = [found[Job(whose, objective, seed)] for seed in args.seeds]
            scores = " ".join(f"{each.scores.macro_auroc.value:.4f}" for _, each in own)
            print(f"{objective:10} {whose:8} {scores:27} {' '.join(f'{seconds:.0f}' for seconds, _ in own)}")
        minus = difference([[found[Job(whose, objective, seed)][1] for seed in args.seeds] for whose in WHOSE])
        print(f"{objective:10} cxrssl - lightly: {minus.interval.to_text(signed=True)}")


def difference(sides: list[list[Evaluation]]) -> SeedMean:
    """Return ours minus lightly's macro AUROC, for other subjects and other seeds; equal seeds are no pairs here."""
    ours, theirs = ([macro_auroc(each) for each in side] for side in sides)
    values = [np.array([value for value, _ in side]) for side in (ours, theirs)]
    samples = [np.stack([samples_R for _, samples_R in side]) for side in (ours, theirs)]
    return compare_unpaired(values[0], values[1], samples[0], samples[1])


def macro_auroc(evaluation: Evaluation) -> tuple[float, NDArray[np.float64]]:
    """Return it on all films, and in each resample of the subjects."""
    made, probe = evaluation.predictions(), evaluation.settings.probe
    names = made.finding_names.tolist()
    values, samples = resample_metrics(
        made.logits,
        made.labels,
        made.subject_id,
        names,
        num_resamples=probe.num_resamples,
        seed=probe.seed,
        fold_N=evaluation.find_folds(),
    )
    return float(values[0, 0]), samples[0, 0]


def parse(words: list[str]) -> Any:
    parser = argparse.ArgumentParser()
    parser.add_argument("workspace", type=Path)
    parser.add_argument("cohort")
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(words)


if __name__ == "__main__":
    main(sys.argv[1:])
