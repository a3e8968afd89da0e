"""The baselines that put a question to the base model."""

import pickle
import shutil
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from conftest import build_model
from scipy.special import softmax
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score

from skclsgen import CLSGenClassifier, release_memory
from skclsgen.backbone import load_base_model
from skclsgen.baselines import (
    LabelProbability,
    LinearProbe,
    PairwiseTournament,
    PTrue,
    RelativeConfidence,
    SelfConsistency,
    SemanticEntropy,
    VerbalizedConfidence,
    elo_ratings,
    meanings,
    prompted,
    regression,
    stated_confidence,
)
from skclsgen.baselines.beginnings import groups_that_begin_alike
from skclsgen.baselines.prompted import Question
from skclsgen.datasets import load_messages
from skclsgen.exceptions import (
    BaseModelMismatchError,
    InvalidLabelsError,
    InvalidTextError,
    ModelNotFoundError,
    TruncationWarning,
)
from skclsgen.packed_model import PackedModel
from skclsgen.prompt import PromptEncoder

ASKING = {
    "raw": (LabelProbability, {"calibrate": False}),
    "calibrated": (LabelProbability, {}),
    "few_shot": (LabelProbability, {"examples": 3, "random_state": 0}),
    "p_true": (PTrue, {}),
    "verbalized": (VerbalizedConfidence, {"max_new_tokens": 4}),
    "self_consistency": (SelfConsistency, {"samples": 3, "max_new_tokens": 4, "random_state": 0}),
    "few_shot_replies": (
        SelfConsistency,
        {"examples": 2, "samples": 3, "max_new_tokens": 4, "random_state": 0},
    ),
    "semantic_entropy": (SemanticEntropy, {"samples": 3, "max_new_tokens": 4, "random_state": 0}),
    "tournament": (PairwiseTournament, {"opponents": 3, "random_state": 0}),
    "relative": (RelativeConfidence, {"opponents": 3, "random_state": 0}),
    "probe": (LinearProbe, {"random_state": 0}),
}
each = pytest.mark.parametrize("name", ASKING)


def made(name, tiny, **parameters):
    kind, own = ASKING[name]
    return kind(tiny, **own | parameters)


