"""Which views of a film an objective asks for."""

from __future__ import annotations

from dataclasses import dataclass

from cxrssl.recipe.settings import ViewSettings


@dataclass(frozen=True)
class Mask:
    """Patches that an encoder does not see, drawn anew for each view."""

    dropped_frac: float
    """Share of the patches that is dropped, in (0, 1)."""
    hides_last: bool = False
    """Whether the bottom-right patch is dropped always, as in the published code."""


@dataclass(frozen=True)
class ViewKind:
    """Views of one purpose: the same size, law of cropping and mask."""

    purpose: str
    """The name that the objective finds them by; it decides their draws too."""
    num_views: int
    px: int
    """Side of the view, in pixels."""
    scale: tuple[float, float]
    """Range of the crop's area as a fraction of the film's valid box."""
    mask: Mask | None = None
    num_draws: int = 0
    """Numbers between 0 and 1 that the objective draws with, for each film."""


@dataclass(frozen=True)
class ViewPlan:
    """The views of a film that one step needs."""

    kinds: tuple[ViewKind, ...]
    """Kinds without views are left out."""
    settings: ViewSettings
    """What every view shares: flip, rotation, contrast, brightness and normalisation."""
    patch_px: int

    def num_views(self, purpose: str) -> int:
        """Return how many views of a purpose there are."""
        return sum(kind.num_views for kind in self.kinds if kind.purpose == purpose)
