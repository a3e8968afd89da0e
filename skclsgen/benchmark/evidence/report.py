"""The report: one page in Markdown, the same in HTML, with pictures and a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from markdown import markdown

from ...disk_store import replace_file
from ..usual import LEARNING_RATE
from .aims import Aim, judge_aims, judge_words
from .arms import ARMS, JOINT, PAIRS_PER_TEXT
from .before_after import writing_tests
from .cohorts import ALONE, CROSS_VALIDATED, FOLDS, Cohort
from .plots import draw_forest, draw_reliability, draw_roc
from .scores import Scored
from .settings import EvidenceSettings
from .tables import difference, p_value, table, unbroken
from .writing_pages import writing_sections

__all__ = ["Evidence", "write_report"]

#: Arms whose words are judged.
WRITERS = [name for name, arm in ARMS.items() if arm.writes]
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:84em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}"
    "th,td{padding:.25em .6em;text-align:left;"
    "border-bottom:1px solid #8884;vertical-align:top}img{max-width:100%}"
)


@dataclass(frozen=True)
class Evidence:
    """Everything a report is written from.

    Attributes
    ----------
    settings : EvidenceSettings
    cohorts : mapping of seed to Cohort
    runs : mapping of arm to mapping of seed to run
    scored : mapping of arm to Scored
    comparisons : list of dict
    """

    settings: EvidenceSettings
    cohorts: Mapping[int, Cohort]
    runs: Mapping[str, Mapping[int, Mapping[str, Any]]]
    scored: Mapping[str, Scored]
    comparisons: list[dict[str, Any]]

    @property
    def cohort(self) -> Cohort:
        """The first seed's rows; of seed 0, those on which explanations are judged."""
        return next(iter(self.cohorts.values()))

    def writing(self, arm: str) -> dict[int, dict[str, Any]]:
        """What was found about an arm's explanations, by seed."""
        return {seed: run["writing"] for seed, run in self.runs.get(arm, {}).items()}

    @cached_property
    def before_after(self) -> dict[str, list[dict[str, Any]]]:
        """Explanations before and after tuning, by arm, where the first seed is there."""
        return {
            arm: writing_tests(writing[0], self.cohort.test.groups)
            for arm in WRITERS
            if 0 in (writing := self.writing(arm))
        }

    @cached_property
    def aims(self) -> list[Aim]:
        """What is to be shown of the joint model, and whether it is."""
        tests = self.before_after.get(JOINT, [])
        return judge_aims(self.comparisons, self.writing(JOINT).values(), tests)

    def word_aims(self, arm: str) -> list[Aim]:
        """What is to be shown of an arm's words, and whether it is; nothing if it was not run."""
        writing = self.writing(arm).values()
        return judge_words(writing, self.before_after.get(arm, [])) if writing else []


