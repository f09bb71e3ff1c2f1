"""A grid of runs from a TOML file: which arms, on what, how often, and which comparison it is made for.

In: `[arms.NAME]` tables of recipe keys; lists of features, backbones, objectives, cohorts and seeds.
Out: every cell of the grid, a recipe for each. Never: a primary comparison that is chosen after the runs, or an arm
with other seeds than the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from cxrssl.ablate.row import GridSettings, Row, options_of
from cxrssl.cohort.features import is_outcome_used, name_features, parse_ehr
from cxrssl.core.config import build_settings, merge_tables, read_toml
from cxrssl.core.errors import ConfigError, UsageError
from cxrssl.core.text import nearest_hint, plain
from cxrssl.recipe.settings import MAX_SEED

CONTROLS = ("shuffled", "zeros")
"""What `--controls` runs beside each arm with the record: the record of another person, and none."""
ONLY = "only"
PRETRAIN_ON = "pretrain_on"
AXES = ("backbones", "objectives", "features", "cohorts")


@dataclass(frozen=True)
class Grid:
    """A grid, expanded."""

    name: str
    text: str
    """Of its file."""
    has_controls: bool
    """Whether wrong-record arms were added."""
    settings: GridSettings
    rows: tuple[Row, ...]

    @property
    def primary(self) -> tuple[Row, Row]:
        """The rows of the primary comparison: the arm, and the one that is subtracted."""
        chosen = self.settings.primary
        return self._find(chosen.arm, chosen.cohort), self._find(chosen.against, chosen.cohort)

    def _find(self, arm: str, cohort: str) -> Row:
        return next(row for row in self.rows if row.arm == arm and cohort in ("", row.cohort))

    def baseline_of(self, row: Row) -> Row | None:
        """Return the row of the baseline on the same cohort and axes; None for the baseline, or where there is none."""
        if row.base == self.settings.baseline:
            return None
        found = [
            each
            for each in self.rows
            if each.base == self.settings.baseline
            and each.cohort == row.cohort
            and all(_value_of(row, axis) == _value_of(each, axis) for axis in each.axes)
        ]
        return found[0] if len(found) == 1 else None

    def controls_of(self, row: Row) -> list[Row]:
        """Return the rows that differ from this one in a wrong record alone."""
        if row.first.ehr.control != "none":
            return []
        return [each for each in self.rows if each is not row and each.right_setup == row.setup]


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

    Controls that the grid has as arms of its own are not added.

    Raises: ConfigError for an unknown key or a wrong value, for two arms that are the same run, for a primary
    comparison between arms that are not there.
    """
    path = find_grid(name)
    values = read_toml(path)
    arms = values.pop("arms", {})
    try:
        settings = build_settings(GridSettings, values)
        options_of(settings.probe)
    except UsageError as error:
        raise ConfigError(error.what, path, error.hint) from None
    if not isinstance(arms, Mapping) or not arms or not all(isinstance(arm, Mapping) for arm in arms.values()):
        raise ConfigError("a grid needs arms", path, "add a table such as [arms.vanilla]")
    if not settings.seeds or len(set(settings.seeds)) != len(settings.seeds):
        raise ConfigError('"seeds" must be a list of different whole numbers', path)
    if not all(0 <= seed <= MAX_SEED for seed in settings.seeds):
        raise ConfigError(f'every one of "seeds" must be from 0 to {MAX_SEED}', path)
    if "baseline" in values and settings.baseline not in arms:
        what = f'the baseline is arm "{plain(settings.baseline, 80)}", which is not there'
        raise ConfigError(what, path, nearest_hint(settings.baseline, arms))
    if settings.recipe.endswith(".toml"):
        settings = replace(settings, recipe=str((path.parent / settings.recipe).absolute()))
    rows = [row for base, arm in arms.items() for row in _expand_arm(settings, str(base), arm, path)]
    if controls:
        own = {row.setup for row in rows}
        rows += [control for row in rows for control in _controls_of(row) if control.setup not in own]
    _check_different(rows, path)
    grid = Grid(path.stem, path.read_text(encoding="utf-8"), controls, settings, tuple(rows))
    _check_primary(grid, path)
    return grid


def _expand_arm(settings: GridSettings, base: str, arm: Mapping[str, Any], path: Path) -> list[Row]:
    """Return the rows of an arm: every combination of the axes that it does not fix itself."""
    changes = {section: keys for section, keys in arm.items() if section not in (ONLY, PRETRAIN_ON)}
    pretrain_on = arm.get(PRETRAIN_ON, settings.pretrain_on)
    if not isinstance(pretrain_on, str):
        raise ConfigError(f'"arms.{plain(base, 60)}.{PRETRAIN_ON}" must be a word: "mimic,nih"', path)
    axes = _axes_of(settings, changes, arm.get(ONLY, {}), base, path)
    rows = []
    for values in itertools.product(*axes.values()):
        chosen = {axis: value for axis, value in zip(axes, values, strict=True) if value}
        label = base
        try:
            parts = [_label(axis, value) for axis, value in chosen.items() if axis != "cohorts" and len(axes[axis]) > 1]
            label = "/".join([base, *parts])
            if not all(isinstance(keys, Mapping) for keys in changes.values()):
                raise ConfigError("it must hold sections of a recipe, such as ehr.control")
            if "seed" in changes.get("train", {}):
                raise ConfigError('"train.seed" is not for one arm', hint='name "seeds", which are those of every arm')
            tables = _lay(changes, chosen)
            cohort = chosen.pop("cohorts", "")
            if pretrain_on and not cohort:
                what = f"it is pretrained on {plain(pretrain_on, 120)}, and the grid does not say where it is probed"
                raise ConfigError(what, hint='name a cohort to probe on: cohorts = ["..."]')
            row = Row(label, base, cohort, chosen, settings.recipe, tables, settings.seeds, pretrain_on)
            _ = row.setup
        except UsageError as error:
            raise ConfigError(f"arm {plain(label, 80)}: {error.what}", path, error.hint) from None
        rows.append(row)
    return rows


