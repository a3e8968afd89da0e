"""How much likelier a reason is after its own label."""

import pytest
import torch
from conftest import build_model

from skclsgen import CLSGenClassifier, contrast, fitting, rationales
from skclsgen.backbone import load_base_model
from skclsgen.contrast import Contrast, label_contrasts
from skclsgen.prompt import PromptEncoder

EMPTY = [None, "empty"]
REASONS = ["It says so in the text.", "The door is stuck."]


@pytest.fixture
def base(tiny):
    found = load_base_model(tiny, dtype="float32")
    found.contrasts.clear()
    return found


def log_likelihood(base, encoder, text, label, reason):
    """By the model's own forward pass, of the reason's tokens alone."""
    words = encoder.reason_ids(reason)
    before = [*encoder.prefix_ids, *encoder.encode([text])[0], *encoder.opening(label)]
    with torch.no_grad():
        table = base.lm(torch.tensor([[*before, *words]])).logits[0].log_softmax(dim=-1)
    return sum(float(table[len(before) - 1 + i, word]) for i, word in enumerate(words))


@pytest.mark.parametrize("words", [["urgent", "no matter"], ["red", "light green", "blue"]])
def test_a_contrast_is_a_difference_of_the_models_own_log_likelihoods(tmp_path, data, words):
    """To one of the other labels, and not the same one for all texts; after its own, per token."""
    base = load_base_model(build_model(tmp_path, "llama"), dtype="float32")
    with torch.no_grad():  # or random weights would make all tokens nearly as likely
        base.lm.get_output_embeddings().weight.mul_(30)
    texts, labels = list(data[0][:8]), [0, 1] * 4
    reasons = REASONS * 4
    encoder = PromptEncoder(base.tokenizer, "Decide.", words, 400)
    found = label_contrasts(base, encoder, texts, labels, reasons, max_new_tokens=40)
    others = set()
    for text, label, reason, own in zip(texts, labels, reasons, found, strict=True):
        likely = [log_likelihood(base, encoder, text, one, reason) for one in range(len(words))]
        expected = {
            (other - label) % len(words): likely[label] - likely[other]
            for other in range(len(words))
            if other != label
        }
        (other,) = (o for o, d in expected.items() if d == pytest.approx(own.nats, abs=1e-3))
        others.add(other)
        tokens = len(encoder.reason_ids(reason))
        assert own.nll == pytest.approx(-likely[label] / tokens, abs=1e-4)
    assert len(others) == len(words) - 1


def test_what_was_compared_is_remembered(base, data, monkeypatch):
    encoder = PromptEncoder(base.tokenizer, "Decide.", ["urgent", "calm"], 400)
    given = base, encoder, data[0][:2], [0, 1], REASONS
    first = label_contrasts(*given, max_new_tokens=40)
    monkeypatch.setattr(contrast, "row_nll", lambda model, rows, progress: [None] * len(rows))
    assert label_contrasts(*given, max_new_tokens=40) == first
    assert label_contrasts(base, encoder, [], [], [], max_new_tokens=40) == []


def test_the_longest_prompt_has_room_for_either_label(tmp_path, data):
    """GPT-2 has no positions beyond."""
    texts = [" ".join([*data[0][:9], *data[0][:9]]), data[0][0]]
    clf = CLSGenClassifier(build_model(tmp_path, "gpt2"), epochs=0, max_new_tokens=64)
    live = clf.fit(texts, ["a", "a rather long label"])._network.live()
    reasons = ["word " * 100] * 2
    given = live.base, live.encoder, texts, [0, 1], reasons
    assert all(abs(own.nats) < 1e3 for own in label_contrasts(*given, max_new_tokens=64))


def test_what_does_not_pass_is_drawn_again_and_then_the_label_alone_is_learnt(
    tiny, data, monkeypatch
):
    texts, y = list(data[0][:6]), ["b", "a"] * 3
    # Of every draw: rows that are left; those with words; what the base model finds of these.
    enough = Contrast(rationales.MIN_CONTRAST, 3.0)
    less = Contrast(rationales.MIN_CONTRAST - 0.01, 0.1)
    plan = [
        ([0, 1, 2, 3, 4, 5], {0: enough, 2: less, 3: less, 4: less, 5: Contrast(50.0, 0.6)}),
        ([1, 2, 3, 4], {1: Contrast(50.0, 0.7), 3: Contrast(50.0, 0.5), 4: less}),
        ([2, 4], {2: less}),
    ]

    def written(base, encoder, own, labels, draw, **options):
        rows, found = plan[draw]
        assert own == [texts[row] for row in rows]
        assert labels == [1 - row % 2 for row in rows]
        drawn.append(draw)
        return [f"{draw}: {texts[row]}" if row in found else None for row in rows]

    def compared(base, encoder, own, labels, reasons, **options):
        _, found = plan[drawn[-1]]  # not what is dropped anyway
        assert own == [texts[row] for row in found]
        assert labels == [1 - row % 2 for row in found]
        assert reasons == [f"{drawn[-1]}: {text}" for text in own]
        return list(found.values())

    def learn(encoder, rows, reasons, longest):
        examples = make_examples(encoder, rows, reasons, longest)
        if not reasons:  # of the passages that keep its language
            return examples
        learnt.append(reasons)
        assert [encoder.opening(own.label) == own.continuation for own in examples] == [
            not reason for reason in reasons
        ]
        return examples

    make_examples, drawn, learnt = fitting.make_examples, [], []
    monkeypatch.setattr(fitting, "make_examples", learn)
    monkeypatch.setattr(rationales, "filter_rationale", lambda said, *of, **bounds: EMPTY[not said])
    monkeypatch.setattr(rationales, "self_explanations", written)
    monkeypatch.setattr(rationales, "label_contrasts", compared)
    clf = CLSGenClassifier(tiny, epochs=1, lora_r=2, rationales="explain", random_state=0)
    assert clf.fit(texts, y).rationale_report_["classes"] == {
        "a": {"rows": 3, "kept": 2, "dropped": {"unlikely": 1}},
        "b": {"rows": 3, "kept": 1, "dropped": {"empty": 1, "fits another label": 1}},
    }
    assert drawn == [0, 1, 2]
    (reasons,) = learnt
    # Row 1's is the least likely of its label's, of all draws; there is but one of the other's.
    assert reasons == [f"0: {texts[0]}", "", "", f"1: {texts[3]}", "", f"0: {texts[5]}"]


@pytest.mark.real
def test_the_real_model_tells_what_a_reason_is_for():
    """The same words speak for one label and so against the other."""
    base = load_base_model()
    encoder = PromptEncoder(base.tokenizer, "Decide.", ["urgent", "routine"], 400)
    texts = ["Smoke is coming out of the charger!", "Thanks, the parcel has arrived."]
    reasons = ["This is dangerous and cannot wait.", "Nothing needs to be done at once."]
    own, others = (
        label_contrasts(base, encoder, texts, labels, reasons, max_new_tokens=40)
        for labels in ([0, 1], [1, 0])
    )
    assert min(own).nats > 0 > max(others).nats
    assert [c.nats for c in own] == pytest.approx([-c.nats for c in others], abs=0.1)
