"""Run the benchmarks from the command line: ``python -m skclsgen.benchmark speed --help``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .charts import draw_ratios, draw_scaling
from .measure import environment, save_json
from .scaling import measure_scaling
from .speed import MEASUREMENTS, Settings, measure

#: One row each, so that all of it takes under three minutes; the numbers mean nothing.
QUICK: dict[str, Any] = {
    "repeats": 1,
    "rows": 16,
    "test_rows": 16,
    "predicted": 16,
    "explained": 8,
    "folded": 20,
    "usual_epochs": 1,
    "our_epochs": 1,
}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(prog="python -m skclsgen.benchmark", description=__doc__)
    speed = top.add_subparsers(dest="command", required=True).add_parser(
        "speed", help="ours beside the usual path, in one process, in turns"
    )
    names = [*MEASUREMENTS, "scaling"]
    speed.add_argument("--data", type=Path, help="folder with esnli/ and clinifact/")
    speed.add_argument("--only", choices=names, action="append", help="one measurement (repeat)")
    speed.add_argument("--json", type=Path, help="file for everything measured; adds to it")
    speed.add_argument("--chart", type=Path, default=Path("speed.png"), help="file for the bars")
    speed.add_argument("--quick", action="store_true", help="a few rows each: does it all run?")
    speed.add_argument("--repeats", type=int, default=Settings.repeats)
    speed.add_argument("--model", default=Settings.model)
    return top


def main(arguments: Sequence[str] | None = None) -> dict[str, float | None]:
    """Measure, print, save; return the ratios."""
    args = parser().parse_args(arguments)
    settings = Settings(model=args.model, data=args.data, repeats=args.repeats)
    if args.quick:
        settings = replace(settings, **QUICK)
    found: dict[str, Any] = {"ratios": {}, "measurements": {}}
    if args.json and args.json.exists():
        found = json.loads(args.json.read_text(encoding="utf-8"))
    for name in args.only or [*MEASUREMENTS, "scaling"]:
        print(f"{name}:", flush=True)
        if name == "scaling":
            sizes = {"rows": (8, 16), "tokens": (16, 32)} if args.quick else {}
            result = measure_scaling(settings, **sizes)
            draw_scaling(result["runs"], args.chart.with_stem(args.chart.stem + "-scaling"))
        else:
            result = measure(name, settings)
        found["measurements"][name] = {"environment": environment()} | result
        found["ratios"] |= result["ratios"]
        if args.json:
            save_json(args.json, found)
    ratios: dict[str, float | None] = found["ratios"]
    print(f"\n{'ratio':48} {'value':>8}")
    for key, value in ratios.items():
        print(f"{key:48} {'-' if value is None else format(value, '8.2f'):>8}")
    draw_ratios(ratios, args.chart)
    return ratios


if __name__ == "__main__":
    main()
