import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from skclsgen.metrics.rank_bootstrap import resampling_weights, weighted_auroc


def test_weighted_auroc_is_that_of_scikit_learn_ties_included():
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=60)
    scores = rng.integers(8, size=60) / 8
    weights = resampling_weights(np.arange(60), 30, random_state=1)
    expected = [roc_auc_score(y, scores, sample_weight=row) for row in weights]
    assert weighted_auroc(y, scores, weights) == pytest.approx(expected)


def test_weights_are_those_of_rows_drawn_again():
    y, scores = np.array([0, 0, 1, 1]), np.array([0.1, 0.7, 0.4, 0.9])
    rows = [0, 1, 1, 2, 3, 3]
    weights = np.bincount(rows, minlength=4)[None]
    assert weighted_auroc(y, scores, weights)[0] == pytest.approx(
        roc_auc_score(y[rows], scores[rows])
    )


def test_a_resample_of_one_class_is_no_number():
    found = weighted_auroc([0, 1], [0.2, 0.8], [[2, 0], [0, 2], [1, 1]])
    assert np.isnan(found[:2]).all()
    assert found[2] == 1


def test_groups_are_drawn_whole_and_as_many_as_there_are():
    groups = np.array(["a", "b", "a", "c", "c", "c"])
    weights = resampling_weights(groups, 500, random_state=0)
    for name in "abc":
        own = weights[:, groups == name]
        assert (own == own[:, :1]).all()
    per_group = weights[:, [0, 1, 3]]
    assert (per_group.sum(axis=1) == 3).all()
    assert per_group.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.1)


def test_many_resamples_are_dealt_with_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    y, scores = rng.integers(2, size=20), rng.random(20)
    weights = resampling_weights(np.arange(20), 50, random_state=0)
    whole = weighted_auroc(y, scores, weights)
    monkeypatch.setattr("skclsgen.metrics.rank_bootstrap.CHUNK", 70)
    assert np.array_equal(weighted_auroc(y, scores, weights), whole)


def test_shapes_that_do_not_fit_are_an_error():
    with pytest.raises(ValueError, match=r"pass \(repeats, rows\)"):
        weighted_auroc([0, 1], [0.1, 0.2], [1, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: weighted_auroc([1, 2], [0.1, 0.2], [[1, 1]]), "must be 0 or 1"),
        (lambda: weighted_auroc([0, 1], [0.1, np.nan], [[1, 1]]), "scores has .* not finite"),
        (lambda: weighted_auroc([0, 1], [0.1, 0.2], [[1, -1]]), "at least 0"),
        (lambda: resampling_weights([]), "no rows"),
        (lambda: resampling_weights(["a", "b"], repeats=0), "at least once"),
        (lambda: resampling_weights(None), "no rows"),
        (lambda: resampling_weights([[1, 2], [3, 4]]), "one group per row"),
        (lambda: resampling_weights(["a", float("nan"), None]), "2 missing values"),
        (lambda: resampling_weights([0, np.nan, 1]), "1 missing"),
    ],
)
def test_values_that_do_not_fit_are_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()
