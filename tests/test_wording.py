"""Words, pairs of characters, and sentences, in every script."""

import pytest

from skclsgen.wording import whole_sentences, without_last_word


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
    ("said", "whole"),
    [
        ("It is late. The door is", "It is late."),
        ("It is late! Is it? Yes", "It is late! Is it?"),
        ("It cost 3.5 pounds at example.com and", ""),
        ('He said "It is late." Then he', 'He said "It is late."'),
        ("It is (rather late.) Then", "It is (rather late.)"),
        ("昨晚停电了。请尽快派人", "昨晚停电了。"),
        ("「停電です。」とあるので", "「停電です。」"),
        ("कल रात से बिजली नहीं है। कृपया", "कल रात से बिजली नहीं है।"),
        ("ไฟดับตั้งแต่เมื่อคืน", ""),
        ("It is late.", "It is late."),
        ("", ""),
    ],
)
def test_a_sentence_that_is_not_whole_is_left_out(said, whole):
    assert whole_sentences(said) == whole
