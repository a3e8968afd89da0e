"""The benchmarks run; what they measure is for people to look at."""

import itertools
import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from conftest import build_model

from skclsgen.backbone import load_base_model
from skclsgen.benchmark import __main__ as benchmark_main
from skclsgen.benchmark import roof
from skclsgen.benchmark.__main__ import NAMES, main
from skclsgen.benchmark.breakdown import time_by_kind
from skclsgen.benchmark.journal import Journal
from skclsgen.benchmark.measure import take_turns
from skclsgen.benchmark.parting import close_calls, spacing
from skclsgen.benchmark.roof import forward_flops, matrix_rate, training_flops
from skclsgen.benchmark.settings import Settings
from skclsgen.benchmark.tasks import load_task
from skclsgen.benchmark.usual import Generator
from skclsgen.datasets import load_messages
from skclsgen.dual_head import DualHead
from skclsgen.exceptions import DatasetError
from skclsgen.lora import LoraSettings

RATIOS = [
    *(
        f"{task}_time_to_auroc_vs_{dtype}"
        for task in ("esnli", "clinifact", "messages")
        for dtype in ("fp32", "bf16")
    ),
    *("predict_proba_vs_fp32", "predict_proba_vs_bf16", "explain_vs_bf16"),
    *("train_roof_share", "prefill_roof_share", "cv5_over_fit"),
    *("rows_exponent", "tokens_per_text_exponent", "peak_beside_store_gib"),
    *("quality_auroc_loss", "quality_explanation_loss_gain"),
]


@pytest.fixture
def public_data(tmp_path):
    """Files of the public data sets' shape, filled with the bundled messages."""
    messages = load_messages().train
    texts, reasons = list(messages.texts), list(messages.explanations)
    names = {"escalate": "entailment", "routine": "contradiction"}
    esnli = pd.DataFrame(
        {
            "premise": texts,
            "hypothesis": texts[::-1],
            "label": [names[label] for label in messages.labels],
            "explanation_1": reasons,
        }
    )
    (tmp_path / "esnli").mkdir()
    for file in ("dev.csv", "test.csv"):
        pd.concat([esnli] * 2).to_csv(tmp_path / "esnli" / file, index=False)
    clinifact = pd.DataFrame(
        {
            "index": range(len(texts)),
            "nctId": [f"NCT{row}" for row in range(len(texts))],
            "PMID": range(len(texts)),
            "claim": texts,
            "article_title": reasons,
            "article_abstract": texts[::-1],
            "label": [[1, 0, 2][row % 3] for row in range(len(texts))],
        }
    )
    (tmp_path / "clinifact").mkdir()
    for file in ("train.csv", "validation.csv", "test.csv"):
        clinifact.to_csv(tmp_path / "clinifact" / file, index=False)
    return tmp_path


def run(tmp_path, *arguments):
    file, chart = tmp_path / "speed.json", tmp_path / "speed.png"
    main(["speed", "--quick", "--json", str(file), "--chart", str(chart), *arguments])
    return json.loads(file.read_text()), chart


def test_quick_form_runs_every_measurement(tiny, tmp_path, public_data):
    found, chart = run(tmp_path, "--model", str(tiny), "--data", str(public_data))
    assert set(RATIOS) <= set(found["ratios"])
    shares = [found["ratios"][f"{name}_roof_share"] for name in ("train", "prefill")]
    assert all(0 < share < 1 for share in shares)
    assert set(found["measurements"]) == set(NAMES)
    for measured in found["measurements"].values():
        assert measured["environment"]["versions"]["torch"] == torch.__version__
        assert all(runs for runs in measured["runs"].values())
    assert chart.stat().st_size > 5_000
    assert chart.with_stem("speed-scaling").stat().st_size > 5_000


