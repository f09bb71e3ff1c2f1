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
