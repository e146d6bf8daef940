# SPDX-License-Identifier: BSD-2-Clause
"""The models behind guest-configs/*.toml and failpoints/*/target.toml."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from harness.crashes.signature import ConsoleSignature, MatchResult
from harness.errors import ConfigurationError
from harness.failpoints.grammar import parse_setting
from harness.failpoints.mechanisms import MECHANISMS, refuse_unsupported
from harness.hangs.signature import HangSignature
from harness.places.syntax import parse_place

Arch = Literal["x86_64", "i386", "arm64", "ppc64le"]
SystemName = Literal["linux", "gnumach", "freebsd"]

_NAME = r"^[a-z0-9][a-z0-9_-]*$"
Name = Annotated[str, Field(pattern=_NAME, max_length=64)]


def _checked_place(text: str) -> str:
    try:
        parse_place(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return text


def _checked_setting(text: str) -> str:
    try:
        parse_setting(text)
    except ConfigurationError as error:
        raise ValueError(str(error)) from error
    return text


def _checked_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return text


PatternText = Annotated[str, AfterValidator(_checked_pattern)]
PlaceText = Annotated[str, AfterValidator(_checked_place)]
SettingText = Annotated[str, AfterValidator(_checked_setting)]


class Model(BaseModel):
    """A table whose keys are all known: a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MachineModel(Model):
    """[machine] of a guest config: QEMU's program and the virtual hardware."""

    qemu: str
    machine: str
    cpu: str
    vcpus: int = Field(ge=1, le=64)
    memory_mib: int = Field(ge=64, le=65536)
    accelerator: Literal["auto", "tcg", "kvm"] = "auto"
    console: list[str] = ["-serial", "chardev:console"]
    control: list[str] = ["-serial", "chardev:control"]
    """QEMU's arguments for the console's port and for the control channel's, whose character
    devices are named `console` and `control`."""
    arguments: list[str] = []


class BootModel(Model):
    """[boot] of a guest config: how the kernel is started and what it is told."""

    method: Literal["direct"]
    append: list[str]
    seconds: PositiveFloat = 120.0
    snapshot: bool = True


class PackageModel(Model):
    """A distribution package by name and suite."""

    package: str
    suite: str


class CompilerModel(Model):
    """[userland.compiler] of a guest config: the compiler that runs in a guest."""

    packages: list[str] = Field(min_length=1)
    """With all that they depend on they are the disk's content."""
    suite: str
    program: str = "gcc"
    memory_mib: int = Field(default=768, ge=256, le=65536)
    """Of the guest that compiles."""


class RootModel(Model):
    """[userland.root] of a guest config: a disk image of a distribution's root, driven by SSH."""

    suite: str
    packages: list[str] = []
    """Beside those that a root needs to be logged in to; with all that they depend on."""
    size_mib: int = Field(ge=1, le=65536)
    modules: list[str] = []
    """What the kernel needs to find disk and network, where it has them as modules."""


class GuestUserlandModel(Model):
    """[userland] of a guest config: what its image is made from."""

    busybox: PackageModel
    root: RootModel | None = None
    compiler: CompilerModel | None = None


class GuestModel(Model):
    """A guest config."""

    title: str
    system: SystemName
    arch: Arch
    like: Name | None = None
    """Another guest, whose part in targets this one takes: their kernels and arms of that name."""
    machine: MachineModel
    boot: BootModel
    kernel: PackageModel | None = None
    """The distribution's kernel for it: where no target names one, and to compile in a guest."""
    userland: GuestUserlandModel | None = None

    @property
    def is_full_image(self) -> bool:
        """Whether it has a disk with a distribution's root, and is driven over SSH."""
        return self.userland is not None and self.userland.root is not None

    @property
    def compiler(self) -> CompilerModel | None:
        """The compiler that runs in a guest, where there is one."""
        return self.userland.compiler if self.userland is not None else None

    @model_validator(mode="after")
    def _linux_has_a_userland(self) -> "GuestModel":
        if self.system == "linux" and self.userland is None:
            raise ValueError("a Linux guest needs a [userland] table with `busybox`")
        if self.compiler is not None and self.kernel is None:
            raise ValueError("[userland.compiler] needs a [kernel] table: what it runs on")
        return self


