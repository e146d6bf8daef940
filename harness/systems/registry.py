# SPDX-License-Identifier: BSD-2-Clause
"""The systems by name."""

from harness.systems.base import System
from harness.systems.freebsd.system import FreeBSD
from harness.systems.gnumach.system import GnuMach
from harness.systems.linux.system import Linux

SYSTEMS: dict[str, System] = {"freebsd": FreeBSD(), "gnumach": GnuMach(), "linux": Linux()}
