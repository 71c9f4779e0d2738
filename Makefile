# `make demo` and `make test` are all that a fresh machine needs: Debian 12 or newer with a C++ compiler, Python 3.11 or
# newer with its venv module, PyPI and Debian's mirror.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test cpp cpp-test lint kernels plugin operator bench torture gpu-check guards glyphs clean FORCE

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,test]'
	touch $@

# The bindings of the oldest TensorRT that this builds on; their package has the newest one's name, hence a folder apart.
$(VENV)/tensorrt-10.12/done: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) tensorrt-cu12-bindings==10.12.0.36
	touch $@

# A whole Triton server for the tests; its package would also bring a web server's worth of dependencies.
$(VENV)/tritonserver/done: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) nvidia-pytriton==0.7.0
	touch $@

# A browser without a window, in which the tests open the report.
$(VENV)/chromium/done: $(VENV)/installed tests/doubles/fetch_chromium.sh runtime/cpp/unpack_debian.sh
	rm -rf $(@D)
	tests/doubles/fetch_chromium.sh $(@D)
	touch $@

# CUDA's headers, from its own wheels.
$(VENV)/cuda-headers/done: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) \
	  nvidia-cuda-runtime==13.2.86 nvidia-cuda-crt==13.2.86
	touch $@

build/dependencies/done: runtime/cpp/fetch_dependencies.sh runtime/cpp/unpack_debian.sh
	rm -rf $(@D)
	runtime/cpp/fetch_dependencies.sh $(@D)
	touch $@

# Artifacts among them: another exporter makes others.
build/cpp-test-data/done: $(VENV)/installed $(shell find -L deepvit -name '*.py')
	rm -rf $(@D)
	$(BIN)/python -m deepvit.runtime.cpp.tests.data.make_test_data $(@D)
	touch $@

data/digits/done: $(VENV)/installed examples/digits/make_dataset.py
	$(BIN)/python examples/digits/make_dataset.py data/digits
	touch $@

# The characters of examples/glyphs, and the fonts that they are drawn in.
glyphs: data/glyphs/done

build/fonts/done: examples/glyphs/fetch_fonts.sh examples/glyphs/faces.txt runtime/cpp/unpack_debian.sh
	rm -rf $(@D)
	examples/glyphs/fetch_fonts.sh $(@D)
	touch $@

data/glyphs/done: $(VENV)/installed build/fonts/done \
    $(patsubst %,examples/glyphs/%.py,characters dataset distort draw faces)
	rm -rf $(@D)
	$(BIN)/python -m examples.glyphs.dataset build/fonts data/glyphs
	touch $@

demo: data/digits/done
	$(BIN)/python cli.py export digits_cnn --fp16 --pretrained --imagenet data/digits --parity-images 64
	$(BIN)/python cli.py eval artifacts/digits_cnn-fp16/model.onnx --imagenet data/digits --reference pytorch --pretrained \
	  --json artifacts/eval.json
	$(BIN)/python cli.py export digits_cnn --int8 --pretrained --imagenet data/digits --min-agreement 99.5
	$(BIN)/python cli.py compare artifacts/digits_cnn-fp16 artifacts/digits_cnn-int8 --pretrained --json artifacts/compare.json
	$(BIN)/python cli.py build artifacts/digits_cnn-fp16 --target tensorrt-rtx --compute-capability 8.9,12.0
	$(BIN)/python cli.py inspect artifacts/digits_cnn-fp16
	$(BIN)/python cli.py export deepvit_32 --fp16
	$(BIN)/python cli.py report artifacts --output artifacts/report.html
	@echo "look at: file://$$PWD/artifacts/report.html; go on with README.md, Five commands"

# The C++ runtime is built first: the pages show what it prints.
test: $(VENV)/installed $(VENV)/tensorrt-10.12/done $(VENV)/tritonserver/done $(VENV)/chromium/done data/glyphs/done build/cpp
	# A worker a core, each with one thread of PyTorch; whole files, in the order of tests/conftest.py. Where a worker dies
	# pytest-xdist would start another and wait for ever for the rest of its file.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0
	$(MAKE) cpp-test

# The C++ runtime; its tests: ctest --test-dir build/cpp
cpp: build/cpp

cpp-test: build/cpp build/cpp-address build/cpp-thread
	for build in $^; do $(BIN)/ctest --test-dir $$build --output-on-failure --parallel $(WORKERS) || exit 1; done

# Where the environment names the folder of TensorRT's public headers, its backend is built and tested too.
TENSORRT_INCLUDE ?=
CUDA_INCLUDE = $(if $(TENSORRT_INCLUDE),$(abspath $(VENV))/cuda-headers/nvidia/cu13/include)

build/cpp build/cpp-address build/cpp-thread: $(if $(TENSORRT_INCLUDE),$(VENV)/cuda-headers/done)
build/cpp build/cpp-address build/cpp-thread: build/dependencies/done build/cpp-test-data/done FORCE
	$(BIN)/cmake -S runtime/cpp -B $@ -G Ninja -DCMAKE_MAKE_PROGRAM="$$(realpath $(BIN)/ninja)" --log-level=WARNING \
	  -DDEEPVIT_SANITIZE=$(SANITIZE) -DDEEPVIT_BUILD_TESTS=ON -DDEEPVIT_TEST_DATA="$$PWD/build/cpp-test-data" \
	  -DDEEPVIT_TEST_ONNXRUNTIME="$$(realpath $(VENV)/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.1*)" \
	  -DDEEPVIT_TEST_OPENVINO="$$(realpath $(VENV)/lib/python3*/site-packages/openvino/libs/libopenvino_c.so.*)" \
	  -DDEEPVIT_TENSORRT_INCLUDE="$(TENSORRT_INCLUDE)" -DDEEPVIT_CUDA_INCLUDE="$(CUDA_INCLUDE)" \
	  -DCMAKE_PREFIX_PATH="$$PWD/build/dependencies/usr" -DCMAKE_INSTALL_RPATH_USE_LINK_PATH=ON
	$(BIN)/cmake --build $@
