"""What the estimator is compared with: each a scikit-learn classifier of its own."""

from .cnn import SentenceCNN
from .columns import EachColumn, word_overlap
from .examples import ShownExample
from .fine_tuned_encoder import FineTunedEncoder
from .label_probability import LabelProbability
from .linear_probe import LinearProbe
from .p_true import PTrue
from .pairwise import PairwiseTournament, RelativeConfidence, elo_ratings
from .regression import TunedLogisticRegression, regression_on, tfidf_regression
from .sampled import SelfConsistency, SemanticEntropy, meanings
from .sentence_embeddings import SentenceEncoder, SetFitClassifier, sentence_embedding_regression
from .tuned import GenerationOnly, classification_only
from .verbalized import VerbalizedConfidence, VerbalizedReply, stated_confidence

__all__ = [
    "EachColumn",
    "FineTunedEncoder",
    "GenerationOnly",
    "LabelProbability",
    "LinearProbe",
    "PTrue",
    "PairwiseTournament",
    "RelativeConfidence",
    "SelfConsistency",
    "SemanticEntropy",
    "SentenceCNN",
    "SentenceEncoder",
    "SetFitClassifier",
    "ShownExample",
    "TunedLogisticRegression",
    "VerbalizedConfidence",
    "VerbalizedReply",
    "classification_only",
    "elo_ratings",
    "meanings",
    "regression_on",
    "sentence_embedding_regression",
    "stated_confidence",
    "tfidf_regression",
    "word_overlap",
]
