"""One test per way of getting the input wrong, and that all right ways give the same."""

import enum
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.utils import compute_sample_weight

from skclsgen import CLSGenClassifier
from skclsgen.exceptions import (
    InvalidExplanationsError,
    InvalidLabelsError,
    InvalidTextError,
)
from skclsgen.inputs import check_labels
from skclsgen.labels import class_indices, label_words
from skclsgen.parameters import check_class_weights
from skclsgen.text_inputs import check_texts

TEXTS = ["good day", "bad day", "good night", "bad night"]
Y = [1, 0, 1, 0]


class Mood(enum.Enum):
    GOOD = 1
    BAD = 2


class Word(str, enum.Enum):  # noqa: UP042  # "str" of the newer kind says the value
    """Strings with names, which ``str`` would give in their place."""

    URGENT = "urgent"
    ROUTINE = "routine"


@pytest.fixture
def clf():
    """Fits no further than the checks: its model does not exist."""
    return CLSGenClassifier("no/such-model")


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ("a text", "X is a single string; put it in a list"),
        ([], "X is empty"),
        (np.array([], dtype=str), "X is empty"),
        (5, "X is 'int'; pass a list"),
        (None, "X is 'NoneType'; pass a list"),
        (["a", 3, "c", "d"], r"X\[1\] is 'int', not a string"),
        (["a", b"b", "c", "d"], r"X\[1\] is 'bytes', not a string;.* convert it with \.decode\(\)"),
        (np.array([b"a", b"b"]), r"X\[0\] is 'bytes_', not a string;.* with \.decode\(\)"),
        ({"text": TEXTS}, r"X is 'dict', whose keys are no texts; .*such as X\['text'\]"),
        (set(TEXTS), "X is 'set', which has no order; put the texts in a list"),
        (frozenset(TEXTS), "X is 'frozenset', which has no order"),
        ([{"claim": "a", "title": "b"}] * 4, r"X\[0\] is 'dict'.*pass records as pandas"),
        ([("a", "b")] * 4, r"X\[0\] is 'tuple'.*with a column for each of their parts"),
        (["a", None, "c", "d"], r"X\[1\] is missing \(None or NaN\)"),
        (["a", "b", float("nan"), "d"], r"X\[2\] is missing \(None or NaN\)"),
        (pd.Series(["a", pd.NA, "c", "d"], dtype="string"), r"X\[1\] is missing"),
        (["a", "b", "c", ""], r"X\[3\] is empty or white space"),
        (["a", " \n\t", "c", "d"], r"X\[1\] is empty or white space"),
        (["a", "b", "half \ud83d", "d"], r"X\[2\] has a lone surrogate.*'utf-8', 'replace'"),
        (pd.DataFrame({"a": ["x", "\ud83d"]}, dtype=object), r"X\[1\] has a lone surrogate"),
        (np.array([["a", "b"], ["c", "d"]]), r"X has shape \(2, 2\); pass one text per row"),
        (np.zeros((4,)), r"X\[0\] is 'float64', not a string"),
        (pd.DataFrame({"a": ["x", None]}), r"X\['a'\] is missing \(None or NaN\) in row 1"),
        (pd.DataFrame({"a": ["x", " "], "b": ["y", ""]}), r"X\[1\] is empty or white space"),
        (pd.DataFrame([["x", "y"]], columns=["a", "a"]), "two of the same name"),
        (pd.DataFrame(index=[0, 1]), "has no columns"),
        (pd.DataFrame({"a": ["x", b"y"]}), r"X\['a'\] is 'bytes' in row 1, .*\.decode\(\)"),
        (pl.DataFrame({"a": [b"x", b"y"]}), r"X\['a'\] is 'bytes' in row 0, .*\.decode\(\)"),
    ],
)
def test_bad_texts(clf, X, message):
    with pytest.raises(InvalidTextError, match=message):
        clf.fit(X, Y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 0, 1], "X has 4 texts but y has 3 labels"),
        ([1, 1, 1, 1], "one class only"),
        ([1, 0, float("nan"), 0], r"y contains NaN or None in 1 rows \(the first is row 2\)"),
        (["a", None, "b", "a"], "y contains NaN or None in 1 rows"),
        (["a", float("nan"), "b", "a"], r"y contains NaN or None in 1 rows \(the first is row 1\)"),
        (None, "requires y to be passed"),
        ([1, "a", 2, "b"], "mixes labels of the types int, str"),
        ((True, "a", True, "b"), "mixes labels of the types bool, str"),
        (np.array([1, "a", 2, "b"], dtype=object), "mixes labels of the types int, str"),
        ([(1, 2), (1, 3), (1, 2), (1, 3)], "y should be a 1d array"),
        (pd.Series([(1, 2), (1, 3), (1, 2), (1, 3)]), "y should be a 1d array"),
        ([["a"], ["a", "b"], ["b"], ["a"]], "several labels of one text need a classifier each"),
        ([0.5, 1.5, 2.25, 3.1], "Unknown label type"),
        (np.array([1, 2, 1, 2], dtype="M8[D]"), "y has dates or times, which are no labels"),
        (pd.Series(pd.to_datetime(["2025", "2026"] * 2)), "y has dates or times"),
        ([date(2025, 1, 1), date(2026, 1, 1)] * 2, "y has dates or times"),
        (
            [Mood.GOOD, Mood.BAD] * 2,
            r"y has labels of the type Mood, which have no order; .*\.name",
        ),
        (["  ", "a", "a", "  "], "has no visible words"),
        (["a", "\ud83d", "a", "b"], r"the label '\\ud83d', has a lone surrogate"),
    ],
)
def test_bad_labels(clf, y, message):
    with pytest.raises((InvalidLabelsError, ValueError), match=message):
        clf.fit(TEXTS, y)


