"""What is put to the base model in all arms: runs with another wording are other runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple

from ... import prompt, self_written
from ...baselines import questions

__all__ = ["OBSERVER", "prompts_digest"]

#: What the blind observer is told in front of every masked reason.
OBSERVER = "Say which label this reason was given for."


def prompts_digest() -> str:
    """Return a digest of the wording of all prompts, with ``a`` and ``b`` for what they are about.

    What a chat template puts around them, and between examples, belongs to the model.

    Examples
    --------
    >>> len(prompts_digest())
    12
    """
    labels = ["a", "b"]
    worded = [
        [prompt.default_instruction(labels), prompt.ANSWER_CUE, prompt.LABEL_END],
        [
            self_written.INSTRUCTION,
            self_written.CUE,
            self_written.OPENING,
            self_written.quotation('a"'),
        ],
        *map(
            astuple,
            [
                questions.P_TRUE,
                questions.RELATIVE,
                questions.tournament("a"),
                questions.verbalized(labels),
            ],
        ),
        [questions.proposal("a", "b"), questions.pair("a", "b"), questions.answered("a")],
        [*questions.CONTENT_FREE, OBSERVER],
    ]
    return hashlib.sha256(json.dumps(worded).encode()).hexdigest()[:12]
