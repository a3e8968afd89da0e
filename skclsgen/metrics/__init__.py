"""How probabilities, explanations and what is left of the language are judged."""

from .alignment import (
    alignment_scores,
    flip_rate,
    mask_labels,
    stated_label,
    stratified_alignment,
)
from .calibration import (
    ReliabilityCurve,
    apply_temperature,
    fit_temperature,
    reliability_curve,
    smooth_ece,
    smooth_ece_draws,
    smooth_ece_null,
)
from .delong import auroc_interval, delong_test
from .explanation_likelihood import explanation_log_perplexity
from .fluency import distinct_n, flesch_reading_ease, fluency_scores, repetition
from .forgetting import LanguageChange, language_change
from .grounding import groundedness, groundedness_against_null, groundedness_lift
from .overlap import overlap_scores
from .probability import best_threshold, probability_scores
from .rank_bootstrap import resampling_weights, weighted_auroc
from .significance import (
    Comparison,
    holm,
    non_inferior,
    paired_bootstrap,
    permutation_test,
)
from .simulatability import (
    las_terms,
    leakage_adjusted_simulatability,
    simulatability_gains,
)

__all__ = [
    "Comparison",
    "LanguageChange",
    "ReliabilityCurve",
    "alignment_scores",
    "apply_temperature",
    "auroc_interval",
    "best_threshold",
    "delong_test",
    "distinct_n",
    "explanation_log_perplexity",
    "fit_temperature",
    "flesch_reading_ease",
    "flip_rate",
    "fluency_scores",
    "groundedness",
    "groundedness_against_null",
    "groundedness_lift",
    "holm",
    "language_change",
    "las_terms",
    "leakage_adjusted_simulatability",
    "mask_labels",
    "non_inferior",
    "overlap_scores",
    "paired_bootstrap",
    "permutation_test",
    "probability_scores",
    "reliability_curve",
    "repetition",
    "resampling_weights",
    "simulatability_gains",
    "smooth_ece",
    "smooth_ece_draws",
    "smooth_ece_null",
    "stated_label",
    "stratified_alignment",
    "weighted_auroc",
]
