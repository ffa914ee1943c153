# Everything a reader, a student or an instructor types. `make help` lists it.
PYTHON ?= python3
ifeq ($(OS),Windows_NT)
RUN := .venv/Scripts/python
else
RUN := .venv/bin/python
endif

.DEFAULT_GOAL := help
.PHONY: help install book test lab notebooks serve clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## create .venv and install what requirements.txt pins (done once, by the other targets too)
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "make: no '$(PYTHON)' on this machine: install Python 3.11 or newer, or say PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) tools/bootstrap.py

book: install ## execute every chapter and render the site to _build/html
	@$(RUN) tools/build.py

test: install ## run all tests: library, exercises, notebooks, book, browser
	@$(RUN) tools/test.py

lab: install ## open the chapters as notebooks in JupyterLab
	@$(RUN) tools/lab.py

notebooks: install ## write every page with code as an .ipynb to _build/notebooks
	@$(RUN) tools/notebooks.py

serve: book ## build the book, then serve it on this machine
	@$(RUN) -m http.server --directory _build/html --bind 127.0.0.1 8000

clean: ## remove what was built (the virtual environment stays)
	@rm -rf _build