_SOURCE_KINDS = ("package", "directory", "git", "tarball")
_SOURCE_COMPANIONS = {"suite": "package", "version": "package", "ref": "git", "sha256": "tarball"}
SOURCE_KEYS = (*_SOURCE_KINDS, *_SOURCE_COMPANIONS)
"""Of a source recipe: what names the tree, and not what is done to it."""
_REF = re.compile(r"[^-\s:][^\s:]*")


Fragments = Annotated[
    list[str],
    BeforeValidator(lambda given: [given] if isinstance(given, str) else given),
    Field(min_length=1),
]
"""Names of config fragments; one may stand without a list."""


class SourceRecipe(Model):
    """A kernel built from source: where the tree is, and what the target does to it."""

    package: str | None = Field(default=None, min_length=1)
    suite: str | None = Field(default=None, min_length=1)
    version: str | None = Field(default=None, pattern=r"^[0-9][A-Za-z0-9.+~:-]*$")
    """Of the package; without it, what the suite had when it was first fetched."""
    directory: str | None = Field(default=None, min_length=1)
    """Relative to the target's folder, as `git` and `tarball` are where they are paths."""
    git: str | None = Field(default=None, min_length=1)
    ref: str | None = None
    tarball: str | None = Field(default=None, min_length=1)
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    config: Fragments
    """Later fragments win."""
    patches: list[str] = []
    semantic_patches: list[str] = []
    hooks: list[str] = []
    """Semantic patches that put FAIL_POINT(name) into the tree, which gets the code for it."""
    compiler: str | None = None

    @property
    def origin(self) -> str:
        """Where the tree comes from, for people."""
        if self.git is not None:
            return f"{self.git}@{self.ref}"
        return str(self.package or self.directory or self.tarball)

    @model_validator(mode="after")
    def _one_origin(self) -> "SourceRecipe":
        given = [key for key in _SOURCE_KINDS if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(
                "the source must be one of `package` with `suite`, `directory`, `git` with `ref`, "
                f"`tarball` with `sha256`; found {' and '.join(given) or 'none of them'}"
            )
        for key, owner in _SOURCE_COMPANIONS.items():
            there = getattr(self, key) is not None
            if there and owner not in given:
                raise ValueError(f"`{key}` goes with `{owner}`, and the source is a `{given[0]}`")
            optional = key == "version" or (key == "sha256" and not is_url(str(self.tarball)))
            if not there and owner in given and not optional:
                raise ValueError(f"`{owner}` needs `{key}` beside it")
        if self.ref is not None and not _REF.fullmatch(self.ref):
            raise ValueError(f"`ref` must be a tag, a branch or a commit id; found {self.ref!r}")
        if self.git is not None and self.git.startswith("-"):
            raise ValueError(f"`git` must be a URL or a folder; found {self.git!r}")
        return self


def is_url(text: str) -> bool:
    """Whether a tarball or git repository is named by a URL (git's `host:path` too)."""
    return re.match(r"[a-z][a-z0-9+]+://|[^/\s]+:", text, re.IGNORECASE) is not None


class KernelRecipe(Model):
    """Where a kernel comes from: a package first, a source recipe as the way out."""

    package: str | None = None
    suite: str | None = None
    source: SourceRecipe | None = None
    append: list[str] = []
    """Words added to the guest's kernel command line: a switch between arms of one binary."""
    file: str | None = Field(default=None, min_length=1)
    """A kernel of the user's own: a bzImage, an Image or a vmlinux."""
    modules: str | None = Field(default=None, min_length=1)
    """With `file`: its folder lib/modules/RELEASE."""
    binary_patch: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]+\.toml$")
    """The package's kernel is changed as this description in the target's folder says."""

    @model_validator(mode="after")
    def _something_to_boot(self) -> "KernelRecipe":
        if (self.package is None) != (self.suite is None):
            raise ValueError("`package` and `suite` go together")
        if self.package is None and self.source is None and self.file is None:
            raise ValueError("a kernel needs `package` and `suite`, a `source` table or a `file`")
        if self.modules is not None and self.file is None:
            raise ValueError("`modules` are those of a kernel `file`")
        if self.binary_patch is not None and self.package is None:
            raise ValueError("`binary_patch` changes a packaged kernel: it goes with `package`")
        return self


