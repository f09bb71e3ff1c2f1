"""What changes numbers, and what may not: recipes and the settings of a machine, declared once.

settings    the sections of a recipe: defaults, bounds, meaning, and when each key acts
objectives  the section that `objective.name` chooses, one class an objective
machine     the settings of the place, which are no part of a run's id
condition   when a key acts; check: contradictions, and keys that have no effect
load        a recipe by name or TOML path; keys: every key in words; text: a recipe as TOML
"""
