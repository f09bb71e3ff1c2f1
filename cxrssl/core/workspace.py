"""Where everything that is written lies: one folder, with a fixed place for each kind of artefact."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxrssl.core.columns import ELLIPSIS
from cxrssl.core.durable import renamed_os_errors, write_bytes
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.text import few_nearest, nearest_hint, plain

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_+.-]{0,119}")

MARKER = ".cxrssl-workspace"
"""Says of a folder that it is a workspace; those of earlier versions have none."""
SIGNS = (
    "experiments.duckdb",
    "runs/*/run.json",
    "checks/*.jsonl",
    *(f"{name}/*/manifest.json" for name in ("cohorts", "images", "checks", "stages", "features", "evals", "reports")),
)
"""What a workspace without a marker is known by."""
MOST_RUNS = 6
"""Runs that a hint lists; of more it names the nearest."""
FOLDERS = (
    "cohorts",
    "images",
    "checks",
    "stages",
    "pairs",
    "exports",
    "runs",
    "jobs",
    "features",
    "evals",
    "comparisons",
    "ablations",
    "groups",
    "learning",
    "reports",
    "tracebacks",
    "compiled",
)


@dataclass(frozen=True)
class Workspace:
    """The folder given by `--workspace` or CXRSSL_WORKSPACE."""

    root: Path

    @property
    def cohorts(self) -> Path:
        return self.root / "cohorts"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def checks(self) -> Path:
        """What was verified against the publishers' checksums, and journals of checks under way."""
        return self.root / "checks"

    @property
    def stages(self) -> Path:
        """Rows of large tables of events that cohorts need, by the hash of both."""
        return self.root / "stages"

    @property
    def pairs(self) -> Path:
        """Which films of two packs look the same, by the hash of both."""
        return self.root / "pairs"

    @property
    def exports(self) -> Path:
        """Cohorts and encoders in the formats of others."""
        return self.root / "exports"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def jobs(self) -> Path:
        """Batch scripts and logs of SLURM jobs, by run."""
        return self.root / "jobs"

    @property
    def features(self) -> Path:
        """What encoders made of packed films, by the hash of both."""
        return self.root / "features"

    @property
    def evals(self) -> Path:
        return self.root / "evals"

    @property
    def comparisons(self) -> Path:
        """Paired differences of two evaluations."""
        return self.root / "comparisons"

    @property
    def ablations(self) -> Path:
        """Grids of runs, each with its contract and its table."""
        return self.root / "ablations"

    @property
    def groups(self) -> Path:
        """Means over the seeds of evaluations that differ in the seed alone."""
        return self.root / "groups"

    @property
    def learning(self) -> Path:
        """Learning curves: means over draws of a share of the labels."""
        return self.root / "learning"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def tracebacks(self) -> Path:
        """Of bugs, one file each."""
        return self.root / "tracebacks"

    @property
    def store(self) -> Path:
        """The derived DuckDB store of all experiments."""
        return self.root / "experiments.duckdb"

    def create(self) -> Workspace:
        """Make the folder, or raise SetupError when that is not allowed."""
        with renamed_os_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        return self

    def claim(self) -> Workspace:
        """Make the folder if it is not there. Raises: UsageError when it holds other things, SetupError."""
        self.create().check()
        return self

    def mark(self) -> None:
        """Leave a file that says that this is a workspace, whatever else will lie in it."""
        marker = self.root / MARKER
        if not marker.exists():
            write_bytes(marker, b"A workspace of cxrssl: see cxrssl help workspace\n")

    def check(self) -> None:
        """Raise UsageError if the folder is neither a workspace, marked or to be known by what it holds, nor empty."""
        if (self.root / MARKER).exists() or any(True for sign in SIGNS for _ in self.root.glob(sign)):
            return
        others = [path.name for path in sorted(self.root.iterdir()) if not _may_be_begun(path)]
        if others:
            names = ", ".join(plain(name, 40) for name in others[:3])
            more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
            what = f"this folder is no workspace: it holds {names}{more}"
            raise UsageError(what, self.root, "name a workspace, or a new folder for one, with --workspace")

    def cohort_names(self) -> list[str]:
        """Names of the published cohorts."""
        return _child_names(self.cohorts)

    def run_ids(self) -> list[str]:
        """Ids of all runs, oldest name first."""
        return _child_names(self.runs)

    def job_names(self) -> list[str]:
        """Names of all runs that jobs of SLURM were submitted for."""
        return _child_names(self.jobs)

    def eval_ids(self) -> list[str]:
        """Ids of all evaluations."""
        return _child_names(self.evals)

    def comparison_ids(self) -> list[str]:
        """Ids of all comparisons."""
        return _child_names(self.comparisons)

    def ablation_names(self) -> list[str]:
        """Names of all ablations."""
        return _child_names(self.ablations)

    def group_ids(self) -> list[str]:
        """Ids of all groups of seeds."""
        return _child_names(self.groups)

    def find_cohort(self, name: str) -> Path:
        """Return the folder of a published cohort; an empty name means the only one there is."""
        names = self.cohort_names()
        if not names:
            raise DataError("the workspace holds no cohort", self.root, "make one: cxrssl ingest mimic PATH")
        if not name and len(names) == 1:
            return self.cohorts / names[0]
        if not name:
            raise UsageError(f"which cohort? the workspace holds {', '.join(names)}", hint="name one of them")
        if name not in names:
            raise UsageError(f'no cohort "{plain(name)}" in this workspace', self.root, nearest_hint(name, names))
        return self.cohorts / name

    def find_run(self, run_id: str, or_job: bool = False, may_be_short: bool = True) -> Path:
        """Return the folder of a run by its id, or by an unambiguous beginning of it, up to a hyphen first.

        A name may also be as a narrow table shows it, with an ellipsis for what was left out, if it `may_be_short`.
        With `or_job` also where a run will be whose first job of SLURM waits.
        """
        runs = sorted({*self.run_ids(), *self.job_names()}) if or_job else self.run_ids()
        whole = [name for name in runs if name == run_id]
        # "demo-msn" is demo-msn-vit-... and not demo-msn+demo-vit-...
        matches = whole or [name for name in runs if name.startswith(f"{run_id}-")]
        matches = matches or [name for name in runs if name.startswith(run_id)]
        is_short = not matches and ELLIPSIS in run_id
        if is_short and may_be_short:
            patterns = map(re.compile, _patterns_of(run_id))
            found = ([name for name in runs if pattern.fullmatch(name)] for pattern in patterns)
            matches = next(filter(None, found), [])
        if len(matches) == 1:
            return self.runs / matches[0]
        if matches:
            what = "short for" if is_short else "the beginning of"
            raise UsageError(f'"{plain(run_id)}" is {what} {len(matches)} runs', hint=few_nearest(run_id, matches))
        hint = nearest_hint(run_id, runs, MOST_RUNS) if runs else "make one: cxrssl pretrain"
        raise UsageError(f'no run "{plain(run_id)}" in this workspace', self.runs, hint)


