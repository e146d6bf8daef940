# SPDX-License-Identifier: BSD-2-Clause
"""The campaign's loop with trials that are no more than their verdict."""

import asyncio
import errno
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from fakes import ARMS, Told, arm, plan, record

from harness.errors import ExitCode, InfrastructureError
from harness.stats.schedule import block_order
from harness.stats.sequential import Decision, StopRule
from harness.trials import campaign as campaign_module
from harness.trials.campaign import CampaignRules, TooManyVoidsError, run_campaign, trial_seed
from harness.trials.ledger import open_ledger
from harness.trials.record import CampaignFolder, create_campaign
from harness.trials.trial import TrialRecord

Verdicts = Callable[[str, int, int], str]


def race(arm: str, number: int, block: int) -> str:
    return "reproduced" if arm == "buggy" else "survived"


def by_name(record: TrialRecord) -> tuple[str, int]:
    return record.arm, record.number


@dataclass
class Lab:
    """A campaign whose trials end as `verdicts` says; `ran` is what was asked to run."""

    folder: CampaignFolder
    verdicts: Verdicts = race
    ran: list[tuple[str, int, int, int]] = field(default_factory=list)
    told: Told = field(default_factory=Told)

    async def trial(
        self, arm: object, number: int, block: int, seed: int, folder: Path
    ) -> TrialRecord:
        name = arm.name  # type: ignore[attr-defined]
        assert list(folder.iterdir()) == []
        self.ran.append((name, number, block, seed))
        (folder / "console.log").write_text(f"{name} {number}")
        await asyncio.sleep(0)
        return record(name, number, block, self.verdicts(name, number, block), seed=seed)

    def run(
        self, *, budget: int = 20, every_trial: bool = False, voids: int = 5, seed: int = 1
    ) -> Decision:
        rules = CampaignRules(seed, StopRule(0.95, budget, 1, every_trial), voids, False)
        return asyncio.run(run_campaign(self.folder, [*map(arm, ARMS)], rules, self.told))


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab(create_campaign(tmp_path, "race", plan()))

    def trial(*arguments: object) -> object:
        return lab.trial(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(campaign_module, "run_trial", trial)
    return lab


def test_it_stops_at_the_confidence_after_whole_blocks(lab: Lab) -> None:
    decision = lab.run()
    assert (decision.claim, decision.stop, decision.trials) == ("holds", True, 5)
    assert Counter(name for name, *_ in lab.ran) == dict.fromkeys(ARMS, 5)
    summary = lab.folder.summary()
    assert (summary["claim"], summary["complete"]) == ("holds", True)
    assert sorted(path.name for path in lab.folder.trials.iterdir()) == sorted(
        f"{name}-{number:04d}" for name in ARMS for number in range(1, 6)
    )


def test_arms_take_turns_in_random_blocks(lab: Lab) -> None:
    lab.run(budget=12, every_trial=True)
    orders = [
        tuple(name for name, _, block, _ in lab.ran if block == number) for number in range(12)
    ]
    assert all(sorted(order) == sorted(ARMS) for order in orders)
    assert orders == [block_order(1, number, list(ARMS)) for number in range(12)]
    assert len(set(orders)) > 2
    assert [block for _, _, block, _ in lab.ran] == sorted(block for _, _, block, _ in lab.ran)


def test_every_trial_has_a_seed_of_its_own(lab: Lab) -> None:
    lab.run(budget=10, every_trial=True)
    assert all(seed == trial_seed(1, name, number) for name, number, _, seed in lab.ran)
    assert len({seed for *_, seed in lab.ran}) == 30
    assert all(0 <= seed < 2**63 for *_, seed in lab.ran)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_trials_n_is_exactly_n_in_every_arm(lab: Lab, count: int) -> None:
    lab.verdicts = lambda name, number, block: "void" if number % 3 == 2 else race(name, 0, 0)
    lab.run(budget=count, every_trial=True)
    summary = lab.folder.summary()
    assert {name: found["trials"] for name, found in summary["arms"].items()} == dict.fromkeys(
        ARMS, count
    )
    assert summary["complete"]


def test_exactly_n_even_if_the_fixed_arm_fails_at_once(lab: Lab) -> None:
    lab.verdicts = lambda *_: "reproduced"
    decision = lab.run(budget=4, every_trial=True)
    assert decision.claim == "fails"
    assert len(lab.ran) == 12


def test_a_void_is_run_again_in_the_same_slot(lab: Lab) -> None:
    voided = set()

    def verdicts(name: str, number: int, block: int) -> str:
        if block in (0, 2) and (name, block) not in voided:
            voided.add((name, block))
            return "void"
        return race(name, number, block)

    lab.verdicts = verdicts
    lab.run()
    for name in ARMS:
        mine = [(number, block) for arm, number, block, _ in lab.ran if arm == name]
        assert [number for number, _ in mine] == list(range(1, len(mine) + 1))
        assert [block for _, block in mine] == [0, 0, 1, 2, 2, 3, 4]
    slots = [(name, block) for name, _, block, _ in lab.ran]
    assert slots == sorted(slots, key=slots.index), "a repetition follows its void at once"
    assert lab.folder.summary()["arms"]["fixed"]["void"] == 2
    assert lab.folder.summary()["claim"] == "holds"


def test_too_many_voids_end_the_campaign_with_the_reason(lab: Lab) -> None:
    lab.verdicts = lambda name, number, block: "void" if block == 1 else race(name, 0, 0)
    with pytest.raises(
        TooManyVoidsError, match=r"3 void trials in a row.*because of void"
    ) as error:
        lab.run(voids=3)
    assert error.value.exit_code == ExitCode.INFRASTRUCTURE
    summary = lab.folder.summary()
    assert (summary["claim"], summary["complete"]) == ("inconclusive", False)
    assert sum(found["void"] for found in summary["arms"].values()) == 3
    lab.verdicts = race
    assert lab.run().claim == "holds"


def test_voids_are_no_evidence(lab: Lab) -> None:
    lab.verdicts = lambda *_: "void"
    with pytest.raises(TooManyVoidsError):
        lab.run()
    for found in lab.folder.summary()["arms"].values():
        assert (found["trials"], found["reproduced"], found["survived"]) == (0, 0, 0)


@pytest.mark.parametrize("verdict", ["reproduced", "crashed", "hung"])
def test_a_fixed_arm_that_is_not_clean_fails_the_claim_at_once(lab: Lab, verdict: str) -> None:
    lab.verdicts = lambda name, number, block: (
        verdict if name == "fixed" and block == 2 else race(name, 0, 0)
    )
    decision = lab.run()
    assert (decision.claim, decision.stop) == ("fails", True)
    assert lab.ran[-1][0] == "fixed"
    assert lab.ran[-1][2] == 2
    assert lab.folder.is_complete()


def test_a_race_that_never_shows_is_inconclusive(lab: Lab) -> None:
    lab.verdicts = lambda *_: "survived"
    decision = lab.run(budget=8)
    assert (decision.claim, decision.stop) == ("inconclusive", True)
    assert decision.trials <= 8


def test_after_any_prefix_of_the_ledger_it_goes_on_as_if_nothing_had_happened(
    lab: Lab, tmp_path: Path
) -> None:
    def verdicts(name: str, number: int, block: int) -> str:
        return "void" if number in (2, 5) else race(name, number, block)

    lab.verdicts = verdicts
    lab.run()
    whole, lines = lab.ran, lab.folder.ledger.read_bytes().splitlines(keepends=True)
    summary = lab.folder.summary()
    for done in range(len(lines) + 1):
        for torn in (b"", lines[done][:-1] if done < len(lines) else b""):
            lab.folder = create_campaign(tmp_path, f"again-{done}-{len(torn)}", plan())
            lab.folder.ledger.write_bytes(b"".join(lines[:done]) + torn)
            lab.ran = []
            lab.run()
            assert lab.ran == whole[done:]
            again = lab.folder.summary()
            assert again | {"campaign": ""} == summary | {"campaign": ""}


def test_what_had_not_reached_the_ledger_is_not_run_again(lab: Lab) -> None:
    lab.run(budget=3, every_trial=True)
    whole, lines = lab.ran, lab.folder.ledger.read_bytes().splitlines(keepends=True)
    lab.folder.ledger.write_bytes(b"".join(lines[:4]))
    lab.ran = []
    lab.run(budget=3, every_trial=True)
    assert lab.ran == []
    expected = [
        record(name, number, block, race(name, 0, 0), seed=seed)
        for name, number, block, seed in whole
    ]
    assert sorted(lab.folder.records(), key=by_name) == sorted(expected, key=by_name)


def test_interrupted_in_a_trial_it_keeps_the_rest_and_goes_on(lab: Lab) -> None:
    def verdicts(name: str, number: int, block: int) -> str:
        if len(lab.ran) == 5:
            raise asyncio.CancelledError
        return race(name, number, block)

    lab.verdicts = verdicts
    with pytest.raises(asyncio.CancelledError):
        lab.run()
    assert len(lab.folder.records()) == 4
    assert not [path for path in lab.folder.trials.iterdir() if path.name.startswith(".")]
    assert not lab.folder.summary()["complete"]
    interrupted, lab.ran, lab.verdicts = lab.ran, [], race
    lab.run()
    assert lab.ran[0] == interrupted[-1]
    assert lab.folder.summary()["claim"] == "holds"


def test_a_full_disk_in_a_trial_ends_the_campaign_and_loses_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(lab.ran) == 4:
            real(descriptor, data[:20])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(InfrastructureError, match="free some space, then go on with --resume"):
        lab.run()
    monkeypatch.undo()
    assert len(lab.folder.records()) == 3
    monkeypatch.setattr(campaign_module, "run_trial", lambda *arguments: lab.trial(*arguments))
    lab.run()
    assert Counter(name for name, *_ in lab.ran) == dict.fromkeys(ARMS, 5)


def test_another_process_has_it(lab: Lab) -> None:
    with open_ledger(lab.folder.ledger), pytest.raises(InfrastructureError) as caught:
        lab.run()
    assert "another harness is running the campaign" in str(caught.value)
    assert caught.value.exit_code == ExitCode.INFRASTRUCTURE
    assert lab.ran == []


def test_two_campaigns_at_once_in_one_results_folder(lab: Lab, tmp_path: Path) -> None:
    folders = [create_campaign(tmp_path, "race", plan()) for _ in range(2)]
    rules = CampaignRules(3, StopRule(), 5, False)

    async def both() -> None:
        await asyncio.gather(
            *(run_campaign(one, [*map(arm, ARMS)], rules, lab.told) for one in folders)
        )

    asyncio.run(both())
    assert [folder.summary()["claim"] for folder in folders] == ["holds", "holds"]
    assert len(lab.ran) == 30
    assert [len(folder.records()) for folder in folders] == [15, 15]


def test_the_watcher_is_told_of_every_trial(lab: Lab) -> None:
    lab.run()
    assert [asdict(one)["arm"] for one, _ in lab.told.ended] == [name for name, *_ in lab.ran]
    assert lab.told.started == [(name, number) for name, number, *_ in lab.ran]
    assert lab.told.ended[-1][1].stop
