import copy

import pytest
import torch
from conftest import FAMILIES, build_model
from torch.nn.functional import cross_entropy

from skclsgen import module_tree
from skclsgen.backbone import load_base_model
from skclsgen.dual_head import DualHead
from skclsgen.exceptions import FallbackWarning
from skclsgen.generation import decode, predict_logits, prefill
from skclsgen.lora import LoraSettings

PREFIX = [1, 30, 31, 32]
PROMPTS = [[40, 41, 42, 43, 44, 45], [50, 51], list(range(60, 100))]
VERBALIZERS = [[10], [11]]


def make(base, layers=2, **changes):
    torch.manual_seed(0)
    lora = LoraSettings(layers, r=4, alpha=8.0, dropout=0.0)
    return DualHead(base, PREFIX, changes.get("verbalizers", VERBALIZERS), lora).eval()


def disturb(net):
    """Make the adapters do something: they start as zero."""
    torch.manual_seed(1)
    for parameter in net.adapter_parameters().values():
        parameter.data.normal_(std=0.2)


@pytest.fixture(scope="module")
def base(tiny):
    return load_base_model(tiny, dtype="float32")


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request, tmp_path_factory):
    folder = build_model(tmp_path_factory.mktemp(request.param), request.param)
    return load_base_model(folder, dtype="float32")


def by_hand(base, prompt):
    """Hidden states of the whole base model on prefix and prompt, without any of our code."""
    ids = torch.tensor([[*PREFIX, *prompt]])
    with torch.no_grad():
        return base.lm(ids)


def test_every_family_is_split_and_agrees_with_the_whole_model(family):
    net = make(family)
    assert net.depth == 1
    logits = predict_logits(net, PROMPTS)
    for prompt, found in zip(PROMPTS, logits, strict=True):
        expected = by_hand(family, prompt).logits[0, -1, [10, 11]]
        # Gemma 2 squashes its logits, which keeps their order; at this size nearly the logits.
        torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


def test_every_family_splits_with_working_adapters(family):
    split, whole = make(family, 2), make(family, 2)
    disturb(split), disturb(whole)
    whole.depth = 0  # runs the adapted model in one piece
    torch.testing.assert_close(
        predict_logits(split, PROMPTS), predict_logits(whole, PROMPTS), atol=2e-5, rtol=1e-4
    )


def test_every_family_is_causal_and_keeps_rows_apart(family):
    """No state may see what follows, or another row; with and without gradients."""
    assert family.packs
    net = make(family)
    disturb(net)
    pair = [(PROMPTS[0], [7, 8]), (PROMPTS[1], [])]
    changed = [(PROMPTS[0], [7, 99]), (PROMPTS[2], [])]
    found = []
    for grad in (False, True):
        with torch.set_grad_enabled(grad):
            for rows in (pair, changed):
                packed = net.pack(rows)
                states, _ = net.hidden_states(packed, net.trunk_states(packed)[0])
                found.append(states[:7].detach())
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, atol=2e-5, rtol=1e-4)


def test_every_family_generates_what_the_base_model_would(family):
    """With adapters that do nothing, replies are those of plain greedy generation."""
    net = make(family)
    opening = [[20, 21], [20], [20, 21, 22]]
    replies = decode(net.lm, prefill(net, PROMPTS)[1], opening, 6, frozenset({2}))
    for prompt, start, reply in zip(PROMPTS, opening, replies, strict=True):
        ids = torch.tensor([[*PREFIX, *prompt, *start]])
        with torch.no_grad():
            out = family.lm.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False,
                pad_token_id=2, eos_token_id=2,
            )  # fmt: skip
        assert reply == out[0, ids.shape[1] :].tolist()


def test_every_family_has_the_language_models_own_token_loss(family):
    net = make(family)
    rows = net.pack([(PROMPTS[0], [])])
    ids = rows.ids()
    with torch.no_grad():
        states, _ = net.hidden_states(rows, net.trunk_states(rows)[0])
        found = net.token_nll(states[:-1], ids[1:])
        logits = family.lm(torch.tensor([[*PREFIX, *PROMPTS[0]]])).logits[0, len(PREFIX) : -1]
    expected = cross_entropy(logits, ids[1:], reduction="none")
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


def test_head_starts_as_the_zero_shot_classifier(base):
    net = make(base, verbalizers=[[10, 12], [11]])
    rows = base.lm.get_output_embeddings().weight
    torch.testing.assert_close(net.head.weight[0], rows[[10, 12]].mean(0))
    torch.testing.assert_close(net.head.weight[1], rows[11])
    assert not net.head.bias.any()


def test_padding_and_company_do_not_change_a_row(base):
    net = make(base)
    disturb(net)
    together = predict_logits(net, PROMPTS)
    for prompt, logits in zip(PROMPTS, together, strict=True):
        torch.testing.assert_close(predict_logits(net, [prompt])[0], logits)


def test_explaining_gives_the_very_probabilities_of_predicting(base):
    net = make(base)
    disturb(net)
    assert torch.equal(prefill(net, PROMPTS)[0], predict_logits(net, PROMPTS))


def test_a_rows_logits_are_its_own(base):
    """To the last bit, also where one row more would begin another block."""
    net = make(base)
    disturb(net)
    states = torch.randn(33, base.lm.config.hidden_size)
    alone = torch.cat([net.class_logits(own[None]) for own in states])
    assert torch.equal(net.class_logits(states), alone)
    assert torch.equal(net.class_logits(states[:0]), alone[:0])