@each
def test_it_is_a_classifier(name, tiny, data):
    texts, labels, test = data
    clf = made(name, tiny).fit(texts, labels)
    proba = clf.predict_proba(test)
    assert proba.shape == (len(test), 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (proba >= 0).all()
    assert set(clf.predict(test)) <= set(labels)
    assert np.array_equal(clone(clf).fit(texts, labels).predict_proba(test), proba)
    again = pickle.loads(pickle.dumps(clf))
    release_memory()
    assert np.array_equal(again.predict_proba(test), proba)
    assert len(pickle.dumps(clf)) < 200_000


@each
def test_it_takes_several_classes_and_labels_of_any_type(name, tiny, data):
    texts, _, test = data
    labels = [row % 3 for row in range(len(texts))]
    words = {0: "red", 1: "green", 2: "blue"}
    clf = made(name, tiny, label_names=words).fit(texts, labels)
    proba = clf.predict_proba(test[:6])
    assert proba.shape == (6, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert clf.classes_.tolist() == [0, 1, 2]


@each
def test_bad_input_is_refused_before_the_model_is_loaded(name, data, tmp_path):
    texts = data[0]
    clf = made(name, str(tmp_path / "no model"))
    with pytest.raises(InvalidLabelsError, match="one class only"):
        clf.fit(texts, ["same"] * len(texts))
    with pytest.raises(InvalidTextError, match="X is empty"):
        clf.fit([], [])


@pytest.mark.parametrize("name", ["raw", "probe", "self_consistency"])
def test_it_can_be_cross_validated(name, tiny, data):
    texts, labels, _ = data
    scores = cross_val_score(made(name, tiny), texts, labels, cv=2, scoring="neg_log_loss")
    assert np.isfinite(scores).all()


def test_label_probability_is_the_models_own(tiny, data):
    """Of the words behind the prompt that the main estimator uses."""
    texts, labels, test = data
    clf = LabelProbability(tiny, calibrate=False, dtype="float32").fit(texts, labels)
    live = CLSGenClassifier(tiny, epochs=0, dtype="float32").fit(texts, labels)._network.live()
    expected = []
    for prompt in live.encoder.encode(test[:5]):
        before, scores = [*live.encoder.prefix_ids, *prompt], []
        for label in range(2):
            words = live.encoder.opening(label)
            with torch.no_grad():
                table = live.base.lm(torch.tensor([[*before, *words]])).logits[0]
            table = table.log_softmax(dim=-1)[len(before) - 1 : -1]
            scores.append(float(table[torch.arange(len(words)), torch.tensor(words)].sum()))
        expected.append(scores)
    found = clf.predict_proba(test[:5])
    np.testing.assert_allclose(found, softmax(expected, axis=1), rtol=1e-4)


def test_calibration_divides_by_what_empty_texts_get(tiny, data):
    texts, labels, test = data
    raw = LabelProbability(tiny, calibrate=False).fit(texts, labels)
    calibrated = LabelProbability(tiny).fit(texts, labels)
    neutral = raw.predict_proba(["N/A", "[MASK]", "-"]).mean(axis=0)
    expected = raw.predict_proba(test) / neutral
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(calibrated.predict_proba(test), expected, rtol=1e-6)


def said(replies):
    """Stand in for the model's words; everything behind them is the real code."""

    def answer(self, texts, max_new_tokens, bar, samples=1, *more, until=None):
        return [list(replies) if samples > 1 else [replies[i]] for i in range(len(texts))]

    return answer


def test_p_true_asks_of_each_label_whether_it_is_true(tiny, monkeypatch):
    def judge(question, shown, choices, bar):
        true = [text.startswith("fire") == text.endswith(": urgent") for text in shown]
        return np.array([[0.0, -3.0] if one else [-3.0, 0.0] for one in true])

    monkeypatch.setattr(Question, "choice_log_likelihoods", judge)
    clf = PTrue(tiny).fit(["a", "b"], ["calm", "urgent"])
    assert clf.predict(["fire", "thanks", "fire"]).tolist() == ["urgent", "calm", "urgent"]
    assert clf.predict_proba(["fire"])[0, 1] == pytest.approx(1 / (1 + np.exp(-3)))


def test_relative_confidence_is_that_of_the_answer(tiny, monkeypatch):
    clf = RelativeConfidence(tiny, opponents=2, random_state=0)
    clf.fit(["a", "b"], ["calm", "urgent"])
    answers = np.array([[0.2, 0.8], [0.7, 0.3]])
    monkeypatch.setattr(clf._answering, "predict_proba", lambda texts: answers)
    monkeypatch.setattr(RelativeConfidence, "_ratings", lambda *_: np.array([400.0, -400.0]))
    expected = [0.5 - 0.5 * 10 / 11, 0.5 + 0.5 * 10 / 11], [0.5 + 0.5 / 11, 0.5 - 0.5 / 11]
    np.testing.assert_allclose(clf.predict_proba(["fire", "thanks"]), expected)


def test_verbalized_replies_are_read_and_failures_are_counted(tiny, monkeypatch):
    clf = VerbalizedConfidence(tiny).fit(["a", "b", "c", "d"], ["no", "yes", "yes", "yes"])
    replies = ["yes, 90%", "No. Probability: 0.7", "I am 80% sure", "is it yes or no? 50%", "yes"]
    monkeypatch.setattr(Question, "replies", said(replies))
    proba = clf.predict_proba(list("vwxyz"))
    np.testing.assert_allclose(proba[:, 1], [0.9, 0.3, 0.75, 0.75, 0.75])
    assert clf.n_unparsed_ == 3
    assert [reply.label for reply in clf.ask(list("vwxyz"))] == [1, 0, None, None, 1]


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("urgent, 85%", 0.85),
        ("0.4", 0.4),
        ("1", 1.0),
        ("100 percent", 1.0),
        ("between 60 and 70", 0.6),
        ("call 5551234 now, 20%", 0.2),
        ("v2.0 is out", None),
        ("very sure", None),
        ("0.5%", 0.005),
        ("1. urgent, 60%", 0.6),
        ("2) urgent: 0.7", 0.7),
        ("1 of 2, 60%", 0.6),
        ("urgent (9 out of 10)", 0.9),
        ("urgent, 4/5", 0.8),
        ("urgent, 2 reasons: 0.9", 0.9),
        ("urgent, .85", 0.85),
        ("urgent, 7 out of 0", None),
        ("dringend, 85,5 %", 0.855),
        ("urgent,0.9", 0.9),
        ("dringend, 0,9", 0.9),
        ("Urgent, 9 Out of 10", 0.9),
        ("Urgent, 1 Percent", 0.01),
    ],
)
def test_a_confidence_is_the_first_number_that_can_be_one(reply, value):
    found = stated_confidence(reply)
    assert found == (None if value is None else pytest.approx(value))


