# smtp-gated: build it, see it work, test it, install it.

GO      ?= go
# The processes change uid with system calls on all threads: cgo must stay off.
STATIC   = CGO_ENABLED=0 $(GO)
PREFIX  ?= /usr/local
SYSCONF ?= /etc/smtp-gated
SBIN     = $(DESTDIR)$(PREFIX)/sbin
MAN      = $(DESTDIR)$(PREFIX)/share/man
ETC      = $(DESTDIR)$(SYSCONF)
EXAMPLES = $(DESTDIR)$(PREFIX)/share/examples/smtp-gated
UNITS    = $(DESTDIR)$(PREFIX)/lib/systemd/system
FILL     = sed -e 's,@SBIN@,$(PREFIX)/sbin,g' -e 's,@SYSCONF@,$(SYSCONF),g'

# The tree may be another user's than the one who runs make.
GIT      = git -c safe.directory="$$PWD"
VERSION != $(GIT) describe --tags --always --dirty 2>/dev/null || echo unknown
DATE    != TZ=UTC $(GIT) log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || echo unknown
LDFLAGS  = -s -w -X main.version=$(VERSION) -X main.compileDate=$(DATE)

COMPILE  = $(STATIC) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'

PROGRAMS = bin/smtp-gated bin/smtp-gatectl bin/smtp-gate-helper
SOURCES != find cmd imsg lockd lookupd parent scand session go.mod go.sum -name '*_test.go' -o -name '*.go' -print -o -name 'go.*' -print

build:
	$(COMPILE) -o bin/ $(PROGRAMS:bin/%=./cmd/%)

# Root, under sudo, need not have go: what is built is installed as it is.
$(PROGRAMS): $(SOURCES)
	@command -v $(GO) >/dev/null || { echo "$@ is not built, or older than its source, and $(GO) is not in PATH: run make as a user who has it, then make install again" >&2; exit 1; }
	$(COMPILE) -o $@ ./cmd/$(@F)

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

install: $(PROGRAMS)
	mkdir -p $(SBIN) $(MAN)/man5 $(MAN)/man7 $(MAN)/man8 $(ETC)
	install -m 755 $(PROGRAMS) $(SBIN)
	install -m 644 man/*.5 $(MAN)/man5
	install -m 644 man/*.7 $(MAN)/man7
	install -m 644 man/*.8 $(MAN)/man8
	install -m 644 etc/smtp-gated.toml $(ETC)/smtp-gated.toml.default
	mkdir -p $(EXAMPLES)/firewall
	install -m 644 etc/firewall/*.nft etc/firewall/*.conf $(EXAMPLES)/firewall
	install -m 755 etc/firewall/*.sh $(EXAMPLES)/firewall
	for s in openbsd freebsd; do $(FILL) etc/$$s/smtp_gated >$(EXAMPLES)/rc.$$s && chmod 755 $(EXAMPLES)/rc.$$s || exit 1; done
	mkdir -p $(EXAMPLES)/export
	cp -R etc/export/fail2ban etc/export/crowdsec $(EXAMPLES)/export
	install -m 644 etc/export/*.nft etc/export/*.conf $(EXAMPLES)/export
	$(FILL) etc/export/smtp_gated_export >$(EXAMPLES)/export/rc.openbsd && chmod 755 $(EXAMPLES)/export/rc.openbsd
	install -m 755 etc/export/smtp-gated-export $(SBIN)
	install -m 644 etc/prometheus/smtp-gated.rules.yml etc/grafana/smtp-gated.json $(EXAMPLES)
	if [ "$$(uname)" = Linux ]; then \
		mkdir -p $(UNITS) && \
		for u in systemd/smtp-gated.service systemd/smtp-gated.socket systemd/smtp-gated-exporter.service export/smtp-gated-export.service; do \
			$(FILL) etc/$$u >$(UNITS)/$${u#*/} && chmod 644 $(UNITS)/$${u#*/} || exit 1; \
		done; \
	fi
	test -e $(ETC)/smtp-gated.toml || install -m 640 etc/smtp-gated.toml $(ETC)/smtp-gated.toml

clean:
	rm -rf bin

.PHONY: build demo test soak flood test-system test-bsd lint bench bench-parts install clean
