"""Explanations of the base model's own, held to it in training."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from skclsgen import CLSGenClassifier, fitting, training
from skclsgen.anchor import Anchor, anchored
from skclsgen.backbone import load_base_model
from skclsgen.datasets import load_messages
from skclsgen.dual_head import DualHead
from skclsgen.example import Example
from skclsgen.exceptions import FallbackWarning
from skclsgen.lora import LoraSettings
from skclsgen.prompt import PromptEncoder
from skclsgen.randomness import seeded

#: A label's token, an explanation's two, and the end; a label alone; no words to learn; two more.
EXAMPLES = [
    Example([5, 6], [20, 21, 22, 2], 0, reason=range(1, 3)),
    Example([5, 6, 7], [20, 2], 1, reason=range(1, 1)),
    Example([8, 9], [], 1),
    Example([7, 9, 11, 13], [20, 23, 24, 25], 1, reason=range(1, 4)),
]


@pytest.fixture
def base(tiny):
    return load_base_model(tiny, dtype="float32")


def make(base):
    with seeded(0):
        net = DualHead(base, [1, 30], [[10], [11]], LoraSettings(2, 4, 8.0, 0.0))
        with torch.no_grad():
            for parameter in net.adapter_parameters().values():
                parameter += torch.randn_like(parameter) / 10
    return net


def test_half_of_an_explanations_loss_is_its_divergence_from_the_base_model(base):
    net = make(base)
    held = anchored(net, EXAMPLES)
    assert [0 if e.base_states is None else len(e.base_states) for e in held] == [2, 0, 0, 3]
    assert [replace(e, base_states=None) for e in held] == EXAMPLES
    _, losses, _ = training.batch_losses(net, held)
    _, plain, _ = training.batch_losses(net, EXAMPLES)
    for example, loss, other in zip(EXAMPLES, losses, plain, strict=True):
        # By the definition, on the whole models; the prefix is read without adapters.
        ids = [*example.prompt, *example.continuation]
        with torch.no_grad():
            wanted = base.lm(torch.tensor([[1, 30, *ids]])).logits[0, 2:].log_softmax(dim=-1)
            found = net.lm(torch.tensor([ids]), cache=net.prefix_cache()).logits[0]
            found = found.log_softmax(dim=-1)
        expected = []
        for place, token in enumerate(example.continuation):
            p, q = (table[len(example.prompt) + place - 1] for table in (wanted, found))
            kl = (p.exp() * (p - q)).sum()
            expected.append((kl - q[token]) / 2 if place in example.reason else -q[token])
        mean = torch.stack(expected).mean() if expected else torch.tensor(0.0)
        torch.testing.assert_close(loss.detach(), mean, rtol=1e-3, atol=1e-5)
        assert torch.equal(loss, other) != bool(example.reason)


def test_a_batch_without_explanations_is_held_nowhere(base):
    held = anchored(make(base), EXAMPLES)
    device = torch.device("cpu")
    assert Anchor.of(held[1:3], device) is None
    assert Anchor.of(EXAMPLES, device) is None
    assert Anchor.of(held, device).tokens.tolist() == [1, 2, 7, 8, 9]


def test_a_network_that_says_what_its_base_model_says_diverges_nowhere(base):
    with seeded(0):
        net = DualHead(base, [1, 30], [[10], [11]], LoraSettings(2, 4, 8.0, 0.0))
    (example,) = anchored(net, EXAMPLES[:1])
    prompts = net.pack([example.row])
    states, _ = net.hidden_states(prompts)
    _, place = prompts.continuations()
    kl = net.token_kl(states[place - 1][1:3], example.base_states)
    torch.testing.assert_close(kl, torch.zeros(2), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("reason", "max_tokens", "words"),
    [("no power since noon", 40, 4), ("no power since noon", 2, 2), ("", 40, 0)],
)
def test_neither_label_nor_end_is_an_explanations(base, reason, max_tokens, words):
    encoder = PromptEncoder(base.tokenizer, "Decide.", ["urgent", "not urgent"], 100)
    for label in (0, 1):
        continuation = encoder.continuation(label, reason, max_tokens)
        own = encoder.reason_tokens(label, continuation)
        assert [continuation[i] for i in own] == encoder.reason_ids(reason)[:max_tokens]
        assert len(own) >= words
    assert not encoder.reason_tokens(0, [])


@torch.no_grad()
def divergence(clf, texts, labels, said):
    """Mean divergence from the base model over the words of explanations, in nats."""
    live = clf._network.live()
    encoder, net = live.encoder, live.net
    indices = [clf.classes_.tolist().index(label) for label in labels]
    total, tokens = 0.0, 0
    for prompt, label, text in zip(encoder.encode(texts), indices, said, strict=True):
        continuation = encoder.continuation(label, text, 60)
        own = encoder.reason_tokens(label, continuation)
        (held,) = anchored(net, [Example(prompt, continuation, label, reason=own)])
        pack = net.pack([held.row])
        states, _ = net.hidden_states(pack)
        _, place = pack.continuations()
        total += float(net.token_kl(states[place[list(own)] - 1], held.base_states).sum())
        tokens += len(own)
    return total / tokens


@pytest.mark.parametrize(
    ("rationales", "given", "held"),
    [("explain", False, True), ("self", False, False), ("explain", True, False)],
)
def test_only_explanations_that_the_base_model_wrote_are_held_to_it(
    tiny, data, monkeypatch, rationales, given, held
):
    def take_note(net, examples, settings):
        asked.append(settings.anchor)
        return train(net, examples, [], settings)

    def count(net, examples, verbose):
        read.append(len(examples))
        return anchored(net, examples, verbose)

    asked, read, train = [], [], training.train
    monkeypatch.setattr(
        fitting, "train", lambda net, own, _, settings: take_note(net, own, settings)
    )
    monkeypatch.setattr(training, "anchored", count)
    texts, labels, _ = data
    reasons = [f"because of {label}" for label in labels] if given else None
    clf = CLSGenClassifier(tiny, rationales=rationales, epochs=1, random_state=0)
    wrote_nothing = rationales == "explain" and not given
    with pytest.warns(FallbackWarning) if wrote_nothing else nullcontext():
        clf.fit(texts, labels, explanations=reasons)
    assert asked == [held]
    assert len(read) == held


@pytest.mark.real
def test_an_anchor_keeps_what_the_base_model_might_say_of_other_texts(monkeypatch):
    messages = load_messages().train
    texts, labels = messages.texts[:24], messages.labels[:24]
    untrained = CLSGenClassifier(epochs=0).fit(texts, labels)
    said = [own.text for own in untrained.explain(texts, labels=labels)]
    learnt, others = slice(16), slice(16, None)
    settings, moved = fitting.TrainingSettings, []
    for held in (False, True):
        monkeypatch.setattr(
            fitting,
            "TrainingSettings",
            lambda *, anchor, held=held, **given: settings(anchor=held, **given),
        )
        clf = CLSGenClassifier(explanation_weight=2.0, random_state=0)
        clf.fit(texts[learnt], labels[learnt], explanations=said[learnt])
        moved.append(divergence(clf, texts[others], labels[others], said[others]))
    assert 0 < moved[1] < 0.8 * moved[0], moved
