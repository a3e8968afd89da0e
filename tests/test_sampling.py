"""Tokens that are drawn: by the model's distribution, and by which random numbers."""

import numpy as np
import pytest
import torch
from conftest import build_model

from skclsgen.backbone import load_base_model
from skclsgen.generation import decode, prefill_base
from skclsgen.packed_model import PackedModel
from skclsgen.sampling import own_sampler, sampler

PREFIX = [1, 30, 31]
PROMPTS = [[40, 41, 42, 9], [*range(60, 90), 9], [50, 9]]


@pytest.fixture(scope="module")
def base(tiny):
    return load_base_model(tiny, dtype="float32")


def by_one_generator(base, temperature, rows, stop_ids=frozenset()):
    return sampler(base.logit_shape, temperature, torch.Generator().manual_seed(0))


def by_their_own(base, temperature, rows, stop_ids=frozenset()):
    return own_sampler(base.logit_shape, temperature, list(range(rows)), 1, stop_ids)


@pytest.mark.parametrize("drawing", [by_one_generator, by_their_own])
@pytest.mark.parametrize("family", ["llama", "granite", "cohere", "gemma2"])
def test_samples_follow_the_models_distribution(family, drawing, tmp_path):
    """The first tokens of many samples, drawn from one prefill; also where logits are shaped."""
    base = load_base_model(build_model(tmp_path, family), dtype="float32")
    with torch.no_grad():  # or random weights would make all tokens nearly as likely
        base.lm.get_output_embeddings().weight.mul_(10)
    model, many = PackedModel(base, PREFIX), 2000
    start = prefill_base(model, [[40, 41, 42]]).repeated(many)
    pick = drawing(base, 0.7, many)
    replies = decode(model.lm, start, [[9]] * many, 1, frozenset(), pick=pick)
    with torch.no_grad():
        logits = base.lm(torch.tensor([[*PREFIX, 40, 41, 42, 9]])).logits[0, -1]
    shares = (logits / 0.7).softmax(dim=-1).numpy()
    counts = np.bincount([reply[0] for reply in replies], minlength=len(shares))
    likely = shares * many > 5
    chi2 = ((counts - many * shares) ** 2 / (many * shares))[likely].sum()
    assert likely.sum() > 50
    assert chi2 < likely.sum() + 4 * np.sqrt(2 * likely.sum())


def test_samples_are_fixed_by_their_generator(base):
    model = PackedModel(base, PREFIX)

    def drawn(seed):
        start = prefill_base(model, PROMPTS).repeated(3)
        pick = sampler(base.logit_shape, 1.0, torch.Generator().manual_seed(seed))
        return decode(model.lm, start, [[9]] * 9, 6, frozenset({2}), pick=pick)

    assert drawn(0) == drawn(0) != drawn(1)


@pytest.mark.parametrize("drawing", [by_one_generator, by_their_own])
def test_a_sample_does_not_begin_with_a_stop_token(base, drawing):
    model = PackedModel(base, PREFIX)
    stop = frozenset(range(390))  # nearly all of the vocabulary
    start = prefill_base(model, PROMPTS).repeated(20)
    pick = drawing(base, 5.0, 60, stop)
    replies = decode(model.lm, start, [[9]] * 60, 1, stop, pick=pick)
    assert all(reply[0] >= 390 for reply in replies)
    assert len({reply[0] for reply in replies}) > 1


def test_what_a_row_draws_does_not_depend_on_other_rows(base):
    """Neither on their order nor their number, their openings, or where they end."""
    model, longest, stop = PackedModel(base, PREFIX), 6, frozenset(range(0, 400, 5))
    openings = [[9], [20, 21, 22], [9, 10]]

    def drawn(rows):
        start = prefill_base(model, [PROMPTS[row] for row in rows])
        pick = own_sampler(base.logit_shape, 1.0, [70 + row for row in rows], longest, stop)
        own = [openings[row] for row in rows]
        return decode(model.lm, start, own, longest, stop, pick=pick)

    together = drawn([0, 1, 2])
    assert drawn([2, 0, 1]) == [together[2], together[0], together[1]]
    assert [drawn([row])[0] for row in range(3)] == together
    assert len(set(map(len, together))) > 1
