"""Rows of tokens laid end to end, so that nothing is padded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import torch

__all__ = ["TOKEN_MULTIPLE", "PackedRows", "Row", "batches_by_length"]

#: Numbers of tokens are brought up to a multiple of this. Kernels treat the last rows of a matrix
#: differently if they do not fill a block, and a row's result must not depend on its place (which
#: on Intel's CPUs takes a variable of the environment as well, see docs/method.md); and every new
#: size of matrix costs a CPU the making of its kernels.
TOKEN_MULTIPLE = 32

#: One row's prompt and continuation, as token ids; the continuation may be empty.
Row = tuple[Sequence[int], Sequence[int]]

#: Rows, and tokens, run together; the tokens bound the memory.
BATCH_ROWS, BATCH_TOKENS = 32, 2**14


@dataclass(frozen=True, eq=False)  # so that it is hashed by identity
class PackedRows:
    """Several rows in one sequence, after a prefix that all share.

    Attributes
    ----------
    rows : sequence of (sequence of int, sequence of int)
        Each row's prompt (at least one token) and continuation.
    prefix : int
        Tokens of the shared prefix, which is not part of the sequence.
    device : torch.device
        Where tensors are made.

    Examples
    --------
    >>> rows = PackedRows([([5, 6], [7]), ([8], [])], prefix=4, device=torch.device("cpu"))
    >>> rows.ids().tolist(), rows.positions().tolist(), rows.decisions().tolist()
    ([5, 6, 7, 8], [4, 5, 6, 4], [1, 3])
    """

    rows: Sequence[Row]
    prefix: int
    device: torch.device

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> list[int]:
        """Tokens of every row."""
        return [len(prompt) + len(continuation) for prompt, continuation in self.rows]

    def spans(self) -> list[tuple[int, int]]:
        """First token and end of every row."""
        ends = list(accumulate(self.lengths))
        return list(zip([0, *ends], ends, strict=False))

    def ids(self) -> torch.Tensor:
        """Token ids, shape (tokens,), int64."""
        return self._tensor(chain.from_iterable(chain.from_iterable(self.rows)))

    def positions(self) -> torch.Tensor:
        """Each token's position in its row, prefix included, shape (tokens,), int64."""
        ranges = (range(self.prefix, self.prefix + length) for length in self.lengths)
        return self._tensor(chain.from_iterable(ranges))

    def decisions(self) -> torch.Tensor:
        """Where the prompts' last tokens stand, shape (rows,), int64."""
        starts = (start for start, _ in self.spans())
        return self._tensor(
            start + len(prompt) - 1 for start, (prompt, _) in zip(starts, self.rows, strict=True)
        )

    def continuations(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Each continuation token's row and place, shape (continuation tokens,), int64."""
        pairs = [
            (row, place)
            for row, (start, stop) in enumerate(self.spans())
            for place in range(start + len(self.rows[row][0]), stop)
        ]
        return self._tensor(row for row, _ in pairs), self._tensor(place for _, place in pairs)

    def filled(self) -> PackedRows:
        """Return the rows with a meaningless one after them, up to a multiple of tokens."""
        filler = -sum(self.lengths) % TOKEN_MULTIPLE
        rows = [*self.rows, ([0] * filler, [])] if filler else self.rows
        return PackedRows(rows, self.prefix, self.device)

    def single(self) -> list[PackedRows]:
        """Return every row by itself."""
        return [PackedRows([row], self.prefix, self.device) for row in self.rows]

    def _tensor(self, values: Iterable[int]) -> torch.Tensor:
        return torch.tensor(list(values), dtype=torch.long, device=self.device)


def batches_by_length(
    lengths: Sequence[int], rows: int = BATCH_ROWS, tokens: int = BATCH_TOKENS
) -> list[list[int]]:
    """Group row numbers into batches of rows of similar length, longest first.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row.
    rows, tokens : int
        Most rows, and most tokens with padding, of a batch; a single row may be longer.

    Examples
    --------
    >>> batches_by_length([3, 9, 4, 8], rows=2)
    [[1, 3], [2, 0]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        last = batches[-1] if batches else []
        if last and len(last) < rows and (len(last) + 1) * lengths[last[0]] <= tokens:
            last.append(row)
        else:
            batches.append([row])
    return batches