@pytest.mark.parametrize(
    ("y", "dtype", "words"),
    [
        (pd.Series([True, None, False]).dropna(), bool, ["False", "True"]),
        (np.array([1, 0], dtype=object), np.int64, ["0", "1"]),
        (pd.Series([1, 0], dtype="Int64"), np.int64, ["0", "1"]),
        (pd.Series([True, False], dtype="boolean"), bool, ["False", "True"]),
        (np.array([1, 0], dtype=np.int8), np.int8, ["0", "1"]),
        (np.array(["b", "a"], dtype=object), object, ["a", "b"]),
        (["b", "a"], "<U1", ["a", "b"]),
    ],
)
def test_type_of_the_classes(y, dtype, words):
    classes, indices = check_labels(y, 2)
    assert classes.dtype == dtype
    assert (classes[indices] == list(y)).all()
    assert label_words(classes, None) == words


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs NumPy 2")
def test_labels_of_numpy_s_own_strings():
    classes, indices = check_labels(np.array(["b", "a", "b"], dtype=np.dtypes.StringDType()), 3)
    assert classes.dtype == "<U1"
    assert classes.tolist() == ["a", "b"]
    assert indices.tolist() == [1, 0, 1]


@pytest.mark.parametrize("shape", ["fit", "predict"])
def test_tables_of_pyarrow_are_to_be_converted(quick, shape):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = pa.table({"text": TEXTS})
    clf = CLSGenClassifier(**quick, lora_layers=1)
    with pytest.raises(InvalidTextError, match=r"'Table' of pyarrow; pass X\.to_pandas\(\)"):
        clf.fit(table, Y) if shape == "fit" else clf.fit(TEXTS, Y).predict(table)
    assert check_texts(table.to_pandas()) == [f"text: {text}" for text in TEXTS]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({0: "no", 1: "no"}, "same words 'no' to several labels"),
        ({0: "no ", 1: " no"}, "same words 'no' to several labels"),
        ({0: "no"}, r"no words for the labels \[1\]"),
        ({0: "no", 1: " "}, "has no visible words"),
        ({0: "no", 1: None}, "label_names has None for the label 1; give its words as a string"),
        ({0: np.nan, 1: "yes"}, "label_names has nan for the label 0"),
        ({0: "no", 1: "yes \ud83d"}, r"'yes \\ud83d', the name of the label 1, has a lone"),
        (["no", "yes"], "label_names is 'list'; pass a dictionary"),
        (pd.Series({0: "no", 1: "yes"}), "label_names is 'Series'; pass a dictionary"),
    ],
)
def test_bad_label_names(clf, names, message):
    with pytest.raises(InvalidLabelsError, match=message):
        clf.set_params(label_names=names).fit(TEXTS, Y)


def test_labels_that_read_alike_collide(clf):
    y = np.array(["no", "no ", "no", "no "], dtype=object)
    with pytest.raises(InvalidLabelsError, match="same words 'no' to several labels"):
        clf.fit(TEXTS, y)


