"""The table of broken folders of runs, encoders and evaluations, by name."""

from tests.records import broken_artefacts, broken_runs
from tests.records.breaking import BREAKERS, Breaker

__all__ = ["BREAKERS", "Breaker", "broken_artefacts", "broken_runs"]
