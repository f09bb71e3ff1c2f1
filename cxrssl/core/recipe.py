"""The recipe: every setting that changes numbers, with its default (the strict recipe) and what it means.

Source: "Multi-modal Masked Siamese Network Improves Chest X-Ray Representation Learning" (Sci Rep 2024); Masked Siamese
Networks (Assran et al. 2022) for the schedules. `recipes/paper.toml` holds what the published code did instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from cxrssl.core.config import apply_overrides, build_settings, merge_tables, read_toml, setting
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

BACKBONES = ("vit-micro", "vit-tiny", "vit-tiny-6h", "vit-small", "vit-base")
TIMM_PREFIX = "timm:"


@dataclass(frozen=True)
class ModelSettings:
    backbone: str = "vit-tiny"
    """`vit-tiny-6h` is the paper's (6 heads at width 192), `vit-micro` the demo's; `timm:<name>` is timm's own."""
    patch_px: int = setting(16, low=4, high=32)
    head_hidden_mult: int = setting(4, low=1, high=16)
    """Width of the projection head's hidden layers, in multiples of the embedding width."""


@dataclass(frozen=True)
class EhrSettings:
    features: tuple[str, ...] = ()
    """Feature names in order; none of them makes vanilla MSN."""
    missing: str = setting("mask", options=("mask", "zero", "paper"))
    """`mask` adds one 0/1 "unknown" column a feature; `zero` leaves unknown values at zero without telling; `paper`
    fills them as published: view and position from all splits, no stay as alive and not in ICU, no sex leaves out."""
    may_use_outcomes: bool = False
    """Let an outcome (mortality, length of stay) be a pretraining input. `--ehr` on the command line says it too."""
    embed_dim: int = setting(128, low=1, high=4096)


@dataclass(frozen=True)
class ViewSettings:
    global_px: int = setting(224, low=16, high=1024)
    """Side of the target view and of the random anchor views."""
    num_random: int = setting(1, low=0, high=64)
    num_focal: int = setting(10, low=0, high=64)
    focal_px: int = setting(96, low=16, high=1024)
    global_scale: tuple[float, float] = setting((0.3, 1.0), low=0.001, high=1.0)
    """Range of the crop's area as a fraction of the film's valid box."""
    focal_scale: tuple[float, float] = setting((0.05, 0.3), low=0.001, high=1.0)
    flip_prob: float = setting(0.5, low=0.0, high=1.0)
    rotation_deg: float = setting(0.0, low=0.0, high=45.0)
    """Each view is turned about its centre by an angle drawn from [-rotation_deg, rotation_deg]; the film's outside is
    black."""
    contrast: float = setting(0.0, low=0.0, high=0.9)
    """Each view's contrast is multiplied by a factor drawn from [1 - contrast, 1 + contrast]."""
    brightness: float = setting(0.0, low=0.0, high=0.9)
    pixel_mean: float = setting(0.4723, low=0.0, high=1.0)
    """Mean and standard deviation of MIMIC-CXR pixels in [0, 1]."""
    pixel_std: float = setting(0.3023, low=0.01, high=1.0)


@dataclass(frozen=True)
class ObjectiveSettings:
    num_prototypes: int = setting(1024, low=2, high=65536)
    train_prototypes: bool = True
    anchor_temp: float = setting(0.1, low=0.001, high=10.0)
    target_temp: float = setting(0.25, low=0.001, high=1.0)
    sinkhorn_iters: int = setting(3, low=0, high=100)
    queue_size: int = setting(0, low=0, high=2**20)
    """Films of earlier steps that Sinkhorn and me-max look at beside the batch: whole batches; 0 keeps none."""
    memax_weight: float = setting(1.0, low=0.0, high=100.0)
    mask_frac: float = setting(0.15, low=0.0, high=0.95)
    mask_focal: bool = False
    hide_last_patch: bool = False
    """The published code never shows the bottom-right patch to an anchor; `paper` reproduces that."""


@dataclass(frozen=True)
class TrainSettings:
    split: str = ""
    """Split scheme (`official`, `hash`, `icu`, `file`); empty means the cohort's default."""
    rows: str = setting("train", options=("train", "all"))
    """`all` also pretrains on validation and test films, as the paper did; a probe of such a run is refused."""
    num_epochs: int = setting(100, low=1, high=100_000)
    batch_size: int = setting(64, low=2, high=65536)
    lr: float = setting(1e-3, low=0.0, high=10.0)
    lr_start_frac: float = setting(0.2, low=0.0, high=1.0)
    """Where the warm-up starts, as a fraction of `lr`."""
    lr_final_frac: float = setting(0.001, low=0.0, high=1.0)
    """Where the cosine ends, as a fraction of `lr`."""
    warmup_frac: float = setting(0.15, low=0.0, high=1.0)
    weight_decay_start: float = setting(0.04, low=0.0, high=10.0)
    weight_decay_final: float = setting(0.4, low=0.0, high=10.0)
    decay_all: bool = False
    """Decay norms, biases, tokens and prototypes too, as the published code does."""
    lr_per_epoch: bool = False
    """Hold the learning rate within an epoch, as the published code does."""
    clip_norm: float = setting(3.0, low=0.0, high=1e6)
    """Largest gradient norm; 0 means no clipping."""
    ema_start: float = setting(0.996, low=0.0, high=1.0)
    ema_final: float = setting(1.0, low=0.0, high=1.0)
    ema_first: bool = False
    """Move the target before the optimiser step, as the published code does."""
    precision: str = setting("fp32", options=("fp32", "bf16"))
    seed: int = setting(0, low=0, high=2**31)


