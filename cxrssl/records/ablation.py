"""An ablation: a grid of runs under one contract, and the table that it ends in.

In: `ablations/<name>/{contract.json, jobs.jsonl, logs/, table/}`, where `table/` is published as
`{table.json, rows.csv, differences.csv, manifest.json}`. Out: Ablation, or what is damaged.
Never: a table of which a byte is not as it was published.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cxrssl.core.artefact import MANIFEST, open_artefact, publish, read_unexchanged
from cxrssl.core.durable import write_bytes, write_json
from cxrssl.core.errors import IntegrityError
from cxrssl.core.text import csv_text
from cxrssl.core.workspace import Workspace
from cxrssl.records.contract import Contract
from cxrssl.records.damage import Damage, refuse_faults
from cxrssl.records.fields import read_fields, write_fields
from cxrssl.records.file import read_json
from cxrssl.stats.holm import adjust_named, explain_mark, p_of_mean
from cxrssl.stats.resample import Interval, explain_marks
from cxrssl.stats.seeds import ONE_SEED

KIND = "ablation"
JOBS, LOGS, LOCK = "jobs.jsonl", "logs", "ablation.lock"
TABLE_FOLDER, TABLE = "table", "table.json"
ROWS_CSV, DIFFERENCES_CSV = "rows.csv", "differences.csv"
BASELINE, CONTROL, PRIMARY, UNTRAINED = "baseline", "control", "primary", "untrained"
Metric = Literal["auroc", "auprc"]
METRICS: tuple[Metric, ...] = ("auroc", "auprc")


@dataclass(frozen=True)
class Number:
    """A mean over seeds with an interval for other test subjects and other seeds; nan where it is not defined."""

    value: float
    lo: float
    hi: float
    sd_seeds: float
    by_seed: dict[str, float]
    num_defined: int = 0
    """Resamples of the subjects in which it is defined."""
    num_resamples: int = 0
    num_rarer: int | None = None
    """Subjects that it rests on; see `Interval`."""
    freedom: float | None = None
    """Degrees of freedom of Student's t; None of one seed, and where an older version did not record them."""

    @property
    def p_value(self) -> float:
        """Of no difference, two-sided, as the interval is; nan where there is none."""
        return p_of_mean(self.interval, len(self.by_seed), self.freedom)

    @property
    def interval(self) -> Interval:
        """It as tables show it, with the mark that its test subjects give it."""
        return Interval(self.value, self.lo, self.hi, self.num_defined, self.num_resamples, self.num_rarer)


@dataclass(frozen=True)
class ArmRow:
    """An arm on a cohort."""

    arm: str
    cohort: str
    num_seeds: int
    """Of those declared, how many are done."""
    auroc: Number
    auprc: Number
    num_films: int
    num_subjects: int


@dataclass(frozen=True)
class DifferenceRow:
    """By how much one arm is better than another on the same test films."""

    arm: str
    against: str
    cohort: str
    why: str
    """PRIMARY, declared beforehand; or exploratory: against the BASELINE, a CONTROL with the wrong record, or the
    UNTRAINED encoder."""
    auroc: Number
    auprc: Number


@dataclass(frozen=True)
class AblationTable:
    """table.json: what an ablation found; rows by place, in the order of the grid."""

    question: str
    metric: Metric
    """Of the primary comparison."""
    min_difference: float
    """Smallest difference that would matter; 0 where none was declared."""
    seeds: tuple[str, ...]
    rows: dict[str, ArmRow]
    differences: dict[str, DifferenceRow]
    """The primary comparison first, where both of its arms are done."""
    missing: tuple[str, ...]
    """Runs that are not done, in words; differences of their arms are left out."""
    remarks: tuple[str, ...] = ()
    """How the numbers were made where that is not by the test films alone: folds, and which runs saw their films."""

    @property
    def primary(self) -> DifferenceRow | None:
        """The primary comparison, None while one of its arms is not done."""
        return next((each for each in self.differences.values() if each.why == PRIMARY), None)

    def number_of(self, row: ArmRow | DifferenceRow) -> Number:
        """Return the number of a row in the metric of the primary comparison."""
        number: Number = getattr(row, self.metric)
        return number

    def adjust(self, metric: Metric) -> dict[str, float]:
        """Return the p-value of each exploratory difference by its place, adjusted for their number.

        The family is all differences in this metric but the primary comparison, which was declared; in the other metric
        that pair is one of them.
        """
        declared = self.primary if metric == self.metric else None
        others = {place: row for place, row in self.differences.items() if row is not declared}
        return adjust_named({place: getattr(row, metric).p_value for place, row in others.items()})

    def describe_primary(self) -> str:
        """Return the primary comparison with its interval, or that it could not be made."""
        primary = self.primary
        if primary is None:
            return "primary comparison: not made, because runs of its arms are missing"
        shown = self.number_of(primary).interval.to_text(signed=True)
        return (
            f"primary comparison, declared beforehand: {primary.arm} - {primary.against} on {primary.cohort}, "
            f"macro {self.metric.upper()} {shown}"
        )

    def list_notes(self) -> list[str]:
        """Return what a reader must know of the numbers: their marks, remarks, and what is missing."""
        notes = [ONE_SEED] if any(row.num_seeds == 1 for row in self.rows.values()) else []
        rows: list[ArmRow | DifferenceRow] = [*self.rows.values(), *self.differences.values()]
        notes += explain_marks(self.number_of(row).interval for row in rows)
        family = explain_mark(list(self.adjust(self.metric).values()), "differences that are not primary")
        notes += [family] if family else []
        return [*notes, *(f"note: {each}" for each in self.remarks), *(f"missing: {each}" for each in self.missing)]

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)


