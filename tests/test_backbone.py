import gc
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import weakref

import pytest
import torch
import transformers
from conftest import SIZES, build_model, build_tokenizer, save_model
from sklearn.base import clone

from skclsgen import CLSGenClassifier, attention, backbone, devices, release_memory
from skclsgen.backbone import load_base_model
from skclsgen.baselines import LabelProbability, LinearProbe
from skclsgen.devices import resolve_device, resolve_dtype
from skclsgen.exceptions import OptionalDependencyError, UnsupportedModelError


def test_one_copy_per_process_however_many_estimators(quick, data):
    texts, labels, _ = data
    one = CLSGenClassifier(**quick).fit(texts, labels)
    two = CLSGenClassifier(**quick).fit(texts, labels)
    assert one._network.live().base is two._network.live().base
    assert load_base_model(quick["model"]) is one._network.live().base


def test_base_is_released_with_the_last_estimator(quick, data):
    texts, labels, _ = data
    release_memory()
    clf = CLSGenClassifier(**quick)
    held = [clone(clf).fit(texts, labels) for _ in range(2)]
    base = weakref.ref(held[0]._network.live().base)
    del held
    gc.collect()
    assert base() is not None, "the family still has a member"
    del clf
    gc.collect()
    assert base() is None


def test_clones_share_one_loading(quick, data, monkeypatch):
    texts, labels, _ = data
    release_memory()
    loads = []
    load = backbone._load
    monkeypatch.setattr(backbone, "_load", lambda *a, **k: loads.append(a) or load(*a, **k))
    for clf in (CLSGenClassifier(**quick), LabelProbability(quick["model"])):
        release_memory()
        loads.clear()
        for _ in range(3):
            clone(clf).fit(texts, labels).predict(texts[:2])
            gc.collect()
        assert len(loads) == 1


def test_worker_process_keeps_the_last_base(quick, data, tmp_path, monkeypatch):
    """Each fold of a search with n_jobs comes with an estimator of its own."""
    texts, labels, _ = data
    release_memory()
    monkeypatch.setattr(backbone, "parent_process", object)

    def fold(**params):
        clf = CLSGenClassifier(**quick | params).fit(texts, labels)
        return weakref.ref(clf._network.live().base)

    first = fold()
    gc.collect()
    assert first() is not None
    assert fold()() is first()
    second = fold(model=build_model(tmp_path, "qwen2"))
    gc.collect()
    assert first() is None, "one at a time"
    release_memory()
    assert second() is None


@pytest.mark.parametrize("kind", [CLSGenClassifier, LinearProbe, LabelProbability])
def test_a_fit_on_another_base_model_holds_one_at_a_time(kind, quick, data, monkeypatch):
    texts, labels, test = data
    own = {CLSGenClassifier: quick, LabelProbability: {"examples": 1}}.get(kind, {})
    clf = kind(**{"model": quick["model"], "dtype": "float32"} | own)
    clf.fit(texts, labels).predict(test)
    held = weakref.ref(load_base_model(quick["model"], dtype="float32").lm)
    loading, met = backbone.BaseModel.__init__, []

    def load(self, *arguments, **more):
        gc.collect()
        met.append(held())
        loading(self, *arguments, **more)

    monkeypatch.setattr(backbone.BaseModel, "__init__", load)
    clf.set_params(dtype="bfloat16").fit(texts, labels)
    assert met == [None]


def test_a_loaded_classifier_refits_without_the_base_model_it_had(
    quick, data, tmp_path, monkeypatch
):
    texts, labels, test = data
    CLSGenClassifier(**{**quick, "dtype": "float32"}).fit(texts, labels).save(tmp_path / "saved")
    release_memory()
    clf = CLSGenClassifier.load(tmp_path / "saved")
    clf.predict(test)
    held = weakref.ref(clf._network.live().base.lm)
    load, met = backbone._load, []

    def noted(*arguments):
        gc.collect()
        met.append(held())
        return load(*arguments)

    monkeypatch.setattr(backbone, "_load", noted)
    clf.set_params(dtype="bfloat16").fit(texts, labels)
    assert met == [None]


def test_memory_is_released_while_other_threads_make_estimators(monkeypatch):
    monkeypatch.setattr(backbone, "clear_device_cache", lambda **how: None)  # which is slow
    done = threading.Event()

    def make():
        while not done.is_set():
            backbone.BaseLease()

    maker = threading.Thread(target=make)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    maker.start()
    try:
        for _ in range(100_000):
            release_memory()
    finally:
        done.set()
        maker.join()
        sys.setswitchinterval(interval)


def test_release_memory_lets_go_and_estimators_go_on(quick, data):
    texts, labels, test = data
    clf = CLSGenClassifier(**quick).fit(texts, labels)
    expected = clf.predict_proba(test)
    base = weakref.ref(clf._network.live().base)
    release_memory()
    assert base() is None
    assert (clf.predict_proba(test) == expected).all()


