import numpy as np
import pytest
from sklearn.base import clone

from skclsgen import CLSGenClassifier
from skclsgen.baselines import GenerationOnly, classification_only


def test_reasons_count_nothing_where_labels_alone_are_learnt(data, quick):
    """As in a loop over estimators that are all given them."""
    texts, labels, test = data
    options = {name: value for name, value in quick.items() if name != "rationales"}
    clf = classification_only(**options)
    alone = clf.fit(texts, labels).predict_proba(test)
    told = clf.fit(texts, labels, explanations=["so they say"] * len(texts))
    assert (told.predict_proba(test) == alone).all()
    assert told.rationale_report_["source"] == "none"


def test_classification_only_learns_nothing_else(data, quick):
    texts, labels, test = data
    options = {k: v for k, v in quick.items() if k != "rationales"}
    clf = classification_only(**options).fit(texts, labels)
    same = CLSGenClassifier(**quick).fit(texts, labels)
    assert np.array_equal(clf.predict_proba(test), same.predict_proba(test))
    assert clf.history_["explanation_loss"] == [0.0]


def test_generation_only_leaves_the_head_alone(data, quick):
    texts, labels, test = data
    reasons = [f"because of {label}" if row % 2 else None for row, label in enumerate(labels)]
    clf = GenerationOnly(**quick | {"epochs": 3}).fit(texts, labels, explanations=reasons)
    before = CLSGenClassifier(**quick | {"epochs": 0}).fit(texts, labels)
    state, zero = (one._network.state for one in (clf, before))
    assert all(np.array_equal(state[k], zero[k]) for k in state if k.startswith("head."))
    assert any(not np.array_equal(state[k], zero[k]) for k in state if k.startswith("adapter."))
    falling = clf.history_["explanation_loss"]
    assert falling[-1] < falling[0]
    proba = clf.predict_proba(test)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert not np.array_equal(proba, before.predict_proba(test))


def test_generation_only_learns_labels_of_rows_without_a_reason(tiny):
    texts = [f"{word} {number}" for number in range(20) for word in ("red", "blue")]
    labels = ["r", "b"] * 20
    options = {"model": tiny, "random_state": 0, "rationales": None, "learning_rate": 1e-3}
    clf = GenerationOnly(**options, lora_layers="all", epochs=8).fit(texts, labels)
    assert clf.score(texts, labels) > 0.9
    again = clone(clf).fit(texts, labels)
    assert np.array_equal(again.predict_proba(texts), clf.predict_proba(texts))


@pytest.mark.parametrize("wrong", [{"labels": "typo"}, {"max_new_tokens": 0}])
def test_generation_only_checks_what_it_is_asked_first(wrong, data, quick, monkeypatch):
    texts, labels, test = data
    clf = GenerationOnly(**quick).fit(texts, labels)
    monkeypatch.setattr(GenerationOnly, "predict_proba", None)
    with pytest.raises(ValueError, match=r"typo|max_new_tokens"):
        clf.explain(test, **wrong)


def test_generation_only_explains_its_own_choice(data, quick):
    texts, labels, test = data
    clf = GenerationOnly(**quick).fit(texts, labels)
    found = clf.explain(test[:5])
    proba, predicted = clf.predict_proba(test[:5]), clf.predict(test[:5])
    assert [reason.label for reason in found] == predicted.tolist()
    assert [reason.proba for reason in found] == pytest.approx(proba.max(axis=1).tolist())
    other = clf.explain(test[:5], labels="routine")
    assert [reason.proba for reason in other] == pytest.approx(proba[:, 1].tolist())
    assert [reason.predicted for reason in other] == predicted.tolist()


@pytest.mark.parametrize(
    "changes", [{"early_stopping": True}, {"class_weight": "balanced"}, {"explanation_weight": 0}]
)
def test_what_needs_a_classification_loss_is_refused(changes, data, tmp_path):
    texts, labels, _ = data
    clf = GenerationOnly(str(tmp_path / "no model"), **changes)
    with pytest.raises(
        ValueError, match=f"{next(iter(changes))}=.* is of no use to GenerationOnly"
    ):
        clf.fit(texts, labels)
