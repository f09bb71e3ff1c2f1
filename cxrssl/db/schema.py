"""The schemas of databases: `schemas/*.sql`."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from cxrssl.db.database import Database


def apply_schema(database: Database, name: str) -> None:
    """Run the statements of `schemas/<name>`."""
    database.execute(read_schema(name))


def read_schema(name: str) -> str:
    """Return the text of `schemas/<name>`, as shipped in the package or, in an editable install, in the repository."""
    shipped = importlib.resources.files("cxrssl") / "schemas" / name
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parent.parent.parent / "schemas" / name).read_text(encoding="utf-8")
