import errno
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from skclsgen import CLSGenClassifier, persistence, release_memory
from skclsgen.baselines import GenerationOnly
from skclsgen.exceptions import (
    BaseModelMismatchError,
    FallbackWarning,
    SavedModelError,
    VersionWarning,
)
from skclsgen.json_values import decode_value, encode_value

#: How the files of a saved folder are named.
FILES = ("classifier.json", "tensors-*.safetensors")


def the(folder, pattern):
    """Return the only file of a name."""
    (file,) = folder.glob(pattern)
    return file


@pytest.fixture
def saved(quick, data, tmp_path):
    texts, labels, _ = data
    CLSGenClassifier(**quick).fit(texts, labels).save(tmp_path / "saved")
    return tmp_path / "saved"


def test_folder_holds_two_readable_files(saved):
    assert set(saved.iterdir()) == {the(saved, name) for name in FILES}
    document = json.loads((saved / "classifier.json").read_text())
    assert document["versions"].keys() == {"skclsgen", "scikit-learn", "torch", "transformers"}
    assert not [p for p in saved.parent.iterdir() if p.name.startswith(".")]


def test_missing_folder(tmp_path):
    with pytest.raises(SavedModelError, match=r"classifier\.json is missing"):
        CLSGenClassifier.load(tmp_path / "none")


@pytest.mark.parametrize("name", FILES)
def test_missing_file(saved, name):
    file = the(saved, name)
    file.unlink()
    with pytest.raises(SavedModelError, match=f"{file.name} is missing"):
        CLSGenClassifier.load(saved)


def test_what_may_not_be_read_is_not_called_damaged(saved, monkeypatch):
    with pytest.raises(SavedModelError, match=r"cannot be read \(Not a directory\); give a folder"):
        CLSGenClassifier.load(saved / "classifier.json")

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(SavedModelError, match=r"cannot be read \(Permission denied\)"):
        CLSGenClassifier.load(saved)


@pytest.mark.parametrize("name", FILES)
def test_truncated_file(saved, name):
    file = the(saved, name)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(SavedModelError, match="damaged"):
        CLSGenClassifier.load(saved)


def test_tampered_tensors(saved):
    file = the(saved, "tensors-*")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(SavedModelError, match="checksum differs"):
        CLSGenClassifier.load(saved)


def test_tampered_settings(saved):
    text = (saved / "classifier.json").read_text()
    (saved / "classifier.json").write_text(text.replace('"routine"', '"routinf"'))
    with pytest.raises(SavedModelError, match="checksum differs"):
        CLSGenClassifier.load(saved)


def test_other_format(saved):
    document = json.loads((saved / "classifier.json").read_text())
    document["format"] = 99
    (saved / "classifier.json").write_text(json.dumps(document))
    with pytest.raises(SavedModelError, match="the version of skclsgen that saved it"):
        CLSGenClassifier.load(saved)


def rewrite(saved, change):
    """Change the settings and give them the checksum of what they are then."""
    file = saved / "classifier.json"
    document = json.loads(file.read_text())
    del document["checksum"]
    change(document)
    file.write_text(json.dumps({"checksum": persistence._checksum(document), **document}))


@pytest.mark.parametrize("entry", ["tensors", "class", "network"])
def test_settings_without_an_entry(saved, entry):
    rewrite(saved, lambda document: document.pop(entry))
    with pytest.raises(SavedModelError, match=r"was changed .* settings are missing"):
        CLSGenClassifier.load(saved)


def test_other_versions_are_warned_of(saved, recwarn):
    CLSGenClassifier.load(saved)
    assert not recwarn
    rewrite(saved, lambda document: document["versions"].update({"scikit-learn": "0.1"}))
    CLSGenClassifier.load(saved)  # no number depends on it
    assert not recwarn
    rewrite(saved, lambda document: document["versions"].update(torch="1.2.3", skclsgen="0.0.1"))
    with pytest.warns(VersionWarning, match=r"saved with skclsgen 0\.0\.1 \(here .*torch 1\.2\.3"):
        CLSGenClassifier.load(saved)


@pytest.mark.parametrize(
    ("package", "part", "told"),
    [
        ("torch", 2, False),
        ("torch", 1, True),
        ("transformers", 2, False),
        ("transformers", 1, True),
        ("skclsgen", 2, True),
    ],
)
def test_versions_must_agree_as_far_as_numbers_depend_on_them(saved, recwarn, package, part, told):
    version = persistence.versions()[package].split(".")
    version[part] = "999"
    other = ".".join(version)
    rewrite(saved, lambda document: document["versions"].update({package: other}))
    CLSGenClassifier.load(saved)
    assert len(recwarn) == told
    assert all(f"saved with {package} {other} (here" in str(one.message) for one in recwarn)


