"""Run the benchmarks from the command line.

``python -m skclsgen.benchmark speed --help`` and ``python -m skclsgen.benchmark evidence --help``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .aims import AT_LEAST, AT_MOST, missed
from .charts import draw_ratios, draw_scaling
from .evidence.command import add_arguments, gather
from .evidence.store import UnusableRunError
from .measure import environment, save_json
from .quality import measure_quality
from .scaling import measure_scaling
from .settings import Settings
from .shapes import measure_shapes
from .speed import MEASUREMENTS, measure

NAMES = (*MEASUREMENTS, "quality", "scaling", "shapes")
#: A few rows each, so that all of it takes under three minutes; the numbers mean nothing.
QUICK: dict[str, Any] = {
    "repeats": 1,
    "rows": 16,
    "test_rows": 16,
    "predicted": 20,
    "explained": 8,
    "folded": 20,
    "usual_epochs": 1,
    "our_epochs": (1,),
}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(prog="python -m skclsgen.benchmark", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    add_arguments(commands.add_parser("evidence", help="every arm on the same rows, and a report"))
    speed = commands.add_parser(
        "speed", help="ours beside the usual path, in one process, in turns"
    )
    speed.add_argument("--data", type=Path, help="folder with esnli/ and clinifact/; or fetched")
    speed.add_argument("--only", choices=NAMES, action="append", help="one measurement (repeat)")
    speed.add_argument("--json", type=Path, help="file for everything measured; adds to it")
    speed.add_argument(
        "--journal", type=Path, help="file of runs: a killed benchmark goes on from it"
    )
    speed.add_argument("--chart", type=Path, default=Path("speed.png"), help="file for the bars")
    speed.add_argument("--quick", action="store_true", help="a few rows each: does it all run?")
    speed.add_argument(
        "--check", action="store_true", help="fail if an aim is missed or not measured"
    )
    speed.add_argument(
        "--repeats", type=int, default=Settings.repeats, help="turns (default: %(default)s)"
    )
    speed.add_argument("--model", default=Settings.model, help="base model (default: %(default)s)")
    return top


def run_measurement(name: str, settings: Settings, quick: bool, chart: Path) -> dict[str, Any]:
    """Run one of :data:`NAMES`, and draw what has a picture of its own."""
    if name == "quality":
        return measure_quality(settings, seeds=2) if quick else measure_quality(settings)
    if name == "shapes":
        return measure_shapes(settings, rows=2, prompt=8) if quick else measure_shapes(settings)
    if name == "scaling":
        sizes: dict[str, Any] = {"rows": (8, 16), "tokens": (16, 32)} if quick else {}
        result = measure_scaling(settings, **sizes)
        draw_scaling(result["curves"], chart.with_stem(chart.stem + "-scaling"))
        return result
    return measure(name, settings)


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a command; return what it found."""
    args = parser().parse_args(arguments)
    if args.command == "speed":
        return measure_speed(args)
    try:
        return gather(args)
    except UnusableRunError as error:
        sys.exit(str(error))


def measure_speed(args: argparse.Namespace) -> dict[str, float | None]:
    """Measure, print, save; return the ratios."""
    if args.quick and args.check:
        parser().error("--quick measures nothing that --check could hold against an aim")
    settings = Settings(
        model=args.model, data=args.data, repeats=args.repeats, journal_file=args.journal
    )
    if args.quick:
        settings = replace(settings, **QUICK)
    found: dict[str, Any] = {"ratios": {}, "measurements": {}}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text(encoding="utf-8"))
    for name in args.only or NAMES:
        print(f"{name}:", flush=True)
        result = run_measurement(name, settings, args.quick, args.chart)
        found["measurements"][name] = {"environment": environment()} | result
        found["ratios"] |= result["ratios"]
        if args.json:
            save_json(args.json, found)
    ratios: dict[str, float | None] = found["ratios"]
    aims = AT_LEAST | AT_MOST
    print(f"\n{'ratio':48} {'value':>8} {'aim':>8}")
    for key, value in ratios.items():
        shown = "-" if value is None else format(value, ".3f")
        print(f"{key:48} {shown:>8} {aims.get(key, ''):>8}")
    draw_ratios(ratios, args.chart)
    if args.check and (short := missed(ratios)):
        sys.exit("aims missed or not measured: " + ", ".join(short))
    return ratios


if __name__ == "__main__":
    main()
