/* SPDX-License-Identifier: Apache-2.0 */
/* Private to src/: whether the assembly for cores with the DSP extension is compiled. Its C twin
 * is, where it is not, and everywhere with -DTQ_NO_ASSEMBLY. */
#ifndef TINYQ_DSP_ASSEMBLY_H
#define TINYQ_DSP_ASSEMBLY_H

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(TQ_NO_ASSEMBLY)
#define TQ_DSP_ASSEMBLY 1
#else
#define TQ_DSP_ASSEMBLY 0
#endif

#endif
