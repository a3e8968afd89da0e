import pytest

from skclsgen.rationales import filter_rationale, first_sentence

WORDS = ["escalate", "routine"]


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ("The smoke is rising in the kitchen.", None),
        (None, "empty"),
        ("", "empty"),
        ("Smoke here.", "empty"),
        ("smoke and smoke and smoke and smoke", "repetitive"),
        ("It is routine that smoke rises.", "other label"),
        ("The customer seems very unhappy.", "ungrounded"),
        ("It says so in it all.", "ungrounded"),
    ],
)
def test_filter(candidate, reason):
    assert filter_rationale(candidate, "Smoke is rising, help!", 0, WORDS) == reason


def test_labels_that_share_words_are_told_apart():
    words = ["supported", "not supported"]
    text = "The claim is supported by the trial."
    assert filter_rationale("The claim is supported by data.", text, 0, words) is None
    assert filter_rationale("The claim is supported by data.", text, 1, words) is None
    assert filter_rationale("The claim is not right here.", text, 0, words) == "other label"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (" it is late. It is dark.", "It is late."),
        (' it says "help!" Then more.', 'It says "help!"'),
        (" version 2.5 of it failed", "Version 2.5 of it failed"),
        (" two\n lines. ", "Two lines."),
        ("", ""),
    ],
)
def test_first_sentence(text, sentence):
    assert first_sentence(text) == sentence
