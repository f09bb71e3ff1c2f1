"""A grid of runs from a TOML file: which arms, on what, how often, and which comparison it is made for.

In: `[arms.NAME]` tables of recipe keys; lists of features, backbones, objectives, cohorts and seeds.
Out: every cell of the grid, a recipe for each. Never: a primary comparison that is chosen after the runs, or an arm
with other seeds than the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from cxrssl.cohort.features import is_outcome_used, name_features, parse_ehr
from cxrssl.core.config import build_settings, merge_tables, read_toml, setting
from cxrssl.core.durable import hash_settings
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.settings import Recipe

CONTROLS = ("shuffled", "zeros")
"""What `--controls` runs beside each arm with the record: the record of another person, and none."""
ONLY = "only"
_AXES = ("backbones", "objectives", "features")


@dataclass(frozen=True)
class Primary:
    """The one comparison that the grid is made for; all others are exploratory."""

    arm: str = ""
    against: str = ""
    metric: str = setting("auroc", options=("auroc", "auprc"))
    """Its macro mean over the findings."""


@dataclass(frozen=True)
class GridSettings:
    """All of a grid's file but its arms."""

    question: str = ""
    """What the grid is to answer, in a sentence."""
    recipe: str = "strict"
    """A recipe by name, under every arm."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """The same in every arm."""
    cohorts: tuple[str, ...] = ()
    """Names of cohorts; left out, the only one of the workspace."""
    backbones: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    """Sets of features, each for every arm that names none: groups and features joined by commas."""
    max_difference: float = setting(0.0, low=0.0, high=1.0)
    """Smallest difference of the primary metric that would matter; 0 leaves it open."""
    primary: Primary = field(default_factory=Primary)


@dataclass(frozen=True)
class Cell:
    """One run of the grid, before its cohort is known."""

    arm: str
    """Name of the arm, with what of the axes distinguishes it."""
    base: str
    """Name of the arm as the file has it."""
    recipe: Recipe
    seed: int
    cohort: str
    """Empty for the only one of the workspace."""

    @property
    def setup(self) -> str:
        """Hash of all but seed, the same in every run of an arm."""
        values = self.recipe.to_dict()
        return hash_settings([{**values, "train": {**values["train"], "seed": None}}, self.cohort])


@dataclass(frozen=True)
class Grid:
    """A grid, expanded."""

    name: str
    settings: GridSettings
    arms: Mapping[str, Mapping[str, Any]]
    """As the file has them."""
    cells: tuple[Cell, ...]

    @property
    def arm_names(self) -> list[str]:
        return list(dict.fromkeys(cell.arm for cell in self.cells))

    @property
    def sha256(self) -> str:
        """Hash of what the grid declares."""
        cells = [[cell.arm, cell.recipe.to_dict(), cell.cohort] for cell in self.cells]
        primary = vars(self.settings.primary)
        return hash_settings([cells, primary, self.settings.question, self.settings.max_difference])


def grid_names() -> list[str]:
    """Return the names of the grids that come with the package."""
    folder = resources.files("cxrssl") / "grids"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def find_grid(name: str) -> Path:
    """Return the TOML file of a grid of the package, or of one named by its path."""
    if Path(name).suffix == ".toml":
        return Path(name)
    if name not in grid_names():
        raise ConfigError(f'no grid "{plain(name, 80)}"', hint=nearest_hint(name, grid_names()))
    return Path(str(resources.files("cxrssl") / "grids" / f"{name}.toml"))


def load_grid(name: str, controls: bool = False) -> Grid:
    """Return a grid by name or TOML path; with `controls`, a wrong-record arm of each kind beside each with the record.

    Raises: ConfigError for an unknown key or a wrong value, for two arms that are the same run, for a primary
    comparison between arms that are not there.
    """
    path = find_grid(name)
    values = read_toml(path)
    arms = values.pop("arms", {})
    settings = build_settings(GridSettings, values)
    if not isinstance(arms, Mapping) or not arms or not all(isinstance(arm, Mapping) for arm in arms.values()):
        raise ConfigError("a grid needs arms", path, "add a table such as [arms.vanilla]")
    if not settings.seeds or len(set(settings.seeds)) != len(settings.seeds):
        raise ConfigError('"seeds" must be a list of different whole numbers', path)
    cells = [cell for base, arm in arms.items() for cell in _expand_arm(settings, str(base), arm, path)]
    if controls:
        cells += [control for cell in cells for control in _controls_of(cell)]
    _check_different(cells, path)
    grid = Grid(path.stem, settings, arms, tuple(cells))
    _check_primary(grid, path)
    return grid


def _expand_arm(settings: GridSettings, base: str, arm: Mapping[str, Any], path: Path) -> list[Cell]:
    """Return the cells of an arm: every combination of the axes that it does not fix itself."""
    changes = {section: keys for section, keys in arm.items() if section != ONLY}
    axes = _axes_of(settings, changes, arm.get(ONLY, {}), base, path)
    cells = []
    for values in itertools.product(*axes.values()):
        chosen = {axis: value for axis, value in zip(axes, values, strict=True) if value}
        label = "/".join([base, *(_label(axis, value) for axis, value in chosen.items() if len(axes[axis]) > 1)])
        for cohort, seed in itertools.product(settings.cohorts or ("",), settings.seeds):
            where = f"{label}/{cohort}" if len(settings.cohorts) > 1 else label
            try:
                recipe = load_recipe(settings.recipe, [], _lay(changes, chosen, seed))
            except ConfigError as error:
                raise ConfigError(f"arm {plain(where, 80)}: {error.what}", path, error.hint) from None
            cells.append(Cell(where, base, recipe, seed, cohort))
    return cells


def _axes_of(
    settings: GridSettings, changes: Mapping[str, Any], only: Any, base: str, path: Path
) -> dict[str, Sequence[str]]:
    """Return the values of each axis for one arm; a single empty one where the arm, or the grid, leaves it alone."""
    if not isinstance(only, Mapping) or not set(only) <= set(_AXES):
        raise ConfigError(f'"arms.{plain(base, 60)}.only" must be a table of {", ".join(_AXES)}', path)
    fixed = {
        "backbones": "backbone" in changes.get("model", {}),
        "objectives": "name" in changes.get("objective", {}),
        "features": "features" in changes.get("ehr", {}),
    }
    axes: dict[str, Sequence[str]] = {}
    for axis in _AXES:
        values = getattr(settings, axis)
        chosen = only.get(axis, values)
        missing = [value for value in chosen if value not in values]
        if missing:
            raise ConfigError(f'"arms.{plain(base, 60)}.only" names "{plain(missing[0], 60)}", which no axis has', path)
        axes[axis] = ("",) if fixed[axis] or not values else tuple(chosen)
    return axes


def _lay(changes: Mapping[str, Any], chosen: Mapping[str, str], seed: int) -> dict[str, Any]:
    """Return the recipe tables of a cell."""
    tables: dict[str, Any] = {"train": {"seed": seed}}
    if "backbones" in chosen:
        tables["model"] = {"backbone": chosen["backbones"]}
    if "objectives" in chosen:
        tables["objective"] = {"name": chosen["objectives"]}
    if "features" in chosen:
        tables["ehr"] = {"features": list(parse_ehr(chosen["features"]))}
    tables = merge_tables(tables, changes)
    ehr = tables.get("ehr", {})
    if not ehr.get("features") and not ehr.get("predict"):
        tables.pop("ehr", None)  # an empty list is said to fix the axis; the other keys would have no effect
        return tables
    for key in ("features", "predict"):
        if key in ehr:
            ehr = {**ehr, key: list(parse_ehr(",".join(ehr[key])))}
    named = [*ehr.get("features", ()), *ehr.get("predict", ())]
    return {**tables, "ehr": {**ehr, **({"may_use_outcomes": True} if is_outcome_used(named) else {})}}


def _label(axis: str, value: str) -> str:
    return name_features(parse_ehr(value), "+") if axis == "features" else value


def _controls_of(cell: Cell) -> list[Cell]:
    """Return the arms with the wrong record that belong to an arm with the right one."""
    ehr = cell.recipe.ehr
    if ehr.control != "none" or not (ehr.features or ehr.predict):
        return []
    return [
        replace(
            cell,
            arm=f"{cell.arm}, {control}",
            base=f"{cell.base}, {control}",
            recipe=replace(cell.recipe, ehr=replace(ehr, control=control)),
        )
        for control in CONTROLS
        if control == "shuffled" or not ehr.predict
    ]


def _check_different(cells: Sequence[Cell], path: Path) -> None:
    """Raise ConfigError when two arms are one and the same run."""
    arms: dict[str, str] = {}
    for cell in cells:
        other = arms.setdefault(hash_settings([cell.recipe.to_dict(), cell.cohort]), cell.arm)
        if other != cell.arm:
            raise ConfigError(f"arms {plain(other, 80)} and {plain(cell.arm, 80)} are the same run", path)


def _check_primary(grid: Grid, path: Path) -> None:
    primary = grid.settings.primary
    if not primary.arm and not primary.against:
        raise ConfigError(
            "the grid declares no primary comparison",
            path,
            'add a table [primary] with arm = "..." and against = "..."',
        )
    for name in (primary.arm, primary.against):
        if name not in grid.arm_names:
            hint = nearest_hint(name, grid.arm_names)
            raise ConfigError(f'the primary comparison names arm "{plain(name, 80)}", which is not there', path, hint)
