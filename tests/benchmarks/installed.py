"""How a program starts where it is installed: Python keeps the byte code of what it has imported once."""

import os


def installed_environment() -> dict[str, str]:
    """Return this process's environment without what keeps Python from writing byte code."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
