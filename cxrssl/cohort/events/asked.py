"""What `--features` asks for: groups of measured features that come with the program, and files that declare more.

In: "labs,vitals,mine.toml". Out: features and their tables, and the files of a dataset that these are in.
Never: a file of the dataset that is read without being named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxrssl.cohort.declare import check_unique
from cxrssl.cohort.events.fill import Chosen
from cxrssl.cohort.events.stage import check_columns, find_wanted
from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import OPTIONAL, TABLES, declare, known_names
from cxrssl.cohort.files import Layout, SourceFile, pick_file
from cxrssl.core.config import read_toml
from cxrssl.core.errors import ConfigError, DataError, UsageError
from cxrssl.core.text import nearest_hint, plain

SUFFIX = ".toml"


@dataclass(frozen=True)
class Asked:
    """What a cohort is to be made with."""

    chosen: Chosen = field(default_factory=Chosen)
    declared: dict[str, Any] = field(default_factory=dict)
    """The declarations of the user's own features, as they were parsed."""

    @property
    def names(self) -> list[str]:
        return [feature.name for feature in self.chosen.features]


def read_asked(text: str, cohort: Path) -> Asked:
    """Return what the words name, for a cohort in this folder.

    Raises: UsageError for an unknown group, ConfigError for a mistake in a file.
    """
    groups = dict.fromkeys(feature.group for feature in OPTIONAL)
    features: dict[str, Feature] = {}
    tables, declared, owners = dict(TABLES), dict[str, Any](), dict[tuple[str, str], str]()
    for word in filter(None, (part.strip() for part in text.split(","))):
        if word.lower().endswith(SUFFIX):
            values = read_toml(Path(word))
            own = declare(values, word, cohort.absolute())
            _check_apart("feature", [each.name for each in own.features], owners, word)
            _check_apart("table", [each.name for each in own.tables], owners, word)
            features |= {feature.name: feature for feature in own.features}
            tables |= {table.name: table for table in own.tables}
            for key in ("table", "feature"):
                declared.setdefault(key, []).extend(values.get(key, []))
        elif word in groups:
            features |= {feature.name: feature for feature in OPTIONAL if feature.group == word}
        else:
            what = f'there is no group "{plain(word, 60)}" to make a cohort with'
            raise UsageError(what, hint=f"{nearest_hint(word, groups)}; a file of your own ends in {SUFFIX}")
    check_unique(list(features.values()))
    order = [name for name in known_names() if name in features]
    return Asked(Chosen(tuple(features[name] for name in order), tables), declared)


def _check_apart(kind: str, names: Sequence[str], owners: dict[tuple[str, str], str], file: str) -> None:
    """Raise ConfigError if a file declares what an earlier one does; `owners` has the file of each name."""
    for name in names:
        owner = owners.setdefault((kind, name), file)
        if owner != file:
            raise ConfigError(
                f'{kind} "{name}" is declared in {plain(owner, 200)} too', file, "leave it in one of them"
            )


def find_files(asked: Asked, layout: Layout) -> dict[str, SourceFile]:
    """Return table -> its file, for the tables of a dataset that are there; those that are not become remarks.

    Raises: DataError for a group of which no table is there, or a column that a file lacks.
    """
    files: dict[str, SourceFile] = {}
    absent: dict[str, DataError] = {}
    for name, table in asked.chosen.used_tables().items():
        module, _, stem = table.file.partition("/")
        try:
            if module not in layout.modules:
                raise DataError(f"there is no folder {module}/", layout.root)
            files[name] = pick_file(layout.modules[module], f"{stem}.csv", layout.remarks, f"{module}/")
        except DataError as error:
            num = sum(name in _tables_of(feature) for feature in asked.chosen.features)
            layout.remarks.append(f"no {table.file}.csv.gz: {num} features are taken without it or unknown")
            absent[name] = error
            continue
        check_columns(files[name], find_wanted(asked.chosen.features, table))
    for group in dict.fromkeys(feature.group for feature in asked.chosen.features):
        needed = {name for each in asked.chosen.features if each.group == group for name in _tables_of(each)}
        if needed and needed.isdisjoint(files):
            names = ", ".join(f"{asked.chosen.tables[name].file}.csv.gz" for name in sorted(needed))
            what = f"group {group} is taken from {names}, which the dataset lacks"
            raise DataError(what, absent[min(needed)].where, "fetch it, or leave the group out of --features")
    return files


def _tables_of(feature: Feature) -> set[str]:
    return {source.table for source in feature.measured.sources} if feature.measured else set()
