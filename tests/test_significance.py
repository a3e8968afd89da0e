import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from skclsgen.metrics import (
    auroc_interval,
    delong_test,
    holm,
    non_inferior,
    paired_bootstrap,
    permutation_test,
    resampling_weights,
    weighted_auroc,
)


def simulated(rows=200, seed=0, better=0.6):
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=rows)
    shared = rng.normal(size=rows)
    return y, y * 1.5 + shared + rng.normal(size=rows), y * (1.5 - better) + shared


def slow_delong(y, scores):
    """Placements pair by pair, and their covariances (DeLong et al., section 2)."""
    ones, zeros = np.flatnonzero(y == 1), np.flatnonzero(y == 0)

    def psi(a, b):
        return float(a > b) + 0.5 * float(a == b)

    over = [[np.mean([psi(s[i], s[j]) for j in zeros]) for i in ones] for s in scores]
    under = [[np.mean([psi(s[i], s[j]) for i in ones]) for j in zeros] for s in scores]
    aurocs = np.mean(over, axis=1)
    return aurocs, np.cov(over) / len(ones) + np.cov(under) / len(zeros)


def test_delong_is_its_definition():
    y, a, b = simulated(60)
    a, b = np.round(a, 1), np.round(b, 1)  # with ties
    aurocs, covariance = slow_delong(y, [a, b])
    found = delong_test(y, a, b)
    assert found.difference == pytest.approx(roc_auc_score(y, a) - roc_auc_score(y, b))
    deviation = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.difference) / deviation))
    half = stats.norm.ppf(0.975) * deviation
    assert (found.low, found.high) == pytest.approx(
        (found.difference - half, found.difference + half)
    )
    auroc, low, high = auroc_interval(y, a)
    assert auroc == pytest.approx(aurocs[0])
    spread = stats.norm.ppf(0.975) * np.sqrt(covariance[0, 0]) / (auroc * (1 - auroc))
    assert stats.logistic.ppf(high) - stats.logistic.ppf(auroc) == pytest.approx(spread)
    assert low < auroc < high


def test_delong_worked_by_hand():
    # Positives .3 .8 .9 against negatives .1 .4 .5: shares below 1/3, 1, 1; above 1, 2/3, 2/3.
    y, scores = [0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.5, 0.3, 0.8, 0.9]
    over, above = np.array([1 / 3, 1, 1]), np.array([1, 2 / 3, 2 / 3])
    variance = over.var(ddof=1) / 3 + above.var(ddof=1) / 3
    auroc, low, _ = auroc_interval(y, scores)
    assert auroc == pytest.approx(7 / 9)
    width = 1.959964 * np.sqrt(variance) / (7 / 9 * 2 / 9)
    assert low == pytest.approx(stats.logistic.cdf(stats.logistic.ppf(7 / 9) - width))


def test_equal_and_perfect_scores():
    y, a, _ = simulated()
    same = delong_test(y, a, 2 * a + 1)
    assert (same.difference, same.p_value) == (0, 1)
    assert auroc_interval([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == (1, 1, 1)


def test_a_difference_without_any_variance_has_no_p_value():
    found = delong_test([0, 1], [0.1, 0.9], [0.5, 0.5])
    assert found.difference == 0.5
    assert np.isnan(found.p_value)


def test_of_a_single_source_nothing_is_known():
    found = auroc_interval([0, 0, 0, 1, 1, 1], [0.1, 0.4, 0.5, 0.3, 0.8, 0.9], groups=[0] * 6)
    assert found == (pytest.approx(7 / 9), 0.0, 1.0)


@pytest.mark.parametrize("groups", [None, ["a", *map(str, range(50))]])
def test_of_a_class_with_a_single_row_nothing_is_known(groups):
    y = np.array([1] + [0] * 50)
    scores = np.arange(51) / 51
    assert auroc_interval(y, scores, groups=groups)[1:] == (0, 1)
    found = delong_test(y, scores, -scores, groups=groups)
    assert (found.low, found.high) == (-1, 1)
    assert np.isnan(found.p_value)


def test_a_class_whose_rows_are_all_of_one_source():
    y = np.array([1] * 5 + [0] * 50)
    scores = np.random.default_rng(0).random(55)
    assert auroc_interval(y, scores, groups=[0] * 5 + list(range(1, 51)))[1:] == (0, 1)


def test_few_positive_sources_among_many():
    """Two positives in two of many sources: their part is divided by one, not by one hundred."""
    rng = np.random.default_rng(0)
    y, a = np.r_[1, 1, np.zeros(100)], np.r_[2.0, 0.0, rng.normal(size=100)]
    plain = auroc_interval(y, a)
    paired = np.r_[np.arange(101), 100]  # two of the negatives come from one source
    assert auroc_interval(y, a, groups=paired) == pytest.approx(plain, abs=0.02)


def test_rows_of_one_source_count_once():
    """Every row written down four times is no more evidence, once the copies are one group."""
    y, a, b = simulated(100)
    plain = delong_test(y, a, b)
    four = [np.tile(values, 4) for values in (y, a, b)]
    naive = delong_test(*four)
    grouped = delong_test(*four, groups=np.tile(np.arange(100), 4))
    widths = [found.high - found.low for found in (plain, naive, grouped)]
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.05)
    assert widths[2] == pytest.approx(widths[0], rel=0.05)
    own = delong_test(y, a, b, groups=np.arange(100))
    assert own.p_value == pytest.approx(plain.p_value)


def test_clustered_variance_agrees_with_the_clustered_bootstrap():
    rng = np.random.default_rng(0)
    groups = rng.integers(80, size=400)
    common = rng.normal(size=80)[groups]
    y = (rng.random(400) < 0.5).astype(int)
    scores = y + common + rng.normal(size=400)
    _, low, high = auroc_interval(y, scores, groups)
    drawn = weighted_auroc(y, scores, resampling_weights(groups, 4000, random_state=0))
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.01)


