# `make demo` and `make test` do everything, from a fresh clone on Debian or Ubuntu with a Rust
# toolchain. PG_CONFIG=… chooses another PostgreSQL, 14 to 18.

.PHONY: demo test install lint bench clean

demo: install
	scripts/demo.sh

# SUITES="unit regress isolation recovery clients" chooses among the suites. MAJORS="14 15 16 17 18" runs
# them on these majors, with servers that are got for that, and not on the machine's own.
ifdef MAJORS
test:
	tests/majors.sh $(SUITES)
else
test: setup-tests install
	tests/run.sh $(SUITES)
endif

install: setup
	scripts/install.sh

lint: setup
	scripts/lint.sh

bench: install
	bench/run.sh

clean:
	cargo clean

.PHONY: setup setup-tests
setup:
	scripts/setup.sh
setup-tests:
	scripts/setup.sh --tests
