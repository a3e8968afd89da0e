"""Temperature scaling of a fitted classifier."""

import pickle
import warnings

import numpy as np
import pytest
from scipy.special import logit
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import log_loss

from skclsgen import CLSGenClassifier, persistence
from skclsgen.baselines import GenerationOnly
from skclsgen.exceptions import FallbackWarning, InvalidLabelsError, InvalidTextError
from skclsgen.temperature import best_temperature


@pytest.fixture
def fitted(quick, data):
    texts, labels, _ = data
    return CLSGenClassifier(**quick).fit(texts[:20], labels[:20])


def test_the_log_loss_is_lowest_at_the_temperature_chosen(fitted, data):
    texts, labels = data[0][20:], data[1][20:]
    before = fitted.predict_proba(texts)
    assert fitted.temperature_ == 1
    assert fitted.calibrate(texts, labels) is fitted
    assert fitted.temperature_ != 1
    after = fitted.predict_proba(texts)
    assert log_loss(labels, after) < log_loss(labels, before)
    np.testing.assert_allclose(logit(after[:, 1]) * fitted.temperature_, logit(before[:, 1]))
    for factor in (0.9, 1.1):
        other = 1 / (1 + np.exp(-logit(after[:, 1]) * factor))
        assert log_loss(labels, other) > log_loss(labels, after[:, 1])


def test_it_agrees_with_scikit_learn(fitted, data):
    texts, labels = data[0][20:], data[1][20:]
    theirs = CalibratedClassifierCV(FrozenEstimator(fitted), method="temperature")
    theirs.fit(texts, labels)
    expected = theirs.predict_proba(data[2])
    np.testing.assert_allclose(
        fitted.calibrate(texts, labels).predict_proba(data[2]), expected, atol=1e-3
    )


def test_every_probability_is_scaled_and_nothing_else_changes(fitted, data):
    texts, labels, test = data
    chosen, reasons = fitted.predict(test), fitted.explain(test[:3])
    fitted.calibrate(texts[20:], labels[20:])
    proba = fitted.predict_proba(test)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(test)), proba)
    np.testing.assert_allclose(fitted.decision_function(test), logit(proba[:, 1]), rtol=1e-6)
    assert (fitted.predict(test) == chosen).all()
    again = fitted.explain(test[:3])
    assert [reason.text for reason in again] == [reason.text for reason in reasons]
    np.testing.assert_allclose([reason.proba for reason in again], proba[:3].max(axis=1), rtol=1e-3)


def test_it_is_kept_by_every_way_of_saving_and_forgotten_by_fit(fitted, data, tmp_path):
    texts, labels, test = data
    fitted.calibrate(texts[20:], labels[20:])
    proba = fitted.predict_proba(test)
    fitted.save(tmp_path / "saved")
    for twin in (pickle.loads(pickle.dumps(fitted)), CLSGenClassifier.load(tmp_path / "saved")):
        assert twin.temperature_ == fitted.temperature_
        assert np.array_equal(twin.predict_proba(test), proba)
    assert "temperature_" not in vars(clone(fitted))
    assert fitted.set_params(warm_start=True).fit(texts[:20], labels[:20]).temperature_ == 1


def test_rows_that_are_all_right_do_not_make_it_sure(fitted, data):
    texts = data[0][20:]
    own = fitted.predict(texts)
    own[0] = next(label for label in fitted.classes_ if label != own[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.calibrate(texts, own)
    weights = [0.0] + [1.0] * (len(texts) - 1)
    with pytest.warns(FallbackWarning, match="all 19 rows are classified right"):
        fitted.calibrate(texts, own, sample_weight=weights)
    assert fitted.temperature_ == 1


def test_weights_count_as_rows_do():
    logits = np.array([[2.0, 0.0], [1.5, 0.0], [0.0, 1.0]])
    labels = np.array([0, 1, 1])
    twice = best_temperature(logits[[0, 0, 1, 2]], labels[[0, 0, 1, 2]])
    assert best_temperature(logits, labels, np.array([2.0, 1.0, 1.0])) == pytest.approx(twice)


def test_several_classes_and_generation(quick, data):
    texts, _, test = data
    labels = [row % 3 for row in range(len(texts))]
    for kind in (CLSGenClassifier, GenerationOnly):
        clf = kind(**quick).fit(texts, labels)
        before = clf.predict_proba(texts)
        after = clf.calibrate(texts, labels).predict_proba(texts)
        assert log_loss(labels, after) <= log_loss(labels, before)
        np.testing.assert_allclose(clf.predict_proba(test).sum(axis=1), 1)


def test_texts_that_can_be_read_once(quick, data):
    texts, labels, test = data
    for kind in (CLSGenClassifier, GenerationOnly):
        clf = kind(**quick).fit(iter(texts), labels)
        expected = clf.calibrate(texts, labels).temperature_
        assert clf.calibrate(iter(texts), labels).temperature_ == expected
        assert clf.explain(iter(test), max_new_tokens=3) == clf.explain(test, max_new_tokens=3)


def test_bad_input_leaves_the_temperature_as_it_is(fitted, data):
    texts, labels = data[0][20:], data[1][20:]
    temperature = fitted.calibrate(texts, labels).temperature_
    with pytest.raises(InvalidLabelsError, match="y has 'later', which fit has not seen"):
        fitted.calibrate(texts, ["later", *labels[1:]])
    with pytest.raises(InvalidLabelsError, match="X has 20 texts but y has 3 labels"):
        fitted.calibrate(texts, labels[:3])
    with pytest.raises(InvalidTextError, match="X is empty"):
        fitted.calibrate([], [])
    with pytest.raises(ValueError, match="sample_weight"):
        fitted.calibrate(texts, labels, sample_weight=[-1] * 20)
    assert fitted.temperature_ == temperature
    with pytest.raises(NotFittedError):
        CLSGenClassifier().calibrate(texts, labels)


def test_folders_saved_before_there_was_a_temperature_have_1(fitted, data, tmp_path, monkeypatch):
    monkeypatch.setattr(
        persistence, "FITTED", tuple(name for name in persistence.FITTED if name != "temperature_")
    )
    fitted.save(tmp_path / "saved")
    monkeypatch.undo()
    again = CLSGenClassifier.load(tmp_path / "saved")
    assert np.array_equal(again.predict_proba(data[2]), fitted.predict_proba(data[2]))
