"""The usual path, as the documentation of transformers and peft shows it.

``Trainer`` with a LoRA on ``AutoModelForSequenceClassification``, ``pipeline`` for prediction,
``generate`` for text.

- https://huggingface.co/docs/transformers/tasks/sequence_classification
- https://huggingface.co/docs/peft/package_reference/lora
- https://huggingface.co/docs/transformers/main_classes/pipelines
- https://huggingface.co/docs/transformers/llm_tutorial#batching
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    pipeline,
)

from ..silence import quiet_transformers
from .tasks import Task

__all__ = ["Generator", "UsualClassifier"]

#: Epochs and learning rate of the usual path; the rest is what the libraries default to.
EPOCHS, LEARNING_RATE = 3, 2e-4


class _Rows(Dataset[dict[str, Any]]):
    """Tokenised rows."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], labels: Sequence[int]
    ) -> None:
        self.encoded = tokenizer(list(texts), truncation=True, max_length=2048)
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return {
            "input_ids": self.encoded["input_ids"][row],
            "attention_mask": self.encoded["attention_mask"][row],
            "labels": self.labels[row],
        }


class UsualClassifier:
    """Sequence classification with LoRA on all linear layers.

    Parameters
    ----------
    folder : Path
        The base model.
    dtype : torch.dtype
        Of weights, adapters and activations: float32 is what the libraries do by default,
        bfloat16 throughout is their fastest.
    rank, batch_size, seed : int
    epochs : int, default=3
    rows_at_once : int, optional
        Rows of a batch that are in memory together, the rest by gradient accumulation; by default
        all.

    Raises
    ------
    ValueError
        If a batch cannot be made of such parts.
    """

    def __init__(
        self,
        folder: Path,
        dtype: torch.dtype,
        *,
        rank: int,
        batch_size: int,
        seed: int,
        epochs: int = EPOCHS,
        rows_at_once: int | None = None,
    ) -> None:
        self.folder = folder
        self.dtype = dtype
        self.rank = rank
        self.batch_size = batch_size
        self.seed = seed
        self.epochs = epochs
        self.rows_at_once = rows_at_once or batch_size
        if batch_size % self.rows_at_once:
            raise ValueError(
                f"rows_at_once={rows_at_once} must divide batch_size={batch_size}, or batches "
                "would be smaller."
            )

    def build(self) -> None:
        """Load the model and put adapters on it; not part of any time that is measured."""
        torch.manual_seed(self.seed)
        with quiet_transformers():
            self.tokenizer = AutoTokenizer.from_pretrained(self.folder)
            model = AutoModelForSequenceClassification.from_pretrained(
                self.folder, num_labels=2, dtype=self.dtype
            )
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        model.config.pad_token_id = self.tokenizer.pad_token_id
        config = LoraConfig(
            task_type="SEQ_CLS", r=self.rank, lora_alpha=2 * self.rank, target_modules="all-linear"
        )
        # Float32 adapters in a bfloat16 model, which is peft's default, are cast back and forth.
        self.model: Any = get_peft_model(model, config, autocast_adapter_dtype=False)

    def fit(self, task: Task) -> UsualClassifier:
        """Train for ``epochs``."""
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                num_train_epochs=self.epochs,
                learning_rate=LEARNING_RATE,
                per_device_train_batch_size=self.rows_at_once,
                gradient_accumulation_steps=self.batch_size // self.rows_at_once,
                seed=self.seed,
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                use_cpu=not torch.cuda.is_available(),
            )
            Trainer(
                model=self.model,
                args=arguments,
                train_dataset=_Rows(self.tokenizer, task.texts, task.targets().tolist()),
                data_collator=DataCollatorWithPadding(self.tokenizer),
                processing_class=self.tokenizer,
            ).train()
        return self

    def merge(self) -> None:
        """Fold the adapters into the weights, as one does before serving."""
        self.model = self.model.merge_and_unload().eval()

    def predict_proba(self, texts: Sequence[str], batch_size: int = 8) -> np.ndarray:
        """Probability of the second class, shape (texts,), through ``pipeline``."""
        with quiet_transformers():
            classify: Any = pipeline(
                "text-classification", model=self.model, tokenizer=self.tokenizer
            )
            found = classify(list(texts), batch_size=batch_size, top_k=None, truncation=True)
        name = self.model.config.id2label[1]
        return np.array(
            [next(entry["score"] for entry in row if entry["label"] == name) for row in found]
        )


class Generator:
    """Batched ``generate`` on a causal language model with an unmerged adapter, in bfloat16.

    Parameters
    ----------
    lm : peft.PeftModel
        Of a causal language model.
    tokenizer : transformers.PreTrainedTokenizerBase
    """

    def __init__(self, lm: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.lm = lm
        self.tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, dtype: torch.dtype, rank: int, targets: Sequence[str]) -> Generator:
        """Load the model and put adapters on the layers named ``targets``."""
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder)
            lm = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        config = LoraConfig(
            task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank, target_modules=list(targets)
        )
        return cls(get_peft_model(lm, config, autocast_adapter_dtype=False).eval(), tokenizer)

    def __call__(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        stop_ids: Sequence[int],
        *,
        batch_size: int = 32,
    ) -> list[list[int]]:
        """Continue every prompt greedily; left-padded batches in the order given."""
        replies: list[list[int]] = []
        pad = stop_ids[0]
        for start in range(0, len(prompts), batch_size):
            batch = [list(prompt) for prompt in prompts[start : start + batch_size]]
            width = max(map(len, batch))
            ids = torch.tensor([[pad] * (width - len(row)) + row for row in batch])
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
            with torch.no_grad():
                out = self.lm.generate(
                    input_ids=ids.to(self.lm.device),
                    attention_mask=mask.to(self.lm.device),
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    eos_token_id=list(stop_ids),
                    pad_token_id=pad,
                )
            for row in out[:, width:].tolist():
                end = next((i for i, token in enumerate(row) if token in stop_ids), len(row) - 1)
                replies.append(row[: end + 1])
        return replies
