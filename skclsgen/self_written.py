"""What the base model writes about training rows whose labels it is told.

Either it *quotes*: it is asked for the words that show the label, and its reply is opened for it
with ``The text is labelled {label} because it says "``. Or it *explains*: it answers the very
prompt that it will be tuned on, opened with the label, as ``explain`` has it. Text of its own is
close to its distribution, so training on it also preserves its language.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from tqdm.auto import tqdm

from .backbone import BaseModel
from .exceptions import InvalidTextError
from .generation import batches_to_decode, decode, prefill_base
from .memory import Memory
from .packed_model import PackedModel
from .prompt import PromptEncoder
from .sampling import Pick, most_likely, own_sampler
from .wording import whole_sentences, without_last_word

__all__ = ["QUOTING", "quotation", "self_explanations", "self_quotations"]

INSTRUCTION = "Say which words of the text show its label."
CUE = "The text is labelled"
MARK = '"'
OPENING = f" because it says {MARK}"
#: What a quotation is made a sentence with; it names no label, not even one called "IT".
QUOTING = f"It says {MARK}"

#: Explanations are drawn, at this temperature: greedy ones repeat themselves, and so does who
#: learns from them.
TEMPERATURE = 0.5

#: Most replies remembered per base model.
REMEMBERED = 100_000


def self_quotations(
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
    """Have the base model quote what shows each text's gold label.

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
    # What follows the closing mark would be thrown away.
    closing = {i for token, i in base.tokenizer.get_vocab().items() if MARK in token}
    return _replies(
        base,
        encoder,
        texts,
        [[*encoder.label_ids[label], *because] for label in labels],
        longest_quote,
        base.stop_ids | closing,
        # The last word of what was cut off may be half a word.
        lambda said, ended: quotation(said if ended else without_last_word(said)),
        memory,
        verbose,
    )


def self_explanations(
    base: BaseModel,
    encoder: PromptEncoder,
    texts: Sequence[str],
    labels: Sequence[int],
    *,
    max_new_tokens: int,
    draw: int = 0,
    memory: Memory | None = None,
    verbose: int = 0,
) -> list[str]:
    """Have the base model explain each text's gold label, as it might before any training.

    Explanations are drawn by random numbers that prompt, label, length and ``draw`` fix, so that
    every fit and fold learns from the same ones of a text.

    Parameters
    ----------
    base : BaseModel
        As for :func:`self_quotations`.
    encoder : PromptEncoder
        Of the prompts that are trained on.
    texts, labels, max_new_tokens, memory, verbose
        As for :func:`self_quotations`.
    draw : int, default=0
        Another one draws other explanations.

    Returns
    -------
    list of str
        One unfiltered candidate per text: its explanation; where it was cut off, what sentences
        there are of it, :class:`~skclsgen.wording.Unfinished`.
    """
    return _replies(
        base,
        encoder,
        texts,
        [encoder.opening(label) for label in labels],
        max_new_tokens,
        base.stop_ids,
        lambda said, ended: said if ended else whole_sentences(said),
        memory,
        verbose,
        (TEMPERATURE, draw),
    )


def _replies(
    base: BaseModel,
    encoder: PromptEncoder,
    texts: Sequence[str],
    openings: Sequence[list[int]],
    longest: int,
    ends: frozenset[int],
    finish: Callable[[str, bool], str],
    memory: Memory | None,
    verbose: int,
    drawn: tuple[float, int] | None = None,
) -> list[str]:
    """Write what is neither remembered nor in the memory; ``finish`` is told whether it ended.

    Greedily, or ``drawn`` at a temperature, one time of several.
    """
    prompts = encoder.encode(texts, warn=False)  # what is trained on them will tell
    prefix = tuple(encoder.prefix_ids)
    written = base.rationales
    keys = [
        ((*prefix, *prompt), tuple(opening), longest, *(drawn or ()))
        for prompt, opening in zip(prompts, openings, strict=True)
    ]
    if memory is not None:
        kept = {key: memory.reason(key) for key in keys if key not in written}
        written |= {key: reason for key, reason in kept.items() if reason is not None}
    todo = list({key: row for row, key in enumerate(keys) if key not in written}.values())
    if todo:
        model = PackedModel(base, prefix)
        with tqdm(total=len(todo), desc="rationales", unit="text", disable=verbose < 1) as bar:
            for batch in batches_to_decode([prompts[row] for row in todo], len(prefix) + longest):
                rows = [todo[i] for i in batch]
                pick: Pick = most_likely
                if drawn is not None:
                    seeds = [_seed(keys[row]) for row in rows]
                    pick = own_sampler(base.logit_shape, drawn[0], seeds, longest, ends)
                replies = decode(
                    model.lm,
                    prefill_base(model, [prompts[row] for row in rows]),
                    [openings[row] for row in rows],
                    longest,
                    ends,
                    bar.update,
                    pick,
                )
                for row, reply in zip(rows, replies, strict=True):
                    written[keys[row]] = finish(encoder.words(reply), reply[-1] in ends)
                    if memory is not None:
                        memory.keep_reason(keys[row], written[keys[row]])
    candidates = [written[key] for key in keys]
    while len(written) > REMEMBERED:
        written.pop(next(iter(written)))
    return candidates


def _seed(key: Sequence[Any]) -> int:
    """Return a number that a key fixes, in all processes."""
    return int.from_bytes(hashlib.sha256(json.dumps(key).encode()).digest()[:7], "big")


def quotation(reply: str) -> str:
    """Return what the model quoted, up to the closing mark, as a sentence.

    Examples
    --------
    >>> quotation('no power since noon" and it sounds')
    'It says "no power since noon".'
    """
    quote = reply.split(MARK)[0].strip().rstrip(".")
    return f"{QUOTING}{quote}{MARK}." if quote else ""
