"""[labels] of a map: a column a finding, or one column that names the findings which are present."""

from __future__ import annotations

from typing import Any

from cxrssl.cohort.features import RECORDED
from cxrssl.cohort.maps.declared import LabelMap
from cxrssl.cohort.maps.values import as_table, cells_of
from cxrssl.core.config import build_settings
from cxrssl.core.errors import ConfigError
from cxrssl.core.text import nearest_hint, plain

MAX_NAME = 100
"""Characters of a finding's name."""
TAKEN = {
    *("id", "line", "image_id", "study_id", "subject_id", "path", "taken_at", "link_status", "hadm_id", "stay_id"),
    *("ed_stay_id", "gap_h", "macro"),
    *(name for feature in RECORDED for name in (feature.column, feature.censored) if name),
}
"""Columns of a cohort's films and of the tables here, and the word of a mean over findings."""
OF_LIST = ("separators", "normal", "unknown", "open", "words", "implies")
OF_COLUMNS = ("present", "absent", "uncertain")


def build_labels(values: dict[str, Any], is_folder: bool) -> LabelMap:
    """Return [labels]; in the map of a folder, without a file they are in the table of films.

    Raises: ConfigError.
    """
    given = values.pop("findings", {})
    words = _lists(values.pop("words", {}), "words")
    implies = _lists(values.pop("implies", {}), "implies")
    labels = build_settings(LabelMap, values, "labels")
    for key, value in (("file", labels.file), ("column", labels.column)):
        if not value and (not is_folder or labels.file or labels.column):
            raise ConfigError(f'[labels] needs the key "{key}"')
    useless = OF_COLUMNS if labels.list else OF_LIST
    for key in [*values, *(["words"] if words else []), *(["implies"] if implies else [])]:
        if key in useless:
            what = f'[labels] has the key "{key}", which has no effect {"with" if labels.list else "without"} "list"'
            raise ConfigError(what, hint=f"leave {key} out")
    findings = _findings(given, labels)
    _check_words(labels)
    for key, lists in (("words", words), ("implies", implies)):
        for name in (*lists, *(each for cells in implies.values() for each in cells)):
            if name not in findings:
                what = f'"labels.{key}" names "{plain(name, 60)}", which is no finding here'
                raise ConfigError(what, hint=nearest_hint(name, findings))
    for name in labels.open:
        if name not in findings:
            what = f'"labels.open" names "{plain(name, 60)}", which is no finding here'
            raise ConfigError(what, hint=nearest_hint(name, findings))
    return LabelMap(**{**vars(labels), "findings": findings, "words": words, "implies": implies})


def _lists(value: Any, key: str) -> dict[str, tuple[str, ...]]:
    table = as_table(value, f"labels.{key}")
    return {name: cells_of(cells, f"labels.{key}.{name}") for name, cells in table.items()}


def _findings(given: Any, labels: LabelMap) -> dict[str, str]:
    if isinstance(given, list):
        names = cells_of(given, "labels.findings")
        findings: dict[str, Any] = {name: "" if labels.list else name for name in names}
        if len(findings) < len(names):
            raise ConfigError('"labels.findings" names a finding twice')
    else:
        findings = as_table(given, "labels.findings")
        if labels.list and findings:
            raise ConfigError('"labels.findings" must be a list of names, with the key "list"')
    if not findings:
        hint = 'write findings = ["Edema"]' if labels.list else 'write a line such as Edema = "column"'
        raise ConfigError("[labels.findings] names no finding", hint=hint)
    for finding, column in findings.items():
        if not isinstance(column, str) or not (column or labels.list):
            raise ConfigError(f'"labels.findings.{plain(finding, 60)}" must be the name of a column')
        _check_finding(finding, column, labels)
    return findings


def _check_finding(name: str, column: str, labels: LabelMap) -> None:
    """Raise ConfigError for a name that a cohort's tables have a column of already, or that no table can show."""
    shown = plain(name, 60)
    if name.lower() in TAKEN or name.startswith("split_"):
        what = f'a finding cannot be named "{shown}", as a column of every cohort is'
        raise ConfigError(what, hint=f'choose another name, such as "{shown} (finding)"')
    if name != plain(name, MAX_NAME) or not name.strip() or name != name.strip():
        raise ConfigError(
            f'a finding cannot be named "{shown}"', hint=f"write 1 to {MAX_NAME} characters of plain text"
        )
    if column and column == labels.column:
        raise ConfigError(f'"labels.findings.{shown}" is the column of ids', hint="name the column of the finding")


def _check_words(labels: LabelMap) -> None:
    words = [*labels.present, *labels.absent, *labels.uncertain]
    twice = [word for word in words if words.count(word) > 1]
    if twice:
        raise ConfigError(f'"{plain(twice[0], 60)}" means two things in [labels]', hint="present, absent or uncertain?")
