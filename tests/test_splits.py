import numpy as np
import pytest

from skclsgen.baselines.cnn_network import split
from skclsgen.baselines.regression import held_out_folds
from skclsgen.datasets import grouped_components, leak_free_split, rows_without_leak


def union_find(*keys):
    """Number groups by merging rows pair by pair."""
    group = list(range(len(keys[0])))
    for key in keys:
        for i, first in enumerate(key):
            for j, second in enumerate(key[:i]):
                if first == second and first not in (None, ""):
                    old, new = group[i], group[j]
                    group = [new if g == old else g for g in group]
    order = list(dict.fromkeys(group))
    return [order.index(g) for g in group]


def test_components_agree_with_merging_pair_by_pair():
    rng = np.random.default_rng(0)
    for size in (1, 5, 30, 80):
        trials = [f"t{n}" for n in rng.integers(size, size=size)]
        papers = rng.integers(size, size=size).tolist()
        found = grouped_components(trials, papers)
        assert found.tolist() == union_find(trials, papers)
        assert found.dtype == np.int64


def test_components_by_hand():
    nothing = [None, float("nan"), "", np.nan, ""]
    assert grouped_components(nothing).tolist() == [0, 1, 2, 3, 4]
    assert grouped_components(nothing, [1, 2, 3, 2, 1]).tolist() == [0, 1, 2, 1, 0]
    # the same value in two keys is two things
    assert grouped_components(["a", "b"], ["b", "c"]).tolist() == [0, 1]
    assert grouped_components([]).shape == (0,)
    with pytest.raises(ValueError, match="no keys"):
        grouped_components()
    with pytest.raises(ValueError, match="inconsistent"):
        grouped_components([1], [1, 2])


@pytest.mark.parametrize(
    ("test_size", "validation_size"), [(0.25, 0), (0.2, 0.16), (0.3, 0.1), (0.07, 0.5), (0.5, 0)]
)
def test_splits_keep_groups_whole_and_shares_alike(test_size, validation_size):
    rng = np.random.default_rng(1)
    groups = rng.integers(300, size=1000)
    labels = np.where(rng.random(1000) < 0.3, "yes", "no")
    parts = leak_free_split(groups, labels, test_size, validation_size, random_state=0)
    assert len(parts) == (3 if validation_size else 2)
    assert np.sort(np.concatenate(parts)).tolist() == list(range(1000))
    for part in parts:
        assert (np.diff(part) > 0).all()
        assert abs((labels[part] == "yes").mean() - (labels == "yes").mean()) < 0.03
        others = np.setdiff1d(np.arange(1000), part)
        assert rows_without_leak(groups[part], groups[others]).all()
    assert abs(len(parts[-1]) / 1000 - test_size) < 0.02
    if validation_size:
        assert abs(len(parts[1]) / 1000 - validation_size) < 0.02


def test_big_sources_are_on_either_side():
    """Folds are dealt the biggest first, so whoever takes the first fold takes those, always."""
    groups = [0] * 12 + [1] * 10 + list(range(2, 40))
    labels = [row % 2 for row in range(len(groups))]
    tests = [leak_free_split(groups, labels, 0.2, random_state=seed)[1] for seed in range(30)]
    for first in (0, 12):
        assert 1 <= sum(first in test for test in tests) <= 15


@pytest.mark.parametrize("sources", [2, 3])
def test_a_few_sources_are_enough(sources):
    groups = np.arange(24) % sources
    train, test = leak_free_split(groups, [0, 1] * 12 if sources == 3 else [0, 0, 1, 1] * 6, 0.25)
    assert len(train) + len(test) == 24
    assert len(test) == 24 // sources


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a", None, "b", "c"] * 2, "groups has 2 missing values"),
        ([["a"], ["b"]] * 4, r"groups has the shape \(8, 1\) for 8 rows"),
        (["a", "b"], r"groups has the shape \(2,\) for 8 rows"),
    ],
)
def test_groups_that_are_none(groups, message):
    for ask in (
        lambda: leak_free_split(groups, [0, 1] * 4),
        lambda: held_out_folds(np.array([0, 1] * 4), groups=groups),
        lambda: split(np.array([0, 1] * 4), 0.5, np.random.default_rng(0), groups),
    ):
        with pytest.raises(ValueError, match=message):
            ask()


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_labels_that_are_missing(missing):
    with pytest.raises(ValueError, match="labels has 1 missing values"):
        leak_free_split(range(8), ["a", "b", missing, "a", "b", "a", "b", "a"])


def test_splits_repeat_by_seed():
    groups, labels = np.arange(40) // 2, np.arange(40) % 2

    def split(seed):
        return [part.tolist() for part in leak_free_split(groups, labels, random_state=seed)]

    assert split(0) == split(0) == split(np.random.RandomState(0))
    assert split(0) != split(1)


def test_a_rare_label_passes_in_silence(recwarn):
    leak_free_split(np.arange(40), ["rare"] * 2 + ["common"] * 38, random_state=0)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        (range(8), {"test_size": 0}, "not shares"),
        (range(8), {"test_size": 1.0}, "not shares"),
        (range(8), {"test_size": 0.6, "validation_size": 0.4}, "not shares"),
        (range(8), {"validation_size": -0.1}, "not shares"),
        ([1] * 8, {}, "1 different values, too few for 2 parts"),
        ([1, 2] * 4, {"validation_size": 0.2}, "2 different values, too few for 3 parts"),
        (range(8), {"test_size": 0.1}, "at most 4 rows of a label"),
        (range(7), {}, "one group per row"),
    ],
)
def test_splits_that_cannot_be(groups, options, message):
    with pytest.raises(ValueError, match=message):
        leak_free_split(list(groups), [0, 1] * 4, **options)


def test_rows_without_leak():
    assert rows_without_leak(["a", "b"]).tolist() == [True, True]
    assert rows_without_leak([], ["a"]).shape == (0,)
