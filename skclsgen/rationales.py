"""Where training explanations come from when the caller has none, and which are kept.

The base model is shown a text and asked for the words that show its label; its reply is opened for
it with ``The text is labelled {label} because it says "``, so that it quotes. Self-generated text
is close to the model's own distribution, so training on it also preserves its language. Every
candidate, or what a teacher writes instead, passes a filter; what it drops is reported per class,
and a dropped row keeps its classification loss.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tqdm.auto import tqdm

from .backbone import BaseModel
from .exceptions import FallbackWarning, InvalidTextError
from .generation import batches_to_decode, decode, prefill_base
from .inputs import TrainingRows, check_explanations
from .memory import Memory
from .packed_model import PackedModel
from .prompt import PromptEncoder
from .wording import is_unspaced, terms, without_last_word

__all__ = [
    "REASONS",
    "RationaleReport",
    "Teacher",
    "choose_rationales",
    "filter_rationale",
    "quotation",
    "self_rationales",
]

INSTRUCTION = "Say which words of the text show its label."
CUE = "The text is labelled"
MARK = '"'
OPENING = f" because it says {MARK}"
#: What a quotation is made a sentence with; it names no label, not even one called "IT".
QUOTING = f"It says {MARK}"

#: Why a candidate was dropped, in the order of the checks.
REASONS = ("empty", "repetitive", "other label", "ungrounded")

#: A function of the caller's that takes texts and the words of their labels, and returns a reason,
#: or None, for each.
Teacher = Callable[[list[str], list[str]], Sequence[str | None]]

#: Fewest words of a reason; smallest shares of different words, and of words from the text among
#: those of four letters or more (all, if there are none).
MIN_WORDS, MIN_DISTINCT, MIN_GROUNDED = 4, 0.5, 0.5

#: Labels of so few letters that are written in capitals are looked for in capitals: a reason that
#: says "it" or "us" does not name the label "IT" or "US".
ACRONYM = 3

#: Most rationales remembered per base model.
REMEMBERED = 100_000


def self_rationales(
    base: BaseModel,
    texts: Sequence[str],
    labels: Sequence[int],
    label_words: Sequence[str],
    *,
    max_length: int,
    max_new_tokens: int,
    memory: Memory | None = None,
    verbose: int = 0,
) -> list[str]:
    """Have the base model explain each text's gold label.

    Parameters
    ----------
    base : BaseModel
        Writes the reasons; also remembers them, so that folds and repeated fits share them.
    texts : sequence of str
    labels : sequence of int
        Index of each text's gold class.
    label_words : sequence of str
        Words of each class.
    max_length, max_new_tokens : int
        Longest prompt and longest reason, in tokens.
    memory : Memory, optional
        Where reasons are kept between sessions.
    verbose : int, default=0
        Show a progress bar from 1 up.

    Returns
    -------
    list of str
        One unfiltered candidate per text: the quotation as a sentence, or nothing.
    """
    try:
        encoder = PromptEncoder(base.tokenizer, INSTRUCTION, label_words, max_length, cue=CUE)
    except InvalidTextError as error:
        raise InvalidTextError(
            f"max_length={max_length} leaves no room for asking the base model for reasons; raise "
            "it, pass explanations, or set rationales=None."
        ) from error
    because = encoder.plain_ids(OPENING)
    # With what makes it a sentence, a quotation must fit into a reason, or its end is never learnt.
    longest_quote = max(1, max_new_tokens - len(encoder.reason_ids(f"{QUOTING}{MARK}.")))
    longest = max(map(len, encoder.label_ids)) + len(because)
    room = base.context_length - longest_quote - longest
    if room < max_length:  # these replies open with more than those that max_length leaves room for
        encoder = PromptEncoder(
            base.tokenizer, INSTRUCTION, label_words, room, cue=CUE, frame=encoder.frame
        )
    prompts = encoder.encode(texts, warn=False)  # what is trained on them will tell
    openings = [[*encoder.label_ids[label], *because] for label in labels]
    written = base.rationales
    prefix = tuple(encoder.prefix_ids)
    keys = [
        ((*prefix, *prompt), tuple(opening), longest_quote)
        for prompt, opening in zip(prompts, openings, strict=True)
    ]
    if memory is not None:
        kept = {key: memory.reason(key) for key in keys if key not in written}
        written |= {key: reason for key, reason in kept.items() if reason is not None}
    todo = list({key: row for row, key in enumerate(keys) if key not in written}.values())
    if todo:
        model = PackedModel(base, prefix)
        # What follows the closing mark would be thrown away.
        closing = {i for token, i in base.tokenizer.get_vocab().items() if MARK in token}
        ends = base.stop_ids | closing
        with tqdm(total=len(todo), desc="rationales", unit="text", disable=verbose < 1) as bar:
            extra_tokens = len(prefix) + longest_quote
            for batch in batches_to_decode([prompts[row] for row in todo], extra_tokens):
                rows = [todo[i] for i in batch]
                replies = decode(
                    model.lm,
                    prefill_base(model, [prompts[row] for row in rows]),
                    [openings[row] for row in rows],
                    longest_quote,
                    ends,
                    bar.update,
                )
                for row, reply in zip(rows, replies, strict=True):
                    said = encoder.words(reply)
                    if reply[-1] not in ends:  # its last word may be half a word
                        said = without_last_word(said)
                    written[keys[row]] = quotation(said)
                    if memory is not None:
                        memory.keep_reason(keys[row], written[keys[row]])
    candidates = [written[key] for key in keys]
    while len(written) > REMEMBERED:
        written.pop(next(iter(written)))
    return candidates


def quotation(reply: str) -> str:
    """Return what the model quoted, up to the closing mark, as a sentence.

    Examples
    --------
    >>> quotation('no power since noon" and it sounds')
    'It says "no power since noon".'
    """
    quote = reply.split(MARK)[0].strip().rstrip(".")
    return f"{QUOTING}{quote}{MARK}." if quote else ""


def filter_rationale(
    candidate: str | None, text: str, label: int, label_words: Sequence[str]
) -> str | None:
    """Return why a candidate must be dropped (one of :data:`REASONS`), or ``None`` to keep it.

    Examples
    --------
    >>> filter_rationale("It says the power is out.", "Power is out!", 0, ["urgent", "calm"])
    >>> filter_rationale("It is calm here.", "Power is out!", 0, ["urgent", "calm"])
    'other label'
    >>> filter_rationale("It says the power is out.", "Power is out!", 0, ["HR", "IT"])
    """
    said = terms(candidate or "")
    if len(said) < MIN_WORDS:
        return "empty"
    if len(set(said)) < MIN_DISTINCT * len(said):
        return "repetitive"
    # Words around a quotation are not the reason's own.
    reason, own = (candidate or "").removeprefix(QUOTING), set(terms(label_words[label]))
    named = set(terms(reason))
    for other, name in enumerate(label_words):
        if other != label and _is_named(name, set(terms(name)) - own, reason, named):
            return "other label"
    source = set(terms(text))
    told = terms(reason)
    told = [word for word in told if len(word) > 3 or is_unspaced(word)] or told
    if sum(word in source for word in told) < MIN_GROUNDED * len(told):
        return "ungrounded"
    return None


def _is_named(label: str, foreign: set[str], reason: str, named: set[str]) -> bool:
    """Whether a reason, of the words ``named``, has all of a label's that the true one has not."""
    if foreign and label.isupper() and len(label) <= ACRONYM:
        return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", reason) is not None
    return bool(foreign) and foreign <= named