def test_delong_is_not_taken_in_by_rounding():
    for pairs in range(2, 40):  # each group's positive and negative rows cancel, nearly or exactly
        found = auroc_interval([0, 1] * pairs, range(2 * pairs), groups=np.repeat(range(pairs), 2))
        assert found[1:] == (0, 1)
    rows = 100_000
    y, one = np.tile([0, 1], rows), np.arange(2.0 * rows)
    other = one.copy()
    other[:80] = one[:80].reshape(-1, 2)[:, ::-1].ravel()  # a few neighbours exchanged
    assert delong_test(y, one, other).p_value < 1e-5
    assert delong_test(y, one, 3 * one + 1).p_value == 1


def test_delong_rarely_finds_what_is_not_there():
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        y = rng.integers(2, size=120)
        common = y + rng.normal(size=120)
        found.append(delong_test(y, common + rng.normal(size=120), common + rng.normal(size=120)))
    share = np.mean([test.p_value < 0.05 for test in found])
    assert 0.01 < share < 0.1


def test_paired_bootstrap_agrees_with_delong():
    y, a, b = simulated(300, better=0.4)

    def difference(y, a, b):
        return roc_auc_score(y, a) - roc_auc_score(y, b)

    found, exact = paired_bootstrap(difference, y, a, b, random_state=0), delong_test(y, a, b)
    assert found.difference == pytest.approx(exact.difference)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.012)
    again = paired_bootstrap(difference, y, a, b, random_state=0)
    assert again == found


def test_paired_bootstrap_draws_whole_groups_and_drops_what_is_no_number():
    groups = np.repeat(np.arange(10), 5)
    sizes = []
    paired_bootstrap(
        lambda g: float(sizes.append({int(n) for n in np.bincount(g)}) or 0.0),
        groups,
        groups=groups,
        repeats=20,
        random_state=0,
    )
    assert all(n % 5 == 0 for found in sizes for n in found)
    values = np.array([0.0, 1.0])
    found = paired_bootstrap(
        lambda v: 1.0 if len(set(v)) == 2 else float("nan"), values, repeats=50, random_state=0
    )
    assert (found.low, found.high) == (1, 1)
    with pytest.raises(ValueError, match="NaN for every resample"):
        paired_bootstrap(lambda v: float("nan"), values, repeats=5)


@pytest.mark.parametrize("rows", [8, 60])
def test_permutation_is_scipys(rows):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=rows) + 0.4, rng.normal(size=rows)
    expected = stats.permutation_test(
        (a, b),
        lambda a, b: np.mean(a) - np.mean(b),
        permutation_type="samples",
        n_resamples=10_000,
        rng=np.random.default_rng(1),
    )
    found = permutation_test(a, b, random_state=0)
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-12 if rows == 8 else 0.01)
    student = stats.ttest_rel(a, b).confidence_interval()
    assert (found.low, found.high) == pytest.approx((student.low, student.high))