def _patterns_of(shown: str) -> Iterator[str]:
    """Yield patterns of the names that may be shortened like this, the most likely first.

    An ellipsis at the end replaces the digest of the recipe. Another one replaces whole parts, first after a hyphen,
    then after any separator, then any characters. In the last pattern each replaces any characters.
    """
    parts = [re.escape(part) for part in shown.split(ELLIPSIS)]
    start, end = (".*[-+._]" if not parts[0] else "", "-[0-9a-f]+" if not parts[-1] else "")
    words = [part for part in parts if part]
    for separator in ("-", "[-+._]"):
        yield start + rf"{separator}(?:.*[-+._])?".join(words) + end
    anything = ".*".join(parts)
    yield anything.removesuffix(".*") + end
    yield anything


def check_name(name: str, what: str) -> str:
    """Return `name` if it is safe as a folder name, else raise UsageError."""
    if not NAME_PATTERN.fullmatch(name):
        hint = "lower-case letters, digits and . _ + - only"
        article = "an" if what[0] in "aeiou" else "a"
        raise UsageError(f'"{plain(name, 80)}" cannot be the name of {article} {what}', hint=hint)
    return name


def _may_be_begun(path: Path) -> bool:
    """Return whether it is hidden, or one of the workspace's folders that is empty: a command was killed early."""
    if path.name.startswith("."):
        return True
    return path.name in FOLDERS and path.is_dir() and all(child.name.startswith(".") for child in path.iterdir())


def _child_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
