"""What an ingest will read, as far as it is known before a table is read, and the key of the cohort that it makes.

In: the options of `cxrssl ingest`. Out: Plan. Never: a file of the dataset that the key leaves out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cxrssl.cohort.events.asked import Asked, find_files, read_asked
from cxrssl.cohort.features import FEATURE_NAMES
from cxrssl.cohort.files import Layout, SourceFile, check_apart, hash_listing, leave_unwritable, list_films
from cxrssl.cohort.link import LinkRule
from cxrssl.cohort.maps.measures import own_features
from cxrssl.cohort.maps.overlay import find_dataset, name_collection
from cxrssl.cohort.release.verified import Verified, find_verified
from cxrssl.cohort.seen import look_at_films
from cxrssl.cohort.sources import Source, SourceOptions, recognise
from cxrssl.cohort.split import Shares
from cxrssl.core.durable import hash_settings, sha256_file
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.filestate import Seen
from cxrssl.core.text import plain
from cxrssl.core.workspace import Workspace

POLARITIES = ("photometric", "shape")
RULES_VERSION = 4
"""Raise it when a rule of reading, linking or splitting changes: every cohort is then rebuilt."""


@dataclass(frozen=True)
class IngestOptions(SourceOptions):
    """All options of `cxrssl ingest`."""

    name: str = ""
    """Of the cohort; by default the dataset's."""
    rule: LinkRule | None = None
    """None: the default rule, where the dataset has stays."""
    shares: Shares = field(default_factory=Shares)
    split_path: Path | None = None
    """The user's own split."""
    size_px: int = 320
    """Side of the packed films."""
    num_workers: int = 0
    """Decoding processes; 0 means one per core."""
    may_pack: bool = True
    may_replace: bool = True
    """Whether a cohort of this name that is of another dataset or folder is replaced; the command line asks first."""
    polarity: str = "photometric"
    """DICOM: what decides on polarity where the header contradicts itself, one of POLARITIES."""
    png_bits: int = 0
    """True depth of PNGs of 16 bits; 0: what each film uses."""
    allow_losses: bool = False
    """Go on where a table loses more rows than cohort/losses allows."""
    is_anew: bool = False
    """Read every film again, also those that look like the ones that were read."""


@dataclass(frozen=True)
class Plan:
    """What will be read, and the key of the resulting cohort."""

    options: IngestOptions
    rule: LinkRule | None
    """None where the dataset has no stays."""
    layout: Layout
    present: dict[str, int]
    hashes: dict[str, str]
    verified: list[Verified]
    key: str
    asked: Asked
    events: dict[str, SourceFile]
    """Table of events -> its file."""
    films: dict[str, Seen]
    """The films whose headers the cohort is made of, as they were before these were read."""

    @property
    def collection(self) -> str:
        """What the films are of; ids are compared, and subjects split by hash, within it."""
        return name_collection(self.options)

    @property
    def features(self) -> list[str]:
        """Names of all features of the cohort."""
        return [*FEATURE_NAMES, *self.asked.names]

    @property
    def tables(self) -> dict[Path, str]:
        """Path -> SHA-256 of the publisher's tables, without a map and its tables."""
        return {file.path: self.hashes[file.shown] for file in publishers_files(self.layout)}


def make_plan(workspace: Workspace, source: Source, options: IngestOptions, dest: Path) -> Plan:
    rule = _choose_rule(source, options)
    options.check()
    options = options.locate(options.dataset)
    own = own_features(options.map, dest) if options.map else None
    asked = own or read_asked(options.features, dest)
    layout = _find_layout(source, options)
    events = {} if own else find_files(asked, layout)
    check_apart(workspace.root, {layout.root, *(file.path.parent for file in publishers_files(layout))})
    present = list_films(layout.root, layout.film_folders, layout.film_suffixes, layout.remarks)
    layout.remarks.extend(leave_unwritable(present))
    of_events = {file.shown: _hash_file(file.path, file.shown) for file in events.values()}
    hashes = {file.shown: _hash_file(file.path, file.shown) for file in layout.files.values()}
    sizes = {file.shown: file.path.stat().st_size for file in layout.files.values()}
    folders = {layout.root, *(file.path.parent for file in layout.files.values())}
    verified = find_verified(workspace, folders, options.links)
    split_path = options.split_path
    measured = [asdict(feature) for feature in asked.chosen.features]
    tables = [asdict(table) for table in asked.chosen.used_tables().values()]
    key = hash_settings(
        {
            **({"measured": measured, "tables": tables, "events": of_events} if measured else {}),
            "dataset": options.dataset,
            "checks": [check.outcome for check in verified],
            "rules_version": RULES_VERSION,
            "files": {shown: [sizes[shown], sha] for shown, sha in hashes.items()},
            "films": hash_listing(present),
            "link": rule and asdict(rule),
            "shares": asdict(options.shares),
            "split_file": split_path and _hash_file(split_path, plain(split_path.name, 120)),
        }
    )
    films = look_at_films(layout.film_folder, present) if layout.has_headers else {}
    return Plan(options, rule, layout, present, hashes | of_events, verified, key, asked, events, films)


def _choose_rule(source: Source, options: IngestOptions) -> LinkRule | None:
    """Return the rule to link by, or None where the dataset has no stays."""
    if "ehr" in source.OPTIONS:
        return options.rule or LinkRule()
    if options.rule is not None:
        what = f"{options.dataset} has no hospital stays to link with"
        raise UsageError(what, hint="leave --link and --tolerance out")
    return None


def _find_layout(source: Source, options: IngestOptions) -> Layout:
    """Return the layout of the dataset; if the folder holds another dataset, the error names that one."""
    try:
        layout = replace(find_dataset(source, options), links=options.links)
        if layout.missing:
            raise layout.missing[0]
        return layout
    except DataError as error:
        found = list(recognise(options.path))
        if not found or options.dataset in found:
            raise
        hint = f"this looks like {found[0]}: cxrssl ingest {found[0]} PATH"
        raise DataError(error.what, error.where, f"{hint} ({error.hint})") from None


def publishers_files(layout: Layout) -> list[SourceFile]:
    """Return the files that the publisher ships, without a map and its tables, which are the user's own."""
    return [file for name, file in layout.files.items() if not name.startswith("map")]


def _hash_file(path: Path, shown: str) -> str:
    try:
        return sha256_file(path)
    except OSError as error:
        raise DataError(f"{shown} cannot be read: {error.strerror or error}", path) from None
