/* What the C interface of RocksDB includes, and nothing else. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
