"""The version of the program, which every manifest names."""

__version__ = "0.1.0"
