#include "hnsw/index.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "error.h"
#include "xxh64.h"

namespace elanus {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr char kMagic[8] = {'E', 'L', 'N', 'S', 'H', 'N', 'S', 'W'};

[[noreturn]] void Corrupt(const std::string& what) { throw NativeError("XX001", "invalid hnsw index file: " + what); }

int SectionsOf(const HnswHeader& h) { return h.version == 1 ? kSectionsOfVersion1 : kSectionCount; }

[[noreturn]] void Fail(const std::string& what, const std::string& path) {
  throw NativeError(errno == ENOSPC ? "53100" : "58030",
                    "could not " + what + " file \"" + path + "\": " + std::strerror(errno));
}

}  // namespace

std::unique_ptr<Block> Block::Allocate(size_t size) {
  auto block = std::make_unique<Block>();
  // Aligned to a huge page, so that the kernel can use them from the first byte.
  block->reserved_ = size + kHugePage;
  block->base_ = mmap(nullptr, block->reserved_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block->base_ == MAP_FAILED) {
    block->base_ = nullptr;
    throw std::bad_alloc();
  }
  auto address = (reinterpret_cast<uintptr_t>(block->base_) + kHugePage - 1) / kHugePage * kHugePage;
  block->data_ = reinterpret_cast<uint8_t*>(address);
  block->size_ = size;
#ifdef MADV_HUGEPAGE
  madvise(block->data_, size, MADV_HUGEPAGE);
#endif
  return block;
}

std::unique_ptr<Block> Block::Map(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) Fail("open", path);
  struct stat info;
  if (fstat(fd, &info) != 0) {
    close(fd);
    Fail("stat", path);
  }
  if (!S_ISREG(info.st_mode) || info.st_size < static_cast<off_t>(kHnswHeaderSize)) {
    close(fd);
    Corrupt("too short");
  }
  auto block = std::make_unique<Block>();
  block->reserved_ = block->size_ = static_cast<size_t>(info.st_size);
  block->base_ = mmap(nullptr, block->size_, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (block->base_ == MAP_FAILED) {
    block->base_ = nullptr;
    Fail("map", path);
  }
  block->data_ = static_cast<uint8_t*>(block->base_);
  return block;
}

Block::~Block() {
  if (base_) munmap(base_, reserved_);
}

HnswIndex::HnswIndex(std::unique_ptr<Block> block) : block_(std::move(block)) {
  const HnswHeader& h = header();
  if (block_->size() < kHnswHeaderSize || std::memcmp(h.magic, kMagic, 8) != 0) Corrupt("bad magic");
  if (h.version < 1 || h.version > kHnswVersion) Corrupt("unknown version " + std::to_string(h.version));
  uint64_t sum;
  std::memcpy(&sum, block_->data() + kHnswHeaderSize - 8, 8);
  if (sum != Xxh64(block_->data(), kHnswHeaderSize - 8)) Corrupt("bad header checksum");
  if (h.header_size != kHnswHeaderSize || h.file_size != block_->size()) Corrupt("size mismatch");
  if (h.metric > 3 || h.m < 1 || h.m > 1024 || h.dimensions < 1 || h.row_count >= (uint64_t{1} << 31)) {
    Corrupt("values out of range");
  }
  CodeLayout layout = MakeCodeLayout(static_cast<Metric>(h.metric), h.dimensions);
  rows_ = h.row_count;
  const uint64_t wanted[kSectionCount] = {8 * uint64_t{h.dimensions}, rows_ * layout.stride, rows_ * h.m * 8, rows_ * 4,
                                          h.sections[kUpperLinks].size, WordsFor(rows_) * 8,
                                          EqualChains::SizeFor(rows_)};
  for (int i = 0; i < SectionsOf(h); i++) {
    const HnswSection& s = h.sections[i];
    bool size_ok = s.size == wanted[i] || ((i == kInGraph || i == kEqualRows) && s.size == 0);
    if (!size_ok || s.offset % 64 != 0 || s.offset < kHnswHeaderSize || s.offset > block_->size() ||
        s.size > block_->size() - s.offset) {
      Corrupt("bad section " + std::to_string(i));
    }
  }
  if (layout.stride != h.code_stride || layout.padded != h.code_padded) Corrupt("bad code layout");
  if (h.entry_point != kNoRow && h.entry_point >= rows_) Corrupt("bad entry point");
  const uint8_t* base = block_->data();
  auto* parameters = reinterpret_cast<const float*>(base + h.sections[kQuantizer].offset);
  owned_quantizer_ =
      std::make_unique<Quantizer>(static_cast<Metric>(h.metric), layout, parameters, parameters + h.dimensions, h.residual);
  quantizer_ = owned_quantizer_.get();
  indexed_ = h.indexed_count;
  if (h.version > 1 && h.sections[kEqualRows].size > 0) {
    chains_ = EqualChains::In(base + h.sections[kEqualRows].offset, rows_);
    chained_ = std::min<size_t>(h.chained_count, indexed_);
  }
  strays_ = h.stray_count;
  entry_point_ = h.entry_point;
  max_level_ = h.max_level;
  m_ = h.m;
  stride_ = layout.stride;
  base_degree_ = 2 * h.m;
  codes_ = base + h.sections[kCodes].offset;
  base_links_ = reinterpret_cast<const uint32_t*>(base + h.sections[kBaseLinks].offset);
  upper_offsets_ = reinterpret_cast<const uint32_t*>(base + h.sections[kUpperOffsets].offset);
  upper_links_ = reinterpret_cast<const uint32_t*>(base + h.sections[kUpperLinks].offset);
  upper_size_ = h.sections[kUpperLinks].size / 4;
  in_graph_ = h.sections[kInGraph].size ? reinterpret_cast<const uint64_t*>(base + h.sections[kInGraph].offset) : nullptr;
}