build/cpp-address: SANITIZE = address,undefined
build/cpp-thread: SANITIZE = thread
FORCE:

# What mypy must have seen: every module, also through the links; it counts a folder without an __init__.py as one.
TYPED = find -L deepvit cli.py -name __pycache__ -prune -o -name '*.py' -print \
  -o -type d ! -exec test -e '{}/__init__.py' ';' -print

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy | awk -v typed="$$($(TYPED) | wc -l)" '{ print } END { if ($$0 !~ "^Success: .* in " typed " source files$$") \
	  { print "expected: Success, in " typed " source files"; exit 1 } }'
	find runtime/cpp -name '*.[ch]' -o -name '*.[ch]pp' | xargs $(BIN)/clang-format --dry-run --Werror
	find runtime/kernels tests/runtime/kernels -name '*.cuh' -o -name '*.h' \
	  | xargs $(BIN)/clang-format --style=file:runtime/cpp/.clang-format --dry-run --Werror

# Fused re-attention as machine code of six kinds of GPU, in half a minute and without any of them (docs/reattention.md).
# Kept is what they are, not the code: the same sources and compiler make the same bytes.
kernels: build/kernels/kernels.json
	cp $< benchmarks/results/reattention-cubins.json

build/kernels/kernels.json: $(VENV)/installed $(shell find runtime/kernels -name '*.cuh' -o -name '*.py')
	$(BIN)/python -m deepvit.runtime.kernels $(@D)

# TensorRT's plugin with these kernels (runtime/cpp/plugin): make plugin TENSORRT_INCLUDE=/path/to/TensorRT/include
plugin: build/kernels/kernels.json $(VENV)/cuda-headers/done
	$(BIN)/cmake -S runtime/cpp/plugin -B build/plugin -G Ninja -DCMAKE_MAKE_PROGRAM="$$(realpath $(BIN)/ninja)" \
	  --log-level=WARNING -DDEEPVIT_KERNELS="$$PWD/build/kernels" \
	  -DDEEPVIT_TENSORRT_INCLUDE="$(TENSORRT_INCLUDE)" -DDEEPVIT_CUDA_INCLUDE="$(CUDA_INCLUDE)"
	$(BIN)/cmake --build build/plugin

# ONNX Runtime's operator with these kernels (runtime/cpp/operator), for its CUDA provider.
operator: build/kernels/kernels.json build/dependencies/done
	$(BIN)/cmake -S runtime/cpp/operator -B build/operator -G Ninja -DCMAKE_MAKE_PROGRAM="$$(realpath $(BIN)/ninja)" \
	  --log-level=WARNING -DDEEPVIT_KERNELS="$$PWD/build/kernels" -DCMAKE_PREFIX_PATH="$$PWD/build/dependencies/usr" \
	  -DDEEPVIT_CUDA_INCLUDE="$$(realpath $(VENV)/lib/python3*/site-packages/nvidia/cu*/include)"
	$(BIN)/cmake --build build/operator

# Every figure of the README, made again: writes benchmarks/results/. An hour and a half on two cores; use them for nothing else.
bench: data/digits/done data/glyphs/done
	$(BIN)/python -m benchmarks.accuracy data/glyphs --models glyphs_vit --only main
	$(BIN)/python -m benchmarks.accuracy data/glyphs
	$(BIN)/python benchmarks/export_cost.py data/digits
	$(BIN)/python benchmarks/feeding.py
	$(BIN)/python cli.py export deepvit_s --bf16 --target cpu
	$(BIN)/python benchmarks/classifying.py artifacts/deepvit_s-bf16
	$(BIN)/python benchmarks/deepvit_cpu.py
	$(BIN)/python benchmarks/deepvit_cpu.py deepvit_s
	$(BIN)/python -m benchmarks.forms.streams
	$(BIN)/python benchmarks/onnxruntime_cpu.py
	$(MAKE) build/cpp $(VENV)/tritonserver/done
	$(BIN)/python -m benchmarks.forms data/digits
	$(BIN)/python -m benchmarks.forms.kernels
	$(BIN)/python benchmarks/triton_load.py
	$(BIN)/python benchmarks/triton_load.py --requests 20000

# Faults planted by the thousand, and what became of them: writes benchmarks/results/torture.json.
# At most an hour on two cores; again, it goes on where it was.
torture: $(VENV)/installed build/cpp $(VENV)/tritonserver/done
	$(BIN)/python -m benchmarks.torture --minutes 55 --write

# Whatever can be proved on the GPU here, in eight minutes, with what the environment or else $(PYTHON) has installed:
# writes benchmarks/results/gpu-NAME.json. Without a GPU it tries itself on fakes, and writes nothing.
gpu-check:
	@python=$(BIN)/python; [ -x "$$python" ] || python=$(PYTHON); \
	$$python -m benchmarks.gpu_check; code=$$?; \
	if [ $$code -eq 3 ]; then $$python -m benchmarks.gpu_check --fake; else exit $$code; fi

# Every guard taken out in turn: its test must go red. About a quarter of an hour.
guards: $(VENV)/installed build/cpp
	$(BIN)/python -m tests.contracts.guards

clean:
	rm -rf $(VENV) artifacts data build dist *.egg-info
