"""What a grid's file declares, and a row of the grid: an arm on one cohort, with every seed.

In: decoded TOML. Out: GridSettings; Row, and the recipe and the words of each of its runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from cxrssl.core.config import merge_tables, setting
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import ConfigError
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.settings import Recipe
from cxrssl.recipe.text import format_value
from cxrssl.records.eval_settings import ProbeSettings, check_folds

PROBE_OPTIONS = {"uncertain": "--uncertain", "blank": "--blank", "num_resamples": "--resamples", "folds": "--folds"}
"""Settings of a probe that a grid may change, and the option of `cxrssl probe` for each."""


def options_of(probe: ProbeSettings) -> list[str]:
    """Return the options of `cxrssl probe` that make these settings. Raises: UsageError for what cannot be."""
    check_folds(probe.folds)
    usual, words = ProbeSettings(), []
    for key in (each.name for each in fields(probe)):
        value = getattr(probe, key)
        if value == getattr(usual, key):
            continue
        if key not in PROBE_OPTIONS:
            raise ConfigError(f'"probe.{key}" is not for a grid', hint=f"it may set {', '.join(PROBE_OPTIONS)}")
        words += [PROBE_OPTIONS[key], str(value)]
    return words


@dataclass(frozen=True)
class Primary:
    """The one comparison that the grid is made for; all others are exploratory."""

    arm: str = ""
    against: str = ""
    """The arm that is subtracted."""
    cohort: str = ""
    """May be left out when both arms run on one cohort only."""
    metric: str = setting("auroc", options=("auroc", "auprc"))
    """Its macro mean over the findings."""


@dataclass(frozen=True)
class GridSettings:
    """All of a grid's file but its arms."""

    question: str = ""
    """What the grid is to answer, in a sentence."""
    recipe: str = "strict"
    """A recipe by name or path, under every arm."""
    baseline: str = "vanilla"
    """The arm that every other one is compared with, on the same cohort and on the axes that it runs on itself."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """The same in every arm."""
    cohorts: tuple[str, ...] = ()
    """Names of cohorts, on which runs are trained and probed; left out, the only one of the workspace."""
    pretrain_on: str = ""
    """Cohorts that every arm is pretrained on instead, with commas between them; an arm may name its own."""
    backbones: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    """Sets of features, each for every arm that names none: groups and features joined by commas."""
    min_difference: float = setting(0.0, low=0.0, high=1.0)
    """Smallest difference of the primary metric that would matter; 0 leaves it open."""
    primary: Primary = field(default_factory=Primary)
    probe: ProbeSettings = field(default_factory=ProbeSettings)


@dataclass(frozen=True)
class Row:
    """An arm on one cohort: the same run once for each seed."""

    arm: str
    """Name of the arm, with what of the axes distinguishes it."""
    base: str
    """Name of the arm as the file has it."""
    cohort: str
    """Empty for the only one of the workspace."""
    axes: Mapping[str, str]
    """The values of the axes that the arm does not fix itself."""
    recipe: str
    """Name or path of the recipe under it."""
    changes: Mapping[str, Any]
    """Recipe tables laid on top, without the seed."""
    seeds: tuple[int, ...]
    pretrain_on: str = ""
    """Cohorts that its runs are pretrained on, where that is not `cohort`."""

    @property
    def name(self) -> str:
        """Arm and cohort, for people."""
        return f"{self.arm} on {self.cohort}" if self.cohort else self.arm

    def load(self, seed: int) -> Recipe:
        """Return the recipe of one run. Raises: ConfigError."""
        return load_recipe(self.recipe, [], merge_tables(self.changes, {"train": {"seed": seed}}))

    def words(self, seed: int) -> list[str]:
        """Return what of the words of `cxrssl pretrain` says which run it is."""
        tables = merge_tables(self.changes, {"train": {"seed": seed}})
        keys = [(f"{section}.{key}", value) for section, keys in tables.items() for key, value in keys.items()]
        sets = [word for name, value in keys for word in ("--set", f"{name}={format_value(_as_tuple(value))}")]
        return ["--recipe", self.recipe, *sets]

    @cached_property
    def first(self) -> Recipe:
        """The recipe of its first run, as the files were when it was first asked for."""
        return self.load(self.seeds[0])

    @cached_property
    def setup(self) -> str:
        """Hash of all but the seed, the same in every run of the row."""
        return self._hash(self.first)

    @cached_property
    def right_setup(self) -> str:
        """The same of the row that differs from this one in having the right record alone."""
        return self._hash(replace(self.first, ehr=replace(self.first.ehr, control="none")))

    def _hash(self, recipe: Recipe) -> str:
        elsewhere = [self.pretrain_on] if self.pretrain_on else []
        return hash_settings([recipe.to_dict(), self.cohort, *elsewhere])


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, list | tuple) else value
