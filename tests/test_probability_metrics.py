"""Probabilities and their calibration."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn.metrics import f1_score, log_loss, matthews_corrcoef, roc_auc_score

from skclsgen.metrics import (
    apply_temperature,
    best_threshold,
    fit_temperature,
    probability_scores,
    reliability_curve,
    smooth_ece,
    smooth_ece_null,
)


def simulated(rows=400, seed=0, sharper=1.0):
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=rows)
    return (rng.random(rows) < expit(logits)).astype(int), expit(sharper * logits)


@pytest.mark.parametrize("metric", ["f1", "mcc"])
@pytest.mark.parametrize("levels", [8, 10_000])
def test_no_other_threshold_is_better(metric, levels):
    y, proba = simulated(80)
    proba = np.round(proba * levels) / levels
    quality = {"f1": f1_score, "mcc": matthews_corrcoef}[metric]
    found = quality(y, proba >= best_threshold(y, proba, metric))
    cuts = [*np.unique(proba), 1.1]
    assert found == pytest.approx(max(quality(y, proba >= cut) for cut in cuts))


def test_the_threshold_lies_between_two_probabilities():
    assert best_threshold([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.7]) == pytest.approx(0.4)
    assert best_threshold([1, 1, 0], [0.6, 0.7, 0.7]) == pytest.approx(0.3)  # all are positive
    sure, surer = 1 - 2 * 2.0**-53, 1 - 2.0**-53  # between which there is no float
    assert sure < best_threshold([0, 1], [sure, surer]) <= surer


def test_scores_are_scikit_learns():
    y, proba = simulated()
    scores = probability_scores(y, proba, 0.4)
    assert scores["auroc"] == roc_auc_score(y, proba)
    assert scores["brier"] == pytest.approx(np.mean((y - proba) ** 2))
    assert scores["f1"] == f1_score(y, proba >= 0.4)
    constant = log_loss(y, np.full(len(y), y.mean()))
    assert scores["d2"] == pytest.approx(1 - scores["log_loss"] / constant)
    sure = probability_scores([0, 1, 1], [0.0, 0.0, 1.0])
    assert np.isfinite(sure["log_loss"])


@pytest.mark.parametrize(
    ("y", "proba", "message"),
    [
        ([0, 1], [0.5], "shapes"),
        ([0, 2], [0.1, 0.5], r"it must be 0 or 1"),
        ([0, 1, None], [0.1, 0.5, 0.5], r"the values \[None\]; it must be 0 or 1"),
        ([0, 1], [0.5, 1.5], r"must lie in \[0, 1\]"),
        ([0, 1], [0.5, np.nan], "not finite"),
        ([1, 1], [0.5, 0.6], "one class only"),
    ],
)
def test_bad_input_is_refused(y, proba, message):
    with pytest.raises(ValueError, match=message):
        probability_scores(y, proba)
    with pytest.raises(ValueError, match="'f1' or 'mcc'"):
        best_threshold([0, 1], [0.2, 0.8], "accuracy")


def slow_smooth_ece(y, proba):
    """The definition, by reflected kernels on a fine grid and a search for the width."""
    at = (np.arange(2000) + 0.5) / 2000

    def error(width):
        kernel = sum(
            norm.pdf(at[:, None], loc=sign * proba + 2 * turn, scale=width)
            for turn in range(-3, 4)
            for sign in (1, -1)
        )
        return float(np.abs(kernel @ (y - proba)).mean() / len(y))

    low, high = 1e-3, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (low, middle) if error(middle) < middle else (middle, high)
    return error(high)


@pytest.mark.parametrize("sharper", [0.3, 1.0, 3.0])
def test_smooth_ece_is_its_definition(sharper):
    y, proba = simulated(300, sharper=sharper)
    assert smooth_ece(y, proba) == pytest.approx(slow_smooth_ece(y, proba), abs=1e-3)


def test_the_null_band_holds_what_is_calibrated_and_nothing_else():
    y, proba = simulated(2000)
    low, high = smooth_ece_null(proba, random_state=0)
    assert low < smooth_ece(y, proba) < high
    assert smooth_ece(y, simulated(2000, sharper=3.0)[1]) > 2 * high
    assert smooth_ece_null(proba, random_state=0) == (low, high)
    with pytest.raises(ValueError, match="repeats is 0; draw at least once"):
        smooth_ece_null(proba, repeats=0)


def test_a_reliability_curve_finds_the_truth():
    rng = np.random.default_rng(0)
    proba = rng.random(20_000)
    y = (rng.random(20_000) < proba**2).astype(int)
    curve = reliability_curve(y, proba, points=51)
    inner = slice(8, -8)
    np.testing.assert_allclose(curve.observed[inner], curve.proba[inner] ** 2, atol=0.05)
    assert np.mean(curve.density) == pytest.approx(1, abs=0.05)


def test_a_reliability_curve_says_nothing_where_nothing_was_predicted():
    curve = reliability_curve([1] * 80 + [0] * 20, [0.8] * 100, points=6)
    assert np.isnan(curve.observed[[0, 1, 2, 3, 5]]).all()
    assert curve.observed[4] == pytest.approx(0.8)


@pytest.mark.parametrize("temperature", [-1, 0, np.nan, np.inf])
def test_a_temperature_is_above_0(temperature):
    with pytest.raises(ValueError, match="number above 0"):
        apply_temperature([0.2, 0.9], temperature)


def test_a_known_temperature_is_found_again():
    y, proba = simulated(4000, sharper=2.5)
    temperature = fit_temperature(y, proba)
    assert temperature == pytest.approx(2.5, rel=0.1)
    scaled = apply_temperature(proba, temperature)
    assert log_loss(y, scaled) < log_loss(y, proba)
    assert roc_auc_score(y, scaled) == roc_auc_score(y, proba)
    both = np.column_stack([1 - proba, proba])
    assert fit_temperature(y, both) == pytest.approx(temperature)
    np.testing.assert_allclose(apply_temperature(both, temperature)[:, 1], scaled)


def test_temperature_where_there_is_nothing_to_learn():
    assert fit_temperature([1, 0], [0.9, 0.1]) == pytest.approx(1 / 50)
    assert fit_temperature([0, 1], [0.9, 0.1]) == pytest.approx(50)
    assert fit_temperature([0, 1], [0.5, 0.5]) == 1
    scaled = apply_temperature([1.0, 0.0], 2.0)
    assert np.isfinite(scaled).all()
    sure = np.ones(1000)  # of all rows, and right of seven in ten
    gold = np.arange(1000) % 10 < 7
    mended = apply_temperature(sure, fit_temperature(gold, sure))
    assert log_loss(gold, mended) == pytest.approx(log_loss(gold, 0.7 * sure), abs=1e-3)
    with pytest.raises(ValueError, match="one class index per row"):
        fit_temperature([1], [0.9, 0.1])
    with pytest.raises(ValueError, match="outside"):
        apply_temperature([-0.1], 2.0)
    with pytest.raises(ValueError, match="class 1, or of every class"):
        apply_temperature([[0.2], [0.9]], 2.0)
    with pytest.raises(ValueError, match=r"sums to 1\.8 in row 1"):
        apply_temperature([[0.1, 0.9], [0.9, 0.9]], 2.0)
