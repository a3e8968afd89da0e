"""Which customer messages must a human answer now? The main job, on the bundled data.

Fits the classifier on 599 messages with reasons, compares it with TF-IDF + logistic regression,
prints explanations and saves a picture of the probabilities.

    python examples/messages.py
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import auc, brier_score_loss, roc_auc_score, roc_curve
from sklearn.pipeline import make_pipeline

from skclsgen import CLSGenClassifier
from skclsgen.datasets import load_messages


def main() -> None:
    """Fit, compare, explain, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, default=Path("messages.png"))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    messages = load_messages()
    train, test = messages.train, messages.test
    gold = np.array(test.labels) == "escalate"
    print(f"{len(train)} messages to learn from, {len(test)} to judge by, e.g. {test.texts[0]!r}")

    start = time.perf_counter()
    clf = CLSGenClassifier(random_state=args.seed, verbose=1)
    clf.fit(train.texts, train.labels, explanations=train.explanations)
    print(f"fit in {time.perf_counter() - start:.0f} s on {clf.base_model_['source']} model")
    words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(train.texts, train.labels)

    probabilities = {}
    print(f"\n{'test set':32} {'AUROC':>6} {'accuracy':>9} {'Brier':>6}")
    for name, model in (
        ("CLSGenClassifier", clf),
        ("TF-IDF + logistic regression", words),
    ):
        column = list(model.classes_).index("escalate")
        proba = probabilities[name] = model.predict_proba(test.texts)[:, column]
        accuracy = np.mean((proba > 0.5) == gold)
        print(
            f"{name:32} {roc_auc_score(gold, proba):6.3f} {accuracy:9.3f} "
            f"{brier_score_loss(gold, proba):6.3f}"
        )

    draw(probabilities, gold, args.picture)
    for reason in clf.explain(test.texts[:3]):
        print(f"\n{reason.source}\n  -> {reason.label} ({reason.proba:.0%}): {reason}")
    print(f"\npicture: {args.picture.resolve()}")


def draw(probabilities: dict[str, np.ndarray], gold: np.ndarray, file: Path) -> None:
    """Save histograms of the probabilities per true label, and ROC curves."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    bins = np.linspace(0, 1, 21)
    proba = probabilities["CLSGenClassifier"]
    for label, rows, colour in (("escalate", gold, "#c8553d"), ("routine", ~gold, "#4c8dd6")):
        left.hist(proba[rows], bins, alpha=0.65, label=label, color=colour)
    left.set(xlabel="probability of escalate", ylabel="test messages", title="CLSGenClassifier")
    left.legend(title="true label", loc="upper center")
    for (name, scores), colour in zip(probabilities.items(), ("#222222", "#999999"), strict=True):
        fallout, recall, _ = roc_curve(gold, scores)
        right.plot(fallout, recall, color=colour, label=f"{name} ({auc(fallout, recall):.3f})")
    right.plot([0, 1], [0, 1], ":", color="#bbbbbb", zorder=0)
    right.legend(title="area under the curve", loc="lower right")
    right.set(xlabel="routine messages escalated", ylabel="urgent messages caught", title="ROC")
    figure.savefig(file, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
