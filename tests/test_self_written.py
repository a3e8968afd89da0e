"""What the base model writes by itself: quotations, and explanations of its own."""

import math
import warnings

import pytest
from conftest import build_model

from skclsgen import CLSGenClassifier, fitting, rationales, release_memory, self_written
from skclsgen.backbone import load_base_model
from skclsgen.datasets import load_messages
from skclsgen.exceptions import FallbackWarning, InvalidTextError, TruncationWarning
from skclsgen.prompt import PromptEncoder
from skclsgen.rationales import EXPLAINED, filter_rationale
from skclsgen.sampling import most_likely
from skclsgen.self_written import quotation, self_explanations, self_quotations
from skclsgen.wording import Unfinished, whole_sentences, words

WORDS = ["escalate", "routine"]


@pytest.fixture
def used(monkeypatch):
    """Positions that every batch may come to."""
    found, decode = [], self_written.decode

    def noted(lm, start, openings, new, *rest):
        found.append(max(start.lengths.tolist()) + max(map(len, openings)) + new)
        return decode(lm, start, openings, new, *rest)

    monkeypatch.setattr(self_written, "decode", noted)
    return found


def test_no_room_to_ask_for_reasons_is_told_apart_from_no_room_for_texts(tiny, data):
    clf = CLSGenClassifier(tiny, epochs=1, instruction="Spam?", max_length=52, random_state=0)
    with pytest.raises(InvalidTextError, match="max_length=52 leaves no room for asking the base"):
        clf.fit(data[0][:4], ["a", "b"] * 2)
    clf.set_params(rationales=None).fit(data[0][:4], ["a", "b"] * 2)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ('the door is stuck." and so', 'It says "the door is stuck".'),
        ("the door is", 'It says "the door is".'),
        ('" is quoted', ""),
        ("", ""),
    ],
)
def test_quotation(reply, sentence):
    assert quotation(reply) == sentence