@pytest.mark.parametrize(
    ("reply", "label", "value"),
    [
        ("1, 0.8", "1", 0.8),
        ("0, 0.9", "0", 0.9),
        ("0 (0.7)", "0", 0.7),
        ("1. 0.8", "1", 0.8),
        ("1: 80%", "1", 0.8),
        ("1, 1", "1", 1.0),
        ("1.0, 0.9", "1.0", 0.9),
        ("-1, 0.8", "-1", 0.8),
        ("0.9 for 0", "0", 0.9),
        ("Grade 2: 0.7", "grade 2", 0.7),
        ("0.9", "0", None),
        ("1", "1", None),
        ("urgent, 0.9", "urgent", 0.9),
    ],
)
def test_a_label_s_own_digits_are_no_confidence(reply, label, value):
    found = stated_confidence(reply, label)
    assert found == (None if value is None else pytest.approx(value))


def test_verbalized_labels_may_be_numbers(tiny, monkeypatch):
    clf = VerbalizedConfidence(tiny).fit(["a", "b", "c", "d"], [0, 1, 1, 1])
    assert clf.n_unparsed_ == 0
    monkeypatch.setattr(Question, "replies", said(["0, 0.9", "1, 0.8", "1: 60%", "0"]))
    proba = clf.predict_proba(list("wxyz"))
    np.testing.assert_allclose(proba[:, 1], [0.1, 0.8, 0.6, 0.75])
    assert clf.n_unparsed_ == 1


def test_self_consistency_counts_votes(tiny, monkeypatch):
    clf = SelfConsistency(tiny, samples=4).fit(["a", "b", "c", "d"], ["no", "yes", "yes", "yes"])
    replies = ["yes. It is.", "no. It is not.", "Yes!", "who knows"]
    monkeypatch.setattr(Question, "replies", said(replies))
    # Two of three votes, and one that is 3/4 yes.
    np.testing.assert_allclose(clf.predict_proba(["x"])[:, 1], [(2 + 0.75) / 4])
    assert clf.n_unparsed_ == 1


def test_semantic_entropy_is_low_where_replies_say_the_same(tiny, monkeypatch):
    clf = SemanticEntropy(tiny, samples=4).fit(["a", "b"], ["no", "yes"])
    same = ["yes. It is on fire."] * 4
    other = ["yes. It burns.", "yes. Smoke came.", "yes. People shout loudly.", "no. Fine."]
    surer = []
    for replies in (same, other):
        monkeypatch.setattr(Question, "replies", said(replies))
        surer.append(clf.predict_proba(["x"])[0, 1])
    assert surer == pytest.approx([1.0, 0.5])
    half = ["yes. It is on fire."] * 2 + ["yes. Smoke came."] * 2
    monkeypatch.setattr(Question, "replies", said(half))
    assert clf.predict_proba(["x"])[0, 1] == pytest.approx(0.75)  # ln 2 of ln 4
    one = ["yes. It is on fire.", "what?", "who?", "when?"]  # one voice is no agreement
    monkeypatch.setattr(Question, "replies", said(one))
    assert clf.predict_proba(["x"])[0, 1] == pytest.approx(0.5)
    monkeypatch.setattr(Question, "replies", said(["what?"] * 4))
    assert clf.predict_proba(["x"])[0, 1] == 0.5
    assert clf.n_unparsed_ == 4
    assert clf.fit(["a", "b"], ["no", "yes"]).n_unparsed_ == 0