def test_of_a_single_group_the_bootstrap_knows_nothing():
    found = paired_bootstrap(lambda a: float(a.mean()), [1.0, 2.0, 6.0], groups=[0, 0, 0])
    assert (found.difference, found.low, found.high) == (3, -np.inf, np.inf)
    assert np.isnan(found.p_value)


def test_sums_that_are_equal_but_for_rounding_are_as_far():
    assert permutation_test(np.array([1, 2, -1, -2]) / 10, np.zeros(4)).p_value == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: permutation_test([np.nan, 1, 2], [0, 0, 0]), "1 rows that are not finite"),
        (lambda: non_inferior([0.1, np.inf], 0.05), "1 rows that are not finite"),
        (lambda: non_inferior([0.1, 0.2], 0.05, groups=[0, 0]), "a single one"),
        (lambda: permutation_test([1, 2], [0, 0], level=95), "level is 95"),
        (lambda: auroc_interval([0, 1, 0, 1], [1, 2, 3, 4], level=0), "level is 0"),
        (lambda: paired_bootstrap(np.mean, [1.0, 2.0], repeats=0), "at least once"),
        (lambda: permutation_test([1, 2], [0, 0], groups=["a", None]), "1 missing"),
        (lambda: auroc_interval([0, 1], [np.nan, 3.0]), "not finite"),
        (lambda: delong_test([0, 1], [1, 3.0], [np.nan, 3.0]), "proba_b has .* not finite"),
    ],
)
def test_what_cannot_be_tested_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_permutation_exchanges_whole_groups():
    a, b = np.ones(12), np.zeros(12)
    assert permutation_test(a, b).p_value == 2 / 2**12
    assert permutation_test(a, b, groups=np.repeat([0, 1, 2], 4)).p_value == 2 / 2**3
    assert permutation_test(a, a).p_value == 1


def test_random_exchanges_are_dealt_with_in_parts(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=40) + 0.3, rng.normal(size=40)
    whole = permutation_test(a, b, random_state=0).p_value
    monkeypatch.setattr("skclsgen.metrics.significance.CHUNK", 4000)
    assert permutation_test(a, b, random_state=0).p_value == pytest.approx(whole, abs=0.015)


def test_non_inferiority_is_students():
    rng = np.random.default_rng(0)
    rises = 0.01 + 0.05 * rng.normal(size=40)
    found = non_inferior(rises, 0.05)
    expected = stats.ttest_1samp(rises, 0.05, alternative="less").pvalue
    assert found.p_value == pytest.approx(expected)
    assert found.difference == pytest.approx(rises.mean())
    assert non_inferior(rises + 0.1, 0.05).p_value > 0.99
    assert non_inferior([0.01, 0.01], 0.05).p_value == 0
    copies = non_inferior(np.tile(rises, 3), 0.05, groups=np.tile(np.arange(40), 3))
    assert copies.p_value == pytest.approx(expected)
    with pytest.raises(ValueError, match="a margin above 0"):
        non_inferior(rises, 0.0)


@pytest.mark.parametrize("margin", [0.05, 0.1, 0.3])
def test_a_rise_by_the_margin_is_not_below_it(margin):
    for rows in range(2, 60):
        assert non_inferior([margin] * rows, margin).p_value == 1
        assert non_inferior([margin / 2] * rows, margin).p_value == 0


def test_holm_worked_by_hand():
    found = holm([0.01, np.nan, 0.2, 0.015, 0.9])
    np.testing.assert_allclose(found, [0.04, np.nan, 0.4, 0.045, 0.9])
    assert holm([0.04, 0.04]).tolist() == [0.08, 0.08]
    assert holm([0.6, 0.7]).tolist() == [1, 1]
    assert holm([]).shape == (0,)
    with pytest.raises(ValueError, match=r"p_values has 1\.5, which is no share"):
        holm([0.2, 1.5])


def test_nothing_is_told_from_no_draws():
    with pytest.raises(ValueError, match="repeats is 0; draw at least once"):
        permutation_test(np.arange(99.0), np.zeros(99), repeats=0)


def test_sources_that_are_alike_tell_nothing_of_others():
    """Each of two has the very AUROC of both: their spread is 0, and nothing is known of others."""
    y, scores = [0, 1, 1, 0, 1, 1], [0.3, 0.2, 0.4, 0.3, 0.2, 0.4]
    assert auroc_interval(y, scores, groups=[0, 0, 0, 1, 1, 1]) == (0.5, 0, 1)
    assert auroc_interval(y, [0.5] * 6) == (0.5, 0.5, 0.5)
