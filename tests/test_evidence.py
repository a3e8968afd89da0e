"""The evidence is gathered, scored and reported; what it shows is for people to look at."""

import copy
import json
import multiprocessing
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import build_model
from scipy import stats
from sklearn.metrics import roc_auc_score

from skclsgen import prompt, self_written
from skclsgen.baselines import LinearProbe, questions
from skclsgen.benchmark.__main__ import main
from skclsgen.benchmark.evidence import before_after, cohorts, command, prompts, run
from skclsgen.benchmark.evidence.aims import judge_aims
from skclsgen.benchmark.evidence.arms import ARMS, JOINT
from skclsgen.benchmark.evidence.before_after import writing_tests
from skclsgen.benchmark.evidence.cohorts import draw, load_cohort
from skclsgen.benchmark.evidence.general_text import general_texts
from skclsgen.benchmark.evidence.plots import _first, draw_reliability, draw_roc
from skclsgen.benchmark.evidence.prompts import prompts_digest
from skclsgen.benchmark.evidence.scores import _over_fits, compare, score
from skclsgen.benchmark.evidence.settings import EvidenceSettings
from skclsgen.benchmark.evidence.store import RunStore
from skclsgen.benchmark.evidence.tables import cell
from skclsgen.benchmark.evidence.writing import Simulator, Spoken, _simulatability
from skclsgen.datasets import fetch_clinifact, fetch_esnli
from skclsgen.exceptions import FallbackWarning
from skclsgen.metrics import repetition
from skclsgen.model_source import find_base_model

SETTINGS = EvidenceSettings("messages", seeds=2, test_rows=120)


def call(folder, *arguments):
    base = ["evidence", "--dataset", "messages", "--quick"]
    base += ["--work", str(folder / "runs"), "--report", str(folder / "report")]
    return main([*base, "--json", str(folder / "evidence.json"), *arguments])


def test_quick_form_runs_every_arm_and_goes_on_where_it_stopped(tiny, tmp_path, monkeypatch):
    with pytest.warns(FallbackWarning, match="for none of the 28 texts"):  # by a random model
        call(tmp_path, "--model", tiny, "--memory", str(tmp_path / "memory"))
    assert any((tmp_path / "memory").rglob("*"))
    found = json.loads((tmp_path / "evidence.json").read_text())
    assert {entry["arm"] for entry in found["scores"]} == set(ARMS)
    assert {entry["b"] for entry in found["comparisons"]} == set(ARMS) - {JOINT}
    aurocs = [entry["value"] for entry in found["scores"] if entry["metric"] == "auroc"]
    assert all(0 <= value <= 1 for value in aurocs)
    assert {entry["seed"] for entry in found["scores"] if entry["arm"] == JOINT} == {0, 1}
    measures = {test["metric"]: test for test in found["explanations"]}
    expected = {"groundedness_lift", "base_nll", before_after.VARIETY, before_after.REPETITION}
    assert set(measures) >= expected
    alone = (test for name, test in measures.items() if not name.endswith("at_equal_length"))
    assert all(test["people"] is not None for test in alone)
    assert set(found["language"]) == {"0", "1"}
    for own in ("self_written", "self_explained"):
        assert set(found[own]["language"]) == {"0"}
        assert len(found[own]["aims"]) == 6
    assert found["reported_by"]["versions"]["torch"]
    assert len(found["runs"]) == len({(run["arm"], run["seed"]) for run in found["runs"]})
    assert {run["arm"] for run in found["runs"]} == set(ARMS)
    assert all(run["environment"]["versions"]["torch"] for run in found["runs"])
    used = {run["arm"]: run["fingerprint"] for run in found["runs"]}
    assert used["tfidf"] is None
    assert used[JOINT] == find_base_model(tiny).fingerprint
    report = tmp_path / "report"
    text = (report / "messages.md").read_text()
    assert all(arm.title in text for arm in ARMS.values())
    slow = ("3 epochs, 24 rows to learn from", "Generation-only LoRA, 24 rows to learn from")
    assert [text.count(title) for title in ("24 rows to learn from", *slow)] == [4, 2, 2]
    assert "<table>" in (report / "messages.html").read_text()
    pictures = {file.name: file.stat().st_size for file in report.glob("*.png")}
    written = ("explanations", "explanations-joint_self", "explanations-joint_explain")
    kinds = ("auroc", "roc", "reliability", *written)
    assert set(pictures) == {f"messages-{kind}.png" for kind in kinds}
    assert min(pictures.values()) > 5_000

    def never(*arguments):
        raise AssertionError("a finished run was run again")

    monkeypatch.setattr(command, "run_arm", never)
    again = call(tmp_path, "--model", tiny)
    assert again["scores"] == found["scores"]
    for seed in (0, 1):
        (tmp_path / "runs" / "messages" / f"generation-{seed}.json").unlink()
    short = call(tmp_path, "--model", tiny, "--finished")
    assert {entry["arm"] for entry in short["scores"]} == set(ARMS) - {"generation"}
    with pytest.raises(SystemExit, match="epochs 1 instead of 2; name another folder"):
        call(tmp_path, "--model", tiny, "--epochs", "2")
    assert all(aim["name"] in text for aim in found["aims"])
    assert text.count("no measure of explanations worse") == 3  # once for each that writes
    missed = [aim["name"] for aim in short["aims"] if not aim["holds"]]
    assert missed  # of a random model
    numbers = [f"--{name.replace('_', '-')}={number}" for name, number in command.QUICK.items()]
    arguments = ["evidence", "--dataset", "messages", "--model", tiny, "--finished", *numbers]
    arguments += ["--work", str(tmp_path / "runs"), "--report", str(report)]
    main(arguments)
    with pytest.raises(SystemExit) as failed:
        main([*arguments, "--check"])
    assert all(name in str(failed.value) for name in missed)


