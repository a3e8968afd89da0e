import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from skclsgen.datasets import (
    clinifact,
    esnli,
    fetch_clinifact,
    fetch_esnli,
    leak_free_split,
    rows_without_leak,
)
from skclsgen.datasets.tables import read_table
from skclsgen.exceptions import DatasetError

DATA = os.environ.get("SKCLSGEN_DATA")
needs_data = pytest.mark.skipif(
    not DATA, reason="needs SKCLSGEN_DATA, a folder with clinifact/ and esnli/"
)


def write_csv(file, rows):
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


ESNLI_ROWS = [
    ("A dog runs .", "N/A", "neutral", "nothing is said", "", " "),
    ("A dog runs .", "An animal moves .", "entailment", " a dog is an animal ", "", "it moves"),
    ("A dog runs .", "A cat sleeps .", "contradiction", "", "", ""),
    ("A man eats.", "Someone eats.", "entailment", "a man is someone", "he eats", "same"),
]


def esnli_derived(rows=ESNLI_ROWS):
    names = ["premise", "hypothesis", "label", "explanation_1", "explanation_2", "explanation_3"]
    return [dict(zip(names, row, strict=True)) for row in rows]


def esnli_home(rows=ESNLI_ROWS, n_explanations=3):
    """Rows as the public home has them, with columns nobody asked for."""
    home = []
    for number, (premise, hypothesis, label, *reasons) in enumerate(rows):
        row = {"pairID": f"{number}.jpg#1r1n", "gold_label": label}
        row |= {"Sentence1": premise, "Sentence2": hypothesis}
        for i, reason in enumerate(reasons[:n_explanations], 1):
            row |= {f"Explanation_{i}": reason, f"Sentence1_marked_{i}": "*A* dog"}
        home.append(row)
    return home


@pytest.mark.parametrize(
    ("name", "shape"), [("test.csv", esnli_derived), ("esnli_test.csv", esnli_home)]
)
def test_both_shapes_of_esnli(tmp_path, name, shape):
    write_csv(tmp_path / name, shape())
    rows = fetch_esnli(folder=tmp_path)
    assert list(rows.records.columns) == ["premise", "hypothesis"]
    assert rows.texts == [
        "premise: A dog runs .\nhypothesis: An animal moves .",
        "premise: A dog runs .\nhypothesis: A cat sleeps .",
        "premise: A man eats.\nhypothesis: Someone eats.",
    ]
    assert rows.labels == ["entailment", "contradiction", "entailment"]
    assert rows.explanations == [
        ["a dog is an animal", "it moves"],
        [],
        ["a man is someone", "he eats", "same"],
    ]
    assert rows.groups == ["A dog runs .", "A dog runs .", "A man eats."]
    whole = fetch_esnli(folder=str(tmp_path), labels=esnli.LABELS)
    assert len(whole) == 4
    assert whole.records["hypothesis"][0] == "N/A"
    assert fetch_esnli(folder=tmp_path, labels="neutral").labels == ["neutral"]


def test_esnli_training_rows_come_in_two_files(tmp_path):
    write_csv(tmp_path / "esnli_train_1.csv", esnli_home(ESNLI_ROWS[:3], 1))
    with pytest.raises(DatasetError, match=r"has no file esnli_train_2\.csv"):
        fetch_esnli("train", folder=tmp_path)
    write_csv(tmp_path / "esnli_train_2.csv", esnli_home(ESNLI_ROWS[3:], 1))
    rows = fetch_esnli("train", folder=tmp_path)
    assert rows.explanations == [["a dog is an animal"], [], ["a man is someone"]]
    write_csv(tmp_path / "train.csv", esnli_derived(ESNLI_ROWS[1:2]))
    assert len(fetch_esnli("train", folder=tmp_path)) == 1


