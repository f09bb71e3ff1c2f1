"""Encoders fine-tuned as others do it, by the training loop, and scored after some of the epochs.

In: the plan of an evaluation, an encoder of the workspace, a protocol. Out: log odds of val and test films after each
scored epoch, and of the epoch that was kept. The run with its last weights stays in the workspace as any other.
Never: a label of a film outside train in a gradient; an epoch chosen on test that is not said to be.

Suffix letters: N films of the cohort, R films that are scored, E scored epochs, D features, L findings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import Candidate
from cxrssl.evaluate.epochs import ScoredEpochs, scored_epochs
from cxrssl.evaluate.plan import EvalPlan
from cxrssl.evaluate.probe import count_scored_subjects
from cxrssl.evaluate.protocol import Protocol
from cxrssl.images.store import ImageStore
from cxrssl.model.encoder import Encoder
from cxrssl.recipe.check import check_recipe
from cxrssl.recipe.load import load_machine
from cxrssl.recipe.objectives import FinetuneSettings
from cxrssl.recipe.settings import BACKBONES, TIMM_PREFIX, ModelSettings, Recipe, TrainSettings
from cxrssl.records.encoder import NOWHERE, Ancestor, EhrInput
from cxrssl.records.eval_settings import ANCHOR_PREFIX
from cxrssl.records.scores import TUNED, HeadChoice
from cxrssl.stats.metrics import Floats, auroc
from cxrssl.stats.resample import MIN_SUBJECTS
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import RunPlan, name_run, plan_run
from cxrssl.train.start import Start, find_start

PART_FILMS = 128
"""Encoded at a time, as memory for a whole batch of a protocol is seldom there; the numbers are those of the batch."""
EPOCHS = "epochs.csv"
"""Of an evaluation: the macro AUROC that chose, after each scored epoch."""
Rows = NDArray[np.int64]
Labels = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class TunedProbe:
    """What a fine-tuned encoder and its head said of films, at the epoch that was kept."""

    logits_NL: Floats
    """nan of films that were not scored."""
    is_fitted_L: NDArray[np.bool_]
    is_judged_L: NDArray[np.bool_]
    mean_D: Floats
    """Empty, as is `scale_D`: there are no frozen features."""
    scale_D: Floats
    strength: float = math.nan

    def predict_logits(self, rows: Rows) -> Floats:
        """Log odds of films by their rows, [R, L]."""
        return self.logits_NL[rows]


@dataclass(frozen=True, eq=False)
class TunedFilms:
    """Films of a cohort for an encoder that is yet to be fine-tuned; a film's features are its row."""

    workspace: Workspace
    encoder: Encoder
    start: Start
    """The same encoder as weights to start from, with what these have seen."""
    images: ImageStore
    protocol: Protocol
    device: str

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.images.is_packed_N), 0

    def __getitem__(self, rows: Rows) -> Rows:
        return rows

    def tune(self, plan: EvalPlan, labels_NL: Labels) -> tuple[TunedProbe, HeadChoice, bytes]:
        """Fine-tune the encoder, and return what is kept, how it was chosen, and epochs.csv.

        Raises: DataError where no finding can be learnt or chosen by; what `pretrain` raises.
        """
        run = plan_tuning(self, plan)
        epochs = scored_epochs(run.recipe.train.num_epochs, self.protocol.tune.score_every)
        rows_R = np.union1d(plan.rows["val"], plan.rows["test"])
        judge_by = _find_judged(plan, labels_NL, self.protocol.selected_on)
        scored = ScoredEpochs(run, self.encoder, self.protocol, rows_R, epochs)
        pretrain(run, scored.score)
        is_learnt_L = _is_learnt(labels_NL[run.rows])
        logits = [scored.read(epoch) for epoch in epochs]
        choose = plan.rows[self.protocol.selected_on]
        places = np.searchsorted(rows_R, choose)
        found = [_macro_auroc(each[places], labels_NL[choose], judge_by & is_learnt_L) for each in logits]
        kept = max(range(len(found)), key=lambda place: (found[place], place))  # of equals the later
        if found[kept] < 0:
            what = f"fine-tuning by protocol {self.protocol.name} diverged: no epoch has finite scores"
            raise DataError(what, run.folder)
        logits_NL = np.full((self.shape[0], len(plan.findings)), np.nan)
        logits_NL[rows_R] = logits[kept]
        choice = HeadChoice(
            read=f"{TUNED}, {' and '.join(self.protocol.read)}",
            rate=self.protocol.tune.rate,
            epoch=epochs[kept],
            num_epochs=epochs[-1],
            selected_on=self.protocol.selected_on,
            auroc=found[kept],
        )
        empty = np.zeros(0)
        probe = TunedProbe(logits_NL, is_learnt_L, judge_by & is_learnt_L, empty, empty)
        return probe, choice, _list_epochs(epochs, found, kept, choice.selected_on, run.run_id)


