"""The sections of a recipe: every setting that changes numbers, with its default (the strict recipe) and its meaning.

Source: "Multi-modal Masked Siamese Network Improves Chest X-Ray Representation Learning" (Sci Rep 2024); Masked Siamese
Networks (Assran et al. 2022) for the schedules. `paper.toml` holds what the published code did instead.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from cxrssl.core.config import choice, setting
from cxrssl.core.durable import hash_settings
from cxrssl.recipe.objectives import OBJECTIVES, MsnSettings, ObjectiveSettings

BACKBONES = {
    "vit-micro": (96, 4, 3),
    "vit-tiny": (192, 12, 3),
    "vit-tiny-6h": (192, 12, 6),
    "vit-small": (384, 12, 6),
    "vit-base": (768, 12, 12),
}
"""Width, depth and heads of our own encoders. The paper used 6 heads at width 192 where timm has 3."""
TIMM_PREFIX = "timm:"
MAX_SEED = 2**31


@dataclass(frozen=True)
class ModelSettings:
    backbone: str = setting("vit-tiny", options=(*BACKBONES, f"{TIMM_PREFIX}<name>"))
    """`vit-tiny-6h` is the paper's (6 heads at width 192), `vit-micro` the demo's; `timm:<name>` is timm's own."""
    patch_px: int = setting(16, low=4, high=32)
    """Side of a patch."""
    head_hidden_mult: int = setting(4, low=1, high=16)
    """Width of the projection head's hidden layers, in multiples of the embedding width."""
    init: str = ""
    """Weights that the encoder starts from: a run, RUN:anchor, or a path; a run's own recipe says NAME@HASH of them."""


@dataclass(frozen=True)
class EhrSettings:
    features: tuple[str, ...] = ()
    """Names of the features that the anchor is joined with, in order; an empty list is vanilla MSN."""
    missing: str = setting("mask", options=("mask", "zero", "paper"), needs="ehr.features")
    """`mask` adds one 0/1 "unknown" column a feature; `zero` leaves unknown values at zero without telling the model;
    `paper` fills them as published: view and position from all splits, no stay as alive and not in ICU; films of
    unknown sex are left out."""
    may_use_outcomes: bool = setting(False, needs="ehr.features or ehr.predict")
    """Let an outcome (mortality, length of stay) take part in pretraining. Naming an outcome in `--ehr` or `--predict`
    implies it."""
    embed_dim: int = setting(128, low=1, high=4096, needs="ehr.features")
    """Width of the embedded health record."""
    fusion: str = setting("linear", options=("linear", "mlp", "film"), needs="ehr.features")
    """How the record joins the film's embedding: `linear` as published, `mlp` adds a hidden layer, `film` scales and
    shifts each dimension."""
    start: str = setting("identity", options=("identity", "random"), needs="ehr.features")
    """`identity`: the fusion starts without effect, so that the anchor resembles its target; `random`: as published."""
    branch: str = setting("anchor", options=("anchor", "both"), needs="ehr.features")
    """Which branch is joined with the record. `both` lets the record alone match anchor and target."""
    dropout: float = setting(0.0, low=0.0, high=0.95, needs=("ehr.features", "ehr.missing != paper"))
    """Probability that a film's record is withheld for a step: all its features unknown."""
    lr_mult: float = setting(1.0, low=0.0, high=100.0, needs="ehr.features")
    """Learning rate of the fusion, in multiples of `train.lr`."""
    predict: tuple[str, ...] = ()
    """Names of features that a small head predicts from the film's class token, where they are known."""
    predict_weight: float = setting(1.0, low=0.0, high=1000.0, needs="ehr.predict")
    """Weight of that loss, which is 1 as long as the film says nothing about the features."""
    predict_start: float = setting(0.0, low=0.0, high=1.0, needs="ehr.predict")
    """Share of the steps before that loss takes part."""
    predict_gate: str = setting("none", options=("none", "skill"), needs="ehr.predict")
    """`skill`: each feature teaches the encoder in proportion to how far its loss, measured on one of ten people whose
    record the head is never taught, lies below the best constant guess; `none`: each in full."""
    control: str = setting(
        "none", options=("none", "shuffled", "zeros", "noise", "shuffled:<group>"), needs="ehr.features or ehr.predict"
    )
    """A wrong record in place of the right one, for comparison: `shuffled` gives each film the record of a film of
    another person, `shuffled:<group>` only that group's or feature's part of it; `zeros` and `noise` tell nothing."""


@dataclass(frozen=True)
class ViewSettings:
    global_px: int = setting(224, low=16, high=1024)
    """Side of the target view and of the random anchor views."""
    num_random: int = setting(1, low=0, high=64)
    """Anchor views of the size of the target view."""
    num_focal: int = setting(10, low=0, high=64)
    """Anchor views of a small part of the film."""
    focal_px: int = setting(96, low=16, high=1024, needs="views.num_focal")
    """Side of a focal view."""
    global_scale: tuple[float, float] = setting((0.3, 1.0), low=0.001, high=1.0)
    """Range of the crop's area as a fraction of the film's valid box."""
    focal_scale: tuple[float, float] = setting((0.05, 0.3), low=0.001, high=1.0, needs="views.num_focal")
    """The same of a focal view."""
    flip_prob: float = setting(0.5, low=0.0, high=1.0)
    """Probability that a view is mirrored left to right."""
    rotation_deg: float = setting(0.0, low=0.0, high=45.0)
    """Each view is turned about its centre by an angle drawn from [-rotation_deg, rotation_deg]; the film's outside is
    black."""
    contrast: float = setting(0.0, low=0.0, high=0.9)
    """Each view's contrast is multiplied by a factor drawn from [1 - contrast, 1 + contrast]."""
    brightness: float = setting(0.0, low=0.0, high=0.9)
    """To each view is added a grey value drawn from [-brightness, brightness], where 1 is white."""
    pixel_mean: float = setting(0.4723, low=0.0, high=1.0)
    """Mean of MIMIC-CXR pixels in [0, 1], which is subtracted from every pixel."""
    pixel_std: float = setting(0.3023, low=0.01, high=1.0)
    """Standard deviation of MIMIC-CXR pixels in [0, 1], which every pixel is divided by."""


