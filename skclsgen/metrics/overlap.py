"""How much explanations overlap with those that people wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..optional import require

__all__ = ["overlap_scores"]


def overlap_scores(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float]:
    """ROUGE and BLEU against people's explanations, by the packages rouge-score and sacrebleu.

    Parameters
    ----------
    candidates : sequence of str
    references : sequence of sequences of str
        One or more of each row; rows without any are left out.

    Returns
    -------
    dict of str to float
        ``rouge_1``, ``rouge_2``, ``rouge_l``: F-measures in [0, 1], the best reference of each row
        counting, words stemmed [1]_; ``bleu``: of all rows together, in [0, 100], every reference
        of a row allowed [2]_.

    Raises
    ------
    ValueError
        If there is not a list of references for each candidate, or none has any.
    OptionalDependencyError
        If a package is not installed.

    References
    ----------
    .. [1] Lin, "ROUGE: A Package for Automatic Evaluation of Summaries", 2004,
       https://aclanthology.org/W04-1013
    .. [2] Post, "A Call for Clarity in Reporting BLEU Scores", 2018,
       https://aclanthology.org/W18-6319

    Examples
    --------
    >>> found = overlap_scores(["the cat sat on the mat"], [["the cat sat on a mat"]])
    >>> round(found["rouge_1"], 3), round(found["rouge_2"], 3)
    (0.833, 0.6)
    """
    require("overlap_scores", "benchmark", "rouge_score", "sacrebleu")
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics.bleu import BLEU

    if len(candidates) != len(references):
        raise ValueError(
            f"there are {len(candidates)} candidates and references for {len(references)}; pass a "
            "list of references for each."
        )
    if any(isinstance(own, str) for own in references):
        raise ValueError(
            "references holds a string where a list of strings belongs; put each row's reference "
            "into a list, even if there is one only."
        )
    rows = [(c, list(own)) for c, own in zip(candidates, references, strict=True) if len(own)]
    if not rows:
        raise ValueError("references has none for any row; leave the measure out.")
    kinds = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}
    scorer = RougeScorer(list(kinds), use_stemmer=True)
    best = []
    for candidate, own in rows:
        scored = [scorer.score(one, candidate) for one in own]
        best.append([max(score[kind].fmeasure for score in scored) for kind in kinds])
    scores = dict(zip(kinds.values(), np.mean(best, axis=0).tolist(), strict=True))
    most = max(len(own) for _, own in rows)
    # As sacrebleu wants them: the first references of all rows, the second ones, and so on.
    streams: Any = [[own[i] if i < len(own) else None for _, own in rows] for i in range(most)]
    return scores | {"bleu": float(BLEU().corpus_score([c for c, _ in rows], streams).score)}
