"""scikit-learn's tools with the estimator on text."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from test_classifier import BAD, GOOD

from skclsgen import CLSGenClassifier, release_memory
from skclsgen.replay import PASSAGES

TEXTS = np.array([f"{t} {i}" for i, pair in enumerate(zip(GOOD, BAD, strict=True)) for t in pair])
Y = np.array(["warm", "stuck"] * len(GOOD))


@pytest.fixture
def clf(tiny):
    return CLSGenClassifier(
        tiny,
        epochs=6,
        learning_rate=5e-4,
        batch_size=4,
        dtype="float32",
        rationales=None,
        lora_r=4,
        random_state=0,
    )


def strip(texts):
    return [text.strip() for text in texts]


def test_pipeline(clf):
    pipe = Pipeline([("strip", FunctionTransformer(strip)), ("clf", clf)]).fit(TEXTS, Y)
    assert pipe.score(TEXTS, Y) > 0.9
    assert pipe.predict_proba(list(TEXTS)).shape == (24, 2)
    assert list(pipe.classes_) == ["stuck", "warm"]


@pytest.mark.parametrize("container", [list, tuple, np.array, pd.Series])
def test_cross_val_score(clf, container):
    scores = cross_val_score(clf, container(TEXTS), Y, cv=3, scoring="roc_auc")
    assert scores.shape == (3,)
    assert scores.mean() > 0.9


def test_cross_val_score_on_records(clf):
    X = pd.DataFrame({"message": TEXTS, "channel": ["mail", "chat"] * 12})
    assert cross_val_score(clf, X, Y, cv=3).mean() > 0.9


def test_cross_val_predict(clf):
    proba = cross_val_predict(clf, TEXTS, Y, cv=3, method="predict_proba")
    assert proba.shape == (24, 2)
    assert ((proba[:, 1] > 0.5) == (Y == "warm")).mean() > 0.9


def test_cross_val_reads_each_text_once(clf):
    """Folds share the frozen activations and the loaded model."""
    release_memory()  # other tests may have read some
    cross_val_score(clf, TEXTS, Y, cv=5)
    cache = clf._family_lease().base.trunk_cache
    assert len(cache) == cache.misses == len(set(TEXTS))


def test_folds_with_explanations_read_only_the_first_test_fold_twice(clf):
    """Once as prompts, when it is predicted; once with its reasons, when it is learnt from.

    The passages that keep the language are read once for all folds.
    """
    release_memory()
    reasons = [f"it says {text}" for text in TEXTS]
    cross_val_score(clf, TEXTS, Y, cv=4, params={"explanations": reasons})
    cache = clf._family_lease().base.trunk_cache
    assert cache.misses == PASSAGES + len(TEXTS) + len(TEXTS) // 4


def test_grid_search(clf):
    search = GridSearchCV(clf, {"lora_r": [2, 4], "learning_rate": [1e-6, 5e-4]}, cv=2)
    search.fit(TEXTS, Y)
    assert search.best_params_["learning_rate"] == 5e-4
    assert search.best_estimator_.explain(TEXTS[:2], max_new_tokens=2)[0].label in ("warm", "stuck")


def test_grid_search_in_two_processes(clf):
    serial = GridSearchCV(clf, {"lora_r": [2, 4]}, cv=2).fit(TEXTS, Y)
    parallel = GridSearchCV(clf, {"lora_r": [2, 4]}, cv=2, n_jobs=2).fit(TEXTS, Y)
    np.testing.assert_allclose(
        parallel.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"]
    )
    np.testing.assert_allclose(
        parallel.predict_proba(TEXTS), serial.predict_proba(TEXTS), atol=1e-5
    )


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibration(clf, method):
    calibrated = CalibratedClassifierCV(clf, method=method, cv=2).fit(TEXTS, Y)
    assert calibrated.predict_proba(TEXTS).shape == (24, 2)
    assert calibrated.score(TEXTS, Y) > 0.9


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibration_of_a_frozen_estimator(clf, method):
    clf.fit(TEXTS[:12], Y[:12])
    before = clf.predict_proba(TEXTS)
    calibrated = CalibratedClassifierCV(FrozenEstimator(clf), method=method)
    calibrated.fit(TEXTS[12:], Y[12:])
    assert calibrated.score(TEXTS, Y) > 0.9
    assert (clf.predict_proba(TEXTS) == before).all()


def test_tuned_threshold(clf):
    tuned = TunedThresholdClassifierCV(clf, scoring="balanced_accuracy", cv=2).fit(TEXTS, Y)
    assert 0 <= tuned.best_threshold_ <= 1
    assert tuned.score(TEXTS, Y) > 0.9


def test_what_a_threshold_decides_can_be_explained(clf):
    clf.fit(TEXTS, Y)
    warm = clf.predict_proba(TEXTS)[:, clf.classes_.tolist().index("warm")]
    least = float(np.quantile(warm, 0.25))  # lower than where the head itself decides
    decided = np.where(warm >= least, "warm", "stuck")
    assert (decided != clf.predict(TEXTS)).any()
    fixed = FixedThresholdClassifier(FrozenEstimator(clf), threshold=least, pos_label="warm")
    assert (fixed.fit(TEXTS, Y).predict(TEXTS) == decided).all()
    found = clf.explain(TEXTS, labels=decided, max_new_tokens=2)
    assert [reason.label for reason in found] == decided.tolist()


def test_stacking(clf):
    """It hands labels on by number, so these are what has names."""
    clf.set_params(label_names={0: "stuck", 1: "warm"})
    words = make_pipeline(TfidfVectorizer(), LogisticRegression())
    for others in ([], [("words", words)]):
        stack = StackingClassifier([("clf", clf), *others], cv=2).fit(TEXTS, Y)
        assert stack.estimators_[0].classes_.tolist() == [0, 1]
        assert stack.score(TEXTS, Y) > 0.9


def test_learning_curve(clf):
    sizes, _, scores = learning_curve(clf, TEXTS, Y, cv=3, train_sizes=[8, 16], shuffle=False)
    assert sizes.tolist() == [8, 16]
    assert scores[-1].mean() > 0.9


def test_permutation_test_score(clf):
    score, permuted, p = permutation_test_score(
        clf.set_params(epochs=3), TEXTS, Y, cv=2, n_permutations=4, random_state=0
    )
    assert score > permuted.mean()
    assert p == pytest.approx((1 + (permuted >= score).sum()) / 5)


def test_metadata_routing(clf):
    """Weights and explanations follow their rows through cross-validation and pipelines."""
    seen = []

    class Spy(CLSGenClassifier):
        def fit(self, X, y, sample_weight=None, explanations=None):
            seen.append((list(X), list(sample_weight), list(explanations)))
            return super().fit(X, y, sample_weight, explanations)

    weights = np.arange(1.0, 25.0)
    reasons = [f"it says {i}" for i in range(24)]
    with sklearn.config_context(enable_metadata_routing=True):
        spy = Spy(**clf.get_params())
        spy.set_fit_request(sample_weight=True, explanations=True)
        spy.set_score_request(sample_weight=True)
        pipe = Pipeline([("strip", FunctionTransformer(strip)), ("clf", spy)])
        result = cross_validate(
            pipe, TEXTS, Y, cv=3, params={"sample_weight": weights, "explanations": reasons}
        )
    assert np.isfinite(result["test_score"]).all()
    assert len(seen) == 3
    for texts, row_weights, row_reasons in seen:
        rows = [list(TEXTS).index(text) for text in texts]
        assert row_weights == [weights[i] for i in rows]
        assert row_reasons == [reasons[i] for i in rows]
