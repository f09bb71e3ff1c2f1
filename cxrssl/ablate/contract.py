"""What every arm of an ablation has in common: taken down before the first run, and looked at again before each.

In: a grid and a workspace. Out: the jobs, and a contract that is written once. Never: runs of one table that were made
by different code, of different data, or by recipes that were changed on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxrssl.ablate.grid import Grid
from cxrssl.ablate.row import Row
from cxrssl.cohort.pool import COMMA
from cxrssl.cohort.read import Cohort
from cxrssl.cohort.where import find_films
from cxrssl.core.code import hash_code, library_versions
from cxrssl.core.durable import kill_point, write_json
from cxrssl.core.errors import CxrsslError, UsageError
from cxrssl.core.lock import hold_lock
from cxrssl.core.text import count_noun, plain
from cxrssl.core.workspace import Workspace, check_name
from cxrssl.images.store import ImageStore, open_images
from cxrssl.recipe.machine import Machine
from cxrssl.records.contract import CONTRACT, Contract, DataFacts, RunFacts, read_contract
from cxrssl.train.plan import RunPlan, plan_run, with_seed
from cxrssl.train.pooled import find_split, members_of, open_data, open_films, packs_of

USUAL = Machine()
CONTRACT_LOCK = "contract.lock"
MAX_LABEL = 60
MAX_NAMED = 3


@dataclass(frozen=True)
class Job:
    """One run of the grid and its probe."""

    row: Row
    seed: int
    plan: RunPlan
    probed: tuple[Cohort, ImageStore]
    """The films that its probe is fitted and scored on."""

    @property
    def cohort(self) -> Cohort:
        """That it is probed on."""
        return self.probed[0]

    @property
    def scheme(self) -> str:
        """The split of its probe: that of the run where it was trained on this dataset, else the cohort's own."""
        plan = self.plan
        return find_split(plan.cohort, plan.scheme, self.cohort) or self.cohort.default_split

    @property
    def data(self) -> list[tuple[Cohort, ImageStore]]:
        """The cohorts that it is trained and probed on, each with its films."""
        trained = zip(members_of(self.plan.cohort), packs_of(self.plan.images), strict=True)
        return list({cohort.name: (cohort, images) for cohort, images in (*trained, self.probed)}.values())

    @property
    def run_id(self) -> str:
        return self.plan.run_id

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.row.name}, seed {self.seed}"


def plan_jobs(workspace: Workspace, grid: Grid, name: str, machine: Machine = USUAL) -> list[Job]:
    """Return all runs of a grid: the first seed of every arm before the second of any. A cohort is opened once.

    Raises: what `plan_run` raises, naming the arm; UsageError for two arms that are one run once groups are spelt out.
    """
    check_name(name, "ablation")
    films: dict[str, tuple[Cohort, ImageStore]] = {}
    plans = [_plan_row(workspace, row, name, machine, films) for row in grid.rows]
    jobs = [
        Job(row, seed, with_seed(plan, seed), films[row.cohort])
        for seed in grid.settings.seeds
        for row, plan in zip(grid.rows, plans, strict=True)
    ]
    seen: dict[str, Job] = {}
    for job in jobs:
        other = seen.setdefault(f"{job.plan.cohort.name} {job.plan.recipe.sha256}", job)
        if other is not job:
            raise UsageError(f"{plain(other.name, 120)} and {plain(job.name, 120)} are the same run")
    return jobs


def make_contract(
    grid: Grid, name: str, jobs: Sequence[Job], device: str, num_threads: int, machine: Sequence[str] = ()
) -> Contract:
    """Return what an ablation that begins now binds itself to."""
    data = {}
    for job in jobs:
        for cohort, images in job.data:
            data[cohort.name] = DataFacts(cohort.content_sha256, images.content_sha256)
    return Contract(
        name=name,
        grid=grid.text,
        has_controls=grid.has_controls,
        runs={job.run_id: _facts_of(job) for job in jobs},
        data=data,
        code=hash_code(),
        libraries=library_versions(),
        device=device,
        num_threads=num_threads,
        machine=tuple(machine),
    )


def keep_contract(folder: Path, now: Contract, runs: Sequence[Path] = ()) -> Contract:
    """Return the contract of an ablation, written now if it begins; device and threads stay those it began with.

    `runs` are the folders of its runs, of which none may be there when it begins.
    Raises: UsageError when grid, recipes, data, code or libraries are not those that it began with; when one of the
    runs is older than the contract; when another process writes it at this moment.
    """
    if not (folder / CONTRACT).exists():
        busy = UsageError(f"ablation {now.name} is begun by another process", folder, "give the same command again")
        with hold_lock(folder / CONTRACT_LOCK, busy):
            if not (folder / CONTRACT).exists():
                _check_new(now.name, runs)
                write_json(folder / CONTRACT, now.to_dict())
                kill_point("ablate-after-contract")
    began = read_contract(folder)
    changes = find_changes(began, now)
    if changes:
        what = f"ablation {began.name} began with another state: {'; '.join(changes)}"
        hint = "bring that back, or begin another ablation: --name NAME"
        raise UsageError(what, folder, hint)
    return began