def finding(arm, difference=0.1, p=0.001):
    return {"b": arm, "difference": difference, "p_adjusted": p, "p_inferior": p}


def measure(metric, difference, more_is_better, p=0.001):
    return {
        "metric": metric,
        "difference": difference,
        "more_is_better": more_is_better,
        "p_adjusted": p,
    }


def aims_of(comparisons=(), tests=(), kappa=0.95, observed=0.8, rise=0.01):
    rng = np.random.default_rng(0)
    base = rng.normal(3, 0.1, 40)
    tuned = base + rise + rng.normal(0, 1e-3, 40)
    own = {
        "alignment": {
            "stated": {"auroc_alignment": 0.99, "kappa": kappa},
            "observer": {"auroc_alignment": 0.9, "kappa": observed},
        },
        "language": {"base": base, "tuned": tuned, "kl": base, "pages": list(range(40))},
    }
    good = copy.deepcopy(own)
    good["alignment"]["stated"]["kappa"] = 1.0
    every = {arm: finding(arm) for arm in ARMS if arm != JOINT} | {c["b"]: c for c in comparisons}
    measures = [
        measure("simulatability", 0.1, True),
        measure("repetition", -0.1, False),
        measure("words", -20, None),
    ]
    written = {test["metric"]: test for test in [*measures, *tests]}
    return judge_aims([*every.values()], [good, own], [*written.values()])


def test_aims_hold_where_everything_is_shown():
    assert len(aims_of()) == 10
    assert all(aim.holds for aim in aims_of())


