"""The report's sections on what joint models write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .arms import ARMS, JOINT
from .before_after import LANGUAGE_MARGIN, language_test
from .cohorts import Cohort
from .plots import draw_writing
from .tables import cell, difference, p_value, table

__all__ = ["writing_sections"]


def writing_sections(
    writing: Mapping[int, Mapping[str, Any]],
    tests: list[dict[str, Any]] | None,
    arm: str,
    dataset: str,
    cohort: Cohort,
    folder: Path,
) -> list[str]:
    """Return what was found about an arm's words, in Markdown; nothing if it was not run.

    Parameters
    ----------
    writing : mapping of seed to mapping
        As :func:`~skclsgen.benchmark.evidence.writing.judge_writing` returns it.
    tests : list of dict or None
        Of the first seed, from :func:`~skclsgen.benchmark.evidence.before_after.writing_tests`.
    arm, dataset : str
        For headings and the picture's name.
    cohort : Cohort
        The first seed's rows.
    folder : Path
        For the picture.
    """
    if not writing:
        return []
    by = "" if arm == JOINT else f" ({ARMS[arm].title})"
    parts = [f"## Do words and head agree?{by}", _alignment_table(writing)]
    if tests is None:
        return parts
    first = writing[0]
    suffix = "" if arm == JOINT else f"-{arm}"
    file = folder / f"{dataset}-explanations{suffix}.png"
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
        _samples(first, cohort),
    ]


def _alignment_table(writing: Mapping[int, Mapping[str, Any]]) -> str:
    first = next(iter(writing.values()))["alignment"]
    rows = []
    for kind in ("stated", "observer", "observer of free replies"):
        if kind in first:
            own = [one["alignment"][kind] for one in writing.values()]
            keys = ("auroc_alignment", "kappa", "agreement", "unparseable")
            rows.append([kind, *(_mean([one[key] for one in own]) for key in keys)])
    text = table(["Label by", "AUROC-Alignment", "Kappa", "Agreement", "Unparseable"], rows)
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
            difference(test),
            p_value(test["p"]),
            p_value(test["p_adjusted"]),
            str(test["rows"]),
        ]
        for test in tests
    ]
    head = ["Measure", "Better", "Base model, forced label", "Joint", "People (true label)"]
    return table([*head, "Joint minus base (95%)", "p", "Holm", "Rows"], rows)


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
    return table(["Of all together", *writers], rows)


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
                p_value(test["p"]),
                f"{test['kl']:.4f}",
            ]
        )
    head = [
        "Seed",
        "Base",
        "Tuned",
        "Change, nats (95%)",
        f"p of {LANGUAGE_MARGIN} or more",
        "KL from base, nats",
    ]
    return "Log-perplexity on general text.\n\n" + table(head, rows)


def _samples(writing: Mapping[str, Any], cohort: Cohort) -> str:
    writers, samples = list(writing["quality"]), writing["samples"]
    explained = cohort.labels(sample["explained"] for sample in samples)
    rows = [
        [
            cell(sample["text"], 300),
            sample["label"],
            label,
            *(cell(sample[w], 300) for w in writers),
        ]
        for sample, label in zip(samples, explained, strict=True)
    ]
    note = (
        "The base model was asked for the head's label, or for its own; people gave the true one's."
    )
    return f"{note}\n\n" + table(["Text", "True label", "Head's label", *writers], rows)
