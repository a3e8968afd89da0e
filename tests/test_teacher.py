"""Reasons written by a function of the caller's."""

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from skclsgen import CLSGenClassifier
from skclsgen.exceptions import FallbackWarning, InvalidExplanationsError
from skclsgen.randomness import seeded
from skclsgen.rationales import filter_rationale


class Quoting:
    """A teacher that quotes the text, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts, labels):
        self.asked.append((texts, labels))
        return [f'The message says "{text}"' for text in texts]


def test_a_teacher_writes_the_reasons_of_all_training_rows(quick, data):
    texts, labels, _ = data
    teacher = Quoting()
    words = {"escalate": "urgent", "routine": "calm"}
    clf = CLSGenClassifier(**quick | {"rationales": teacher}, label_names=words)
    clf.fit(texts, labels)
    assert teacher.asked == [(texts, [words[label] for label in labels])]
    report = clf.rationale_report_
    assert report["source"] == "teacher"
    assert {label: own["rows"] for label, own in report["classes"].items()} == {
        label: labels.count(label) for label in words
    }
    assert sum(own["kept"] for own in report["classes"].values()) > 30
    known = list(words.values())
    written = [
        reason if filter_rationale(reason, text, known.index(words[label]), known) is None else None
        for reason, text, label in zip(teacher(texts, labels), texts, labels, strict=True)
    ]
    same = CLSGenClassifier(**quick, label_names=words).fit(texts, labels, explanations=written)
    assert clf.history_ == same.history_


@pytest.mark.parametrize("kept", [0, 2, 3])
def test_a_teacher_most_of_whose_reasons_are_dropped_is_told_of(quick, kept):
    """As those in another language than the texts are."""
    texts = ["请尽快退款给我", "谢谢你们的帮助"] * 4
    written = [*texts[:kept], *["Asks for money back, soon"] * (6 - kept), None, ""]
    clf = CLSGenClassifier(**quick | {"rationales": lambda texts, labels: written})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", FallbackWarning)
        clf.fit(texts, ["urgent", "calm"] * 4)
    said = [str(own.message) for own in told if own.category is FallbackWarning]
    if kept == 3:  # no more than half are lost
        assert said == []
    else:
        (said,) = said
        assert said.startswith(f"{6 - kept} of the 6 explanations")
        assert f"(ungrounded: {6 - kept})" in said


def test_what_it_writes_is_filtered(quick, data):
    texts, labels, _ = data
    said = ["no no no no no", "", None, "It is calm and quite routine, this."]
    written = [*said, *(f'It says "{text}"' for text in texts[4:])]
    clf = CLSGenClassifier(**quick | {"rationales": lambda texts, labels: written})
    labels = ["escalate"] * 4 + labels[4:]
    report = clf.fit(texts, labels).rationale_report_["classes"]["escalate"]
    assert report["dropped"]["empty"] == 2
    assert report["dropped"]["repetitive"] == 1
    assert report["dropped"]["other label"] >= 1
    assert report["kept"] == report["rows"] - sum(report["dropped"].values())


def test_reasons_that_fit_is_given_come_first(quick, data):
    texts, labels, _ = data
    teacher = Quoting()
    clf = CLSGenClassifier(**quick | {"rationales": teacher})
    clf.fit(texts, labels, explanations=["Because it is so."] + [None] * (len(texts) - 1))
    assert clf.rationale_report_["source"] == "caller"
    clf.set_params(explanation_weight=0).fit(texts, labels)
    assert clf.rationale_report_["source"] == "none"
    assert not teacher.asked


def test_every_fold_asks_about_its_own_rows(quick, data):
    texts, labels, _ = data
    asked = []

    def teacher(texts, labels):
        asked.append(len(texts))
        return [None] * len(texts)

    clf = clone(CLSGenClassifier(**quick | {"rationales": teacher}))
    assert np.isfinite(cross_val_score(clf, texts, labels, cv=2)).all()
    assert asked == [20, 20]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (["one"], "X has 40 texts but what the callable rationales returned has 1 rows"),
        ("a sentence", "what the callable rationales returned is 'str'"),
        ([3] * 40, r"rationales returned\[0\] is 'int'"),
    ],
)
def test_what_is_no_reason_is_refused_before_training(quick, data, written, message):
    texts, labels, _ = data
    clf = CLSGenClassifier(**quick | {"rationales": lambda texts, labels: written})
    with pytest.raises(InvalidExplanationsError, match=message):
        clf.fit(texts, labels)
    assert not hasattr(clf, "classes_")


def test_a_teacher_is_not_saved(quick, data, tmp_path):
    texts, labels, test = data
    clf = CLSGenClassifier(**quick | {"rationales": Quoting()}).fit(texts, labels)
    clf.save(tmp_path / "saved")
    again = CLSGenClassifier.load(tmp_path / "saved")
    assert again.rationales is None
    assert np.array_equal(again.predict_proba(test), clf.predict_proba(test))


def test_clones_ask_the_same_teacher(quick):
    """A deep copy would double a model, and cannot copy a lock or a connection."""
    teacher = Quoting()
    teacher.lock = threading.Lock()
    clf = CLSGenClassifier(**quick | {"rationales": teacher})
    assert clone(clf).rationales is clf.rationales is teacher
    assert clone(clf).get_params() == clf.get_params()


def test_a_teacher_may_draw_and_wait_for_threads_that_draw(quick, data):
    texts, labels, test = data

    def draw(text):
        with seeded(1):
            return f'It says "{text}" {torch.rand(()):.1f}'

    def teacher(texts, labels):
        torch.rand(len(texts))
        with ThreadPoolExecutor(2) as threads:
            return list(threads.map(draw, texts))

    quick |= {"lora_dropout": 0.5}
    written = teacher(texts, labels)
    fits = [
        CLSGenClassifier(**quick | {"rationales": own}).fit(texts, labels).predict_proba(test)
        for own in (teacher, lambda texts, labels: written)
    ]
    assert np.array_equal(*fits)
