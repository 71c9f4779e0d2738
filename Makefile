# `make demo` and `make test` are all that a fresh machine needs: Python 3.11 or newer, its venv module, and PyPI.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint bench clean

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[cpu,test]'
	touch $@

# The bindings of the oldest TensorRT that this builds on; their package has the newest one's name, hence a folder apart.
$(VENV)/tensorrt-10.12/done: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(@D) tensorrt-cu12-bindings==10.12.0.36
	touch $@

data/digits/done: $(VENV)/installed examples/digits/make_dataset.py
	$(BIN)/python examples/digits/make_dataset.py data/digits
	touch $@

demo: data/digits/done
	$(BIN)/python cli.py export digits_cnn --fp16 --pretrained --imagenet data/digits --parity-images 64
	$(BIN)/python cli.py eval artifacts/digits_cnn-fp16/model.onnx --imagenet data/digits --reference pytorch --pretrained
	$(BIN)/python cli.py export digits_cnn --int8 --pretrained --imagenet data/digits --min-agreement 99.5
	$(BIN)/python cli.py build artifacts/digits_cnn-fp16 --target tensorrt-rtx --compute-capability 8.9,12.0
	$(BIN)/python cli.py inspect artifacts/digits_cnn-fp16
	$(BIN)/python cli.py export deepvit_32 --fp16

test: $(VENV)/installed $(VENV)/tensorrt-10.12/done
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: data/digits/done
	$(BIN)/python benchmarks/onnxruntime_cpu.py
	$(BIN)/python benchmarks/int8_cpu.py
	$(BIN)/python benchmarks/quantization_digits.py data/digits

clean:
	rm -rf $(VENV) artifacts data build dist *.egg-info
