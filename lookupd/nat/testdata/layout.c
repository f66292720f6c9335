/*
 * What the packet filters of the BSDs are asked with, as C has it. The test that
 * compiles this passes what the Go code believes as macros. On a BSD the structures
 * of that system are those of its headers; the others, and all of them elsewhere, are
 * written here by the headers that pf.go and ipfilter.go name.
 */

#if defined(__OpenBSD__) || defined(__FreeBSD__)
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <net/if.h>
#include <net/pfvar.h>
#endif

typedef unsigned char octet;
typedef unsigned short half;
typedef unsigned int word;

#define AT(type, field)		__builtin_offsetof(type, field)
#define IS(a, b)		_Static_assert((a) == (b), #a " is not " #b)

/* sys/ioccom.h: _IOWR, a request whose argument goes in and comes back. */
#define IN_AND_OUT(group, n, type) \
	(0xc0000000u | ((word)sizeof(type) & 0x1fff) << 16 | (word)(group) << 8 | (n))

/* An address of either family. */
union address {
	octet all[16];
	word words[4];
};

struct openbsd_natlook {
	union address saddr, daddr, rsaddr, rdaddr;
	half rdomain, rrdomain;
	half sport, dport, rsport, rdport;
	octet af, proto, direction;
};

struct freebsd_natlook {
	union address saddr, daddr, rsaddr, rdaddr;
	half sport, dport, rsport, rdport;
	octet af, proto, direction;
};

#ifdef __OpenBSD__
#define openbsd_natlook pfioc_natlook
IS(DIOCNATLOOK, OPENBSD_REQUEST);
IS(AF_INET, OPENBSD_INET);
IS(AF_INET6, OPENBSD_INET6);
IS(PF_IN, DIRECTION_IN);
IS(PF_OUT, DIRECTION_OUT);
#endif
#ifdef __FreeBSD__
#define freebsd_natlook pfioc_natlook
IS(DIOCNATLOOK, FREEBSD_REQUEST);
IS(AF_INET, FREEBSD_INET);
IS(AF_INET6, FREEBSD_INET6);
IS(PF_IN, DIRECTION_IN);
IS(PF_OUT, DIRECTION_OUT);
#endif

#define NATLOOK(type, SYSTEM) \
	IS(sizeof(type), SYSTEM##_SIZE); \
	IS(IN_AND_OUT('D', 23, type), SYSTEM##_REQUEST); \
	IS(AT(type, saddr), NATLOOK_SADDR); \
	IS(AT(type, daddr), NATLOOK_DADDR); \
	IS(AT(type, rsaddr), NATLOOK_RSADDR); \
	IS(AT(type, rdaddr), NATLOOK_RDADDR); \
	IS(AT(type, sport), SYSTEM##_PORTS + NATLOOK_SPORT); \
	IS(AT(type, dport), SYSTEM##_PORTS + NATLOOK_DPORT); \
	IS(AT(type, rsport), SYSTEM##_PORTS + NATLOOK_RSPORT); \
	IS(AT(type, rdport), SYSTEM##_PORTS + NATLOOK_RDPORT); \
	IS(AT(type, af), SYSTEM##_AF); \
	IS(AT(type, proto), SYSTEM##_AF + 1); \
	IS(AT(type, direction), SYSTEM##_AF + 2)

NATLOOK(struct openbsd_natlook, OPENBSD);
NATLOOK(struct freebsd_natlook, FREEBSD);

/* Families and directions are the kernel's; here they are said a second time. */
IS(OPENBSD_INET, 2);
IS(OPENBSD_INET6, 24);
IS(FREEBSD_INET, 2);
IS(FREEBSD_INET6, 28);
IS(DIRECTION_IN, 1);
IS(DIRECTION_OUT, 2);

/* IPFilter 5. */
struct ipfobj {
	word rev, size;
	void *ptr;
	int type, offset, retval;
	octet pad[28];
};

/* Its address can hold pointers, too. */
union ipf_address {
	octet all[16];
	word words[4];
	void *pointers[2];
};

struct natlookup {
	union ipf_address inip, outip, realip;
	int version;
	word flags;
	half inport, outport, realport;
};

#if __SIZEOF_POINTER__ == 8
#define IPF(what) IPF64_##what
#else
#define IPF(what) IPF32_##what
#endif

IS(sizeof(struct ipfobj), IPF(SIZE));
IS(IN_AND_OUT('r', 63, struct ipfobj), IPF(REQUEST));
IS(AT(struct ipfobj, rev), IPFOBJ_REVISION);
IS(AT(struct ipfobj, size), IPFOBJ_SIZE);
IS(AT(struct ipfobj, ptr), IPF(POINTER));
IS(AT(struct ipfobj, type), IPF(KIND));

IS(sizeof(struct natlookup), NATLOOKUP_SIZE);
IS(AT(struct natlookup, inip), NATLOOKUP_LOCAL);
IS(AT(struct natlookup, outip), NATLOOKUP_CLIENT);
IS(AT(struct natlookup, realip), NATLOOKUP_REAL);
IS(AT(struct natlookup, version), NATLOOKUP_VERSION);
IS(AT(struct natlookup, flags), NATLOOKUP_FLAGS);
IS(AT(struct natlookup, inport), NATLOOKUP_INPORT);
IS(AT(struct natlookup, outport), NATLOOKUP_OUTPORT);
IS(AT(struct natlookup, realport), NATLOOKUP_REALPORT);
