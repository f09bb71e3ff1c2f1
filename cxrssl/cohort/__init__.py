import os

# Two tables are read at a time (tables/table.py), each by its share of the cores: threads of both on every core would
# only wait for each other. Polars asks once, when it is first imported.
os.environ.setdefault("POLARS_MAX_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
