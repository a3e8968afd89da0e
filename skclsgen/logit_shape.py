"""What some families do to the vocabulary's logits: a scale, a soft cap."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from .exceptions import UnsupportedModelError
from .out_of_memory import is_out_of_memory

__all__ = ["LogitShape"]

logger = logging.getLogger(__name__)

#: Tokens on which the shape is checked.
TRIED = 8


@dataclass(frozen=True)
class LogitShape:
    """How a family's logits follow from what its vocabulary head gives.

    Attributes
    ----------
    scale : float, default=1.0
        Multiplies the logits.
    softcap : float, optional
        Logits ``z`` then become ``softcap * tanh(z / softcap)``, as in Gemma 2.

    Examples
    --------
    >>> LogitShape(scale=2.0).apply(torch.tensor([[1.0, 3.0]]))[0].tolist()
    [[2.0, 6.0]]
    """

    scale: float = 1.0
    softcap: float | None = None

    @classmethod
    def of(cls, lm: PreTrainedModel) -> LogitShape:
        """Return the shape that a causal language model's configuration tells of."""
        config = lm.config.get_text_config()
        scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere
        further = float(getattr(config, "logits_scaling", None) or 1.0)
        multiplied = config.model_type.startswith("hyperclovax")  # Granite divides
        return cls(
            scale * further if multiplied else scale / further,
            getattr(config, "final_logit_softcapping", None),
        )

    def apply(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Shape logits.

        Parameters
        ----------
        logits : tensor of shape (tokens, vocabulary)
            The vocabulary head's.

        Returns
        -------
        logits : tensor of shape (tokens, vocabulary)
            At least float32.
        slope : tensor of that shape, or None
            Of the soft cap, if there is one.
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if self.scale != 1.0:
            logits = logits * self.scale
        if self.softcap is None:
            return logits, None
        squashed = torch.tanh(logits / self.softcap)
        return squashed * self.softcap, 1 - squashed.square()

    @torch.no_grad()
    def check(self, name: str, lm: PreTrainedModel) -> None:
        """Raise unless a model's own logits have this shape.

        Raises
        ------
        UnsupportedModelError
            If its family does something else to them: its probabilities would be wrong.
        """
        ids = (
            torch.arange(3, 3 + TRIED, device=lm.device)[None]
            % lm.config.get_text_config().vocab_size
        )
        try:
            expected = lm(input_ids=ids).logits[0]
            states = lm.get_decoder()(input_ids=ids).last_hidden_state[0]
            found = self.apply(lm.get_output_embeddings()(states))[0]
        except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            logger.info("trying %s failed, which will be told where it is used: %s", name, error)
            return
        tolerance = torch.finfo(expected.dtype).eps ** 0.5
        if not (found - expected).norm() <= tolerance * expected.norm():
            raise UnsupportedModelError(
                f"model={name!r} does something to its logits that is not known here (it is of the "
                f"family {lm.config.model_type!r}), so probabilities of words would be wrong; use "
                "another causal decoder, such as Llama, Qwen, Gemma, Granite or Cohere."
            )
