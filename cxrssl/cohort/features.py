"""The health-record features, each declared once, in features.toml.

Out: FEATURES, from which everything else derives: the tables and views of a cohort (schema), the SQL that fills them
(ehr), frames of sources, maps, arrays, codebook, MEDS and the inputs of a model (encoding). `words` of a feature says
what the words of its source mean. OPTIONAL are those that a cohort has only if it was made with them.
Never: an import of polars, duckdb or numpy.
"""

from __future__ import annotations

import importlib.resources
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxrssl.cohort.declare import check_sources, read_declared
from cxrssl.cohort.feature import Declared, EventTable, Feature
from cxrssl.core.errors import ConfigError, UsageError
from cxrssl.core.text import nearest_hint, plain

NONE = "none"
RESERVED = (
    *("id", "line", "image_id", "study_id", "subject_id", "path", "taken_at", "link_status", "hadm_id", "stay_id"),
    *("ed_stay_id", "gap_h", "macro", "split_official", "split_hash", "split_icu", "split_file", "film"),
)
"""Columns of a cohort's films."""


def _read_built_in() -> Declared:
    text = importlib.resources.files("cxrssl.cohort").joinpath("features.toml").read_text(encoding="utf-8")
    return read_declared(tomllib.loads(text), "features.toml", is_own=False)


BUILT_IN = _read_built_in()
# The scale of the age is (age - 16) / 84. Source: nyuad-cai/CXR-EHR-MSN, notebooks/EHR-data-prep.ipynb.
# Differs: clipped to [0, 1].
FEATURES: tuple[Feature, ...] = tuple(each for each in BUILT_IN.features if each.measured is None)
"""Those that every cohort has a column of."""
TABLES: dict[str, EventTable] = {table.name: table for table in BUILT_IN.tables}
AGE_BANDS = {feature.name: feature.edges for feature in FEATURES if feature.edges}
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(feature.group for feature in FEATURES))
PAPER_FEATURES: tuple[str, ...] = tuple(FEATURE_NAMES[: FEATURE_NAMES.index("icu") + 1])
"""The features of the paper, the only ones that its imputation covers."""
RECORDED: tuple[Feature, ...] = tuple(
    sorted(
        (feature for feature in FEATURES if not feature.form_of),
        key=lambda feature: (GROUPS.index(feature.group), feature.role == "outcome"),
    )
)
"""Features with a column of their own, in the order of the columns: by group, within it outcomes last."""
GIVEN: tuple[Feature, ...] = tuple(feature for feature in RECORDED if not feature.source.startswith("image."))
"""Features that a dataset may state itself, in `given_feature`, where null is unknown."""
OPTIONAL: tuple[Feature, ...] = tuple(each for each in BUILT_IN.features if each.measured is not None)
"""Those that are chosen from tables of events, where a cohort was made with their group."""
check_sources(OPTIONAL, TABLES)
_known = {feature.name: feature for feature in (*FEATURES, *OPTIONAL)}
"""All features that this process knows, in order: those of the program, then users' own, see `declare`."""


_declared: dict[str, tuple[Any, set[Path]]] = {}
"""Feature of a user -> its declaration, and the cohorts that have it."""


def declare(values: Mapping[str, Any] | None, where: str | Path, cohort: Path | None = None) -> Declared:
    """Let this process know features of a user's own, and return them; `values` is a parsed file of declarations.

    `cohort` is the folder of the cohort that has them, or will have.

    Raises: ConfigError for a mistake, for a name or group that the program uses, and for a feature that another cohort
    of the workspace has under the same name.
    """
    if not values:
        return Declared(())
    declared = read_declared(values, where)
    tables = dict(TABLES)
    for table in declared.tables:
        if table.name in TABLES:
            raise ConfigError(f'table "{table.name}" comes with the program', where, "give yours another name")
        tables[table.name] = table
    try:
        check_sources(declared.features, tables)
    except ConfigError as error:
        raise ConfigError(error.what, where, error.hint) from None
    for feature in declared.features:
        _check_free(feature, where)
        content = (feature, [tables[name] for name in _tables_of(feature)])
        before, owners = _declared.get(feature.name, (content, set[Path]()))
        others = {each for each in owners if cohort and each.parent == cohort.parent and each != cohort}
        if before != content and others:
            what = f'feature "{feature.name}" is declared otherwise in cohort {min(others).name}'
            raise ConfigError(what, where, "give it another name, or another workspace with --workspace")
        _declared[feature.name] = (content, (owners if before == content else others) | ({cohort} if cohort else set()))
        _known[feature.name] = feature
    return declared


