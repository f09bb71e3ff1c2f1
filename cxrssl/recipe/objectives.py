"""The objectives that a recipe can name, each with settings of its own: `[objective] name = "msn"` chooses the class.

A further objective is a further class and one entry in OBJECTIVES.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from cxrssl.core.config import setting
from cxrssl.core.errors import ConfigError


@dataclass(frozen=True)
class ObjectiveSettings:
    """What the settings of every objective have."""

    idle: ClassVar[tuple[str, ...]] = ()
    """Keys of other sections, such as `views.num_focal`, that this objective makes no use of."""
    start_hint: ClassVar[str] = ""
    """What to do without weights to start from; empty where drawn ones will do."""

    name: str
    """Which objective trains the encoder; it decides the other keys of this section."""

    @property
    def label(self) -> str:
        """How tables call it."""
        return self.name.upper()

    @property
    def has_target(self) -> bool:
        """Whether a target follows the trained encoder as its moving average."""
        return not set(WITHOUT_TARGET) <= set(self.idle)

    @property
    def unset(self) -> tuple[str, ...]:
        """Keys that are left out of what is hashed and published: see `FinetuneSettings`."""
        return ()

    def check(self, values: Mapping[str, Any]) -> None:
        """Raise ConfigError when settings contradict each other; `values` are the whole recipe's, by dotted key."""

    def warnings(self, batch_size: int) -> list[str]:
        """Return sentences about settings that work but are seldom wanted."""
        return []


@dataclass(frozen=True)
class MsnSettings(ObjectiveSettings):
    name: str = "msn"
    num_prototypes: int = setting(1024, low=2, high=65536)
    """Prototypes that films are assigned to."""
    train_prototypes: bool = True
    """Train the prototypes; the published code leaves them as they were drawn."""
    anchor_temp: float = setting(0.1, low=0.001, high=10.0)
    """Temperature of the anchors' assignments."""
    target_temp: float = setting(0.25, low=0.001, high=1.0)
    """Temperature that sharpens the targets' assignments."""
    sinkhorn_iters: int = setting(3, low=0, high=100)
    """Sinkhorn iterations that spread the targets evenly over the prototypes; 0 makes none."""
    queue_size: int = setting(0, low=0, high=2**20, needs="objective.sinkhorn_iters or objective.memax_weight")
    """Films of earlier steps that Sinkhorn and me-max look at beside the batch: whole batches; 0 keeps none."""
    memax_weight: float = setting(1.0, low=0.0, high=100.0)
    """Weight of the term that keeps all prototypes in use."""
    mask_frac: float = setting(0.15, low=0.0, high=0.95, needs="views.num_random or objective.mask_focal")
    """Fraction of an anchor view's patches that is dropped."""
    mask_focal: bool = setting(False, needs=("views.num_focal", "objective.mask_frac"))
    """Mask focal views too, as the published code does."""
    hide_last_patch: bool = setting(False, needs="objective.mask_frac")
    """Never show the bottom-right patch to a masked anchor, as the published code does."""

    def check(self, values: Mapping[str, Any]) -> None:
        if values["views.num_random"] + values["views.num_focal"] == 0:
            raise ConfigError('there is no anchor view: "views.num_random" and "views.num_focal" are both 0')
        if self.queue_size % values["train.batch_size"]:
            what = f'"objective.queue_size" is {self.queue_size}, not a multiple of "train.batch_size"'
            raise ConfigError(f"{what} ({values['train.batch_size']})", hint="the queue holds whole batches")

    def warnings(self, batch_size: int) -> list[str]:
        num_balanced = batch_size + self.queue_size
        if not self.sinkhorn_iters or self.num_prototypes <= num_balanced:
            return []
        return [
            f"{self.num_prototypes:,} prototypes over {num_balanced:,} films of batch and queue: Sinkhorn keeps "
            f"targets near or below {num_balanced / self.num_prototypes:.2f}, unless a film stands out"
        ]


WITHOUT_TARGET = ("train.ema_start", "train.ema_final", "train.ema_horizon", "train.ema_first")
WITHOUT_FOCAL = ("views.num_focal", "views.focal_px", "views.focal_scale")


@dataclass(frozen=True)
class DinoSettings(ObjectiveSettings):
    """Source: Caron et al. 2021, sections 3 and 4; smaller outputs, for fewer films than ImageNet has images."""

    idle: ClassVar[tuple[str, ...]] = ("views.num_random", "train.ema_first")

    name: str = "dino"
    num_outputs: int = setting(4096, low=2, high=2**20)
    """Outputs of the head; the paper has 65,536."""
    bottleneck_dim: int = setting(256, low=1, high=4096)
    """Width of the layer before them."""
    student_temp: float = setting(0.1, low=0.001, high=10.0)
    """Temperature of the student's assignments."""
    teacher_temp: float = setting(0.04, low=0.001, high=10.0)
    """Temperature of the teacher's."""
    centre_momentum: float = setting(0.9, low=0.0, high=1.0)
    """Momentum of the centre that is taken off the teacher's outputs."""
    hold_frac: float = setting(0.01, low=0.0, high=1.0)
    """Share of the steps before the last layer moves: an epoch of a hundred in the paper."""


