"""Tables in Markdown, and how numbers stand in them."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

__all__ = ["cell", "difference", "p_value", "table", "unbroken"]


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def p_value(value: float) -> str:
    """Return a p-value with as many digits as tell something."""
    return f"{value:.4f}" if value >= 0.001 else f"{value:.1e}"


def difference(test: Mapping[str, Any]) -> str:
    """Return the ``difference`` of a test, and its interval if it has one."""
    found = f"{test['difference']:+.3f}"
    if test["low"] is not None:
        found += f" ({test['low']:+.3f} to {test['high']:+.3f})"
    return unbroken(found)


def unbroken(text: str) -> str:
    """Return text that a narrow cell does not break into lines."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def cell(text: str, longest: int) -> str:
    """Return text as one cell of a table: no markup of its own."""
    short = " ".join(text.split())
    short = short if len(short) <= longest else short[:longest] + "…"
    plain = escape(short).replace("|", "&#124;").replace("`", "&#96;")
    for mark in "*_[]\\":
        plain = plain.replace(mark, f"&#{ord(mark)};")
    return plain