std::unique_ptr<Block> AllocateIndex(const HnswSizes& sizes, HnswHeader* header) {
  uint64_t at = kHnswHeaderSize;
  for (int i = 0; i < kSectionCount; i++) {
    header->sections[i].offset = at;
    header->sections[i].size = sizes.of[i];
    at = (at + sizes.of[i] + 4095) / 4096 * 4096;
  }
  header->file_size = at;
  return Block::Allocate(at);
}

std::shared_ptr<HnswIndex> HnswIndex::Finish(std::unique_ptr<Block> block, HnswHeader h) {
  uint8_t* base = block->data();
  for (auto& section : h.sections) section.checksum = Xxh64(base + section.offset, section.size);
  std::memcpy(base, &h, sizeof h);
  uint64_t sum = Xxh64(base, kHnswHeaderSize - 8);
  std::memcpy(base + kHnswHeaderSize - 8, &sum, 8);
  return std::make_shared<HnswIndex>(std::move(block));
}

std::shared_ptr<HnswIndex> HnswIndex::Load(const std::string& path, bool verify) {
  auto block = Block::Map(path);
#ifdef MADV_HUGEPAGE
  madvise(block->data(), block->size(), MADV_HUGEPAGE);
#endif
  auto index = std::make_shared<HnswIndex>(std::move(block));
  if (!verify) return index;
  for (int i = 0; i < SectionsOf(index->header()); i++) {
    const HnswSection& s = index->header().sections[i];
    if (s.checksum != Xxh64(index->block_->data() + s.offset, s.size)) Corrupt("bad checksum");
  }
  return index;
}

void HnswIndex::Save(const std::string& path) const {
  int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) Fail("create", path);
  const uint8_t* p = block_->data();
  size_t left = block_->size();
  while (left > 0) {
    ssize_t n = write(fd, p, std::min(left, size_t{1} << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      int error = errno;
      close(fd);
      errno = error;
      Fail("write", path);
    }
    p += n;
    left -= static_cast<size_t>(n);
  }
  if (fsync(fd) != 0) {
    int error = errno;
    close(fd);
    errno = error;
    Fail("fsync", path);
  }
  if (close(fd) != 0) Fail("close", path);
}

void HnswGraph::ToNodes(const Bitset& rows, Bitset* nodes) const {
  *nodes = rows;
  for (size_t w = 0; w < nodes->words(); w++) {
    uint64_t chained = __atomic_load_n(chains_.chained + w, __ATOMIC_ACQUIRE);
    nodes->data()[w] &= ~chained;
  }
  for (size_t w = 0; w < rows.words(); w++) {
    uint64_t left = rows.data()[w] & __atomic_load_n(chains_.chained + w, __ATOMIC_ACQUIRE);
    for (; left; left &= left - 1) {
      size_t row = w * 64 + std::countr_zero(left);
      if (uint32_t back = chains_.back[row]; back <= row) nodes->Set(row - back);
    }
  }
}

void HnswGraph::ToIndexSpace(const float* query, std::vector<float>* out) const {
  out->assign(query, query + dimensions());
  if (metric() != Metric::kCosine) return;
  double norm = 0;
  for (float x : *out) norm += static_cast<double>(x) * x;
  if (norm > 0) {
    double inverse = 1 / std::sqrt(norm);
    for (float& x : *out) x = static_cast<float>(x * inverse);
  }
}

}  // namespace elanus
