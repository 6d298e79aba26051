# `make demo` and `make test` do everything, from a fresh clone on Debian or Ubuntu with a Rust
# toolchain. The others install nothing but the extension: they need cargo, pg_config with the
# server's headers, a C compiler and libclang.
#
# PG_CONFIG=… chooses another PostgreSQL, 14 to 18. DESTDIR=… is put before each folder that is
# installed to. CARGO_NET_OFFLINE=true builds without a network, once the crates are there.

export PG_CONFIG DESTDIR

.PHONY: all install uninstall installcheck clean demo test lint bench deb check-deb layout check-layout dist check-dist

all:
	scripts/build.sh

install: all
	scripts/files.sh install

uninstall:
	scripts/files.sh uninstall

# Against a server that runs and has the extension: PGHOST, PGPORT and PGUSER say which. It makes, and
# drops, a database of its own.
installcheck:
	scripts/installcheck.sh

clean:
	cargo clean

demo: setup install
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

lint: setup
	scripts/lint.sh

bench: setup install
	bench/run.sh

# A Debian package for this PostgreSQL, in target/.
deb: all
	scripts/deb.sh

# Makes that package without a network, and installs it in a Debian root that has no Rust, as root.
check-deb: setup-deb
	tests/package.sh

# LAYOUT, a folder with lib/ and share/extension/, for extension_control_path and
# dynamic_library_path of PostgreSQL 18.
LAYOUT = target/layout
layout: all
	scripts/files.sh install $(LAYOUT)/lib $(LAYOUT)/share/extension

# The archive for PGXN, of what is committed.
dist:
	scripts/dist.sh
check-dist: dist
	tests/dist.sh

# Loads the extension from the folder of make layout, with PostgreSQL 18.
check-layout: layout
	tests/layout.sh $(LAYOUT)

.PHONY: setup setup-tests setup-deb
setup:
	scripts/setup.sh
setup-tests:
	scripts/setup.sh --tests
setup-deb:
	scripts/setup.sh --deb

# Each target needs the one before it to be done.
.NOTPARALLEL:
