"""Does one sentence follow from another? e-SNLI, with human explanations to learn from.

Entailment against contradiction: 800 rows of its development set to learn from, 500 rows of its
test set to judge by, several seeds. The data are fetched from their public home (15 MB) and kept.

    python examples/esnli.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from skclsgen import CLSGenClassifier
from skclsgen.datasets import fetch_esnli


def main() -> None:
    """Fit once per seed; print scores, times and explanations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with the files, instead of fetching them")
    parser.add_argument("--rows", type=int, default=800, help="training rows")
    parser.add_argument("--test-rows", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=CLSGenClassifier().epochs)
    parser.add_argument("--learning-rate", type=float, default=CLSGenClassifier().learning_rate)
    args = parser.parse_args()

    test = fetch_esnli("test", folder=args.data, n_rows=args.test_rows, random_state=0, verbose=1)
    gold = np.array(test.labels) == "entailment"
    scores, seconds = [], []
    for seed in range(args.seeds):
        train = fetch_esnli("dev", folder=args.data, n_rows=args.rows, random_state=seed)
        clf = CLSGenClassifier(
            epochs=args.epochs, learning_rate=args.learning_rate, random_state=seed, verbose=1
        )
        start = time.perf_counter()
        clf.fit(train.records, train.labels, explanations=train.reasons)
        seconds.append(time.perf_counter() - start)
        proba = clf.predict_proba(test.records)[:, list(clf.classes_).index("entailment")]
        scores.append(roc_auc_score(gold, proba))
        accuracy = np.mean((proba > 0.5) == gold)
        print(
            f"seed {seed}: test AUROC {scores[-1]:.4f}, accuracy {accuracy:.3f}, "
            f"fit {seconds[-1]:.0f} s",
            flush=True,
        )
    print(
        f"mean of {args.seeds} seeds: test AUROC {np.mean(scores):.4f} "
        f"(sd {np.std(scores):.4f}), longest fit {max(seconds):.0f} s"
    )

    shown = test.take(range(min(10, len(test))))
    for text, label, people, reason in zip(
        shown.texts, shown.labels, shown.reasons, clf.explain(shown.records), strict=True
    ):
        print(f"\n{text}")
        print(f"  gold  {label}: {people}")
        print(f"  model {reason.label} ({reason.proba:.2f}): {reason.text}")


if __name__ == "__main__":
    main()