def test_esnli_rows_are_drawn(tmp_path):
    many = [(f"p{i}", f"h{i}", "entailment", "", "", "") for i in range(50)]
    write_csv(tmp_path / "dev.csv", esnli_derived(many))

    def draw(seed):
        return fetch_esnli("dev", folder=tmp_path, n_rows=10, random_state=seed).groups

    assert draw(0) == draw(0) != draw(1)
    assert len(set(draw(0))) == 10
    numbers = [int(group[1:]) for group in draw(0)]
    assert numbers == sorted(numbers)
    assert len(fetch_esnli("dev", folder=tmp_path, n_rows=50)) == 50
    with pytest.raises(ValueError, match="dev has 50 rows with these labels"):
        fetch_esnli("dev", folder=tmp_path, n_rows=51)
    for n_rows in (0, -5, 10.0):  # before anything is fetched
        with pytest.raises(ValueError, match=r"n_rows=.* must be"):
            fetch_esnli("dev", folder=tmp_path / "nowhere", n_rows=n_rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "validation"}, "split='validation' is none of 'train', 'dev', 'test'"),
        ({"labels": ["entailed"]}, "labels="),
        ({"labels": []}, "labels="),
    ],
)
def test_esnli_names(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        fetch_esnli(folder=tmp_path, **options)


def test_esnli_of_other_labels_or_none(tmp_path):
    write_csv(tmp_path / "test.csv", esnli_derived([("p", "h", "Entailment", "", "", "")]))
    with pytest.raises(DatasetError, match=r"test\.csv has the labels \['Entailment'\], but those"):
        fetch_esnli(folder=tmp_path)
    write_csv(tmp_path / "test.csv", esnli_derived(ESNLI_ROWS[:1]))
    with pytest.raises(DatasetError, match="test has no rows with the labels entailment, contra"):
        fetch_esnli(folder=tmp_path)


def test_headers_without_rows(tmp_path):
    write_csv(tmp_path / "dev.csv", esnli_derived())
    for split, rows in CLINIFACT_ROWS.items():
        write_csv(tmp_path / f"{split}.csv", clinifact_derived(rows))
    for name in ("dev.csv", "test.csv"):
        file = tmp_path / name
        file.write_text(file.read_text().split("\n")[0] + "\n")
    with pytest.raises(DatasetError, match=r"dev\.csv has a header and no rows; give the file"):
        fetch_esnli("dev", folder=tmp_path)
    for split in ("test", "all"):
        with pytest.raises(DatasetError, match=r"test\.csv has a header and no rows"):
            fetch_clinifact(split, folder=tmp_path)


@needs_data
@pytest.mark.parametrize(
    ("split", "n_rows", "n_labels"),
    [
        ("dev", 9842, {"contradiction": 3278, "entailment": 3329, "neutral": 3235}),
        ("test", 9824, {"contradiction": 3237, "entailment": 3368, "neutral": 3219}),
    ],
)
def test_esnli_as_published(split, n_rows, n_labels):
    rows = fetch_esnli(split, labels=esnli.LABELS, folder=Path(DATA) / "esnli")
    assert len(rows) == n_rows
    assert pd.Series(rows.labels).value_counts().to_dict() == n_labels
    assert all(len(own) == 3 for own in rows.explanations)
    assert len(rows.texts) == n_rows
    assert len(fetch_esnli(split, folder=Path(DATA) / "esnli")) == n_rows - n_labels["neutral"]


def clinifact_derived(rows):
    names = ["index", "nctId", "PMID", "label"]
    return [
        dict(zip(names, row, strict=True))
        | {
            "claim": f"Drug {row[0]} is superior or other to None in terms of Pain after 2 weeks",
            "article_title": "A trial",
            "article_abstract": 'BACKGROUND: Pain, "bad".\nRESULTS: Less.',
        }
        for row in rows
    ]


def clinifact_home(rows):
    """The same rows as the public home has them."""
    home = []
    for row in clinifact_derived(rows):
        del row["claim"]
        row |= {
            "intervention_group_title": f"Drug {row['index']}",
            "comparator_group_title": "None",
            "outcome_title": "Pain",
            "outcome_timeFrame": "after 2 weeks",
            "nonInferiorityTypes": "['Superiority or Other']",
            "pValues": "['0.03', '<0.001']",
        }
        home.append(dict(reversed(row.items())))
    return home


CLINIFACT_ROWS = {
    "train": [(5, "NCT02", 11, 1), (6, "NCT03", 12, 0), (7, "NCT09", 13, 2)],
    "validation": [(8, "NCT03", 14, 0)],
    # the first shares a publication with a trial of "validation", the last nothing
    "test": [(9, "NCT01", 14, 1), (1, "NCT07", 15, 2)],
}


@pytest.mark.parametrize(
    ("suffix", "shape"), [(".csv", clinifact_derived), ("_set.csv", clinifact_home)]
)
def test_both_shapes_of_clinifact(tmp_path, suffix, shape):
    for split, rows in CLINIFACT_ROWS.items():
        write_csv(tmp_path / f"{split}{suffix}", shape(rows))
    test = fetch_clinifact("test", folder=tmp_path)
    assert test.records.to_dict("records")[0] == {
        "claim": "Drug 9 is superior or other to None in terms of Pain after 2 weeks",
        "article_title": "A trial",
        "article_abstract": 'BACKGROUND: Pain, "bad".\nRESULTS: Less.',
    }
    assert list(test.records.columns) == ["claim", "article_title", "article_abstract"]
    assert test.labels == ["supported", "unsupported"]
    assert test.explanations is None
    assert test.groups == ["NCT01", "NCT07"]
    train = fetch_clinifact(folder=tmp_path, binary=False)
    assert train.labels == ["supported", "inconclusive", "no information"]
    assert train.groups == ["NCT02", "NCT01", "NCT09"]
    assert rows_without_leak(test.groups, train.groups).tolist() == [False, True]
    whole = fetch_clinifact("all", folder=tmp_path)
    assert whole.groups == ["NCT02", "NCT01", "NCT09", "NCT01", "NCT01", "NCT07"]
    assert whole.take([4, 5]).texts == test.texts


def test_rows_without_a_trial_are_linked_by_their_publication(tmp_path):
    rows = {"train": [(5, "", 11, 1), (6, "", 12, 0)], "validation": [(7, "", 11, 2)]}
    for split in CLINIFACT_ROWS:
        own = rows.get(split, [(8, "NCT01", 12, 0)])
        write_csv(tmp_path / f"{split}.csv", clinifact_derived(own))
    assert fetch_clinifact("all", folder=tmp_path).groups == ["11", "12", "11", "12"]


@pytest.mark.parametrize(
    ("home", "wording"),
    [
        ("Superiority", "superior"),
        ("Non-Inferiority", "non-inferior"),
        ("Equivalence", "equivalent"),
        ("Non-Inferiority or Equivalence", "non-inferior or equivalent"),
    ],
)
def test_claims_are_worded_by_the_kind_of_comparison(tmp_path, home, wording):
    for split, rows in CLINIFACT_ROWS.items():
        table = clinifact_home(rows)
        for row in table:
            row["nonInferiorityTypes"] = f"['{home}']"
        write_csv(tmp_path / f"{split}_set.csv", table)
    claim = fetch_clinifact(folder=tmp_path).records["claim"][0]
    assert claim == f"Drug 5 is {wording} to None in terms of Pain after 2 weeks"


def test_clinifact_of_another_shape(tmp_path):
    with pytest.raises(DatasetError, match=r"has no file train\.csv or train_set\.csv"):
        fetch_clinifact("test", folder=tmp_path)
    rows = clinifact_home(CLINIFACT_ROWS["train"])
    rows[1]["nonInferiorityTypes"] = "['Better']"
    write_csv(tmp_path / "train.csv", rows)
    with pytest.raises(DatasetError, match=r"the kind of comparison \['Better'\]"):
        fetch_clinifact(folder=tmp_path)
    for row in rows:
        del row["outcome_title"]
    write_csv(tmp_path / "train.csv", rows)
    with pytest.raises(DatasetError, match="neither the column 'claim' nor 'outcome_title'"):
        fetch_clinifact(folder=tmp_path)
    write_csv(tmp_path / "train.csv", clinifact_derived([(5, "NCT02", 11, 3)]))
    with pytest.raises(DatasetError, match=r"has the labels \['3'\]"):
        fetch_clinifact(folder=tmp_path)
    with pytest.raises(ValueError, match="split='dev' is none of"):
        fetch_clinifact("dev", folder=tmp_path)


@needs_data
def test_clinifact_as_published():
    folder = Path(DATA) / "clinifact"
    splits = {name: fetch_clinifact(name, folder=folder) for name in clinifact.IDENTITIES}
    assert [len(split) for split in splits.values()] == [1260, 316, 394]
    for name in splits:
        table = read_table(folder / f"{name}.csv", clinifact.IDENTIFIERS)
        assert clinifact._identity(table) == clinifact.IDENTITIES[name]
    train = fetch_clinifact("train", binary=False, folder=folder)
    assert pd.Series(train.labels).value_counts().to_dict() == {
        "no information": 632,
        "supported": 366,
        "inconclusive": 262,
    }
    assert splits["train"].labels.count("supported") == 366


@needs_data
def test_how_far_clinifact_s_official_split_leaks():
    folder = Path(DATA) / "clinifact"
    tables = {name: pd.read_csv(folder / f"{name}.csv") for name in clinifact.IDENTITIES}
    trials = [tables[name]["nctId"] for name in tables]
    assert (~rows_without_leak(trials[2], trials[0], trials[1])).sum() == 248
    splits = [fetch_clinifact(name, folder=folder) for name in clinifact.IDENTITIES]
    groups = [split.groups for split in splits]
    assert (~rows_without_leak(groups[2], groups[0], groups[1])).sum() == 250


@needs_data
def test_clinifact_split_anew():
    rows = fetch_clinifact("all", folder=Path(DATA) / "clinifact")
    train, validation, test = leak_free_split(rows.groups, rows.labels, 0.2, 0.16, random_state=0)
    groups = [rows.take(part).groups for part in (train, validation, test)]
    assert rows_without_leak(groups[2], groups[0], groups[1]).all()
    assert rows_without_leak(groups[1], groups[0]).all()
    share = rows.labels.count("supported") / len(rows)
    for part in (train, validation, test):
        assert abs(rows.take(part).labels.count("supported") / len(part) - share) < 0.01
    assert abs(len(test) / len(rows) - 0.2) < 0.01
    assert abs(len(validation) / len(rows) - 0.16) < 0.01


@needs_data
def test_leaked_rows_are_the_easy_ones():
    """Bag of words does worse on rows whose trial it has not met."""
    folder = Path(DATA) / "clinifact"
    train, validation, test = (fetch_clinifact(n, folder=folder) for n in clinifact.IDENTITIES)
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
        LogisticRegression(C=10, max_iter=1000),
    ).fit(train.texts, train.labels)
    proba = model.predict_proba(test.texts)[:, list(model.classes_).index("supported")]
    gold = np.array(test.labels) == "supported"
    clean = rows_without_leak(test.groups, train.groups, validation.groups)
    assert roc_auc_score(gold, proba) > roc_auc_score(gold[clean], proba[clean]) + 0.02
