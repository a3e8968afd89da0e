"""Load base language models once per process, frozen, and share them between estimators."""

from __future__ import annotations

import logging
import os
import threading
import warnings
import weakref
from collections.abc import Iterable, Sequence
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate.utils.memory import clear_device_cache
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .attention import can_pack, forget_rows
from .devices import refuse_autocast, resolve_device, resolve_dtype
from .exceptions import (
    BaseModelMismatchError,
    CLSGenError,
    FallbackWarning,
    OptionalDependencyError,
    UnsupportedModelError,
)
from .logit_shape import LogitShape
from .model_source import (
    DEFAULT_MODEL,
    BaseModelInfo,
    check_complete,
    convert_gguf,
    find_base_model,
)
from .optional import require
from .prompt import text_ids
from .silence import quiet_transformers
from .trunk_cache import TrunkCache

if TYPE_CHECKING:
    from .contrast import Contrast

__all__ = [
    "DEFAULT_MODEL",
    "BaseLease",
    "BaseModel",
    "check_optional_dependencies",
    "load_base_model",
    "on_release",
    "release_memory",
]

logger = logging.getLogger(__name__)


class BaseModel:
    """A frozen language model, its tokenizer, and the trunk activations computed with it.

    Attributes
    ----------
    info : BaseModelInfo
        What was loaded, and from where.
    lm : transformers.PreTrainedModel
        The causal language model: evaluation mode, no parameter requires a gradient.
    tokenizer : transformers.PreTrainedTokenizerBase
        Its tokenizer.
    device : torch.device
        Where the weights lie.
    dtype : torch.dtype
        Floating-point type of activations and adapters.
    logit_shape : LogitShape
        What its family does to the vocabulary's logits.
    packs : bool
        True if several rows can be run end to end, without padding: ``attn_implementation`` is
        ``"auto"``, and the model's attention can be told to keep rows apart.
    trunk_cache : TrunkCache
        Activations of frozen layers, shared by all estimators on this model.
    rationales : dict
        Reasons the model has written, by prompt; shared likewise.
    own_words : list of (list of int, list of int)
        Passages the model has written, by which its language is kept; shared likewise.
    own_states : dict of tuple of int to sequence of tensor
        Hidden states that it predicts them from, after one prefix: that of the last fit.
    """

    def __init__(
        self,
        info: BaseModelInfo,
        lm: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        attn_implementation: str = "auto",
    ) -> None:
        self.info = info
        self.lm = lm.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.device = lm.device
        self.dtype = lm.dtype
        self.check_ids(text_ids(tokenizer))
        self.logit_shape = LogitShape.of(lm)
        self.logit_shape.check(info.model, self.lm)
        self.packs = attn_implementation == "auto" and can_pack(self.lm)
        if attn_implementation == "auto" and not self.packs:
            warnings.warn(
                f"the attention of {type(lm).__name__} cannot be run on several rows at once; "
                "rows are run one by one, which is slower but exact.",
                FallbackWarning,
                stacklevel=2,
            )
        self.trunk_cache = TrunkCache()
        self.rationales: dict[tuple[Any, ...], str] = {}
        self.contrasts: dict[tuple[Any, ...], Contrast] = {}
        self.own_words: list[tuple[list[int], list[int]]] = []
        self.own_states: dict[tuple[int, ...], Sequence[torch.Tensor]] = {}

    @property
    def context_length(self) -> int:
        """Longest sequence the model accepts, in tokens.

        Some models, such as Phi-3 with 128k, change their rotary frequencies for long sequences.
        For them it is the length up to which frequencies are constant: beyond it, rows run together
        and kept keys would be wrong.
        """
        config = self.lm.config.get_text_config()
        longest = int(getattr(config, "max_position_embeddings", None) or 2048)
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") in ("longrope", "dynamic"):
            longest = min(longest, int(rope.get("original_max_position_embeddings") or longest))
        return longest

    def check_ids(self, ids: Iterable[int]) -> None:
        """Raise if there are tokens that the model has no embedding for.

        Raises
        ------
        UnsupportedModelError
            Naming the first of them.
        """
        rows = self.lm.get_input_embeddings().get_parameter("weight").shape[0]
        beyond = sorted(index for index in set(ids) if index >= rows)
        if beyond:
            token = self.tokenizer.convert_ids_to_tokens(beyond[0])
            raise UnsupportedModelError(
                f"model={self.info.model!r} has {rows} embeddings and none for the token {token!r} "
                f"(id {beyond[0]}) of its tokenizer; call resize_token_embeddings on the model and "
                "save it again, or put back the tokenizer it came with."
            )

    def check_fingerprint(self, trained_on: str) -> None:
        """Raise unless this is the model of a fingerprint.

        Raises
        ------
        BaseModelMismatchError
            If it has other weights or another tokenizer.
        """
        found = self.info.fingerprint
        if found != trained_on:
            raise BaseModelMismatchError(
                f"model={self.info.model!r} is not the model the classifier was trained on "
                f"(fingerprint {found[:12]} instead of {trained_on[:12]}); give the "
                "original model, or fit again."
            )

    @property
    def stop_ids(self) -> frozenset[int]:
        """Token ids at which generation ends."""
        configured = getattr(self.lm.generation_config, "eos_token_id", None)
        ids = configured if isinstance(configured, list) else [configured]
        return frozenset(i for i in [*ids, self.tokenizer.eos_token_id] if i is not None)


