import importlib.util

import numpy as np
import pandas as pd
import pytest

from skclsgen.datasets import LabelledTexts, fetch_clinifact, fetch_esnli, load_lcd
from skclsgen.datasets.tables import read_table
from skclsgen.exceptions import DatasetError, OptionalDependencyError


def test_cells_stay_the_words_they_are(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text('x,y,z\nNA,007,"line\nbreak"\nnull\n', encoding="utf-8")
    table = read_table(file, ["x", "z"], ["y", "w"])
    assert table.to_dict("list") == {
        "x": ["NA", "null"],
        "y": ["007", ""],
        "z": ["line\nbreak", ""],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as a CSV"),
        (b"x\n\xff\xfe\n", "cannot be read as a CSV"),
        (b'x\n"1\n', "cannot be read as a CSV"),
        (b"y\n1\n", "has no column 'x'"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    file = tmp_path / "a.csv"
    file.write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_table(file, ["x"], ["y"])


@pytest.fixture
def rows():
    records = pd.DataFrame({"a": ["one", "two", "three"], "b": ["x", "y", "z"]})
    return LabelledTexts(records, ["n", "y", "n"], [["r1"], [], ["r2", "r3"]], ["g", "g", "h"])


def test_labelled_texts(rows):
    assert len(rows) == 3
    assert rows.texts == ["a: one\nb: x", "a: two\nb: y", "a: three\nb: z"]
    assert repr(rows) == "LabelledTexts(3 rows of a, b; 2 groups; n: 2, y: 1)"


@pytest.mark.parametrize(
    "indices", [[2, 0], np.array([2, 0]), (2, 0), np.array([-1, 0], dtype=np.int8)]
)
def test_take(rows, indices):
    part = rows.take(indices)
    assert part.texts == ["a: three\nb: z", "a: one\nb: x"]
    assert part.labels == ["n", "n"]
    assert part.explanations == [["r2", "r3"], ["r1"]]
    assert part.groups == ["h", "g"]
    assert list(part.records.index) == [0, 1]


def test_take_a_mask_or_nothing(rows):
    assert rows.take(np.array([False, True, True])).groups == ["g", "h"]
    assert rows.take([True, False, False]).labels == ["n"]
    assert len(rows.take([])) == 0


@pytest.mark.parametrize("indices", [[True], [0.0, 1.0], [[0], [1]], ["a"], 1])
def test_take_what_is_no_row(rows, indices):
    with pytest.raises(ValueError, match="pass a list of row numbers"):
        rows.take(indices)


def test_fields_of_other_lengths(rows):
    with pytest.raises(ValueError, match="labels has 1 entries but records has 3 rows"):
        LabelledTexts(rows.records, ["n"], None, rows.groups)
    with pytest.raises(ValueError, match="explanations has 2"):
        LabelledTexts(rows.records, rows.labels, [[], []], rows.groups)


@pytest.mark.parametrize(
    "load",
    [fetch_esnli, fetch_clinifact, lambda: load_lcd("a", "b")],
    ids=["fetch_esnli", "fetch_clinifact", "load_lcd"],
)
def test_without_pandas_the_remedy_is_named(monkeypatch, load):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pandas" else found(name, *a)
    )
    with pytest.raises(OptionalDependencyError, match=r"pip install 'skclsgen\[pandas\]'"):
        load()
