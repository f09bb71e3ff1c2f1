# Everything that can be done here. Without just: uv run just RECIPE

# Python keeps byte code, whatever the caller's environment says: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE := ""

# Lint, types, layers, fast tests, and the whole chain on a small synthetic hospital.
check: lint test flow

# Style, types and layer contracts.
lint:
    uv run ruff check
    uv run ruff format --check
    uv run mypy
    uv run lint-imports

# Fast tests, on all cores.
test *ARGS:
    OMP_NUM_THREADS=1 uv run pytest -n auto -m "not slow" {{ ARGS }}

# The whole chain on the synthetic hospital, as a user would run it.
flow:
    OMP_NUM_THREADS=1 uv run pytest -n auto --dist loadgroup -m slow tests/flow

# The demo, as README has it.
demo:
    uv run cxrssl demo

# Write style fixes.
fix:
    uv run ruff format
    uv run ruff check --fix

# The versions installed here of all that the program needs, into the package, for `pip install -c`.
constraints:
    uv pip freeze --exclude-editable | uv pip compile --quiet --all-extras --no-annotate --no-header \
    --constraints /dev/stdin --output-file cxrssl/constraints.txt pyproject.toml

# Random inputs in the full counts.
fuzz *ARGS:
    CXRSSL_FULL=1 OMP_NUM_THREADS=1 uv run pytest -n auto -m fuzz {{ ARGS }}

# Killed processes and failing disks in the full counts.
crash *ARGS:
    CXRSSL_FULL=1 OMP_NUM_THREADS=1 uv run pytest -n auto -m crash {{ ARGS }}

# Benchmarks, each beside a named peer in the same run.
bench:
    uv run python -m tests.benchmarks.help
    uv run python tests/benchmarks/packing.py
    uv run python tests/benchmarks/cohort.py
    uv run python tests/benchmarks/labevents.py
    uv run python tests/benchmarks/views.py
    uv run python tests/benchmarks/step.py
    uv run python tests/benchmarks/bootstrap.py
    uv run python tests/benchmarks/probing.py
    uv run python -m tests.benchmarks.pairs
    uv run python -m tests.benchmarks.store
    uv run python -m tests.benchmarks.dashboard
    uv run python -m tests.benchmarks.report

# The store of 24 million rows, beside TensorBoard, MLflow and trackio, each in an environment that uv makes for it.
bench-store *ARGS:
    uv run python -m tests.benchmarks.store {{ ARGS }}

# A dashboard that stays open for 20 minutes while 50 runs start, log a million records and end.
bench-endurance *ARGS:
    uv run python -m tests.benchmarks.endurance {{ ARGS }}

# Decoding by commit BASE and by the working tree, in turns, by format.
bench-decoding BASE:
    uv run python -m tests.benchmarks.decoding {{ BASE }}

# One GPU by the clock, most wanted cases first, into tests/bench/: --minutes 10. Rehearsed without one: --device cpu.
bench-gpu *ARGS:
    uv run python -m tests.benchmarks.gpu {{ ARGS }}

# Eight steps of every kind of run, by commit BASE and by the working tree: equal to the last digit on this machine.
golden BASE:
    uv run python -m tests.golden.compare {{ BASE }}

# Write the golden files of every command's help anew; read the difference before committing it.
help-texts:
    uv run python -m tests.golden.help

# Write the golden files of a report in every format anew; read the difference before committing it.
report-texts:
    uv run python -m tests.golden.report

# Write the golden files of the dashboard's text and screens anew, and their pictures into a folder if one is named.
dashboard-texts *FOLDER:
    uv run python -m tests.golden.dashboard {{ FOLDER }}

# Count the kernels of a step on fake CUDA tensors anew; read the difference before committing it.
fake-gpu-counts:
    uv run python -m tests.gpu.fake.counts

# What a step launches and moves on an H100, by the real inductor without a GPU; --write keeps the table in tests/bench/.
step-table *ARGS:
    uv run python -m tests.gpu.fake.table {{ ARGS }}
