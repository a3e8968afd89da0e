import pytest
import torch
from conftest import FAMILIES, SIZES, build_model, save_model
from transformers import AutoModelForCausalLM, FalconConfig, PhimoeConfig, Qwen2MoeConfig

from skclsgen import attention
from skclsgen import grouped_attention as grouped
from skclsgen.attention import can_pack, packed
from skclsgen.backbone import load_base_model
from skclsgen.dual_head import DualHead
from skclsgen.exceptions import FallbackWarning
from skclsgen.generation import decode, predict_logits, prefill
from skclsgen.grouped_attention import grouped_attention, make_plan
from skclsgen.lora import LoraSettings
from skclsgen.packing import PackedRows

CPU = torch.device("cpu")
ALIKE = [(40, 7), (33, 0), (36, 12), (70, 2)]
LENGTHS = [(5, 3), *ALIKE]
LONG = [(300, 20), (5, 0), (2, 129), (280, 3)]
PREFIX = 6


def packed_rows(lengths=LENGTHS):
    return PackedRows([(range(a), range(b)) for a, b in lengths], PREFIX, CPU)


def by_hand(query, key, value, scaling, window, lengths=LENGTHS):
    """Every row by itself, by the definition."""
    found = []
    for start, stop in packed_rows(lengths).spans():
        keys, values = (
            torch.cat(
                [t[:, :PREFIX], t[:, PREFIX + start : PREFIX + stop]], dim=1
            ).repeat_interleave(2, dim=0)
            for t in (key, value)
        )
        distance = torch.arange(stop - start)[:, None] + PREFIX - torch.arange(keys.shape[1])
        hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
        scores = query[:, start:stop] @ keys.transpose(1, 2) * scaling
        found.append((scores.masked_fill(hidden, -torch.inf).softmax(-1) @ values).transpose(0, 1))
    return torch.cat(found)


def tensors(lengths=LENGTHS):
    """Queries, keys, and values of another width; strided, as a model's own are."""
    torch.manual_seed(0)
    tokens = sum(map(sum, lengths))
    shapes = [(tokens, 4, 8), (PREFIX + tokens, 2, 8), (PREFIX + tokens, 2, 12)]
    return [
        torch.randn(shape, dtype=torch.float64).transpose(0, 1).requires_grad_() for shape in shapes
    ]


@pytest.mark.parametrize("window", [None, 2, 9, 140])
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("lengths", [LENGTHS, LONG])
def test_grouped_attention_is_attention_row_by_row(window, separate, lengths):
    inputs = tensors(lengths)
    plan = make_plan(packed_rows(lengths), 4, 2, window, torch.float64, separate)
    torch.testing.assert_close(
        grouped_attention(*inputs, 0.3, plan), by_hand(*inputs, 0.3, window, lengths)
    )


def test_tensors_are_made_where_the_rows_are():
    """And not on the device that a caller has made torch's default."""
    inputs = tensors()
    with torch.device("meta"):
        plan = make_plan(packed_rows(), 4, 2, None, torch.float64, separate=False)
        out = grouped_attention(*inputs, 0.3, plan)
        found = torch.autograd.grad(out.sum(), inputs)
    torch.testing.assert_close(out, by_hand(*inputs, 0.3, None))
    assert {gradient.device.type for gradient in found} == {"cpu"}


def gradients(lengths, window, dtype=torch.float64):
    """Those of grouped attention, and those of autograd in float64."""
    inputs = tensors(lengths)
    outs = [by_hand(*inputs, 0.3, window, lengths)]
    plan = make_plan(packed_rows(lengths), 4, 2, window, dtype, separate=False)
    outs.append(grouped_attention(*(t.to(dtype) for t in inputs), 0.3, plan).to(torch.float64))
    weights = torch.randn_like(outs[0])
    expected, found = (torch.autograd.grad((out * weights).sum(), inputs) for out in outs)
    return found, expected, plan


@pytest.mark.parametrize("lengths", [LENGTHS, LONG])
@pytest.mark.parametrize("window", [None, 2, 9, 140])
@pytest.mark.parametrize("wasted", [0, 2**14])
@pytest.mark.parametrize("kept", [0, 2**25])
def test_its_gradients_are_those_of_autograd(lengths, window, wasted, kept, monkeypatch):
    """In many groups and in few, with tables kept and made anew."""
    monkeypatch.setattr(grouped, "WASTED_PAIRS", wasted)
    monkeypatch.setattr(grouped, "KEPT_BYTES", kept)
    found, expected, _ = gradients(lengths, window)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_its_gradients_are_as_exact_as_the_dtype(dtype):
    found, expected, _ = gradients(LONG, None, dtype)
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() < 4 * torch.finfo(dtype).eps * other.norm()


def test_groups_are_few_where_little_is_wasted():
    def groups(lengths):
        return len(gradients(lengths, None)[2].groups)

    assert groups(ALIKE) == groups(LENGTHS) == 1
    assert 1 < groups(LONG) < 6  # a block of 128 queries does not take in one of 5


