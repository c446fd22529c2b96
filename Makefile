# make quickstart   set up .venv, train the main job offline (minutes on a laptop), show the result
# make test         set up .venv, run the fast tests            (make test ARGS="-m slow tests/clip")
# make lint         set up .venv, ruff, mypy, house figures
# make clean        remove build products and caches (distclean: .venv too); work_dirs/ stays
# make quickstart PYTHON=/path/to/python3.11   chooses the interpreter that .venv is made from

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.ONESHELL:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTHON ?=
ARGS ?=

.PHONY: quickstart test lint clean distclean

quickstart: $(STAMP)
	@$(BIN)/clipapps quickstart $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(STAMP)
	@$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tests/house/figures.py

# Installed again whenever one of these files is newer than the last installation.
$(STAMP): pyproject.toml setup.py constraints.txt
	@python=""
	for candidate in $(or $(PYTHON),$(BIN)/python python3.11 python3.12 python3.13 python3); do
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$candidate"; break; fi
	done
	if [ -z "$$python" ]; then
	    echo "clipapps needs Python 3.11 or newer, and $(or $(PYTHON),the PATH) has none." >&2
	    echo "Install one (Debian, Ubuntu: python3.11 and python3.11-venv; or pyenv, conda, uv), or name it: make quickstart PYTHON=/path/to/python3.11" >&2
	    exit 1
	fi
	start=$$SECONDS
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then
	    echo "making $(VENV) with $$("$$python" --version)"
	    "$$python" -m venv $(VENV) || { echo "This Python cannot make a virtual environment; on Debian and Ubuntu install its python3-venv package, or choose another with PYTHON=..." >&2; exit 1; }
	fi
	echo "installing clipapps and what it needs into $(VENV) (several minutes the first time)"
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[all,dev]" | { grep -v "already satisfied" || true; }
	if ! $(BIN)/python -c "import cv2" >/dev/null 2>&1; then
	    echo "OpenCV does not load here (no libGL or libglib on this system): taking its headless build, which needs neither"
	    $(BIN)/python -m pip uninstall -q -y opencv-python opencv-python-headless
	    $(BIN)/python -m pip install -q --no-deps -c constraints.txt opencv-python-headless
	fi
	touch $(STAMP)
	echo "installation took $$((SECONDS - start)) s"

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find clipapps projects demos tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean
	rm -rf $(VENV)
