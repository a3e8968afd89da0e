"""Both parts of what is held out for early stopping have every class."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from skclsgen.holdout import check_validation_split, hold_out


@pytest.mark.parametrize(
    ("counts", "fraction"),
    [((36, 4), 0.1), ((30, 4), 0.1), ((60, 3), 0.1), ((1950, 9), 0.05), ((5, 4, 30), 0.9)],
)
def test_a_rare_class_is_on_both_sides(counts, fraction):
    labels = np.repeat(np.arange(len(counts)), counts)
    check_validation_split(labels, fraction)
    for seed in range(5):
        parts = hold_out(labels, fraction, seed)
        assert sorted([*parts[0], *parts[1]]) == list(range(len(labels)))
        for part in parts:
            assert set(labels[part]) == set(labels)


def test_whatever_passes_the_check_can_be_held_out():
    for n, rare, fraction in product(range(2, 30, 3), range(2, 6), (0.05, 0.2, 0.5, 0.8, 0.9)):
        labels = np.repeat([0, 1], [n, rare])
        try:
            check_validation_split(labels, fraction)
        except ValueError:
            continue
        assert all(len(set(labels[part])) == 2 for part in hold_out(labels, fraction, 0))


@pytest.mark.parametrize("fraction", [np.float32(0.2), Fraction(1, 5)])
def test_any_kind_of_number_is_a_share(fraction):
    labels = np.array([0, 1] * 20)
    check_validation_split(labels, fraction)
    parts = hold_out(labels, fraction, 0)
    assert sorted([*parts[0], *parts[1]]) == list(range(40))
    assert 8 <= len(parts[1]) <= 9


def test_where_no_class_is_rare_the_split_is_scikit_learn_s():
    labels = np.array([0, 1] * 20)
    expected = train_test_split(range(40), test_size=0.2, stratify=labels, random_state=3)
    assert list(hold_out(labels, 0.2, 3)) == expected


@pytest.mark.parametrize(("counts", "fraction"), [((20, 1), 0.2), ((5, 5), 0.1), ((5, 5), 0.9)])
def test_too_few_rows_for_both_sides(counts, fraction):
    with pytest.raises(ValueError, match=r"early_stopping holds out \d+ of \d+ rows"):
        check_validation_split(np.repeat([0, 1], counts), fraction)
