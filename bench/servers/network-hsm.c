/*
 * A pair of network HSMs as PKCS#11 sees one: the module named by NETWORK_HSM_MODULE, but a signature comes back a
 * millisecond after it was begun, and no more than 3,000 are begun in a second, over all processes that map the file
 * NETWORK_HSM_CLOCK. C_SignInit stays in the client's memory, as it does with such devices' own modules.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <pkcs11/pkcs11.h>

enum { ANSWER_NS = 1000000, PER_SECOND = 3000, SECOND_NS = 1000000000 };

static CK_FUNCTION_LIST shim;
static CK_FUNCTION_LIST_PTR real;
/* When the next signature may begin, CLOCK_MONOTONIC in ns. */
static uint64_t *next_begin;

static CK_RV sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG data_bytes, CK_BYTE_PTR signature,
                  CK_ULONG_PTR signature_bytes) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  uint64_t now_ns = (uint64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
  uint64_t free_at = __atomic_load_n(next_begin, __ATOMIC_RELAXED), begin;
  do {
    begin = free_at > now_ns ? free_at : now_ns;
  } while (!__atomic_compare_exchange_n(next_begin, &free_at, begin + SECOND_NS / PER_SECOND, 0, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
  CK_RV rv = real->C_Sign(session, data, data_bytes, signature, signature_bytes);
  uint64_t end = begin + ANSWER_NS;
  struct timespec until = {.tv_sec = end / SECOND_NS, .tv_nsec = end % SECOND_NS};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
  }
  return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  if (!real) {
    const char *path = getenv("NETWORK_HSM_MODULE"), *clock = getenv("NETWORK_HSM_CLOCK");
    void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    CK_C_GetFunctionList find = module ? (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList") : NULL;
    int file = clock ? open(clock, O_RDWR | O_CREAT, 0600) : -1;
    if (!find || file < 0 || ftruncate(file, sizeof *next_begin) != 0) return CKR_GENERAL_ERROR;
    next_begin = mmap(NULL, sizeof *next_begin, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    CK_FUNCTION_LIST_PTR found;
    if (next_begin == MAP_FAILED || find(&found) != CKR_OK) return CKR_GENERAL_ERROR;
    shim = *found;
    shim.C_Sign = sign;
    real = found;
  }
  *list = &shim;
  return CKR_OK;
}
