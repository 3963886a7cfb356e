# Everything a newcomer needs: `make demo`, `make test`; also `make lint` and `make format`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := CMakeLists.txt pyproject.toml $(shell find csrc kernels python -type f \
             -not -name '*.so' -not -name '*.pyc' 2>/dev/null)
KERNEL_CACHE ?= $(CURDIR)/.cache/kernels
TESTS ?= tests
WORKERS ?= 2
FUZZ_SECONDS ?= 300
FUZZ_SEED ?= 0
GPU_SEEDS ?= 1 2 3

.PHONY: demo test fuzz fuzz-operators sanitize-gpu lint format clean

# The first demo builds kernels for this machine alone, which is sooner done.
demo: $(or $(wildcard $(VENV)/.installed),$(VENV)/.installed-native)
	$(BIN)/python examples/magika_demo.py

test: $(VENV)/.installed $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

# Mutations of small models against the core, built with sanitizers.
fuzz: $(VENV)/.installed $(VENV)/.test
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/fuzz -G Ninja -DTIERCEL_SANITIZE=address \
	  -DTIERCEL_FUZZ=ON -DTIERCEL_KERNEL_CACHE="$(KERNEL_CACHE)"
	$(BIN)/cmake --build build/fuzz --target fuzz_session
	$(BIN)/python tests/fuzz/write_corpus.py build/fuzz/corpus 100
	build/fuzz/fuzz_session --seconds $(FUZZ_SECONDS) --last build/fuzz/last.onnx build/fuzz/corpus

# Random nodes and graphs against onnx's reference and ONNX Runtime, and the GPU's provider against
# the CPU's: lists all that differs.
fuzz-operators: $(VENV)/.installed $(VENV)/.test
	$(BIN)/python tests/differential/survey.py --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)
	$(BIN)/python tests/differential/survey.py --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED) --chains
	$(BIN)/python tests/differential/survey.py --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED) --gpu

# The GPU's kernels on the software device in more orders of threads, with every access checked, and
# without each of their waits; then the core's own code under sanitizers while it uses that device.
sanitize-gpu: $(VENV)/.installed $(VENV)/.test
	TIERCEL_GPU_SEEDS=$(words $(GPU_SEEDS)) $(BIN)/python -m pytest -n $(WORKERS) tests/gpu/kernels
	for seed in $(GPU_SEEDS); do TIERCEL_GPU_SEED=$$seed $(BIN)/python -m pytest -q -n $(WORKERS) \
	  tests/gpu --ignore tests/gpu/kernels || exit 1; done
	$(MAKE) sanitized-address sanitized-thread

# The package built with sanitizers, and the provider's tests on it.
sanitized-%:
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/$@ -G Ninja -DTIERCEL_SANITIZE=$* \
	  -DTIERCEL_ISAS=native -DTIERCEL_KERNEL_CACHE="$(KERNEL_CACHE)"
	$(BIN)/cmake --build build/$@
	mkdir -p build/$@/package
	cp -r python/tiercel build/$@/libtiercel.so build/$@/_core*.so build/$@/package
	mv build/$@/package/*.so build/$@/package/tiercel
	$(BIN)/python tests/gpu/sanitized.py $* build/$@/package

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files '*.h' '*.c' '*.cpp' | xargs $(BIN)/clang-format --dry-run --Werror

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files '*.h' '*.c' '*.cpp' | xargs $(BIN)/clang-format -i

clean:
	rm -rf build $(VENV)

# What the build needs, so that later builds reuse it and the objects below build/.
$(VENV)/.build: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import subprocess, sys, tomllib; subprocess.check_call([sys.executable, '-m', \
	  'pip', '--disable-pip-version-check', 'install', '-q', 'cmake>=3.25', 'ninja', \
	  *tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires']])"
	touch $@

INSTALL = PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) install -q --no-build-isolation --no-deps \
	  --force-reinstall --config-settings=cmake.define.TIERCEL_KERNEL_CACHE="$(KERNEL_CACHE)"

$(VENV)/.installed: $(VENV)/.build $(SOURCES)
	$(INSTALL) --config-settings=cmake.define.TIERCEL_ISAS= .
	touch $@

$(VENV)/.installed-native: $(VENV)/.build $(SOURCES)
	$(INSTALL) --config-settings=cmake.define.TIERCEL_ISAS=native .
	touch $@

$(VENV)/.test: $(VENV)/.build pyproject.toml
	$(PIP) install -q $$($(BIN)/python -c "import tomllib; extras = \
	  tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
	  print(*extras['test'])")
	touch $@

$(VENV)/.lint: $(VENV)/.build pyproject.toml
	$(PIP) install -q $$($(BIN)/python -c "import tomllib; extras = \
	  tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
	  print(*extras['lint'])")
	touch $@
