# The door: `make demo` and `make test` set up everything they need on a fresh machine. Meson does the building.
BUILD ?= build
PREFIX ?= /usr/local
ESCRIBA = $(BUILD)/src/cli/escriba

.PHONY: help setup build demo test test-sanitized bench bench-peers check-ollama check-openai check-ray check-deploy check-clients check-mlx bench-mlx install format clean

help:
	@echo 'make demo            install what is missing, build, and describe the sample recording with the model in the box'
	@echo 'make test            install what is missing, build, and run every test'
	@echo 'make test-sanitized  the tests again under ASan and UBSan, and the threads under TSan (slow)'
	@echo 'make bench           measure speed beside this machine'\''s own peak (4.3 GB of disk; PARTS="box" for a short one)'
	@echo 'make bench-peers     install other engines (20 GB of disk, Go, libopenblas0-pthread) and run them beside escriba'
	@echo 'make build           build only (needs the packages that make setup installs)'
	@echo 'make setup           install the build packages (Debian, Ubuntu: apt; macOS: Homebrew)'
	@echo 'make check-ollama    describe frames on a real Ollama, killed in mid-run (skips with a reason where there is none)'
	@echo 'make check-clients   ask escriba serve through the openai and ollama clients of PyPI and npm (skips with a reason)'
	@echo 'make check-openai    the same on mlx_vlm.server and llama.cpp, where they are here'
	@echo 'make check-ray       the job of deploy/ray on a real Ray cluster of two nodes (fetches ray[data] from PyPI)'
	@echo 'make check-deploy    the files of deploy/ for vLLM and Ray Serve against their schemas (ray[serve] and others from PyPI)'
	@echo 'make check-mlx       build with MLX of PyPI and run what needs it (skips with a reason)'
	@echo 'make bench-mlx       measure escriba on MLX beside mlx_vlm (installs it; gigabytes)'
	@echo 'make install         install the command, the library, the header and the model in the box (PREFIX, DESTDIR)'
	@echo 'make format          clang-format all sources'
	@echo 'make clean           remove the build folders'

setup:
	@tools/setup.sh

$(BUILD)/build.ninja:
	@meson setup $(BUILD) --buildtype=release --prefix=$(PREFIX)

build: $(BUILD)/build.ninja
	@meson compile -C $(BUILD)

demo: setup
	@$(MAKE) --no-print-directory build
	@$(ESCRIBA) describe --text --ordered samples/frames --model models/escriba-tiny

test: setup
	@$(MAKE) --no-print-directory build
	@meson test -C $(BUILD) --print-errorlogs --no-rebuild
	@tools/report-tests.py $(BUILD)/meson-logs/testlog.json

test-sanitized: setup
	@test -f build-asan/build.ninja || meson setup build-asan --buildtype=debugoptimized \
		-Db_sanitize=address,undefined -Db_lundef=false
	@meson compile -C build-asan
	@meson test -C build-asan --print-errorlogs --no-rebuild --no-suite slow --timeout-multiplier 10
	@test -f build-tsan/build.ninja || meson setup build-tsan --buildtype=debugoptimized \
		-Db_sanitize=thread -Db_lundef=false
	@meson compile -C build-tsan
	@meson test -C build-tsan --print-errorlogs --no-rebuild --suite threads --timeout-multiplier 10

bench: build
	@ninja -C $(BUILD) bench/bench_kernels bench/bench_session
	@bench/bench.py $(BUILD) bench/results $(PARTS)

check-ollama: build
	@ESCRIBA=$(ESCRIBA) tests/peers/check_ollama.sh

check-openai: build
	@ESCRIBA=$(ESCRIBA) tests/peers/check_openai.sh

check-ray: build
	@ESCRIBA=$(abspath $(ESCRIBA)) ESCRIBA_LIBRARY=$(abspath $(BUILD)/src/api/libescriba.so.0) tests/peers/check_ray.sh

check-deploy:
	@tests/peers/check_deploy.sh

check-clients: build
	@tests/peers/check_clients.sh $(abspath $(ESCRIBA))

check-mlx: setup
	@tests/peers/check_mlx.sh

bench-mlx: setup
	@tests/peers/check_mlx.sh bench

bench-peers: build
	@for size in 1024x576 1280x720; do bench/peers.py $(BUILD) bench/results --size $$size || exit 1; done

install: build
	@meson install -C $(BUILD) --no-rebuild

format:
	@find src include tests examples \( -name '*.c' -o -name '*.h' \) -exec clang-format -i {} +

clean:
	@rm -rf build build-asan build-tsan
