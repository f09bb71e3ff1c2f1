"""Conditions on films in an archive: numbers replace their words, the hash of their films, and hashes made of either.

In: what runs and evaluations of one archive are. Out: the same without a word or a hash of a condition. Two that were
equal stay so, and no others become so, also beside other archives: a number is of one archive.
Never: a hash from which who knows the films finds the one that a condition leaves out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from cxrssl.core.durable import hash_settings
from cxrssl.export.cut import name_condition
from cxrssl.records.eval_settings import EvalSettings
from cxrssl.records.run import RunDescription

_HASHED = re.compile(r"(.+-)[0-9a-f]{8}")
"""The id of an evaluation, which ends with a hash of its settings."""


@dataclass(frozen=True)
class Conditions:
    """Those of an archive, in order."""

    words: Sequence[str]
    films: Sequence[str]
    """Hashes of sets of films."""
    terms: Sequence[str]
    """Hashes of the terms of evaluations that were carried elsewhere."""
    setups: Sequence[str]
    """Hashes of the setups of runs that were trained under a condition."""
    of: str
    """What tells these numbers from those of another archive: a hash of what the archive says openly."""

    @classmethod
    def of_archive(
        cls, runs: Sequence[tuple[str, RunDescription]], evaluations: Sequence[tuple[EvalSettings, str]]
    ) -> Conditions:
        """Return those of runs, by their ids, and of evaluations, each with the hash of its scores as they leave."""
        conditional = {run_id for run_id, run in runs if run.where}
        asked = [each for each, _ in evaluations if each.probe.where]
        of_runs = (each.candidate.setup_sha256 for each, _ in evaluations if each.run_id in conditional)
        return cls(
            words=_once([*(run.where for _, run in runs), *(each.probe.where for each in asked)]),
            films=_once(each.probe.where_sha256 for each in asked),
            terms=_once(each.carried.terms_sha256 for each in asked if each.carried),
            setups=_once(of_runs),
            of=hash_settings([sha256 for _, sha256 in evaluations])[:12],
        )

    def hide(self, settings: EvalSettings) -> EvalSettings:
        """Return the settings of an evaluation with numbers in place of its condition and of what hashes one."""
        candidate, carried, probe = settings.candidate, settings.carried, settings.probe
        if candidate.setup_sha256 and candidate.setup_sha256 in self.setups:
            setup = self._name("setup", self.setups, candidate.setup_sha256)
            candidate = dataclasses.replace(candidate, setup_sha256=setup)
        if probe.where:
            shown, films = name_condition(self.words.index(probe.where)), probe.where_sha256
            number = self._name("set", self.films, films) if films else None
            probe = dataclasses.replace(probe, where=shown, where_sha256=number)
        if carried and carried.terms_sha256 in self.terms:
            carried = dataclasses.replace(carried, terms_sha256=self._name("terms", self.terms, carried.terms_sha256))
        return dataclasses.replace(settings, candidate=candidate, probe=probe, carried=carried)

    def rename(self, eval_id: str, safe: EvalSettings, place: int) -> str:
        """Return the id of an evaluation, the `place`-th, whose settings were hidden: not a hash of its own."""
        hashed = _HASHED.fullmatch(eval_id) if safe.probe.where or safe.candidate.setup_sha256 in self._setups else None
        return f"{hashed[1]}{hash_settings([self.of, safe.to_dict(), place])[:8]}" if hashed else eval_id

    @property
    def _setups(self) -> Collection[str]:
        return {self._name("setup", self.setups, each) for each in self.setups}

    def _name(self, kind: str, known: Sequence[str], sha256: str) -> str:
        return f"{kind} {known.index(sha256) + 1} of archive {self.of}"


def _once(values: Iterable[str | None]) -> Sequence[str]:
    return list(dict.fromkeys(value for value in values if value))