def test_replies_that_agree_in_nothing_but_their_label_still_state_it(tiny, monkeypatch):
    clf = SemanticEntropy(tiny, samples=3).fit(["a", "b"], ["no", "yes"])
    for label in ("no", "yes"):
        reasons = ["It burns.", "Smoke came.", "People shout loudly."]
        monkeypatch.setattr(Question, "replies", said([f"{label}. {why}" for why in reasons]))
        assert clf.predict(["x"]).tolist() == [label]


def test_long_texts_keep_the_answers_that_are_compared(tiny, data, monkeypatch):
    texts, labels, _ = data
    clf = RelativeConfidence(tiny, opponents=2, max_length=128, random_state=0).fit(texts, labels)
    met = []

    def listen(self, shown, choices, bar):
        met.extend(shown)
        return np.zeros((len(shown), 2))

    monkeypatch.setattr(Question, "choice_log_likelihoods", listen)
    clf.predict_proba(["word " * 300])
    compared = [pair for pair in met if pair.startswith("1: ")]
    assert compared
    assert all(pair.count("\nLabel: ") == 2 for pair in compared)


def test_meanings_need_label_and_words():
    replies = [(0, "the cup fell"), (0, "The cup fell."), (1, "the cup fell"), (0, "rain came")]
    assert meanings(replies) == [[0, 1], [2], [3]]


def test_elo_ratings_worked_by_hand():
    """One win at even odds moves 16 points; the next is expected at 10^(16/400)."""
    found = elo_ratings(np.array([[1.0, 1.0], [0.0, 1.0]]), np.zeros(2))
    after = 16 + 32 * (1 - 1 / (1 + 10 ** (-16 / 400)))
    # The second player falls to -16, and then wins against the odds.
    below = -16 + 32 * (1 - 1 / (1 + 10 ** (16 / 400)))
    assert found == pytest.approx([after, below])
    strong = elo_ratings(np.ones((1, 1)), np.array([400.0]))
    assert strong == pytest.approx([32 * (1 - 1 / 11)])


def test_a_liking_for_the_first_place_cancels(tiny, data, monkeypatch):
    texts, labels, _ = data
    clf = PairwiseTournament(tiny, opponents=3, random_state=0).fit(texts, labels)

    def place_and_length(self, shown, choices, bar):
        both = [pair.removeprefix("1: ").split("\n\n2: ") for pair in shown]
        worth = np.array([len(a) - len(b) for a, b in both]) / 50
        return np.stack([worth + 9.0, np.zeros(len(shown))], axis=1)

    monkeypatch.setattr(Question, "choice_log_likelihoods", place_and_length)
    long, short = "word " * 100, "word"
    proba = clf.predict_proba([long, short])[:, 1]
    assert proba[0] > 0.5 > proba[1]
    opponents = np.mean([len(text) for text in clf._opponents])
    assert len(short) < opponents < len(long)


@pytest.fixture
def asked(monkeypatch):
    """The texts that the base model has been asked about."""
    found, ask = [], Question.choice_log_likelihoods

    def listen(self, shown, choices, bar):
        found.extend(shown)
        return ask(self, shown, choices, bar)

    monkeypatch.setattr(Question, "choice_log_likelihoods", listen)
    return found


def test_opponents_meet_each_other_once_and_for_all_predictions(tiny, data, asked):
    texts, labels, _ = data
    clf = PairwiseTournament(tiny, opponents=4, random_state=0).fit(texts, labels)
    first = clf.predict_proba(["one text"])
    assert len(asked) == len(set(asked)) == 2 * 6 + 2 * 4
    again = clf.predict_proba(["one text", "another"])
    assert len(asked) == 2 * 6 + 3 * 2 * 4
    np.testing.assert_allclose(again[:1], first, rtol=1e-5)
    clf.fit(texts[::-1], labels[::-1])
    clf.predict_proba(["one text"])
    assert len(asked) == 2 * (2 * 6) + 4 * 2 * 4


