import csv
from importlib.resources import files

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from skclsgen.datasets import load_messages


def test_messages_are_whole():
    messages = load_messages()
    assert messages.train.reasons == messages.train.explanations
    both = [*messages.train.texts, *messages.test.texts]
    assert len(both) == len(set(both)) >= 400
    for split in (messages.train, messages.test):
        assert len(split.texts) == len(split.labels) == len(split.explanations) == len(split)
        assert set(split.labels) == {"escalate", "routine"}
        share = split.labels.count("escalate") / len(split)
        assert 0.45 < share < 0.55
        assert all(5 <= len(text.split()) <= 50 for text in split.texts)
        assert all(5 <= len(reason.split()) <= 25 for reason in split.explanations)
        assert all(reason.endswith(".") for reason in split.explanations)


def test_messages_about_one_situation_are_in_one_split():
    with (files("skclsgen.datasets") / "messages.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    train = {row["scenario"] for row in rows if row["split"] == "train"}
    test = {row["scenario"] for row in rows if row["split"] == "test"}
    assert not train & test


def test_wording_alone_does_not_give_the_label_away():
    messages = load_messages()
    gold = [label == "escalate" for label in messages.test.labels]
    for options in ({}, {"ngram_range": (1, 2)}, {"analyzer": "char_wb", "ngram_range": (2, 5)}):
        model = make_pipeline(TfidfVectorizer(**options), LogisticRegression(max_iter=1000))
        model.fit(messages.train.texts, messages.train.labels)
        index = list(model.classes_).index("escalate")
        score = roc_auc_score(gold, model.predict_proba(messages.test.texts)[:, index])
        assert 0.6 < score < 0.88
