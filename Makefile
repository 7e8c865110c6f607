# `make run` and `make test` need nothing done before: each sets up .venv by itself.

# The tests start the program many times; each would compile all of it.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-lib test-app test-processes check eval format lock widget test-widget \
	test-clients clean

run: .venv/installed ## serve the book at http://localhost:7860
	$(BIN)/python main.py

# Two processes share the tests. Workers that report to a third one cost 2 ms more for each test.
test: .venv/installed-dev ## everything but test-processes
	$(MAKE) --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) \
		test-lib test-app check eval

test-lib: .venv/installed-dev
	$(BIN)/python -m pytest tests/lib/test_*.py

test-app: .venv/installed-dev
	$(BIN)/python -m pytest --ignore-glob='tests/lib/test_*.py'

test-processes: .venv/installed-dev ## servers that are stopped and killed, and replicas
	$(BIN)/python -m pytest -m processes

# Whatever .env says: without a key, with an index of its own. Measured: hit@5 0.98, hit@10 0.98,
# answered 0.97, refusal 0.88; a few questions may be lost before it fails.
eval: export OPENAI_API_KEY =
eval: export OPENAI_BASE_URL =
eval: export EMBEDDING_PROVIDER = local
eval: export LOCAL_EMBEDDING_MODEL =
eval: export QDRANT_URL =
eval: export QDRANT_PATH = .venv/handbook-index
eval: export BOOK_CONTENT_PATH =
eval: export SITE_URL = https://book.example
eval: export SITE_GENERATOR = mkdocs
eval: export CHUNK_TOKENS =
eval: .venv/installed-dev ## ask the handbook its golden questions
	$(BIN)/python main.py ingest
	$(BIN)/python main.py eval book_content/questions.jsonl \
		--fail-under hit@5=0.8 --fail-under hit@10=0.85 --fail-under links=1 \
		--fail-under answered=0.84 --fail-under refusal=0.5

check: .venv/installed-dev ## linters, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/installed-dev ## resolve requirements.in anew; pip checks each package by its hash
	$(BIN)/python -m pip install --quiet pip-tools
	for each in requirements requirements-dev; do \
		CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --strip-extras \
			--generate-hashes --no-emit-index-url --no-emit-find-links \
			--no-emit-trusted-host $$each.in || exit 1; \
	done

widget: widget/node_modules/installed ## build the widget and the page /admin into handlers/assets
	cd widget && node build.mjs

test-widget: widget/node_modules/installed .venv/installed ## types, committed build, tests in Chromium
	cd widget && npm run --silent check && node build.mjs --check && npm test

test-clients: tests/clients/node_modules/installed .venv/installed ## official JavaScript clients
	cd tests/clients && npm test

%/node_modules/installed: %/package.json %/package-lock.json
	cd $* && npm ci --ignore-scripts
	touch $@

clean:
	rm -rf .venv qdrant_data widget/node_modules tests/clients/node_modules

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Quire needs Python 3.11 or later; name one with make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-dev: requirements.txt requirements-dev.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@ .venv/installed
