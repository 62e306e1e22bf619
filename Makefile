# What each command does is shown by `make help`. Everything runs in .venv, which is built on first use.
PYTHON ?=
VENV := .venv
PYTEST_ARGS ?=

RUN := $(VENV)/bin/python
# A stamp names the lock's content: a changed lock is installed anew, an unchanged one never.
stamp = $(VENV)/.installed-$(1)-$(shell cksum < requirements/$(1).txt | tr ' ' '-')
DEV := $(call stamp,dev)
# The development lock holds everything the local one does.
LOCAL := $(if $(wildcard $(DEV)),$(DEV),$(call stamp,local))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: help demo serve test bench chaos lint format lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: $(LOCAL) ## From nothing to a booked appointment, beside a pretend HighLevel; ONCE=1 stops after the tour
	@exec $(RUN) -m ghlapp.local demo $(if $(filter-out 0,$(ONCE)),--once)

serve: $(LOCAL) ## The stack, configured by the environment and .env (see .env.example)
	@exec $(RUN) -m ghlapp.local serve

test: $(DEV) ## The whole test suite, with coverage
	@exec $(RUN) -m pytest -n 2 $(PYTEST_ARGS) --cov

bench: $(DEV) ## Figures beside yardsticks of the same run, half an hour; narrowed by NAME="starting volume", SHORT=1
	@exec $(RUN) -m benchmarks $(if $(filter-out 0,$(SHORT)),--short) $(NAME)

# An option of `make chaos` for each word of a variable: make chaos SEED=3 FAULT="cut_after redis_full"
option = $(foreach word,$($(1)),$(2) $(word))

chaos: $(DEV) ## Faults against the whole stack, about an hour; narrowed by SHORT=1, SEEDS=, BOOKINGS=, SEED=, FAULT=
	@exec $(RUN) -m tests.chaos $(if $(filter-out 0,$(SHORT)),--short) \
		$(if $(filter-out 0,$(TOGETHER)),--together) $(call option,SEEDS,--seeds) \
		$(call option,BOOKINGS,--bookings) $(call option,SEED,--seed) $(call option,FAULT,--fault)

lint: $(DEV) ## Style, types, and which room may call which
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

format: $(DEV) ## Put the code into shape
	$(RUN) -m ruff check --fix
	$(RUN) -m ruff format

lock: $(DEV) ## Choose versions anew from pyproject.toml
	$(RUN) -m uv pip compile -q pyproject.toml --extra sandbox $(COMPILE) -o requirements/runtime.txt
	$(RUN) -m uv pip compile -q pyproject.toml --extra sandbox --extra local $(COMPILE) -o requirements/local.txt
	$(RUN) -m uv pip compile -q pyproject.toml --extra sandbox --extra local --extra dev $(COMPILE) -o requirements/dev.txt

COMPILE := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	--custom-compile-command "make lock"

clean: ## Remove the environment, the local servers' data and all caches
	@if [ -x $(RUN) ]; then $(RUN) -m ghlapp.local clean; fi
	rm -rf $(VENV) .local .coverage .coverage.* htmlcov
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.installed-local-%:
	@$(call install,local)

$(VENV)/.installed-dev-%:
	@$(call install,dev)

# The stamp is written last: an environment cut short is completed by the next call.
define install
	set -e; \
	$(RUN) -c "" 2>/dev/null || { \
		python=$$(PYTHON="$(PYTHON)" sh ghlapp/local/find_python.sh); \
		echo "Creating $(VENV) with $$python ..."; \
		"$$python" -m venv --clear $(VENV); \
	}; \
	$(RUN) -m pip --version >/dev/null 2>&1 || $(RUN) -m ensurepip; \
	echo "Installing the packages of requirements/$(1).txt (once; it takes a minute or so) ..."; \
	$(RUN) -m pip install --no-deps --require-hashes -r requirements/$(1).txt; \
	$(RUN) -m pip check; \
	rm -f $(VENV)/.installed-*; \
	touch $@
endef
