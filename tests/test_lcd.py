import csv
import gzip
import hashlib
import json
import zlib

import pandas as pd
import pytest

from skclsgen.datasets import lcd, load_lcd
from skclsgen.exceptions import DatasetError

NOTE = (
    'Name:  ___                Unit No:   _____\n \nHe said "it&#039;s fine".\r\n\tWeight: 70 kg_\n'
)
PLAIN = "Name: Unit No: <cr> <cr> He said it's fine. <cr> <cr> Weight: 70 kg_ <cr>"


def lcd_key(note_id, text):
    """Compute the key digit by digit."""
    parts = (note_id, text, "Landmark Center 401 park drive")
    columns = zip(*(hashlib.sha256(part.encode()).hexdigest() for part in parts), strict=True)
    digits = "".join(f"{int(a, 16) ^ int(b, 16) ^ int(c, 16):x}" for a, b, c in columns)
    return "0x" + digits.lstrip("0")[:30]


@pytest.fixture
def lcd_files(tmp_path):
    """Ten invented notes, of which six are labelled."""
    notes = [
        {
            "note_id": f"{100 + n // 2}-DS-{n}",
            "subject_id": 100 + n // 2,
            "hadm_id": 200 + n,
            "note_type": "DS",
            "note_seq": n,
            "charttime": "2199-12-29 00:00:00",
            "storetime": "",
            "text": f"{NOTE}Note {n}, NA.\n",
        }
        for n in range(10)
    ]
    with (tmp_path / "discharge.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(notes[0]))
        writer.writeheader()
        writer.writerows(notes)
    parts = {1: "train", 3: "train", 4: "dev", 6: "test", 7: "test", 8: "test"}
    labels = {
        lcd_key(notes[n]["note_id"], f"{PLAIN} Note {n}, NA. <cr>"): {
            "data_type": part,
            "out_hospital_mortality_30": int(n in (3, 7)),
        }
        for n, part in parts.items()
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    return tmp_path / "discharge.csv", tmp_path / "labels.json"


def test_notes_are_worded_and_keyed_as_in_the_benchmark():
    assert lcd.benchmark_text(NOTE) == PLAIN
    assert lcd.benchmark_text('a_"_b ___c\u00a0d') == "ab c d"
    for number in range(40):  # some keys start with a zero
        assert lcd.note_key(str(number), "text") == lcd_key(str(number), "text")


@pytest.mark.parametrize("chunk", [3, 5000])
def test_lcd(lcd_files, monkeypatch, chunk):
    monkeypatch.setattr(lcd, "CHUNK", chunk)
    rows = load_lcd(*lcd_files)
    assert rows.records["discharge_note"].tolist() == [
        f"{PLAIN} Note {n}, NA. <cr>" for n in (6, 7, 8)
    ]
    assert rows.labels == ["survived", "died", "survived"]
    assert rows.groups == ["103", "103", "104"]
    assert rows.explanations is None
    assert load_lcd(*lcd_files, "train").labels == ["survived", "died"]
    assert load_lcd(*lcd_files, split="dev").groups == ["102"]
    assert len(load_lcd(*lcd_files, split="all")) == 6


def test_lcd_reads_compressed_notes(lcd_files):
    notes, labels = lcd_files
    packed = notes.with_name("discharge.csv.gz")
    packed.write_bytes(gzip.compress(notes.read_bytes()))
    assert load_lcd(packed, str(labels)).texts == load_lcd(str(notes), labels).texts
    packed.write_bytes(packed.read_bytes()[:100])
    with pytest.raises(DatasetError, match="cannot be read as a CSV file"):
        load_lcd(packed, labels)


def test_lcd_notes_that_do_not_unpack(lcd_files):
    notes, labels = lcd_files
    rows = "".join(
        f"{n}-DS-2,{n},{hashlib.sha256(str(n).encode()).hexdigest()}\n" for n in range(200)
    )
    packed = bytearray(gzip.compress(("note_id,subject_id,text\n" + rows).encode()))
    packed[30:50] = bytes(20)
    with pytest.raises(zlib.error):
        gzip.decompress(packed)
    file = notes.with_name("discharge.csv.gz")
    file.write_bytes(packed)
    with pytest.raises(
        DatasetError, match=r"cannot be read as a CSV file .* give the discharge\.csv"
    ):
        load_lcd(file, labels)


def test_lcd_passes_over_rows_cut_short(lcd_files):
    notes, labels = lcd_files
    header, rest = notes.read_bytes().split(b"\n", 1)
    notes.write_bytes(header + b"\n1-DS-3,4\n" + rest)
    assert len(load_lcd(notes, labels)) == 3


def test_lcd_stops_where_all_is_found(lcd_files, monkeypatch):
    read = []
    key = lcd.note_key
    monkeypatch.setattr(lcd, "note_key", lambda *a: read.append(a) or key(*a))
    load_lcd(*lcd_files, "dev")
    assert len(read) == 5


def test_lcd_counts_missing_notes(lcd_files):
    notes, labels = lcd_files
    table = pd.read_csv(notes, dtype=str, keep_default_na=False)
    table.loc[7, "text"] = "changed"
    table.drop(index=8).to_csv(notes, index=False)
    with pytest.raises(DatasetError, match=r"has 1 of the 3 notes .* 2 are missing"):
        load_lcd(notes, labels)
    assert len(load_lcd(notes, labels, "train")) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "a list, not an object"),
        ("{}", "has no notes of split='test'"),
        ('{"0x1": 5}', "not a label file"),
        ('{"0x1": {"data_type": "test", "out_hospital_mortality_60": 0}}', "mortality_30"),
        ('{"0x1": {"data_type": "test", "out_hospital_mortality_30": 2}}', "KeyError: '2'"),
    ],
)
def test_lcd_labels_of_another_shape(lcd_files, content, message):
    notes, labels = lcd_files
    labels.write_text(content)
    with pytest.raises(DatasetError, match=message):
        load_lcd(notes, labels)


def test_lcd_arguments(lcd_files, tmp_path):
    notes, labels = lcd_files
    with pytest.raises(ValueError, match="split='validation' is none of"):
        load_lcd(notes, labels, "validation")
    with pytest.raises(DatasetError, match=r"is not a file; give the discharge\.csv"):
        load_lcd(tmp_path / "none.csv", labels)
    with pytest.raises(DatasetError, match="FileNotFoundError"):
        load_lcd(notes, tmp_path / "none.json")
    with pytest.raises(DatasetError, match="not a label file of the benchmark for days=60"):
        load_lcd(notes, labels, days=60)
    notes.write_text("note_id,text\n1,a\n")
    with pytest.raises(DatasetError, match="with the columns note_id, subject_id, text"):
        load_lcd(notes, labels)
