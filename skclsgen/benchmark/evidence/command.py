"""``python -m skclsgen.benchmark evidence``: run every arm, score, compare, report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..measure import environment, save_json
from .arms import ARMS, EXPLAIN, JOINT, SELF
from .before_after import language_test
from .cohorts import CROSS_VALIDATED, DATASETS, Cohort, load_cohort
from .report import Evidence, write_report
from .run import run_arm
from .scores import compare, score
from .settings import EvidenceSettings
from .store import RunStore, without_nan

__all__ = ["add_arguments", "gather"]

#: Sixty rows in all, to see that everything runs; the numbers mean nothing.
QUICK: dict[str, Any] = {
    "seeds": 2,
    "train_rows": 28,
    "development_rows": 12,
    "test_rows": 20,
    "slow_train_rows": 24,
    "few_rows": 12,
    "written_rows": 12,
    "passages": 10,
    "epochs": 1,
    "samples": 2,
    "opponents": 2,
    "examples": 2,
}
#: Options that are numbers, and what they say.
NUMBERS = {
    "seeds": "fits of every arm that depends on chance; of clinifact-grouped, folds (of 5)",
    "epochs": "of every arm with this package's LoRA",
    "train_rows": "most rows to learn from",
    "slow_train_rows": "the same of the slowest arms: the float32 Trainer, generation-only LoRA",
    "development_rows": "most rows to choose temperatures and thresholds by",
    "test_rows": "most rows to judge by",
    "few_rows": "most development and test rows of arms that ask much of each text",
    "written_rows": "most test rows whose explanations are judged",
    "passages": "most passages of general text",
    "samples": "replies per text, of arms that sample them",
    "opponents": "texts that each is compared with, of arms that do so",
    "examples": "training rows shown in few-shot prompts",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--dataset", choices=DATASETS, required=True, help="what to classify")
    parser.add_argument(
        "--data", type=Path, help="folder with esnli/ and clinifact/; else their public homes"
    )
    parser.add_argument(
        "--arms",
        nargs="+",
        choices=ARMS,
        default=list(ARMS),
        metavar="ARM",
        help=f"what to compare with {JOINT} (default: all): {', '.join(ARMS)}",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("evidence"),
        help="folder of finished runs; goes on from it",
    )
    parser.add_argument(
        "--report", type=Path, default=Path("evidence"), help="folder for pages and pictures"
    )
    parser.add_argument(
        "--memory",
        type=Path,
        help="folder for what all tuned arms read once; their times then leave that out",
    )
    parser.add_argument("--json", type=Path, help="file for all scores and comparisons")
    parser.add_argument(
        "--finished", action="store_true", help="run nothing; report the runs that are there"
    )
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument("--quick", action="store_true", help="a few rows: does it all run?")
    scale.add_argument(
        "--check", action="store_true", help="fail if an aim is not shown, or not measured"
    )
    parser.add_argument(
        "--model", default=EvidenceSettings.model, help="base model (default: %(default)s)"
    )
    for name, text in NUMBERS.items():
        default = getattr(EvidenceSettings, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            metavar="N",
            help=f"{text} (default: {'all' if default is None else default})",
        )


def settings_of(args: argparse.Namespace) -> EvidenceSettings:
    """Return the settings that a command line asks for."""
    settings = EvidenceSettings(args.dataset, model=args.model, data=args.data, memory=args.memory)
    if args.quick:
        settings = replace(settings, **QUICK)
    given = {name: getattr(args, name) for name in NUMBERS}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def gather(args: argparse.Namespace) -> dict[str, Any]:
    """Run what is missing, unless only what is finished is asked for, and write the report.

    Returns
    -------
    dict
        What ``--json`` is given: ``settings``, ``reported_by`` (the process that wrote it),
        ``runs``, ``aims``, ``scores``, ``comparisons``, ``explanations``, ``language``.
    """
    settings = settings_of(args)
    cohorts = {seed: load_cohort(settings, seed) for seed in range(settings.seeds)}
    arms = [JOINT, *(arm for arm in args.arms if arm != JOINT)]
    if cohorts[0].train.explanations is None:  # then the joint model has no others either
        arms = [arm for arm in arms if arm != SELF]
    headings = {
        seed: settings.heading() | {"rows": cohort.digest()} for seed, cohort in cohorts.items()
    }
    store = RunStore(args.work / settings.dataset, headings)
    complete = args.finished or _run_missing(arms, settings, cohorts, store)
    runs = {
        arm: {seed: run for seed in range(settings.seeds) if (run := store.find(arm, seed))}
        for arm in arms
    }
    if not complete:
        print("other processes are at some of the runs; the report holds what is finished")
    if not runs[JOINT]:
        nothing = "no run of the joint model is finished, so there is no report yet"
        if args.check:
            sys.exit(nothing)
        print(nothing)
        return {}
    if settings.dataset in CROSS_VALIDATED:  # folds differ, and so would means over others
        cohorts = {seed: cohorts[seed] for seed in runs[JOINT]}
    runs = {
        arm: told
        for arm, own in runs.items()
        if (told := {seed: run for seed, run in own.items() if seed in cohorts})
    }
    scored = score(runs, cohorts)
    evidence = Evidence(settings, cohorts, runs, scored, compare(scored, cohorts))
    page = write_report(evidence, args.report)
    result = _as_json(evidence)
    if args.json:
        save_json(args.json, result)
    print(page.read_text(encoding="utf-8").split("## Manifest")[0])
    print(f"written: {page}")
    if args.check and (short := [aim for aim in evidence.aims if not aim.holds]):
        sys.exit("not shown: " + "; ".join(f"{aim.name} ({aim.found})" for aim in short))
    return result


def _planned(arms: Iterable[str], settings: EvidenceSettings) -> list[tuple[str, int]]:
    """Which runs there are to be, the first seed of every arm first."""
    folds = settings.dataset in CROSS_VALIDATED
    return [
        (arm, seed)
        for seed in range(settings.seeds)
        for arm in arms
        if not seed or ((ARMS[arm].seeds or folds) and not ARMS[arm].once)
    ]


def _run_missing(
    arms: list[str],
    settings: EvidenceSettings,
    cohorts: Mapping[int, Cohort],
    store: RunStore,
) -> bool:
    """Run what is not there; False if another process is at some of it."""
    complete = True
    with tqdm(_planned(arms, settings), unit="run", desc=settings.dataset) as bar:
        for arm, seed in bar:
            bar.set_postfix_str(f"{arm}, seed {seed}")
            with store.claim(arm, seed) as mine:
                if not mine:
                    complete = False
                elif store.find(arm, seed) is None:
                    store.save(arm, seed, run_arm(arm, settings, cohorts[seed], seed))
    return complete


def _as_json(evidence: Evidence) -> dict[str, Any]:
    place = {"dataset": evidence.settings.dataset, "split": "test"}
    scores = [
        place | {"arm": arm, "seed": seed, "metric": metric, "value": value}
        for arm, scored in evidence.scored.items()
        for seed, own in scored.by_seed.items()
        for metric, value in own.items()
    ]
    found = {
        "settings": evidence.settings.heading(),
        "reported_by": environment(),
        "runs": _runs(evidence),
        "aims": [asdict(aim) for aim in evidence.aims],
        "scores": scores,
        "comparisons": [place | entry for entry in evidence.comparisons],
        **_writing_as_json(evidence, JOINT),
        "self_written": _own_words_as_json(evidence, SELF),
        "self_explained": _own_words_as_json(evidence, EXPLAIN),
    }
    return without_nan(found)


def _runs(evidence: Evidence) -> list[dict[str, Any]]:
    """Where, when and from what every run was made."""
    told = ("started", "load_before", "environment", "fingerprint", "memory", "train_rows")
    return [
        {"arm": arm, "seed": seed, "rows_digest": evidence.cohorts[seed].digest()}
        | {key: run.get(key) for key in told}  # earlier runs do not have all of them
        | {"test_rows": len(run["proba"]["test"])}
        for arm, own in evidence.runs.items()
        for seed, run in own.items()
    ]


def _own_words_as_json(evidence: Evidence, arm: str) -> dict[str, Any]:
    aims = [asdict(aim) for aim in evidence.word_aims(arm)]
    return {"aims": aims} | _writing_as_json(evidence, arm)


def _writing_as_json(evidence: Evidence, arm: str) -> dict[str, Any]:
    writing = evidence.writing(arm)
    return {
        "explanations": evidence.before_after.get(arm, []),
        "alignment": {seed: own["alignment"] for seed, own in writing.items()},
        "language": {seed: language_test(own) for seed, own in writing.items()},
    }