def test_a_generator_is_saved_as_none(quick, data, tmp_path):
    texts, labels, test = data
    clf = CLSGenClassifier(**{**quick, "random_state": np.random.RandomState(0)})
    clf.fit(texts, labels).save(tmp_path / "saved")
    loaded = CLSGenClassifier.load(tmp_path / "saved")
    assert loaded.random_state is None
    assert (loaded.predict_proba(test) == clf.predict_proba(test)).all()


def test_a_folder_may_be_saved_anew_while_it_is_loaded(saved, quick, data, monkeypatch):
    texts, labels, test = data
    new = CLSGenClassifier(**{**quick, "random_state": 1}).fit(texts, labels)
    read, met = persistence._content, []

    def interrupted(file):
        content = read(file)
        met.append(file.name)
        if len(met) == 1:  # the settings are read, and now both files are replaced
            new.save(saved)
        return content

    monkeypatch.setattr(persistence, "_content", interrupted)
    found = CLSGenClassifier.load(saved)
    assert [name.split("-")[0] for name in met[-2:]] == ["classifier.json", "tensors"]
    assert (found.predict_proba(test) == new.predict_proba(test)).all()


def test_two_first_saves_of_one_folder(saved, tmp_path, monkeypatch):
    clf = CLSGenClassifier.load(saved)
    other = CLSGenClassifier.load(saved).set_params(verbose=1)
    target = tmp_path / "new"
    rename, met = Path.rename, []

    def late(self, to):
        if not met:
            met.append(to)
            other.save(target)
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", late)
    clf.save(target)
    assert met == [target]
    assert CLSGenClassifier.load(target).verbose == 0
    assert len(list(target.iterdir())) == len(FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "saved"]


def test_two_saves_of_one_folder_at_once(saved, quick, data, monkeypatch):
    """The other save removes the tensors that the folder held, which are those of this one."""
    texts, labels, test = data
    clf = CLSGenClassifier.load(saved)
    other = CLSGenClassifier(**{**quick, "random_state": 1}).fit(texts, labels)
    move, met = Path.replace, []

    def late(self, to):
        if self.name == "classifier.json" and not met:
            met.append(to)
            other.save(saved)
        return move(self, to)

    monkeypatch.setattr(Path, "replace", late)
    clf.save(saved)
    assert len(met) == 1
    assert (CLSGenClassifier.load(saved).predict_proba(test) == clf.predict_proba(test)).all()


def test_saving_replaces_only_a_saved_classifier(saved, quick, data, tmp_path):
    texts, labels, test = data
    clf = CLSGenClassifier(**{**quick, "random_state": 1}).fit(texts, labels)
    clf.save(saved)
    assert (CLSGenClassifier.load(saved).predict_proba(test) == clf.predict_proba(test)).all()
    (saved / ".DS_Store").touch()  # where somebody looked at it on a Mac
    clf.save(saved)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / ".classifier").touch()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "tensors-of-mine.safetensors").touch()
    for target in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt", tmp_path / "ours"):
        with pytest.raises(SavedModelError, match="is not a saved classifier"):
            clf.save(target)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "dear"