@dataclass(frozen=True)
class Ablation:
    """A published table with the contract that it was made under."""

    name: str
    contract: Contract
    table: AblationTable
    path: Path


def place_name(place: int) -> str:
    """Return the key of a row: keys are sorted in JSON, and these stay in order."""
    return f"{place:04d}"


def publish_table(folder: Path, contract: Contract, table: AblationTable) -> Path:
    """Publish the table of an ablation, in the place of an older one."""
    path = folder / TABLE_FOLDER
    with publish(path, KIND, {"contract": contract.to_dict()}) as building:
        write_json(building / TABLE, table.to_dict())
        write_bytes(building / ROWS_CSV, _rows_csv(table))
        write_bytes(building / DIFFERENCES_CSV, _differences_csv(table))
    return path


def open_ablation(folder: Path) -> Ablation:
    """Return the published table of an ablation, every byte of it verified. Raises: IntegrityError."""
    return read_unexchanged(folder / TABLE_FOLDER, lambda: _open_ablation(folder))


def list_ablations(workspace: Workspace) -> tuple[list[Ablation], list[Damage]]:
    """Return the ablations of a workspace that have a table, by name, and those whose table is damaged."""
    found, damage = [], []
    for name in workspace.ablation_names():
        folder = workspace.ablations / name
        if not (folder / TABLE_FOLDER).is_dir():
            continue
        try:
            found.append(open_ablation(folder))
        except IntegrityError as error:
            damage.append(Damage(KIND, name, error.what))
    return found, damage


def _open_ablation(folder: Path) -> Ablation:
    artefact = open_artefact(folder / TABLE_FOLDER, KIND)
    faults = [f"does not list {TABLE}"] if TABLE not in artefact.manifest["files"] else []
    contract = read_fields(Contract, artefact.settings.get("contract"), faults, "contract")
    refuse_faults(MANIFEST, faults, str(folder))
    table = read_fields(AblationTable, read_json(folder / TABLE_FOLDER / TABLE), faults)
    refuse_faults(TABLE, faults, str(folder))
    return Ablation(folder.name, contract, table, folder / TABLE_FOLDER)


NUMBER_COLUMNS = ("value", "lo", "hi", "sd_seeds")


def _rows_csv(table: AblationTable) -> bytes:
    head = ["arm", "cohort", "num_seeds", "num_films", "num_subjects", *_number_head(table)]
    lines = [
        [row.arm, row.cohort, row.num_seeds, row.num_films, row.num_subjects, *_number_cells(table, row)]
        for row in table.rows.values()
    ]
    return _to_csv(head, lines)


def _differences_csv(table: AblationTable) -> bytes:
    p_values = [f"{metric}_{column}" for metric in METRICS for column in ("p", "p_holm")]
    head = ["arm", "against", "cohort", "why", *_number_head(table), *p_values]
    adjusted = {metric: table.adjust(metric) for metric in METRICS}
    lines: list[list[object]] = []
    for place, row in table.differences.items():
        both = [(getattr(row, metric).p_value, adjusted[metric].get(place, math.nan)) for metric in METRICS]
        tests = [_or_blank(value) for pair in both for value in pair]
        lines.append([row.arm, row.against, row.cohort, row.why, *_number_cells(table, row), *tests])
    return _to_csv(head, lines)


def _number_head(table: AblationTable) -> list[str]:
    columns = (*NUMBER_COLUMNS, *(f"seed_{seed}" for seed in table.seeds))
    return [f"{metric}_{column}" for metric in METRICS for column in columns]


def _number_cells(table: AblationTable, row: ArmRow | DifferenceRow) -> list[object]:
    cells: list[object] = []
    for number in (row.auroc, row.auprc):
        cells += [getattr(number, column) for column in NUMBER_COLUMNS]
        cells += [number.by_seed.get(seed, "") for seed in table.seeds]
    return [_or_blank(cell) for cell in cells]


def _or_blank(cell: object) -> object:
    return "" if cell != cell else cell


def _to_csv(head: list[str], lines: list[list[object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([csv_text(cell) if isinstance(cell, str) else cell for cell in line] for line in lines)
    return text.getvalue().encode()
