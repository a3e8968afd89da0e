"""The network of a fitted classifier, in the hands of several callers."""

import pytest

from skclsgen import CLSGenClassifier, fitting, release_memory


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