def test_what_does_not_depend_on_the_texts_is_asked_once(tiny, data, asked):
    """The answers to opponents, and what labels are expected of texts without content."""
    texts, labels, _ = data
    clf = RelativeConfidence(tiny, opponents=4, random_state=0).fit(texts, labels)
    first = clf.predict_proba(["one text"])
    known = len(asked)
    assert known == 1 + 3 + 4 + 2 * 6 + 2 * 4
    again = clf.predict_proba(["one text"])
    assert len(asked) == known + 1 + 2 * 4
    np.testing.assert_allclose(again, first, rtol=1e-5)


def test_the_answers_are_given_in_the_type_that_is_set(tiny, data):
    texts, labels, test = data
    clf = RelativeConfidence(tiny, opponents=2, dtype="float32", random_state=0).fit(texts, labels)
    clf.set_params(dtype="float64").predict_proba(test[:2])
    assert clf._answering._question().base.dtype == torch.float64


def test_opponents_are_of_all_classes(tiny, data):
    texts, labels, _ = data
    clf = PairwiseTournament(tiny, opponents=4, random_state=0).fit(texts, labels)
    known = dict(zip(texts, labels, strict=True))
    drawn = [known[text] for text in clf._opponents]
    assert sorted(drawn) == ["escalate"] * 2 + ["routine"] * 2


def test_long_pairs_lose_their_ends_and_not_each_other(tiny, data, monkeypatch):
    texts, labels, _ = data
    clf = PairwiseTournament(tiny, opponents=2, max_length=120, random_state=0)
    clf.fit(texts, labels)
    met, encode = [], PromptEncoder.encode

    def listen(self, shown):
        met.extend(shown := list(shown))
        return encode(self, shown)

    monkeypatch.setattr(PromptEncoder, "encode", listen)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TruncationWarning)  # no prompt is cut in its middle
        assert np.isfinite(clf.predict_proba(["long words " * 200])).all()
    games = [pair for pair in met if "long words" in pair]
    assert len(games) == 4
    for pair in games:
        first, second = pair.removeprefix("1: ").split("\n\n2: ")
        long, opponent = sorted((first, second), key=lambda text: "long words" not in text)
        assert long.startswith("long words long")
        assert any(text.startswith(opponent) for text in texts)


@pytest.mark.parametrize("name", ["p_true", "tournament", "relative"])
@pytest.mark.parametrize("packs", [True, False])
def test_what_prompts_begin_with_is_read_once(name, packs, tiny, data, monkeypatch):
    """The numbers are the same, out of less than three quarters of the tokens."""
    texts, labels, test = data
    monkeypatch.setattr(load_base_model(tiny, dtype="float32"), "packs", packs)
    asked = [f"{text} " * 4 for text in test[:6]]
    read: list[int] = []
    packing, with_prefix = PackedModel.pack, PackedModel.with_prefix

    def pack(self, rows):
        read.extend(len(prompt) for prompt, _ in rows)
        return packing(self, rows)

    def counted(self, prefix_ids):
        read.append(len(prefix_ids))
        return with_prefix(self, prefix_ids)

    monkeypatch.setattr(PackedModel, "pack", pack)
    monkeypatch.setattr(PackedModel, "with_prefix", counted)
    clf = made(name, tiny, dtype="float32").fit(texts, labels)
    found = {}
    for worthwhile in (10**6, 32):
        groups = partial(groups_that_begin_alike, worthwhile=worthwhile)
        monkeypatch.setattr(prompted, "groups_that_begin_alike", groups)
        read.clear()
        found[worthwhile] = clf.predict_proba(asked), sum(read)
    (expected, apart), (proba, together) = found.values()
    np.testing.assert_allclose(proba, expected, rtol=1e-4)
    assert 0 < together < apart * 3 / 4


