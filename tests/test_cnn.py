import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from skclsgen.baselines.cnn import SentenceCNN
from skclsgen.baselines.cnn_network import (
    NO_WORD,
    ConvolutionalNetwork,
    batches,
    split,
    vocabulary,
)
from skclsgen.exceptions import InvalidLabelsError, InvalidTextError, TrainingDivergedError

SMALL = {"embedding_width": 16, "n_filters": 8, "random_state": 0}


def sentences(n, seed=0, classes=2):
    """Texts of 4 to 30 words, one of which gives the class away; labels are class numbers."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    texts = []
    for label in labels:
        words = [f"word{i}" for i in rng.integers(40, size=rng.integers(4, 30))]
        words[rng.integers(len(words))] = ["smoke", "thanks", "parcel"][label]
        texts.append(" ".join(words))
    return texts, labels


@pytest.fixture(scope="module")
def data():
    texts, labels = sentences(300)
    return texts[:200], labels[:200], texts[200:], labels[200:]


@pytest.fixture(scope="module")
def fitted(data):
    return SentenceCNN(**SMALL).fit(data[0], data[1])


def test_learns_which_words_decide(data, fitted):
    proba = fitted.predict_proba(data[2])
    assert proba.shape == (100, 2)
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-12)
    assert roc_auc_score(data[3], proba[:, 1]) > 0.95
    assert fitted.score(data[2], data[3]) > 0.9
    assert fitted.n_iter_ == len(fitted.history_["loss"])
    assert fitted.history_["loss"][-1] < fitted.history_["loss"][0]


def test_three_classes():
    texts, labels = sentences(360, classes=3)
    names = np.array(["urgent", "polite", "logistics"])[labels]
    clf = SentenceCNN(**SMALL).fit(texts[:300], names[:300])
    assert clf.classes_.tolist() == ["logistics", "polite", "urgent"]
    proba = clf.predict_proba(texts[300:])
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-12)
    assert roc_auc_score(names[300:], proba, multi_class="ovr", labels=clf.classes_) > 0.95


def test_random_state_fixes_all_and_leaves_the_callers_generator_alone(data, fitted):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    again = clone(fitted).fit(data[0], data[1])
    np.testing.assert_array_equal(torch.get_rng_state(), state)
    assert again.history_ == fitted.history_
    np.testing.assert_array_equal(again.predict_proba(data[2]), fitted.predict_proba(data[2]))
    other = clone(fitted).set_params(random_state=1).fit(data[0], data[1])
    assert np.abs(other.predict_proba(data[2]) - fitted.predict_proba(data[2])).max() > 1e-6


def test_a_text_does_not_depend_on_its_batch(data, fitted):
    texts = [*data[2][:20], "smoke", "x " * 300, "?", "smoke " * 2]
    together = fitted.predict_proba(texts)
    alone = np.concatenate([fitted.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6, rtol=0)


def test_network_is_the_papers_arithmetic():
    """Written out for one text: every window of zero-padded words, ReLU, maximum, linear layer."""
    torch.manual_seed(0)
    network = ConvolutionalNetwork(6, 2, 3, (2, 3), 4, 0.5).eval()
    words = [4, 1, 5]
    table = network.embeddings.weight.detach().numpy()
    maxima = []
    for convolution, width in zip(network.convolutions, (2, 3), strict=True):
        weight, bias = (p.detach().numpy() for p in (convolution.weight, convolution.bias))
        zeros = [np.zeros(3)] * (width - 1)
        rows = np.array([*zeros, *table[words], *zeros])
        windows = [rows[i : i + width] for i in range(len(rows) - width + 1)]
        found = [[np.sum(w * f.T) + b for f, b in zip(weight, bias, strict=True)] for w in windows]
        maxima.append(np.maximum(found, 0).max(axis=0))
    weight, bias = (p.detach().numpy() for p in network.output.parameters())
    expected = weight @ np.concatenate(maxima) + bias
    ((_, padded, lengths),) = batches(network, [words, [2] * 9], np.array([0, 1]), 2)
    logits = network(padded, lengths).detach().numpy()
    np.testing.assert_allclose(logits[0], expected, rtol=1e-5)
    assert not table[NO_WORD].any()


def test_output_weights_stay_within_the_norm(data):
    clf = SentenceCNN(**SMALL, max_norm=0.2, epochs=3).fit(data[0], data[1])
    norms = clf._network.output.weight.norm(dim=1).tolist()
    assert max(norms) == pytest.approx(0.2, abs=1e-5)
    network = ConvolutionalNetwork(3, 2, 2, (1,), 2, 0.0)
    with torch.no_grad():
        network.output.weight.copy_(torch.tensor([[3.0, 4.0], [0.3, 0.4]]))
    network.clip_output(1.0)
    expected = [[0.6, 0.8], [0.3, 0.4]]
    np.testing.assert_allclose(network.output.weight.detach(), expected, atol=1e-6)


def test_best_epoch_is_kept(data, monkeypatch):
    """Nothing improves: training stops after the patience, at the first epoch's weights."""
    clf = SentenceCNN(**SMALL, n_iter_no_change=2)
    losses = iter([0.5, 0.7, 0.6])
    states = []

    def cross_entropy(logits, targets, genuine=torch.nn.functional.cross_entropy):
        if logits.requires_grad:
            return genuine(logits, targets)
        states.append(copy.deepcopy(network[0].state_dict()))
        return torch.tensor(next(losses), dtype=torch.float64)

    network = []
    genuine_epoch = SentenceCNN._epoch

    def epoch(self, net, *rest):
        network[:] = [net]
        return genuine_epoch(self, net, *rest)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", cross_entropy)
    monkeypatch.setattr(SentenceCNN, "_epoch", epoch)
    clf.fit(data[0], data[1])
    assert clf.history_["validation_loss"] == [0.5, 0.7, 0.6]
    assert clf.n_iter_ == 3
    for name, value in clf._network.state_dict().items():
        np.testing.assert_array_equal(value, states[0][name])
    weight = "output.weight"
    assert not torch.equal(states[0][weight], states[2][weight])


