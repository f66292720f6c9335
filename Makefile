# smtp-gated: build it, see it work, test it, install it.

GO      ?= go
# The processes change uid with system calls on all threads: cgo must stay off.
STATIC   = CGO_ENABLED=0 $(GO)

# Where make install puts things, each to be said otherwise: make install PREFIX=/usr.
# DESTDIR goes before all of them.
PREFIX       ?= /usr/local
SBINDIR      ?= $(PREFIX)/sbin
DATADIR      ?= $(PREFIX)/share
MANDIR       ?= $(DATADIR)/man
EXAMPLESDIR  ?= $(DATADIR)/examples/smtp-gated
BASHCOMPDIR  ?= $(DATADIR)/bash-completion/completions
ZSHCOMPDIR   ?= $(DATADIR)/zsh/site-functions
FISHCOMPDIR  ?= $(DATADIR)/fish/vendor_completions.d
SYSCONFDIR   ?= /etc
SYSCONF      ?= $(SYSCONFDIR)/smtp-gated
UNITDIR      ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR  ?= $(PREFIX)/lib/sysusers.d
TMPFILESDIR  ?= $(PREFIX)/lib/tmpfiles.d
# Only Linux has systemd.
SYSTEM       != $(GO) env GOOS 2>/dev/null || uname | tr A-Z a-z

# The tree may be another user's than the one who runs make.
GIT      = git -c safe.directory="$$PWD"
# What git does not say, as in an archive of a release, the programs know by themselves.
# An archive may lie in somebody else's repository.
VERSION != test ! -e .git || $(GIT) describe --tags --always --dirty 2>/dev/null || true
DATE    != test ! -e .git || TZ=UTC $(GIT) log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || true
KNOWN    = github.com/smtp-gated/smtp-gated/cmd/internal/version
LDFLAGS  = -s -w -X $(KNOWN).name=$(VERSION) -X $(KNOWN).date=$(DATE) -X main.usualFile=$(SYSCONF)/smtp-gated.toml

COMPILE  = $(STATIC) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

PROGRAMS = bin/smtp-gated bin/smtp-gatectl bin/smtp-gate-helper
SOURCES != find cmd etc/firewall imsg lockd lookupd parent scand session go.mod go.sum -name '*_test.go' -o -name testdata -prune -o -type f -print

build:
	$(COMPILE) -o bin/ $(PROGRAMS:bin/%=./cmd/%)
	$(COMPLETE)

# Root, under sudo, need not have go: what is built is installed as it is.
$(PROGRAMS): $(SOURCES)
	@command -v $(GO) >/dev/null || { echo "$@ is not built, or older than its source, and $(GO) is not in PATH: run make as a user who has it, then make install again" >&2; exit 1; }
	$(COMPILE) -o $@ ./cmd/$(@F)

# By one for this system, where that which was built is for another.
COMPLETE = mkdir -p bin/completion; for shell in bash zsh fish; do \
	bin/smtp-gatectl completion $$shell >bin/completion/$$shell 2>/dev/null || \
	GOOS= GOARCH= $(STATIC) run -trimpath -buildvcs=false ./cmd/smtp-gatectl completion $$shell >bin/completion/$$shell || exit 1; done

bin/completion/bash: bin/smtp-gatectl
	$(COMPLETE)

demo: build
	if [ -t 0 ] && [ -t 1 ] && [ -z "$$CI" ]; then bin/smtp-gatectl demo; else bin/smtp-gatectl demo --once; fi

# Where mail servers lie that are tested against but not installed.
MTAS = /var/tmp/smtp-gated-mtas

# Once is enough, without the race detector, for tests that hold many dialogues of the
# same relay against others, and for all that start the programs as they are shipped, of
# which it sees nothing.
ONCE    = TestDifferential|TestAddressesOfRealServers|^TestRecord$$
SHIPPED = /cmd/smtp-gated$$

test:
	.ci/packages $(MTAS)
	.ci/lint
	GATED_MTA_ROOT=$(MTAS) $(STATIC) test -count=1 -timeout 30m ./...
	if command -v $${CC:-gcc} >/dev/null; then GATED_MTA_ROOT=$(MTAS) CGO_ENABLED=1 $(GO) test -race -skip '$(ONCE)' -count=1 -timeout 30m $$($(GO) list ./... | grep -v '$(SHIPPED)'); fi

# How long it takes: TIME=1h. How often at most a room is killed or stopped meanwhile:
# KILLS=500. As root the rooms have users of their own.
TIME    ?= 10m
KILLS   ?= 0

soak:
	$(STATIC) test ./cmd/smtp-gated -run '^TestSoak$$' -v -count=1 -timeout 0 -soak $(TIME) -soak-kills $(KILLS)

# One client is refused a thousand times a second; another must not notice.
flood:
	$(STATIC) test ./cmd/smtp-gated -run '^TestFlood$$' -v -count=1 -timeout 0 -flood 2m

# Under a booted systemd, in a container that is made for it.
test-system:
	.ci/system

# On another system, which need not have go: HOST=user@host; .ci/bsd says what else.
test-bsd:
	@.ci/bsd $(HOST)

lint:
	.ci/lint

# The gateway beside HAProxy and none, in turns: ratios of one run. Each way is gone so
# often: ROUNDS=3 is quick. BENCH_JSON=file writes the numbers there, too, and
# BENCH_OTHER=/folder/smtp-gated has another program of ours beside this one.
ROUNDS  ?= 11

