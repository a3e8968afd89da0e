"""The network of a fitted classifier, in the hands of several callers."""

import warnings

import numpy as np
import pytest
import torch

from skclsgen import CLSGenClassifier, fitting, release_memory
from skclsgen.attention import forget_rows
from skclsgen.baselines import LabelProbability
from skclsgen.datasets import load_messages
from skclsgen.exceptions import FallbackWarning, InvalidTextError
from skclsgen.labels import warn_of_labels_alike


@pytest.mark.parametrize("used_meanwhile", [False, True])
def test_memory_released_during_a_fit_loses_nothing(quick, data, monkeypatch, used_meanwhile):
    texts, labels, test = data
    expected = CLSGenClassifier(**quick).fit(texts, labels).predict_proba(test)
    networks = []
    new_network, train = fitting.new_network, fitting.train

    def noted(*args):
        networks.append(new_network(*args))
        return networks[-1]

    def interrupted(*args):
        history = train(*args)
        release_memory()
        if used_meanwhile:
            networks[0].live()
        return history

    monkeypatch.setattr("skclsgen.classifier.new_network", noted)
    monkeypatch.setattr(fitting, "train", interrupted)
    clf = CLSGenClassifier(**quick).fit(texts, labels)
    assert (clf.predict_proba(test) == expected).all()


@pytest.mark.parametrize("max_new_tokens", [470, 600])
def test_replies_that_fill_the_context_are_blamed_by_name(quick, max_new_tokens):
    clf = CLSGenClassifier(**quick, max_new_tokens=max_new_tokens)
    message = f"^max_new_tokens={max_new_tokens} leaves no room for a text .* context of 512 tokens"
    with pytest.raises(InvalidTextError, match=message):
        clf.fit(["good", "bad"], [1, 0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_length": 10}, r"^max_length=10 leaves no room for a text"),
        ({"max_length": 10, "max_new_tokens": 600}, r"^max_length=10 is more than the 0 tokens"),
    ],
)
def test_the_longest_prompt_is_blamed_where_it_was_given(quick, params, message):
    with pytest.raises(InvalidTextError, match=message):
        CLSGenClassifier(**quick, **params).fit(["good", "bad"], [1, 0])


def test_predicting_leaves_the_callers_random_numbers_alone(quick, data):
    """A released network is built anew, and its adapters are drawn before they are loaded."""
    texts, labels, test = data
    clf = CLSGenClassifier(**quick).fit(texts, labels)
    release_memory()
    torch.manual_seed(7)
    clf.predict_proba(test)
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(7)))


@pytest.mark.parametrize("n", [33, 20])
def test_explaining_and_company_leave_probabilities_alone(quick, n):
    """To the last bit, also where one row more would begin another block."""
    messages = load_messages().train
    texts = messages.texts[:n]
    clf = CLSGenClassifier(**quick, dtype="float32").fit(texts, messages.labels[:n])
    together = clf.predict_proba(texts)
    explained = clf.explain(texts, max_new_tokens=2)
    assert [found.proba for found in explained] == together.max(axis=1).tolist()
    assert (np.vstack([clf.predict_proba([text]) for text in texts]) == together).all()


def test_label_words_that_spell_control_tokens_get_the_room_they_take(quick, data):
    """As plain characters they are many tokens, and the reply opens with them."""
    texts, labels, _ = data
    names = {"routine": "<|im_end|>" * 8, "escalate": "<|im_start|>" * 8}
    clf = CLSGenClassifier(**{**quick, "epochs": 0}, max_new_tokens=1, label_names=names)
    live = clf.fit(texts, labels)._network.live()
    opening = max(len(live.encoder.opening(label)) for label in (0, 1))
    assert opening > 50
    assert live.encoder.max_length + opening + 1 < live.base.context_length


