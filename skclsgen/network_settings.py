"""Which base model a fit runs on and what its prompts say, as plain values that can be saved."""

from __future__ import annotations

import sys
import warnings
from dataclasses import asdict, dataclass, replace

from .backbone import BaseModel, load_base_model
from .devices import resolve_device
from .exceptions import FallbackWarning, InvalidTextError
from .prompt import PromptEncoder

__all__ = ["BaseModelSettings", "TaskSettings"]


@dataclass(frozen=True)
class BaseModelSettings:
    """Arguments of :func:`~skclsgen.backbone.load_base_model`."""

    model: str
    revision: str | None
    device: str
    dtype: str
    attn_implementation: str
    quantization: str | None

    def load(self, fingerprint: str | None = None, verbose: int = 0) -> BaseModel:
        """Return the base model; on another device if the chosen one is absent here.

        Where several places have a model of that name, the one of that fingerprint is taken.
        """
        try:
            resolve_device(self.device)
        except ValueError as error:
            warnings.warn(f"{error} Using 'auto'.", FallbackWarning, stacklevel=2)
            return replace(self, device="auto").load(fingerprint, verbose)
        return load_base_model(**asdict(self), fingerprint=fingerprint, verbose=verbose)


@dataclass(frozen=True)
class TaskSettings:
    """What the prompt says about the task.

    Attributes
    ----------
    instruction : str
        In front of every text.
    label_words : tuple of str
        Words of each class.
    max_length : int or None
        Longest prompt in tokens; ``None`` for what the model's context holds.
    max_new_tokens : int
        Longest explanation in tokens, in training and by default in ``explain``.
    frame : pair of str, optional
        What stands before and after the text, once the chat template has been rendered.
    """

    instruction: str
    label_words: tuple[str, ...]
    max_length: int | None
    max_new_tokens: int
    frame: tuple[str, str] | None = None

    def encoder(self, base: BaseModel) -> PromptEncoder:
        """Return the prompt encoder for ``base``."""
        # Without a limit yet: it depends on how many tokens the labels' words are.
        whole = PromptEncoder(
            base.tokenizer, self.instruction, self.label_words, sys.maxsize, frame=self.frame
        )
        # The reply needs room after the prompt: label and full stop, explanation, end of text.
        longest = max(len(whole.opening(label)) for label in range(len(self.label_words)))
        available = max(0, base.context_length - self.max_new_tokens - longest - 1)
        if self.max_length is not None and self.max_length > available:
            raise InvalidTextError(
                f"max_length={self.max_length} is more than the {available} tokens that the "
                f"model's context of {base.context_length} leaves beside the reply; lower "
                "max_length or max_new_tokens."
            )
        length = available if self.max_length is None else self.max_length
        try:
            return PromptEncoder(
                base.tokenizer, self.instruction, self.label_words, length, frame=whole.frame
            )
        except InvalidTextError:
            if self.max_length is not None:
                raise
            raise InvalidTextError(
                f"max_new_tokens={self.max_new_tokens} leaves no room for a text after the "
                f"instruction in the model's context of {base.context_length} tokens; lower "
                "max_new_tokens or shorten instruction."
            ) from None
