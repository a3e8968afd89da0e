import numpy as np
import pytest
import torch

from skclsgen import CLSGenClassifier, training
from skclsgen.backbone import load_base_model
from skclsgen.benchmark.evidence.general_text import general_texts
from skclsgen.datasets import load_messages
from skclsgen.dual_head import DualHead
from skclsgen.lora import LoraSettings
from skclsgen.metrics import language_change
from skclsgen.packed_model import PackedModel
from skclsgen.prompt import control_tokens
from skclsgen.randomness import seeded
from skclsgen.replay import PASSAGES, TOKENS, Replay, own_words

TEXTS = ["My order has not come, please tell me where it is.", "The charger smokes, help me!"]


def make(base):
    with seeded(0):
        return DualHead(base, [1, 30], [[10], [11]], LoraSettings(2, 4, 8.0, 0.0))


def test_a_base_model_writes_once_and_no_control_tokens_to_begin_with(tiny):
    base = load_base_model(tiny)
    rows = own_words(base)
    assert own_words(base) is rows
    assert len(rows) == PASSAGES
    control = set(control_tokens(base.tokenizer).values())
    assert control
    assert not control & {first for (first,), _ in rows}
    assert all(1 <= len(more) <= TOKENS for _, more in rows)
    assert len({tuple(more) for _, more in rows}) > PASSAGES / 2
    base.own_words = []
    assert own_words(base) == rows  # drawn again, they are the same


def test_every_passage_comes_once_before_any_comes_again(tiny):
    base = load_base_model(tiny)
    first, again, other = (Replay(make(base), seed) for seed in (0, 0, 1))
    drawn = [[one.draw().row for _ in range(PASSAGES)] for one in (first, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert sorted(map(str, drawn[0])) == sorted(map(str, own_words(base)))


def test_what_the_base_model_predicts_from_is_computed_once_for_all_folds(tiny, monkeypatch):
    base, read = load_base_model(tiny), []
    predicting = PackedModel.predicting_states

    def take_note(self, rows):
        read.append(rows)
        return predicting(self, rows)

    monkeypatch.setattr(PackedModel, "predicting_states", take_note)
    base.own_states.clear()
    first, again = (Replay(make(base), 0).draw() for _ in range(2))
    assert first.row == again.row
    assert first.base_states is again.base_states
    other = Replay(DualHead(base, [1, 31], [[10], [11]], LoraSettings(2, 4, 8.0, 0.0)), 0).draw()
    assert not torch.equal(other.base_states, first.base_states)
    assert len(read) == 2
    assert list(base.own_states) == [(1, 31)]


def test_an_untrained_network_has_not_moved_and_a_disturbed_one_has(tiny):
    base = load_base_model(tiny, dtype="float32")
    net = make(base)
    passage = Replay(net, 0).draw()
    rows = net.pack([([5, 6], [7, 8]), passage.row])
    trunk = torch.cat([net.trunk_states(net.pack([([5, 6], [7, 8])]))[0], passage.trunk])
    classes = torch.tensor([1])
    *_, language = net.losses(rows, trunk, classes, passage.base_states)
    assert float(language.detach()) == pytest.approx(0, abs=1e-6)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in net.adapter_parameters().values():
            parameter += torch.randn_like(parameter) / 10
    classification, explanation, language = net.losses(rows, trunk, classes, passage.base_states)
    assert language > 1e-4
    # By the definition, on the whole models; the prefix is read without adapters.
    first, more = passage.row
    ids = torch.tensor([[*first, *more]])
    with torch.no_grad():
        wanted = base.lm(torch.tensor([[1, 30, *first, *more]])).logits[0, 2:-1]
        found = net.lm(ids, cache=net.prefix_cache()).logits[0, :-1]
    p, q = (table.log_softmax(dim=-1) for table in (wanted, found))
    expected = (p.exp() * (p - q)).sum(dim=-1).mean()
    torch.testing.assert_close(language, expected, rtol=1e-3, atol=1e-6)
    # The row beside it does not notice.
    alone = net.pack([([5, 6], [7, 8])])
    for a, b in zip(
        net.losses(alone, net.trunk_states(alone)[0], classes),
        (classification, explanation),
        strict=False,
    ):
        torch.testing.assert_close(a, b)


def fitted(tiny, data, **changes):
    texts, labels, _ = data
    options = {"epochs": 3, "learning_rate": 2e-3, "dtype": "float32", "random_state": 0}
    reasons = [f"because of {label}" for label in labels]
    return CLSGenClassifier(tiny, **options | changes).fit(texts, labels, explanations=reasons)


def test_history_tells_how_far_the_language_moved(tiny, data):
    free, held = (fitted(tiny, data, language_weight=weight) for weight in (0.0, 1.0))
    assert "language_loss" not in free.history_
    assert len(held.history_["language_loss"]) == 3
    assert np.isfinite(held.history_["language_loss"]).all()


@pytest.mark.real
def test_the_weight_keeps_the_language_of_texts_that_were_never_met():
    train = load_messages().train
    texts, labels, reasons = train.texts[:32], train.labels[:32], train.explanations[:32]
    passages = general_texts()[:8]
    moved = []
    for weight in (0.0, 5.0):
        clf = CLSGenClassifier(language_weight=weight, learning_rate=1e-3, random_state=0)
        clf.fit(texts, labels, explanations=reasons)
        moved.append(language_change(clf, passages).kl.mean())
    assert moved[1] < 0.7 * moved[0]


def test_who_learns_no_words_has_no_language_to_keep(tiny, data, monkeypatch):
    def never(*arguments):
        raise AssertionError("passages were written for nothing")

    monkeypatch.setattr(training, "Replay", never)
    texts, labels, _ = data
    clf = CLSGenClassifier(tiny, epochs=1, rationales=None, language_weight=1.0)
    assert "language_loss" not in clf.fit(texts, labels).history_


def test_long_batches_run_in_parts_read_a_passage_once(tiny, data, monkeypatch):
    losses = []
    for tokens in (4096, 64):
        monkeypatch.setattr(training, "MICRO_BATCH_TOKENS", tokens)
        clf = fitted(tiny, data, dtype="float64", language_weight=1.0)
        losses.append(clf.history_["language_loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)
