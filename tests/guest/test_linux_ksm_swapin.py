# SPDX-License-Identifier: BSD-2-Clause
"""The target linux-ksm-swapin: both halves of the race, their controls, and where they are held."""

from pathlib import Path
from typing import Any

import pytest
from running import PROJECT, Harness

from harness.kernels.kbuild.architecture import architecture
from harness.kernels.kbuild.requirements import missing_packages

TARGET = "linux-ksm-swapin"
FIRST_BUILD_SECONDS = 3600
CAMPAIGN_SECONDS = 900

pytestmark = [
    pytest.mark.guest,
    pytest.mark.slow,
    pytest.mark.timeout(FIRST_BUILD_SECONDS + CAMPAIGN_SECONDS),
]


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], Path]:
    """Five trials of each of the target's default arms: exit status, summary, folder."""
    missing = missing_packages("gcc", architecture("x86_64"))
    if missing:
        pytest.skip(f"a kernel cannot be built here: {', '.join(missing)} missing")
    harness = Harness(PROJECT, tmp_path_factory.mktemp("results"))
    done = harness.run(
        "repro", TARGET, "--trials", "5", "--seed", "1", "--json",
        seconds=FIRST_BUILD_SECONDS + CAMPAIGN_SECONDS,
    )  # fmt: skip
    assert done.out, done.err
    return done.status, done.document, harness.campaigns()[-1]


Campaign = tuple[int, dict[str, Any], Path]


def test_the_claim_holds_and_every_control_is_as_expected(campaign: Campaign) -> None:
    status, summary, _ = campaign
    assert (status, summary["claim"], summary["unexpected"]) == (0, "holds", [])


@pytest.mark.parametrize(
    ("arm", "symptom"),
    [
        ("buggy", "stale copy installed"),
        ("recheck-buggy", "page that left the swap cache installed"),
    ],
)
def test_each_half_has_a_symptom_of_its_own(campaign: Campaign, arm: str, symptom: str) -> None:
    found = campaign[1]["arms"][arm]
    assert set(found["symptoms"]) == {symptom}
    assert found["reproduced"] == found["trials"] == 5
    attempts = found["attempts"]
    assert attempts["reproduced"] >= 0.95 * attempts["carried_out"] > 0


@pytest.mark.parametrize(
    "arm",
    [
        "fixed",
        "buggy-held-before-unlock",
        "buggy-one-round-short",
        "recheck-fixed",
        "recheck-held-before-lookup",
        "recheck-one-round-short",
    ],
)
def test_no_attempt_of_a_control_reproduces(campaign: Campaign, arm: str) -> None:
    attempts = campaign[1]["arms"][arm]["attempts"]
    assert attempts["reproduced"] == 0
    assert attempts["carried_out"] >= 90


def test_where_the_order_is_met(campaign: Campaign) -> None:
    """The page lock keeps the aggressor out of the first half; the check lets it through."""
    arms = campaign[1]["arms"]
    met = {name: arm["orders_reached"] for name, arm in arms.items()}
    assert met["fixed"] == met["buggy-held-before-unlock"] == 0
    assert met["recheck-fixed"] == met["recheck-buggy"] == met["buggy"] == 5


def test_the_page_is_back_in_its_slot_when_the_victim_goes_on(campaign: Campaign) -> None:
    text = (campaign[2] / "trials" / "buggy-0001" / "interleaving.txt").read_text()
    words = " ".join(text.replace("│", " ").split())
    assert "held at about-to-copy until" in words and "round-done x7" in words
    assert "about-to-copy ksm_might_need_to_copy:call(alloc_pages_vma) ksm_might" in words
    assert "outcome reproduced" in text
