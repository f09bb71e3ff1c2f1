"""The command that makes a cohort again, for the hints that name it. Stdlib only."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from cxrssl.core.artefact import MANIFEST
from cxrssl.core.errors import FormatError, IntegrityError
from cxrssl.core.text import plain, shell_word


def name_ingest(source: str, cohort: str = "", options: Sequence[str] = ()) -> str:
    """Return the command that makes a cohort of this source: a folder of one's own is read by a map."""
    needed = ["--map", "MAP"] if source == "folder" else []
    named = ["--cohort", shell_word(cohort)] if cohort and cohort != source else []
    return " ".join(["cxrssl", "ingest", shell_word(source), "PATH", *needed, *named, *options])


def hint_feature(source: str, cohort: str, group: str) -> str:
    """Return how a cohort gets a feature that it was made without: of tables of events, where its dataset has them."""
    if source == "mimic":
        return f"make it again, with its options: {name_ingest(source, cohort, ['--features', group])}"
    options = [] if source == "folder" else ["--map", "MAP"]  # of a folder `name_ingest` names it
    which = "the map" if source == "folder" else "a map"
    return f"declare it in {which} and make it again, with its options: {name_ingest(source, cohort, options)}"


@contextlib.contextmanager
def naming_ingest(path: Path) -> Iterator[None]:
    """Let an error of a damaged cohort name the command that makes it again."""
    try:
        yield
    except FormatError:
        raise
    except IntegrityError as error:
        error.hint = _describe_ingest(path)
        raise


def _describe_ingest(path: Path) -> str:
    dataset, films = "DATASET", ""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        settings = manifest["settings"]
        dataset = str(settings.get("source", settings["dataset"]))
        films = f" (its films were in {plain(manifest['inputs']['root'], 400)})"
    return f"make it again, with its options: {name_ingest(dataset, path.name)}{films}"
