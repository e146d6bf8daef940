# SPDX-License-Identifier: BSD-2-Clause
"""Tests that what the plugin's mechanism promises is what its control block holds."""

from harness.failpoints.mechanisms import TCG_PLUGIN
from harness.qemu.plugin import layout


def test_mechanism_takes_as_many_terms_as_the_control_block() -> None:
    assert TCG_PLUGIN.max_terms == layout.MAX_TERMS
