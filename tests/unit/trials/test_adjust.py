# SPDX-License-Identifier: BSD-2-Clause
"""Words of a kernel variable changed from outside."""

import asyncio
from types import SimpleNamespace

import pytest

from harness.errors import ConfigurationError, GuestError
from harness.places.symbols import Symbol, SymbolTable
from harness.plan.rules import AdjustModel, OrderModel
from harness.trials.adjust import adjust_words
from harness.trials.external import order_rule

SYMBOLS = SymbolTable((Symbol(0x1000, "B", "stack_tops", size=32),), "a kernel")


class FakeClient:
    """Memory from 0x1000 on, as words of eight bytes."""

    def __init__(self, *words: int) -> None:
        self.arch = SimpleNamespace(word=8)
        self.words = list(words)

    async def read_memory(self, thread: str, address: int, size: int) -> bytes:
        start = (address - 0x1000) // 8
        found = self.words[start : start + size // 8]
        return b"".join(word.to_bytes(8, "little") for word in found)

    async def write_memory(self, thread: str, address: int, content: bytes) -> None:
        self.words[(address - 0x1000) // 8] = int.from_bytes(content, "little")


def adjust(client: FakeClient, **fields: object) -> None:
    change = AdjustModel.model_validate(
        {"variable": "stack_tops", "words": 3, "add": -4, "about": "aligned"} | fields
    )
    asyncio.run(adjust_words(client, "p1.1", SYMBOLS, change))  # type: ignore[arg-type]


def test_words_are_changed_and_empty_ones_stay() -> None:
    client = FakeClient(0xFFFFFFFF81001FFC, 0, 3, 16)
    adjust(client)
    assert client.words == [0xFFFFFFFF81001FF8, 0, 2**64 - 1, 16]


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(GuestError, match="stack_tops at 0x1000 is not mapped"):
        adjust(FakeClient(8, 8))
    with pytest.raises(ConfigurationError, match="stack_top:"):
        adjust(FakeClient(8, 8, 8), variable="stack_top")


def test_an_order_that_lets_arrivals_go_by() -> None:
    order = OrderModel.model_validate(
        {"name": "o", "hold": "a", "until": {"place": "b"}, "timeout_ms": 5, "skip": 2}
    )
    assert order_rule(order).skip == 2
    assert order_rule(order.model_copy(update={"skip": 0})).skip == 0