def test_a_window_bounds_the_keys_of_a_block():
    plan = make_plan(packed_rows([(1000, 0)]), 4, 2, 64, torch.float32, separate=True)
    assert plan.pairs < 1000 * (128 + 64 + 32)


def states(lm, rows):
    model = lm.get_decoder()
    with packed(rows), torch.no_grad():
        return model(
            input_ids=rows.ids()[None], position_ids=rows.positions()[None]
        ).last_hidden_state[0]


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("fused", [False, True])
def test_packed_rows_of_every_family_are_those_of_its_own_code(
    family, fused, tmp_path, monkeypatch
):
    """Also beyond the sliding windows of the tiny models, and with either kernel."""
    if fused:
        monkeypatch.setattr(attention, "GROUPED_DEVICES", set())
    lm = AutoModelForCausalLM.from_pretrained(build_model(tmp_path, family)).eval()
    rows = PackedRows([(range(3, 60), range(5, 15)), (range(20, 90), [])], 0, CPU)
    with torch.no_grad():
        alone = [
            lm.get_decoder()(input_ids=torch.tensor([[*p, *c]])).last_hidden_state[0]
            for p, c in rows.rows
        ]
    assert can_pack(lm)
    lm.set_attn_implementation(attention.NAME)
    torch.testing.assert_close(states(lm, rows), torch.cat(alone), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        (PhimoeConfig, {}),
        (Qwen2MoeConfig, {"use_sliding_window": True, "max_window_layers": 0}),
    ],
)
def test_a_window_that_is_in_the_mask_alone_is_not_overlooked(config, changes):
    """Packed rows have no mask, and the rows that are tried are shorter than any real window."""
    sizes = SIZES | {"num_experts": 2, "num_local_experts": 2, "num_experts_per_tok": 2}
    for window, packs in ((64, False), (SIZES["max_position_embeddings"], True)):
        made = config(**sizes, **changes | {"sliding_window": window})
        lm = AutoModelForCausalLM.from_config(made).eval()
        assert can_pack(lm) == packs


def test_attention_of_a_kind_not_covered_is_run_row_by_row_with_a_warning(tmp_path, monkeypatch):
    prompts = [[40, 41, 42, 43, 44], [50, 51], list(range(60, 90))]
    lora = LoraSettings(2, 4, 8.0, 0.0)
    found = []
    for kind in ("packed", "single"):
        folder = build_model(tmp_path / kind, "gemma3")
        if kind == "packed":
            base = load_base_model(folder, dtype="float32")
        else:
            monkeypatch.setattr(attention, "KINDS", {"full_attention"})
            with pytest.warns(FallbackWarning, match="rows are run one by one"):
                base = load_base_model(folder, dtype="float32")
        assert base.packs == (kind == "packed")
        net = DualHead(base, [1, 30, 31], [[10], [11]], lora).eval()
        logits, start = prefill(net, prompts)
        found.append([logits, predict_logits(net, prompts), start.cache.layers[2].keys])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)


def test_another_attention_can_be_asked_for(tmp_path):
    base = load_base_model(build_model(tmp_path, "llama"), attn_implementation="eager")
    assert not base.packs
    net = DualHead(base, [1, 30, 31], [[10], [11]], LoraSettings(2, 4, 8.0, 0.0)).eval()
    assert predict_logits(net, [[40, 41], [50]]).isfinite().all()


def test_a_family_whose_attention_is_no_function_is_run_row_by_row(tmp_path):
    """Falcon computes its own, and packed rows fail inside it."""
    sizes = {name: size for name, size in SIZES.items() if name != "head_dim"}
    folder = save_model(tmp_path, FalconConfig(**sizes))
    with pytest.warns(FallbackWarning, match="rows are run one by one"):
        base = load_base_model(folder, dtype="float32")
    prefix, prompts = [1, 30, 31], [[40, 41, 42], [50], list(range(60, 90))]
    with pytest.warns(FallbackWarning, match="cannot be split"):
        net = DualHead(base, prefix, [[10], [11]], LoraSettings(2, 4, 8.0, 0.0)).eval()
    logits, start = prefill(net, prompts)
    replies = decode(net.lm, start, [[20]] * 3, 6, frozenset({2}))
    for prompt, found, reply in zip(prompts, logits, replies, strict=True):
        ids = torch.tensor([[*prefix, *prompt]])
        with torch.no_grad():
            expected = base.lm(ids).logits[0, -1, [10, 11]]
            said = base.lm.generate(
                torch.cat([ids, torch.tensor([[20]])], dim=1),
                max_new_tokens=6, do_sample=False, pad_token_id=2, eos_token_id=2,
            )  # fmt: skip
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
        assert reply == said[0, ids.shape[1] + 1 :].tolist()