@dataclass(frozen=True)
class TrainSettings:
    split: str = ""
    """Split scheme (`official`, `hash`, `icu`, `file`); empty means the cohort's default."""
    rows: str = setting("train", options=("train", "all"))
    """`all` also pretrains on validation and test films, as the paper did; only a probe in folds may score them."""
    num_epochs: int = setting(100, low=1, high=100_000)
    """Passes over the training films."""
    batch_size: int = setting(64, low=2, high=65536)
    """Films a step, over all processes."""
    lr: float = setting(1e-3, low=0.0, high=10.0)
    """Learning rate of AdamW at the end of the warm-up."""
    lr_start_frac: float = setting(0.2, low=0.0, high=1.0, needs="train.warmup_frac")
    """Where the warm-up starts, as a fraction of `lr`."""
    lr_final_frac: float = setting(0.001, low=0.0, high=1.0, needs="train.warmup_frac < 1")
    """Where the cosine ends, as a fraction of `lr`."""
    warmup_frac: float = setting(0.15, low=0.0, high=1.0)
    """Share of the steps in which the learning rate rises to `lr`."""
    weight_decay_start: float = setting(0.04, low=0.0, high=10.0)
    """Weight decay of the first step; a cosine leads to `weight_decay_final`."""
    weight_decay_final: float = setting(0.4, low=0.0, high=10.0)
    """Weight decay of the last step."""
    decay_all: bool = setting(False, needs="train.weight_decay_start or train.weight_decay_final")
    """Decay norms, biases, tokens and prototypes too, as the published code does."""
    lr_per_epoch: bool = False
    """Hold the learning rate within an epoch, as the published code does."""
    clip_norm: float = setting(3.0, low=0.0, high=1e6)
    """Largest gradient norm; 0 means no clipping."""
    ema_start: float = setting(0.996, low=0.0, high=1.0)
    """Momentum of the target at the first step; it moves to `ema_final` in a straight line."""
    ema_horizon: float = setting(0.1, low=0.0, high=1.0)
    """The target starts as an average over at most this share of the run's steps, whatever `ema_start` says; 0 lets
    `ema_start` stand."""
    ema_final: float = setting(1.0, low=0.0, high=1.0)
    """Momentum of the target at the last step; with 1 the target stays where it is."""
    ema_first: bool = False
    """Move the target before the optimiser step, as the published code does."""
    precision: str = setting("fp32", options=("fp32", "tf32", "bf16"))
    """Arithmetic of the encoders; weights and loss are in float32. `bf16` has 8 bits in products and in what the blocks
    add up; `tf32` is fp32 whose products a GPU rounds to 10 bits, those of the loss too."""
    seed: int = setting(0, low=0, high=MAX_SEED)
    """Decides weights, order of films, crops and masks."""
    extends: str = ""
    """A finished run of fewer epochs that this one continues in full; a run's own recipe says NAME@HASH of it."""
    extend_schedule: str = setting("cosine", options=("cosine", "hold"), needs="train.extends")
    """Of the added epochs: `cosine` begins the schedules of rate, decay and momentum anew; `hold` keeps their ends."""


@dataclass(frozen=True)
class DataSettings:
    mix: str = setting("proportional", options=("proportional", "even"))
    """How an epoch is made of several cohorts. `proportional`: every train film once; `even`: as many films, the same
    number of every cohort, so that the films of a small one come again and those of a large one over several epochs."""
    where: str = ""
    """A condition in SQL on the columns of the view `film`, such as "view IN ('PA', 'AP')": films that do not meet it,
    or of which it is unknown, are not trained on."""


@dataclass(frozen=True)
class Recipe:
    model: ModelSettings = field(default_factory=ModelSettings)
    ehr: EhrSettings = field(default_factory=EhrSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    objective: ObjectiveSettings = field(default_factory=MsnSettings, metadata=choice(OBJECTIVES, "msn"))
    train: TrainSettings = field(default_factory=TrainSettings)
    data: DataSettings = field(default_factory=DataSettings)

    def to_dict(self) -> dict[str, Any]:
        """Return the values by section; what older recipes lack only where it is set, as these hash the same."""
        values = dataclasses.asdict(self)
        for name in self.objective.unset:
            del values["objective"][name]
        if not self.model.init:
            del values["model"]["init"]
        if not self.train.extends:
            del values["train"]["extends"], values["train"]["extend_schedule"]
        usual = dataclasses.asdict(DataSettings())
        data = {key: value for key, value in values.pop("data").items() if value != usual[key]}
        return {**values, "data": data} if data else values

    @property
    def sha256(self) -> str:
        """Hash of the values: independent of key order, comments and defaults left out."""
        return hash_settings(self.to_dict())


def name_extended(recipe: Recipe) -> str:
    """Return the part of a run's name that says up to which epoch it extends another one."""
    return f"e{recipe.train.num_epochs}"
