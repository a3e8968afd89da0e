"""Save and load a fitted classifier as a folder of safetensors and JSON.

The folder holds ``tensors-*.safetensors`` (adapters and head; the name tells the content) and
``classifier.json`` (parameters, classes, what base model they belong to, checksums of both files).
The base model is not in it. Nothing in either file is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import sklearn
import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ._version import __version__
from .exceptions import SavedModelError, VersionWarning
from .fitted import FittedNetwork
from .json_values import decode_value, encode_value
from .parameters import model_location

__all__ = ["SavedToFolder"]

Estimator = TypeVar("Estimator", bound="SavedToFolder")

#: Fitted attributes that are saved besides the network.
FITTED = (
    "classes_",
    "feature_names_in_",
    "n_features_in_",
    "history_",
    "n_iter_",
    "rationale_report_",
    "temperature_",
    "base_model_",
)

FORMAT = 2
SETTINGS = "classifier.json"
#: Keys that the settings must have, besides the checksum.
ENTRIES = {"format", "tensors", "class", "versions", "params", "fitted", "network"}
#: Name of the tensors' file, with a digest of its content: no save overwrites an earlier one.
TENSORS, DIGITS = "tensors-{}.safetensors", 16
#: Prefix of the folder a save is prepared in; a killed process leaves one.
SCRATCH = ".saving-"
#: Attempts to read a folder that another process is saving to.
READINGS = 5
#: Packages a classifier's numbers depend on; how many version parts must agree (None: all).
VERSIONS = {"skclsgen": None, "torch": 2, "transformers": 2}


class SavedToFolder(BaseEstimator):
    """What a classifier needs for being saved to a folder and loaded from one."""

    _network: FittedNetwork

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Save to a folder of safetensors and JSON, without the base model.

        Parameters
        ----------
        folder : path
            New or empty, or an earlier saved classifier, which is replaced. ``memory`` is not
            saved; a ``RandomState`` instance and a callable ``rationales`` become None.

        Raises
        ------
        SavedModelError
            If the folder holds something else or cannot be written to, or a parameter has no JSON
            form.
        NotFittedError
            Before ``fit``.

        Examples
        --------
        >>> import tempfile
        >>> from skclsgen import CLSGenClassifier
        >>> clf = CLSGenClassifier(epochs=0).fit(["Fire!", "Thanks."], ["urgent", "routine"])
        >>> folder = tempfile.mkdtemp()
        >>> clf.save(folder)
        >>> again = CLSGenClassifier.load(folder)
        >>> bool((again.predict_proba(["Smoke!"]) == clf.predict_proba(["Smoke!"])).all())
        True
        """
        check_is_fitted(self)
        network = self._network
        if network.state is None:
            raise SavedModelError("the classifier has no trained state; call fit again.")
        params = self.get_params(deep=False)
        if isinstance(params["random_state"], np.random.RandomState):
            params["random_state"] = None  # its state belongs to the session
        params["memory"] = None  # a folder of this machine
        if callable(params["rationales"]):
            params["rationales"] = None  # code is not saved
        fitted = {name: getattr(self, name) for name in FITTED if hasattr(self, name)}
        settings = {
            "class": type(self).__name__,
            "versions": versions(),
            "params": {name: encode_value(value, name) for name, value in params.items()},
            "fitted": {name: encode_value(value, name) for name, value in fitted.items()},
            "network": network.to_dict(),
        }
        try:
            write_folder(folder, settings, network.state)
        except SavedModelError:
            raise
        except OSError as error:
            raise SavedModelError(
                f"{os.fspath(folder)} cannot be written to ({error}); choose another folder."
            ) from error

    @classmethod
    def load(
        cls: type[Estimator],
        folder: str | os.PathLike[str],
        *,
        model: str | os.PathLike[str] | None = None,
        device: str | torch.device | None = None,
    ) -> Estimator:
        """Load what :meth:`save` wrote.

        Parameters
        ----------
        folder : path
        model : str or path, default=None
            Where the base model is on this machine, if elsewhere than when it was saved. It must
            be the same one: another raises ``BaseModelMismatchError`` when first used.
        device : str or torch.device, default=None
            Where to compute, if elsewhere than when it was saved. If the saved one is absent here,
            ``"auto"`` is used and a ``FallbackWarning`` says so.

        Returns
        -------
        CLSGenClassifier
            Fitted; the base model is loaded when first needed.

        Raises
        ------
        SavedModelError
            If the folder is missing, incomplete or was changed, or was saved by another class.

        Warns
        -----
        VersionWarning
            If it was saved with another version of skclsgen, torch or transformers.

        Examples
        --------
        See :meth:`save`.
        """
        settings, tensors = read_folder(folder)
        saved = settings["class"]
        if saved != cls.__name__:  # whose heads are trained, and read, in another way
            raise SavedModelError(
                f"{os.fspath(folder)} holds a {saved}, not a {cls.__name__}; use {saved}.load."
            )
        warn_of_other_versions(folder, settings["versions"])
        network, params = settings["network"], settings["params"]
        base = network["base"]
        for name, value in (("model", model and os.fspath(model)), ("device", device)):
            if value is not None:
                params[name] = base[name] = str(value)
        if Path(base["model"]).is_absolute() and not Path(base["model"]).exists():
            base["model"] = params["model"]  # on another machine, a path holds as it was given
        base["model"] = model_location(base["model"])
        classifier = cls(**{name: decode_value(value) for name, value in params.items()})
        for name in FITTED:
            if name in settings["fitted"]:
                setattr(classifier, name, decode_value(settings["fitted"][name]))
        classifier._network = FittedNetwork.from_dict(network, tensors)
        return classifier


