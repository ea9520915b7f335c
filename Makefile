# Every target does its own set-up in .venv, again only when what is to be installed has changed.
# Neither root nor a server is needed; PYTHON=... names the interpreter where none of the usual names fits.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
export PYTHON
# Whatever environment the caller works in is not ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX

python := .venv/bin/python
# An environment that was moved or whose interpreter is gone is made anew.
ifneq ($(shell test -x .venv/bin/python && cat .venv/ready 2>/dev/null),$(CURDIR))
.PHONY: .venv/ready
endif

ARGS ?=

.PHONY: help
help:
	@echo 'make demo          run the whole method once: a fleet, two months, invoices'
	@echo 'make serve         run the server of the operator in configs/'
	@echo 'make test          run all tests, with style, types and layers'
	@echo 'make lint          check style, types and layers alone'
	@echo 'make requirements  show which sentences of docs/requirements.md are proved by tests'
	@echo 'make crash         kill and crash charging, import and bill run hundreds of times'
	@echo 'make bench         measure speed against ceilings of this machine'
	@echo 'make screenshots   take the pictures of the console anew (needs chromium)'
	@echo 'make constraints   renew the pinned versions'
	@echo 'ARGS="..." is handed on, as in: make demo ARGS="--terminals 50"'

.venv/ready: setup.cfg pyproject.toml constraints.txt tools/set-up
	@tools/set-up
	@echo '$(subst ','\'',$(CURDIR))' > $@

.PHONY: demo
demo: .venv/ready
	@.venv/bin/tollgate demo $(ARGS)

.PHONY: serve
serve: .venv/ready
	@.venv/bin/tollgate serve --config configs $(ARGS)

# A file of tests stays in one process, so that what it sets up is set up once.
.PHONY: test
test: .venv/ready
	@$(python) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: lint
lint: .venv/ready
	@$(python) -m pytest -q tests/test_house.py $(ARGS)

.PHONY: requirements
requirements: .venv/ready
	@$(python) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder -p tests.requirements_table -m requirement $(ARGS)

# Hundreds of kills and of crashed disks; `make test` does some of each.
.PHONY: crash
crash: .venv/ready
	@TOLLGATE_KILLS=300 TOLLGATE_CRASHES=300 $(python) -m pytest -q tests/crash $(ARGS)

.PHONY: bench
bench: .venv/ready
	@$(python) -m bench $(ARGS)

.PHONY: screenshots
screenshots: .venv/ready
	@$(python) -m tools.screenshots

.PHONY: constraints
constraints:
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && tools/set-up "$$fresh/venv" --fresh && \
	{ echo '# The versions that are installed and tested; made by `make constraints`.'; \
	  "$$fresh/venv/bin/python" -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+=='; } > "$$fresh/pins" && \
	cp "$$fresh/pins" constraints.txt
