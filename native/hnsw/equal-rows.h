// Rows with byte-equal vectors, found as they are read: the first of them is a node of the graph, the others are chained to it.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

#include "xxh64.h"

namespace elanus {

class EqualRows {
 public:
  struct Entry {
    /** First and last row seen with these bytes. */
    uint32_t first, last;
  };
  /** `row_of(i)`: bytes of a row that was added. @returns the entry of equal rows, or nullptr: the row is the first and is added. */
  template <class RowOf>
  Entry* FindOrAdd(uint32_t row, const void* bytes, size_t size, RowOf row_of) {
    if ((used_ + 1) * 2 > slots_.size()) Grow();
    uint64_t hash = Xxh64(bytes, size);
    auto tag = static_cast<uint32_t>(hash ^ hash >> 32);
    for (size_t at = tag & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      Slot& slot = slots_[at];
      if (slot.entry.first == kFree) {
        slot = {tag, {row, row}};
        used_++;
        return nullptr;
      }
      if (slot.tag == tag && std::memcmp(row_of(slot.entry.first), bytes, size) == 0) return &slot.entry;
    }
  }

 private:
  static constexpr uint32_t kFree = 0xffffffff;
  struct Slot {
    uint32_t tag = 0;
    Entry entry{kFree, kFree};
  };
  void Grow() {
    std::vector<Slot> slots(slots_.empty() ? 1024 : slots_.size() * 2);
    for (const Slot& slot : slots_) {
      if (slot.entry.first == kFree) continue;
      size_t at = slot.tag & (slots.size() - 1);
      while (slots[at].entry.first != kFree) at = (at + 1) & (slots.size() - 1);
      slots[at] = slot;
    }
    slots_ = std::move(slots);
  }
  std::vector<Slot> slots_;
  size_t used_ = 0;
};

}  // namespace elanus
