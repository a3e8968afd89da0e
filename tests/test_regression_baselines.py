import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skclsgen.baselines.regression import (
    TunedLogisticRegression,
    held_out_folds,
    regression_on,
    tfidf_regression,
)
from skclsgen.datasets import load_messages
from skclsgen.exceptions import (
    InvalidLabelsError,
    InvalidTextError,
)


def sentences(n, seed=0):
    """Texts of ten words, one of which gives the class away."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2)
    texts = []
    for label in labels:
        words = [f"word{i}" for i in rng.integers(40, size=10)]
        words[rng.integers(10)] = ["thanks", "smoke"][label]
        texts.append(" ".join(words))
    return texts, labels


@pytest.fixture(scope="module")
def data():
    texts, labels = sentences(200)
    return texts[:120], labels[:120], texts[120:], labels[120:]


@pytest.fixture
def points():
    """Two overlapping clouds of 60 points in 5 dimensions."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    return rng.normal(size=(60, 5)) + 0.7 * y[:, None], y


# --- the penalty ---------------------------------------------------------------------------------


def test_penalty_has_the_least_held_out_log_loss(points):
    X, y = points
    clf = TunedLogisticRegression(random_state=3).fit(X, y)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=3).split(X, y))
    losses = [
        np.mean(
            [
                log_loss(y[b], LogisticRegression(C=C).fit(X[a], y[a]).predict_proba(X[b]))
                for a, b in folds
            ]
        )
        for C in clf.Cs
    ]
    assert clf.Cs[int(np.argmin(losses))] == clf.C_
    assert clf.C_ not in (clf.Cs[0], clf.Cs[-1])
    reference = LogisticRegression(C=clf.C_, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(clf.predict_proba(X), reference.predict_proba(X), rtol=1e-10)
    np.testing.assert_allclose(np.exp(clf.predict_log_proba(X)), clf.predict_proba(X))


@pytest.mark.parametrize(("rare", "folds"), [(7, 5), (4, 4), (2, 2)])
def test_no_more_folds_than_rows_of_the_rarest_class(points, rare, folds, monkeypatch):
    X, _ = points
    y = np.array(["often"] * (60 - rare) + ["rarely"] * rare)
    asked = []
    genuine = StratifiedKFold.__init__
    monkeypatch.setattr(
        StratifiedKFold,
        "__init__",
        lambda self, n, **options: asked.append(n) or genuine(self, n, **options),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clf = TunedLogisticRegression(random_state=0).fit(X, y)
    assert asked == [folds]
    assert clf.classes_.tolist() == ["often", "rarely"]


def test_a_single_row_of_a_class_leaves_the_default_penalty(points):
    X, _ = points
    clf = TunedLogisticRegression().fit(X[:9], ["a"] * 8 + ["b"])
    assert clf.C_ == 1.0


def test_sources_are_held_out_as_wholes():
    """Features that only tell sources apart: learning them by heart must not look good."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 6)
    y = np.repeat(rng.permutation(np.arange(20) % 2), 6)
    X = np.eye(20)[groups] * 5 + rng.normal(scale=0.1, size=(120, 20))
    by_rows = TunedLogisticRegression(random_state=0).fit(X, y)
    by_sources = TunedLogisticRegression(random_state=0).fit(X, y, groups=groups)
    assert by_sources.C_ < 1 < by_rows.C_
    pipeline = regression_on("passthrough", random_state=0).fit(X, y, regression__groups=groups)
    assert pipeline[-1].C_ == by_sources.C_
    for learnt, judged in held_out_folds(y, groups, random_state=0):
        assert not set(groups[learnt]) & set(groups[judged])
    assert held_out_folds(y[:12], groups[:12]) == []  # one source of a class, or of each
    with pytest.raises(ValueError, match="pass one group per row"):
        TunedLogisticRegression().fit(X, y, groups=groups[:-1])


def test_sparse_features_and_other_steps(points):
    X, y = points
    dense = regression_on("passthrough", random_state=0).fit(X, y)
    thin = regression_on("passthrough", random_state=0).fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(thin.predict_proba(sparse.csr_array(X)), dense.predict_proba(X))
    scaled = regression_on(make_pipeline(StandardScaler()), random_state=0).fit(X, y)
    assert scaled.named_steps["features"][0].mean_.shape == (5,)


# --- TF-IDF --------------------------------------------------------------------------------------


def test_tfidf_learns_which_words_decide(data):
    clf = tfidf_regression(random_state=0).fit(data[0], data[1])
    proba = clf.predict_proba(data[2])
    assert proba.shape == (80, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert roc_auc_score(data[3], proba[:, 1]) > 0.95
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(data[2]), proba)
    repeated = clone(clf).fit(data[0], data[1])
    np.testing.assert_array_equal(repeated.predict_proba(data[2]), proba)
    assert cross_val_score(clf, data[0], data[1], cv=3, scoring="roc_auc").min() > 0.9


def test_tfidf_on_the_bundled_messages_converges():
    messages = load_messages()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        clf = tfidf_regression(random_state=0).fit(messages.train.texts, messages.train.labels)
    escalate = np.array(messages.test.labels) == "escalate"
    assert roc_auc_score(escalate, clf.predict_proba(messages.test.texts)[:, 0]) > 0.7


@pytest.mark.parametrize("y", [[0, 1], [False, True], ["no", "yes"]], ids=["int", "bool", "str"])
def test_tfidf_labels_keep_their_type(y):
    texts = ["smoke is here", "many thanks"] * 3
    clf = tfidf_regression().fit(texts, y * 3)
    assert clf.classes_.tolist() == y
    assert clf.predict(texts[:2]).tolist() == y


def test_tfidf_takes_records_three_classes_and_texts_without_words():
    frame = pd.DataFrame({"claim": ["a", "b", "c"] * 4, "source": ["?", "!", "\U0001f525"] * 4})
    clf = tfidf_regression().fit(frame, ["x", "y", "z"] * 4)
    assert clf.predict(frame[:3]).tolist() == ["x", "y", "z"]
    np.testing.assert_allclose(clf.predict_proba(frame).sum(axis=1), 1)
    marks = tfidf_regression().fit(["?", "!"], [0, 1])
    assert marks.predict(["!", "?"]).tolist() == [1, 0]


@pytest.mark.parametrize("overlap", [False, True])
def test_tfidf_whatever_scikit_learn_is_set_to(data, overlap):
    """Tables cannot hold sparse features."""
    texts, labels = data[:2]
    expected = tfidf_regression(overlap=overlap, random_state=0).fit(texts, labels)
    with config_context(transform_output="pandas", enable_metadata_routing=True):
        found = clone(expected).fit(texts, labels)
        np.testing.assert_array_equal(found.predict_proba(texts), expected.predict_proba(texts))


def test_features_are_known_by_their_names():
    X = pd.DataFrame({"a": [-2.0, -1.0, 1.0, 2.0], "b": [5.0, -3.0, 4.0, -2.0]})
    clf = TunedLogisticRegression(random_state=0).fit(X, [0, 0, 1, 1])
    assert clf.n_features_in_ == 2
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(X[["b", "a"]])
    with pytest.raises(ValueError, match="expecting 2 features"):
        clf.predict([[1.0]])


def test_ngrams():
    clf = tfidf_regression((1, 1)).fit(["not good", "good"], [0, 1])
    found = clf.named_steps["features"].features_[0].get_feature_names_out()
    assert found.tolist() == ["good", "not"]
    clf = tfidf_regression().fit(["not good", "good"], [0, 1])
    found = clf.named_steps["features"].features_[0].get_feature_names_out()
    assert found.tolist() == ["good", "not", "not good"]


def test_bad_input_is_refused():
    with pytest.raises(InvalidLabelsError, match=r"one class only .*TunedLogisticRegression"):
        tfidf_regression().fit(["a", "b"], [1, 1])
    with pytest.raises(InvalidTextError, match=r"X\[1\] is missing"):
        tfidf_regression().fit(["a", None], [0, 1])
    with pytest.raises(InvalidLabelsError, match="2 texts but y has 1"):
        tfidf_regression().fit(["a", "b"], [0])


def test_features_of_float32_lose_no_probability():
    """As float32, what lies beyond 17 nats would be a probability of exactly 0."""
    X = np.array([[-1.0], [-0.9], [0.9], [1.0]], dtype=np.float32)
    clf = TunedLogisticRegression(random_state=0).fit(X, [0, 0, 1, 1])
    regression = clf.regression_
    far = np.float32((25 - regression.intercept_) / regression.coef_[0])[:, None]
    proba = clf.predict_proba(far)
    assert proba.dtype == np.float64
    assert proba[0, 0] == pytest.approx(np.exp(-25), rel=1e-3)
    assert np.isfinite(clf.predict_log_proba(far)).all()


def test_a_fold_that_would_take_a_whole_class_is_left_out():
    X, y, groups = np.arange(8.0)[:, None], [0, 1, 0, 0, 1, 0, 0, 1], [0, 1, 3, 3, 3, 3, 0, 3]
    for seed in range(100):
        for learnt, _ in held_out_folds(np.array(y), groups, random_state=seed):
            assert set(np.array(y)[learnt]) == {0, 1}
    clf = TunedLogisticRegression(random_state=63).fit(X, y, groups=groups)
    assert clf.predict(X).shape == (8,)
