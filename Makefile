# Everything runs in a virtual environment in the project's root; see `make help`.

# The environment is made with the first of these that is installed.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv/bin/python
SETUP := $(PYTHON) environment/setup
# Two processes take half the time of one; tests that share what takes long stay in one of them.
PYTEST_ARGUMENTS ?= -n 2 --dist loadfile

ROS_TESTS := tests/sameo_ros tests/environment tests/test_colcon.py tests/test_import_boundaries.py

# What needs neither PyTorch nor ROS.
OLDEST_TESTS := tests/sameo_model/runtime tests/sameo_model/test_predict.py \
	tests/sameo_ros/messages tests/sameo_ros/core

# A sourced ROS distribution would leak its packages and libraries into the environment.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONHOME PYTHONPATH
unexport ROS_DISTRO ROS_VERSION _ROS_WHEELS_BOOTSTRAP_COMPLETE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint bench bench-compare clean

help: ## show this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## make .venv with everything; quick when nothing changed
	@$(SETUP) full
	@echo "The environment is ready: $(VENV)"

demo: ## run the node on a real camera frame and rendered scenes [IMAGES=folder [BOXES=file]]; results in demo/
	@python=$$($(SETUP) demo --print-python) && \
	$$python -m sameo_ros.demo $(if $(IMAGES),--images "$(IMAGES)") $(if $(BOXES),--boxes "$(BOXES)") --output demo

lint: setup ## check format, lint rules and types
	$(VENV) -m ruff format --check .
	$(VENV) -m ruff check .
	$(VENV) -m mypy

test: lint ## make setup, make lint and the test suite
	$(VENV) -m pytest -q $(PYTEST_ARGUMENTS)

test-all: ## make test, what takes minutes, a browser, a soak, the oldest versions, and ROS with Kilted
	@$(SETUP) full --browser
	@$(MAKE) --no-print-directory test
	$(VENV) -m pytest -q -m exhaustive $(PYTEST_ARGUMENTS)
	$(VENV) -m benchmarks.node_soak
	@$(SETUP) oldest
	.venv-oldest/bin/python -m pytest -q -p no:cacheprovider $(OLDEST_TESTS) $(PYTEST_ARGUMENTS)
	@$(SETUP) full --distribution kilted
	.venv-kilted/bin/python -m pytest -q $(ROS_TESTS) $(PYTEST_ARGUMENTS)

bench: setup ## speed table as Markdown and JSON, in four minutes [OUTPUT=folder]
	$(VENV) -m benchmarks.speed $(if $(OUTPUT),--output "$(OUTPUT)")

bench-compare: setup ## measure again, or take NEW=file, and compare with BASE=file.json
	$(VENV) -m benchmarks.speed --compare "$(BASE)" $(if $(NEW),--new "$(NEW)")

clean: ## remove build results and caches; environments and results stay
	rm -rf build install log dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
