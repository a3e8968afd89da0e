import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.metrics import roc_auc_score

from skclsgen.baselines import EachColumn, tfidf_regression, word_overlap
from skclsgen.exceptions import InvalidTextError

RECORDS = pd.DataFrame({"claim": ["rest helps", "rest harms"], "source": ["it helps", ""]})


def test_columns_have_features_of_their_own():
    features = EachColumn(CountVectorizer()).fit(RECORDS)
    found = features.transform(RECORDS)
    assert sparse.issparse(found)
    # harms, helps, rest; helps, it
    assert found.toarray().tolist() == [[0, 1, 1, 1, 1], [1, 0, 1, 0, 0]]
    assert features.feature_names_in_.tolist() == ["claim", "source"]
    with pytest.raises(ValueError, match="claim"):
        features.transform(RECORDS[["source"]])


def test_plain_texts_are_a_single_column():
    texts = ["rest helps", "rest harms"]
    found = EachColumn(CountVectorizer()).fit_transform(texts)
    assert (found.toarray() == CountVectorizer().fit_transform(texts).toarray()).all()
    with pytest.raises(InvalidTextError, match="empty or white space"):
        EachColumn(CountVectorizer()).fit([" "])


def test_differences_of_columns():
    hashed = HashingVectorizer(n_features=8)
    found = EachColumn(hashed, differences=True).fit_transform(RECORDS).toarray()
    a, b = (hashed.transform(RECORDS[name].replace("", "-")).toarray() for name in RECORDS)
    np.testing.assert_allclose(found, np.hstack([a, b, abs(a - b)]))
    assert clone(EachColumn(hashed, differences=True)).differences
    with pytest.raises(ValueError, match="differences='no' must be True or False"):
        EachColumn(hashed, differences="no").fit(RECORDS)


def test_overlap_worked_by_hand():
    three = RECORDS.assign(title=["Rest", "rest harms all"])
    # claim in source, claim in title, source in claim, source in title, title in claim, in source
    expected = [[1 / 2, 1 / 2, 1 / 2, 0, 1, 0], [0, 1, 0, 0, 2 / 3, 0]]
    np.testing.assert_allclose(word_overlap(three), expected)
    assert word_overlap(["one text", "another"]).shape == (2, 0)


def test_comparing_columns_learns_what_their_words_cannot_tell():
    rng = np.random.default_rng(0)
    things = np.array(["cat", "dog", "cow", "hen", "fox", "owl", "elk", "ram"])
    first, second = rng.choice(things, 200), rng.choice(things, 200)
    second = np.where(np.arange(200) % 2, first, second)
    same = first == second
    records = pd.DataFrame({"a": first, "b": second})
    scores = {}
    for overlap in (False, True):
        clf = tfidf_regression((1, 1), overlap=overlap, random_state=0)
        clf.fit(records[:120], same[:120])
        found = clf.predict_proba(records[120:])[:, 1]
        scores[overlap] = roc_auc_score(same[120:], found)
    assert scores[True] == 1
    assert scores[False] < 0.8


def test_features_have_names():
    """As one asks which words decide."""
    differences = EachColumn(CountVectorizer(vocabulary=["it", "rest"]), differences=True)
    names = differences.fit(RECORDS).get_feature_names_out().tolist()
    assert names == [
        *("claim__it", "claim__rest", "source__it", "source__rest"),
        *("claim-source__it", "claim-source__rest"),
    ]
    assert len(names) == differences.transform(RECORDS).shape[1]
    clf = tfidf_regression((1, 1), overlap=True, random_state=0).fit(RECORDS, [1, 0])
    names = clf[:-1].get_feature_names_out().tolist()
    assert len(names) == clf["regression"].regression_.coef_.shape[1]
    assert {"tfidf__claim__harms", "overlap__claim in source"} <= set(names)
    numbered = RECORDS.set_axis([0, 1], axis=1)
    clf = tfidf_regression((1, 1), overlap=True, random_state=0).fit(numbered, [1, 0])
    names = clf[:-1].get_feature_names_out().tolist()
    assert len(names) == clf["regression"].regression_.coef_.shape[1]
    assert {"tfidf__0__harms", "overlap__0 in 1"} <= set(names)
    plain = tfidf_regression((1, 1), overlap=True, random_state=0).fit(["a b", "c"], [1, 0])
    assert plain[:-1].get_feature_names_out().tolist() == [f"tfidf__text__{x}" for x in "abc"]
