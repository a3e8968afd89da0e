"""The report: one page in Markdown, the same in HTML, with pictures and a manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from markdown import markdown

from ...disk_store import replace_file
from .arms import ARMS, JOINT, SELF
from .before_after import language_test, writing_tests
from .cohorts import CROSS_VALIDATED, FOLDS, Cohort
from .plots import draw_forest, draw_reliability, draw_roc, draw_writing
from .scores import Scored
from .settings import EvidenceSettings

__all__ = ["Evidence", "write_report"]

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:76em;margin:2em auto;padding:0 1em}"
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
        """The first seed's rows: those on which explanations are judged."""
        return self.cohorts[0]

    def writing(self, arm: str) -> dict[int, dict[str, Any]]:
        """What was found about an arm's explanations, by seed."""
        return {seed: run["writing"] for seed, run in self.runs.get(arm, {}).items()}


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
            "## Probabilities",
            _pictures(evidence, folder),
            _score_table(evidence),
            "## Comparisons with the joint model",
            _comparison_table(evidence),
            *_writing(evidence, folder, JOINT),
            *_writing(evidence, folder, SELF),
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


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _rows(evidence: Evidence) -> str:
    funnel = evidence.cohort.funnel()
    labels = sorted(next(iter(funnel.values())))
    table = _table(
        ["Rows", *labels],
        [
            [part, *(str(counts.get(label, 0)) for label in labels)]
            for part, counts in funnel.items()
        ],
    )
    groups = len(set(evidence.cohort.test.groups))
    drawn = (
        f"Every seed is one of {FOLDS} folds without a source in common (the first is counted "
        f"here); {len(evidence.cohorts)} of them are judged by, every row once;"
        if evidence.settings.dataset in CROSS_VALIDATED
        else "Rows to learn from are drawn anew for every seed (those of the first are counted "
        "here);"
    )
    return (
        f"{table}\n\nThe test rows come from {groups} sources; intervals resample sources, not "
        f"rows. {drawn} temperatures and thresholds are chosen on the development rows, for all "
        f"arms alike. Joint, classification-only and generation-only LoRA have the same "
        f"number of epochs, {evidence.settings.epochs}, and the package's defaults, chosen for the "
        "joint model on other e-SNLI rows, but that nothing holds the language of generation-only "
        "tuning. Trainer has the defaults of its documentation. The "
        "probe, the CNN and the regressions choose layer, epochs or penalty on the rows to learn "
        "from. Beyond that nothing was tuned."
    )


def _pictures(evidence: Evidence, folder: Path) -> str:
    name = evidence.settings.dataset
    files = {kind: folder / f"{name}-{kind}.png" for kind in ("auroc", "roc", "reliability")}
    draw_forest(evidence.scored, files["auroc"])
    draw_roc(evidence.scored, evidence.cohorts, files["roc"])
    draw_reliability(evidence.scored, evidence.cohorts, files["reliability"])
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
        n_rows = len(next(iter(own.proba.values())))
        rows.append(
            [
                f"**{ARMS[arm].title}**" if arm == JOINT else ARMS[arm].title,
                str(len(own.by_seed)),
                str(n_rows),
                _unbroken(f"{mean:.3f} ({low:.3f} to {high:.3f}){spread}"),
                *(f"{own.mean(column):.3f}" for column in columns),
                f"{own.smooth_ece_by_chance:.3f}",
                f"{own.mean('raw_smooth_ece'):.3f}",
                _unparsed(evidence.runs[arm]),
                _seconds(evidence.runs[arm], "fit_seconds"),
                _seconds(evidence.runs[arm], "predict_seconds"),
            ]
        )
    head = ["Arm", "Seeds", "Test rows", "AUROC (95%) ± sd over seeds", "AUPRC", "F1", "MCC"]
    head += ["Brier", "Log-loss", "D²", "Smooth ECE", "by chance up to", "before scaling", "Unread"]
    return _table([*head, "Fit, s", "Predict, s"], rows)


def _unparsed(runs: Mapping[int, Mapping[str, Any]]) -> str:
    found = [run["unparsed"]["test"] for run in runs.values()]
    return "" if found[0] is None else f"{np.mean(found):.0f}"


def _seconds(runs: Mapping[int, Mapping[str, Any]], key: str) -> str:
    return f"{np.median([run[key] for run in runs.values()]):.0f}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.001 else f"{value:.1e}"


