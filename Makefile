# SPDX-License-Identifier: BSD-2-Clause
# `make repro` and `make test` set up what they need by themselves.

TARGET ?= linux-swapin-aba
PY := .venv/bin

.PHONY: help setup setup-all repro test test-unit test-sources test-full lint bench clean

help:
	@echo "make repro [TARGET=$(TARGET)] [ARCH=x86_64] [TRIALS=20] [ARGS=--json]"
	@echo "                 reproduce a race: buggy kernel, then fixed kernel, verdict with numbers"
	@echo "                 [SOURCE=TREE] [SOURCE_BUGGY=TREE] [SOURCE_FIXED=TREE]: kernels built from"
	@echo "                 your own tree (DIR, DIR@REF, GIT-URL@REF or DIR@REF_BUGGY..REF_FIXED)"
	@echo "                 [GUEST=NAME] [IMAGE=FILE|URL]: in a full image, FreeBSD's own"
	@echo "make test        linter, types, unit tests, and tests that boot real kernels"
	@echo "make test-unit   the tests that need no QEMU"
	@echo "make test-sources  the races on x86-64 kernels built from source"
	@echo "make test-full   all of them, kernels of other architectures and systems from source too"
	@echo "make bench       the benchmarks; each prints one JSON line at its end"
	@echo "make setup       distribution packages and .venv, which the others do by themselves"
	@echo "make setup-all   also what guests on arm64 and ppc64le and some tests need"

setup:
	@scripts/setup

setup-all:
	@scripts/setup --all

# what guests of other architectures need, only where one is asked for
repro: $(if $(filter-out x86_64,$(ARCH))$(filter freebsd-%,$(TARGET)),setup-all,setup)
	$(PY)/harness repro $(TARGET) $(if $(ARCH),--arch $(ARCH)) $(if $(TRIALS),--trials $(TRIALS)) \
	    $(if $(SOURCE),--source '$(SOURCE)') $(if $(SOURCE_BUGGY),--source-buggy '$(SOURCE_BUGGY)') \
	    $(if $(SOURCE_FIXED),--source-fixed '$(SOURCE_FIXED)') $(if $(GUEST),--guest $(GUEST)) \
	    $(if $(IMAGE),--image '$(IMAGE)') $(ARGS)

lint: setup-all
	$(PY)/ruff check .
	$(PY)/ruff format --check .
	$(PY)/mypy

test: lint
	$(PY)/pytest -m "not slow" $(ARGS)

test-unit: setup-all
	$(PY)/pytest tests/unit $(ARGS)

# the races whose kernels are built from source
test-sources: setup-all
	$(PY)/pytest tests/guest/test_linux_ksm_swapin.py tests/guest/test_linux_iomap_migrate.py $(ARGS)

test-full: lint
	$(PY)/pytest $(ARGS)

bench: setup
	for benchmark in bench/*.py; do $(PY)/python $$benchmark || exit 1; done

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
