"""What a fit leaves behind: small tensors and settings, able to rebuild the live network.

Pickles and saved folders hold this and never the base model, so they are small and open on
machines with other hardware; the network is rebuilt when it is first needed.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tqdm.auto import tqdm

from ._version import __version__
from .backbone import BaseLease, BaseModel, on_release
from .devices import refuse_autocast
from .dual_head import DualHead
from .generation import batches_to_decode, decode, predict_logits, prefill
from .labels import warn_of_labels_alike
from .likelihood import choice_log_likelihoods
from .lora import LoraSettings
from .memory import Memory, weights_digest
from .network_settings import BaseModelSettings, TaskSettings
from .out_of_memory import is_out_of_memory
from .packing import batches_by_length
from .prompt import PromptEncoder
from .randomness import seeded

__all__ = ["FittedNetwork", "LiveNetwork", "Reply"]

#: What the estimator calls a setting of ours.
PARAMETERS = {"label_words": "label_names"}


@dataclass(frozen=True)
class Reply:
    """Class logits of one text, the label explained, the words, and whether they are complete."""

    logits: np.ndarray
    label: int
    text: str
    complete: bool


@dataclass(frozen=True)
class LiveNetwork:
    """What a fitted network runs with: base model, prompts, and layers with their adapters."""

    base: BaseModel
    encoder: PromptEncoder
    net: DualHead


class FittedNetwork:
    """Adapters, head and settings of one fitted classifier.

    Parameters
    ----------
    base : BaseModelSettings
        Which base model, and how to run it.
    task : TaskSettings
        The prompt.
    lora : LoraSettings
        Where the adapters are.
    lease : BaseLease, optional
        Keeps the base model loaded for a family of clones.

    Attributes
    ----------
    state : dict of str to tensor, or None
        Trained tensors, on the CPU.
    fingerprint : str or None
        Fingerprint of the base model that the state belongs to.
    """

    def __init__(
        self,
        base: BaseModelSettings,
        task: TaskSettings,
        lora: LoraSettings,
        lease: BaseLease | None = None,
    ) -> None:
        self.base = base
        self.task = task
        self.lora = lora
        self.lease = lease if lease is not None else BaseLease()
        self._memory: str | None = None  # as it was named
        self._folder: str | None = None  # where that is
        self.state: dict[str, torch.Tensor] | None = None
        self.fingerprint: str | None = None
        self._live: LiveNetwork | None = None
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_live", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _live=None, _lock=threading.RLock())

    def live(self, verbose: int = 0) -> LiveNetwork:
        """Return base model, encoder and network, built if need be.

        Raises
        ------
        RuntimeError
            Under ``torch.autocast``, which would run them in other types.
        """
        # Initial adapters, which the trained state overwrites, must not use up the caller's random
        # numbers. The seed's lock is taken before ours, as in a fit, or the two could deadlock.
        trained = self.state is not None and self._live is None
        with seeded(0) if trained else nullcontext(), self._lock:
            live = self._live  # release_memory may be called in another thread at any time
            if live is None:
                live = self._live = self._build(verbose)
                on_release(self)
            refuse_autocast(live.base.device)
            return live

    def remember_in(self, memory: str | os.PathLike[str] | None) -> None:
        """Keep what is computed once per text in this folder from now on; None is nowhere.

        It belongs to the machine: saved classifiers do without. A relative path means what it
        meant when it was first given.
        """
        named = None if memory is None else os.fspath(memory)
        with self._lock:
            if named == self._memory:
                return
            self._memory = named
            self._folder = None if named is None else str(Path(named).expanduser().absolute())
            live = self._live  # as above
            if live is not None:
                live.net.memory = self._open_memory(live.base)

    @torch.inference_mode(False)  # what is kept here may be trained later
    def _build(self, verbose: int) -> LiveNetwork:
        if self.lease.settings != self.base:  # or the two would be in memory together
            self.lease.release()
        base = self.base.load(self.fingerprint, verbose)
        if self.fingerprint is not None:
            base.check_fingerprint(self.fingerprint)
        encoder = self.task.encoder(base)
        base.check_ids([*encoder.prefix_ids, *encoder.suffix_ids])  # a template has its own tokens
        memory = self._open_memory(base)
        verbalizers = encoder.verbalizers()
        net = DualHead(base, encoder.prefix_ids, verbalizers, self.lora, memory).eval()
        if self.state is not None:
            net.load_trained_state(self.state)
        else:
            warn_of_labels_alike(verbalizers, self.task.label_words)
        self.task = replace(self.task, frame=encoder.frame)
        self.fingerprint = base.info.fingerprint
        self.lease.base, self.lease.settings = base, self.base
        return LiveNetwork(base, encoder, net)

    def _open_memory(self, base: BaseModel) -> Memory | None:
        """Return the memory of this base model, as it is run here, if there is to be one."""
        if self._folder is None:
            return None
        settings = self.base.attn_implementation, str(self.base.quantization), str(base.dtype)
        place = base.device.type, torch.backends.cpu.get_cpu_capability()
        versions = __version__, torch.__version__, transformers.__version__
        return Memory(self._folder, weights_digest(base.lm), [*settings, *place, *versions])

    def changed_since(self, other: FittedNetwork) -> list[str]:
        """Return the estimator's parameters in which another network differs; not of its training.

        Examples
        --------
        >>> base = BaseModelSettings("model", None, "cpu", "float32", "auto", None)
        >>> task = TaskSettings("Judge.", ("a", "b"), None, 48)
        >>> network = FittedNetwork(base, task, LoraSettings("all", 16, 32.0, 0.0))
        >>> shorter = FittedNetwork(base, replace(task, max_new_tokens=9), network.lora)
        >>> shorter.changed_since(network)
        ['max_new_tokens']
        """
        mine, others = (
            {
                **asdict(network.base),
                **{PARAMETERS.get(name, name): v for name, v in asdict(network.task).items()},
                **{f"lora_{name}": value for name, value in asdict(network.lora).items()},
            }
            for network in (self, other)
        )
        return [name for name in mine if name != "frame" and mine[name] != others[name]]

    def to_dict(self) -> dict[str, Any]:
        """Settings as plain values, for :meth:`from_dict`; without ``state``."""
        return {
            "base": asdict(self.base),
            "task": asdict(self.task),
            "lora": asdict(self.lora),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, settings: dict[str, Any], state: dict[str, torch.Tensor]) -> FittedNetwork:
        """Return a network that will be rebuilt from ``settings`` and ``state``."""
        task = settings["task"]
        task |= {name: tuple(task[name]) for name in ("label_words", "frame")}
        network = cls(
            BaseModelSettings(**settings["base"]),
            TaskSettings(**task),
            LoraSettings(**settings["lora"]),
        )
        network.fingerprint = settings["fingerprint"]
        network.state = state
        return network

    def take_over(self, other: FittedNetwork) -> None:
        """Go on from what a network of the same settings has learnt, which stays as it is."""
        self.task, self.fingerprint, self.state = other.task, other.fingerprint, other.state

    def keep_state(self, live: LiveNetwork) -> None:
        """Copy what training changed in ``live``, which :meth:`live` returned, into ``state``."""
        self.state = live.net.trained_state()
        if self._live is not live:  # released meanwhile, and perhaps built from the state before
            self.release()

    def release(self) -> None:
        """Let go of the live network; what was last kept in ``state`` comes back when needed."""
        self._live = None

    def predict_logits(self, texts: Sequence[str], verbose: int = 0) -> np.ndarray:
        """Class logits of every text, shape (texts, classes), float64."""
        live = self.live(verbose)
        prompts = live.encoder.encode(texts)
        logits = np.empty((len(prompts), len(self.task.label_words)))
        with self._lock, _bar(len(prompts), "predicting", verbose) as bar:
            for rows in batches_by_length([len(p) for p in prompts]):
                batch = predict_logits(live.net, [prompts[row] for row in rows])
                logits[rows] = batch.cpu().double().numpy()
                bar.update(len(rows))
        return logits

    def free_replies(
        self, texts: Sequence[str], max_new_tokens: int, verbose: int = 0
    ) -> list[str]:
        """Return what the model replies when no label is forced: its label and its reason."""
        live = self.live(verbose)
        prompts = live.encoder.encode(texts)
        replies: dict[int, str] = {}
        with self._lock, _bar(len(prompts), "asking", verbose) as bar:
            extra_tokens = len(live.net.prefix_ids) + max_new_tokens
            for rows in batches_to_decode(prompts, extra_tokens):
                _, start = prefill(live.net, [prompts[row][:-1] for row in rows])
                cue = [prompts[row][-1:] for row in rows]
                words = decode(
                    live.net.lm, start, cue, max_new_tokens, live.base.stop_ids, bar.update
                )
                replies |= {
                    row: live.encoder.words(ids) for row, ids in zip(rows, words, strict=True)
                }
        return [replies[row] for row in range(len(prompts))]

    def label_log_likelihoods(self, texts: Sequence[str], verbose: int = 0) -> np.ndarray:
        """What the language-modelling head gives each label's words after a text.

        Returns
        -------
        ndarray of shape (texts, classes), float64
            In nats.
        """
        live = self.live(verbose)
        prompts = live.encoder.encode(texts)
        openings = [live.encoder.opening(label) for label in range(len(self.task.label_words))]
        found = np.empty((len(prompts), len(openings)))
        extra_tokens = len(live.net.prefix_ids) + max(map(len, openings))
        with self._lock, _bar(len(prompts), "predicting", verbose) as bar:
            for rows in batches_to_decode(prompts, extra_tokens, len(openings)):
                last = prompts[rows[0]][-1]
                _, start = prefill(live.net, [prompts[row][:-1] for row in rows])
                choices = [[last, *opening] for opening in openings]
                scores = choice_log_likelihoods(live.net, start, choices)
                found[rows] = scores.cpu().double().numpy()
                bar.update(len(rows))
        return found

    def explain(
        self,
        texts: Sequence[str],
        labels: Sequence[int] | None,
        max_new_tokens: int,
        verbose: int = 0,
    ) -> list[Reply]:
        """Probabilities and words for every text, out of one prefill each.

        Parameters
        ----------
        texts : sequence of str
        labels : sequence of int or None
            Classes to explain; the most probable ones by default.
        max_new_tokens : int
            Longest explanation, in tokens.
        verbose : int, default=0
            Show a progress bar from 1 up.

        Returns
        -------
        list of Reply
            In the order of ``texts``.
        """
        live = self.live(verbose)
        prompts = live.encoder.encode(texts)
        replies: dict[int, Reply] = {}
        with self._lock, _bar(len(prompts), "explaining", verbose) as bar:
            extra_tokens = len(live.net.prefix_ids) + max_new_tokens
            for rows in batches_to_decode(prompts, extra_tokens):
                batch, start = prefill(live.net, [prompts[row] for row in rows])
                logits = batch.cpu().double().numpy()
                chosen = logits.argmax(axis=1).tolist()
                if labels is not None:
                    chosen = [labels[row] for row in rows]
                openings = [live.encoder.opening(label) for label in chosen]
                free = [
                    live.base.context_length - length - len(opening)
                    for length, opening in zip(start.lengths.tolist(), openings, strict=True)
                ]
                limits = [min(max_new_tokens, tokens) for tokens in free]
                words = decode(live.net.lm, start, openings, limits, live.base.stop_ids, bar.update)
                for row, logit, label, ids in zip(rows, logits, chosen, words, strict=True):
                    complete = ids[-1] in live.base.stop_ids
                    replies[row] = Reply(logit, label, live.encoder.words(ids), complete)
        return [replies[row] for row in range(len(prompts))]


@contextmanager
def _bar(total: int, what: str, verbose: int) -> Iterator[tqdm[Any]]:
    """Show progress; if memory runs out, say what would need less."""
    try:
        with tqdm(total=total, desc=what, unit="text", disable=verbose < 1) as bar:
            yield bar
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            error.add_note(
                f"{what} {total} texts needs more memory than is free; pass fewer texts at a time, "
                "lower max_length, or let go of other models with skclsgen.release_memory()."
            )
        raise