def test_a_place_that_cannot_be_written_to_is_named(saved, tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "below"
    with pytest.raises(SavedModelError, match=f"^{place} cannot be written to .*; choose another"):
        CLSGenClassifier.load(saved).save(place)


def test_failed_save_leaves_the_old_one(saved, quick, data, monkeypatch):
    texts, labels, test = data
    before = CLSGenClassifier.load(saved).predict_proba(test)
    clf = CLSGenClassifier(**{**quick, "random_state": 1}).fit(texts, labels)

    def fail(*args, **kwargs):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.write_text", fail)
        with pytest.raises(OSError, match="disk full"):
            clf.save(saved)
    assert (CLSGenClassifier.load(saved).predict_proba(test) == before).all()
    assert [p.name for p in saved.parent.iterdir()] == ["saved"]
    assert len(list(saved.iterdir())) == 2


def test_a_folder_that_is_there_stays(saved, tmp_path, monkeypatch):
    """It may be a mount point, in a folder that may only be read, or the working directory."""
    clf = CLSGenClassifier.load(saved)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for _ in range(2):  # empty, then an earlier classifier
        clf.save(".")
        assert len(os.listdir(".")) == len(FILES)
    assert CLSGenClassifier.load(".").classes_.tolist() == clf.classes_.tolist()


def test_save_stopped_between_its_files_leaves_the_old_one(saved, quick, data, monkeypatch):
    texts, labels, test = data
    before = CLSGenClassifier.load(saved).predict_proba(test)
    clf = CLSGenClassifier(**{**quick, "random_state": 1}).fit(texts, labels)
    move = Path.replace

    def killed(self, target):
        if self.name == "classifier.json":
            raise KeyboardInterrupt
        return move(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            clf.save(saved)
    (saved / ".saving-killed").mkdir()
    assert len(list(saved.glob("tensors-*"))) == 2
    assert (CLSGenClassifier.load(saved).predict_proba(test) == before).all()
    clf.save(saved)  # again, and nothing but its own files is left
    assert (CLSGenClassifier.load(saved).predict_proba(test) == clf.predict_proba(test)).all()
    assert len(list(saved.glob("tensors-*"))) == 1


def test_the_same_classifier_is_saved_twice(saved):
    clf = CLSGenClassifier.load(saved)
    clf.save(saved)
    assert len(list(saved.iterdir())) == len(FILES)
    assert CLSGenClassifier.load(saved).classes_.tolist() == clf.classes_.tolist()


def test_other_base_model_is_refused(saved, tmp_path):
    from conftest import build_model

    other = build_model(tmp_path / "other", "qwen2")
    clf = CLSGenClassifier.load(saved, model=other)
    with pytest.raises(BaseModelMismatchError, match="is not the model the classifier was trained"):
        clf.predict(["hello"])


def test_a_relative_path_of_the_model_outlives_another_directory(
    tiny, quick, data, tmp_path, monkeypatch
):
    texts, labels, test = data
    for here in ("one", "two"):
        (tmp_path / here).mkdir()
        (tmp_path / here / "model").symlink_to(tiny)
    monkeypatch.chdir(tmp_path / "one")
    clf = CLSGenClassifier(**{**quick, "model": "model"}).fit(texts, labels)
    expected = clf.predict_proba(test)
    monkeypatch.chdir(tmp_path)
    clf.save("saved")
    again = CLSGenClassifier.load("saved")
    copied = pickle.loads(pickle.dumps(clf))
    release_memory()
    for own in (clf, again, copied):
        assert own.model == "model"
        assert (own.predict_proba(test) == expected).all()
    # Another machine, where the first folder is not.
    (tmp_path / "one" / "model").unlink()
    monkeypatch.chdir(tmp_path / "two")
    moved = CLSGenClassifier.load(tmp_path / "saved")
    given = CLSGenClassifier.load(tmp_path / "saved", model="model")
    monkeypatch.chdir(tmp_path)
    for own in (moved, given):
        assert (own.predict_proba(test) == expected).all()


def test_parameter_without_json_form(quick, data, tmp_path):
    texts, labels, _ = data
    clf = CLSGenClassifier(**quick).fit(texts, labels)
    clf.label_names = {"escalate": object(), "routine": "x"}
    with pytest.raises(SavedModelError, match=r"label_names=.* cannot be saved as JSON"):
        clf.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    clf.label_names = {"escalate": float("nan"), "routine": "x"}
    with pytest.raises(SavedModelError, match=r"label_names=nan cannot be saved as JSON"):
        clf.save(tmp_path / "saved")


@pytest.mark.parametrize(
    "value",
    [None, True, 3, 2.5, "x", (1, "a"), [1, [2]], {1: "a", "b": {2.5: None}}, {True: (1,)}],
)
def test_values_survive(value):
    found = decode_value(json.loads(json.dumps(encode_value(value, "value"))))
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "array",
    [np.array([1, 2]), np.array(["a", "bcd"]), np.array([True, False]), np.array([0.5, 1.0]),
     np.array(["a", "b"], dtype=object), np.array([1, 2], dtype=np.int8)],
)  # fmt: skip
def test_arrays_survive(array):
    found = decode_value(json.loads(json.dumps(encode_value(array, "array"))))
    assert found.dtype == array.dtype
    assert found.tolist() == array.tolist()


def test_another_class_does_not_open_it(saved, quick, data, tmp_path):
    """Its heads are trained in another way: probabilities would be of a head never trained."""
    with pytest.raises(SavedModelError, match=r"holds a CLSGenClassifier, not a"):
        GenerationOnly.load(saved)
    texts, labels, test = data
    clf = GenerationOnly(**quick).fit(texts, labels)
    clf.save(tmp_path / "other")
    with pytest.raises(SavedModelError, match=r"use GenerationOnly\.load"):
        CLSGenClassifier.load(tmp_path / "other")
    again = GenerationOnly.load(tmp_path / "other", device=torch.device("cpu"))
    assert (again.predict_proba(test) == clf.predict_proba(test)).all()


def test_a_device_that_is_absent_here_is_replaced(saved, data):
    """As a notebook's classifier, trained on a GPU, is opened on a laptop."""
    clf = CLSGenClassifier.load(saved, device="cuda:9")
    with pytest.warns(FallbackWarning, match=r"device='cuda:9'.* Using 'auto'"):
        proba = clf.predict_proba(data[2])
    assert (proba == CLSGenClassifier.load(saved).predict_proba(data[2])).all()
