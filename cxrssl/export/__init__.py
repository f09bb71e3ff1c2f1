"""Encoders handed on: in the formats of others, in Python, and as tables of features."""