def write_report(evidence: Evidence, folder: Path) -> Path:
    """Write ``<data set>.md``, the same page in HTML, and its pictures.

    Parameters
    ----------
    evidence : Evidence
    folder : Path
        Made where it is missing.

    Returns
    -------
    Path
        Of the Markdown page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = evidence.settings.dataset
    text = "\n\n".join(
        [
            f"# Evidence: {name}",
            _rows(evidence),
            "## Aims",
            _aim_tables(evidence),
            "## Probabilities",
            _pictures(evidence, folder),
            _score_table(evidence),
            "## Comparisons with the joint model",
            _comparison_table(evidence),
            *(part for arm in WRITERS for part in _writing(evidence, folder, arm)),
            "## Manifest",
            _manifest(evidence),
        ]
    )
    page = folder / f"{name}.md"
    replace_file(page, (text + "\n").encode())
    body = markdown(text, extensions=["tables", "fenced_code"])
    html = f"<!doctype html><meta charset=utf-8><title>{name}</title><style>{STYLE}</style>{body}\n"
    replace_file(page.with_suffix(".html"), html.encode())
    return page


def _drawn(evidence: Evidence) -> str:
    """Say what a seed draws."""
    cohorts = evidence.cohorts.values()
    if evidence.settings.dataset in CROSS_VALIDATED:
        return (
            f"Every seed is one of {FOLDS} folds without a source in common (the first is counted "
            f"here); {len(cohorts)} of them are judged by, every row once"
        )
    if len({cohort.digest() for cohort in cohorts}) > 1:
        return "Rows to learn from are drawn anew for every seed (those of the first are counted)"
    if len(cohorts) > 1:
        return (
            "All seeds learn from the same rows, so intervals are not for other rows to learn from"
        )
    return "There is one seed"


def _rows(evidence: Evidence) -> str:
    funnel = evidence.cohort.funnel()
    labels = sorted(next(iter(funnel.values())))
    counted = table(
        ["Rows", *labels],
        [
            [part, *(str(counts.get(label, 0)) for label in labels)]
            for part, counts in funnel.items()
        ],
    )
    groups = len(set(evidence.cohort.test.groups))
    return (
        f"{counted}\n\nThe test rows come from {groups} sources; intervals resample sources, not "
        f"rows. {_drawn(evidence)}; temperatures and thresholds are chosen on the development "
        "rows, for all arms alike. Joint, classification-only and generation-only LoRA have the "
        f"same number of epochs, {evidence.settings.epochs}, and the package's defaults, chosen "
        "for the joint model on other e-SNLI rows; only the joint model is held to its base "
        "model's language. "
        "Trainer has 3 epochs, batches of 8, LoRA of rank 16 on all linear layers and a "
        f"learning rate of {LEARNING_RATE}, the usual ones. The probe, the CNN and the "
        "regressions choose layer, pooling, epochs or penalty on the rows to learn from, sources "
        f"held out as wholes. The sampling arms have {evidence.settings.samples} replies a text, "
        f"the comparing ones {evidence.settings.opponents} opponents, SetFit {PAIRS_PER_TEXT} "
        "pairs a text: fewer than their defaults, for time's sake. The fine-tuned encoder reads "
        "the first column and the others as a pair; its defaults were chosen on other e-SNLI rows, "
        "too. Beyond that nothing was tuned. "
        "Prompting arms have one wording each, and are shown no examples, but for the few-shot "
        f"ones: {evidence.settings.examples} training rows, as many of each label, with people's "
        "reasons where there are any. TF-IDF and sentence embeddings "
        "have features of each column of the records; the column that one arm has alone is "
        f"`{ALONE[evidence.settings.dataset]}`."
    )


def _aim_tables(evidence: Evidence) -> str:
    """Say what was to be shown of the joint model, and of the words of its other forms."""
    aims = {"the joint model": evidence.aims}
    aims |= {ARMS[arm].title: evidence.word_aims(arm) for arm in WRITERS if arm != JOINT}
    return "\n\n".join(
        table(
            [f"Of {name}", "Found", "Shown"],
            [[aim.name, aim.found, "yes" if aim.holds else "**no**"] for aim in own],
        )
        for name, own in aims.items()
        if own
    )


def _pictures(evidence: Evidence, folder: Path) -> str:
    name = evidence.settings.dataset
    files = {kind: folder / f"{name}-{kind}.png" for kind in ("auroc", "roc", "reliability")}
    titles = {arm: _title(evidence, arm) for arm in evidence.scored}
    draw_forest(evidence.scored, titles, files["auroc"])
    draw_roc(evidence.scored, titles, evidence.cohorts, files["roc"])
    draw_reliability(evidence.scored, titles, evidence.cohorts, files["reliability"])
    return "\n\n".join(f"![{kind}]({file.name})" for kind, file in files.items())


def _score_table(evidence: Evidence) -> str:
    columns = [
        "auprc",
        "f1",
        "mcc",
        "brier",
        "log_loss",
        "d2",
        "smooth_ece",
    ]
    rows = []
    for arm, own in sorted(evidence.scored.items(), key=lambda item: -item[1].auroc[0]):
        mean, low, high = own.auroc
        spread = "" if np.isnan(own.deviation("auroc")) else f" ± {own.deviation('auroc'):.3f}"
        each = [len(proba) for proba in own.proba.values()]
        n_rows = sum(each) if evidence.settings.dataset in CROSS_VALIDATED else each[0]
        rows.append(
            [
                f"**{ARMS[arm].title}**" if arm == JOINT else _title(evidence, arm),
                str(len(own.by_seed)),
                str(n_rows),
                unbroken(f"{mean:.3f} ({low:.3f} to {high:.3f}){spread}"),
                *(f"{own.mean(column):.3f}" for column in columns),
                f"{own.smooth_ece_by_chance:.3f}",
                f"{own.mean('raw_smooth_ece'):.3f}",
                f"{own.mean('temperature'):.1f}",
                _unparsed(evidence.runs[arm]),
                *_seconds(evidence, arm),
            ]
        )
    head = ["Arm", "Seeds", "Test rows", "AUROC (95%) ± sd over seeds", "AUPRC", "F1", "MCC"]
    head += ["Brier", "Log-loss", "D²", "Smooth ECE", "by chance up to", "before scaling"]
    head += ["T", "Unread", "Fit, s", "Predict, s"]
    notes = (
        "Scores are means over seeds, intervals over the rows of these fits. Arms without chance "
        "are run once where all seeds have the same rows, and compared with every fit of the joint "
        "model. *By chance up to*: what calibrated probabilities' smooth ECE stays below in 97.5% "
        "of cases. *Before scaling*: smooth ECE of the probabilities as the arm gave them. "
        "*Unread*: replies that no label could be read from. "
        "Where the temperature T is 50, the most that is tried, there "
        "was nothing to scale but noise: such probabilities are all but even, and worse than the "
        "share of the label among all rows. Seconds are medians over the runs on as many cores of "
        "the machine as the joint model's first; others are named where there are none."
    )
    return f"{table(head, rows)}\n\n{notes}"


def _title(evidence: Evidence, arm: str) -> str:
    """An arm's title, and how many rows it learnt from if not all."""
    seed, run = next(iter(evidence.runs[arm].items()))
    every = len(evidence.cohorts[seed].train)
    rows = run.get("train_rows", every)  # runs made before there was a choice had them all
    return ARMS[arm].title + f", {rows} rows to learn from" * (rows < every)