def test_prompts_join_what_begins_alike_while_that_spares_tokens():
    one, other = [1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 3, 4, 5, 6, 9, 9]
    far = [1, 2, 9, 9, 9, 9, 9, 9]
    assert groups_that_begin_alike([far, one, other], 2) == [(6, [1, 2]), (0, [0])]
    assert groups_that_begin_alike([one, one], 2) == [(6, [0, 1])]  # one token is left
    assert groups_that_begin_alike([one, other], 7) == [(0, [0, 1])]
    assert groups_that_begin_alike([one, one[:4]], 2) == [(2, [1, 0])]
    assert groups_that_begin_alike([], 2) == []


@pytest.mark.parametrize("packs", [True, False])
def test_the_probe_reads_the_models_own_states(tiny, data, packs, monkeypatch):
    texts, labels, _ = data
    base = load_base_model(tiny, dtype="float32")
    monkeypatch.setattr(base, "packs", packs)
    clf = LinearProbe(tiny, layers=(1 / 3, 1.0), dtype="float32").fit(texts, labels)
    question = clf._question()
    features = clf._features(texts[:4], clf.layers, clf.pooling)
    for row, prompt in enumerate(question.encoder.encode(texts[:4])):
        ids = torch.tensor([[*question.encoder.prefix_ids, *prompt]])
        with torch.no_grad():
            out = base.lm.get_decoder()(ids, output_hidden_states=True)
        for share, layer in ((1 / 3, 1), (1.0, 3)):
            states = out.hidden_states[layer][0].numpy()
            np.testing.assert_allclose(features[share, "last"][row], states[-1], atol=1e-5)
            mean = states[-len(prompt) :].mean(axis=0)
            np.testing.assert_allclose(features[share, "mean"][row], mean, atol=1e-5)
    assert clf.layer_ in (1 / 3, 1.0)


def test_the_probe_works_with_metadata_routing(tiny, data):
    texts, labels, test = data
    expected = LinearProbe(tiny, random_state=0).fit(texts, labels).predict_proba(test)
    with config_context(enable_metadata_routing=True):
        found = LinearProbe(tiny, random_state=0).fit(texts, labels).predict_proba(test)
    np.testing.assert_array_equal(found, expected)


def test_a_probe_does_not_open_with_another_model(tmp_path, data):
    texts, labels, test = data
    folder = build_model(tmp_path / "model")
    probe = pickle.loads(pickle.dumps(LinearProbe(folder, random_state=0).fit(texts, labels)))
    release_memory()
    shutil.rmtree(folder)
    build_model(folder, "qwen2")
    with pytest.raises(BaseModelMismatchError, match="not the model the classifier was trained on"):
        probe.predict(test)
    probe.fit(texts, labels).predict(test)


def test_the_probe_holds_sources_out_as_wholes(tiny, data, monkeypatch):
    texts, labels, _ = data
    groups = np.arange(len(texts)) // 2
    met = []
    genuine = regression.held_out_folds

    def listen(*given):
        folds = genuine(*given)
        met.extend(folds)
        return folds

    monkeypatch.setattr(regression, "held_out_folds", listen)
    clf = LinearProbe(tiny, random_state=0).fit(texts, labels, groups=groups)
    assert len(met) == 5 * len(clf.layers) * len(clf.pooling)
    assert not any(set(groups[a]) & set(groups[b]) for a, b in met)
    with pytest.raises(ValueError, match="groups has the shape"):
        LinearProbe(tiny).fit(texts, labels, groups=groups[1:])


def test_the_probe_takes_what_does_best_on_held_out_rows(tiny, data, monkeypatch):
    texts, labels, _ = data
    rng = np.random.default_rng(0)
    known = np.searchsorted(np.unique(labels), labels)

    def features(self, texts, layers, poolings):
        choices = [(layer, pooling) for layer in layers for pooling in poolings]
        noise = {choice: rng.normal(size=(len(texts), 3)) for choice in choices}
        noise[0.5, "mean"][:, 0] += 3 * known[: len(texts)]
        return noise

    monkeypatch.setattr(LinearProbe, "_features", features)
    clf = LinearProbe(tiny, random_state=0).fit(texts, labels)
    assert (clf.layer_, clf.pooling_) == (0.5, "mean")
    few = LinearProbe(tiny, random_state=0).fit(texts[:3], ["a", "a", "b"])
    assert (few.layer_, few.pooling_) == (1.0, "last")