@pytest.mark.parametrize(
    ("shortfall", "aim", "found"),
    [
        ({"comparisons": [finding("p_true", p=0.06)]}, "prompting arm", "shown for 9 of 10"),
        ({"comparisons": [finding("label", -0.1)]}, "prompting arm", "shown for 9 of 10"),
        ({"comparisons": [finding("tfidf_overlap", p=0.5)]}, "TF-IDF", r"to TF-IDF \+ overlap"),
        ({"comparisons": [finding("cnn", p=0.5)]}, "TF-IDF", "to Sentence CNN, p = 0.5000"),
        ({"comparisons": [finding("probe", -0.01, 1)]}, "linear probe", "-0.010 to Linear probe"),
        ({"comparisons": [finding("classification", 0, 0.2)]}, "classification", "p = 0.2"),
        ({"kappa": 0.89}, "stated label and head: kappa", "0.890"),
        ({"observed": 0.6}, "masked observer", "0.600"),
        ({"kappa": None}, "stated label and head: kappa", "not measured"),
        ({"tests": [measure("repetition", 0.1, False)]}, "no measure", "worse: repetition"),
        ({"tests": [measure("ended", -0.1, True)]}, "no measure", "worse: ended"),
        ({"tests": [measure("simulatability", 0.1, True, 0.2)]}, "simulatability better", "0.2"),
        ({"rise": 0.0499}, "log-perplexity", r"\+0.05"),
    ],
)
def test_every_aim_can_be_missed(shortfall, aim, found):
    (missed,) = (own for own in aims_of(**shortfall) if not own.holds)
    assert re.search(aim, missed.name)
    assert re.search(found, missed.found)


def test_what_is_not_worse_by_chance_is_not_held_against_the_model():
    assert all(aim.holds for aim in aims_of(tests=[measure("ended", -0.1, True, p=0.06)]))


def test_nothing_measured_shows_nothing():
    aims = judge_aims([], [], [])
    assert not any(aim.holds for aim in aims)
    assert {aim.found.partition(":")[0] for aim in aims} == {"not measured"}


def test_the_command_fails_if_an_aim_is_missed(tmp_path, capsys):
    arguments = ["evidence", "--dataset", "messages", "--check", "--finished", "--seeds", "1"]
    arguments += ["--work", str(tmp_path / "none"), "--report", str(tmp_path / "report")]
    with pytest.raises(SystemExit, match="no run of the joint model"):
        main(arguments)
    with pytest.raises(SystemExit):
        main([*arguments, "--quick"])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.real
def test_quick_form_on_the_real_model(tmp_path):
    found = call(tmp_path, "--arms", "joint", "label", "tfidf", "--seeds", "1")
    by_arm = {e["arm"]: e["value"] for e in found["scores"] if e["metric"] == "auroc"}
    assert set(by_arm) == {"joint", "label", "tfidf"}
    language = found["language"]["0"]
    assert 2 < language["base"] < 5
    assert abs(language["change"]) < 0.5
    written = {test["metric"]: test for test in found["explanations"]}
    assert written["words"]["base"] > 3
    assert written["base_nll"]["joint"] > 0