def _axes_of(
    settings: GridSettings, changes: Mapping[str, Any], only: Any, base: str, path: Path
) -> dict[str, Sequence[str]]:
    """Return the values of each axis for one arm; a single empty one where the arm, or the grid, leaves it alone."""
    place = f'"arms.{plain(base, 60)}.{ONLY}"'
    if not isinstance(only, Mapping) or not set(only) <= set(AXES):
        raise ConfigError(f"{place} must be a table of {', '.join(AXES)}", path)
    fixed = {
        "backbones": _has(changes, "model", "backbone"),
        "objectives": _has(changes, "objective", "name"),
        "features": _has(changes, "ehr", "features"),
    }
    axes: dict[str, Sequence[str]] = {}
    for axis in AXES:
        values = getattr(settings, axis)
        chosen = only.get(axis, values)
        if not isinstance(chosen, list | tuple) or (not chosen and values):
            raise ConfigError(f"{place} must name some {axis}, as a list", path)
        missing = [value for value in chosen if value not in values]
        if missing:
            raise ConfigError(f'{place} names "{plain(missing[0], 60)}", which is none of the {axis}', path)
        axes[axis] = ("",) if fixed.get(axis) or not values else tuple(chosen)
    return axes


def _has(changes: Mapping[str, Any], section: str, key: str) -> bool:
    keys = changes.get(section, {})
    return isinstance(keys, Mapping) and key in keys


def _lay(changes: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return the recipe tables of a row."""
    tables: dict[str, Any] = {}
    if "backbones" in chosen:
        tables["model"] = {"backbone": chosen["backbones"]}
    if "objectives" in chosen:
        tables["objective"] = {"name": chosen["objectives"]}
    if "features" in chosen:
        tables["ehr"] = {"features": list(parse_ehr(chosen["features"]))}
    tables = merge_tables(tables, changes)
    ehr = tables.pop("ehr", {})
    named = {key: _parse_names(ehr[key], key) for key in ("features", "predict") if key in ehr}
    if not any(named.values()) and set(ehr) == set(named):
        return tables  # an empty list says no more than that the arm fixes the axis
    is_outcome = is_outcome_used([name for names in named.values() for name in names])
    return {**tables, "ehr": {**ehr, **named, **({"may_use_outcomes": True} if is_outcome else {})}}


def _parse_names(names: Any, key: str) -> list[str]:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f'"ehr.{key}" must be a list of words')
    return list(parse_ehr(",".join(names))) if names else []


def _label(axis: str, value: str) -> str:
    return (name_features(parse_ehr(value), "+") or "none") if axis == "features" else value


def _value_of(row: Row, axis: str) -> str:
    """Return the value that a row has on an axis, whether the axis or the arm itself says so."""
    recipe = row.first
    values = {"backbones": recipe.model.backbone, "objectives": recipe.objective.name}
    return values.get(axis) or ",".join(recipe.ehr.features)


def _controls_of(row: Row) -> list[Row]:
    """Return the rows with a wrong record that belong to a row with the right one."""
    ehr = row.first.ehr
    if ehr.control != "none" or not (ehr.features or ehr.predict):
        return []
    return [
        replace(
            row,
            arm=f"{row.arm}, {control}",
            base=f"{row.base}, {control}",
            changes=merge_tables(row.changes, {"ehr": {"control": control}}),
        )
        for control in CONTROLS
        if control == "shuffled" or not ehr.predict
    ]


def _check_different(rows: Iterable[Row], path: Path) -> None:
    """Raise ConfigError when two rows are one and the same run, or have one name."""
    setups: dict[str, str] = {}
    names: set[tuple[str, str]] = set()
    for row in rows:
        other = setups.setdefault(row.setup, row.name)
        if other != row.name or (row.arm, row.cohort) in names:
            what = f"arms {plain(other, 80)} and {plain(row.name, 80)} are the same run"
            raise ConfigError(what, path, "leave one of them out")
        names.add((row.arm, row.cohort))


def _check_primary(grid: Grid, path: Path) -> None:
    primary = grid.settings.primary
    if not primary.arm or not primary.against:
        hint = 'add a table [primary] with arm = "..." and against = "..."'
        raise ConfigError("the grid declares no primary comparison", path, hint)
    if primary.arm == primary.against:
        raise ConfigError(f'the primary comparison is of arm "{plain(primary.arm, 80)}" with itself', path)
    places = []
    for name in (primary.arm, primary.against):
        places.append([row.cohort for row in grid.rows if row.arm == name])
        if not places[-1]:
            hint = nearest_hint(name, {row.arm for row in grid.rows})
            raise ConfigError(f'the primary comparison names arm "{plain(name, 80)}", which is not there', path, hint)
    shared = [cohort for cohort in places[0] if cohort in places[1]]
    if primary.cohort and primary.cohort not in shared:
        what = f'the primary comparison is on cohort "{plain(primary.cohort, 80)}", on which its arms do not both run'
        raise ConfigError(what, path, f"they share: {', '.join(filter(None, shared)) or 'none that is named'}")
    if not primary.cohort and (len(shared) != 1 or len(places[0]) + len(places[1]) > 2):
        raise ConfigError("the primary comparison names no cohort", path, f'add cohort = "..." of {", ".join(shared)}')
