"""Grids of runs: expanded, run to their end, and made into one table with its primary comparison."""