def _comparison_table(evidence: Evidence) -> str:
    rows = [
        [
            ARMS[entry["b"]].title,
            _difference(entry),
            _p(entry["p"]),
            _p(entry["p_adjusted"]),
            _p(entry["p_delong"]),
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
    table = _table(head, rows)
    inferior = [entry for entry in evidence.comparisons if "p_inferior" in entry]
    notes = [
        f"Worse than classification-only tuning by {entry['margin']} or more: "
        f"p = {_p(entry['p_inferior'])}."
        for entry in inferior
    ]
    return "\n\n".join([table, *notes])


# --- explanations --------------------------------------------------------------------------------


def _writing(evidence: Evidence, folder: Path, arm: str) -> list[str]:
    """What was found about an arm's words; nothing if it was not run."""
    writing = evidence.writing(arm)
    if not writing:
        return []
    by = "" if arm == JOINT else f" ({ARMS[arm].title})"
    parts = [f"## Do words and head agree?{by}", _alignment_table(writing)]
    first = writing.get(0)
    if first is None:
        return parts
    tests = writing_tests(first, evidence.cohort.test.groups)
    suffix = "" if arm == JOINT else f"-{arm}"
    file = folder / f"{evidence.settings.dataset}-explanations{suffix}.png"
    draw_writing(tests, file)
    return [
        *parts,
        f"## Explanations before and after tuning{by}",
        f"![explanations]({file.name})",
        _writing_table(tests),
        _together_table(first),
        f"## Language{by}",
        _language(writing),
        f"## Explanations to look at{by}",
        _samples(first),
    ]


def _alignment_table(writing: Mapping[int, Mapping[str, Any]]) -> str:
    first = next(iter(writing.values()))["alignment"]
    rows = []
    for kind in ("stated", "observer", "observer of free replies"):
        if kind in first:
            own = [one["alignment"][kind] for one in writing.values()]
            keys = ("auroc_alignment", "kappa", "agreement", "unparseable")
            rows.append([kind, *(_mean([one[key] for one in own]) for key in keys)])
    text = _table(["Label by", "AUROC-Alignment", "Kappa", "Agreement", "Unparseable"], rows)
    for kind in ("stated, stratified", "observer, stratified"):
        if kind in first:
            own = [one["alignment"][kind] for one in writing.values()]
            shares = {when: _mean([one[when]["agreement"] for one in own]) for when in own[0]}
            listed = ", ".join(
                f"{share} where the head is {when}" for when, share in shares.items()
            )
            text += f"\n\nAgreement, {kind.split(',')[0]}: {listed}."
    if "flip_rate" in first:
        flips = _mean([one["alignment"]["flip_rate"] for one in writing.values()])
        text += f"\n\nAsked for the other label, the text follows it in {flips} of rows (observer)."
    return text


def _mean(values: list[float | None]) -> str:
    known = [value for value in values if value is not None and not np.isnan(value)]
    return f"{np.mean(known):.3f}" if known else "-"


def _writing_table(tests: list[dict[str, Any]]) -> str:
    better = {True: "more", False: "less", None: ""}
    rows = [
        [
            test["metric"].replace("_", " "),
            better[test["more_is_better"]],
            f"{test['base']:.3f}",
            f"{test['joint']:.3f}",
            "-" if test["people"] is None else f"{test['people']:.3f}",
            _difference(test),
            _p(test["p"]),
            _p(test["p_adjusted"]),
            str(test["rows"]),
        ]
        for test in tests
    ]
    head = ["Measure", "Better", "Base model, forced label", "Joint", "People (true label)"]
    return _table([*head, "Joint minus base (95%)", "p", "Holm", "Rows"], rows)


def _difference(test: Mapping[str, Any]) -> str:
    found = f"{test['difference']:+.3f}"
    if test["low"] is not None:
        found += f" ({test['low']:+.3f} to {test['high']:+.3f})"
    return _unbroken(found)


def _unbroken(text: str) -> str:
    """Return text that a narrow cell does not break into lines."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _together_table(writing: Mapping[str, Any]) -> str:
    writers = list(writing["quality"])
    names = list(writing["quality"][writers[0]]["together"])
    rows = [
        [
            name.replace("_", " "),
            *(_mean([writing["quality"][writer]["together"].get(name)]) for writer in writers),
        ]
        for name in names
    ]
    return _table(["Of all together", *writers], rows)


def _language(writing: Mapping[int, Mapping[str, Any]]) -> str:
    rows = []
    for seed, own in writing.items():
        test = language_test(own)
        rows.append(
            [
                str(seed),
                f"{test['base']:.3f}",
                f"{test['tuned']:.3f}",
                f"{test['change']:+.4f} ({test['low']:+.4f} to {test['high']:+.4f})",
                _p(test["p"]),
                f"{test['kl']:.4f}",
            ]
        )
    head = [
        "Seed",
        "Base",
        "Tuned",
        "Change, nats (95%)",
        "p of 0.05 or more",
        "KL from base, nats",
    ]
    return "Log-perplexity on general text.\n\n" + _table(head, rows)


def _samples(writing: Mapping[str, Any]) -> str:
    writers = list(writing["quality"])
    rows = [
        [_cell(sample["text"], 300), sample["label"], *(_cell(sample[w], 300) for w in writers)]
        for sample in writing["samples"]
    ]
    return _table(["Text", "True label", *writers], rows)


def _cell(text: str, longest: int) -> str:
    """Return text as one cell of a table: no markup of its own."""
    short = " ".join(text.split())
    short = short if len(short) <= longest else short[:longest] + "…"
    plain = escape(short).replace("|", "&#124;").replace("`", "&#96;")
    for mark in "*_[]\\":
        plain = plain.replace(mark, f"&#{ord(mark)};")
    return plain


def _manifest(evidence: Evidence) -> str:
    joint = next(iter(evidence.runs[JOINT].values()))
    manifest = {
        "settings": evidence.settings.heading(),
        "environment": joint["environment"],
        "rationales": joint["rationale_report"],
    }
    runs = [
        [arm, str(seed), run["started"], f"{run['load_before']:.1f}", *_where(run["environment"])]
        for arm, own in evidence.runs.items()
        for seed, run in own.items()
    ]
    head = ["Run", "Seed", "Started", "Load before", "Device", "torch", "transformers", "Sources"]
    table = _table(head, runs)
    return "```json\n" + json.dumps(manifest, indent=1) + "\n```\n\n" + table


def _where(environment: Mapping[str, Any]) -> list[str]:
    """Device and versions of a run."""
    device, versions = environment["device"], environment["versions"]
    device = (
        f"{environment['processor']}, {environment['cores']} cores" * (device == "cpu") or device
    )
    return [device, versions["torch"], versions["transformers"], environment["sources"]]
