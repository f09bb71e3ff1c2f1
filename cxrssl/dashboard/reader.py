"""The files of a workspace, read again and again: a second reading opens only what has changed.

In: a workspace. Out: DashboardState. Never: a write, or an exception for what a file contains.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from cxrssl.cohort.read import Cohort
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.courses import BUDGET_S, Courses
from cxrssl.dashboard.detail import (
    RunDetail,
    describe_audit,
    find_console,
    list_settings,
    make_detail,
    measure_disk,
    read_console,
)
from cxrssl.dashboard.kept import Kept
from cxrssl.dashboard.people import CohortDetail, CohortFolder, describe
from cxrssl.dashboard.probes import AblationFolder, NotesFile, ProbeFolder
from cxrssl.dashboard.rows import add_measures, epoch_of, make_ablation_row, make_run_row, value_text
from cxrssl.dashboard.seen import FilmDetail, Pack, describe_film
from cxrssl.dashboard.state import AblationRow, CurvesState, DashboardState, ProbeRow, RunRow
from cxrssl.dashboard.study import Study, make_study
from cxrssl.records.cohorts import find_datasets
from cxrssl.records.comparison import ComparisonReader
from cxrssl.records.curve import Curve, RunHistory
from cxrssl.records.damage import Damage
from cxrssl.records.evaluation import Evaluation
from cxrssl.records.reader import RunReader, RunRecord
from cxrssl.records.tail import PIECE_BYTES
from cxrssl.results.listing import row_of, scores_by_run
from cxrssl.results.show import describe_run

NUM_HISTORIES = 14
"""How many recently drawn runs keep their curves in memory."""
NUM_POINTS = 8000
"""Buckets of a curve: some for every dot column of a wide screen, when it is zoomed too."""


class Reader:
    """Remembers what it has read."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = threading.Lock()
        self._runs: dict[str, RunReader] = {}
        self._probes: dict[str, ProbeFolder] = {}
        self._ablations: dict[str, AblationFolder] = {}
        self._packs: dict[str, Pack] = {}
        self._film: tuple[object, FilmDetail] | None = None
        self._cohorts: dict[str, CohortFolder] = {}
        self._described: tuple[tuple[Cohort, ...], CohortDetail] | None = None
        self._known_ids: tuple[str, ...] = ()
        self._courses = Courses()
        self._rows: dict[str, Kept[RunRow]] = {}
        self._measured: dict[str, Kept[RunRow]] = {}
        self._curves: dict[tuple[str, str], Kept[Curve | None]] = {}
        self._notes: dict[str, NotesFile] = {}
        self._comparisons = ComparisonReader(workspace)
        self._histories: OrderedDict[str, RunHistory] = OrderedDict()

    def read_state(
        self, focused_id: str = "", metric: str = "loss", max_bytes: int = PIECE_BYTES, budget_s: float = BUDGET_S
    ) -> DashboardState:
        """Return the state now, with the curve of `metric` of one run (the one that started last if none is named).

        Of journals it reads so many bytes for the curve, and for so long for what the table shows of them.
        """
        with self._lock:
            problems: list[str] = []
            probes = self._read_probes(problems)
            by_candidate: dict[str, list[ProbeRow]] = {}
            for probe in probes:
                by_candidate.setdefault(probe.candidate_id, []).append(probe)
            runs, read_frac = self._add_courses(self._read_runs(problems), metric, by_candidate, budget_s)
            problems += [damage.sentence for damage in self._comparisons.poll()]
            ablations = self._read_ablations(runs, problems)
            state = DashboardState(str(self.workspace.root), runs, probes, ablations, tuple(problems), read_frac)
            self._known_ids = tuple(run.run_id for run in runs)
            state = replace(state, is_reading=read_frac < 1.0)
            focused = state.find_run(focused_id) or (runs[0] if runs else None)
            return self._add_curve(state, focused.run_id, metric, max_bytes) if focused else state

    def _read_runs(self, problems: list[str]) -> list[RunRow]:
        run_ids = self.workspace.run_ids()
        self._runs = {run_id: self._runs.get(run_id) or RunReader(self.workspace.runs / run_id) for run_id in run_ids}
        records = [record for record in (reader.poll() for reader in self._runs.values()) if record is not None]
        problems += [damage.sentence for reader in self._runs.values() for damage in reader.damage]
        evaluations = scores_by_run(folder.evaluation for folder in self._probes.values() if folder.evaluation)
        rows = (self._make_row(record, evaluations.get(record.run_id, ())) for record in records)
        return sorted(rows, key=lambda row: (-(row.started_at or 0.0), row.run_id))

    def _make_row(self, record: RunRecord, evaluations: Sequence[Evaluation]) -> RunRow:
        notes = self._notes.setdefault(record.run_id, NotesFile(record.folder)).poll()
        now = time.time()

        def make() -> RunRow:
            fields = row_of(record, notes, evaluations, now)
            return replace(make_run_row(record), fields=fields, tags=notes.tags, note=notes.note)

        # Once a minute a run is a minute older.
        key = record, notes, tuple(evaluations), now // 60
        return self._rows.setdefault(record.run_id, Kept()).get(key, make)

    def _add_courses(
        self, runs: Sequence[RunRow], metric: str, probes: Mapping[str, Sequence[ProbeRow]], budget_s: float
    ) -> tuple[tuple[RunRow, ...], float]:
        """Return the runs with what journals and probes say, as far as these are read, and how far they are."""
        order = sorted(runs, key=lambda run: run.state != "running")
        folders = {run.run_id: (self.workspace.runs / run.run_id, (run.step, run.logged_at)) for run in order}
        read_frac = self._courses.read(folders, budget_s)
        measured = []
        for run in runs:
            measures, trend = self._courses.measures(run.run_id), self._courses.trend(run.run_id, metric)
            own = tuple(probes.get(run.run_id, ()))
            make = partial(add_measures, run, measures, trend, own)
            key = run, run.fields, measures, trend, own  # two runs are equal whatever their fields are
            measured.append(self._measured.setdefault(run.run_id, Kept()).get(key, make))
        return tuple(measured), read_frac

    def _read_probes(self, problems: list[str]) -> tuple[ProbeRow, ...]:
        folders = {name: self.workspace.evals / name for name in self.workspace.eval_ids()}
        self._probes = {name: self._probes.get(name) or ProbeFolder(folder) for name, folder in folders.items()}
        datasets = find_datasets(self.workspace)
        read = [folder.poll(datasets) for folder in self._probes.values()]
        problems += [each.sentence for each in read if isinstance(each, Damage)]
        return tuple(each for each in read if isinstance(each, ProbeRow))

    def _read_ablations(self, runs: Sequence[RunRow], problems: list[str]) -> tuple[AblationRow, ...]:
        folders = {name: self.workspace.ablations / name for name in self.workspace.ablation_names()}
        self._ablations = {name: self._ablations.get(name) or AblationFolder(path) for name, path in folders.items()}
        read = [(name, folder.poll()) for name, folder in self._ablations.items()]
        problems += [each.sentence for _, each in read if isinstance(each, Damage)]
        return tuple(make_ablation_row(name, *each, runs) for name, each in read if isinstance(each, tuple))

    @property
    def known_ids(self) -> tuple[str, ...]:
        """The runs that were last read, the one that started last first."""
        return self._known_ids

    def read_detail(self, run_id: str, pinned: str = "") -> RunDetail:
        """Return a run in full, its recipe beside that of the pinned run; the last that started if none is named."""
        state = self.read_state(run_id)
        run = state.find_run(run_id) or (state.runs[0] if state.runs else None)
        if run is None:
            return RunDetail()
        with self._lock:
            record = self._runs[run.run_id].poll()
            evaluations = [folder.evaluation for folder in self._probes.values() if folder.evaluation]
        if record is None:
            return RunDetail()
        own = [each for each in evaluations if each.settings.candidate_id == run.run_id]
        other = state.find_run(pinned) if pinned != run.run_id else None
        report = describe_run(self.workspace, record, self._notes[run.run_id].poll(), None)
        different = {key: value_text(value) for key, _, value in report.differences}
        console = find_console(self.workspace, run.run_id, [each.name for each in state.ablations_of(run)])
        probes = tuple(probe for probe in state.probes if probe.candidate_id == run.run_id)
        return make_detail(
            run,
            report,
            against=other.run_id if other else f"default of {run.objective}",
            settings=tuple(list_settings(run, different, other.recipe if other else {})),
            audit=describe_audit(probes, [each.settings.leak for each in own], run),
            probes=probes,
            latest=state.latest_of(run),
            console=read_console(console),
            console_path=str(console or ""),
            disk_bytes=measure_disk(record.folder),
            is_reading=state.is_reading,
        )

    def read_cohort(self, name: str = "") -> CohortDetail:
        """Return a cohort in counts; the first if none is named, or there is none of this name."""
        names = tuple(self.workspace.cohort_names())
        if not names:
            return CohortDetail()
        name = name if name in names else names[0]
        with self._lock:
            self._cohorts = {
                each: self._cohorts.get(each) or CohortFolder(self.workspace.cohorts / each) for each in names
            }
            read = {each: folder.poll() for each, folder in self._cohorts.items()}
            chosen = read.pop(name)
            others = {each: cohort for each, cohort in read.items() if isinstance(cohort, Cohort)}
            if isinstance(chosen, str):
                return CohortDetail(names, name, problem=chosen)
            if self._described is None or self._described[0] != (chosen, *others.values()):
                self._described = (chosen, *others.values()), describe(names, chosen, others)
            return self._described[1]

    def read_film(self, name: str, row: int, run_id: str = "", has_run: bool = False) -> FilmDetail:
        """Return a film of a cohort with what the probe of a run, or any that scored it, predicted.

        With `has_run` the run is named whose views of it can be shown.
        """
        names = tuple(self.workspace.cohort_names())
        if not names:
            return FilmDetail()
        name = name if name in names else names[0]
        with self._lock:
            folder = self._cohorts.setdefault(name, CohortFolder(self.workspace.cohorts / name))
            cohort = folder.poll()
            pack = self._packs.setdefault(name, Pack(self.workspace.images / name))
            images = pack.poll() if isinstance(cohort, Cohort) else ""
            if not isinstance(cohort, Cohort):
                return FilmDetail(name, problem=cohort)
            if isinstance(images, str):
                return FilmDetail(name, 0, len(cohort), problem=images)
            if not self._probes:
                self._read_probes([])
            known = [folder.evaluation for folder in self._probes.values() if folder.evaluation]
        found = [each for each in known if each.settings.cohort == name and each.settings.probe.is_whole]
        found.sort(key=lambda each: (each.settings.candidate_id != run_id, each.settings.kind != "run"))
        best = found[0] if found else None
        key = (cohort, images, row, best.eval_id if best else "")
        if self._film is None or self._film[0] != key:
            label = f"{best.settings.label} ({best.settings.candidate_id})" if best else ""
            self._film = key, describe_film(cohort, images, row, best, label)
        run = self._run_of(name, run_id) if has_run else None
        return replace(self._film[1], run_id=run.run_id, epoch=epoch_of(run)) if run else self._film[1]

    def _run_of(self, cohort: str, run_id: str) -> RunRow | None:
        """Return this run, if it is of the cohort, or the one of the cohort that started last."""
        with self._lock:
            runs = [run for run in self._read_runs([]) if cohort in {name for name, _ in run.places}]
        return next((run for run in runs if run.run_id == run_id), runs[0] if runs else None)

    def read_study(self, name: str = "", pinned: str = "", metric: str = "") -> Study:
        """Return an ablation; the first that has a table if none is named, or there is none of this name."""
        state = self.read_state()
        with self._lock:
            read = {each: folder.poll() for each, folder in self._ablations.items()}
            evaluations = [folder.evaluation for folder in self._probes.values() if folder.evaluation]
        found = {each: value for each, value in read.items() if isinstance(value, tuple)}
        names = sorted(found, key=lambda each: (found[each][1] is None, each))
        if not names:
            return Study()
        name = name if name in found else names[0]
        return make_study(names, name, *found[name], state.runs, evaluations, pinned, metric)

    def read_curves(self, run_ids: Sequence[str], pinned: str, metrics: Sequence[str], num_most: int) -> CurvesState:
        """Return the curves of these metrics of the first `num_most` of these runs that there are."""
        state = self.read_state(run_ids[0] if len(run_ids) == 1 else "", metrics[0])
        found = [run for run in (state.find_run(run_id) for run_id in run_ids) if run is not None]
        drawn = tuple(found[:num_most]) or state.runs[:1]
        with self._lock:
            histories = {run.run_id: self._poll_history(run.run_id, PIECE_BYTES) for run in drawn}
        curves = {
            (run_id, metric): curve
            for run_id, history in histories.items()
            for metric in metrics
            if (curve := self._curve(run_id, metric, history)) is not None
        }
        names = dict.fromkeys(name for history in histories.values() for name in history.history.metrics)
        is_reading = state.is_reading or any(history.read_frac < 1.0 for history in histories.values())
        return CurvesState(drawn, state.find_run(pinned), len(found), tuple(names), curves, is_reading)

    def _poll_history(self, run_id: str, max_bytes: int) -> RunHistory:
        history = self._histories.pop(run_id, None) or RunHistory(self.workspace.runs / run_id, NUM_POINTS)
        self._histories[run_id] = history
        while len(self._histories) > NUM_HISTORIES:
            gone, _ = self._histories.popitem(last=False)
            self._curves = {key: kept for key, kept in self._curves.items() if key[0] != gone}
        history.poll(max_bytes)
        return history

    def _curve(self, run_id: str, metric: str, history: RunHistory) -> Curve | None:
        """Return a curve, the same one as long as nothing was logged."""
        known = history.history
        last = float(known.x_N3[-1, 0]) if len(known.x_N3) else -1.0
        key = known, last, history.read_frac, known.latest.get(metric)
        make = partial(known.curve, run_id, metric, history.read_frac)
        return self._curves.setdefault((run_id, metric), Kept()).get(key, make)

    def _add_curve(self, state: DashboardState, run_id: str, metric: str, max_bytes: int) -> DashboardState:
        history = self._poll_history(run_id, max_bytes)
        known = history.history
        curve = self._curve(run_id, metric, history)
        is_reading = state.is_reading or history.read_frac < 1.0
        return replace(
            state, metrics=tuple(known.metrics), curve=curve, latest=dict(known.latest), is_reading=is_reading
        )