def _check_free(feature: Feature, where: str | Path) -> None:
    ours = {each.name: each for each in BUILT_IN.features}
    groups = {each.group for each in BUILT_IN.features}
    columns = {name for each in BUILT_IN.features for name in (each.column, each.censored, each.age_column)}
    age = feature.age_column if feature.has_age else feature.column
    for what, word, taken in (
        ("name", feature.name, {*ours, *groups, *columns, *RESERVED}),
        ("group", feature.group, {*ours, *groups, NONE}),
        ("column", feature.column, {*columns, *RESERVED}),
        ("column", age, {*columns, *RESERVED}),
    ):
        if word in taken:
            what = f'feature "{feature.name}": the {what} "{word}" is one that comes with the program'
            raise ConfigError(what, where, f'choose another, such as "my_{word}"')


def _tables_of(feature: Feature) -> list[str]:
    return [source.table for source in feature.measured.sources] if feature.measured else []


def known_names() -> tuple[str, ...]:
    """Return the names of all features that are known, in declared order."""
    return tuple(_known)


def known_groups() -> tuple[str, ...]:
    """Return the names of all groups that are known, in declared order."""
    return tuple(dict.fromkeys(feature.group for feature in _known.values()))


def is_feature(name: str) -> bool:
    """Return whether there is a feature of this name."""
    return name in _known


def find_feature(name: str) -> Feature:
    """Return the declared feature of this name.

    Raises: UsageError that names the nearest one.
    """
    if name not in _known:
        known = (*_known, *known_groups(), NONE)
        raise UsageError(f'there is no feature or group "{plain(name, 60)}"', hint=nearest_hint(name, known))
    return _known[name]


def parse_ehr(text: str) -> tuple[str, ...]:
    """Return the features that `text` names, in declared order: groups and names in any mix, or "none".

    An age band replaces the age of a group.

    Raises: UsageError for an unknown name, naming the nearest one, for "none" mixed with features, and for two forms of
    one feature.
    """
    words, groups = [word for word in re.split(r"[,\s]+", text) if word], known_groups()
    if not words:
        raise UsageError("no feature is named", hint=f'name groups ({", ".join(groups)}), single features, or "{NONE}"')
    if NONE in words:
        if len(words) > 1:
            raise UsageError(f'"{NONE}" cannot be mixed with features', hint=f'got "{plain(text, 80)}"')
        return ()
    named = {find_feature(word).name for word in words if word not in groups or word in _known}
    forms: dict[str, str] = {}
    for name in (name for name in _known if name in named):
        quantity = _known[name].form_of or name
        if forms.setdefault(quantity, name) != name:
            raise UsageError(f'"{forms[quantity]}" and "{name}" are the same feature', hint="name one of them")
    replaced = {_known[name].form_of for name in named}
    wanted = named | ({name for word in words for name in _group_members(word)} - replaced)
    return tuple(name for name in _known if name in wanted)


def name_features(names: Sequence[str], joined_by: str) -> str:
    """Return the shortest text that `parse_ehr` turns into `names`: whole groups by their name, the rest one by one."""
    words: dict[str, None] = {}
    for name in names:
        group = find_feature(name).group
        words[group if set(_group_members(group)) <= set(names) else name] = None
    return joined_by.join(words)


def is_outcome_used(names: Sequence[str]) -> bool:
    """Return whether any of these features is an outcome."""
    return any(find_feature(name).role == "outcome" for name in names)


def _group_members(word: str) -> tuple[str, ...]:
    return tuple(feature.name for feature in _known.values() if feature.group == word)