@pytest.mark.parametrize(
    ("explanations", "message"),
    [
        (["a"], "X has 4 texts but explanations has 1 rows"),
        ("abcd", "explanations is 'str'; pass one string or None per text"),
        (dict.fromkeys("abcd"), "explanations is 'dict'; pass one string or None per text"),
        (set("abcd"), "explanations is 'set'; pass one string or None per text"),
        (["a", 3, None, "d"], r"explanations\[1\] is 'int'; pass a string or None"),
        (pd.DataFrame([["w"] * 4] * 4), r"DataFrame with the columns \[0, 1, 2, 3\]; pass one of"),
        (["a", "\ud83d", None, "d"], r"explanations\[1\] has a lone surrogate"),
    ],
)
def test_bad_explanations(clf, explanations, message):
    with pytest.raises(InvalidExplanationsError, match=message):
        clf.fit(TEXTS, Y, explanations=explanations)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1], r"sample_weight.shape == \(2,\), expected \(4,\)"),
        ([1, -1, 1, 1], "negative or non-finite"),
        ([1, np.nan, 1, 1], "negative or non-finite"),
        ([0, 0, 0, 0], "zero for every text"),
        ([1, 0, 1, 0], "one class only"),
    ],
)
def test_bad_weights(clf, weights, message):
    with pytest.raises(ValueError, match=message):
        clf.fit(TEXTS, Y, sample_weight=weights)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lora_r", 0),
        ("lora_r", 2.5),
        ("lora_alpha", 0),
        ("lora_dropout", -0.1),
        ("lora_dropout", 1.0),
        ("lora_layers", 0),
        ("lora_layers", 0.0),
        ("lora_layers", 1.5),
        ("lora_layers", "some"),
        ("explanation_weight", -1),
        ("explanation_weight", float("inf")),
        ("language_weight", -1),
        ("lora_alpha", float("inf")),
        ("epochs", -1),
        ("epochs", True),
        ("learning_rate", 0),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("weight_decay", -1),
        ("batch_size", 0),
        ("max_length", 0),
        ("max_new_tokens", 0),
        ("validation_fraction", 0),
        ("validation_fraction", 1.0),
        ("n_iter_no_change", 0),
        ("verbose", -1),
        ("rationales", "teacher"),
        ("early_stopping", "no"),
        ("early_stopping", None),
        ("warm_start", "False"),
        ("warm_start", 2),
        ("quantization", "2bit"),
        ("dtype", "int8"),
        ("dtype", "float8_e4m3fn"),
        ("dtype", None),
        ("device", "nowhere"),
        ("device", None),
    ],
)
def test_bad_parameters_are_named(clf, name, value):
    with pytest.raises(ValueError, match=f"^{name}={value!r} "):
        clf.set_params(**{name: value}).fit(TEXTS, Y)


@pytest.mark.parametrize("value", [None, 3, object()])
def test_a_model_is_named_not_passed(clf, value):
    with pytest.raises(ValueError, match=f"^model is '{type(value).__name__}'; pass a Hub id, or"):
        clf.set_params(model=value).fit(TEXTS, Y)


@pytest.mark.parametrize("value", ["", "  ", 3, "Judge \ud83d."])
def test_bad_instruction(clf, value):
    with pytest.raises(InvalidTextError, match="instruction"):
        clf.set_params(instruction=value).fit(TEXTS, Y)


@pytest.mark.parametrize("value", [pd.Series(TEXTS), np.array(TEXTS), TEXTS])
def test_reasons_that_are_there_go_elsewhere(clf, value):
    kind = type(value).__name__
    with pytest.raises(ValueError, match=rf"^rationales is a '{kind}', .* fit\(explanations="):
        clf.set_params(rationales=value).fit(TEXTS, Y)


def test_float16_cannot_be_trained(clf):
    with pytest.raises(ValueError, match="dtype='float16' has too small a range to train in"):
        clf.set_params(dtype="float16").fit(TEXTS, Y)


def test_too_few_rows_for_early_stopping(clf):
    with pytest.raises(ValueError, match="early_stopping holds out 1 of 4 rows"):
        clf.set_params(early_stopping=True).fit(TEXTS, Y)


def test_bad_class_weight(clf):
    with pytest.raises(ValueError, match="class_weight"):
        clf.set_params(class_weight="heavy").fit(TEXTS, Y)
    first, second = sorted(set(Y))
    for one, other in ((0, 0), (-1, 1), (float("nan"), 1)):
        with pytest.raises(ValueError, match=r"class_weight=.* must give every class"):
            clf.set_params(class_weight={first: one, second: other}).fit(TEXTS, Y)


