"""How likely the base model finds explanations: whether they are in its own language."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from ..exceptions import InvalidExplanationsError
from ..inputs import check_explanations
from ..labels import class_indices
from ..likelihood import row_nll
from ..packed_model import PackedModel

__all__ = ["explanation_log_perplexity"]


def explanation_log_perplexity(
    clf: Any, X: Any, labels: Any, explanations: Any, *, verbose: int = 0
) -> np.ndarray:
    """Log-perplexity of explanations by the base model, after text and label.

    The untuned model reads each prompt, the label, and the explanation's tokens: low values are
    what it might have written itself. People write what it finds less likely, so lower is not
    simply better.

    Parameters
    ----------
    clf : CLSGenClassifier
        Fitted; its prompt and its base model are used, and not what it has learnt.
    X : list, tuple, array or Series of str, or DataFrame, of length n_samples
    labels : label or array-like of shape (n_samples,)
        What each explanation explains; one label goes for all.
    explanations : sequence of str or None, of length n_samples
        Blank ones have no perplexity; of long ones as much is read as the model's context holds.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Returns
    -------
    ndarray of shape (n_samples,), float64
        Mean negative log-likelihood of each explanation's tokens, in nats; NaN for blank ones.

    Raises
    ------
    NotFittedError
        If ``clf`` is not fitted.
    ValueError
        If an argument cannot be used; see :mod:`skclsgen.exceptions`.

    Examples
    --------
    >>> from skclsgen import CLSGenClassifier
    >>> from skclsgen.metrics import explanation_log_perplexity
    >>> clf = CLSGenClassifier(epochs=0).fit(["Smoke!", "Any news?"], ["urgent", "routine"])
    >>> said = ["There is smoke.", "Colourless green ideas sleep."]
    >>> likely, strange = explanation_log_perplexity(clf, ["Smoke!"] * 2, "urgent", said)
    >>> bool(likely < strange)
    True
    """
    check_is_fitted(clf)
    texts = clf._check_texts(X)
    chosen = class_indices(labels, clf.classes_, len(texts))
    given = check_explanations(explanations, len(texts))
    if given is None:
        raise InvalidExplanationsError("explanations is None; pass one string or None per text.")
    live = clf._network.live(verbose)
    prompts = live.encoder.encode(texts)
    said = {row: live.encoder.reason_ids(reason) for row, reason in enumerate(given) if reason}
    model = PackedModel(live.base, live.encoder.prefix_ids)
    context = live.base.context_length - len(live.encoder.prefix_ids)
    rows = []
    for row, ids in said.items():
        asked = [*prompts[row], *live.encoder.opening(chosen[row])]
        rows.append((asked, ids[: context - len(asked)]))
    found = np.full(len(texts), np.nan)
    with tqdm(total=len(rows), desc="reading", unit="text", disable=verbose < 1) as bar:
        found[list(said)] = [own.mean() for own in row_nll(model, rows, bar.update)]
    return found
