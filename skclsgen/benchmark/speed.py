"""How fast the package is beside the usual path, and beside what the machine can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from ..backbone import load_base_model
from ..classifier import CLSGenClassifier
from ..lora import FusedLora
from .breakdown import time_by_kind
from .measure import median, take_turns, timed
from .parting import close_calls
from .roof import forward_flops, matrix_rate, training_flops
from .settings import Settings, folder_of, forget
from .tasks import Task
from .time_to_auroc import time_to_auroc
from .usual import Generator

__all__ = ["MEASUREMENTS", "measure"]


def prediction(settings: Settings) -> dict[str, Any]:
    """Rows per second of ``predict_proba`` and of ``pipeline`` on texts never seen before.

    Short texts (e-SNLI) and long ones (CliniFact, a tenth as many).
    """
    base = load_base_model(settings.model)
    task = settings.task("esnli")
    clf = settings.classifier(epochs=1, random_state=0, rationales=None)
    clf.fit(task.texts[:64], task.labels[:64])
    pipelines = {}
    for name, weights in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        pipelines[name] = settings.usual(weights, 0)
        pipelines[name].merge()
    runs: dict[str, list[dict[str, Any]]] = {}
    ratios: dict[str, float | None] = {}
    for text, rows in (("esnli", settings.predicted), ("clinifact", settings.predicted // 10)):
        ours = f"ours, cold, {text}"
        paths = {
            f"usual {dtype}, {text}": _rate(usual.predict_proba, settings.task(text), rows)
            for dtype, usual in pipelines.items()
        }
        paths[ours] = _rate(clf.predict_proba, settings.task(text), rows, lambda: forget(base))
        paths[f"ours, warm, {text}"] = _rate(clf.predict_proba, settings.task(text), rows)
        runs |= take_turns(paths, settings.repeats)
        key = "predict_proba" if text == "esnli" else f"predict_proba_{text}"
        own = median(runs[ours], "rows_per_second")
        for dtype in pipelines:
            their = median(runs[f"usual {dtype}, {text}"], "rows_per_second")
            ratios[f"{key}_vs_{dtype}"] = own / their
    return {"runs": runs, "ratios": ratios}


def _rate(
    predict: Callable[[list[str]], Any],
    task: Task,
    rows: int,
    prepare: Callable[[], None] = lambda: None,
) -> Callable[[int], dict[str, Any]]:
    """Return what times ``predict`` on other texts each turn, after ``prepare``."""

    def run(turn: int) -> dict[str, Any]:
        prepare()
        texts = task.unlike(rows, turn)
        seconds, _ = timed(lambda: predict(texts))
        return {"seconds": seconds, "rows_per_second": rows / seconds}

    return run


def explaining(settings: Settings) -> dict[str, Any]:
    """Tokens per second of ``explain`` and of batched ``generate`` with the same adapters."""
    task = settings.task("esnli")
    clf = settings.classifier(epochs=1, random_state=0)
    clf.fit(task.texts[:200], task.labels[:200], explanations=(task.explanations or [])[:200])
    live = clf._network.live()
    base, net, encoder = live.base, live.net, live.encoder
    fused = {name: m for name, m in net.lm.named_modules() if isinstance(m, FusedLora)}
    usual = Generator.load(folder_of(base), base.dtype, settings.rank, list(fused))
    with torch.no_grad():
        state = {
            f"base_model.model.{name}.{part}.default.weight": getattr(layer, part).weight
            for name, layer in fused.items()
            for part in ("lora_A", "lora_B")
        }
        unexpected = usual.lm.load_state_dict(state, strict=False).unexpected_keys
    assert not unexpected, unexpected
    texts = task.test_texts[: settings.explained]
    spoken: dict[str, list[str]] = {}

    def ours(turn: int) -> dict[str, Any]:
        forget(base)
        seconds, found = timed(lambda: clf.explain(texts))
        spoken["ours"] = [reason.text for reason in found]
        words = [encoder.plain_ids(" " + reason.text) for reason in found]
        tokens = sum(map(len, words)) + sum(reason.complete for reason in found)
        return {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds}

    labels = [list(clf.classes_).index(label) for label in clf.predict(texts)]
    prompts = [
        [*encoder.prefix_ids, *prompt, *encoder.opening(label)]
        for prompt, label in zip(encoder.encode(texts), labels, strict=True)
    ]

    def theirs(turn: int) -> dict[str, Any]:
        seconds, replies = timed(lambda: usual(prompts, clf.max_new_tokens, sorted(base.stop_ids)))
        spoken["usual"] = [encoder.words(reply) for reply in replies]
        tokens = sum(map(len, replies))
        return {"seconds": seconds, "tokens": tokens, "tokens_per_second": tokens / seconds}

    runs = take_turns({"usual bf16": theirs, "ours": ours}, settings.repeats)
    rates = {name: median(runs[name], "tokens_per_second") for name in runs}
    same = sum(a == b for a, b in zip(spoken["ours"], spoken["usual"], strict=True))
    ids = {name: [encoder.plain_ids(" " + text) for text in said] for name, said in spoken.items()}
    return {
        "runs": runs,
        "same_words": same / len(texts),
        "spacings_at_partings": close_calls(usual.lm, prompts, ids["ours"], ids["usual"]),
        "ratios": {"explain_vs_bf16": rates["ours"] / rates["usual bf16"]},
    }


def roof(settings: Settings) -> dict[str, Any]:
    """Share of the measured matrix rate that training and prefill reach, and where time goes."""
    task = settings.task("esnli")
    base = load_base_model(settings.model)
    rate = matrix_rate(base.dtype, base.device)
    clf = settings.classifier(epochs=1, random_state=0)

    def fit() -> Any:
        return clf.fit(task.texts, task.labels, explanations=task.explanations)

    fit()  # the trunk is stored now
    live = clf._network.live()
    labels, prefix = task.targets().tolist(), len(live.net.prefix_ids)
    prompts = live.encoder.encode(task.texts)
    rows = [
        (prompt, live.encoder.continuation(label, reason, clf.max_new_tokens))
        for prompt, label, reason in zip(prompts, labels, task.explanations or [], strict=True)
    ]
    work = training_flops(live.net.lm, live.net.depth, rows, prefix)

    def training(turn: int) -> dict[str, Any]:
        seconds, _ = timed(fit)
        return {"seconds": seconds, "flops_per_second": work / seconds}

    def prefill(turn: int) -> dict[str, Any]:
        forget(base)
        texts = task.unlike(settings.predicted, turn)
        read = [(prompt, ()) for prompt in live.encoder.encode(texts)]
        operations = forward_flops(clf._network.live().net.lm, read, prefix)
        seconds, _ = timed(lambda: clf.predict_proba(texts))
        return {"seconds": seconds, "flops_per_second": operations / seconds}

    runs = take_turns({"training": training, "prefill": prefill}, settings.repeats)
    return {
        "runs": runs,
        "profiles": _profiles(clf, task, settings),
        "matrix_flops_per_second": rate,
        "training_tokens": sum(len(p) + len(c) for p, c in rows),
        "ratios": {
            "train_roof_share": median(runs["training"], "flops_per_second") / rate,
            "prefill_roof_share": median(runs["prefill"], "flops_per_second") / rate,
        },
    }


def _profiles(clf: CLSGenClassifier, task: Task, settings: Settings) -> dict[str, Any]:
    """Where the time of training steps and of prediction goes."""
    few = task.head(4 * clf.batch_size, 0)  # or the profile would not fit into memory
    some, texts = clone(clf), task.unlike(32, settings.repeats)

    def steps() -> Any:
        return some.fit(few.texts, few.labels, explanations=few.explanations)

    steps()  # kernels are made now
    profiles = {
        "training": time_by_kind(steps, settings.rank),
        "prefill": time_by_kind(lambda: clf.predict_proba(texts), settings.rank),
    }
    for name, shares in profiles.items():
        print(f"  {name}: " + ", ".join(f"{kind} {share:.0%}" for kind, share in shares.items()))
    return profiles


def cross_validation(settings: Settings) -> dict[str, Any]:
    """Five-fold cross-validation beside one fit, with the package's defaults."""
    task = settings.task("messages").head(settings.folded, 0)
    base = load_base_model(settings.model)
    clf = settings.classifier(random_state=0)

    def one(turn: int) -> dict[str, Any]:
        forget(base)
        seconds, _ = timed(lambda: clf.fit(task.texts, task.labels))
        return {"seconds": seconds}

    def five(turn: int) -> dict[str, Any]:
        forget(base)
        before = base.trunk_cache.misses
        seconds, scores = timed(lambda: cross_val_score(clf, task.texts, task.labels, cv=5))
        return {
            "seconds": seconds,
            "accuracy": float(scores.mean()),
            "readings_per_text": (base.trunk_cache.misses - before) / len(set(task.texts)),
        }

    runs = take_turns({"one fit": one, "five folds": five}, settings.repeats)
    ratio = median(runs["five folds"], "seconds") / median(runs["one fit"], "seconds")
    return {"runs": runs, "ratios": {"cv5_over_fit": ratio}}


#: Measurements by name.
MEASUREMENTS: dict[str, Callable[[Settings], dict[str, Any]]] = {
    "roof": roof,
    "predict": prediction,
    "explain": explaining,
    "cv": cross_validation,
    "esnli": lambda settings: time_to_auroc("esnli", settings),
    "messages": lambda settings: time_to_auroc("messages", settings),
    "clinifact": lambda settings: time_to_auroc("clinifact", settings),
}


def measure(name: str, settings: Settings) -> dict[str, Any]:
    """Run one of :data:`MEASUREMENTS`; raw runs and ``ratios``."""
    return {"settings": settings.to_dict()} | MEASUREMENTS[name](settings)