@pytest.mark.parametrize(
    ("name", "parameter", "value", "bound"),
    [
        ("tournament", "opponents", 0, "be a whole number >= 1"),
        ("relative", "opponents", -1, "be a whole number >= 1"),
        ("self_consistency", "samples", 0, "be a whole number >= 1"),
        ("self_consistency", "temperature", -1, "be a number > 0"),
        ("self_consistency", "temperature", 0.0, "be a number > 0"),
        ("semantic_entropy", "samples", 1, "be a whole number >= 2"),
        ("verbalized", "max_new_tokens", 0, "be a whole number >= 1"),
        ("raw", "max_length", 0, "be a whole number >= 1 or None"),
        ("p_true", "verbose", -1, "be a whole number >= 0"),
        ("probe", "layers", (0.5, 2.0), "be a number >= 0 and <= 1"),
        ("probe", "layers", (-0.5,), "be a number >= 0 and <= 1"),
        ("probe", "layers", (), "hold at least one depth"),
        ("probe", "layers", 0.5, "hold at least one depth"),
    ],
)
def test_bad_parameters_are_named(name, parameter, value, bound, data, tmp_path):
    texts, labels, _ = data
    clf = made(name, str(tmp_path / "no model"), **{parameter: value})
    with pytest.raises(ValueError, match=f"^{parameter}=.* must {bound}"):
        clf.fit(texts, labels)


def test_a_model_is_named_not_passed(data):
    texts, labels, _ = data
    with pytest.raises(ValueError, match=r"^model is 'NoneType'; pass a Hub id"):
        LabelProbability(None).fit(texts, labels)


def test_a_relative_path_of_the_model_outlives_another_directory(tiny, data, tmp_path, monkeypatch):
    texts, labels, test = data
    (tmp_path / "model").symlink_to(tiny)
    monkeypatch.chdir(tmp_path)
    clf = LabelProbability("model").fit(texts, labels)
    monkeypatch.chdir("/")
    assert clf.predict_proba(test[:2]).shape == (2, 2)
    assert clf.model == "model"


@pytest.mark.parametrize("pooling", [(), ("max",), "mean"])
def test_unknown_pooling_is_refused(tiny, data, pooling):
    texts, labels, _ = data
    with pytest.raises(ValueError, match="must hold 'last', 'mean' or both"):
        LinearProbe(tiny, pooling=pooling).fit(texts, labels)


@pytest.mark.real
def test_the_real_model_knows_something_before_any_training():
    """Where a linear probe learns much, and prompting a little or nothing."""
    messages = load_messages()
    train, test = messages.train, messages.test
    gold = [label == "routine" for label in test.labels[:120]]
    probe = LinearProbe(random_state=0).fit(train.texts[:200], train.labels[:200])
    assert roc_auc_score(gold, probe.predict_proba(test.texts[:120])[:, 1]) > 0.85
    asked = VerbalizedConfidence().fit(train.texts[:20], train.labels[:20])
    replies = asked.ask(test.texts[:8])
    assert all(reply.text for reply in replies)


@each
@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_before_fit(name, method, tiny):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(made(name, tiny), method)(["smoke"])


def test_columns_at_predict_must_be_those_of_fit(tiny):
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    records = pd.DataFrame({"claim": ["a", "b"], "abstract": ["c", "d"]})
    clf = LabelProbability(tiny).fit(records, ["x", "y"])
    assert clf.feature_names_in_.tolist() == ["claim", "abstract"]
    with pytest.raises(InvalidTextError, match="fit was given records with the columns"):
        clf.predict(records[["claim"]])


def test_long_replies_have_room_behind_long_texts(tiny, data):
    """The context holds 512 tokens: what is kept of the text leaves room for the reply."""
    texts, labels, _ = data
    clf = SelfConsistency(tiny, samples=1, max_new_tokens=300, random_state=0).fit(texts, labels)
    question = clf._question()
    with pytest.warns(TruncationWarning, match="their middle was cut out"):
        (prompt,) = question.encoder.encode(["smoke " * 600])
    assert len(question.encoder.prefix_ids) + len(prompt) + 300 <= 512