def test_measurements_are_added_to_what_is_there(tmp_path, monkeypatch):
    def measured(name, *arguments):
        return {"ratios": {f"{name}_ratio": 2.0}, "runs": {}}

    monkeypatch.setattr(benchmark_main, "run_measurement", measured)
    run(tmp_path, "--only", "cv")
    found, _ = run(tmp_path, "--only", "messages")
    assert set(found["measurements"]) == {"cv", "messages"}
    assert found["ratios"] == {"cv_ratio": 2.0, "messages_ratio": 2.0}


def test_generate_is_given_the_batches_that_are_said(tiny):
    """What comes behind the stop tokens is no batch size by accident."""
    base = load_base_model(tiny, dtype="float32")
    read = []
    generator = Generator(base.lm, base.tokenizer)
    genuine = base.lm.generate

    def generate(**given):
        read.append(len(given["input_ids"]))
        return genuine(**given)

    base.lm.generate = generate
    try:
        replies = generator([[5, 6, 7]] * 70, 2, [2])
    finally:
        del base.lm.generate
    assert len(replies) == 70
    assert read == [32, 32, 6]
    with pytest.raises(TypeError):
        generator([[5]], 2, [2], 22)


@pytest.mark.real
def test_quick_form_on_the_real_model(tmp_path):
    found, _ = run(tmp_path, "--only", "messages")
    runs = found["measurements"]["messages"]["runs"]
    assert len(runs) == 4
    assert all(0 <= turn["auroc"] <= 1 for turns in runs.values() for turn in turns)


def test_a_task_without_its_folder_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"has no file (test|dev)\.csv"):
        load_task("esnli", tmp_path)


def test_paths_take_turns():
    order = []
    take_turns({name: lambda turn, name=name: order.append(name) or {} for name in "ab"}, 2)
    assert order == ["a", "b", "a", "b"]


def test_aims_can_be_missed(tmp_path, monkeypatch):
    def measured(*arguments):
        return {"ratios": {"cv5_over_fit": 3.6}, "runs": {}}

    monkeypatch.setattr(benchmark_main, "run_measurement", measured)
    file = tmp_path / "speed.json"
    arguments = ["speed", "--only", "cv", "--check", "--json", str(file)]
    arguments += ["--chart", str(tmp_path / "speed.png")]
    with pytest.raises(SystemExit, match=r"not measured: .*predict_proba_vs_fp32.*cv5_over_fit"):
        main(arguments)
    assert "cv" in json.loads(file.read_text())["measurements"]
    monkeypatch.setattr(benchmark_main, "missed", lambda ratios: [])
    main(arguments)


def test_a_quick_run_cannot_be_held_against_aims(capsys):
    with pytest.raises(SystemExit):
        main(["speed", "--quick", "--check"])
    assert "--quick measures nothing" in capsys.readouterr().err


def test_a_killed_benchmark_goes_on_from_its_journal(tmp_path):
    file, ran = tmp_path / "runs.jsonl", []

    def path(turn):
        if turn == 1 and len(ran) == 1:
            raise KeyboardInterrupt
        ran.append(turn)
        return {"seconds": 1.0 + turn}

    with pytest.raises(KeyboardInterrupt):
        take_turns({"a": path}, 2, Journal(file, {"rows": 8}))
    ran.append("killed")
    found = take_turns({"a": path}, 2, Journal(file, {"rows": 8}))
    assert ran == [0, "killed", 1]
    assert [run["seconds"] for run in found["a"]] == [1.0, 2.0]
    take_turns({"a": path}, 1, Journal(file, {"rows": 9}))
    assert ran == [0, "killed", 1, 0]
    whole = file.read_text()
    file.write_text(whole + '{"heading"')  # as a kill in the middle of writing leaves it
    assert Journal(file, {"rows": 8}).find("a", 1)["seconds"] == 2.0
    assert file.read_text() == whole
    file.write_text(whole + '{"heading"\n')
    with pytest.raises(ValueError, match=r"line 4 of the journal .* remove the line"):
        Journal(file, {"rows": 8})