@dataclass(frozen=True)
class RationaleReport:
    """Where explanations came from and what became of them.

    Attributes
    ----------
    source : {"caller", "self", "teacher", "none"}
        Who wrote them.
    classes : list of dict
        For each class its number of ``rows``, how many are ``kept``, and ``dropped``: a count
        per reason.
    """

    source: str
    classes: list[dict[str, Any]]


def choose_rationales(
    base: BaseModel,
    rows: TrainingRows,
    label_words: Sequence[str],
    *,
    source: Literal["self"] | Teacher | None,
    max_length: int,
    max_new_tokens: int,
    memory: Memory | None = None,
    verbose: int = 0,
) -> tuple[list[str | None], RationaleReport]:
    """Return an explanation or ``None`` for every row, and the report.

    Parameters
    ----------
    base : BaseModel
        Writes the reasons if the caller gave none.
    rows : TrainingRows
        Texts, labels and the caller's explanations.
    label_words : sequence of str
        Words of each class.
    source : {"self", None} or callable
        Where explanations come from if the caller gave none; a callable is a teacher.
    max_length, max_new_tokens, memory, verbose
        As for :func:`self_rationales`.

    Raises
    ------
    InvalidExplanationsError
        If a teacher does not return one string or None per text.
    """
    if rows.reasons is not None or source is None:
        name = "none" if rows.reasons is None else "caller"
        reasons = rows.reasons or [None] * len(rows.texts)
        dropped = ["not given" if reason is None else None for reason in reasons]
    else:
        candidates: Sequence[str | None]
        if callable(source):
            name = "teacher"
            candidates = _taught(source, rows, label_words)
        else:
            name = "self"
            candidates = self_rationales(
                base,
                rows.texts,
                rows.labels.tolist(),
                label_words,
                max_length=max_length,
                max_new_tokens=max_new_tokens,
                memory=memory,
                verbose=verbose,
            )
        dropped = [
            filter_rationale(candidate, text, label, label_words)
            for candidate, text, label in zip(candidates, rows.texts, rows.labels, strict=True)
        ]
        reasons = [c if d is None else None for c, d in zip(candidates, dropped, strict=True)]
        if callable(source):
            _warn_if_most_are_dropped([d for c, d in zip(candidates, dropped, strict=True) if c])
    counts = []
    for index in range(len(label_words)):
        why = [d for label, d in zip(rows.labels, dropped, strict=True) if label == index]
        lost = Counter(d for d in why if d is not None)
        counts.append(
            {"rows": len(why), "kept": len(why) - sum(lost.values()), "dropped": dict(lost)}
        )
    return reasons, RationaleReport(name, counts)


def _warn_if_most_are_dropped(dropped: Sequence[str | None]) -> None:
    lost = Counter(reason for reason in dropped if reason is not None)
    if 2 * lost.total() <= len(dropped):
        return
    counted = ", ".join(f"{reason}: {count}" for reason, count in lost.items())
    warnings.warn(
        f"{lost.total()} of the {len(dropped)} explanations that the callable rationales returned "
        f"are no quotations to learn from ({counted}) and are left out. Pass explanations to fit, "
        "which are taken as they are, or change the callable.",
        FallbackWarning,
        stacklevel=2,
    )


def _taught(
    teacher: Teacher, rows: TrainingRows, label_words: Sequence[str]
) -> Sequence[str | None]:
    """Have a teacher explain every row's label."""
    written = teacher(list(rows.texts), [label_words[label] for label in rows.labels])
    found = check_explanations(written, len(rows), "what the callable rationales returned")
    return [None] * len(rows) if found is None else found