def test_pickle_gives_the_same_probabilities(data, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(data[2]), fitted.predict_proba(data[2]))
    assert again.get_params() == fitted.get_params()
    assert not hasattr(clone(again), "classes_")


@pytest.mark.parametrize(
    "y", [[0, 1], [True, False], ["no", "yes"], [7, -3]], ids=["01", "bool", "str", "int"]
)
def test_labels_keep_their_type(y):
    texts = ["smoke is here", "many thanks"] * 6
    clf = SentenceCNN(**SMALL, learning_rate=0.01).fit(texts, y * 6)
    assert clf.classes_.tolist() == sorted(y)
    assert clf.predict(texts[:2]).tolist() == y


def test_records():
    frame = pd.DataFrame({"claim": ["a", "b"] * 8, "source": ["smoke", "thanks"] * 8})
    clf = SentenceCNN(**SMALL, learning_rate=0.01).fit(frame, [1, 0] * 8)
    assert clf.predict(frame[:2]).tolist() == [1, 0]
    assert {"claim", ":", "smoke"} <= set(clf.vocabulary_)


def test_two_rows_are_enough():
    clf = SentenceCNN(**SMALL, epochs=2).fit(["smoke", "!"], ["a", "b"])
    assert "validation_loss" not in clf.history_
    assert clf.n_iter_ == 2
    np.testing.assert_allclose(clf.predict_proba(["unheard of"]).sum(), 1)


def test_words_are_lower_case_cut_and_counted():
    clf = SentenceCNN(max_words=4)
    assert clf._words("It's 5 O'clock!") == ["it", "'", "s", "5"]
    assert SentenceCNN()._words("Fire! \U0001f525") == ["fire", "!", "\U0001f525"]
    assert vocabulary([["b", "a"], ["c", "b"]]) == {"b": 1, "a": 2, "c": 3}


