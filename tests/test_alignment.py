import numpy as np
import pandas as pd
import pytest

from skclsgen.metrics import (
    alignment_scores,
    flip_rate,
    mask_labels,
    stated_label,
    stratified_alignment,
)

SUPPORT = ["supported", "not supported"]


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("supported. The trial met its endpoint.", 0),
        ("Not supported. It was not.", 1),
        (' "not supported", I think, though some say supported', 1),
        ("I say it is not supported.", 1),
        ("It is supported.", 0),
        ("It is unsupported.", None),
        ("Supported or not supported?", 0),
        ("Either not supported or supported", None),
        ("", None),
        ("NOT\nsupported", 1),
    ],
)
def test_a_reply_states_the_label_it_opens_with_or_the_only_one_it_names(reply, label):
    assert stated_label(reply, SUPPORT) == label


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("The claim is not supported by the abstract.", None),
        ("It isn\u2019t clearly supported.", None),
        ("Not supported.", None),
        ("It is not supported but unsupported.", 1),
        ("No doubt, the claim is supported.", 0),
        ("It is not clear. Supported.", 0),
        ("I see no evidence; unsupported.", 1),
        ("It scored 1.5, not supported", None),
    ],
)
def test_a_label_that_is_denied_is_not_stated(reply, label):
    assert stated_label(reply, ["supported", "unsupported"]) == label


def test_a_number_is_not_the_label_it_begins_with():
    assert stated_label("Guess 1, 0.95", ["0", "1"]) == 1
    assert stated_label("(1) It went up.", ["0", "1"]) == 1


def test_a_label_that_is_a_denial_denies_nothing():
    assert stated_label("There is no doubt: yes.", ["no", "yes"]) is None  # both are named
    assert stated_label("I say no, never.", ["no", "yes"]) == 0


@pytest.mark.parametrize(
    ("reply", "labels", "stated"),
    [
        ("?", ["yes", "no", "?"], 2),
        ("ok! Fine.", ["ok", "ok!"], 1),
        ("I say ok, it is fine", ["ok", "ok!"], 0),
        ("No doubt, yes, urgent.", ["yes, urgent", "no, routine"], 0),
    ],
)
def test_signs_of_labels_are_not_lost_with_the_clause(reply, labels, stated):
    assert stated_label(reply, labels) == stated


def test_labels_are_whole_words():
    assert stated_label("a non-toxic thing", ["toxic", "fine"]) is None
    assert stated_label("credit", ["red", "blue"]) is None
    for hyphen in "-\u2010\u2011":
        assert stated_label(f"It is non{hyphen}toxic.", ["toxic", "non-toxic"]) == 1
        assert mask_labels(f"It is non{hyphen}toxic.", ["toxic", "fine"]) == "It is ...."
    assert stated_label("red!", ["red", "blue"]) == 0


@pytest.mark.parametrize(
    ("text", "labels", "masked"),
    [
        (
            "This entails that; it contradicts.",
            ["entailment", "contradiction"],
            "This ... that; it ....",
        ),
        ("A contradictory ENTAILMENT", ["entailment", "contradiction"], "A ... ..."),
        ("It is not supported here", SUPPORT, "It is ... here"),
        ("in credit, red", ["red", "blue"], "in credit, ..."),
        ("non-toxic and toxic", ["toxic", "fine"], "... and ..."),
        (
            "The claim is unsupported, non-supported, well-supported; a supported-by case.",
            ["refuted", "supported"],
            "The claim is ..., ..., ...; a ... case.",
        ),
        ("safe-for-work, not supported-ish", ["safe", *SUPPORT], "..., ..."),
        ("nothing to hide", SUPPORT, "nothing to hide"),
        ("It supports, entails", ["support", "entail"], "It ..., ..."),
        ("Groß, not grossly", ["groß", "klein"], "..., not grossly"),
        ("a b", [" b ", ""], "a ..."),
        ("a b", [""], "a b"),
    ],
)
def test_labels_and_their_relatives_are_hidden(text, labels, masked):
    assert mask_labels(text, labels) == masked


def test_what_is_hidden_may_hold_any_character():
    assert mask_labels("a+b (c) \\1", ["a+b", "(c)"], mask="\\1") == "\\1 \\1 \\1"


def test_alignment_worked_by_hand():
    proba, observed = [0.9, 0.8, 0.6, 0.3, 0.2, 0.1], [1, 1, 0, 1, 0, None]
    scores = alignment_scores(proba, observed)
    # Observed ones at .9 .8 .3, zeros at .6 .2: five of six pairs in order.
    assert scores["auroc_alignment"] == pytest.approx(5 / 6)
    # Head 1 1 1 0 0 0, observed 1 1 0 1 0 none: three of six agree; by chance
    # (3/6)(3/6) + (3/6)(2/6) = 15/36.
    assert scores["kappa"] == pytest.approx((3 / 6 - 15 / 36) / (1 - 15 / 36))
    assert scores["agreement"] == 0.5
    assert scores["unparseable"] == pytest.approx(1 / 6)


def test_alignment_that_cannot_be_told_is_no_number():
    same = alignment_scores([0.9, 0.8], [1, 1])
    assert np.isnan(same["auroc_alignment"])
    assert np.isnan(same["kappa"])
    none = alignment_scores([0.9, 0.2], [None, None])
    assert np.isnan(none["auroc_alignment"])
    assert none["kappa"] == 0
    with pytest.raises(ValueError, match="3 observed labels"):
        alignment_scores([0.9, 0.8], [1, 1, 0])
    with pytest.raises(ValueError, match="observed holds 2"):
        alignment_scores([0.9, 0.8], [1, 2])


