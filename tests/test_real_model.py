"""The embedded 135M-parameter model, on real messages."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from skclsgen import CLSGenClassifier, release_memory
from skclsgen.datasets import load_messages
from skclsgen.model_source import DEFAULT_MODEL

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def messages():
    return load_messages()


@pytest.fixture(scope="module")
def fitted(messages):
    """Two epochs on 240 messages with reasons."""
    rows = messages.train
    clf = CLSGenClassifier(random_state=0, max_new_tokens=40)
    return clf.fit(rows.texts[:240], rows.labels[:240], explanations=rows.explanations[:240])


@pytest.fixture(scope="module")
def probabilities(fitted, messages):
    return fitted.predict_proba(messages.test.texts)


@pytest.fixture(scope="module")
def asked(messages):
    """Enough texts for several batches."""
    return messages.test.texts[:48]


@pytest.fixture(scope="module")
def bits(fitted, asked):
    """What every copy must say, too."""
    return fitted.predict_proba(asked)


def auroc(labels, probabilities):
    return roc_auc_score(np.array(labels) == "escalate", probabilities[:, 0])


def test_embedded_model_was_used(fitted):
    info = fitted.base_model_
    assert info["model"] == DEFAULT_MODEL
    assert info["source"] in ("embedded", "hub cache")
    assert len(info["fingerprint"]) == 64


def test_it_learns(messages, probabilities):
    zero_shot = CLSGenClassifier(epochs=0).fit(messages.train.texts[:4], messages.train.labels[:4])
    before = auroc(messages.test.labels, zero_shot.predict_proba(messages.test.texts))
    after = auroc(messages.test.labels, probabilities)
    assert before > 0.55  # it knows what the label words mean
    assert after > 0.85
    assert after > before + 0.1


def test_explanations_are_sentences_about_the_text(fitted, messages):
    found = fitted.explain(messages.test.texts[:16])
    assert sum(e.complete for e in found) >= 12
    assert len({e.text for e in found}) >= 12
    for e in found:
        assert 3 <= len(e.text.split()) <= 40
        assert "<|" not in e.text
    grounded = [
        bool(
            {w for w in e.text.casefold().split() if len(w) > 3} & set(e.source.casefold().split())
        )
        for e in found
    ]
    assert sum(grounded) >= 12


def test_copies_give_the_same_bits_and_are_small(fitted, asked, bits, tmp_path):
    fitted.save(tmp_path / "saved")
    size = sum(p.stat().st_size for p in (tmp_path / "saved").iterdir())
    assert size < 20e6
    assert len(pickle.dumps(fitted)) < 20e6
    saved = CLSGenClassifier.load(tmp_path / "saved")
    pickled = pickle.loads(pickle.dumps(fitted))
    release_memory()
    assert (saved.predict_proba(asked) == bits).all()
    assert (pickled.predict_proba(asked) == bits).all()
    assert (fitted.predict_proba(asked) == bits).all()


def test_another_process_gives_the_same_bits(fitted, asked, bits, tmp_path):
    fitted.save(tmp_path / "saved")
    code = (
        "import sys, numpy as np\n"
        "from skclsgen import CLSGenClassifier\n"
        "from skclsgen.datasets import load_messages\n"
        "clf = CLSGenClassifier.load(sys.argv[1])\n"
        "texts = load_messages().test.texts[: int(sys.argv[3])]\n"
        "np.save(sys.argv[2], clf.predict_proba(texts))\n"
    )
    file = tmp_path / "proba.npy"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "saved"), str(file), str(len(asked))],
        check=True,
        env={**os.environ},
    )
    assert (np.load(file) == bits).all()


def test_probabilities_do_not_depend_on_what_is_cached(fitted, asked, bits):
    fitted._network.live().base.trunk_cache.clear()
    assert (fitted.predict_proba(asked) == bits).all()
    found = fitted.explain(asked, max_new_tokens=1)
    assert [e.proba for e in found] == bits.max(axis=1).tolist()


def test_fits_do_not_depend_on_what_was_done_before():
    """Another estimator has read some of the texts, among others, with other settings.

    In a process of its own, as MKL, which multiplies float32 on Intel's CPUs, sums in an order
    that depends on the number of tokens, unless its environment says otherwise at the start.
    """
    code = (
        "from skclsgen import CLSGenClassifier, release_memory\n"
        "from skclsgen.datasets import load_messages\n"
        "messages = load_messages()\n"
        "rows, asked = messages.train, messages.test.texts[:8]\n"
        "def fit(part):\n"
        "    clf = CLSGenClassifier(epochs=1, random_state=0, rationales=None)\n"
        "    return clf.fit(rows.texts[part], rows.labels[part],\n"
        "                   explanations=rows.explanations[part])\n"
        "alone = fit(slice(0, 12)).predict_proba(asked)\n"
        "release_memory()\n"
        "fit(slice(6, 20)).predict(rows.texts[:12])\n"
        "after = fit(slice(0, 12)).predict_proba(asked)\n"
        "assert (after == alone).all(), abs(after - alone).max()\n"
    )
    env = os.environ | {"MKL_CBWR": "AUTO,STRICT"}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)


def test_self_written_rationales(messages):
    """Without explanations the base model writes its own; most pass the filter."""
    rows = messages.train
    clf = CLSGenClassifier(epochs=1, random_state=0, max_new_tokens=40)
    clf.fit(rows.texts[:32], rows.labels[:32])
    report = clf.rationale_report_
    assert report["source"] == "self"
    assert sum(c["rows"] for c in report["classes"].values()) == 32
    assert all(c["kept"] >= 0.4 * c["rows"] for c in report["classes"].values())
    assert len(clf.history_["explanation_loss"]) == 1


def test_calibration_lowers_the_loss_on_other_rows(fitted, messages, probabilities):
    twin = pickle.loads(pickle.dumps(fitted))
    test, half = messages.test, len(messages.test) // 2
    twin.calibrate(test.texts[:half], test.labels[:half])
    assert twin.temperature_ > 1.2  # two epochs leave it too sure
    after = log_loss(test.labels[half:], twin.predict_proba(test.texts[half:]))
    assert after < log_loss(test.labels[half:], probabilities[half:])


def test_a_sentence_of_each_text_by_a_teacher(messages):
    """The model learns to write as the teacher does."""
    rows = messages.train

    def first_sentence(texts, labels):
        return [f"The writer says: {text.split('.')[0]}." for text in texts]

    clf = CLSGenClassifier(
        rationales=first_sentence, epochs=2, max_new_tokens=40, random_state=0
    ).fit(rows.texts[:64], rows.labels[:64])
    assert clf.rationale_report_["source"] == "teacher"
    found = clf.explain(messages.test.texts[:8])
    assert sum(reason.text.startswith("The writer says") for reason in found) >= 6


def test_ten_fits_do_not_grow_memory():
    """In a process of its own, so that nothing else is measured.

    What malloc keeps for later comes and goes by 5% and is given back first, where it can be.
    """
    code = (
        "import ctypes, gc, psutil\n"
        "from skclsgen import CLSGenClassifier\n"
        "from skclsgen.datasets import load_messages\n"
        "rows = load_messages().train\n"
        "process = psutil.Process()\n"
        "trim = getattr(ctypes.CDLL(None), 'malloc_trim', int)\n"
        "clf = CLSGenClassifier(epochs=1, random_state=0)\n"
        "for _ in range(10):\n"
        "    clf.fit(rows.texts[:32], rows.labels[:32], explanations=rows.explanations[:32])\n"
        "    clf.predict_proba(rows.texts[:32])\n"
        "    gc.collect()\n"
        "    trim(0)\n"
        "    print(process.memory_info().rss)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    resident = [int(line) for line in out.stdout.split()]
    assert len(resident) == 10
    assert max(resident[2:]) <= 1.05 * resident[1]
