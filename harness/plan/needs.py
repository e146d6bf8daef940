# SPDX-License-Identifier: BSD-2-Clause
"""What a target needs of its guests: their machine, what they are given, the workload."""

from pydantic import Field, PositiveFloat, model_validator

from harness.plan.model import Model, Name

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
