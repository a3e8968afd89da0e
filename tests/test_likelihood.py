import numpy as np
import pytest
import torch
from conftest import build_model

from skclsgen.backbone import load_base_model
from skclsgen.dual_head import DualHead
from skclsgen.generation import decode, prefill_base, sampler
from skclsgen.likelihood import choice_log_likelihoods, row_nll
from skclsgen.lora import LoraSettings
from skclsgen.packed_model import PackedModel

PREFIX = [1, 30, 31]
PROMPTS = [[40, 41, 42, 9], [*range(60, 90), 9], [50, 9]]
CHOICES = [[7, 8, 11], [12]]


@pytest.fixture(scope="module")
def base(tiny):
    return load_base_model(tiny, dtype="float32")


def log_likelihood(base, before, words):
    """By the model's own forward pass, token by token."""
    with torch.no_grad():
        logits = base.lm(torch.tensor([[*PREFIX, *before, *words]])).logits[0]
    table = logits.log_softmax(dim=-1)
    start = len(PREFIX) + len(before) - 1
    return sum(float(table[start + i, word]) for i, word in enumerate(words))


def test_choices_have_the_likelihoods_of_the_models_own_forward_pass(base):
    model = PackedModel(base, PREFIX)
    start = prefill_base(model, [prompt[:-1] for prompt in PROMPTS])
    found = choice_log_likelihoods(model, start, [[9, *words] for words in CHOICES])
    expected = [[log_likelihood(base, prompt, words) for words in CHOICES] for prompt in PROMPTS]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("dual", [False, True])
def test_rows_have_the_likelihoods_of_the_models_own_forward_pass(base, dual):
    model = (
        DualHead(base, PREFIX, [[10], [11]], LoraSettings(1, 4, 8.0, 0.0))
        if dual
        else PackedModel(base, PREFIX)
    )
    rows = [(prompt, words) for prompt in PROMPTS for words in CHOICES]
    seen = []
    found = row_nll(model, rows, seen.append)
    assert [len(own) for own in found] == [len(words) for _, words in rows]
    expected = [-log_likelihood(base, prompt, words) for prompt, words in rows]
    np.testing.assert_allclose([own.sum() for own in found], expected, rtol=1e-4)
    assert sum(seen) == len(rows)


def test_all_next_tokens_agree_with_the_loss_of_one(tmp_path):
    """Families that scale or cap their logits too."""
    for family in ("granite", "gemma2", "cohere"):
        folder = tmp_path / family
        model = PackedModel(load_base_model(build_model(folder, family), dtype="float32"), PREFIX)
        states = torch.randn(5, 32)
        targets = torch.tensor([3, 50, 7, 399, 0])
        with torch.no_grad():
            table = model.log_proba(states)
            nll = model.token_nll(states, targets)
        torch.testing.assert_close(-table[torch.arange(5), targets], nll)
        torch.testing.assert_close(table.exp().sum(dim=1), torch.ones(5))


@pytest.mark.parametrize("family", ["llama", "granite", "cohere", "gemma2"])
def test_samples_follow_the_models_distribution(family, tmp_path):
    """The first tokens of many samples, drawn from one prefill; also where logits are shaped."""
    base = load_base_model(build_model(tmp_path, family), dtype="float32")
    with torch.no_grad():  # or random weights would make all tokens nearly as likely
        base.lm.get_output_embeddings().weight.mul_(10)
    model, many = PackedModel(base, PREFIX), 2000
    generator = torch.Generator().manual_seed(0)
    start = prefill_base(model, [[40, 41, 42]]).repeated(many)
    pick = sampler(base.logit_shape, 0.7, generator)
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


def test_a_sample_does_not_begin_with_a_stop_token(base):
    model = PackedModel(base, PREFIX)
    stop = frozenset(range(390))  # nearly all of the vocabulary
    start = prefill_base(model, PROMPTS).repeated(20)
    pick = sampler(base.logit_shape, 5.0)
    replies = decode(model.lm, start, [[9]] * 60, 1, stop, pick=pick)
    assert all(reply[0] >= 390 for reply in replies)
