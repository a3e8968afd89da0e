"""From a text and its labels to token ids.

A sequence reads ``instruction | text | "Answer:" | " {label}. {explanation}<eos>"``. The part up
to and including the cue is the *prompt*; its last token is the *decision token*. Everything a
caller supplies (texts, label words, explanations) is encoded as plain characters, so that it can
never become a control token.
"""

from __future__ import annotations

import copy
import logging
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Self

from transformers import PreTrainedTokenizerBase

from .exceptions import (
    FallbackWarning,
    InvalidLabelsError,
    InvalidTextError,
    TruncationWarning,
)
from .wording import Unfinished

__all__ = ["ANSWER_CUE", "LABEL_END", "PromptEncoder", "default_instruction", "render_chat"]

logger = logging.getLogger(__name__)

#: Ends every prompt; the hidden state at its last token feeds the classification head.
ANSWER_CUE = "Answer:"
#: Stands between the label's words and the explanation.
LABEL_END = "."

#: Stands in for the user's text while the chat template is rendered. Private-use characters: no
#: template mentions them.
_SLOT = "\ue000text\ue001"


def default_instruction(label_words: Sequence[str]) -> str:
    """Return the instruction used when the caller gives none.

    Examples
    --------
    >>> default_instruction(["urgent", "routine"])
    'Label the text as urgent or routine, then give the reason.'
    """
    words = list(label_words)
    listed = ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else words[0]
    return f"Label the text as {listed}, then give the reason."


def render_chat(tokenizer: PreTrainedTokenizerBase, instruction: str, text: str, reply: str) -> str:
    """Lay out one exchange as the model's chat template does, the assistant's reply begun.

    Models without a template get plain paragraphs; templates without a system role get the
    instruction in front of the text.
    """
    if not tokenizer.chat_template:
        return f"{instruction}\n\n{text}\n\n{reply}"
    attempts: list[list[dict[str, str]]] = [
        [{"role": "system", "content": instruction}, {"role": "user", "content": text}],
        [{"role": "user", "content": f"{instruction}\n\n{text}"}],
    ]
    # Switches the thinking block off in templates that have one; others ignore it.
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True}
    for messages in attempts:
        try:
            rendered = tokenizer.apply_chat_template(messages, enable_thinking=False, **options)
        except Exception as error:  # templates raise errors of their own for roles they lack
            logger.debug("chat template refused %s messages: %s", len(messages), error)
            continue
        if isinstance(rendered, str) and instruction in rendered and rendered.count(text) == 1:
            return rendered + reply
    warnings.warn(
        "the model's chat template could not be used with a system or a user message; the prompt "
        "is plain text instead, which may cost accuracy.",
        FallbackWarning,
        stacklevel=2,
    )
    return f"{instruction}\n\n{text}\n\n{reply}"


def is_control(content: str, special: bool) -> bool:
    r"""Tell control tokens from ordinary ones that a tokenizer also lists as added.

    Some families list line breaks and runs of spaces there, which are nothing but text.

    Examples
    --------
    >>> is_control("<|im_end|>", True), is_control("<think>", False), is_control("\n", False)
    (True, True, False)
    """
    marker = content[:1] in "<[" and content[-1:] in ">]"
    return len(content.strip()) > 1 and (special or marker)


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return a tokenizer's control tokens: their spellings, and their ids."""
    return {
        token.content: index
        for index, token in tokenizer.added_tokens_decoder.items()
        if is_control(token.content, token.special)
    }


def _any_of(tokens: Iterable[str]) -> re.Pattern[str]:
    """Pattern of the places where one of the tokens begins.

    Their first characters by themselves come first: some families have thousands of tokens, which
    would all be tried at every place of a text.
    """
    firsts = "".join(sorted({re.escape(token[0]) for token in tokens}))
    return re.compile(f"(?=[{firsts}])(?=" + "|".join(map(re.escape, tokens)) + ")")