def plan_tuning(films: TunedFilms, plan: EvalPlan) -> RunPlan:
    """Return the run that fine-tunes, on the train films of an evaluation; the same evaluation finds its run again."""
    recipe = make_recipe(films, plan)
    cohort, train = plan.cohort, plan.rows["train"]
    machine = load_machine(device=films.device)
    if recipe.train.batch_size > PART_FILMS:
        machine = replace(machine, micro_batch=PART_FILMS)
    opened = (cohort, plan.images)
    run = plan_run(films.workspace, cohort.name, recipe, machine, films.protocol.name, opened, films.start)
    asked = hash_settings([films.protocol.sha256, plan.findings, *(plan.rows[split].tolist() for split in plan.rows)])
    folder = run.folder.parent / name_run(run.recipe, cohort, plan.images, run.label, asked)
    return replace(run, run_id=folder.name, folder=folder, rows=train, findings=tuple(plan.findings))


def make_recipe(films: TunedFilms, plan: EvalPlan) -> Recipe:
    """Return the recipe of a protocol for an encoder: its own size and grey values, all else as the protocol says."""
    own, protocol = films.encoder.recipe, films.protocol
    tune, show = protocol.tune, protocol.show
    num_epochs = tune.epochs_of(int(films.encoder.module.embed_dim))
    views = replace(
        own.views,
        global_scale=show.crop_scale or (1.0, 1.0),
        flip_prob=show.flip_prob,
        rotation_deg=show.rotation_deg,
        contrast=show.contrast,
        brightness=show.brightness,
    )
    recipe = Recipe(
        model=ModelSettings(backbone=own.model.backbone, patch_px=own.model.patch_px),
        views=views,
        objective=FinetuneSettings(
            uncertain=protocol.uncertain,
            blank=protocol.blank,
            layer_decay=tune.layer_decay,
            pool="patches" if protocol.read == ("patches",) else "cls",
            drop_path=tune.drop_path,
        ),
        train=TrainSettings(
            split=plan.settings.split,
            num_epochs=num_epochs,
            batch_size=max(2, min(tune.batch_films, len(plan.rows["train"]))),
            lr=tune.rate,
            lr_start_frac=0.0,
            lr_final_frac=tune.rate_final / tune.rate,
            warmup_frac=min(1.0, tune.warmup_epochs / num_epochs),
            weight_decay_start=tune.weight_decay,
            weight_decay_final=tune.weight_decay,
            clip_norm=tune.clip_norm,
            seed=plan.settings.probe.seed,
        ),
    )
    check_recipe(recipe)
    return recipe


def _is_learnt(labels_NL: Labels) -> NDArray[np.bool_]:
    return np.asarray((labels_NL == 1).any(axis=0) & (labels_NL == 0).any(axis=0))


