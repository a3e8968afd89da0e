"""The network of a fitted classifier, in the hands of several callers."""

import pytest
import torch

from skclsgen import CLSGenClassifier, fitting, release_memory
from skclsgen.exceptions import InvalidTextError


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