IMAGE_PLACEHOLDER = "{image}"


class FilesystemImageModel(Model):
    """[[userland.image]]: a file system made on the host, /images/NAME.gz in the guest."""

    name: Name
    size_mib: int = Field(ge=1, le=1024)
    make: list[str] = Field(min_length=2)
    """Program and arguments; `{image}` stands for a file of that size, all zeros."""
    suite: str
    packages: list[str] = Field(min_length=1)
    """Where the program and its libraries come from."""

    @model_validator(mode="after")
    def _makes_the_image(self) -> "FilesystemImageModel":
        if not any(IMAGE_PLACEHOLDER in word for word in self.make[1:]):
            raise ValueError(f"`make` must name the image: write {IMAGE_PLACEHOLDER} for its file")
        return self


class TargetMachineModel(Model):
    """[machine.GUEST] of a target: what the race needs of that guest's hardware."""

    memory_nodes: int = Field(default=1, ge=1, le=8)
    """NUMA nodes that share the guest's memory; all vCPUs are on the first."""
    vcpus: int | None = Field(default=None, ge=1, le=64)
    """In place of the guest config's."""


class TargetUserlandModel(Model):
    """[userland] of a target: what the guest is given before it counts as ready."""

    modules: list[str] = []
    image: list[FilesystemImageModel] = []
    setup: list[str] = []


class WorkloadModel(Model):
    """[workload]: the program, what it is told and how it shows life."""

    program: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.c$")
    args: dict[str, int | str] = {}
    args_without_failpoints: dict[str, int | str] = {}
    flags: list[str] = []
    """For the compiler, beside those that every workload gets."""
    heartbeat_seconds: PositiveFloat = 30.0

    @property
    def plain(self) -> "PlainModel | None":
        """How it is run where it does not speak the harness's protocol."""
        return None


class PlainModel(Model):
    """A workload of any kind: what it prints and how it ends is all that is known of it."""

    command: str
    """Run by the guest's shell; {workload} and {seed} stand for the program and the number."""
    must_end: bool = False
    """Whether it hangs if it has not ended when the trial's time is over."""


class RunWorkloadModel(WorkloadModel):
    """What `harness run` starts in the guest."""

    program: str = ""
    """A C file or a static ELF program, by its absolute path; empty where there is none."""
    own_way: PlainModel | None = None

    @property
    def plain(self) -> PlainModel | None:
        """None where the program speaks the harness's protocol."""
        return self.own_way


class PlaceModel(Model):
    """[[place]]: a name for an address; of several spellings the first that the kernel has."""

    name: Name
    at: list[PlaceText] | PlaceText

    @property
    def spellings(self) -> list[str]:
        """The place's spellings, the preferred first."""
        return self.at if isinstance(self.at, list) else [self.at]


class RuleModel(Model):
    """What an arm can switch on by its name: a failpoint or an order."""

    name: Name


class FailpointModel(RuleModel):
    """[[failpoint]]: where, by which mechanism, and what happens, in the language of fail(9).

    `plugin` and `gdb` act from outside, at a `place`; the others are the guest's own kernel's, at
    a `point` that it has under that name. `knobs`, `only_workload` and `devices` are debugfs's.
    """

    mechanism: Literal["plugin", "gdb", "hook", "debugfs", "sysctl"] = "plugin"
    place: Name | None = None
    point: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.:]+$")
    do: SettingText
    knobs: dict[str, bool | int | str] = {}
    only_workload: bool = False
    devices: list[str] = []

    @model_validator(mode="after")
    def _suits_its_mechanism(self) -> "FailpointModel":
        mechanism = MECHANISMS[self.mechanism]
        given = {"place": self.place, "point": self.point}
        other = "point" if mechanism.at == "place" else "place"
        if given[mechanism.at] is None or given[other] is not None:
            raise ValueError(
                f"a failpoint of the mechanism {self.mechanism!r} is set at a `{mechanism.at}`, "
                f"not at a `{other}`"
            )
        if self.mechanism != "debugfs" and (self.knobs or self.only_workload or self.devices):
            raise ValueError(
                "`knobs`, `only_workload` and `devices` go with the mechanism 'debugfs'"
            )
        try:
            refuse_unsupported(parse_setting(self.do), mechanism, "do")
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return self