# Weak values: an entry lives as long as some estimator (or its family of clones) holds the model.
_loaded: weakref.WeakValueDictionary[tuple[Any, ...], BaseModel] = weakref.WeakValueDictionary()
_load_lock = threading.Lock()
_release_hooks: weakref.WeakSet[Any] = weakref.WeakSet()
_hooks_lock = threading.Lock()


class BaseLease:
    """Keeps a base model loaded as long as any estimator of a family of clones lives.

    Attributes
    ----------
    base : BaseModel or None
        What is kept; pickles and copies never hold it.
    settings : object
        The settings it was loaded with.
    """

    def __init__(self) -> None:
        self.base: BaseModel | None = None
        self.settings: object = None
        on_release(self)

    def release(self) -> None:
        """Let go of the base model."""
        self.base = self.settings = None

    def __reduce__(self) -> tuple[type[BaseLease], tuple[()]]:
        return BaseLease, ()


def on_release(holder: Any) -> None:
    """Have ``holder.release()`` called by :func:`release_memory` (held weakly)."""
    with _hooks_lock:
        _release_hooks.add(holder)


#: Keeps the base model that a worker process (joblib's, say) used last: each task, such as a fold,
#: brings an estimator that dies with it. On CPUs only: idle workers must not hold an accelerator's
#: memory.
_workers_last = BaseLease()


def release_memory() -> None:
    """Drop every loaded base model, network and cached activation of this process.

    Fitted estimators stay usable: they keep their small adapters and load the base model again
    when they are next asked for something.

    Examples
    --------
    >>> import skclsgen
    >>> skclsgen.release_memory()
    """
    with _hooks_lock:  # other threads may be making estimators
        holders = list(_release_hooks)
    for holder in holders:
        holder.release()
    for reference in _loaded.valuerefs():
        if (base := reference()) is not None:
            base.trunk_cache.clear()
    _loaded.clear()
    forget_rows()
    clear_device_cache(garbage_collection=True)