def test_class_weights_are_of_labels_whatever_they_look_like():
    classes, labels = np.array(["1", "2", "3"]), np.array([0, 1, 1, 2])
    weights = check_class_weights({"1": 5.0, "2": 2.0}, classes, labels)
    assert weights.tolist() == [5, 2, 2, 1]  # of what is not named, as scikit-learn has it
    every = {"1": 5, "2": 2, "3": 1, "of another fold": 9}
    assert check_class_weights(every, classes, labels).tolist() == [5, 2, 2, 1]
    for absent in ({1: 5, 2: 1, 3: 1}, {"1": 5, "two": 1}):
        with pytest.raises(ValueError, match=r"must give every class .* has none for \["):
            check_class_weights(absent, classes, labels)
    balanced = compute_sample_weight("balanced", classes[labels])
    assert check_class_weights("balanced", classes, labels).tolist() == balanced.tolist()


def test_strings_with_names_are_read_as_what_they_say():
    names = {0: Word.ROUTINE, 1: Word.URGENT}
    assert label_words(np.array([0, 1]), names) == ["routine", "urgent"]
    objects = np.array([Word.ROUTINE, Word.URGENT], dtype=object)
    assert label_words(objects, None) == ["routine", "urgent"]
    assert check_texts([Word.URGENT]) == ["urgent"]
    assert type(check_texts([Word.URGENT])[0]) is str
    assert check_texts(pd.DataFrame({"kind": [Word.URGENT]}, dtype=object)) == ["kind: urgent"]


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "explain"])
def test_before_fit(clf, method):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(clf, method)(TEXTS)


def test_save_before_fit(clf, tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        clf.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    "X",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS, dtype=object)[:, None],
        pd.Series(TEXTS, index=[5, 6, 7, 8]),
        pd.Series(TEXTS, index=["columns", "shape", "text", "claim"]),
        pd.Series(TEXTS, dtype="category"),
        pl.Series(TEXTS),
        (text for text in TEXTS),
    ],
    ids=[
        "list",
        "tuple",
        "array",
        "object",
        "column",
        "pandas",
        "named",
        "category",
        "polars",
        "generator",
    ],
)
def test_every_kind_of_text_container(X):
    found = check_texts(X)
    assert found == TEXTS
    assert {type(text) for text in found} == {str}


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_rows_of_a_frame_are_records(frame):
    X = frame({"claim": ["It rains.", "It snows."], "year": [1999, 2001]})
    assert check_texts(X) == ["claim: It rains.\nyear: 1999", "claim: It snows.\nyear: 2001"]


def test_columns_at_predict_must_be_those_of_fit(quick):
    X = pd.DataFrame({"a": TEXTS, "b": TEXTS})
    clf = CLSGenClassifier(**quick).fit(X, Y)
    assert clf.n_features_in_ == 2
    assert clf.feature_names_in_.tolist() == ["a", "b"]
    assert clf.predict(X).shape == (4,)
    for wrong in (X[["b", "a"]], X[["a"]], TEXTS):
        with pytest.raises(InvalidTextError, match="but fit was given records with the columns"):
            clf.predict(wrong)
    clf.fit(TEXTS, Y)
    assert not hasattr(clf, "n_features_in_")
    with pytest.raises(InvalidTextError, match="but fit was given texts"):
        clf.predict(X)


def test_labels_to_explain_have_one_dimension_at_most():
    classes = np.array(["a", "b"])
    assert class_indices(np.array("b"), classes, 2) == class_indices("b", classes, 2) == [1, 1]
    assert class_indices(np.array(["b", "a"]), classes, 2) == [1, 0]
    with pytest.raises(InvalidLabelsError, match="labels has 2 dimensions; pass one label per"):
        class_indices(np.array([["b"], ["a"]]), classes, 2)
    with pytest.raises(InvalidLabelsError, match="sequences of several lengths; pass one label"):
        class_indices([["b"], ["a", "b"]], classes, 2)


@pytest.mark.parametrize("labels", [{}, {"b"}, [{}, "a"]])
def test_what_no_label_can_be_is_not_to_be_explained(labels):
    with pytest.raises(
        InvalidLabelsError, match=r"which fit has not seen; use one of \['a', 'b'\]"
    ):
        class_indices(labels, np.array(["a", "b"]), 2)