def test_parts_of_a_cohort_share_nothing():
    first, second = (load_cohort(SETTINGS, seed) for seed in (0, 1))
    for field in ("texts", "groups"):
        a, b, c = (
            set(getattr(part, field)) for part in (first.train, first.development, first.test)
        )
        assert not a & b | a & c | b & c
    assert first.test.texts == second.test.texts
    assert first.development.texts == second.development.texts
    small = replace(SETTINGS, train_rows=100)
    drawn = [load_cohort(small, seed).train.texts for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(first.test) == 120
    assert set(first.targets(first.test)) == {0, 1}


@pytest.fixture
def public_rows(tmp_path):
    """Files of the public data sets' shape, whose rows share premises, trials and publications."""
    rng = np.random.default_rng(0)
    for split, rows, premises in (("dev", 400, 160), ("test", 400, 240)):
        source = rng.integers(premises, size=rows) + (0 if split == "dev" else 140)
        table = pd.DataFrame(
            {
                "premise": [f"premise {number}" for number in source],
                "hypothesis": [f"hypothesis {split} {row}" for row in range(rows)],
                "label": rng.choice(["entailment", "contradiction", "neutral"], rows),
                "explanation_1": "because",
            }
        )
        (tmp_path / "esnli").mkdir(exist_ok=True)
        table.to_csv(tmp_path / "esnli" / f"{split}.csv", index=False)
    for split, rows in (("train", 150), ("validation", 40), ("test", 50)):
        table = pd.DataFrame(
            {
                "index": range(rows),
                "nctId": [f"NCT{number}" for number in rng.integers(120, size=rows)],
                "PMID": rng.integers(400, size=rows),
                "claim": [f"claim {split} {row}" for row in range(rows)],
                "article_title": "title",
                "article_abstract": "abstract",
                "label": rng.integers(3, size=rows),
            }
        )
        (tmp_path / "clinifact").mkdir(exist_ok=True)
        table.to_csv(tmp_path / "clinifact" / f"{split}.csv", index=False)
    return tmp_path


def parts_of(cohort):
    return cohort.train, cohort.development, cohort.test


def test_no_premise_is_on_two_sides_or_was_looked_at(public_rows, monkeypatch):
    """1,500 rows of the test file were, while the package was made."""
    monkeypatch.setattr(cohorts, "LOOKED_AT", 60)
    settings = EvidenceSettings("esnli", data=public_rows, train_rows=80, development_rows=40)
    everything = fetch_esnli("test", folder=public_rows / "esnli")
    seen = pd.Series(range(len(everything))).sample(60, random_state=0).tolist()
    seen = set(everything.take(seen).groups)
    first, second = (parts_of(load_cohort(settings, seed)) for seed in (0, 1))
    a, b, c = (set(part.groups) for part in first)
    assert not a & b | a & c | b & c
    assert not c & seen
    assert len(first[2]) > 50
    assert first[2].texts == second[2].texts
    assert first[0].texts != second[0].texts
    assert {label for part in first for label in part.labels} == {"entailment", "contradiction"}


def test_every_row_is_judged_by_once_over_the_folds(public_rows):
    settings = EvidenceSettings("clinifact-grouped", data=public_rows, train_rows=2000)
    judged = []
    for fold in range(cohorts.FOLDS):
        a, b, c = (set(part.groups) for part in parts_of(load_cohort(settings, fold)))
        assert not a & b | a & c | b & c
        judged += load_cohort(settings, fold).test.texts
    everything = fetch_clinifact("all", folder=public_rows / "clinifact")
    assert sorted(judged) == sorted(everything.texts)
    with pytest.raises(ValueError, match="there are 5 folds"):
        load_cohort(settings, cohorts.FOLDS)


def test_the_official_split_is_the_files_own(public_rows):
    settings = EvidenceSettings("clinifact", data=public_rows, train_rows=2000)
    for part, split in zip(
        parts_of(load_cohort(settings, 0)), ("train", "validation", "test"), strict=True
    ):
        assert part.texts == fetch_clinifact(split, folder=public_rows / "clinifact").texts


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (prompt, "ANSWER_CUE"),
        (self_written, "OPENING"),
        (questions, "P_TRUE"),
        (questions, "CONTENT_FREE"),
        (prompts, "OBSERVER"),
    ],
)
def test_what_words_prompts_is_in_the_digest(monkeypatch, module, name):
    before = prompts_digest()
    found = getattr(module, name)
    other = "Other" if isinstance(found, str) else questions.Asked("Other", "words")
    monkeypatch.setattr(module, name, ("other",) if isinstance(found, tuple) else other)
    assert prompts_digest() != before


def test_the_committed_runs_had_this_wording():
    """Worded anew, they would have to be made anew."""
    files = list((Path(__file__).parents[1] / "docs" / "evidence" / "runs").glob("*/*.json"))
    assert len(files) > 100
    wordings = {json.loads(file.read_text())["heading"]["prompts"] for file in files}
    assert wordings == {prompts_digest()}


def runs_of(cohort, **quality):
    """Made-up runs: probabilities that know the truth to a given degree."""
    runs = {}
    for arm, known in quality.items():
        rng = np.random.default_rng(len(runs))
        own = {}
        for seed in range(5 if ARMS[arm].seeds else 1):
            proba = {}
            for part in ("development", "test"):
                targets = cohort.targets(getattr(cohort, part))
                proba[part] = 1 / (
                    1 + np.exp(-known * (2 * targets - 1) - rng.normal(size=len(targets)))
                )
            own[seed] = {"proba": proba}
        runs[arm] = own
    return runs