def test_labels_of_the_same_tokens_are_told_of(quick, data):
    texts, _, test = data
    clf = CLSGenClassifier(**{**quick, "epochs": 0})
    with pytest.warns(FallbackWarning, match="the labels '12' and '21' are made of the same"):
        clf.fit(texts, [12, 21] * 20)
    np.testing.assert_allclose(clf.predict_proba(test), 0.5, rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        release_memory()
        clf.predict(test)  # what is trained may differ


@pytest.mark.parametrize(
    ("verbalizers", "alike"),
    [
        ([[1], [2]], False),
        ([[1, 2], [1, 3]], False),
        ([[1, 1, 2], [1, 2, 2]], False),
        ([[1, 2, 3], [4], [3, 1, 2]], True),
        ([[1], [1, 1]], True),
    ],
)
def test_labels_are_alike_if_the_means_of_their_tokens_are(verbalizers, alike):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_labels_alike(verbalizers, ["a", "b", "c"][: len(verbalizers)])
    assert len(caught) == alike


@pytest.mark.parametrize(
    ("patched", "call", "remedy"),
    [
        ("skclsgen.fitting.train", "fit", "lower batch_size or max_length"),
        ("skclsgen.fitted.predict_logits", "predict", "pass fewer texts at a time"),
        ("skclsgen.fitted.decode", "explain", "pass fewer texts at a time"),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        MemoryError(),
    ],
)
def test_where_memory_runs_out_the_error_says_what_would_need_less(
    quick, data, monkeypatch, error, patched, call, remedy
):
    texts, labels, _ = data
    clf = CLSGenClassifier(**quick).fit(texts, labels)

    def exhaust(*arguments, **more):
        raise error

    monkeypatch.setattr(patched, exhaust)
    with pytest.raises(type(error)) as caught:
        clf.fit(texts, labels) if call == "fit" else getattr(clf, call)(texts)
    assert remedy in caught.value.__notes__[-1]


def test_the_mode_that_the_caller_is_in_does_not_matter(quick, data):
    texts, labels, test = data
    expected = CLSGenClassifier(**quick).fit(texts, labels).predict_proba(test)
    release_memory()
    with torch.inference_mode():
        clf = CLSGenClassifier(**quick).fit(texts, labels)
        release_memory()
        np.testing.assert_array_equal(clf.predict_proba(test), expected)
        clf.predict_proba(texts)
    # What was built and read inside can be trained outside.
    clf.set_params(warm_start=True).fit(texts, labels)
    with torch.no_grad():
        clf = CLSGenClassifier(**quick).fit(texts, labels)
    np.testing.assert_array_equal(clf.predict_proba(test), expected)


def test_autocast_is_refused_and_leaves_nothing_behind(quick, data):
    texts, labels, others = data
    clf = CLSGenClassifier(**quick, device="cpu").fit(texts, labels)
    expected = clf.predict_proba(others)
    prompted = LabelProbability(quick["model"], device="cpu").fit(texts, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for ask in (clf.predict_proba, clf.explain, prompted.predict_proba):
            release_memory()
            with pytest.raises(RuntimeError, match=r"torch\.autocast is on for 'cpu'"):
                ask(others)
        with pytest.raises(RuntimeError, match=r"torch\.autocast is on for 'cpu'"):
            CLSGenClassifier(**quick, device="cpu").fit(texts, labels)
        with torch.autocast("cpu", enabled=False):
            assert (clf.predict_proba(others) == expected).all()
        with pytest.raises(RuntimeError, match=r"torch\.autocast is on for 'cpu'"):
            clf.predict_proba(others)
    assert (clf.predict_proba(others) == expected).all()


def test_torchs_default_device_is_no_matter(quick, data):
    """A notebook may say ``torch.set_default_device("cuda")`` and ask for the CPU here."""
    texts, labels, others = data
    clf = CLSGenClassifier(**quick, device="cpu").fit(texts, labels)
    expected = clf.predict_proba(others), clf.explain(others[:3])
    forget_rows()
    with torch.device("meta"):  # the one that every machine has; nothing can be loaded there
        assert (clf.predict_proba(others) == expected[0]).all()
        assert clf.explain(others[:3]) == expected[1]
