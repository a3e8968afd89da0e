"""Simulatability, fluency, grounding, overlap."""

import sys

import numpy as np
import pytest

from skclsgen.exceptions import OptionalDependencyError
from skclsgen.metrics import (
    distinct_n,
    flesch_reading_ease,
    fluency_scores,
    groundedness,
    groundedness_against_null,
    groundedness_lift,
    las_terms,
    leakage_adjusted_simulatability,
    overlap_scores,
    repetition,
    simulatability_gains,
)


def test_simulatability_worked_by_hand():
    """Leaking rows 0 to 3, of which one is gained; others 4 and 5, of which one is lost."""
    targets = np.array([1, 1, 0, 0, 1, 0])
    explanation = np.array([1, 1, 0, 0, 0, 1])
    text = np.array([1, 0, 0, 0, 1, 1])
    both = np.array([1, 1, 0, 0, 0, 1])
    found = leakage_adjusted_simulatability(targets, text, explanation, both)
    assert found == pytest.approx(
        {"leaking": 0.25, "nonleaking": -0.5, "las": -0.125, "share_leaking": 4 / 6}
    )
    gains = simulatability_gains(targets, text, both)
    assert gains.mean() == pytest.approx(
        np.mean(np.equal(both, targets)) - np.mean(np.equal(text, targets))
    )
    terms = las_terms(targets, text, explanation, both)
    assert terms.mean() == pytest.approx(-0.125)
    # Two thirds leak: a leaking row that is gained counts (1 - 0.25) / (2/3 * 2) above the score.
    assert terms[1] - terms[0] == pytest.approx(1 / (4 / 6 * 2))
    assert terms[4] - terms[5] == pytest.approx(-1 / (2 / 6 * 2))


def test_how_many_rows_leak_adds_no_spread():
    """Of two writers with the same gains in every row, LAS is the same however many rows leak."""
    rng = np.random.default_rng(0)
    targets, never = np.ones(200, dtype=int), np.zeros(200, dtype=int)
    leaks = [(rng.random(200) < share).astype(int) for share in (0.9, 0.5)]
    a, b = (las_terms(targets, never, own, targets) for own in leaks)
    np.testing.assert_allclose(a, 1)
    np.testing.assert_allclose(b, 1)


def test_terms_spread_as_the_score_does():
    """Standard errors by the terms and by drawing rows again agree."""
    rng = np.random.default_rng(1)
    targets = rng.integers(2, size=400)
    shown = [np.where(rng.random(400) < hit, targets, 1 - targets) for hit in (0.6, 0.85, 0.8)]
    drawn = [
        leakage_adjusted_simulatability(*(own[rows] for own in (targets, *shown)))["las"]
        for rows in rng.integers(400, size=(1000, 400))
    ]
    by_terms = las_terms(targets, *shown).std(ddof=1) / 20
    assert by_terms == pytest.approx(np.std(drawn), rel=0.1)


def test_one_string_is_not_several_texts():
    for measure in (fluency_scores, distinct_n):
        with pytest.raises(ValueError, match="a single string"):
            measure("hello world")


def test_words_are_not_compared_with_numbers():
    with pytest.raises(ValueError, match="words on one side and numbers on the other"):
        leakage_adjusted_simulatability(["1", "0"], [1, 0], [1, 0], [1, 0])


def test_an_explanation_that_only_leaks_counts_half():
    """Leaking alone cannot give more than the leaking group's share of the mean."""
    targets = np.array([0, 1] * 10)
    text = np.zeros(20, dtype=int)
    leaking = targets.copy()
    leaking[:2] = 1 - leaking[:2]
    found = leakage_adjusted_simulatability(targets, text, leaking, leaking)
    raw = (leaking == targets).mean() - (text == targets).mean()
    assert found["las"] < raw


def test_one_group_alone_is_the_score():
    found = leakage_adjusted_simulatability([1, 0], [0, 0], [1, 0], [1, 0])
    assert found["las"] == found["leaking"] == 0.5
    assert np.isnan(found["nonleaking"])
    assert las_terms([1, 0], [0, 0], [1, 0], [1, 0]).tolist() == [1, 0]
    with pytest.raises(ValueError, match="one of each per row"):
        las_terms([1, 0], [0], [1, 0], [1, 0])


def test_repetition_and_variety_worked_by_hand():
    assert repetition("a b c d") == 0
    assert repetition("A b, a b. a B") == pytest.approx(2 / 4)  # aba bab aba bab
    assert repetition("two words") == 0
    assert repetition("停电了停电了停电了") > 0.3  # no spaces, and a loop all the same
    assert distinct_n(["停电了", "停电了"]) == 0.5
    assert distinct_n(["a b a b", "a b"]) == pytest.approx(2 / 4)
    assert distinct_n(["a b c", "d e f"], length=4) == pytest.approx(1.0)
    assert distinct_n(["a b a b"] * 3, length=2) == 1.0
    assert np.isnan(distinct_n(["one", ""]))


