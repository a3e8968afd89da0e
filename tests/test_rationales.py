import pytest

from skclsgen.rationales import filter_rationale
from skclsgen.self_written import quotation

WORDS = ["escalate", "routine"]


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ("The smoke is rising in the kitchen.", None),
        (None, "empty"),
        ("", "empty"),
        ('It says "smoke".', "empty"),
        ("smoke and smoke and smoke and smoke", "repetitive"),
        ("It is routine that smoke rises.", "other label"),
        ("The customer seems very unhappy.", "ungrounded"),
        ("It says so in it all.", "ungrounded"),
        ('It says "smoke rises up there".', "ungrounded"),
        ('It says "rising smoke is coming near".', None),
        ('It says "is rising".', None),
    ],
)
def test_filter(candidate, reason):
    assert filter_rationale(candidate, "Smoke is rising, help!", 0, WORDS) == reason


def test_the_bound_is_on_runs_of_three_words_that_came_before():
    said = "Smoke is rising, so the smoke is rising, help is needed."  # 9 runs, 1 of them again
    given = said, "Smoke is rising, help!", 0, WORDS
    assert filter_rationale(*given) is None
    assert filter_rationale(*given, max_repeated=1 / 9) is None
    assert filter_rationale(*given, max_repeated=0.11) == "repetitive"


def test_a_quotation_of_short_words_is_grounded_by_them():
    quoted = 'It says "it is not ok".'
    assert filter_rationale(quoted, "No, it is not ok!", 0, WORDS) is None
    assert filter_rationale(quoted, "All is well.", 0, WORDS) == "ungrounded"


def test_labels_that_share_words_are_told_apart():
    words = ["supported", "not supported"]
    text = "The claim is supported by the trial."
    assert filter_rationale("The claim is supported by data.", text, 0, words) is None
    assert filter_rationale("The claim is supported by data.", text, 1, words) is None
    assert filter_rationale("The claim is not right here.", text, 0, words) == "other label"


@pytest.mark.parametrize(
    ("text", "good", "bad", "label", "other"),
    [
        (
            "昨晚停电了。请尽快派人来修。",
            '它说"昨晚停电了"。',
            "服务态度非常令人失望。",
            "紧急",
            "普通",
        ),
        ("停電を直してください。", "「停電を直して」とある。", "親切でした。", "緊急", "通常"),
        ("정전이라 빨리 와 주세요.", '"빨리 와 주세요"라고 함.', "매우 친절했다.", "긴급", "보통"),
        ("ไฟดับตั้งแต่เมื่อคืน ช่วยมาด่วน", "บอกว่าไฟดับ ช่วยมาด่วน", "พนักงานบริการแย่มาก", "เร่งรีบ", "ปกติ"),
        ("कल रात से बिजली नहीं है", "कहता है बिजली नहीं है", "सेवा बहुत खराब लगी", "तत्काल", "सामान्य"),
    ],
)
def test_every_script_has_words(text, good, bad, label, other):
    """Also those without spaces between words, and those with vowel signs."""
    assert filter_rationale(good, text, 0, [label, other]) is None
    assert filter_rationale(f"{good} {other}", text, 0, [label, other]) == "other label"
    assert filter_rationale(f"{good} {other}", text, 1, [label, other]) is None
    assert filter_rationale(bad, text, 0, [label, other]) == "ungrounded"


def test_hyphenated_labels_are_not_taken_for_their_parts():
    words = ["non-toxic", "toxic"]
    text = "You are kind and clearly helpful."
    assert filter_rationale("It is clearly non-toxic and kind.", text, 0, words) is None
    assert filter_rationale("It is clearly non-toxic and kind.", text, 1, words) == "other label"
    assert filter_rationale("It is clearly toxic, not kind.", text, 0, words) == "other label"


@pytest.mark.parametrize(
    ("quoted", "reason"),
    [
        ("my laptop is broken and it is late", None),
        ("please ask the IT people about my laptop", "other label"),
    ],
)
def test_an_acronym_is_no_pronoun(quoted, reason):
    text = "Hello, my laptop is broken and it is late, so please ask the IT people about my laptop."
    assert filter_rationale(quotation(quoted), text, 0, ["HR", "IT"]) == reason
    assert filter_rationale(quotation(quoted), text, 1, ["HR", "IT"]) is None
    assert filter_rationale(quotation(quoted), text, 0, ["IT security", "IT"]) is None
