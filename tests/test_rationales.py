import warnings

import pytest
from conftest import build_model

from skclsgen import CLSGenClassifier, rationales
from skclsgen.backbone import load_base_model
from skclsgen.exceptions import InvalidTextError, TruncationWarning
from skclsgen.prompt import PromptEncoder
from skclsgen.rationales import filter_rationale, quotation, self_rationales
from skclsgen.wording import without_last_word, words

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


def test_a_quotation_of_short_words_is_grounded_by_them():
    quoted = 'It says "it is not ok".'
    assert filter_rationale(quoted, "No, it is not ok!", 0, WORDS) is None
    assert filter_rationale(quoted, "All is well.", 0, WORDS) == "ungrounded"


def test_no_room_to_ask_for_reasons_is_told_apart_from_no_room_for_texts(tiny, data):
    clf = CLSGenClassifier(tiny, epochs=1, instruction="Spam?", max_length=52, random_state=0)
    with pytest.raises(InvalidTextError, match="max_length=52 leaves no room for asking the base"):
        clf.fit(data[0][:4], ["a", "b"] * 2)
    clf.set_params(rationales=None).fit(data[0][:4], ["a", "b"] * 2)


def test_labels_that_share_words_are_told_apart():
    words = ["supported", "not supported"]
    text = "The claim is supported by the trial."
    assert filter_rationale("The claim is supported by data.", text, 0, words) is None
    assert filter_rationale("The claim is supported by data.", text, 1, words) is None
    assert filter_rationale("The claim is not right here.", text, 0, words) == "other label"


@pytest.mark.parametrize(
    ("said", "whole"),
    [
        ("no power since no", "no power since"),
        ("power", "power"),
        ("iPhone 的电池在充电时冒烟", "iPhone 的电池在充电时"),
        ("停電を直してく\ufffd", "停電を直し"),
        ("停电", "停电"),
        ("빨리 와 주세", "빨리 와"),
    ],
)
def test_what_may_be_half_a_word_is_dropped_in_every_script(said, whole):
    assert without_last_word(said) == whole


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
    ("reply", "sentence"),
    [
        ('the door is stuck." and so', 'It says "the door is stuck".'),
        ("the door is", 'It says "the door is".'),
        ('" is quoted', ""),
        ("", ""),
    ],
)
def test_quotation(reply, sentence):
    assert quotation(reply) == sentence


def test_reasons_for_long_texts_stay_within_the_context(tmp_path, data, monkeypatch):
    """GPT-2 has no positions beyond; its tiny vocabulary makes long openings."""
    base, used = load_base_model(build_model(tmp_path, "gpt2")), []

    def noted(lm, start, openings, new, *rest):
        used.append(max(start.lengths.tolist()) + max(map(len, openings)) + new)
        return decode(lm, start, openings, new, *rest)

    decode = rationales.decode
    monkeypatch.setattr(rationales, "decode", noted)
    texts = [" ".join(data[0][:9]), data[0][0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error", TruncationWarning)  # what is trained on them will tell
        self_rationales(base, texts, [0, 1], WORDS, max_length=500, max_new_tokens=24)
    assert used == [base.context_length]


def test_written_reasons_are_learnt_whole(tiny, data, monkeypatch):
    """A quotation that never ends is cut at a word, and its closing mark and end are learnt."""
    base, said = load_base_model(tiny), "the power has been out since last night and the door"
    ids = base.tokenizer.encode(said + " ")

    def endless(lm, start, openings, new, *rest):
        return [(ids * new)[:new] for _ in openings]

    monkeypatch.setattr(rationales, "decode", endless)
    given = {"max_length": 400, "max_new_tokens": 32}
    (reason,) = self_rationales(base, data[0][:1], [0], WORDS, **given)
    assert reason.startswith('It says "the power')
    assert reason.endswith('".')
    assert set(words(reason)) <= {"it", "says", *words(said)}
    encoder = PromptEncoder(base.tokenizer, "Decide.", WORDS, 400)
    assert not encoder.is_cut(encoder.continuation(0, reason, 32))


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


@pytest.mark.real
def test_reasons_end_at_the_closing_mark_and_lose_nothing(monkeypatch):
    """Written to the full length, the same quotations would come out."""
    texts = ["Smoke is coming out of the charger!", "Thanks, the parcel has arrived."]
    base, decode, spoken = load_base_model(), rationales.decode, []

    def write(stop_early):
        def patched(lm, start, openings, new, stops, *rest):
            spoken.append(decode(lm, start, openings, new, stops if stop_early else base.stop_ids))
            return spoken[-1]

        monkeypatch.setattr(rationales, "decode", patched)
        base.rationales.clear()
        return self_rationales(
            base, texts, [0, 1], ["urgent", "routine"], max_length=500, max_new_tokens=48
        )

    assert write(stop_early=True) == write(stop_early=False)
    early, late = ([len(reply) for reply in replies] for replies in spoken)
    assert sum(early) < sum(late)
