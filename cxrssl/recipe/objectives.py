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

    name: str
    """Which objective trains the encoder; it decides the other keys of this section."""

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
            f"{self.num_prototypes:,} prototypes over {num_balanced:,} films of batch and queue: Sinkhorn caps every "
            f"target at {num_balanced / self.num_prototypes:.2f}, whatever the film shows"
        ]


OBJECTIVES: dict[str, type[ObjectiveSettings]] = {"msn": MsnSettings}
"""The class of each objective, by the name that chooses it."""