def write_folder(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
) -> None:
    """Write both files; the folder holds the new classifier whole, or what it held before.

    Parameters
    ----------
    folder : path
        New, empty, or an earlier saved classifier, which is replaced.
    settings : mapping
        JSON-serialisable, see :func:`~skclsgen.json_values.encode_value`.
    tensors : mapping of str to tensor

    Raises
    ------
    SavedModelError
        If ``folder`` is a file or holds anything but a saved classifier.
    """
    target = Path(folder).expanduser().absolute()
    existing = target.is_dir()
    names = [path.name for path in target.iterdir()] if existing else []
    earlier = {name for name in names if fnmatch(name, TENSORS.format("[0-9a-f]" * DIGITS))}
    strangers = [n for n in names if n not in {SETTINGS, *earlier} and not n.startswith(SCRATCH)]
    if SETTINGS in names:  # systems leave hidden files, such as .DS_Store, where one has looked
        strangers = [name for name in strangers if not name.startswith(".")]
    if strangers or (target.exists() and not target.is_dir()):
        raise SavedModelError(
            f"{target} exists and is not a saved classifier; choose a new folder."
        )
    blob = dump_tensors(dict(tensors))
    body = {"format": FORMAT, "tensors": hashlib.sha256(blob).hexdigest(), **settings}
    document = {"checksum": _checksum(body), **body}
    target.parent.mkdir(parents=True, exist_ok=True)
    # A folder that is there may be a mount point or somebody's working directory: it stays.
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=target if existing else target.parent))
    try:
        new = scratch / "new"
        new.mkdir()
        name = _tensors_name(body)
        (new / name).write_bytes(blob)
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        (new / SETTINGS).write_text(text, encoding="utf-8")
        if existing:
            (new / name).replace(target / name)
            (new / SETTINGS).replace(target / SETTINGS)  # from here on it is the new one
            for old in earlier - {name}:
                (target / old).unlink(missing_ok=True)
            # Of two saves at once, each may have removed what the other's settings name.
            if not (target / _tensors_name(_read_settings(target))).exists():
                write_folder(target, settings, tensors)
        else:
            try:
                new.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
                # Another save has made the folder first; it is replaced as any that is there.
                write_folder(target, settings, tensors)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def read_folder(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read and check what :func:`write_folder` wrote.

    Raises
    ------
    SavedModelError
        If a file is missing, cannot be read, was truncated or changed, or is of another format.
    """
    source = Path(folder).expanduser()
    document, blob = _read_both(source)
    if document["tensors"] != hashlib.sha256(blob).hexdigest():
        raise _changed(source)
    try:
        return document, load_tensors(blob)
    except SafetensorError as error:  # unreachable unless the saving process itself went wrong
        raise SavedModelError(f"{source} has unreadable tensors; save it again.") from error


def _read_both(source: Path) -> tuple[dict[str, Any], bytes]:
    """Read settings and the tensors that belong to them.

    A save replaces the settings and then removes the old tensors. Where it has done so between the
    two readings, both are read anew.
    """
    for _ in range(READINGS):
        document = _read_settings(source)
        with suppress(FileNotFoundError):
            return document, _content(source / _tensors_name(document))
    raise _missing(source / _tensors_name(document))


def _read_settings(source: Path) -> dict[str, Any]:
    try:
        document = json.loads(_content(source / SETTINGS))
    except FileNotFoundError:
        raise _missing(source / SETTINGS) from None
    except ValueError as error:
        raise SavedModelError(
            f"{source} cannot be read ({type(error).__name__}); it is damaged, so save the "
            "classifier again or restore the folder from a copy."
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise SavedModelError(
            f"{source} has no settings of format {FORMAT}; load it with the version of skclsgen "
            "that saved it."
        )
    intact = document.pop("checksum", None) == _checksum(document)
    if not intact or not document.keys() >= ENTRIES:
        raise _changed(source)
    return document


def _content(file: Path) -> bytes:
    """Return the content of a file of a saved folder.

    Raises
    ------
    FileNotFoundError
        If it is missing.
    SavedModelError
        If it may not be read.
    """
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SavedModelError(
            f"{file.parent} cannot be read ({error.strerror or error}); give a folder that save() "
            "wrote and that you may read."
        ) from error


def _missing(file: Path) -> SavedModelError:
    return SavedModelError(
        f"{file.parent} is not a saved classifier: {file.name} is missing; give the folder that "
        "save() wrote."
    )


def _changed(source: Path) -> SavedModelError:
    return SavedModelError(
        f"{source} was changed or damaged after it was saved (its checksum differs, or settings "
        "are missing); restore the folder from a copy or save the classifier again."
    )


def versions() -> dict[str, str]:
    """Return the versions at hand of what computes a classifier."""
    return {
        "skclsgen": __version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def warn_of_other_versions(folder: str | os.PathLike[str], saved: Mapping[str, str]) -> None:
    """Warn if a classifier was saved with versions that may compute something else."""
    here = versions()
    others = [
        f"{name} {saved.get(name)} (here {here[name]})"
        for name, parts in VERSIONS.items()
        if str(saved.get(name)).split(".")[:parts] != here[name].split(".")[:parts]
    ]
    if others:
        warnings.warn(
            f"{os.fspath(folder)} was saved with {', '.join(others)}, so its probabilities may "
            "differ from those it gave then; install the versions it was saved with, or fit again.",
            VersionWarning,
            stacklevel=3,
        )


def _tensors_name(body: Mapping[str, Any]) -> str:
    return TENSORS.format(str(body["tensors"])[:DIGITS])


def _checksum(body: Mapping[str, Any]) -> str:
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