def test_reading_ease_worked_by_hand():
    # Nine words, two sentences, fourteen syllables.
    text = "The little table fell. People heard it many miles."
    expected = 206.835 - 1.015 * 9 / 2 - 84.6 * 13 / 9
    assert flesch_reading_ease(text) == pytest.approx(expected)
    assert np.isnan(flesch_reading_ease("..."))
    # A decimal ends no sentence: seven words of one syllable.
    dose = flesch_reading_ease("She took 7.5 mg at home.")
    assert dose == pytest.approx(206.835 - 1.015 * 7 - 84.6)
    # Two syllables each, and one each.
    for words, syllables in (("carried agreed indeed", 2), ("used walked played", 1)):
        ease = 206.835 - 1.015 * 3 - 84.6 * syllables
        assert flesch_reading_ease(words) == pytest.approx(ease)
    easy, hard = "The cat sat. It slept.", "Institutional heterogeneity necessitates evaluation."
    assert flesch_reading_ease(easy) > 80 > 0 > flesch_reading_ease(hard)


def test_a_looping_sentence_reads_easily_and_repeats():
    """Why reading ease never stands alone."""
    loop = "the man is on the bike and " * 6
    scores = fluency_scores([loop], ended=[False])
    assert scores["repetition"] > 0.6
    assert flesch_reading_ease("The man is on the bike.") > 90
    assert (scores["ended"], scores["empty"], scores["words"]) == (0, 0, 42)
    with pytest.raises(ValueError, match="texts is empty"):
        fluency_scores([])


def test_groundedness_counts_content_words():
    assert groundedness("The man rides a bike in 2019", "A MAN rides, 2019") == pytest.approx(2 / 3)
    assert np.isnan(groundedness("it's he", "it's he, here"))
    assert groundedness("the patient's leg", "the patient\u2019s arm") == 1
    assert groundedness("停电很久", "昨晚停电了很久") == pytest.approx(2 / 3)
    assert groundedness("कल बिजली", "आज बिजली") == 1


def test_groundedness_is_held_against_other_sources():
    sources = [f"word{i} common thing" for i in range(30)]
    own = [f"word{i} happened" for i in range(30)]
    general = ["common thing"] * 30
    assert groundedness_against_null(own, sources, random_state=0) == {
        "groundedness": 0.5,
        "null": 0.0,
        "lift": 0.5,
    }
    assert groundedness_against_null(general, sources, random_state=0)["lift"] == 0
    lift = groundedness_lift([*own[:-1], "no"], sources, random_state=0)
    assert np.isnan(lift[-1])
    assert (lift[:-1] == 0.5).all()
    first, second = (groundedness_lift(own, sources[::-1], random_state=s) for s in (0, 0))
    assert np.array_equal(first, second)
    with pytest.raises(ValueError, match="explanations is a single string"):
        groundedness_against_null("smoke here", "rain there")
    with pytest.raises(ValueError, match="at least two"):
        groundedness_lift(["one"], ["one"])


def test_overlap_worked_by_hand():
    pytest.importorskip("rouge_score", reason="the benchmark extra is not installed")
    found = overlap_scores(
        ["the cat sat on the mat", "no"], [["a dog", "the cat sat on a mat"], ["yes"]]
    )
    # First row: 5 of 6 words, 3 of 5 pairs of words, longest common run of 5; second row: none.
    assert found["rouge_1"] == pytest.approx(5 / 6 / 2)
    assert found["rouge_2"] == pytest.approx(3 / 5 / 2)
    assert found["rouge_l"] == pytest.approx(5 / 6 / 2)
    same = overlap_scores(["a man rides his red bike"], [["a man rides his red bike"]])
    assert same == pytest.approx({"rouge_1": 1, "rouge_2": 1, "rouge_l": 1, "bleu": 100})
    # BLEU of one sentence: precisions 5/6, 3/5, 2/4, 1/3, no brevity penalty.
    found = overlap_scores(["the cat sat on the mat"], [["the cat sat on a mat"]])
    assert found["bleu"] == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)


def test_nothing_is_scored_out_of_nothing():
    with pytest.raises(ValueError, match="repeats is 0; draw at least once"):
        groundedness_lift(["a cat"] * 2, ["the cat", "the dog"], repeats=0)
    with pytest.raises(ValueError, match="ended has 1 entries for 2 texts"):
        fluency_scores(["the cat sat", "a dog"], ended=[True])


def test_overlap_needs_references():
    pytest.importorskip("rouge_score", reason="the benchmark extra is not installed")
    with pytest.raises(ValueError, match="references for 0"):
        overlap_scores(["a"], [])
    with pytest.raises(ValueError, match="none for any row"):
        overlap_scores(["a"], [[]])
    with pytest.raises(ValueError, match="holds a string"):
        overlap_scores(["the cat"], ["the cat"])
    assert overlap_scores(["a b", "c"], [["a b"], []])["rouge_1"] == 1


def test_overlap_names_the_extra_that_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    with pytest.raises(OptionalDependencyError, match=r"skclsgen\[benchmark\]"):
        overlap_scores(["a"], [["a"]])
