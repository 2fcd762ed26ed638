/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Version guard between generated code and this library.
 *
 * TQ_ABI counts incompatible changes: a descriptor's fields or their meaning, a packing, a
 * rounding. Generated code carries the number that it was written for and refuses to compile with
 * another:
 *
 *     #include <tinyq/version.h>
 *     #if TQ_ABI != 1
 *     #error "net.c was generated for tinyq ABI 1: regenerate it with `tinyq export`"
 *     #endif
 */
#ifndef TINYQ_VERSION_H
#define TINYQ_VERSION_H

#define TQ_ABI            1
#define TQ_VERSION_STRING "0.1.0"

#endif