@dataclass(frozen=True)
class Recipe:
    model: ModelSettings = field(default_factory=ModelSettings)
    ehr: EhrSettings = field(default_factory=EhrSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def sha256(self) -> str:
        """Hash of the values: independent of key order, comments and defaults left out."""
        return hash_settings(self.to_dict())


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("cxrssl") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name: str, overrides: Sequence[str] = (), changes: dict[str, Any] | None = None) -> Recipe:
    """Return a recipe by name or TOML path, with `changes` (nested tables) and then `--set` overrides laid on top."""
    path = Path(name)
    if path.suffix == ".toml":
        values = read_toml(path)
    elif name in recipe_names():
        values = read_toml(Path(str(resources.files("cxrssl") / "recipes" / f"{name}.toml")))
    else:
        raise ConfigError(f'no recipe "{name}"', hint=nearest_hint(name, recipe_names()))
    asked = apply_overrides(changes or {}, overrides)
    recipe = build_settings(Recipe, merge_tables(values, asked))
    check_recipe(recipe)
    own = merge_tables(values, asked) if path.suffix == ".toml" else asked
    check_effects(recipe, {f"{section}.{key}" for section, keys in own.items() for key in keys})
    return recipe


def check_recipe(recipe: Recipe) -> None:
    """Raise ConfigError when settings contradict each other."""
    views = recipe.views
    check_backbone(recipe.model.backbone)
    for px, name, is_used in ((views.global_px, "global_px", True), (views.focal_px, "focal_px", views.num_focal > 0)):
        if is_used and px % recipe.model.patch_px:
            raise ConfigError(f'"views.{name}" is {px}, not a multiple of "model.patch_px" ({recipe.model.patch_px})')
    if views.num_random + views.num_focal == 0:
        raise ConfigError('there is no anchor view: "views.num_random" and "views.num_focal" are both 0')
    queue_size, batch_size = recipe.objective.queue_size, recipe.train.batch_size
    if queue_size % batch_size:
        what = f'"objective.queue_size" is {queue_size}, not a multiple of "train.batch_size" ({batch_size})'
        raise ConfigError(what, hint="the queue holds whole batches")
    for low, high in (views.global_scale, views.focal_scale):
        if low > high:
            raise ConfigError(f'a scale range in "views" is upside down: {low} to {high}')


def check_backbone(name: str) -> None:
    """Raise ConfigError for a name that is neither one of BACKBONES nor marked as timm's."""
    if name not in BACKBONES and not name.startswith(TIMM_PREFIX):
        hint = f"{nearest_hint(name, BACKBONES)}; any vision transformer of timm is {TIMM_PREFIX}<its name>"
        raise ConfigError(f'"model.backbone" cannot be "{plain(name, 60)}"', hint=hint)


def check_effects(recipe: Recipe, asked: set[str]) -> None:
    """Raise ConfigError when a setting that the user asks for has no effect with the others."""
    idle = {
        "without EHR features: add --ehr": (not recipe.ehr.features, ("ehr.missing", "ehr.embed_dim")),
        "without focal views": (
            recipe.views.num_focal == 0,
            ("views.focal_px", "views.focal_scale", "objective.mask_focal"),
        ),
        "when nothing is masked": (
            recipe.objective.mask_frac == 0,
            ("objective.mask_focal", "objective.hide_last_patch"),
        ),
        "without Sinkhorn and me-max": (
            recipe.objective.sinkhorn_iters == 0 and recipe.objective.memax_weight == 0,
            ("objective.queue_size",),
        ),
        "without warm-up": (recipe.train.warmup_frac == 0, ("train.lr_start_frac",)),
    }
    for when, (is_idle, names) in idle.items():
        for name in names:
            if is_idle and name in asked:
                raise ConfigError(f'"{name}" has no effect {when}')


@dataclass(frozen=True)
class Machine:
    """Settings of the place, not of the experiment: they are not part of a run's id.

    On the CPU none of them changes a number as long as `num_threads` and `compile` stay; a run does not resume on
    another device or with another `compile`.
    """

    device: str = "auto"
    num_threads: int = 0
    """CPU threads of torch; 0 leaves torch's choice."""
    micro_batch: int = 0
    """Films encoded at a time, to save memory at the price of encoding the anchors twice; 0 takes the batch at once."""
    compile: str = "auto"
    """Whether encoders and loss run as compiled graphs: `auto` (on a GPU), `on` or `off`."""
    log_every: int = 1
    deterministic: bool = False
    """Whether a GPU takes only kernels that repeat themselves bit for bit; a CPU always does."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; None: 100, or more where saving would take over MAX_SHARE of the time."""
    keep_checkpoints: int = 2
    on_alarm: str = "warn"
    """What a collapse or a jump of the loss leads to: `warn`, or `stop` with exit code 5."""
    health_every: int = 50
    """Steps between measurements of the features' rank."""
    probe_every: int | None = None
    """Steps between probes of the target encoder on a small panel; 0 makes none; None: 200, or more as above."""
    feed: str = ""
    """Where films wait for their step: `resident` on the device or read `ahead`; empty chooses by the device."""
    stall_s: float = 60.0
    """How long a step waits for its films before the run ends with an error."""