@dataclass(frozen=True)
class MaeSettings(ObjectiveSettings):
    """Source: He et al. 2022, sections 3 and 4; a smaller decoder, for smaller encoders than ViT-L."""

    idle: ClassVar[tuple[str, ...]] = ("views.num_random", *WITHOUT_FOCAL, *WITHOUT_TARGET, "ehr.features")

    name: str = "mae"
    mask_frac: float = setting(0.75, low=0.05, high=0.95)
    """Share of the patches that is hidden and drawn."""
    decoder_width: int = setting(128, low=32, high=2048)
    """Width of the decoder, a multiple of 32."""
    decoder_depth: int = setting(4, low=1, high=32)
    """Blocks of the decoder."""
    normalise_patches: bool = True
    """Draw each patch at mean 0 and variance 1."""

    def check(self, values: Mapping[str, Any]) -> None:
        if self.decoder_width % 32:
            raise ConfigError(f'"objective.decoder_width" is {self.decoder_width}, not a multiple of 32')
        if values["ehr.features"]:
            hint = "predict features with --predict, or choose another objective"
            raise ConfigError('objective "mae" cannot join the record to a film: it draws pixels', hint=hint)


@dataclass(frozen=True)
class SimclrSettings(ObjectiveSettings):
    """Source: Chen et al. 2020, section 2."""

    idle: ClassVar[tuple[str, ...]] = ("views.num_random", *WITHOUT_FOCAL, *WITHOUT_TARGET)

    name: str = "simclr"
    temp: float = setting(0.1, low=0.001, high=10.0)
    """Temperature of the similarities."""
    projection_dim: int = setting(128, low=2, high=4096)
    """Width of what is compared."""


@dataclass(frozen=True)
class SupervisedSettings(ObjectiveSettings):
    """The labels of the training films, one crop a film."""

    idle: ClassVar[tuple[str, ...]] = (
        "model.head_hidden_mult",
        "views.num_random",
        *WITHOUT_FOCAL,
        *WITHOUT_TARGET,
        "ehr.features",
    )

    name: str = "supervised"
    uncertain: str = setting("ignore", options=("ignore", "zeros", "ones"))
    """What a label of -1 counts as, as in `cxrssl probe`."""
    blank: str = setting("zeros", options=("zeros", "ignore"))
    """What a label that is not mentioned counts as, as in `cxrssl probe`."""

    @property
    def label(self) -> str:
        """A word, where the others are abbreviations."""
        return self.name

    def check(self, values: Mapping[str, Any]) -> None:
        if values["train.rows"] == "all":
            what = f'objective "{self.name}" would learn the labels of the films that it is tested on'
            raise ConfigError(f'{what}: "train.rows" is "all"', hint="leave train.rows at train")
        if values["ehr.features"]:
            hint = "predict features with --predict, or choose another objective"
            raise ConfigError(f'objective "{self.name}" cannot join the record to a film', hint=hint)


@dataclass(frozen=True)
class FinetuneSettings(SupervisedSettings):
    """The labels of the training films, or of a share of their subjects, from the weights of `model.init`.

    Source: Bao et al. 2022 (BEiT) and He et al. 2022, table 9, for rates that fall by layer.
    """

    start_hint: ClassVar[str] = (
        "name a run or files with --init; from weights that are drawn it is objective.name=supervised"
    )

    name: str = "finetune"
    layer_decay: float = setting(0.75, low=0.01, high=1.0)
    """What the learning rate is multiplied by from each layer to the one before it; the layer for findings has all of
    it."""
    label_frac: float = setting(1.0, low=0.0001, high=1.0)
    """Share of the train subjects whose films and labels are used; a larger share holds the smaller ones."""
    label_draw: int = setting(0, low=0, high=2**31, needs="objective.label_frac < 1")
    """Which draw of them."""
    pool: str = setting("cls", options=("cls", "patches"))
    """What the layer for findings reads: the class token, or the mean of the patches, after the last norm."""
    drop_path: float = setting(0.0, low=0.0, high=0.9)
    """Probability that a film goes past a branch of the last block; it rises to that from 0 at the first."""

    @property
    def unset(self) -> tuple[str, ...]:
        """Keys that recipes did not have before, at their defaults: left out of what is hashed and published."""
        defaults = {"pool": "cls", "drop_path": 0.0}
        return tuple(name for name, value in defaults.items() if getattr(self, name) == value)


OBJECTIVES: dict[str, type[ObjectiveSettings]] = {
    "msn": MsnSettings,
    "dino": DinoSettings,
    "mae": MaeSettings,
    "simclr": SimclrSettings,
    "supervised": SupervisedSettings,
    "finetune": FinetuneSettings,
}
"""The class of each objective, by the name that chooses it."""