def _find_judged(plan: EvalPlan, labels_NL: Labels, selected_on: str) -> NDArray[np.bool_]:
    """Return which findings have a part in the choice: both classes, of two subjects at least, in train and there.

    Raises: DataError where none has.
    """
    choose = plan.rows[selected_on]
    enough_L = count_scored_subjects(labels_NL[choose], plan.cohort.subject_id[choose]) >= MIN_SUBJECTS
    judged_L = _is_learnt(labels_NL[choose]) & enough_L & _is_learnt(labels_NL[plan.rows["train"]])
    if not judged_L.any():
        what = f"protocol {plan.settings.probe.protocol} chooses by the {selected_on} films, and no finding has both"
        raise DataError(f"{what} classes in train and there", plan.cohort.folder, "choose another --split")
    return np.asarray(judged_L)


def _macro_auroc(logits_RL: Floats, labels_RL: Labels, is_judged_L: NDArray[np.bool_]) -> float:
    if not np.isfinite(logits_RL).all():
        return -1.0  # it diverged
    return float(np.mean([auroc(logits_RL[:, each], labels_RL[:, each]) for each in np.flatnonzero(is_judged_L)]))


def _list_epochs(epochs: Sequence[int], found: Sequence[float], kept: int, selected_on: str, run_id: str) -> bytes:
    rows = [f"epoch,macro_auroc_{selected_on},is_kept,run_id"]
    rows += [f"{epoch},{found[place]:.6f},{int(place == kept)},{run_id}" for place, epoch in enumerate(epochs)]
    return ("\n".join(rows) + "\n").encode()


def tuned_candidates(
    workspace: Workspace, candidates: Sequence[Candidate], protocol: Protocol, images: ImageStore, device: str
) -> list[Candidate]:
    """Return candidates whose encoder will be fine-tuned, from the weights that it has; those without stay as they are.

    Raises: UsageError for files of an architecture that no run has; what `find_start` does.
    """
    found = []
    for each in candidates:
        if each.encoder is not None:
            films = TunedFilms(workspace, each.encoder, find_weights(workspace, each), images, protocol, device)
            each = replace(each, features=partial(_itself, films))
        found.append(each)
    return found


def find_weights(workspace: Workspace, candidate: Candidate) -> Start:
    """Return the weights of a candidate's encoder as a start, and what they have seen: of files that is unknown."""
    settings, encoder = candidate.settings, candidate.encoder
    assert encoder is not None, "asked before"
    if candidate.kind == "run":
        is_target = settings.encoder is None
        run_id = candidate.candidate_id.removeprefix("" if is_target else ANCHOR_PREFIX)
        model = replace(encoder.recipe.model, init=run_id if is_target else f"{run_id}:{settings.encoder}")
        return find_start(workspace, replace(encoder.recipe, model=model))
    backbone = encoder.recipe.model.backbone
    if backbone not in BACKBONES and not backbone.startswith(TIMM_PREFIX):
        what = f"no run can have the architecture of these files, and be fine-tuned from them: {plain(backbone, 80)}"
        raise UsageError(what, hint="name a safetensors file of one of timm's encoders, with --arch")
    name, sha256, grid_px = candidate.candidate_id, encoder.weights_sha256, encoder.recipe.views.global_px
    itself = Ancestor(name, sha256, NOWHERE, EhrInput(()), False, external=settings.external)
    seen = (itself,) if settings.external else ()
    return Start(name, sha256, workspace.root, (seen, {}), grid_px, encoder=encoder)


def _itself(films: TunedFilms) -> TunedFilms:
    return films


def describe_tuning(protocol: Protocol, candidates: Sequence[Candidate], num_train: int) -> str:
    """Return in a sentence what a protocol that fine-tunes costs."""
    encoders = [each.encoder for each in candidates if each.encoder is not None]
    num_epochs = protocol.tune.epochs_of(int(encoders[0].module.embed_dim))
    times = count_noun(len(scored_epochs(num_epochs, protocol.tune.score_every)), "time")
    batch = min(protocol.tune.batch_films, num_train)
    return (
        f"protocol {protocol.name}: {count_noun(len(encoders), 'encoder')} fine-tuned for "
        f"{count_noun(num_epochs, 'epoch')} of {num_train:,} films, {batch:,} a step; val and test are scored {times}"
    )