def _check_new(name: str, runs: Sequence[Path]) -> None:
    """Raise UsageError for a run that is older than the contract: which code made it is not known."""
    older = next((run for run in runs if run.exists()), None)
    if older is not None:
        what = f"ablation {name} has no contract, and its run {older.name} is there: which code made it is not known"
        raise UsageError(what, older, "begin another ablation: --name NAME; or delete the run")


def check_job(contract: Contract, job: Job) -> None:
    """Raise UsageError when code, data or recipe of a run are not what the contract says, just before it is made."""
    check_code(contract)
    what = ""
    for cohort, planned in job.data:
        images = open_images(planned.path, verify=False)
        if images.cohort_sha256 != cohort.content_sha256:
            what = what or f"cohort {cohort.name} was made anew"
        elif images.content_sha256 != planned.content_sha256:
            what = what or f"the films of cohort {cohort.name} were packed anew"
    if not what and replace(job.row).setup != job.row.setup:  # a new row reads its recipe again
        what = f"the recipe of arm {plain(job.row.arm, 80)} was changed"
    if what:
        what = f"the runs of ablation {contract.name} must have the same data and recipes: {what}"
        raise UsageError(what, hint="bring it back, or begin another ablation: --name NAME")


def check_code(contract: Contract) -> None:
    """Raise UsageError when the code or a library is not what the contract says."""
    changes = _find_code_changes(contract.code, hash_code(), contract.libraries, library_versions())
    if changes:
        what = f"the runs of ablation {contract.name} must have the same code: {'; '.join(changes)}"
        raise UsageError(what, hint="bring it back, or begin another ablation: --name NAME")


def find_changes(began: Contract, now: Contract) -> list[str]:
    """Return what of grid, data, recipes, code and libraries was changed, in words."""
    changes = []
    if began.machine != now.machine:
        changes.append(f"it began with --machine {' '.join(began.machine) or 'left out'}")
    if began.has_controls != now.has_controls:
        changes.append("it began with --controls" if began.has_controls else "it began without --controls")
    elif began.grid != now.grid:
        changes.append("the grid's file was changed")
    for cohort, facts in began.data.items():
        if cohort in now.data and facts.cohort_sha256 != now.data[cohort].cohort_sha256:
            changes.append(f"the data were changed: cohort {cohort} was made anew")
        elif cohort in now.data and facts.images_sha256 != now.data[cohort].images_sha256:
            changes.append(f"the data were changed: the films of cohort {cohort} were packed anew")
    recipes = {(run.arm, run.cohort, run.seed): run.recipe_sha256 for run in began.runs.values()}
    arms = [
        run.arm
        for run in now.runs.values()
        if recipes.get((run.arm, run.cohort, run.seed), run.recipe_sha256) != run.recipe_sha256
    ]
    if arms:
        changes.append(f"the recipe of arm {_name_some(list(dict.fromkeys(arms)))} was changed")
    changes += _find_code_changes(began.code, now.code, began.libraries, now.libraries)
    if not changes and set(began.runs) != set(now.runs):
        changes.append("it has other runs")
    return changes


def _find_code_changes(
    began: Mapping[str, str], now: Mapping[str, str], libraries: Mapping[str, str], versions: Mapping[str, str]
) -> list[str]:
    files = sorted(name for name in {*began, *now} if began.get(name) != now.get(name))
    changes = [f"the code was changed: {_name_some(files)}"] if files else []
    for name in sorted({*libraries, *versions}):
        if libraries.get(name) != versions.get(name):
            changes.append(f"{name} was {libraries.get(name, 'not there')} and is {versions.get(name, 'not there')}")
    return changes


def _name_some(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(plain(name, 80) for name in names[:MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _plan_row(
    workspace: Workspace, row: Row, name: str, machine: Machine, films: dict[str, tuple[Cohort, ImageStore]]
) -> RunPlan:
    """Return the plan of the first seed of a row; its films are taken from `films`, or opened and kept there."""
    slug = "".join(char if char.isascii() and (char.isalnum() or char in "+_") else "-" for char in row.arm.lower())
    try:
        if COMMA in row.cohort:
            what = f'an arm is probed on one cohort, and "{plain(row.cohort, 120)}" are several'
            raise UsageError(what, hint=f'to pretrain on them: pretrain_on = "{plain(row.cohort, 120)}"')
        if row.cohort not in films:
            films[row.cohort] = open_films(workspace, row.cohort)
        trained_on = row.pretrain_on or row.cohort
        if trained_on not in films:
            films[trained_on] = open_data(workspace, trained_on)
        label, recipe = f"{name}.{slug}"[:MAX_LABEL], row.load(row.seeds[0])
        return plan_run(workspace, trained_on, recipe, machine, label, films[trained_on], find_films=find_films)
    except CxrsslError as error:
        error.what = f"arm {plain(row.name, 120)}: {error.what}"
        raise


def _facts_of(job: Job) -> RunFacts:
    return RunFacts(job.row.arm, job.cohort.name, job.seed, job.plan.recipe.sha256)


def describe_jobs(jobs: Sequence[Job]) -> str:
    """Return how many runs there are, and of how many arms."""
    arms = len({(job.row.arm, job.row.cohort) for job in jobs})
    return f"{count_noun(len(jobs), 'run')} of {count_noun(arms, 'arm')}"