bench:
	case "$$BENCH_JSON" in ''|/*) ;; *) BENCH_JSON="$$PWD/$$BENCH_JSON" ;; esac; \
	$(STATIC) test ./cmd/smtp-gated -run '^$$' -bench '^BenchmarkCompare$$' -benchtime $(ROUNDS)x -count=1 -timeout 0

# What the parts take, each by itself.
bench-parts:
	$(STATIC) test -run '^$$' -bench . -skip '^BenchmarkCompare$$' -benchmem ./...

# What is installed: mode, file in the tree, place. The files of etc say where the others are.
files:
	@place() { mode=$$1 to=$$2; shift 2; for f; do echo "$$mode $$f $$to/$${f##*/}"; done; }; \
	place 755 "$(SBINDIR)" $(PROGRAMS) etc/export/smtp-gated-export; \
	for n in 5 7 8; do place 644 "$(MANDIR)/man$$n" man/*.$$n; done; \
	echo "644 bin/completion/bash $(BASHCOMPDIR)/smtp-gatectl"; \
	echo "644 bin/completion/zsh $(ZSHCOMPDIR)/_smtp-gatectl"; \
	echo "644 bin/completion/fish $(FISHCOMPDIR)/smtp-gatectl.fish"; \
	echo "644 etc/smtp-gated.toml $(SYSCONF)/smtp-gated.toml.default"; \
	place 644 "$(EXAMPLESDIR)" etc/prometheus/*.yml etc/grafana/*.json; \
	place 644 "$(EXAMPLESDIR)/firewall" etc/firewall/*.nft etc/firewall/*.conf; \
	place 755 "$(EXAMPLESDIR)/firewall" etc/firewall/*.sh; \
	for s in openbsd freebsd; do \
		echo "755 etc/$$s/smtp_gated $(EXAMPLESDIR)/rc.$$s"; \
		echo "755 etc/$$s/smtp_gate_helper $(EXAMPLESDIR)/helper/rc.$$s"; \
	done; \
	echo "755 etc/export/smtp_gated_export $(EXAMPLESDIR)/export/rc.openbsd"; \
	place 644 "$(EXAMPLESDIR)/export" etc/export/*.nft etc/export/*.conf; \
	for f in $$(find etc/export/fail2ban etc/export/crowdsec -type f); do echo "644 $$f $(EXAMPLESDIR)/$${f#etc/}"; done; \
	if [ $(SYSTEM) = linux ]; then \
		place 644 "$(UNITDIR)" etc/export/*.service; \
		for f in etc/systemd/*; do case $$f in \
		*.service|*.socket) place 644 "$(UNITDIR)" $$f ;; \
		*.sysusers) echo "644 $$f $(SYSUSERSDIR)/$$(basename $$f .sysusers).conf" ;; \
		*.tmpfiles) echo "644 $$f $(TMPFILESDIR)/$$(basename $$f .tmpfiles).conf" ;; \
		*.conf) place 644 "$(EXAMPLESDIR)/systemd" $$f ;; \
		esac; done; \
	fi

FILL = sed -e 's,@SBIN@,$(SBINDIR),g' -e 's,@SYSCONF@,$(SYSCONF),g'

# Whoever installs may keep files to himself (umask): these are for all. Folders that are
# there stay as they are. Make itself may say something between the files.
install: $(PROGRAMS) bin/completion/bash
	@umask 022; list=$$($(MAKE) -s files) || exit 1; echo "$$list" | grep "^[0-7][0-7][0-7] " | while read -r mode from to; do \
		to="$(DESTDIR)$$to"; echo "$$to"; \
		mkdir -p "$${to%/*}" || exit 1; \
		case $$from in \
		bin/smtp*|man/*) install -m $$mode "$$from" "$$to" || exit 1 ;; \
		*) rm -f "$$to"; $(FILL) "$$from" >"$$to" && chmod $$mode "$$to" || exit 1 ;; \
		esac; \
	done
	@to="$(DESTDIR)$(SYSCONF)/smtp-gated.toml"; [ -e "$$to" ] || install -m 640 etc/smtp-gated.toml "$$to"
	@to="$(DESTDIR)$(SYSCONF)/smtp-gate-helper.conf"; [ $(SYSTEM) != linux ] || [ -e "$$to" ] || install -m 640 etc/smtp-gate-helper.conf "$$to"

# Just what install has made. Folders go that are named after us and have nothing else in them.
uninstall:
	@list=$$($(MAKE) -s files) || exit 1; echo "$$list" | grep "^[0-7][0-7][0-7] " | while read -r mode from to; do \
		to="$(DESTDIR)$$to"; [ ! -e "$$to" ] || { echo "$$to"; rm "$$to" || exit 1; }; \
	done
	@[ ! -d "$(DESTDIR)$(EXAMPLESDIR)" ] || find "$(DESTDIR)$(EXAMPLESDIR)" -depth -type d -exec rmdir {} \; 2>/dev/null || true
	@echo "these stay, for who installs it again: the configuration in $(SYSCONF), what smtp-gated has written (spool, locks, rates, history), its users"

# deb and rpm, in bin/packages, and all that is handed out, in bin/release. Who makes it
# twice, of the same source by the same Go, gets the same bytes.
ARCHS   ?= $$($(GO) env GOARCH)
MAKING   = VERSION='$(VERSION)' DATE='$(DATE)' ARCHS="$(ARCHS)" MAKE='$(MAKE)' GO='$(GO)' etc/packages/build

packages:
	@$(MAKING) packages "$${OUT:-bin/packages}"

release:
	@$(MAKING) release "$${OUT:-bin/release}"

clean:
	rm -rf bin

.PHONY: build demo test soak flood test-system test-bsd lint bench bench-parts files install uninstall packages release clean
