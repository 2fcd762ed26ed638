/* SPDX-License-Identifier: Apache-2.0
 * GCC's own, which it uses where there is no C library. */
#include <stdint-gcc.h>