def test_scores_are_those_of_the_probabilities():
    cohort = load_cohort(SETTINGS, 0)
    runs = runs_of(cohort, joint=1.5, label=0.0)
    scored = score(runs, dict.fromkeys(range(5), cohort))
    targets = cohort.targets(cohort.test)
    for seed, run_of_seed in runs["joint"].items():
        expected = roc_auc_score(targets, run_of_seed["proba"]["test"])
        assert scored["joint"].by_seed[seed]["auroc"] == pytest.approx(expected)
    mean, low, high = scored["joint"].auroc
    assert mean == pytest.approx(scored["joint"].mean("auroc"))
    assert low < mean < high
    assert scored["joint"].mean("log_loss") < scored["label"].mean("log_loss")


def test_comparisons_tell_a_difference_from_none():
    cohort = load_cohort(SETTINGS, 0)
    same = dict.fromkeys(range(5), cohort)
    runs = runs_of(cohort, joint=1.2, label=0.0, classification=1.2)
    found = {entry["b"]: entry for entry in compare(score(runs, same), same)}
    worse = found["label"]
    assert worse["low"] > 0.1
    assert worse["p"] < worse["p_adjusted"] < 0.01
    alike = found["classification"]
    assert alike["low"] < 0 < alike["high"]
    assert alike["p"] > 0.05
    assert worse["seeds"] == alike["seeds"] == 5
    runs["classification"] = runs["joint"]
    equal = {e["b"]: e for e in compare(score(runs, same), same)}["classification"]
    assert (equal["difference"], equal["p"]) == (0, 1)
    assert equal["p_inferior"] < 0.001


def test_fits_that_differ_are_no_proof():
    """Five fits of which two go the other way, all on the same, plentiful rows."""
    given = np.array([0.03, 0.03, 0.03, -0.01, -0.01])
    rows = np.random.default_rng(0).normal(scale=0.001, size=(1, 20_000))
    low, high = np.quantile(
        _over_fits(given, given[:, None] + rows, own_rows=False), [0.025, 0.975]
    )
    expected = stats.t.interval(0.95, 4, loc=given.mean(), scale=stats.sem(given))
    assert (low, high) == pytest.approx(expected, abs=0.002)


def test_rows_of_folds_are_not_counted_twice():
    """What folds with rows of their own differ by holds what their rows do."""
    given = np.array([0.3, 0.1, 0.2, 0.0, 0.4])
    rows = np.random.default_rng(0).normal(scale=0.3, size=(5, 20_000))
    found = _over_fits(given, given[:, None] + rows, own_rows=True)
    expected = stats.t.interval(0.95, 4, loc=given.mean(), scale=stats.sem(given))
    assert np.quantile(found, [0.025, 0.975]) == pytest.approx(expected, abs=1e-3)


def test_folders_of_one_name_are_told_apart(tiny, tmp_path):
    """Or runs of one checkpoint would be taken for another's."""
    folders = [shutil.copytree(tiny, tmp_path / name / "checkpoint-300") for name in "ab"]
    names = [replace(SETTINGS, model=str(folder)).heading()["model"] for folder in folders]
    assert names[0] == names[1]
    assert names[0].startswith("checkpoint-300 ")
    build_model(folders[1], "qwen2")
    other = replace(SETTINGS, model=str(folders[1])).heading()["model"]
    assert other != names[0]


def test_nearly_all_rows_can_be_drawn():
    part = load_cohort(SETTINGS, 0).train
    for rows in range(len(part) - 2, len(part) + 2):
        assert len(draw(part, rows, 0)) == min(rows, len(part))


def test_ranks_do_not_suffer_from_scaling():
    cohort = load_cohort(SETTINGS, 0)
    proba = {
        part: 0.1 + 0.6 * cohort.targets(getattr(cohort, part)) for part in ("development", "test")
    }
    negative = np.flatnonzero(cohort.targets(cohort.test) == 0)[0]
    proba["test"][negative] = 0.699  # below every positive, but once scaled all of them are 1
    scored = score({"joint": {0: {"proba": proba}}}, {0: cohort})["joint"]
    assert scored.proba[0][negative] == scored.proba[0].max() == 1
    assert scored.by_seed[0]["auroc"] == 1


