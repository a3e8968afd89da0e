import numpy as np
import pytest
import torch
from conftest import build_model

from skclsgen.backbone import load_base_model
from skclsgen.dual_head import DualHead
from skclsgen.generation import prefill_base
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
