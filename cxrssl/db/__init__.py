"""DuckDB, imported only here: locked-down databases, schemas, and frames in and out.

`connection` opens a database and locks it down, `database` runs its statements, `schema` applies schemas/*.sql,
`export` writes files for other programs. `errors` renames DuckDB's, `quote` writes names and texts in SQL.
"""

from cxrssl.db.connection import SPILL, open_database, open_scratch
from cxrssl.db.database import Database, journal_of
from cxrssl.db.errors import WRITE_HINT, renamed_duckdb_errors
from cxrssl.db.export import export_compatible, export_parquet, write_columns, write_parquet
from cxrssl.db.quote import quote_name, quote_text
from cxrssl.db.schema import apply_schema, read_schema

__all__ = [
    "SPILL",
    "WRITE_HINT",
    "Database",
    "apply_schema",
    "export_compatible",
    "export_parquet",
    "journal_of",
    "open_database",
    "open_scratch",
    "quote_name",
    "quote_text",
    "read_schema",
    "renamed_duckdb_errors",
    "write_columns",
    "write_parquet",
]