def folds_of(cohort):
    """Two halves of a cohort's test rows, as if each were a fold."""
    halves = (range(0, 60), range(60, len(cohort.test)))
    return {seed: replace(cohort, test=cohort.test.take(rows)) for seed, rows in enumerate(halves)}


def test_a_fold_that_is_missing_is_neither_guessed_nor_fatal(tmp_path):
    folds = folds_of(load_cohort(SETTINGS, 0))
    runs = {"joint": {}, "label": {}, "trainer": {}}
    for seed, cohort in folds.items():
        own = runs_of(cohort, joint=2.0, label=0.0, trainer=1.0)
        for arm in runs:
            runs[arm][seed] = own[arm][0]
    del runs["joint"][0], runs["trainer"][1]
    scored = score(runs, folds)
    (entry,) = compare(scored, folds)
    assert (entry["b"], entry["seeds"], entry["rows"]) == ("label", 1, len(folds[1].test))
    seed, target, proba = _first(scored["joint"].raw, folds)
    assert roc_auc_score(target, proba) == scored["joint"].by_seed[seed]["auroc"]
    titles = {arm: arm for arm in scored}
    draw_roc(scored, titles, folds, tmp_path / "roc.png")
    draw_reliability(scored, titles, folds, tmp_path / "reliability.png")


