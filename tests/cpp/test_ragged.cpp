// Ragged sets: what the view shows, and what the checks at the door refuse.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "base/ragged.hpp"

using namespace whimbrel;

TEST_CASE("a set is the rows between two offsets") {
  const std::vector<float> values{1, 2, 3, 4, 5, 6, 7, 8};
  const std::vector<std::int64_t> offsets{0, 1, 1, 4};
  const RaggedView sets{{values.data(), 4, 2}, offsets};
  CHECK(sets.size() == 3);
  CHECK(sets.dim() == 2);
  CHECK(sets[0].rows == 1);
  CHECK(sets[1].rows == 0);
  CHECK(sets[2].rows == 3);
  CHECK(sets[2].row(1)[0] == 5);
  CHECK(RaggedView{}.size() == 0);
  check_ragged("docs", sets, 2);
}

TEST_CASE("offsets that do not describe the rows are refused") {
  const auto refused = [](std::vector<std::int64_t> offsets, const char* message) {
    CHECK_THROWS_WITH_AS(check_offsets("docs", offsets, 4), message, std::invalid_argument);
  };
  refused({}, "docs: expected offsets of shape (n + 1,), got none");
  refused({1, 4}, "docs: expected offsets that start at 0, got 1");
  refused({-1, 4}, "docs: expected offsets that start at 0, got -1");
  refused({0, 3, 2, 4}, "docs: expected offsets that never fall, got 2 after 3 at position 2");
  refused({0, -4}, "docs: expected offsets that never fall, got -4 after 0 at position 1");
  refused({0, 3}, "docs: expected offsets that end at the number of vectors, 4, got 3");
  refused({0, 2, 5}, "docs: expected offsets that end at the number of vectors, 4, got 5");
}

TEST_CASE("values of a set must be finite") {
  std::vector<float> values(6, 1.0f);
  values[4] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<std::int64_t> offsets{0, 3};
  CHECK_THROWS_WITH_AS(check_ragged("queries", {{values.data(), 3, 2}, offsets}, 1),
                       "queries: expected finite values, got NaN or infinity in row 2",
                       std::invalid_argument);
}
