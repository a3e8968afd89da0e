"""Any Unicode text goes through fit and explain, and never leaves its slot in the prompt."""

import pytest
from conftest import CHAT_TEMPLATE, build_tokenizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skclsgen import CLSGenClassifier
from skclsgen.prompt import PromptEncoder

CONTROL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]
#: Anything but lone surrogates, which no tokenizer can encode as UTF-8; often with control tokens.
PLAIN = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
TEXT = st.lists(PLAIN | st.sampled_from([*CONTROL, "<|im_", "end|>", "\n"]), min_size=1).map(
    "".join
)
VISIBLE = TEXT.filter(str.strip)


@pytest.fixture(scope="module")
def encoder():
    return PromptEncoder(build_tokenizer(CHAT_TEMPLATE), "Judge.", ["good", "bad"], 400)


@pytest.mark.filterwarnings("ignore::skclsgen.exceptions.TruncationWarning")
@given(text=VISIBLE)
@settings(max_examples=300, deadline=None)
def test_text_stays_in_its_slot(encoder, text):
    (ids,) = encoder.encode([text])
    body, suffix = ids[: -len(encoder.suffix_ids)], ids[-len(encoder.suffix_ids) :]
    assert suffix == encoder.suffix_ids
    assert not set(body) & {0, 1, 2}
    if len(body) < encoder.room:
        assert encoder.tokenizer.decode(body) == text


@pytest.mark.filterwarnings("ignore::skclsgen.exceptions.TruncationWarning")
@given(texts=st.lists(VISIBLE, min_size=2, max_size=4), reason=TEXT)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_text_can_be_fitted_and_explained(quick, texts, reason):
    clf = CLSGenClassifier(**quick, max_length=120, max_new_tokens=8)
    y = [0, 1] * 2
    clf.fit(texts, y[: len(texts)], explanations=[reason] * len(texts))
    found = clf.explain(texts)
    assert [e.source for e in found] == texts
    assert all(0 <= e.proba <= 1 for e in found)
    found._repr_html_().encode()