def test_other_settings_are_another_journal_but_more_turns_are_not(tmp_path):
    file = tmp_path / "runs.jsonl"
    settings = Settings(journal_file=file, rows=8)
    settings.journal("esnli").add("ours", 0, {"seconds": 1.0})
    assert replace(settings, repeats=5, our_epochs=(3,)).journal("esnli").find("ours", 0)
    assert replace(settings, rows=9).journal("esnli").find("ours", 0) is None
    assert settings.journal("clinifact").find("ours", 0) is None


def test_operations_are_those_counted_by_hand(tmp_path):
    base = load_base_model(build_model(tmp_path, "llama"), dtype="float32")
    net = DualHead(base, [1, 30], [[10], [11]], LoraSettings(2, 4, 8.0, 0.0))
    rows = [([5] * 6, [7] * 3), ([5] * 4, [])]
    tokens, words, layers, top = 13, 3, 3, 2
    # q and o 32 x 32, k and v 16 x 32, three of 48 x 32; adapters of rank 4 on each.
    frozen = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 48 * 32
    adapters = 4 * (2 * (32 + 32) + 2 * (16 + 32) + 3 * (48 + 32))
    # Nine tokens see 3, 4, ... 11 keys, four see 3, 4, 5, 6; four heads of width 8.
    attention = 4 * 4 * 8 * (sum(range(3, 12)) + sum(range(3, 7)))
    assert forward_flops(net.lm, rows, 2) == (
        2 * tokens * (layers * frozen + top * adapters) + layers * attention
    )
    assert training_flops(net.lm, net.depth, rows, 2) == (
        top * (tokens * (4 * frozen + 6 * adapters) + 3 * attention) + 4 * 400 * 32 * words
    )


def test_time_is_told_apart_by_kind():
    def run():
        x, frozen, low = torch.randn(512, 256), torch.randn(256, 512), torch.randn(512, 4)
        return ((x @ frozen) @ low).softmax(dim=-1)

    shares = time_by_kind(run, rank=4)
    assert sum(shares.values()) == pytest.approx(1)
    assert {"frozen layers' products", "adapters' products", "attention"} <= set(shares)
    assert shares["frozen layers' products"] > shares["adapters' products"]


def test_close_calls_are_counted_in_steps_of_rounding(tiny):
    """Where replies part, by how much one word was likelier than the other."""
    lm = load_base_model(tiny, dtype="bfloat16").lm
    prompt, shared = [1, 30, 40], [50, 51]
    with torch.no_grad():
        logits = lm(torch.tensor([[*prompt, *shared]])).logits[0, -1].float()
    best, second = logits.topk(2).indices.tolist()
    step = spacing(float(logits[best]), torch.bfloat16)
    ours = [[*shared, best, 60], [50], [50, 51]]
    theirs = [[*shared, second], [50], [50]]
    (found,) = close_calls(lm, [prompt] * 3, ours, theirs)
    assert found == pytest.approx(float(logits[best] - logits[second]) / step)
    assert found >= 0
    assert spacing(1.0, torch.bfloat16) == 2**-7
    assert spacing(-3.0, torch.float32) == 2**-22


def test_part_of_a_task_keeps_rows_together():
    task = load_task("messages", None)
    part = task.part(0.25, seed=1)
    kept = round(0.25 * len(task.texts))
    assert len(part.texts) == len(part.labels) == len(part.explanations) == kept
    where = {text: row for row, text in enumerate(task.texts)}
    rows = [where[text] for text in part.texts]
    assert part.labels == [task.labels[row] for row in rows]
    assert part.explanations == [task.explanations[row] for row in rows]
    assert set(part.labels) == set(task.labels)
    assert task.part(1, seed=1) is task


def test_the_matrix_rate_counts_a_product_and_a_sum_each(monkeypatch):
    ticks = itertools.count()  # every product takes one second
    monkeypatch.setattr(roof.time, "perf_counter", lambda: float(next(ticks)))
    assert matrix_rate(torch.float32, torch.device("cpu"), repeats=1) == 2 * roof.SIDE**3
