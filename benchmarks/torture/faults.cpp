// Preloaded into the torture's processes: writing and allocating work as always until a trial says how much more.
#include <dlfcn.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> bytes_left{-1};        // −1: no bound
std::atomic<long> allocations_left{-1};  // the one after these fails, alone

// Returns how many of `size` bytes may still be written; a short write first, then none, as on a disk that fills up.
ssize_t granted(size_t size) {
  const long left = bytes_left.load();
  if (left < 0) return static_cast<ssize_t>(size);
  const long taken = left < static_cast<long>(size) ? left : static_cast<long>(size);
  bytes_left.fetch_sub(taken);
  if (taken == 0 && size > 0) {
    errno = ENOSPC;
    return -1;
  }
  return taken;
}

bool is_log(int descriptor) { return descriptor == 1 || descriptor == 2; }

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

void torture_allow_bytes(long bytes) { bytes_left = bytes; }
void torture_allow_allocations(long count) { allocations_left = count; }

ssize_t write(int descriptor, const void* data, size_t size) {
  static auto* real = next<ssize_t(int, const void*, size_t)>("write");
  const ssize_t allowed = is_log(descriptor) ? static_cast<ssize_t>(size) : granted(size);
  return allowed < 0 ? -1 : real(descriptor, data, static_cast<size_t>(allowed));
}

ssize_t pwrite64(int descriptor, const void* data, size_t size, off64_t offset) {
  static auto* real = next<ssize_t(int, const void*, size_t, off64_t)>("pwrite64");
  const ssize_t allowed = granted(size);
  return allowed < 0 ? -1 : real(descriptor, data, static_cast<size_t>(allowed), offset);
}

ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
  return pwrite64(descriptor, data, size, offset);
}

ssize_t sendfile64(int out, int in, off64_t* offset, size_t count) {
  static auto* real = next<ssize_t(int, int, off64_t*, size_t)>("sendfile64");
  const ssize_t allowed = granted(count);
  return allowed < 0 ? -1 : real(out, in, offset, static_cast<size_t>(allowed));
}

ssize_t sendfile(int out, int in, off_t* offset, size_t count) { return sendfile64(out, in, offset, count); }

}  // extern "C"

void* operator new(size_t size) {
  if (allocations_left.load() >= 0 && allocations_left.fetch_sub(1) == 0) throw std::bad_alloc();
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
