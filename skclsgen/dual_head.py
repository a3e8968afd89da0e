"""The torch module: frozen trunk, adapted top, classification head and LM head, joint loss."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, pad

from .attention import NAME
from .backbone import BaseModel
from .exceptions import BaseModelMismatchError, FallbackWarning
from .lora import LoraSettings, add_adapters, n_adapted_layers
from .memory import Memory
from .module_tree import Inject, Skip, Tap, decoder_layers, share_weights
from .out_of_memory import is_out_of_memory
from .packed_model import Caches, PackedModel
from .packing import TOKEN_MULTIPLE, PackedRows

if TYPE_CHECKING:
    from .anchor import Anchor

__all__ = ["DualHead"]

logger = logging.getLogger(__name__)


class DualHead(PackedModel):
    """One base model with adapters in its upper layers, and two heads.

    Layers below the first adapted one (the *trunk*) can be run apart from those above (the *top*),
    so that their activations can be stored.

    Parameters
    ----------
    base : BaseModel
        The shared frozen model.
    prefix_ids : sequence of int, at least one
        What every prompt begins with. The adapters are not active on it, so its keys and values
        are computed once and shared by all rows.
    verbalizers : sequence of sequences of int
        Per class, token ids whose LM-head rows, averaged, initialise the class's head row. Before
        any training the head therefore gives the model's own label logits, before any soft cap.
    lora : LoraSettings
        Which layers are adapted, and how.
    memory : Memory, optional
        Where the trunk's activations are kept between sessions.

    Attributes
    ----------
    lm : transformers.PreTrainedModel
        The whole model, adapted.
    head : torch.nn.Linear
        The classification head, at least float32.
    depth : int
        Number of trunk layers; 0 if the model is run as a whole.
    """

    def __init__(
        self,
        base: BaseModel,
        prefix_ids: Sequence[int],
        verbalizers: Sequence[Sequence[int]],
        lora: LoraSettings,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(base, prefix_ids)
        self.memory = memory
        total = self.lm.config.get_text_config().num_hidden_layers
        layers = decoder_layers(self.decoder, total)
        first = total - n_adapted_layers(lora.layers, total)
        add_adapters(self.lm, layers[first:], lora)
        self.head = self._verbalizer_head(verbalizers)
        self.depth = 0
        if first:
            self._split(layers, first)

    # --- construction ----------------------------------------------------------------------------

    def _verbalizer_head(self, verbalizers: Sequence[Sequence[int]]) -> nn.Linear:
        rows = self.lm.get_output_embeddings().get_parameter("weight")
        dtype = torch.promote_types(self.base.dtype, torch.float32)
        bias = getattr(self.lm.get_output_embeddings(), "bias", None)
        head = nn.Linear(rows.shape[1], len(verbalizers), device=rows.device, dtype=dtype)
        with torch.no_grad():
            head.bias.zero_()
            for label, ids in enumerate(map(list, verbalizers)):
                head.weight[label] = rows[ids].to(dtype).mean(dim=0) * self.base.logit_shape.scale
                if bias is not None:
                    head.bias[label] = bias[ids].to(dtype).mean() * self.base.logit_shape.scale
        return head

    def _split(self, layers: nn.ModuleList, first: int) -> None:
        """Make ``trunk`` and ``top`` out of the decoder, and check them against the whole."""
        self._tap, self._inject = Tap(layers[first]), Inject(layers[0])
        # The trunk has no adapters, so it is made of the base's own layers: whatever training
        # changes about this network, its activations stay what they are for everybody.
        own = self.base.lm.get_decoder()
        above = list(decoder_layers(own, len(layers)))[first:]
        trunk = share_weights(
            own, replace={above[0]: self._tap} | {layer: Skip(layer) for layer in above[1:]}
        )
        if self.base.packs:
            trunk.set_attn_implementation(NAME)
        # The top is another view of the adapted model: the same layers, and the same
        # configurations (some models have several).
        below = list(layers[:first])
        configs = {id(m.config): m.config for m in self.lm.modules() if hasattr(m, "config")}
        top = share_weights(
            self.decoder,
            keep=[*layers[first:], *configs.values()],
            replace={below[0]: self._inject} | {layer: Skip(layer) for layer in below[1:]},
        )
        # In a tuple, because they are not to count as submodules beside ``lm``.
        self._halves = (trunk, top)
        self.depth = first
        if not self._split_is_exact():
            self.depth = 0
            del self._halves
            warnings.warn(
                f"{type(self.lm).__name__} cannot be split into a frozen trunk and an adapted "
                "top; the whole model is run each time, which is slower but exact.",
                FallbackWarning,
                stacklevel=2,
            )

    def _split_is_exact(self) -> bool:
        vocabulary = self.lm.get_input_embeddings().get_parameter("weight").shape[0]
        rows = self.pack([([i % vocabulary for i in range(3, 19)], [])])
        try:
            with torch.no_grad():
                parts, _ = self.hidden_states(rows, self.trunk_states(rows)[0])
                whole, _ = self.hidden_states(rows)
        except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            logger.info("running the halves failed: %s", error)
            return False
        return torch.equal(parts, whole)

    # --- running ---------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> DualHead:
        """Switch adapter dropout on or off.

        Everything else stays in evaluation mode: dropout in the base model would make stored
        trunk activations random.
        """
        super().train(False)
        for name, module in self.lm.named_modules():
            if "lora_dropout" in name:
                module.train(mode)
        return self

    def trunk_states(self, rows: PackedRows) -> tuple[torch.Tensor, Caches]:
        """Run the frozen layers.

        Returns
        -------
        states : tensor of shape (tokens, width)
        caches : list of (DynamicCache, PackedRows)
            Keys and values of the trunk's layers, and the rows they belong to.
        """
        trunk, _ = self._halves

        def layers(_: slice, **inputs: Any) -> torch.Tensor:
            trunk(**inputs)
            states = self._tap.states
            del self._tap.states
            return states

        with torch.no_grad():
            return self.run(rows, layers)

    def hidden_states(
        self, rows: PackedRows, trunk_states: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Caches]:
        """Run the adapted layers on stored trunk activations, or the whole model without them.

        Parameters
        ----------
        rows : PackedRows
        trunk_states : tensor of shape (tokens, width), optional

        Returns
        -------
        states : tensor of shape (tokens, width)
            After the final norm: what both heads read.
        caches : list of (DynamicCache, PackedRows)
            Keys and values of the layers run, and the rows they belong to.
        """
        if trunk_states is None:
            return super().hidden_states(rows)
        _, top = self._halves

        def upper(tokens: slice, **inputs: Any) -> torch.Tensor:
            own = trunk_states[tokens]
            filler = inputs["input_ids"].shape[1] - len(own)
            self._inject.states = pad(own, (0, 0, 0, filler))[None]
            try:
                states: torch.Tensor = top(**inputs).last_hidden_state
            finally:
                del self._inject.states
            return states

        return self.run(rows, upper)

    def class_logits(self, decision_states: torch.Tensor) -> torch.Tensor:
        """Logits of shape (rows, classes) from hidden states at the decision tokens.

        On a CPU, a row's do not depend on the others: fewer rows at a time, or more, would take
        other kernels.
        """
        filler = -len(decision_states) % TOKEN_MULTIPLE
        filled = pad(decision_states.to(self.head.weight.dtype), (0, 0, 0, filler))
        logits = torch.cat([self.head(part) for part in filled.split(TOKEN_MULTIPLE)])
        return logits[: len(decision_states)]

    def losses(
        self,
        rows: PackedRows,
        trunk_states: torch.Tensor | None,
        classes: torch.Tensor,
        base_states: torch.Tensor | None = None,
        anchor: Anchor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Per-row classification loss and explanation loss, and how far the language has moved.

        Parameters
        ----------
        rows : PackedRows
            Prompts, and the continuations to learn; after them, passages to be read as the base
            model reads them.
        trunk_states : tensor of shape (tokens, width) or None
            Stored trunk activations.
        classes : tensor of shape (prompts,), int64
            Gold class of each prompt.
        base_states : tensor of shape (tokens, width), optional
            Hidden states that the base model predicts the passages' continuations from.
        anchor : Anchor, optional
            Which tokens of prompts' continuations are held to the base model.

        Returns
        -------
        classification : tensor of shape (prompts,)
            Cross-entropy of the head, in nats.
        explanation : tensor of shape (prompts,)
            Mean over the prompt's continuation tokens, in nats, of their cross-entropy, and half of
            it and half the divergence from the base model for those held; 0 without any.
        language : tensor of shape ()
            Mean divergence from the base model over the passages' tokens, in nats; 0 without any.
        """
        states, _ = self.hidden_states(rows, trunk_states)
        prompts = len(classes)
        # Without class_logits' filler: gradients depend on the batch in any case.
        decisions = states[rows.decisions()[:prompts]]
        logits = self.head(decisions.to(self.head.weight.dtype))
        classification = cross_entropy(logits, classes, reduction="none")
        explanation, language = torch.zeros_like(classification), classification.new_zeros(())
        row, place = rows.continuations()
        n_passages = 0 if base_states is None else len(base_states)
        n_learnt = len(row) - n_passages
        # A token is predicted from the state before it; no other state meets the vocabulary.
        if n_learnt:
            row, learnt = row[:n_learnt], place[:n_learnt]
            before = states[learnt - 1]
            nll = self.token_nll(before, rows.ids()[learnt])
            if anchor is not None:
                kl = self.token_kl(before[anchor.tokens], anchor.base_states)
                nll = nll.index_add(0, anchor.tokens, (kl - nll[anchor.tokens]) / 2)
            count = torch.bincount(row, minlength=prompts).clamp(min=1)
            explanation = explanation.to(nll.dtype).index_add(0, row, nll) / count
        if base_states is not None:
            language = self.token_kl(states[place[n_learnt:] - 1], base_states).mean()
        return classification, explanation, language

    # --- state -----------------------------------------------------------------------------------

    def adapter_parameters(self) -> dict[str, nn.Parameter]:
        """LoRA parameters by name."""
        return {n: p for n, p in self.lm.named_parameters() if p.requires_grad}

    def trained_state(self) -> dict[str, torch.Tensor]:
        """Copies on the CPU of everything training changes: adapters and head."""
        tensors = {f"adapter.{n}": p for n, p in self.adapter_parameters().items()}
        tensors |= {f"head.{n}": p for n, p in self.head.named_parameters()}
        return {n: t.detach().to("cpu", copy=True).contiguous() for n, t in tensors.items()}

    def load_trained_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Put back what :meth:`trained_state` returned.

        Raises
        ------
        BaseModelMismatchError
            If names or shapes differ from this network's.
        """
        own = {f"adapter.{n}": p for n, p in self.adapter_parameters().items()}
        own |= {f"head.{n}": p for n, p in self.head.named_parameters()}
        if own.keys() != state.keys() or any(own[n].shape != state[n].shape for n in own):
            raise BaseModelMismatchError(
                "the saved adapters do not fit this base model; load the classifier with the "
                "model it was trained on."
            )
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(state[name])
