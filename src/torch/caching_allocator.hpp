// A CPU allocator that keeps what it is given back.
//
// An activation of a few MiB lies above glibc's mmap threshold: with the system allocator every temporary is mapped,
// faulted in page by page and unmapped, which costs more than the arithmetic on it (docs/benchmarks.md). Here a freed
// block waits for the next request of nearly its size: training repeats the same shapes step after step.
//
// Size classes: 4 KiB steps below 1 MiB, 2 MiB steps (on huge pages) above. A waiting block serves a request that is at
// most 25 % smaller. Beyond `limit` waiting bytes, blocks go straight back to the system.
#pragma once

#include <sys/mman.h>

#include <c10/core/Allocator.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace lego {

// libtorch 2.x dropped the const of Allocator::allocate() and made copy_data() pure: fit whichever this one has.
template <class Base, class Signature = decltype(&Base::allocate)>
struct FittedAllocator;

template <class Base>
struct FittedAllocator<Base, c10::DataPtr (Base::*)(size_t) const> : Base {
    c10::DataPtr allocate(size_t bytes) const final { return serve(bytes); }
    virtual c10::DataPtr serve(size_t bytes) const = 0;
};

template <class Base>
struct FittedAllocator<Base, c10::DataPtr (Base::*)(size_t)> : Base {
    c10::DataPtr allocate(size_t bytes) final { return serve(bytes); }
    virtual c10::DataPtr serve(size_t bytes) const = 0;
};

class CachingAllocator final : public FittedAllocator<c10::Allocator> {
  public:
    // Lives as long as the process: tensors may outlive everything else.
    static CachingAllocator &instance() {
        static CachingAllocator *allocator = new CachingAllocator;
        return *allocator;
    }

    void set_limit(size_t bytes) {
        std::lock_guard<std::mutex> lock(mutex_);
        limit_ = bytes;
    }

    void trim() {
        std::map<size_t, std::vector<void *>> waiting;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            waiting.swap(waiting_);
            bytes_cached_ = 0;
        }
        for (auto &size_class : waiting)
            for (void *block : size_class.second)
                std::free(block);
    }

    void stats(size_t *in_use, size_t *cached) {
        std::lock_guard<std::mutex> lock(mutex_);
        *in_use = bytes_in_use_;
        *cached = bytes_cached_;
    }

    c10::DataPtr serve(size_t bytes) const final {
        const c10::Device cpu(c10::DeviceType::CPU);
        if (bytes == 0)
            return {nullptr, nullptr, &release, cpu};
        void *data = instance().take(bytes);
        return {data, data, &release, cpu};
    }

    c10::DeleterFnPtr raw_deleter() const final { return &release; }

    // Overrides where the base has it (libtorch 2.x).
    virtual void copy_data(void *to, const void *from, std::size_t bytes) const { std::memcpy(to, from, bytes); }

  private:
    static constexpr size_t kAlignment = 64; // vector code wants it
    static constexpr size_t kSmallStep = size_t{4} << 10;
    static constexpr size_t kLargeStep = size_t{2} << 20;
    static constexpr size_t kLarge = size_t{1} << 20;

    void *take(size_t bytes) {
        if (bytes > SIZE_MAX - kLargeStep)
            throw std::bad_alloc();
        const size_t step = bytes < kLarge ? kSmallStep : kLargeStep;
        const size_t size = (bytes + step - 1) / step * step;
        {
            std::lock_guard<std::mutex> lock(mutex_);
            auto found = waiting_.lower_bound(size);
            if (found != waiting_.end() && found->first - size <= found->first / 4) {
                void *block = found->second.back();
                sizes_.emplace(block, found->first); // may throw: nothing has changed yet
                found->second.pop_back();
                bytes_cached_ -= found->first;
                bytes_in_use_ += found->first;
                if (found->second.empty())
                    waiting_.erase(found);
                return block;
            }
        }
        return fresh(size);
    }

    void *fresh(size_t size) {
        const size_t alignment = size >= kLarge ? kLargeStep : kAlignment;
        void *block = nullptr;
        if (posix_memalign(&block, alignment, size) != 0) {
            trim(); // what waits in other sizes may be what is missing
            if (posix_memalign(&block, alignment, size) != 0)
                throw std::bad_alloc();
        }
        if (size >= kLarge)
            madvise(block, size, MADV_HUGEPAGE); // a hint: without huge pages it is only slower
        try {
            std::lock_guard<std::mutex> lock(mutex_);
            sizes_.emplace(block, size);
            bytes_in_use_ += size;
        } catch (...) {
            std::free(block);
            throw;
        }
        return block;
    }

    static void release(void *block) {
        if (block)
            instance().give_back(block);
    }

    void give_back(void *block) noexcept {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            const auto entry = sizes_.find(block);
            const size_t size = entry->second;
            sizes_.erase(entry);
            bytes_in_use_ -= size;
            if (bytes_cached_ + size <= limit_) {
                try {
                    waiting_[size].push_back(block);
                    bytes_cached_ += size;
                    return;
                } catch (const std::bad_alloc &) {
                    const auto empty = waiting_.find(size);
                    if (empty != waiting_.end() && empty->second.empty())
                        waiting_.erase(empty);
                }
            }
        }
        std::free(block);
    }

    std::mutex mutex_;
    std::map<size_t, std::vector<void *>> waiting_; // by size
    std::unordered_map<void *, size_t> sizes_;      // of the blocks in use
    size_t limit_ = 0;
    size_t bytes_cached_ = 0;
    size_t bytes_in_use_ = 0;
};

} // namespace lego