def test_all_arms_are_scored_on_the_folds_that_the_joint_model_has(
    public_rows, tmp_path, monkeypatch
):
    options = {"epochs": 3, "train_rows": 2000}
    settings = EvidenceSettings("clinifact-grouped", data=public_rows, **options)
    told = {"joint": (1, 2), "probe": (0, 1, 2), "label": (0,)}
    for arm, folds in told.items():
        for fold in folds:
            heading = settings.heading() | {"rows": load_cohort(settings, fold).digest()}
            RunStore(tmp_path / settings.dataset, {fold: heading}).save(arm, fold, {"fold": fold})
    given = {}

    def take_note(runs, cohorts):
        given.update(runs={arm: sorted(own) for arm, own in runs.items()}, folds=sorted(cohorts))
        raise InterruptedError

    monkeypatch.setattr(command, "score", take_note)
    asked = ["evidence", "--dataset", settings.dataset, "--data", str(public_rows), "--seeds", "5"]
    asked += [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    with pytest.raises(InterruptedError):
        main([*asked, "--finished", "--work", str(tmp_path)])
    assert given == {"runs": {"joint": [1, 2], "probe": [1, 2]}, "folds": [1, 2]}


def test_simulators_choose_their_penalty_by_other_sources(tiny, monkeypatch):
    fitted, fit = [], Simulator.fit

    def take_note(own, texts, labels, groups=None):
        fitted.append(groups)
        return fit(own, texts, labels, groups)

    monkeypatch.setattr(Simulator, "fit", take_note)
    told = load_cohort(SETTINGS, 0)
    parts = [told.development.take(range(20)), told.test.take(range(20))]
    spoken = [Spoken(part, [0, 1] * 10, part.reasons, [True] * 20) for part in parts]
    probe = Simulator(tiny, layers=(0.75,), pooling=("last",), random_state=0)
    gains, terms, _ = _simulatability(probe, *spoken)
    assert len(gains) == len(terms) == 20
    assert fitted == [parts[0].groups] * 3


def test_simulators_read_the_texts_of_all_writers_once(tiny, monkeypatch):
    told = load_cohort(SETTINGS, 0)
    parts = [told.development.texts[:20], told.test.texts[:20]]
    once = Simulator(tiny, layers=(0.75,), pooling=("last",), random_state=0)
    features, read = LinearProbe._features, []
    monkeypatch.setattr(
        LinearProbe, "_features", lambda own, *given: read.append(own) or features(own, *given)
    )
    for labels in (["yes", "no"] * 10, ["yes"] * 12 + ["no"] * 8):  # of two writers
        plain = LinearProbe(tiny, layers=(0.75,), pooling=("last",), random_state=0)
        expected = plain.fit(parts[0], labels).predict_proba(parts[1])
        assert (once.fit(parts[0], labels).predict_proba(parts[1]) == expected).all()
    assert read.count(once) == 2


def writing_of(**reasons):
    quality = {
        writer: {"rows": {"words": [float(len(reason)) for reason in own]}, "reasons": own}
        for writer, own in reasons.items()
    }
    return {"quality": quality}


def test_explanations_are_compared_row_by_row_and_in_their_variety(monkeypatch):
    monkeypatch.setattr(before_after, "ROW_MEASURES", {"words": None})
    varied = [f"word{row} other{row} third{row}" for row in range(20)]
    same = ["one two three"] * 20
    groups = [str(row) for row in range(20)]
    writing = writing_of(joint=varied, base=same, people=varied)
    length, repeated, variety = writing_tests(writing, groups, "base")
    assert (repeated["joint"], repeated["base"], repeated["p"]) == (0.0, 0.0, 1.0)
    assert length["difference"] == np.mean([len(own) for own in varied]) - len(same[0])
    assert length["p"] < 0.001
    assert (variety["joint"], variety["people"]) == (1.0, None)
    assert variety["base"] == 2 / 40
    assert variety["difference"] == pytest.approx(0.95)
    assert variety["p"] < 0.01
    assert variety["p_adjusted"] >= variety["p"]
    *_, none = writing_tests(writing_of(joint=varied, base=varied), groups, "base")
    assert none["people"] is None
    assert none["p"] == 1.0
    single = writing_of(joint=varied, base=["no"] * 20)
    *_, unknown = writing_tests(single, groups, "base")
    assert np.isnan(unknown["p"])  # there are no two words to count


def test_an_arm_on_fewer_rows_is_compared_on_those():
    cohort = load_cohort(SETTINGS, 0)
    runs = runs_of(cohort, joint=1.2, tournament=0.0)
    runs["tournament"] = {
        0: {"proba": {k: v[:50] for k, v in runs["tournament"][0]["proba"].items()}}
    }
    same = dict.fromkeys(range(5), cohort)
    scored = score(runs, same)
    (entry,) = compare(scored, same)
    assert (entry["rows"], entry["seeds"]) == (50, 1)
    targets = cohort.targets(cohort.test)[:50]
    own = [roc_auc_score(targets, scored[arm].proba[0][:50]) for arm in ("joint", "tournament")]
    assert entry["difference"] == pytest.approx(own[0] - own[1])


def test_runs_of_other_settings_are_neither_used_nor_lost(tmp_path):
    store = RunStore(tmp_path, {0: {"epochs": 2, "rows": "a"}, 1: {"epochs": 2, "rows": "b"}})
    store.save("joint", 0, {"seconds": 1.0})
    assert store.find("joint", 0) == {"seconds": 1.0}
    assert store.find("joint", 1) is None
    other = RunStore(tmp_path, {0: {"epochs": 3, "rows": "c"}})
    with pytest.raises(ValueError, match="epochs 2 instead of 3, rows 'a' instead of 'c'"):
        other.find("joint", 0)
    assert store.find("joint", 0) == {"seconds": 1.0}
    (tmp_path / "joint-0.json").write_text("{")
    with pytest.raises(ValueError, match="holds no finished run"):
        store.find("joint", 0)


def test_a_cohort_is_known_by_all_its_rows():
    cohort = load_cohort(SETTINGS, 0)
    assert cohort.digest() == load_cohort(SETTINGS, 0).digest()
    fewer = replace(cohort, development=cohort.development.take(range(1, 20)))
    order = replace(cohort, test=cohort.test.take(range(119, -1, -1)))
    assert len({own.digest() for own in (cohort, fewer, order)}) == 3


def hold(folder, claimed, done):
    with RunStore(folder, {}).claim("joint", 0) as mine:
        claimed.put(mine)
        done.wait(60)


def test_two_processes_never_do_the_same_run(tmp_path):
    context = multiprocessing.get_context("spawn")
    claimed, done = context.Queue(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, claimed, done))
    other.start()
    try:
        assert claimed.get(timeout=60)
        with RunStore(tmp_path, {}).claim("joint", 0) as mine:
            assert not mine
        with RunStore(tmp_path, {}).claim("joint", 1) as mine:
            assert mine
        other.kill()  # a claim ends with its process
        other.join(60)
        with RunStore(tmp_path, {}).claim("joint", 0) as mine:
            assert mine
    finally:
        other.kill()