class AdjustModel(Model):
    """[[adjust]]: words of a variable of the kernel's that are changed in every booted guest."""

    variable: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    words: int = Field(default=1, ge=1, le=1024)
    """How many words of the guest's size, from its beginning; those that are zero stay."""
    add: int
    about: str = Field(min_length=1)
    """Why: it is done to the fixed kernel, too."""


class UntilModel(Model):
    """`until` of an order: what the held vCPU waits for."""

    place: Name
    count: PositiveInt = 1
    vcpu: int | None = Field(default=None, ge=0)
    since: Literal["arrival", "mark", "start"] = "arrival"
    counting: Literal["passes", "arrivals"] = "passes"


class OrderModel(RuleModel):
    """[[order]]: whoever reaches `hold` waits there until another place has been passed."""

    hold: Name
    vcpu: int | None = Field(default=None, ge=0)
    until: UntilModel
    timeout_ms: float = Field(gt=0, le=60_000)
    per_attempt: PositiveInt | None = None
    skip: int = Field(default=0, ge=0, le=2**32 - 1)
    """Arrivals that go by in each attempt before anybody is held: with 1 the second one is."""


class ArmModel(Model):
    """[[arm]]: one way to run the target."""

    name: Name
    kernel: Name
    expect: Literal["reproduced", "silent", "either"]
    guests: list[Name] = []
    """Guests that have this arm (empty: all of the target's): of one name each has at most one."""
    use: list[Name] = []
    args: dict[str, int | str] = {}
    default: bool = False
    about: str = ""


class SymptomModel(Model):
    """[[symptom]]: what the race looks like: in the workload's words, on the console, as a hang."""

    name: str = Field(min_length=1)
    workload: str | None = None
    output: PatternText | None = None
    """A regular expression that is searched for in each line that a plain workload prints."""
    ending: list[Literal["crashed", "hung", "failed"]] = []
    """Any trial that ends so: with a report on the console or a signal, without a sign of life,
    with a plain workload's status that is not 0."""
    fields: dict[str, PatternText] = {}
    """Of a workload's symptom: regular expressions that its fields must match as a whole."""
    console: ConsoleSignature | None = None
    hang: HangSignature | None = None
    """What a guest that shows no life must be doing."""

    def match_workload(self, name: str, fields: Mapping[str, object]) -> MatchResult:
        """Whether what a workload reported is this symptom, and why (not)."""
        if self.workload is None:
            where = "on the console" if self.console is not None else "where the guest hangs"
            return MatchResult(False, f"it is looked for {where}")
        if self.workload != name:
            return MatchResult(False, f"the workload said {name!r}, not {self.workload!r}")
        for key, pattern in self.fields.items():
            if key not in fields:
                return MatchResult(False, f"the workload's {name!r} has no field {key}")
            if not re.fullmatch(pattern, str(fields[key])):
                return MatchResult(False, f"{key} is {fields[key]!r}, not {pattern!r}")
        return MatchResult(True, f"the workload said {name!r}")

    @model_validator(mode="after")
    def _one_kind(self) -> "SymptomModel":
        kinds = (self.workload, self.console, self.hang, self.output, self.ending or None)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(
                'a symptom is one of `workload = "…"`, `console = { … }`, `hang = { … }`, '
                '`output = "…"` and `ending = […]`'
            )
        if self.fields and self.workload is None:
            raise ValueError("`fields` are those of a workload's symptom")
        return self


class BudgetModel(Model):
    """[budget]: how much is tried before the campaign gives up."""

    trials: PositiveInt = 20
    minimum_trials: PositiveInt = 1
    trial_seconds: PositiveFloat = 60.0
    confidence: float = Field(default=0.95, gt=0.5, lt=1.0)
    voids: PositiveInt = 5


