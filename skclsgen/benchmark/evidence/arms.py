"""The arms: every way to a probability that is compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from ...backbone import load_base_model
from ...baselines import (
    FineTunedEncoder,
    GenerationOnly,
    LabelProbability,
    LinearProbe,
    PairwiseTournament,
    PTrue,
    RelativeConfidence,
    SelfConsistency,
    SemanticEntropy,
    SentenceCNN,
    SetFitClassifier,
    VerbalizedConfidence,
    classification_only,
    sentence_embedding_regression,
    tfidf_regression,
)
from ...classifier import CLSGenClassifier
from ..settings import folder_of
from ..tasks import Task
from ..usual import UsualClassifier
from .cohorts import ALONE
from .settings import EvidenceSettings

__all__ = ["ARMS", "EXPLAIN", "JOINT", "PAIRS_PER_TEXT", "SELF", "Arm"]

#: The arm that all others are compared with.
JOINT = "joint"
#: The same, with nobody's reasons to learn from but those that its base model writes: quotations,
#: or explanations in its own words.
SELF, EXPLAIN = "joint_self", "joint_explain"
#: Of SetFit, a quarter of its default: its time grows with them.
PAIRS_PER_TEXT = 5


@dataclass(frozen=True)
class Arm:
    """One way to classify.

    Attributes
    ----------
    title : str
        For tables.
    make : callable
        Takes the settings and a seed, returns an unfitted scikit-learn classifier.
    kind : {"tuned", "frozen", "prompting", "words"}
        Whether the base model is tuned, read, asked, or not there at all.
    seeds : bool
        False if chance has no part in it, rows to learn from included: one run is enough.
    once : bool
        True if it takes too long to be run on more than one seed.
    slow : bool
        True if it learns so slowly that fewer rows may have to do.
    few_rows : bool
        True if it asks so much of every text that few must do.
    explained : bool
        True if it learns from people's explanations too, where there are any.
    writes : bool
        True if what it writes is judged.
    groups : str or None
        Name by which ``fit`` takes the rows' sources, if the arm holds rows out to choose by.
    records : bool
        True if it is given the columns of records apart, and not as one text.
    """

    title: str
    make: Callable[[EvidenceSettings, int], Any]
    kind: str
    seeds: bool = True
    once: bool = False
    slow: bool = False
    few_rows: bool = False
    explained: bool = False
    writes: bool = False
    groups: str | None = None
    records: bool = False


class UsualPath:
    """The usual path (:mod:`skclsgen.benchmark.usual`) in float32, as a classifier."""

    def __init__(self, settings: EvidenceSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> UsualPath:
        """Train for three epochs, the libraries' default, four rows in memory at a time."""
        self.classes_ = np.unique(labels)
        self.usual = UsualClassifier(
            folder_of(load_base_model(self.settings.model)),
            torch.float32,
            rank=16,
            batch_size=8,
            seed=self.seed,
            rows_at_once=4,
        )
        self.usual.build()
        self.usual.fit(Task("evidence", list(texts), list(labels), None, [], []))
        self.usual.merge()
        return self

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities of both classes, shape (texts, 2)."""
        second = self.usual.predict_proba(texts)
        return np.column_stack([1 - second, second])


def _ours(kind: Callable[..., Any], **parameters: Any) -> Callable[[EvidenceSettings, int], Any]:
    return lambda s, seed: kind(
        model=s.model, epochs=s.epochs, memory=s.memory, random_state=seed, **parameters
    )


def _asked(kind: Callable[..., Any], **parameters: Any) -> Callable[[EvidenceSettings, int], Any]:
    return lambda s, seed: kind(s.model, **parameters)


def _one_column(settings: EvidenceSettings, seed: int) -> Pipeline:
    """What can be told without comparing: of one column, whatever the others say."""
    column = FunctionTransformer(itemgetter(ALONE[settings.dataset]))
    return Pipeline([("column", column), *tfidf_regression(random_state=seed).steps])


#: Arms by name, the joint model first.
ARMS: dict[str, Arm] = {
    JOINT: Arm(
        "Joint (CLSGenClassifier)", _ours(CLSGenClassifier), "tuned", explained=True, writes=True
    ),
    SELF: Arm(
        "Joint, self-written reasons", _ours(CLSGenClassifier), "tuned", once=True, writes=True
    ),
    # At twice the usual weight: half of it holds explanations to the base model.
    EXPLAIN: Arm(
        "Joint, its base model's explanations",
        _ours(CLSGenClassifier, rationales="explain", explanation_weight=1.0),
        "tuned",
        once=True,
        writes=True,
    ),
    "classification": Arm("Classification-only LoRA", _ours(classification_only), "tuned"),
    # As it is usually done: nothing holds its language.
    "generation": Arm(
        "Generation-only LoRA",
        _ours(GenerationOnly, language_weight=0.0),
        "tuned",
        slow=True,
        explained=True,
    ),
    "trainer": Arm("Trainer + PEFT, float32, 3 epochs", UsualPath, "tuned", once=True, slow=True),
    "probe": Arm(
        "Linear probe, frozen base",
        lambda s, seed: LinearProbe(s.model, random_state=seed),
        "frozen",
        groups="groups",
    ),
    "label": Arm(
        "Label-token probability",
        _asked(LabelProbability, calibrate=False),
        "prompting",
        seeds=False,
    ),
    "calibrated": Arm(
        "Label-token probability, contextual calibration",
        _asked(LabelProbability),
        "prompting",
        seeds=False,
    ),
    "few_shot": Arm(
        "Label-token probability, few-shot, contextual calibration",
        lambda s, seed: LabelProbability(s.model, examples=s.examples, random_state=seed),
        "prompting",
        explained=True,
    ),
    "p_true": Arm("P(True)", _asked(PTrue), "prompting", seeds=False),
    "verbalized": Arm(
        "Verbalized confidence",
        _asked(VerbalizedConfidence),
        "prompting",
        seeds=False,
        few_rows=True,
    ),
    "self_consistency": Arm(
        "Self-consistency",
        lambda s, seed: SelfConsistency(s.model, samples=s.samples, random_state=seed),
        "prompting",
        once=True,
        few_rows=True,
    ),
    "few_shot_consistency": Arm(
        "Self-consistency, few-shot",
        lambda s, seed: SelfConsistency(
            s.model, examples=s.examples, samples=s.samples, random_state=seed
        ),
        "prompting",
        once=True,
        few_rows=True,
        explained=True,
    ),
    "semantic_entropy": Arm(
        "Semantic entropy",
        lambda s, seed: SemanticEntropy(s.model, samples=s.samples, random_state=seed),
        "prompting",
        once=True,
        few_rows=True,
    ),
    "tournament": Arm(
        "Pairwise tournament (Elo)",
        lambda s, seed: PairwiseTournament(s.model, opponents=s.opponents, random_state=seed),
        "prompting",
        once=True,
        few_rows=True,
    ),
    "relative": Arm(
        "Relative confidence",
        lambda s, seed: RelativeConfidence(s.model, opponents=s.opponents, random_state=seed),
        "prompting",
        once=True,
        few_rows=True,
    ),
    "cnn": Arm(
        "Sentence CNN", lambda s, seed: SentenceCNN(random_state=seed), "words", groups="groups"
    ),
    "tfidf": Arm(
        "TF-IDF + logistic regression",
        lambda s, seed: tfidf_regression(random_state=seed),
        "words",
        groups="regression__groups",
        records=True,
    ),
    "tfidf_overlap": Arm(
        "TF-IDF + overlap + logistic regression",
        lambda s, seed: tfidf_regression(overlap=True, random_state=seed),
        "words",
        groups="regression__groups",
        records=True,
    ),
    "tfidf_alone": Arm(
        "TF-IDF of one column + logistic regression",
        _one_column,
        "words",
        groups="regression__groups",
        records=True,
    ),
    "embeddings": Arm(
        "Sentence embeddings + logistic regression",
        lambda s, seed: sentence_embedding_regression(random_state=seed),
        "words",
        groups="regression__groups",
        records=True,
    ),
    "encoder": Arm(
        "Fine-tuned encoder (MiniLM)",
        lambda s, seed: FineTunedEncoder(random_state=seed),
        "words",
        records=True,
    ),
    "setfit": Arm(
        "SetFit",
        lambda s, seed: SetFitClassifier(pairs_per_text=PAIRS_PER_TEXT, random_state=seed),
        "words",
        once=True,
    ),
}