def test_texts_follow_what_they_were_asked():
    assert flip_rate([1, 0, 1, 0], [1, 0, 0, None]) == 0.5
    with pytest.raises(ValueError, match="one of each per row"):
        flip_rate([], [])


def test_rows_are_taken_in_order_whatever_their_index():
    observed = pd.Series([1, 0, 1, None], index=[3, 2, 1, 0], dtype=object)
    found = stratified_alignment([1, 0, 1, 0], [0.9, 0.1, 0.2, 0.8], observed)
    assert (found["right"]["agreement"], found["wrong"]["agreement"]) == (1, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: stratified_alignment([2, 1], [0.9, 0.1], [1, 0]),
            "pass a class from 0 to 1 for each",
        ),
        (lambda: alignment_scores([np.nan, 0.2], [1, 1]), "not finite"),
        (lambda: alignment_scores([3.0, -1.0], [1, 0]), "no probabilities"),
        (lambda: alignment_scores([[0.9, 0.9], [0.2, 0.3]], [1, 0]), "do not sum to 1"),
        (lambda: alignment_scores([[0.9], [0.2]], [0, 0]), "do not sum to 1"),
        (lambda: flip_rate(["yes", "no"], [1, 0]), "words on one side"),
        (lambda: stratified_alignment([1, None], [0.9, 0.1], [1, 0]), r"the values \[None\]"),
    ],
)
def test_what_cannot_be_compared_is_an_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_strata_tell_following_the_head_from_knowing_the_truth():
    truth, proba = [1, 0, 1, 0], [0.9, 0.1, 0.2, 0.8]
    knows = stratified_alignment(truth, proba, truth)
    follows = stratified_alignment(truth, proba, [1, 0, 0, 1])
    assert [knows[s]["agreement"] for s in ("right", "wrong")] == [1, 0]
    assert [follows[s]["agreement"] for s in ("right", "wrong")] == [1, 1]
    assert knows["right"]["rows"] == knows["wrong"]["rows"] == 2
    perfect = stratified_alignment([1, 0], [0.9, 0.1], [1, 0])["wrong"]
    assert perfect["rows"] == 0
    assert np.isnan(perfect["agreement"])
    with pytest.raises(ValueError, match="3 observed labels"):
        stratified_alignment([1, 0], [0.9, 0.1], [1, 0, 1])
    with pytest.raises(ValueError, match="for each of the 2 rows"):
        stratified_alignment([1], [0.9, 0.1], [1, 0])


def test_alignment_of_three_classes():
    proba = [[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6], [0.5, 0.3, 0.2]]
    observed = [0, 1, None, 1]
    scores = alignment_scores(proba, observed)
    # Class 0 (.8 against .1, .5) and class 1 (.7, .3 against .1) are told apart; 2 is not seen.
    assert scores["auroc_alignment"] == 1
    assert scores["agreement"] == 0.5
    # Head 0 1 2 0, observed 0 1 none 1: by chance (2/4)(1/4) + (1/4)(2/4) = 1/4.
    assert scores["kappa"] == pytest.approx((1 / 2 - 1 / 4) / (1 - 1 / 4))
    strata = stratified_alignment([0, 1, 2, 1], proba, observed)
    assert strata["right"]["rows"] == 3
    assert strata["wrong"]["agreement"] == 0
    with pytest.raises(ValueError, match="observed holds 3; pass a class from 0 to 2"):
        alignment_scores(proba, [0, 1, 3, 1])


def test_two_columns_say_what_one_says():
    rng = np.random.default_rng(0)
    one, observed = rng.random(50), rng.integers(2, size=50).tolist()
    both = np.column_stack([1 - one, one])
    assert alignment_scores(both, observed) == alignment_scores(one, observed)


@pytest.mark.parametrize("even", [[0.5], [[0.5, 0.5]], [[0.4, 0.4, 0.2]]])
def test_of_classes_that_are_even_the_first_is_predicted(even):
    """As scikit-learn's classifiers and this package's have it."""
    assert alignment_scores(even, [0])["agreement"] == 1
    assert stratified_alignment([0], even, [1])["right"]["rows"] == 1


@pytest.mark.parametrize(
    "reply", ["**1**", "`1`", "[1]", "\u201c1\u201d", "Label=1", "**1** (85%)", "| 1 |"]
)
def test_a_number_may_be_dressed_up(reply):
    assert stated_label(reply, ["0", "1"]) == 1


def test_words_of_any_array_are_words():
    words = np.array(["yes", "no"], dtype=object)
    assert flip_rate(words, ["yes", "no"]) == 1
    with pytest.raises(ValueError, match="words on one side"):
        flip_rate(words, [1, 0])


@pytest.mark.parametrize(
    ("reply", "labels", "stated"),
    [
        ("1. It went up.", ["-1", "1"], 1),
        ("-1.", ["-1", "1"], 0),
        ("I would say -1, not more.", ["-1", "1"], 0),
        ("C++, because of templates.", ["C", "C++"], 1),
        ("It is plain C.", ["C", "C++"], 0),
        ("A smile: :)", [":(", ":)"], 1),
        ("It is >50.", ["<50", ">50"], 1),
        (">1 year. Because", ["<1 year", ">1 year"], 1),
        ("It is C#.", ["C", "C#"], 1),
        ("It is C.", ["C", "C#"], 0),
        ("#1", ["1", "#1"], 1),
        ("**1**", ["1", "2"], 0),
        ("It isn\u2019t 1.", ["1", "2"], None),
        ("a", ["A", "a"], None),
    ],
)
def test_labels_that_differ_in_signs_alone(reply, labels, stated):
    assert stated_label(reply, labels) == stated
