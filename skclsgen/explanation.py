"""What ``explain`` returns: a sequence of explanations that shows itself in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas as pd

from .optional import require

__all__ = ["Explanation", "Explanations"]


@dataclass(frozen=True)
class Explanation:
    """The reason for one label of one text.

    Attributes
    ----------
    text : str
        The explanation's words.
    label : object
        The explained label, one of ``classes_``.
    proba : float
        Probability of ``label``, in [0, 1].
    predicted : object
        The most probable label; differs from ``label`` only where the caller asked for another.
    source : str
        The classified text.
    complete : bool
        True if the model ended by itself, False if ``max_new_tokens`` or the end of the model's
        context cut it off.

    Examples
    --------
    >>> reason = Explanation("Smoke is rising now.", "urgent", 0.93, "urgent", "...", True)
    >>> print(reason)
    Smoke is rising now.
    """

    text: str
    label: Any
    proba: float
    predicted: Any
    source: str
    complete: bool

    def __str__(self) -> str:
        return self.text


class Explanations(Sequence[Explanation]):
    """Explanations in the order of the texts they were asked for.

    A sequence of :class:`Explanation`; a notebook shows it as a table with a probability bar.

    Parameters
    ----------
    items : sequence of Explanation

    Examples
    --------
    >>> reason = Explanation("Smoke is rising now.", "urgent", 0.93, "urgent", "Smoke!", True)
    >>> reasons = Explanations([reason])
    >>> len(reasons), reasons[0].label
    (1, 'urgent')
    >>> print(reasons)
    urgent (93%): Smoke is rising now.
    """

    #: Rows shown in a notebook; the rest is counted below the table.
    MAX_SHOWN = 50

    def __init__(self, items: Sequence[Explanation]) -> None:
        self._items = tuple(items)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Explanation: ...
    @overload
    def __getitem__(self, index: slice) -> Explanations: ...
    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        if isinstance(index, slice):
            return Explanations(self._items[index])
        return self._items[index]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self._items)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Explanations) and self._items == other._items

    def __hash__(self) -> int:
        return hash(self._items)

    def __str__(self) -> str:
        return "\n".join(f"{e.label} ({e.proba:.0%}): {e.text}" for e in self)

    def __repr__(self) -> str:
        return f"Explanations({list(self._items)!r})"

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame with one row per explanation.

        Returns
        -------
        pandas.DataFrame
            Columns ``source``, ``label``, ``proba``, ``predicted``, ``text``, ``complete``.

        Raises
        ------
        OptionalDependencyError
            If pandas is not installed.
        """
        require("to_frame", "pandas", "pandas")
        import pandas as pd

        columns = ["source", "label", "proba", "predicted", "text", "complete"]
        return pd.DataFrame([[getattr(e, c) for c in columns] for e in self], columns=columns)

    def _repr_html_(self) -> str:
        rows = "".join(_html_row(e) for e in self._items[: self.MAX_SHOWN])
        hidden = len(self) - self.MAX_SHOWN
        more = f"<p>… and {hidden} more; see <code>.to_frame()</code></p>" if hidden > 0 else ""
        return (
            '<table style="border-collapse:collapse;text-align:left">'
            f'<thead><tr style="border-bottom:1px solid #8888">{_HEADER}</tr></thead>'
            f"<tbody>{rows}</tbody></table>{more}"
        )


_CELL = "text-align:left;vertical-align:top;padding:6px 10px;overflow-wrap:anywhere"
_HEADER = "".join(
    f'<th style="{_CELL};white-space:nowrap">{name}</th>'
    for name in ("Text", "Label", "Probability", "Explanation")
)


def _html_row(e: Explanation) -> str:
    asked = "" if e.label == e.predicted else f"<br><small>predicted: {_html(e.predicted)}</small>"
    percent = f"{100 * e.proba:.0f}"
    # Semi-transparent greys and a mid-blue read on light and on dark notebooks.
    bar = (
        f'<div title="{e.proba:.4f}" style="width:110px;height:10px;background:#8883;'
        f'border-radius:5px"><div style="width:{percent}%;height:10px;background:#4c8dd6;'
        f'border-radius:5px"></div></div><small>{percent}%</small>'
    )
    ending = "" if e.complete else " …"
    cells = (
        f'<td style="{_CELL};max-width:28em;white-space:pre-wrap">{_html(e.source, 400)}</td>',
        f'<td style="{_CELL};min-width:6em"><b>{_html(e.label)}</b>{asked}</td>',
        f'<td style="{_CELL}">{bar}</td>',
        f'<td style="{_CELL};max-width:28em">{_html(e.text)}{ending}</td>',
    )
    return f'<tr style="border-bottom:1px solid #8883">{"".join(cells)}</tr>'


def _html(value: Any, longest: int | None = None) -> str:
    text = str(value)
    if longest is not None and len(text) > longest:
        text = text[:longest] + "…"
    return escape(text)
