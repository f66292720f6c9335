# What the ports in etc/ports use of bsd.port.mk, FreeBSD's and OpenBSD's: enough to
# install what is built already. WRKSRC is the tree, STAGE where it is installed.

LOCALBASE = /usr/local
SETENV = /usr/bin/env -i PATH="$$PATH" HOME=/nonexistent

.if defined(PORTNAME)
PREFIX = ${LOCALBASE}
STAGEDIR = ${STAGE}
ETCDIR = ${PREFIX}/etc/${PORTNAME}
EXAMPLESDIR = ${PREFIX}/share/examples/${PORTNAME}
DISTVERSIONFULL = ${DISTVERSIONPREFIX}${DISTVERSION}
FIND = find
MV = mv
RM = rm -f
GO_CMD = go
GO_ENV = CGO_ENABLED=${CGO_ENABLED} GOOS=freebsd
MAKE_ENV += PREFIX=${PREFIX} LOCALBASE=${LOCALBASE}

do-install:
	cd ${WRKSRC} && ${SETENV} ${MAKE_ENV} ${MAKE} ${MAKE_ARGS} DESTDIR=${STAGEDIR} install

stage: do-install post-install
.else
TRUEPREFIX = ${LOCALBASE}
WRKINST = ${STAGE}
PREFIX = ${WRKINST}${TRUEPREFIX}
SYSCONFDIR = /etc
MAKE_PROGRAM = ${MAKE}
MAKE_ENV += GOOS=openbsd

stage: do-install
.endif
