"""Does one sentence follow from another? e-SNLI, with human explanations to learn from.

Entailment against contradiction: 800 rows of ``dev.csv`` to learn from, 500 rows of ``test.csv``
to judge by, several seeds. The files come from https://github.com/OanaMariaCamburu/e-SNLI (MIT).

    python examples/esnli.py --data path/to/esnli
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from skclsgen import CLSGenClassifier

LABELS = ["contradiction", "entailment"]
COLUMNS = ["premise", "hypothesis"]


def read(file: Path, rows: int, seed: int) -> pd.DataFrame:
    """Read ``rows`` random rows of the two labels."""
    table = pd.read_csv(file, keep_default_na=False)
    return table[table["label"].isin(LABELS)].sample(rows, random_state=seed)


def main() -> None:
    """Fit once per seed; print scores, times and explanations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with dev.csv and test.csv")
    parser.add_argument("--rows", type=int, default=800, help="training rows")
    parser.add_argument("--test-rows", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=CLSGenClassifier().epochs)
    parser.add_argument("--learning-rate", type=float, default=CLSGenClassifier().learning_rate)
    parser.add_argument("--lora-layers", type=float, default=CLSGenClassifier().lora_layers)
    args = parser.parse_args()

    test = read(args.data / "test.csv", args.test_rows, seed=0)
    scores, seconds = [], []
    for seed in range(args.seeds):
        train = read(args.data / "dev.csv", args.rows, seed=seed)
        clf = CLSGenClassifier(
            epochs=args.epochs,
            learning_rate=args.learning_rate,
            lora_layers=args.lora_layers,
            random_state=seed,
            verbose=1,
        )
        start = time.perf_counter()
        clf.fit(train[COLUMNS], train["label"], explanations=train["explanation_1"].tolist())
        seconds.append(time.perf_counter() - start)
        proba = clf.predict_proba(test[COLUMNS])[:, 1]
        scores.append(roc_auc_score(test["label"] == LABELS[1], proba))
        accuracy = np.mean((proba > 0.5) == (test["label"] == LABELS[1]))
        print(
            f"seed {seed}: test AUROC {scores[-1]:.4f}, accuracy {accuracy:.3f}, "
            f"fit {seconds[-1]:.0f} s",
            flush=True,
        )
    print(
        f"mean of {args.seeds} seeds: test AUROC {np.mean(scores):.4f} "
        f"(sd {np.std(scores):.4f}), longest fit {max(seconds):.0f} s"
    )

    shown = test[:10]
    for row, reason in zip(shown.itertuples(), clf.explain(shown[COLUMNS]), strict=True):
        print(f"\npremise:    {row.premise}\nhypothesis: {row.hypothesis}")
        print(f"  gold  {row.label}: {row.explanation_1}")
        print(f"  model {reason.label} ({reason.proba:.2f}): {reason.text}")


if __name__ == "__main__":
    main()
