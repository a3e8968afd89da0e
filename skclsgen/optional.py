"""Packages that only some options need."""

from __future__ import annotations

import importlib.util

from .exceptions import OptionalDependencyError

__all__ = ["require"]


def require(user: str, extra: str, *packages: str) -> None:
    """Raise ``OptionalDependencyError`` unless packages are installed.

    Parameters
    ----------
    user : str
        What needs them, for the message.
    extra : str
        The extra of this package that installs them.
    *packages : str
        Names under which they are imported.
    """
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if absent:
        names = ", ".join(name.replace("_", "-") for name in absent)
        raise OptionalDependencyError(
            f"{user} needs {names}, not installed here; run: pip install 'skclsgen[{extra}]'"
        )