def _unparsed(runs: Mapping[int, Mapping[str, Any]]) -> str:
    found = [run["unparsed"]["test"] for run in runs.values()]
    return "" if found[0] is None else f"{np.mean(found):.0f}"


def _seconds(evidence: Evidence, arm: str) -> list[str]:
    """Median seconds of an arm's fits and predictions, where the joint model was fitted too."""
    joint = evidence.runs[JOINT]
    usual = _where(joint[min(joint)]["environment"])[0]
    runs = list(evidence.runs[arm].values())
    devices = [_where(run["environment"])[0] for run in runs]
    where = "" if usual in devices else f" ({devices[0]})"
    counted = [run for run, device in zip(runs, devices, strict=True) if device == usual] or runs
    fit, predict = (
        np.median([run[name] for run in counted]) for name in ("fit_seconds", "predict_seconds")
    )
    return [f"{fit:.0f}{where}", f"{predict:.0f}"]


def _comparison_table(evidence: Evidence) -> str:
    rows = [
        [
            _title(evidence, entry["b"]),
            difference(entry),
            p_value(entry["p"]),
            p_value(entry["p_adjusted"]),
            p_value(entry["p_delong"]),
            str(entry["rows"]),
            str(entry["seeds"]),
        ]
        for entry in sorted(evidence.comparisons, key=lambda entry: entry["difference"])
    ]
    head = [
        "Against",
        "AUROC, joint minus it (95%)",
        "p",
        "Holm",
        "DeLong, first seed",
        "Rows",
        "Seeds",
    ]
    parts = [table(head, rows)]
    fits = (
        "Student's t over folds, each with rows of its own"
        if evidence.settings.dataset in CROSS_VALIDATED
        else "Student's t over fits is added to the bootstrap of rows"
    )
    parts.append(
        "Intervals and p-values hold for other rows and, where there are several seeds, for other "
        f"fits: {fits}. Those of one seed hold for that fit."
    )
    inferior = [entry for entry in evidence.comparisons if "p_inferior" in entry]
    parts += [
        f"Worse than classification-only tuning by {entry['margin']} or more: "
        f"p = {p_value(entry['p_inferior'])}."
        for entry in inferior
    ]
    return "\n\n".join(parts)


def _writing(evidence: Evidence, folder: Path, arm: str) -> list[str]:
    dataset = evidence.settings.dataset
    tests = evidence.before_after.get(arm)
    return writing_sections(evidence.writing(arm), tests, arm, dataset, evidence.cohort, folder)


def _manifest(evidence: Evidence) -> str:
    joint = next(iter(evidence.runs[JOINT].values()))
    manifest = {
        "settings": evidence.settings.heading(),
        "environment": joint["environment"],
        "fingerprint": joint.get("fingerprint"),  # which earlier runs do not have
        "rationales": joint["rationale_report"],
    }
    runs = [
        [arm, str(seed), run["started"], f"{run['load_before']:.1f}", *_where(run["environment"])]
        for arm, own in evidence.runs.items()
        for seed, run in own.items()
    ]
    head = ["Run", "Seed", "Started", "Load before", "Device", "torch", "transformers"]
    head += ["scikit-learn", "Code"]
    parts = ["```json\n" + json.dumps(manifest, indent=1) + "\n```", table(head, runs)]
    mixed = [
        ARMS[arm].title
        for arm, own in evidence.runs.items()
        if len({run["environment"]["sources"] for run in own.values()}) > 1
    ]
    if mixed:
        parts.append(f"The package's code was not the same for all seeds of: {', '.join(mixed)}.")
    return "\n\n".join(parts)


def _where(environment: Mapping[str, Any]) -> list[str]:
    """Device, with the type that is usual there, and versions of a run."""
    device, versions = environment["device"], environment["versions"]
    if device == "cpu":
        processor, threads = environment["processor"], environment["threads"]
        device = f"{processor}, {threads} of {environment['cores']} cores"
    if "dtype" in environment:  # which earlier runs do not tell
        device += f", {environment['dtype'].removeprefix('torch.')}"
    packages = (versions[name] for name in ("torch", "transformers", "scikit-learn"))
    return [device, *packages, environment["sources"]]
