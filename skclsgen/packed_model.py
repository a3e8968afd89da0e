"""A language model that runs rows of tokens together, after a prefix that all share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import nn
from transformers import DynamicCache, PreTrainedModel

from .attention import NAME, packed
from .backbone import BaseModel
from .exceptions import UnsupportedModelError
from .module_tree import keys_and_values, share_weights
from .out_of_memory import is_out_of_memory
from .packing import PackedRows, Row
from .roomy_cache import roomy_cache
from .token_loss import frozen_head_kl, frozen_head_nll, log_proba

__all__ = ["Caches", "PackedModel"]

#: Keys and values of rows run together, after those of the prefix.
Caches = list[tuple[DynamicCache, PackedRows]]


class PackedModel(nn.Module):
    """The base model's layers, run on rows that lie end to end where its attention allows it.

    Each instance owns a tree of modules of its own whose tensors are those of the shared base
    model.

    Parameters
    ----------
    base : BaseModel
        The shared frozen model.
    prefix_ids : sequence of int, at least one
        What every row begins with; its keys and values are computed once.

    Raises
    ------
    UnsupportedModelError
        If the model cannot go on from keys and values, as one without attention in every layer.

    Attributes
    ----------
    lm : transformers.PreTrainedModel
    decoder : torch.nn.Module
        Its layers, without the vocabulary.
    """

    def __init__(self, base: BaseModel, prefix_ids: Sequence[int]) -> None:
        super().__init__()
        self.base = base
        self.prefix_ids = tuple(prefix_ids)
        try:
            self._prefix = self._prefix_keys_and_values()
            self._try_a_step()
        except UnsupportedModelError:
            raise
        except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise UnsupportedModelError(
                f"model={base.info.model!r} cannot go on from keys and values that were kept "
                f"({type(error).__name__}: {error}); use a causal decoder with attention in every "
                "layer and rotary or learnt positions, such as Llama, Qwen or GPT-2."
            ) from error
        self.lm: PreTrainedModel = share_weights(base.lm)
        if base.packs:
            self.lm.set_attn_implementation(NAME)
        self.decoder: nn.Module = self.lm.get_decoder()

    def with_prefix(self, prefix_ids: Sequence[int]) -> Self:
        """Return this model with another prefix in place of its own.

        For reading what is no prompt of the task, such as general text.
        """
        other = copy.copy(self)
        other.prefix_ids = tuple(prefix_ids)
        other._prefix = other._prefix_keys_and_values()
        return other

    def _prefix_keys_and_values(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        cache = DynamicCache()
        ids = torch.tensor([self.prefix_ids], device=self.base.device)
        with torch.no_grad():
            self.base.lm.get_decoder()(input_ids=ids, cache=cache, use_cache=True)
        return keys_and_values(cache)

    @torch.no_grad()
    def _try_a_step(self) -> None:
        """Run one token after the prefix, as generation does; BLOOM, with ALiBi, fails here."""
        known = len(self.prefix_ids)
        self.base.lm.get_decoder()(
            input_ids=torch.tensor([self.prefix_ids[:1]], device=self.base.device),
            attention_mask=torch.ones(1, known + 1, dtype=torch.long, device=self.base.device),
            position_ids=torch.tensor([[known]], device=self.base.device),
            cache=roomy_cache(self._prefix),
            use_cache=True,
        )

    def prefix_cache(self) -> DynamicCache:
        """Return a new cache that holds the prefix, in every layer."""
        cache = DynamicCache()
        for layer, (keys, values) in enumerate(self._prefix):
            cache.update(keys, values, layer)
        return cache

    def pack(self, rows: Sequence[Row]) -> PackedRows:
        """Lay rows end to end after the prefix."""
        return PackedRows(rows, len(self.prefix_ids), self.base.device)

    def hidden_states(self, rows: PackedRows) -> tuple[torch.Tensor, Caches]:
        """Run all layers.

        Parameters
        ----------
        rows : PackedRows

        Returns
        -------
        states : tensor of shape (tokens, width)
            After the final norm.
        caches : list of (DynamicCache, PackedRows)
            Keys and values of the layers, and the rows they belong to.
        """

        def layers(_: slice, **inputs: Any) -> torch.Tensor:
            states: torch.Tensor = self.decoder(**inputs).last_hidden_state
            return states

        return self.run(rows, layers)

    def run(
        self, rows: PackedRows, layers: Callable[..., torch.Tensor]
    ) -> tuple[torch.Tensor, Caches]:
        """Run rows together if the model can be told to keep them apart, else one by one.

        Parameters
        ----------
        rows : PackedRows
        layers : callable
            Takes which of the tokens are run (a slice) and, by name, what a decoder takes; returns
            states of shape (1, tokens and filler, width).

        Returns
        -------
        states : tensor of shape (tokens, width)
        caches : list of (DynamicCache, PackedRows)
            Keys and values of the layers run, and the rows they belong to.
        """
        found: list[torch.Tensor] = []
        caches: Caches = []
        start = 0
        for part in [rows] if self.base.packs else rows.single():
            tokens, cache = sum(part.lengths), self.prefix_cache()
            full = part.filled() if self.base.packs else part
            with packed(full):
                states = layers(
                    slice(start, start + tokens),
                    input_ids=full.ids()[None],
                    position_ids=full.positions()[None],
                    cache=cache,
                    use_cache=True,
                )
            found.append(states[0, :tokens])
            caches.append((cache, part))
            start += tokens
        return torch.cat(found), caches

    @torch.no_grad()
    def predicting_states(self, rows: Sequence[Row]) -> Sequence[torch.Tensor]:
        """Hidden states that rows' continuations are predicted from, shape (tokens, width) each."""
        pack = self.pack(rows)
        _, place = pack.continuations()
        states, _ = self.hidden_states(pack)
        return states[place - 1].split([len(more) for _, more in rows])

    def token_nll(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of tokens, from the hidden states before them.

        Parameters
        ----------
        states : tensor of shape (tokens, width)
        targets : tensor of shape (tokens,), int64

        Returns
        -------
        tensor of shape (tokens,)
            In nats.
        """
        head = self.lm.get_output_embeddings()
        return frozen_head_nll(states, head, targets, self.base.logit_shape)

    def token_kl(self, states: torch.Tensor, base_states: torch.Tensor) -> torch.Tensor:
        """Divergence of next-token distributions from those that ``base_states`` gives.

        Parameters
        ----------
        states, base_states : tensor of shape (tokens, width)
            Hidden states.

        Returns
        -------
        tensor of shape (tokens,)
            In nats.
        """
        head = self.lm.get_output_embeddings()
        return frozen_head_kl(states, base_states, head, self.base.logit_shape)

    def log_proba(self, states: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of all next tokens, shape (tokens, vocabulary), at least float32."""
        logits = self.lm.get_output_embeddings()(states)
        return log_proba(logits, self.base.logit_shape)[0]