class TargetModel(Model):
    """A target: one race."""

    required_arms: ClassVar[tuple[str, ...]] = ("buggy", "fixed")

    title: str
    system: SystemName
    guests: list[Name] = Field(min_length=1)
    references: list[str] = []
    kernels: dict[Name, dict[Name, KernelRecipe]]
    machine: dict[Name, TargetMachineModel] = {}
    userland: TargetUserlandModel = TargetUserlandModel()
    workload: WorkloadModel
    place: list[PlaceModel] = []
    mark: list[Name] = []
    failpoint: list[FailpointModel] = []
    order: list[OrderModel] = []
    adjust: list[AdjustModel] = []
    arm: list[ArmModel]
    symptom: list[SymptomModel] = Field(min_length=1)
    budget: BudgetModel = BudgetModel()

    @property
    def own_initrd(self) -> str | None:
        """An initramfs in place of the harness's, by its absolute path: a test of the boot."""
        return None

    @property
    def rules(self) -> list[FailpointModel | OrderModel]:
        """All that an arm can switch on."""
        return [*self.failpoint, *self.order]

    def arms_on(self, guest: str) -> list[ArmModel]:
        """The arms that a guest has."""
        return [arm for arm in self.arm if not arm.guests or guest in arm.guests]

    @model_validator(mode="after")
    def _references_resolve(self) -> "TargetModel":
        places = _unique("place", [place.name for place in self.place])
        switches = _unique("failpoint and order", [rule.name for rule in self.rules])
        _unique("userland.image", [image.name for image in self.userland.image])
        _unique("symptom", [symptom.name for symptom in self.symptom])
        for failpoint in self.failpoint:
            if failpoint.place is not None:
                _known("place", failpoint.place, places, f"failpoint {failpoint.name}")
            systems = MECHANISMS[failpoint.mechanism].systems
            if systems is not None and self.system not in systems:
                raise ValueError(
                    f"failpoint {failpoint.name}: the mechanism {failpoint.mechanism!r} is "
                    f"{' and '.join(sorted(systems))}'s, and the target's system is {self.system}"
                )
        for order in self.order:
            _known("place", order.hold, places, f"order {order.name}: hold")
            _known("place", order.until.place, places, f"order {order.name}: until")
        for mark in self.mark:
            _known("place", mark, places, "mark")
        for arm in self.arm:
            _known("kernel", arm.kernel, set(self.kernels), f"arm {arm.name}")
            for switch in arm.use:
                _known("failpoint or order", switch, switches, f"arm {arm.name}: use")
            for guest in arm.guests:
                _known("guest", guest, set(self.guests), f"arm {arm.name}: guests")
        for guest in self.guests:
            arms = _unique(f"arm (on {guest})", [arm.name for arm in self.arms_on(guest)])
            for needed in self.required_arms:
                _known("arm", needed, arms, f"a target (on {guest})")
        for guest in self.machine:
            _known("guest", guest, set(self.guests), "machine")
        for name, per_guest in self.kernels.items():
            for guest in self.guests:
                if any(arm.kernel == name for arm in self.arms_on(guest)):
                    _known("guest", guest, set(per_guest), f"kernels.{name}")
        return self


class ForcedOrderCase(TargetModel):
    """What bench/forced_order.py measures where no kernel is wrong: an order and its absence."""

    required_arms: ClassVar[tuple[str, ...]] = ("forced", "unforced")


class RunModel(TargetModel):
    """What `harness run` is asked for: one kernel, one arm."""

    required_arms: ClassVar[tuple[str, ...]] = ("run",)

    workload: RunWorkloadModel = RunWorkloadModel()
    initrd: str | None = None

    @property
    def own_initrd(self) -> str | None:
        """None where the harness's own initramfs is booted."""
        return self.initrd


def _unique(kind: str, names: list[str]) -> set[str]:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {kind} tables are named {name!r}")
    return set(names)


def _known(kind: str, name: str, names: set[str], where: str) -> None:
    if name not in names:
        have = ", ".join(sorted(names)) or "none"
        raise ValueError(f"{where} names the {kind} {name!r}, which is not defined (there: {have})")
