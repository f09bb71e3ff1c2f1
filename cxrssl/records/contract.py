"""contract.json of an ablation: what all runs of its grid have in common, written once, before the first of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxrssl.records.damage import refuse_faults
from cxrssl.records.fields import read_fields, write_fields
from cxrssl.records.file import read_json

CONTRACT = "contract.json"


@dataclass(frozen=True)
class RunFacts:
    """One run of the grid."""

    arm: str
    cohort: str
    seed: int
    recipe_sha256: str


@dataclass(frozen=True)
class DataFacts:
    """What a cohort held when the ablation began."""

    cohort_sha256: str
    images_sha256: str


@dataclass(frozen=True)
class Contract:
    """contract.json: what every arm of an ablation has in common, written before its first run."""

    name: str
    grid: str
    """The text of the grid's file, with its primary comparison."""
    has_controls: bool
    """Whether `--controls` added wrong-record arms."""
    runs: dict[str, RunFacts]
    """By run_id."""
    data: dict[str, DataFacts]
    """By cohort."""
    code: dict[str, str]
    """SHA-256 of each file of the package that may change a number."""
    libraries: dict[str, str]
    device: str
    """cpu or cuda."""
    num_threads: int
    """Of each run on the CPU, where they change last digits."""
    machine: tuple[str, ...] = ()
    """Other settings of the machine, as `--machine` gave them."""

    def to_dict(self) -> dict[str, Any]:
        return write_fields(self)


def read_contract(folder: Path) -> Contract:
    """Return the contract of an ablation. Raises: IntegrityError."""
    faults: list[str] = []
    contract = read_fields(Contract, read_json(folder / CONTRACT), faults)
    refuse_faults(CONTRACT, faults, str(folder))
    return contract