def test_release_memory_forgets_the_plans_of_attention(quick, data):
    clf = CLSGenClassifier(**quick).fit(data[0], data[1])
    clf.predict_proba(data[2])
    assert attention._plan.cache_info().currsize
    release_memory()
    assert not attention._plan.cache_info().currsize


@pytest.mark.parametrize(
    ("options", "extra"),
    [
        ({"attn_implementation": "flash_attention_2"}, "flash"),
        ({"quantization": "4bit"}, "quantization"),
        ({"quantization": "8bit"}, "quantization"),
    ],
)
def test_absent_optional_package_is_named_before_any_work(options, extra, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    clf = CLSGenClassifier("no/such-model", **options)
    with pytest.raises(OptionalDependencyError, match=rf"pip install 'skclsgen\[{extra}\]'"):
        clf.fit(["a", "b"], [0, 1])


def test_optional_packages_are_not_imported_unless_chosen():
    code = (
        "import sys, skclsgen\n"
        "wanted = {'flash_attn', 'matplotlib', 'gguf'}\n"  # peft imports bitsandbytes itself
        "print(sorted(wanted & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_dtype_and_device_resolve():
    cpu = torch.device("cpu")
    assert resolve_device("cpu") == cpu
    assert resolve_dtype("float64", cpu) is torch.float64
    assert resolve_dtype(torch.float16, cpu) is torch.float16
    assert resolve_dtype("auto", cpu) in (torch.float32, torch.bfloat16)
    with pytest.raises(ValueError, match="dtype='int8' is not a floating-point type"):
        resolve_dtype("int8", cpu)
    with pytest.raises(ValueError, match="'float64' is not available on device='mps'"):
        resolve_dtype("float64", torch.device("mps"))


def test_nothing_is_printed_at_verbose_0(quick, data, capfd):
    texts, labels, test = data
    release_memory()
    clf = CLSGenClassifier(**{**quick, "rationales": "self"}, max_new_tokens=4)
    clf.fit(texts, labels).explain(test)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_bars_are_shown_at_verbose_1(quick, data, capfd):
    texts, labels, test = data
    clf = CLSGenClassifier(**quick, verbose=1)
    clf.fit(texts, labels, explanations=["Because."] * len(texts)).explain(test)
    shown = capfd.readouterr().err
    for name in ("reading", "training", "explaining"):
        assert name in shown


def test_loading_is_logged_not_printed(tiny, caplog):
    release_memory()
    gc.collect()
    with caplog.at_level(logging.INFO, logger="skclsgen"):
        load_base_model(tiny)
    assert any("loading" in record.message for record in caplog.records)


def test_a_fit_needs_no_network(quick, data):
    """Sockets are cut off; the fit must not notice."""
    code = (
        "import socket\n"
        "def fail(*a, **k): raise AssertionError('network was used')\n"
        "socket.socket.connect = fail; socket.getaddrinfo = fail\n"
        "from skclsgen import CLSGenClassifier\n"
        f"clf = CLSGenClassifier({quick['model']!r}, epochs=1, rationales=None)\n"
        "clf.fit(['good', 'bad'] * 4, [1, 0] * 4)\n"
        "print(len(clf.explain(['fine'], max_new_tokens=3)))"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert out.stdout == "1\n"


def test_a_search_over_models_holds_one_at_a_time(quick, data, tmp_path, monkeypatch):
    texts, labels, _ = data
    release_memory()
    gc.collect()
    held = []
    load = backbone._load

    def noted(*args, **kwargs):
        gc.collect()
        held.append(len(backbone._loaded))
        return load(*args, **kwargs)

    monkeypatch.setattr(backbone, "_load", noted)
    clf = CLSGenClassifier(**quick)
    for model in (quick["model"], build_model(tmp_path / "other", "qwen2")):
        clone(clf).set_params(model=model).fit(texts, labels)
    assert held == [0, 0]


@pytest.fixture
def copied(tiny, tmp_path):
    """Folder of the tiny model, to be spoilt."""
    return shutil.copytree(tiny, tmp_path / "model")


def set_config(folder, **changes):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_weights_that_are_absent_are_not_made_up(copied):
    set_config(copied, num_hidden_layers=5)
    with pytest.raises(
        UnsupportedModelError, match=r"lacks 18 of its weights, such as model\.layers\.3"
    ):
        load_base_model(copied)


def test_a_sequence_classifier_has_no_words(tmp_path):
    config = transformers.LlamaConfig(**SIZES)
    transformers.LlamaForSequenceClassification(config).save_pretrained(tmp_path)
    build_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(
        UnsupportedModelError, match=r"lacks 1 of its weights, such as lm_head\.weight"
    ):
        load_base_model(tmp_path)


def test_weights_that_do_not_fit_the_configuration(copied):
    set_config(copied, vocab_size=500)
    message = r"has lm_head.weight of shape \(400, 32\) where its config says \(500, 32\)"
    with pytest.raises(UnsupportedModelError, match=message):
        load_base_model(copied)


def test_a_file_cut_short(copied):
    file = copied / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UnsupportedModelError, match=r"could not be loaded .*SafetensorError"):
        load_base_model(copied)


def test_an_attention_that_does_not_exist_is_blamed_by_name(tiny):
    message = r"with attn_implementation='foo' could not .* leave attn_implementation at 'auto'\.$"
    with pytest.raises(UnsupportedModelError, match=message):
        load_base_model(tiny, attn_implementation="foo")


@pytest.mark.skipif(
    importlib.util.find_spec("flash_attn_interface") is not None, reason="the package is there"
)
def test_an_attention_whose_package_is_absent(tiny):
    message = "with attn_implementation='flash_attention_3' needs a package"
    with pytest.raises(OptionalDependencyError, match=message):
        load_base_model(tiny, attn_implementation="flash_attention_3")


@pytest.mark.parametrize(
    "added", [{"new_tokens": ["zebra"]}, {"special_tokens_dict": {"eos_token": "<|stop|>"}}]
)
def test_tokens_without_an_embedding_are_named(copied, added):
    tokenizer = build_tokenizer()
    (tokenizer.add_tokens if "new_tokens" in added else tokenizer.add_special_tokens)(**added)
    tokenizer.save_pretrained(copied)
    message = r"has 400 embeddings and none for the token '(zebra|<\|stop\|>)' \(id 400\)"
    with pytest.raises(UnsupportedModelError, match=message):
        load_base_model(copied)


def test_control_tokens_need_an_embedding_only_where_the_template_has_them(copied):
    """Gemma 3 has one for pictures, which its text models cannot read."""
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|picture|>"]})
    tokenizer.save_pretrained(copied)
    clf = CLSGenClassifier(str(copied), epochs=0)
    clf.fit(["good <|picture|>", "bad"], [1, 0])
    tokenizer.chat_template += "<|picture|>"
    tokenizer.save_pretrained(copied)
    release_memory()
    with pytest.raises(UnsupportedModelError, match=r"none for the token '<\|picture\|>'"):
        clf.fit(["good", "bad"], [1, 0])


def test_the_context_ends_where_frequencies_of_positions_change(tmp_path):
    """Rows run together would take the longest one's frequencies, and kept keys the wrong ones."""
    factors = [1.0] * 4
    rope = {"rope_type": "longrope", "short_factor": factors, "long_factor": factors}
    config = transformers.Phi3Config(
        **SIZES, original_max_position_embeddings=96, rope_parameters=rope
    )
    base = load_base_model(save_model(tmp_path, config))
    assert base.lm.config.max_position_embeddings == SIZES["max_position_embeddings"]
    assert base.context_length == 96


@pytest.mark.parametrize("able", [{}, {"avx512_bf16": False, "avx2": True}])
def test_auto_is_float32_where_bfloat16_is_emulated(able, untimed, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    monkeypatch.setattr(devices, "perf_counter", None)  # nothing is timed
    assert resolve_dtype("auto", torch.device("cpu")) is torch.float32


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16", "sve_bf16"])
@pytest.mark.parametrize(
    ("slower", "dtype"), [(3.0, torch.bfloat16), (1.1, torch.float32), (0.5, torch.float32)]
)
def test_auto_is_the_type_whose_products_are_faster(
    slower, dtype, instructions, untimed, monkeypatch
):
    """Instructions for bfloat16 may be slower than those for float32."""
    multiply, clock = torch.nn.functional.linear, [0.0]

    def linear(rows, weights):
        clock[0] += slower if rows.dtype is torch.float32 else 1.0
        return multiply(rows, weights)

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {instructions: True}, raising=False)
    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    monkeypatch.setattr(devices, "perf_counter", lambda: clock[0])
    state = torch.get_rng_state()
    assert resolve_dtype("auto", torch.device("cpu")) is dtype
    assert torch.equal(torch.get_rng_state(), state)
    timed = clock[0]
    assert timed > 0
    resolve_dtype("auto", torch.device("cpu"))
    assert clock[0] == timed  # once in a process


@pytest.fixture
def untimed():
    """As if no type had been timed in this process."""
    devices._bfloat16_gain.cache_clear()
    yield
    devices._bfloat16_gain.cache_clear()


def test_adapters_are_scaled_by_twice_the_rank_unless_told_otherwise(quick, data):
    scales = []
    for alpha in (None, 3.0):
        clf = CLSGenClassifier(**{**quick, "epochs": 0}, lora_alpha=alpha).fit(data[0], data[1])
        scales.append(clf._network.lora.alpha / clf._network.lora.r)
    assert scales == [2.0, 3.0 / quick["lora_r"]]