@pytest.mark.parametrize("width", [896, 1024, 1536])
def test_a_rows_logits_do_not_depend_on_how_many_there_are(base, width):
    """Of these widths MKL, on several threads, sums 128 rows in another order than 32."""
    net = make(base)
    net.head = torch.nn.Linear(width, 3)
    states = torch.randn(128, width)
    with torch.no_grad():
        parts = [net.class_logits(part) for part in states.split(32)]
        assert torch.equal(net.class_logits(states), torch.cat(parts))


def test_the_loss_is_that_of_the_head_without_filler(base):
    net = make(base)
    rows = net.pack([(PROMPTS[0], []), (PROMPTS[1], [])])
    trunk, _ = net.trunk_states(rows)
    classes = torch.tensor([0, 1])
    states, _ = net.hidden_states(rows, trunk)
    expected = cross_entropy(net.head(states[rows.decisions()]), classes, reduction="none")
    assert torch.equal(net.losses(rows, trunk, classes)[0], expected)


def test_the_shared_base_is_not_touched(base):
    before = copy.deepcopy(base.lm.state_dict())
    modules = [type(module) for module in base.lm.modules()]
    net = make(base)
    disturb(net)
    net.train()
    predict_logits(net, PROMPTS)
    after = base.lm.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [type(module) for module in base.lm.modules()] == modules
    assert not base.lm.training
    # and the network's frozen tensors are the base's own, not copies
    shared = {p.data_ptr() for p in base.lm.parameters()}
    frozen = [p for n, p in net.lm.named_parameters() if not p.requires_grad]
    assert frozen
    assert all(p.data_ptr() in shared for p in frozen)


def test_adapters_are_not_active_on_the_prefix(base):
    net, plain = make(base), make(base)
    disturb(net)
    for one, other in zip(net.prefix_cache().layers, plain.prefix_cache().layers, strict=True):
        assert torch.equal(one.keys, other.keys)
        assert torch.equal(one.values, other.values)
    assert not torch.equal(predict_logits(net, PROMPTS), predict_logits(plain, PROMPTS))


def test_adapters_are_in_the_top_layers_only(base):
    names = make(base, 1).adapter_parameters()
    assert names
    assert all(".layers.2." in name for name in names)
    assert any(".layers.0." in name for name in make(base, "all").adapter_parameters())


def test_all_layers_leaves_no_trunk(base):
    assert make(base, "all").depth == 0


def test_a_family_that_cannot_be_split_is_run_whole_with_a_warning(base, monkeypatch):
    expected = predict_logits(make(base), PROMPTS)

    def wrong(self, hidden_states, *args, **kwargs):
        return self.states * 2

    monkeypatch.setattr(module_tree.Inject, "forward", wrong)
    with pytest.warns(FallbackWarning, match="cannot be split"):
        net = make(base)
    assert net.depth == 0
    torch.testing.assert_close(predict_logits(net, PROMPTS), expected)


def losses(net, explanation):
    rows = net.pack([(PROMPTS[0], [20, 21, 2] if explanation else []), (PROMPTS[1], [])])
    classification, explanation, language = net.losses(
        rows, net.trunk_states(rows)[0], torch.tensor([0, 1])
    )
    assert language == 0
    return classification, explanation


def test_joint_loss_against_autograd_on_the_whole_model(base):
    net = make(base)
    disturb(net)
    classification, explanation = losses(net, True)
    with torch.no_grad():
        logits = predict_logits(net, PROMPTS[:2])
        ids = torch.tensor([[*PROMPTS[0], 20, 21, 2]])
        whole = net.lm(ids, cache=net.prefix_cache()).logits[0]
    torch.testing.assert_close(
        classification, cross_entropy(logits, torch.tensor([0, 1]), reduction="none")
    )
    expected = cross_entropy(whole[5:8], torch.tensor([20, 21, 2]))
    torch.testing.assert_close(explanation, torch.stack([expected, torch.tensor(0.0)]))


def test_rows_without_explanation_keep_their_classification_loss(base):
    net = make(base)
    classification, explanation = losses(net, False)
    assert (classification > 0).all()
    assert (explanation == 0).all()


def test_gradients_reach_adapters_and_head_only(base):
    net = make(base)
    disturb(net)
    classification, explanation = losses(net, True)
    (classification.sum() + explanation.sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in net.adapter_parameters().values())
    assert net.head.weight.grad.any()
    assert all(p.grad is None for p in base.lm.parameters())


def test_only_adapter_dropout_is_ever_switched_on(tmp_path):
    base = load_base_model(build_model(tmp_path, "gpt2"))
    net = DualHead(base, PREFIX, VERBALIZERS, LoraSettings(2, 4, 8.0, dropout=0.5))
    net.train()
    training = {name for name, module in net.named_modules() if module.training}
    assert training
    assert all("lora_dropout" in name for name in training)
    net.eval()
    assert not any(module.training for module in net.modules())


def test_state_goes_into_another_network_and_only_a_fitting_one(base):
    one, other = make(base), make(base)
    disturb(one)
    other.load_trained_state(one.trained_state())
    assert torch.equal(predict_logits(one, PROMPTS), predict_logits(other, PROMPTS))
    with pytest.raises(ValueError, match="do not fit this base model"):
        make(base, 1).load_trained_state(one.trained_state())
