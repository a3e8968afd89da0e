"""``memory=``: what one session computes, the next one finds."""

import copy
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save
from sklearn.base import clone
from test_classifier import BAD, GOOD

from skclsgen import CLSGenClassifier, release_memory, self_written
from skclsgen.backbone import load_base_model
from skclsgen.dual_head import DualHead
from skclsgen.memory import weights_digest
from skclsgen.replay import PASSAGES

TEXTS = [f"{text} {number}" for number, text in enumerate([*GOOD, *BAD])]
Y = ["warm"] * len(GOOD) + ["stuck"] * len(BAD)


@pytest.fixture
def clf(tiny, tmp_path):
    return CLSGenClassifier(
        tiny,
        epochs=1,
        dtype="float32",
        lora_r=4,
        max_new_tokens=6,
        memory=tmp_path / "kept",
        random_state=0,
    )


@pytest.fixture
def computed(monkeypatch):
    """How many texts were read, and how many reasons were written."""
    counts = {"read": 0, "written": 0}
    read, write = DualHead.trunk_states, self_written.decode

    def trunk_states(net, rows):
        counts["read"] += len(rows)
        return read(net, rows)

    def decode(lm, start, openings, *rest):
        counts["written"] += len(openings)
        return write(lm, start, openings, *rest)

    monkeypatch.setattr(DualHead, "trunk_states", trunk_states)
    monkeypatch.setattr(self_written, "decode", decode)
    return counts


def test_another_session_reads_and_writes_nothing_again(clf, computed):
    first = clf.fit(TEXTS, Y).predict_proba(TEXTS)
    # Building a network reads one row, to check that trunk and top are the whole.
    assert computed == {"read": 1 + len(TEXTS), "written": len(TEXTS)}
    release_memory()
    again = clf.fit(TEXTS, Y).predict_proba(TEXTS)
    assert computed == {"read": 2 + len(TEXTS), "written": len(TEXTS)}
    np.testing.assert_array_equal(first, again)


def test_without_it_the_next_session_starts_over(clf, computed):
    clf.set_params(memory=None).fit(TEXTS, Y)
    release_memory()
    clf.fit(TEXTS, Y)
    assert computed == {"read": 2 * (1 + len(TEXTS)), "written": 2 * len(TEXTS)}


def test_other_activations_are_not_mixed_up(clf, computed):
    clf.fit(TEXTS, Y, explanations=["because"] * len(TEXTS))
    before = computed["read"]
    clf.set_params(dtype="float64").fit(TEXTS, Y, explanations=["because"] * len(TEXTS))
    assert computed["read"] == before + 1 + len(TEXTS) + PASSAGES


def test_another_explanation_is_read_anew(clf, computed):
    other = ["as it says"] * len(TEXTS)
    expected = clone(clf).set_params(memory=None).fit(TEXTS, Y, explanations=other).history_
    release_memory()  # what this process holds already is not written to disk
    clf.fit(TEXTS, Y, explanations=["because"] * len(TEXTS))
    release_memory()
    before = computed["read"]
    assert clf.fit(TEXTS, Y, explanations=other).history_ == expected
    assert computed["read"] == before + 1 + len(TEXTS)


def test_another_model_of_the_same_shape_has_its_own(tiny):
    base = load_base_model(tiny, dtype="float32").lm
    first = weights_digest(base)
    other = copy.deepcopy(base)
    with torch.no_grad():
        next(iter(other.parameters())).mul_(1.5)
    assert weights_digest(base) == first != weights_digest(other)


def test_numbers_that_json_does_not_know(clf):
    clf.set_params(max_new_tokens=np.int64(6)).fit(TEXTS, Y)


STRANGE = {
    "short": lambda content: content[:-3],
    "nested": lambda content: b"[" * 10**5,
    "flat": lambda content: save({"states": torch.ones(3), "continuation": torch.tensor(1)}),
    "single": lambda content: save({"states": torch.ones(()), "continuation": torch.ones(1)}),
}


@pytest.mark.parametrize("damage", STRANGE)
def test_damaged_files_are_as_good_as_absent(clf, computed, tmp_path, damage):
    first = clf.fit(TEXTS, Y).predict_proba(TEXTS)
    files = [file for file in (tmp_path / "kept").rglob("*") if file.is_file()]
    assert len(files) == 2 * len(TEXTS)
    for file in files:
        file.write_bytes(STRANGE[damage](file.read_bytes()))
    release_memory()
    np.testing.assert_array_equal(clf.fit(TEXTS, Y).predict_proba(TEXTS), first)
    assert computed == {"read": 2 * (1 + len(TEXTS)), "written": 2 * len(TEXTS)}


def test_it_belongs_to_the_machine_and_is_not_saved(clf, tmp_path):
    clf.fit(TEXTS, Y).save(tmp_path / "saved")
    assert CLSGenClassifier.load(tmp_path / "saved").memory is None


def test_it_is_where_the_parameter_says_now(clf, tmp_path):
    """Also of a classifier that was fitted, loaded, or came in a pickle with another folder."""
    clf.fit(TEXTS, Y)
    kept = {file for file in (tmp_path / "kept").rglob("*") if file.is_file()}
    clf.save(tmp_path / "saved")
    clf.set_params(memory=None).predict_proba(["a text that nobody is to find"])
    release_memory()
    again = pickle.loads(pickle.dumps(clf))
    again.predict_proba(["another one"])
    assert {file for file in (tmp_path / "kept").rglob("*") if file.is_file()} == kept
    loaded = CLSGenClassifier.load(tmp_path / "saved").set_params(memory=tmp_path / "other")
    loaded.predict_proba(["a third one"])
    assert sum(file.is_file() for file in (tmp_path / "other").rglob("*")) == 1


def test_a_relative_folder_stays_where_it_was(clf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clf.set_params(memory="here").fit(TEXTS, Y)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    clf.predict_proba(["a further text"])
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("memory", [3, "", True])
@pytest.mark.parametrize("fitted", [False, True])
def test_no_path(clf, memory, fitted):
    if fitted:
        clf.fit(TEXTS, Y)
    clf.set_params(memory=memory)
    with pytest.raises(ValueError, match=r"memory=.* must be the path of a folder"):
        clf.predict_proba(TEXTS) if fitted else clf.fit(TEXTS, Y)


def test_a_file(clf, tmp_path):
    (tmp_path / "kept").touch()
    with pytest.raises(ValueError, match=r"memory=.*kept' is a file; give a folder"):
        clf.fit(TEXTS, Y)