def load_base_model(
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    revision: str | None = None,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    attn_implementation: str = "auto",
    quantization: str | None = None,
    fingerprint: str | None = None,
    verbose: int = 0,
) -> BaseModel:
    """Return the base model, loading it only if no live estimator of this process has it.

    Parameters
    ----------
    model : str or path, default="HuggingFaceTB/SmolLM2-135M-Instruct"
        Local folder, GGUF file or Hub id.
    revision : str, optional
        Branch, tag or commit on the Hub.
    device : str or torch.device, default="auto"
        ``"auto"`` is the accelerator if there is one, else the CPU.
    dtype : str or torch.dtype, default="auto"
        ``"auto"`` is bfloat16 where the hardware multiplies it faster, else float32.
    attn_implementation : str, default="auto"
        As in transformers; with ``"auto"`` rows are run end to end by attention of our own, where
        the model lets it be told.
    quantization : {None, "8bit", "4bit"}, default=None
        Load the base quantised by bitsandbytes.
    fingerprint : str, optional
        Fingerprint wanted, if several places have a model of that name.
    verbose : int, default=0
        Show progress of a first conversion from 1 up.

    Returns
    -------
    BaseModel
        Shared: treat it as read-only.

    Raises
    ------
    ModelNotFoundError
        If it is nowhere to be found; the message gives the remedies.
    UnsupportedModelError
        If it is not a causal language model, lacks weights, or has another model's tokenizer.
    OptionalDependencyError
        If a chosen option needs a package that is absent.
    """
    resolved_device = resolve_device(device)
    refuse_autocast(resolved_device)
    resolved_dtype = resolve_dtype(dtype, resolved_device)
    check_optional_dependencies(attn_implementation, quantization)
    options = (str(resolved_device), resolved_dtype, attn_implementation, quantization)
    with _load_lock:
        info = find_base_model(model, revision, fingerprint)
        key = (info.path, info.fingerprint, *options)
        base = _loaded.get(key)
        if base is None:
            _workers_last.release()
            logger.info("loading %s from %s (%s)", info.model, info.path, info.source)
            lm, tokenizer = _load(info, *options, verbose)
            base = _loaded[key] = BaseModel(info, lm, tokenizer, attn_implementation)
        if parent_process() is not None and base.device.type == "cpu":
            _workers_last.base = base
        return base


def check_optional_dependencies(attn_implementation: str, quantization: str | None) -> None:
    """Raise before any work if a chosen option needs a package that is not installed."""
    if quantization not in (None, "8bit", "4bit"):
        raise ValueError(f"quantization={quantization!r} must be None, '8bit' or '4bit'.")
    if attn_implementation == "flash_attention_2":
        require(f"attn_implementation={attn_implementation!r}", "flash", "flash_attn")
    if quantization is not None:
        require(f"quantization={quantization!r}", "quantization", "bitsandbytes")


def _load(
    info: BaseModelInfo,
    device: str,
    dtype: torch.dtype,
    attn_implementation: str,
    quantization: str | None,
    verbose: int,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    options: dict[str, Any] = {
        "dtype": dtype,
        "device_map": device,
        "trust_remote_code": False,  # None would ask
        "use_safetensors": True,  # the other format is a pickle, which can run code
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # the report tells of them
    }
    name, remedy = f"model={info.model!r}", ""
    if attn_implementation != "auto":
        options["attn_implementation"] = attn_implementation
        name += f" with attn_implementation={attn_implementation!r}"
        remedy = ", or leave attn_implementation at 'auto'"
    if quantization is not None:
        logging.getLogger("bitsandbytes.autograd._functions").addFilter(_no_notice_of_a_cast)
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_8bit=quantization == "8bit",
            load_in_4bit=quantization == "4bit",
            bnb_4bit_compute_dtype=dtype,
        )
    folder = Path(info.path)
    try:
        if info.source in ("gguf", "embedded"):
            folder = convert_gguf(folder, info.fingerprint, verbose)
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            lm, report = cast(Any, AutoModelForCausalLM).from_pretrained(folder, **options)
    except CLSGenError:
        raise
    except ImportError as error:
        raise OptionalDependencyError(
            f"{name} needs a package that is not installed, or not in a version that fits "
            f"({error}); install it{remedy}."
        ) from error
    except (OSError, ValueError, LookupError, SafetensorError) as error:
        raise UnsupportedModelError(
            f"{name} could not be loaded as a causal language model "
            f"({type(error).__name__}: {error}); give the folder of a decoder model with its "
            f"tokenizer and safetensors weights{remedy}."
        ) from error
    check_complete(name, report)
    for module in lm.modules():
        # On CPUs bitsandbytes would pack 4-bit weights for inference, and then they pass no
        # gradients on to the adapters below them.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            cast(Any, module).support_avx512bf16_for_cpu = False
    return lm, tokenizer


def _no_notice_of_a_cast(record: logging.LogRecord) -> bool:
    """Let other records pass: this one comes once for every 8-bit layer and pass."""
    return "MatMul8bitLt: inputs will be cast" not in str(record.msg)
