/*
 * The load average as the BSDs tell it: sys/resource.h. Elsewhere than there it is
 * written here.
 */

#if defined(__OpenBSD__) || defined(__FreeBSD__)
#include <sys/types.h>
#include <sys/resource.h>
#else
struct loadavg {
	unsigned int ldavg[3];
	long fscale;
};
#endif

#define IS(a, b)	_Static_assert((a) == (b), #a " is not " #b)

#if __SIZEOF_LONG__ == 8
IS(__builtin_offsetof(struct loadavg, fscale), FSCALE64);
IS(sizeof(struct loadavg), LOADAVG64);
#else
IS(__builtin_offsetof(struct loadavg, fscale), FSCALE32);
IS(sizeof(struct loadavg), LOADAVG32);
#endif