def test_texts_without_room_are_shortened_to_nothing(tiny):
    clf = LabelProbability(tiny).fit(["smoke", "thanks"], ["x", "y"])
    assert clf._question().shortened("smoke is rising", -3) == ""


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"device": "nowhere"}, ValueError),
        ({"dtype": "int8"}, ValueError),
        ({"model": "no such model"}, ModelNotFoundError),
    ],
)
def test_what_cannot_be_used_is_said_by_fit(parameters, error, tiny, data):
    clf = LabelProbability(tiny).set_params(**parameters)
    with pytest.raises(error, match=next(iter(parameters))):
        clf.fit(data[0], data[1])


@pytest.mark.parametrize("name", ["probe", "few_shot", "tournament"])
def test_a_fit_that_fails_leaves_the_last_one(name, tiny, data, monkeypatch):
    texts, labels, test = data
    clf = made(name, tiny).fit(texts, labels)
    proba, state = clf.predict_proba(test), set(vars(clf))

    def fail(*arguments):
        raise KeyboardInterrupt

    other = [f"other {label}" for label in labels]
    with monkeypatch.context() as patch:
        patch.setattr("skclsgen.baselines.prompted.PromptedClassifier._keep_column_names", fail)
        with pytest.raises(KeyboardInterrupt):
            clf.fit(texts, other)
    assert clf.classes_.tolist() == sorted(set(labels))
    assert set(vars(clf)) == state
    assert np.array_equal(clf.predict_proba(test), proba)
    if name == "probe":
        for groups in ([0], [None] * len(texts)):
            with monkeypatch.context() as patch:
                patch.setattr("skclsgen.baselines.linear_probe._states", fail)  # nothing is read
                with pytest.raises(ValueError, match=r"groups has (the shape|.* missing values)"):
                    clf.fit(texts, other, groups=groups)
    elif name == "few_shot":
        with pytest.raises(InvalidTextError, match="leaves no room"):
            clf.set_params(examples=40).fit(texts, other)
    assert np.array_equal(clf.predict_proba(test), proba)
    fresh = made(name, str(tiny) + " that is not there")
    with pytest.raises(ModelNotFoundError):
        fresh.fit(texts, labels)
    with pytest.raises(NotFittedError):
        fresh.predict_proba(test)


@pytest.mark.parametrize(("name", "value"), [("samples", 1), ("temperature", 0), ("dtype", "int")])
def test_parameters_set_after_a_fit_are_checked(name, value, tiny, data):
    texts, labels, test = data
    clf = SemanticEntropy(tiny).fit(texts, labels).set_params(**{name: value})
    with pytest.raises(ValueError, match=name):
        clf.predict_proba(test)


def test_words_are_no_flags(tiny, data):
    texts, labels, _ = data
    with pytest.raises(ValueError, match="calibrate='no' must be True or False"):
        LabelProbability(tiny, calibrate="no").fit(texts, labels)


def test_a_probe_reads_only_what_it_chose(tiny, data):
    texts, labels, test = data
    clf = LinearProbe(tiny, random_state=0).fit(texts, labels)
    proba = clf.predict_proba(test)
    clf.set_params(layers=(0.1,), pooling=("last",))
    assert np.array_equal(clf.predict_proba(test), proba)


def test_parameters_set_after_a_prediction_count_for_the_next(tiny, data):
    texts, labels, _ = data
    long = ["so many words " * 20]
    clf = LabelProbability(tiny, dtype="float32").fit(texts, labels)
    whole = clf.predict_proba(long)
    with pytest.warns(TruncationWarning):
        cut = clf.set_params(max_length=100).predict_proba(long)
    assert not np.array_equal(cut, whole)
    again = pickle.loads(pickle.dumps(clf))
    with pytest.warns(TruncationWarning):
        assert np.array_equal(again.predict_proba(long), cut)