def test_the_first_seed_of_every_arm_comes_first():
    planned = command._planned(["joint", "label", "tournament", "cnn"], replace(SETTINGS, seeds=3))
    assert planned[:4] == [("joint", 0), ("label", 0), ("tournament", 0), ("cnn", 0)]
    assert planned[4:] == [("joint", 1), ("cnn", 1), ("joint", 2), ("cnn", 2)]


def test_every_fold_of_what_is_cross_validated_is_run():
    folds = EvidenceSettings("clinifact-grouped", seeds=2)
    planned = command._planned(["joint", "label", "tournament"], folds)
    assert planned[3:] == [("joint", 1), ("label", 1)]


def test_folds_are_scored_by_their_own_rows():
    cohort = load_cohort(SETTINGS, 0)
    parts = [cohort.test.take(range(60)), cohort.test.take(range(60, 120))]
    folds = {seed: replace(cohort, test=part) for seed, part in enumerate(parts)}
    runs = {arm: {} for arm in ("joint", "label")}
    for arm, known in (("joint", 1.5), ("label", 0.3)):
        for seed, fold in folds.items():
            runs[arm] |= {seed: runs_of(fold, **{arm: known})[arm][0]}
    scored = score(runs, folds)
    expected = [
        roc_auc_score(folds[seed].targets(folds[seed].test), run["proba"]["test"])
        for seed, run in runs["joint"].items()
    ]
    assert scored["joint"].auroc[0] == pytest.approx(np.mean(expected))
    (entry,) = compare(scored, folds)
    assert (entry["rows"], entry["seeds"]) == (60, 2)
    assert entry["difference"] == pytest.approx(scored["joint"].auroc[0] - scored["label"].auroc[0])
    del runs["label"][1]  # the other fold's rows are not these
    (entry,) = compare(score(runs, folds), folds)
    assert entry["seeds"] == 1


def test_texts_cannot_break_a_table():
    shown = cell("a | b\n<script>`*x*`", 300)
    assert not set("|\n<>`*") & set(shown)


def test_general_texts_are_prose():
    texts = general_texts()
    assert len(set(texts)) == len(texts) >= 100
    letters = [sum(c.isalpha() or c.isspace() for c in text) / len(text) for text in texts]
    assert min(letters) > 0.75


def test_arms_that_ask_much_see_the_first_rows_only():
    cohort = load_cohort(SETTINGS, 0)
    settings = replace(SETTINGS, few_rows=7)
    assert settings.heading() == SETTINGS.heading()  # how many, every run tells
    assert run._rows(ARMS["tournament"], settings, cohort.test) == 7
    assert run._rows(ARMS["cnn"], settings, cohort.test) == len(cohort.test)


def test_nothing_is_reported_before_the_joint_model_is_finished(tiny, tmp_path, capsys):
    assert call(tmp_path, "--model", tiny, "--finished") == {}
    assert "no run of the joint model is finished" in capsys.readouterr().out
    assert not (tmp_path / "report").exists()


def test_repetition_and_variety_are_compared_at_equal_length(monkeypatch):
    """Whoever says more has more to repeat."""
    monkeypatch.setattr(before_after, "ROW_MEASURES", {})
    long, short = "the cup fell and the cup fell and the cup fell", "the cup fell and broke"
    writing = writing_of(joint=[short, short], base=[long, long])
    repeated, variety = writing_tests(writing, ["a", "b"], "base")
    assert (repeated["joint"], repeated["base"]) == (0, 0)  # of five words each, none come again
    assert (variety["joint"], variety["base"]) == (0.5, 0.5)
    writing = writing_of(joint=[long, long], base=[long, long])
    repeated, _ = writing_tests(writing, ["a", "b"], "base")
    assert repeated["joint"] == repeated["base"] == repetition(long) > 0