def test_held_out_part_has_every_class_or_is_empty():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 15 + [1] * 5)
    training, held_out = split(labels, 0.2, rng)
    assert sorted([*training, *held_out]) == list(range(20))
    assert np.bincount(labels[held_out]).tolist() == [3, 1]
    for few, fraction in (([0, 0, 0, 1], 0.5), ([0, 1] * 5, 0.1), ([0, 1] * 5, 0.0)):
        training, held_out = split(np.array(few), fraction, rng)
        assert len(held_out) == 0
        assert training.tolist() == list(range(len(few)))


def test_a_rare_class_is_on_both_sides():
    labels = np.array([0] * 60 + [1] * 3)
    for part in split(labels, 0.1, np.random.default_rng(0)):
        assert set(labels[part]) == {0, 1}


def test_no_source_is_trained_on_and_held_out(data):
    texts, labels, *_ = data
    groups = np.arange(len(texts)) // 4
    training, held_out = split(labels, 0.2, np.random.default_rng(0), groups)
    assert len(held_out)
    assert not set(groups[training]) & set(groups[held_out])
    for fraction in (0, 0.2):
        with pytest.raises(ValueError, match="groups has the shape"):
            SentenceCNN(epochs=1, validation_fraction=fraction).fit(texts, labels, groups=[1])
    clf = SentenceCNN(epochs=1, random_state=0).fit(texts, labels, groups=groups)
    assert clf.predict(texts[:2]).shape == (2,)
    # One source, or a class with one: nothing can be held out.
    for sources in (np.zeros(len(texts), int), labels == labels[0]):
        training, held_out = split(labels, 0.2, np.random.default_rng(0), sources)
        assert (len(training), len(held_out)) == (len(texts), 0)


def test_one_class_is_refused():
    with pytest.raises(InvalidLabelsError, match=r"one class only .*SentenceCNN needs"):
        SentenceCNN().fit(["a", "b"], [1, 1])


def test_bad_texts_are_refused(fitted):
    with pytest.raises(InvalidTextError, match=r"X\[1\] is empty"):
        SentenceCNN().fit(["a", " "], [0, 1])
    with pytest.raises(InvalidTextError, match="X is a single string"):
        fitted.predict("a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("embedding_width", 0),
        ("filter_widths", 3),
        ("filter_widths", ()),
        ("filter_widths", (3, 0)),
        ("dropout", 1.0),
        ("max_norm", 0),
        ("epochs", 0),
        ("batch_size", 2.5),
        ("validation_fraction", 1.0),
        ("device", "quantum"),
    ],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        SentenceCNN(**{name: value}).fit(["a", "b"], [0, 1])


def test_divergence_is_named():
    clf = SentenceCNN(**SMALL, learning_rate=1e30, dropout=0.0, max_norm=1e30)
    with pytest.raises(TrainingDivergedError, match="lower learning_rate"):
        clf.fit(["smoke", "thanks"] * 4, [0, 1] * 4)
    with pytest.raises(NotFittedError):  # and nothing is half-fitted
        clf.predict(["smoke"])


# --- scikit-learn's own checks, on numeric rows spelled out as words -----------------------------


def words(X):
    """One word per feature: its letter and its value in half units, from 0 up, as in ``a15 b9``."""
    levels = np.clip(np.round(2 * X), -12, 12).astype(int)
    return [" ".join(f"{chr(97 + j % 26)}{v + 12}" for j, v in enumerate(row)) for row in levels]


class OnNumbers(SentenceCNN):
    """Takes numeric rows, which is what the checks pass."""

    def fit(self, X, y):
        return super().fit(words(validate_data(self, X)), y)

    def _check_texts(self, X):
        check_is_fitted(self)
        return words(validate_data(self, X, reset=False))

    def _keep_column_names(self, X):
        """Leave them to validate_data."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = False
        tags.input_tags.string = False
        return tags


@parametrize_with_checks(
    [
        OnNumbers(
            8,
            filter_widths=(1, 2),
            n_filters=16,
            dropout=0.0,
            epochs=25,
            learning_rate=1e-2,
            validation_fraction=0.0,
            random_state=0,
        )
    ]
)
def test_estimator(estimator, check):
    check(estimator)
