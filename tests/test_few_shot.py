"""Training rows shown in the prompt."""

import warnings

import numpy as np
import pytest
import torch
from conftest import CHAT_TEMPLATE, build_tokenizer
from scipy.special import softmax

from skclsgen.backbone import load_base_model
from skclsgen.baselines import LabelProbability, SelfConsistency
from skclsgen.baselines.examples import ShownExample, draw_balanced, example_ids
from skclsgen.exceptions import InvalidExplanationsError, InvalidTextError, TruncationWarning
from skclsgen.prompt import PromptEncoder

TURNS = [ShownExample("Smoke!", 1, "It burns."), ShownExample("Any news?", 0)]
ASKED = "Label the text as calm or urgent, then give the reason."


def encoder_of(tokenizer, max_length=400):
    return PromptEncoder(tokenizer, ASKED, ["calm", "urgent"], max_length)


def test_examples_are_earlier_turns_of_the_conversation():
    tokenizer = build_tokenizer()
    encoder = encoder_of(tokenizer)
    shown = encoder.with_longer_prefix(example_ids(encoder, TURNS, 200))
    conversation = [
        {"role": "system", "content": ASKED},
        {"role": "user", "content": "Smoke!"},
        {"role": "assistant", "content": "Answer: urgent. It burns."},
        {"role": "user", "content": "Any news?"},
        {"role": "assistant", "content": "Answer: calm."},
        {"role": "user", "content": "Help!"},
    ]
    expected = tokenizer.apply_chat_template(
        conversation, tokenize=False, add_generation_prompt=True
    )
    found = tokenizer.decode([*shown.prefix_ids, *shown.encode(["Help!"])[0]])
    assert found == expected + "Answer:"
    control = tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert shown.prefix_ids.count(control) == 1 + 2 * len(TURNS) + 1
    assert encoder.prefix_ids != shown.prefix_ids  # the one without examples is as it was


@pytest.mark.parametrize(
    "template",
    [
        None,
        CHAT_TEMPLATE
        + "{% if messages | length > 2 %}{{ raise_exception('one turn') }}{% endif %}",
    ],
)
def test_without_a_template_for_turns_they_are_paragraphs(template):
    tokenizer = build_tokenizer(chat_template=template)
    encoder = encoder_of(tokenizer)
    shown = tokenizer.decode(example_ids(encoder, TURNS, 200))
    assert "Answer: urgent. It burns.\n\nAny news?" in shown
    assert shown.endswith("Answer: calm.\n\n")


def test_control_tokens_spelled_in_examples_stay_spellings():
    tokenizer = build_tokenizer()
    encoder = encoder_of(tokenizer)
    honest, other = (
        example_ids(encoder, [ShownExample(text, 0, text)], 200)
        for text in ("fine", "fine<|im_end|>fine")
    )
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert other.count(end) == honest.count(end)


def test_long_examples_lose_their_middle_and_short_ones_nothing():
    encoder = encoder_of(build_tokenizer())
    long = ShownExample("begin " + "word " * 400 + "finish", 0)
    with pytest.warns(TruncationWarning, match="1 of 3 examples had texts of more than the"):
        ids = example_ids(encoder, [TURNS[0], long, TURNS[1]], 150)
    assert 145 <= len(ids) <= 150
    shown = encoder.tokenizer.decode(ids)
    assert all(words in shown for words in ("Smoke!", "begin word", "word finish", "Any news?"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        example_ids(encoder, TURNS, 150)


def test_drawn_examples_are_of_all_classes_and_chosen_by_the_seed():
    labels = np.array([0] * 30 + [1] * 5 + [2] * 2)
    drawn = [draw_balanced(labels, 6, np.random.RandomState(seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert sorted(labels[drawn[0]].tolist()) == [0, 0, 1, 1, 2, 2]
    assert sorted(draw_balanced(labels, 99, np.random.RandomState(0))) == list(range(37))


def test_few_shot_probability_is_the_models_own_behind_the_examples(tiny, data):
    texts, labels, test = [text[:20] for text in data[0]], data[1], data[2]
    clf = LabelProbability(tiny, calibrate=False, examples=2, dtype="float32", random_state=0)
    clf.fit(texts, labels, explanations=[f"Row {row}." for row in range(len(texts))])
    base = load_base_model(tiny, dtype="float32")
    tokenizer = base.tokenizer
    asked = "Label the text as escalate or routine, then give the reason."
    conversation = [{"role": "system", "content": asked}]
    for example in clf.examples_:
        label = clf.classes_[example.label]
        row = texts.index(example.text)
        assert (labels[row], f"Row {row}.") == (label, example.explanation)
        answer = f"Answer: {label}. {example.explanation}"
        conversation += [
            {"role": "user", "content": example.text},
            {"role": "assistant", "content": answer},
        ]
    expected = []
    for text in test[:4]:
        turns = [*conversation, {"role": "user", "content": text}]
        asked = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        before = tokenizer.encode(asked + "Answer:", add_special_tokens=False)
        scores = []
        for label in clf.classes_:
            words = tokenizer.encode(f" {label}.", add_special_tokens=False)
            with torch.no_grad():
                table = base.lm(torch.tensor([[*before, *words]])).logits[0].log_softmax(dim=-1)
            picked = table[len(before) - 1 : -1][torch.arange(len(words)), torch.tensor(words)]
            scores.append(float(picked.sum()))
        expected.append(scores)
    np.testing.assert_allclose(clf.predict_proba(test[:4]), softmax(expected, axis=1), rtol=1e-3)


@pytest.mark.parametrize("kind", [LabelProbability, SelfConsistency])
def test_bad_examples_are_refused_by_fit(kind, tiny, data):
    texts, labels, _ = data
    clf = kind(tiny, examples=30, max_length=300, random_state=0)
    with pytest.raises(InvalidTextError, match=r"examples=30 leaves no room.* fewer examples"):
        clf.fit(texts, labels)
    with pytest.raises(ValueError, match="examples"):
        kind(tiny, examples=-1).fit(texts, labels)
    with pytest.raises(InvalidExplanationsError, match="X has 40 texts but explanations has 1"):
        kind(tiny, examples=2).fit(texts, labels, explanations=["so"])


@pytest.mark.real
def test_examples_teach_the_real_model_the_form_of_replies(data):
    """Without examples it talks past the question more often than not."""
    texts, labels, test = data
    unread = {}
    for examples in (0, 8):
        clf = SelfConsistency(samples=3, max_new_tokens=8, examples=examples, random_state=0)
        clf.fit(texts, labels).predict_proba(test)
        unread[examples] = clf.n_unparsed_
    assert unread[8] < unread[0] / 2


def test_replies_end_where_a_model_invents_another_example(tiny, data, monkeypatch):
    texts, labels, test = [text[:20] for text in data[0]], data[1], data[2]
    clf = SelfConsistency(tiny, examples=2, samples=2, random_state=0).fit(texts, labels)
    tokenizer = load_base_model(tiny).tokenizer
    invented = tokenizer.encode(" routine. Fine.\n\nHelp!\n\nAnswer: escalate. It burns.")
    monkeypatch.setattr(
        "skclsgen.baselines.prompted.decode", lambda *args, **more: [invented] * len(args[2])
    )
    assert clf.predict(test[:2]).tolist() == ["routine"] * 2
    assert clf.n_unparsed_ == 0
