import numpy as np
import pytest
import torch
from conftest import build_model

from skclsgen import CLSGenClassifier
from skclsgen.exceptions import InvalidExplanationsError, InvalidTextError
from skclsgen.metrics import explanation_log_perplexity, language_change

TEXTS = ["The capital of France is Paris.", "Water boils at 100 degrees, or somewhat below."]


def tuned(tiny, data, **changes):
    texts, labels, _ = data
    options = {"epochs": 2, "learning_rate": 3e-3, "lora_layers": "all", "random_state": 0}
    options |= {"dtype": "float32", "rationales": None} | changes
    reasons = [f"because of {label}" for label in labels]
    return CLSGenClassifier(tiny, **options).fit(texts, labels, explanations=reasons)


def test_untrained_adapters_change_nothing(tiny, data):
    change = language_change(tuned(tiny, data, epochs=0), TEXTS)
    assert change.change == pytest.approx([0, 0], abs=1e-5)
    assert change.kl == pytest.approx([0, 0], abs=1e-5)


def test_both_models_are_read_token_by_token(tiny, data):
    """Against the models' own forward passes, whole distributions included."""
    clf = tuned(tiny, data)
    change = language_change(clf, TEXTS)
    live = clf._network.live()
    bos = live.base.tokenizer.bos_token_id
    for row, text in enumerate(TEXTS):
        ids = live.encoder.plain_ids(text)
        with torch.no_grad():
            whole = torch.tensor([[bos, *ids]])
            tables = [
                lm(whole).logits[0].log_softmax(dim=-1)[1:-1] for lm in (live.base.lm, live.net.lm)
            ]
        nll = [-float(table[torch.arange(len(ids) - 1), ids[1:]].mean()) for table in tables]
        # The adapters are not active on the prefix, here the one token in front.
        assert change.base[row] == pytest.approx(nll[0], rel=1e-4)
        assert change.tuned[row] == pytest.approx(nll[1], rel=1e-2)
        kl = (tables[0].exp() * (tables[0] - tables[1])).sum(dim=1).mean()
        assert change.kl[row] == pytest.approx(float(kl), rel=0.2)
        assert change.tokens[row] == len(ids) - 1
    assert (change.kl > 0).all()


def test_long_texts_are_cut_and_chunks_change_nothing(tiny, data, monkeypatch):
    clf = tuned(tiny, data)
    whole = language_change(clf, TEXTS, max_length=12)
    assert whole.tokens.tolist() == [11, 11]
    monkeypatch.setattr("skclsgen.metrics.forgetting.CHUNK", 1200)  # three tokens
    parts = language_change(clf, TEXTS, max_length=12)
    np.testing.assert_allclose(parts.kl, whole.kl, rtol=1e-5)


def test_texts_that_predict_nothing_are_refused(tiny, data):
    clf = tuned(tiny, data, epochs=0)
    with pytest.raises(ValueError, match=r"texts\[1\] is a single token"):
        language_change(clf, [TEXTS[0], "a"])
    with pytest.raises(InvalidTextError, match="texts is empty"):
        language_change(clf, [])
    with pytest.raises(ValueError, match="max_length=1 must be a whole number >= 2"):
        language_change(clf, TEXTS, max_length=1)


def test_no_more_is_read_than_the_context_holds(tmp_path, data):
    """GPT-2 has no places beyond it."""
    texts, labels, _ = data
    clf = CLSGenClassifier(build_model(tmp_path, "gpt2"), epochs=0).fit(texts, labels)
    long = ["word " * 1000]
    assert language_change(clf, long, max_length=5000).tokens[0] == 512 - 2
    assert np.isfinite(explanation_log_perplexity(clf, texts[:1], "routine", long)).all()
    with pytest.raises(InvalidExplanationsError, match="explanations is None"):
        explanation_log_perplexity(clf, texts[:1], "routine", None)


def test_explanations_are_read_by_the_base_model_behind_text_and_label(quick, data, capfd):
    texts, labels, test = data
    clf = CLSGenClassifier(**quick, dtype="float32").fit(texts, labels)
    said = ["It is on fire.", None, " ", "all  is well"]
    asked = ["escalate", "escalate", "routine", "routine"]
    found = explanation_log_perplexity(clf, test[:4], asked, said, verbose=1)
    assert "reading: 100%" in capfd.readouterr().err
    assert np.isnan(found).tolist() == [False, True, True, False]
    live = clf._network.live()
    for row in (0, 3):
        (prompt,) = live.encoder.encode([test[row]])
        label = clf.classes_.tolist().index(asked[row])
        before = [*live.encoder.prefix_ids, *prompt, *live.encoder.opening(label)]
        ids = live.encoder.plain_ids(" " + " ".join(said[row].split()))
        with torch.no_grad():
            logits = live.base.lm(torch.tensor([[*before, *ids]])).logits[0]
        table = logits.log_softmax(dim=-1)[len(before) - 1 : -1]
        expected = -table[torch.arange(len(ids)), torch.tensor(ids)].mean()
        assert found[row] == pytest.approx(float(expected), rel=1e-4)
    assert np.isnan(explanation_log_perplexity(clf, test[:2], "routine", ["", None])).all()
    with pytest.raises(ValueError, match="labels has 'other'"):
        explanation_log_perplexity(clf, test[:1], "other", ["so"])
