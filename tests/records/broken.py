"""The table of broken folders of runs, encoders, evaluations, comparisons and ablations, by name."""

from tests.records import broken_ablations, broken_artefacts, broken_comparisons, broken_runs
from tests.records.breaking import BREAKERS, Breaker

__all__ = ["BREAKERS", "Breaker", "broken_ablations", "broken_artefacts", "broken_comparisons", "broken_runs"]