def test_reasons_for_long_texts_stay_within_the_context(tmp_path, data, used):
    """GPT-2 has no positions beyond; its tiny vocabulary makes long openings."""
    base = load_base_model(build_model(tmp_path, "gpt2"))
    texts = [" ".join(data[0][:9]), data[0][0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error", TruncationWarning)  # what is trained on them will tell
        self_quotations(base, texts, [0, 1], WORDS, max_length=500, max_new_tokens=24)
    assert used == [base.context_length]


def test_written_reasons_are_learnt_whole(tiny, data, monkeypatch):
    """A quotation that never ends is cut at a word, and its closing mark and end are learnt."""
    base, said = load_base_model(tiny), "the power has been out since last night and the door"
    ids = base.tokenizer.encode(said + " ")

    def endless(lm, start, openings, new, *rest):
        return [(ids * new)[:new] for _ in openings]

    monkeypatch.setattr(self_written, "decode", endless)
    given = {"max_length": 400, "max_new_tokens": 32}
    (reason,) = self_quotations(base, data[0][:1], [0], WORDS, **given)
    assert reason.startswith('It says "the power')
    assert reason.endswith('".')
    assert set(words(reason)) <= {"it", "says", *words(said)}
    encoder = PromptEncoder(base.tokenizer, "Decide.", WORDS, 400)
    assert not encoder.is_cut(encoder.continuation(0, reason, 32))


@pytest.mark.real
def test_reasons_end_at_the_closing_mark_and_lose_nothing(monkeypatch):
    """Written to the full length, the same quotations would come out."""
    texts = ["Smoke is coming out of the charger!", "Thanks, the parcel has arrived."]
    base, decode, spoken = load_base_model(), self_written.decode, []

    def write(stop_early):
        def patched(lm, start, openings, new, stops, *rest):
            spoken.append(decode(lm, start, openings, new, stops if stop_early else base.stop_ids))
            return spoken[-1]

        monkeypatch.setattr(self_written, "decode", patched)
        base.rationales.clear()
        return self_quotations(
            base, texts, [0, 1], ["urgent", "routine"], max_length=500, max_new_tokens=48
        )

    assert write(stop_early=True) == write(stop_early=False)
    early, late = ([len(reply) for reply in replies] for replies in spoken)
    assert sum(early) < sum(late)


def kept_of(explanations, texts, labels, label_words):
    """What passes the filter of what a model says before any training, in whole sentences."""
    said = [e.text if e.complete else whole_sentences(e.text) for e in explanations]
    return [
        None if filter_rationale(reason, text, label, label_words, **EXPLAINED) else reason
        for reason, text, label in zip(said, texts, labels, strict=True)
    ]


@pytest.fixture
def greedy(monkeypatch):
    """What is most likely is taken, not drawn; what fits another label, or is unlikely, is kept."""
    monkeypatch.setattr(self_written, "own_sampler", lambda *given: most_likely)
    monkeypatch.setattr(rationales, "DRAWS", 1)
    monkeypatch.setattr(rationales, "LIKELIEST", 1.0)
    monkeypatch.setattr(rationales, "MIN_CONTRAST", -math.inf)


def test_explaining_says_what_the_untrained_classifier_says(
    tiny, data, greedy, monkeypatch, tmp_path
):
    """Also from the memory, where quotations of the same texts are kept apart."""
    texts, y = list(data[0][:6]), ["b", "a"] * 3
    given = {"lora_r": 2, "dtype": "float32", "max_new_tokens": 9, "random_state": 0}
    untrained = CLSGenClassifier(tiny, epochs=0, **given).fit(texts, y)
    learnt, candidates = [], []

    def keep(candidate, text, label, label_words, **bound):
        candidates.append(candidate)
        return None if candidate else "empty"

    def learn(encoder, rows, reasons, longest):
        if reasons:
            learnt.append(reasons)
        return make_examples(encoder, rows, reasons, longest)

    make_examples = fitting.make_examples
    monkeypatch.setattr(fitting, "make_examples", learn)
    monkeypatch.setattr(rationales, "filter_rationale", keep)
    monkeypatch.setattr(self_written, "whole_sentences", lambda said: Unfinished(said.upper()))
    clf = CLSGenClassifier(tiny, epochs=1, rationales="explain", memory=tmp_path, **given)
    clf.fit(texts, y)
    found = untrained.explain(texts, labels=y)
    said = [e.text if e.complete else e.text.upper() for e in found]
    assert any(said)
    assert candidates == said
    assert learnt[0] == said
    ended = [e.complete for e in found if e.text]
    assert not all(ended)
    assert [not isinstance(reason, Unfinished) for reason in learnt[0] if reason] == ended
    assert clf.rationale_report_["source"] == "explain"
    clf.set_params(rationales="self").fit(texts, y)
    assert candidates[6:] != candidates[:6]
    release_memory()
    monkeypatch.setattr(self_written, "decode", None)  # nothing is written again
    clf.set_params(rationales="explain").fit(texts, y)
    assert candidates[12:] == candidates[:6]
    assert [not isinstance(reason, Unfinished) for reason in learnt[2] if reason] == ended


@pytest.fixture
def uncut(monkeypatch):
    """A random model ends no sentence."""
    monkeypatch.setattr(self_written, "whole_sentences", Unfinished)


def test_an_explanation_is_drawn_once_for_all_fits(tiny, data, uncut):
    """Whatever rows it is drawn with, and in whatever order."""
    texts, labels = list(data[0][:6]), [0, 1] * 3
    encoder = PromptEncoder(load_base_model(tiny).tokenizer, "Decide.", WORDS, 400)

    def explained(rows):
        release_memory()
        own = [texts[row] for row in rows], [labels[row] for row in rows]
        return self_explanations(load_base_model(tiny), encoder, *own, max_new_tokens=9)

    together = explained(range(6))
    assert explained([4, 1, 2]) == [together[row] for row in (4, 1, 2)]
    assert explained([5]) == [together[5]]
    assert len(set(together)) == 6


def test_explanations_are_drawn(tiny, data, uncut, monkeypatch):
    """At the temperature that is said; those of another one, and of another time, are others."""
    base, found = load_base_model(tiny), []
    encoder = PromptEncoder(base.tokenizer, "Decide.", WORDS, 400)
    for temperature, draw in ((0.01, 0), (0.7, 0), (0.7, 0), (5.0, 0), (0.7, 1)):
        monkeypatch.setattr(self_written, "TEMPERATURE", temperature)
        base.rationales.clear()
        given = base, encoder, data[0][:6], [0, 1] * 3
        found.append(self_explanations(*given, max_new_tokens=9, draw=draw))
    assert found[1] == found[2]
    assert len(set(map(tuple, found))) == 4


def test_that_the_model_went_on_is_no_fault_of_the_callers(tiny, data, uncut, monkeypatch):
    """Explanations that someone passes and that are too long are warned of; not these."""

    def endless(lm, start, openings, new, ends, *rest):
        return decode(lm, start, openings, new, frozenset(), *rest)

    decode = self_written.decode
    monkeypatch.setattr(self_written, "decode", endless)
    monkeypatch.setattr(rationales, "filter_rationale", lambda *candidate, **bounds: None)
    monkeypatch.setattr(rationales, "MIN_CONTRAST", -math.inf)
    monkeypatch.setattr(rationales, "LIKELIEST", 1.0)
    clf = CLSGenClassifier(tiny, rationales="explain", epochs=1, lora_r=2, max_new_tokens=9)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TruncationWarning)
        clf.fit(data[0][:4], ["a", "b"] * 2)
    assert all(own["kept"] == own["rows"] for own in clf.rationale_report_["classes"].values())


def test_explanations_stay_within_the_context(tmp_path, data, used):
    """GPT-2 has no positions beyond."""
    model = build_model(tmp_path, "gpt2")
    texts = [" ".join([*data[0][:9], *data[0][:9]]), data[0][0]]
    clf = CLSGenClassifier(model, epochs=1, rationales="explain", max_new_tokens=64, lora_r=2)
    with (
        pytest.warns(TruncationWarning, match="their middle was cut out"),
        pytest.warns(FallbackWarning, match="for none of the 2 texts"),
    ):
        clf.fit(texts, ["a", "b"])
    context = load_base_model(model).context_length
    assert context - 2 <= max(used) <= context


def test_that_nothing_is_left_to_learn_from_is_told(tiny, data, uncut, monkeypatch):
    """Not where one explanation is left."""
    texts, y, whys = list(data[0][:4]), ["a", "b"] * 2, iter(["empty", *["ungrounded"] * 11])
    monkeypatch.setattr(rationales, "filter_rationale", lambda *candidate, **bounds: next(whys))
    clf = CLSGenClassifier(tiny, rationales="explain", epochs=1, lora_r=2, max_new_tokens=9)
    with pytest.warns(FallbackWarning, match=r"none of the 4 .* in 3 tries \(ungrounded: 4\)"):
        clf.fit(texts, y)
    monkeypatch.setattr(rationales, "MIN_CONTRAST", -math.inf)
    whys = iter([None, *["ungrounded"] * 3, *["empty"] * 6])
    clf.fit(texts, y)
    assert clf.rationale_report_["classes"]["a"]["kept"] == 1


@pytest.mark.real
def test_the_real_model_explains_and_learns_to(greedy):
    """What it says is what ``explain`` has it say, but for the filter."""
    rows = load_messages().train
    texts, y = rows.texts[:24], rows.labels[:24]
    given = {"max_new_tokens": 40, "random_state": 0}
    untrained = CLSGenClassifier(epochs=0, **given).fit(texts, y)
    clf = CLSGenClassifier(epochs=1, rationales="explain", **given).fit(texts, y)
    label_words = clf.classes_.tolist()
    kept = kept_of(
        untrained.explain(texts, labels=y), texts, map(label_words.index, y), label_words
    )
    report = clf.rationale_report_
    assert sum(own["kept"] for own in report["classes"].values()) == len(texts) - kept.count(None)
    assert len(clf.history_["explanation_loss"]) == 1
    assert len(texts) > kept.count(None)
