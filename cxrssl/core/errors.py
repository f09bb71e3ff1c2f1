"""The exception family: each error says what is wrong, where, and what to do; the command line makes it an exit code.

    CxrsslError(what, where, hint)  exit
     +- UsageError                     2    the workspace holds two cohorts; which one?
     |   `- ConfigError                2    unknown key "mask_fraction" in [objective]; nearest is "mask_frac"
     +- DataError                      3    hosp/patients.csv.gz is missing
     |   +- IntegrityError             3    films.npz is damaged: its SHA-256 does not match the manifest
     |   |   `- FormatError            3    written by a newer cxrssl
     |   +- DecodeError(rule)          3    one film; bulk work counts it, names it in rejects.csv and leaves it out
     |   `- LeakageError               3    the run was pretrained on test films
     +- SetupError                     4    12.1 GiB free on the disk, 94 GiB needed
     +- GuardStop                      5    the loss is not finite at step 4,120; no weight was changed by it
     `- Preempted                     75    stopped by SIGTERM; run the same command to resume; 130 after Ctrl-C
    any other exception                1    a bug: the traceback goes to a file whose path is printed

A mistake that a user can cause raises one of these; one that only a programmer can make is an `assert` with words.
"""

from __future__ import annotations

import signal
from pathlib import Path


class CxrsslError(Exception):
    """An error with one clear sentence, a place and a hint."""

    exit_code = 1

    def __init__(self, what: str, where: str | Path = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = str(where)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} ({self.where})" if self.where else self.what


class UsageError(CxrsslError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class ConfigError(UsageError):
    """A recipe or machine setting is unknown, of the wrong type or out of range."""


class DataError(CxrsslError):
    """The data are missing, malformed or inconsistent."""

    exit_code = 3


class IntegrityError(DataError):
    """A published file is not what its manifest says."""


class FormatError(IntegrityError):
    """A published file is of a format that only a newer version knows."""


class DecodeError(DataError):
    """A film cannot be decoded. `rule` is one of the named reasons of `images.decode`."""

    def __init__(self, rule: str, what: str, where: str | Path = "") -> None:
        super().__init__(what, where)
        self.rule = rule


class LeakageError(DataError):
    """The evaluation would see something that the training already saw."""


class SetupError(CxrsslError):
    """The machine cannot do it: disk, permission, missing package or device."""

    exit_code = 4


class GuardStop(CxrsslError):
    """Training stopped itself before a bad number reached the weights."""

    exit_code = 5


class Preempted(CxrsslError):
    """The command was asked to stop by a signal; what it had saved is whole, and the same command resumes."""

    exit_code = 75

    def __init__(
        self,
        what: str,
        where: str | Path = "",
        hint: str = "",
        asked_by: signal.Signals | None = None,
        is_final: bool = False,
    ) -> None:
        super().__init__(what, where, hint)
        self.asked_by = asked_by
        self.is_final = is_final
        """Whether a person ended it: a job is not queued again."""
        if asked_by is signal.SIGINT:
            self.exit_code = 130