def text_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Ids that texts become, and those of their beginning and end.

    Not control tokens: a few text models have no embedding for the one that marks a picture.
    """
    control = set(control_tokens(tokenizer).values())
    ends = {tokenizer.bos_token_id, tokenizer.eos_token_id} - {None}
    return (set(tokenizer.get_vocab().values()) - control) | ends


class PromptEncoder:
    """Token ids of prompts, label words and continuations for one model and one task.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        The base model's tokenizer.
    instruction : str
        The shared instruction in front of every text.
    label_words : sequence of str
        What the model reads and writes for each class, in the order of ``classes_``.
    max_length : int
        Longest prompt, in tokens; longer texts lose their middle.
    cue : str, default="Answer:"
        How the assistant's reply begins.
    frame : pair of str, optional
        What stands before and after the text, as an earlier encoder's ``frame``; by default the
        chat template is rendered. Templates may insert the date, so a fitted classifier keeps
        the one it was trained with.

    Raises
    ------
    InvalidTextError
        If the template alone leaves no room for a text within ``max_length``.
    InvalidLabelsError
        If a label's words become no token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        instruction: str,
        label_words: Sequence[str],
        max_length: int,
        cue: str = ANSWER_CUE,
        frame: tuple[str, str] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.instruction = instruction
        self.max_length = max_length
        self.cue = cue
        control = control_tokens(tokenizer)
        # An unknown-word token is what honest text may come to, where it has no other use.
        ends = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
        unknown = {tokenizer.unk_token_id} - ends
        self._control_ids = frozenset(control.values()) - unknown
        self._control_pattern = _any_of(control) if control else None
        if frame is None:
            opening, _, ending = render_chat(tokenizer, instruction, _SLOT, cue).partition(_SLOT)
            frame = (opening, ending)
        self.frame = frame
        before, after = frame
        # The template's own control tokens are real; the instruction's are plain characters.
        head, mark, tail = before.partition(instruction)
        self.prefix_ids = [*self._bos(before), *self.template_ids(head)]
        self.prefix_ids += self.plain_ids(mark) if mark else []
        self.prefix_ids += self.template_ids(tail)
        self.suffix_ids = self.template_ids(after)
        self.room = max_length - len(self.prefix_ids) - len(self.suffix_ids)
        if self.room < 1:
            raise InvalidTextError(
                f"max_length={max_length} leaves no room for a text: the instruction and template "
                f"alone take {max_length - self.room} tokens; raise max_length or shorten "
                "instruction."
            )
        self.label_ids = [self._ids_after_cue(words) for words in label_words]
        for words, ids in zip(label_words, self.label_ids, strict=True):
            if not ids:  # all of them characters that the tokenizer leaves out
                raise InvalidLabelsError(
                    f"the model's tokenizer makes no token of the label words {words!r}; give the "
                    "label other words in label_names."
                )

    def with_longer_prefix(self, ids: Sequence[int]) -> Self:
        """Return an encoder with these tokens, such as examples, added to its prefix."""
        other = copy.copy(self)
        other.prefix_ids = [*self.prefix_ids, *ids]
        other.room = self.room - len(ids)
        return other

    def plain_ids(self, text: str) -> list[int]:
        """Encode ``text`` as plain characters: control tokens spelled in it stay spellings."""
        if self._control_pattern is None:
            return self.template_ids(text)
        # Cutting a control token's spelling in two keeps the tokenizer from recognising it.
        cuts = [match.start() + 1 for match in self._control_pattern.finditer(text)]
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        ids = [i for piece in pieces if piece for i in self.template_ids(piece)]
        return [i for i in ids if i not in self._control_ids]

    def encode(self, texts: Iterable[str], *, warn: bool = True) -> list[list[int]]:
        """Return the token ids of each text's prompt, without the shared ``prefix_ids``.

        With them, a prompt is at most ``max_length`` tokens long.

        Parameters
        ----------
        texts : iterable of str
        warn : bool, default=True
            Whether to tell of texts that are cut; False where they are encoded again elsewhere.

        Warns
        -----
        TruncationWarning
            Once, with the number of texts that lost their middle.
        """
        prompts, cut = [], 0
        for text in texts:
            ids = self.plain_ids(text)
            cut += len(ids) > self.room
            prompts.append([*self.without_middle(ids, self.room), *self.suffix_ids])
        if cut and warn:
            warnings.warn(
                f"{cut} of {len(prompts)} texts were longer than the {self.room} tokens that "
                f"max_length={self.max_length} leaves for a text; their middle was cut out.",
                TruncationWarning,
                stacklevel=3,
            )
        return prompts

    @staticmethod
    def without_middle(ids: list[int], room: int) -> list[int]:
        """Cut the middle out of token ids, if they are more than there is room for."""
        if len(ids) <= room:
            return ids
        tail = room // 2
        return ids[: room - tail] + ids[len(ids) - tail :]

    def opening(self, label: int) -> list[int]:
        """Token ids of ``" {label words}."``, with which every reply about ``label`` opens."""
        return [*self.label_ids[label], *self.template_ids(LABEL_END)]

    def reason_ids(self, explanation: str) -> list[int]:
        """Token ids of ``" {explanation}"`` on one line; none of a blank one."""
        words = " ".join(explanation.split())
        return self.plain_ids(" " + words) if words else []

    def continuation(self, label: int, explanation: str, max_tokens: int) -> list[int]:
        """Token ids of ``" {label}. {explanation}<eos>"``.

        The explanation is cut after ``max_tokens`` tokens; the end-of-text token follows only a
        whole one, so that the model never learns to stop in mid-sentence, or where the writer of an
        :class:`~skclsgen.wording.Unfinished` one did not. A blank explanation leaves the label by
        itself.
        """
        ids = self.reason_ids(explanation)[:max_tokens]
        whole = len(ids) < max_tokens and not isinstance(explanation, Unfinished)
        end = self.tokenizer.eos_token_id if whole else None
        return [*self.opening(label), *ids, *([] if end is None else [end])]

    def reason_tokens(self, label: int, continuation: Sequence[int]) -> range:
        """Tell which tokens of a continuation are the explanation's, label and end left out."""
        start = len(self.opening(label))
        ended = list(continuation[-1:]) == [self.tokenizer.eos_token_id]
        return range(start, max(start, len(continuation) - ended))

    def is_cut(self, continuation: Sequence[int]) -> bool:
        """Tell whether a continuation does not end a text."""
        end = self.tokenizer.eos_token_id
        return bool(continuation) and end is not None and continuation[-1] != end

    def verbalizers(self) -> list[list[int]]:
        """Token ids whose LM-head rows (averaged) initialise each class's head row.

        The first token of each label's words where those differ, else all of its tokens.
        """
        first = [ids[0] for ids in self.label_ids]
        if len(set(first)) == len(first):
            return [[i] for i in first]
        return self.label_ids

    def words(self, ids: Sequence[int], until: str | None = None) -> str:
        """Return generated tokens as text on one line, without control tokens.

        What comes from ``until`` on, if it occurs, is left out.
        """
        text = str(self.tokenizer.decode(list(ids), skip_special_tokens=True))
        if until:
            text, _, _ = text.lstrip().partition(until)
        return " ".join(text.split())

    def _ids_after_cue(self, words: str) -> list[int]:
        # Encoded after the cue where the tokenizer allows: some add a space to what comes first.
        joined, cue = self.plain_ids(f"{self.cue} {words}"), self.plain_ids(self.cue)
        if joined[: len(cue)] == cue and len(joined) > len(cue):
            return joined[len(cue) :]
        return self.plain_ids(" " + words) or self.plain_ids(words)

    def template_ids(self, text: str) -> list[int]:
        """Encode what is the template's own: control tokens spelled in it are control tokens."""
        # verbose: long texts are cut later, and need no warning that they would be too long.
        ids = self.tokenizer.encode(text, add_special_tokens=False, verbose=False) if text else []
        return list(ids)

    def _bos(self, rendered: str) -> list[int]:
        """Return the beginning-of-text token, if the tokenizer adds one and the template not."""
        bos = self.tokenizer.bos_token_id
        if bos is None or rendered.startswith(self.tokenizer.bos_token):
            return []
        return [bos] if self.tokenizer.encode("", add_special_tokens=True)[:1] == [bos] else []
