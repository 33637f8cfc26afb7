/*
Matrices in the smallest form that holds them exactly, and products with them in float32.

Forms are codes of 4 or 8 bits with numbers for each block of 32 inputs (GGUF's Q4_1 and Q8_0), the
upper half of float32 (bfloat16), and float32. All are multiplied as float32: what a small form
saves is the reading of memory.

A matrix [N, K] lies in panels of PANEL outputs. A panel is a run of blocks of 32 inputs (16 in
float32); a block holds its scales (4 and 8 bits) and its lows (4 bits), one for each output, and
then words of 32 bits: word g of an output holds the codes of the inputs g * 32 / bits and behind.

Up to FEW rows are multiplied straight from the codes. For more rows DEPTH blocks of a panel are
unpacked at a time, and multiplied by TALL rows at a time, whose sums stay in registers.

Source: Goto and van de Geijn 2008, Anatomy of high-performance matrix multiplication (the tile).
*/

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifndef LANES
#ifdef __AVX512F__
#define LANES 16
#else
#define LANES 8
#endif
#endif

#define INLINE static inline __attribute__((always_inline))
#define ROUNDER 12582912.0f
#define ALIGNED __attribute__((aligned(64)))

enum { PANEL = 2 * LANES, BLOCK = 32, DEPTH = 3, TALL = 6, FEW = 6 };

typedef float V __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t I __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint32_t U __attribute__((vector_size(4 * LANES), aligned(4)));

typedef struct {
  const uint8_t *data;
  int32_t bits, outputs, inputs;
} Matrix;

INLINE V load(const float *from) { return *(const V *)from; }
INLINE void store(float *to, V value) { *(V *)to = value; }
INLINE V all(float value) { return value - (V){0}; }

INLINE float total(V value) {
  float sum = 0;
  for (int lane = 0; lane < LANES; lane++) sum += value[lane];
  return sum;
}

INLINE int length_of(const int bits) { return bits == 32 ? BLOCK / 2 : BLOCK; }

INLINE int words_in(const int bits) { return length_of(bits) * bits / 32; }

INLINE size_t block_bytes(const int bits) {
  size_t numbers = bits == 4 ? 2 : bits == 8 ? 1 : 0;
  return PANEL * 4 * (numbers + words_in(bits));
}

INLINE V code(const int bits, U word, const int place) {
  if (bits == 4) return __builtin_convertvector((I)((word >> (4 * place)) & 15), V);
  if (bits == 8) return __builtin_convertvector(((I)(word << (24 - 8 * place))) >> 24, V);
  if (bits == 16) return (V)(place ? word & 0xffff0000u : word << 16);
  return (V)word;
}

INLINE const uint8_t *words_of(const int bits, const uint8_t *block) {
  return block + PANEL * (bits == 4 ? 8 : bits == 8 ? 4 : 0);
}

INLINE V number(const uint8_t *block, int which, int half) {
  return load((const float *)block + which * PANEL + half * LANES);
}

/* Multiply at most FEW rows by a panel, straight from its codes, and add to out [rows, PANEL]. */
INLINE void few(const int bits, const int rows, const uint8_t *block, int blocks, const float *x,
                const float *sums, float *out) {
  size_t ldx = (size_t)blocks * length_of(bits);
  for (int b = 0; b < blocks; b++, block += block_bytes(bits), x += length_of(bits)) {
    const uint8_t *words = words_of(bits, block);
    V found[FEW][2];
    for (int r = 0; r < rows; r++) found[r][0] = found[r][1] = (V){0};
    for (int g = 0; g < words_in(bits); g++, words += PANEL * 4) {
      U first = *(const U *)words, second = *(const U *)(words + LANES * 4);
#pragma GCC unroll 8
      for (int place = 0; place < 32 / bits; place++) {
        V w0 = code(bits, first, place), w1 = code(bits, second, place);
        for (int r = 0; r < rows; r++) {
          float factor = x[r * ldx + g * (32 / bits) + place];
          found[r][0] += factor * w0;
          found[r][1] += factor * w1;
        }
      }
    }
    for (int r = 0; r < rows; r++)
      for (int half = 0; half < 2; half++) {
        V sum = found[r][half];
        if (bits < 16) sum *= number(block, 0, half);
        if (bits == 4) sum += number(block, 1, half) * sums[r * blocks + b];
        store(out + r * PANEL + half * LANES, load(out + r * PANEL + half * LANES) + sum);
      }
  }
}

/* Write a block as float32 [inputs, PANEL]. */
INLINE void unpack(const int bits, const uint8_t *block, float *to) {
  const uint8_t *words = words_of(bits, block);
  for (int g = 0; g < words_in(bits); g++, words += PANEL * 4) {
#pragma GCC unroll 8
    for (int place = 0; place < 32 / bits; place++, to += PANEL)
      for (int half = 0; half < 2; half++) {
        V value = code(bits, *(const U *)(words + half * LANES * 4), place);
        if (bits < 16) value *= number(block, 0, half);
        if (bits == 4) value += number(block, 1, half);
        store(to + half * LANES, value);
      }
  }
}

static void unpack_block(int bits, const uint8_t *block, float *to) {
  switch (bits) {
    case 4: unpack(4, block, to); break;
    case 8: unpack(8, block, to); break;
    default: unpack(16, block, to);
  }
}

/*
Add a [rows, depth] times b [depth, PANEL] to c [rows, PANEL]; a's rows are row_step apart and its
columns column_step.
*/
INLINE void tile(const int rows, int depth, const float *a, size_t row_step, size_t column_step,
                 const float *b, size_t ldb, float *c, size_t ldc) {
  V sum[TALL][2];
  for (int r = 0; r < rows; r++)
    for (int half = 0; half < 2; half++) sum[r][half] = load(c + r * ldc + half * LANES);
  for (int k = 0; k < depth; k++, a += column_step, b += ldb) {
    V first = load(b), second = load(b + LANES);
    for (int r = 0; r < rows; r++) {
      sum[r][0] += a[r * row_step] * first;
      sum[r][1] += a[r * row_step] * second;
    }
  }
  for (int r = 0; r < rows; r++)
    for (int half = 0; half < 2; half++) store(c + r * ldc + half * LANES, sum[r][half]);
}

/* The same for at most TALL rows. */
INLINE void short_tile(int rows, int depth, const float *a, size_t row_step, size_t column_step,
                       const float *b, size_t ldb, float *c, size_t ldc) {
  switch (rows) {
    case 6: tile(6, depth, a, row_step, column_step, b, ldb, c, ldc); break;
    case 5: tile(5, depth, a, row_step, column_step, b, ldb, c, ldc); break;
    case 4: tile(4, depth, a, row_step, column_step, b, ldb, c, ldc); break;
    case 3: tile(3, depth, a, row_step, column_step, b, ldb, c, ldc); break;
    case 2: tile(2, depth, a, row_step, column_step, b, ldb, c, ldc); break;
    default: tile(1, depth, a, row_step, column_step, b, ldb, c, ldc);
  }
}

/* Put rows into runs of TALL that lie column by column: [rows / TALL, depth, TALL]. */
static void interleave(int rows, int depth, const float *from, float *to) {
  for (; rows > 0; rows -= TALL, from += TALL * depth)
    for (int k = 0; k < depth; k++, to += TALL)
      for (int r = 0; r < TALL; r++) to[r] = r < rows ? from[r * depth + k] : 0;
}

#define FEW_ROWS(BITS)                                                       \
  switch (rows) {                                                            \
    case 1: few(BITS, 1, block, blocks, x, sums, out); break;                \
    case 2: few(BITS, 2, block, blocks, x, sums, out); break;                \
    case 3: few(BITS, 3, block, blocks, x, sums, out); break;                \
    case 4: few(BITS, 4, block, blocks, x, sums, out); break;                \
    case 5: few(BITS, 5, block, blocks, x, sums, out); break;                \
    default: few(BITS, 6, block, blocks, x, sums, out);                      \
  }

/*
Add x [rows, K] times a panel of a matrix to out [rows, PANEL]. Of few rows sums [rows, K / 32] are
given; more rows are interleaved.
*/
static void add_panel(const Matrix *matrix, int panel, int rows, const float *x, const float *sums,
                      float *out) {
  int bits = matrix->bits, length = length_of(bits), blocks = matrix->inputs / length;
  const uint8_t *block = matrix->data + (size_t)panel * blocks * block_bytes(bits);
  if (rows <= FEW) {
    switch (bits) {
      case 4: FEW_ROWS(4) break;
      case 8: FEW_ROWS(8) break;
      case 16: FEW_ROWS(16) break;
      default: FEW_ROWS(32)
    }
    return;
  }
  float unpacked[DEPTH * BLOCK * PANEL] ALIGNED;
  for (int b = 0; b < blocks; b += DEPTH) {
    int count = blocks - b < DEPTH ? blocks - b : DEPTH;
    const float *numbers = bits == 32 ? (const float *)block : unpacked;
    for (int i = 0; i < count; i++, block += block_bytes(bits))
      if (bits != 32) unpack_block(bits, block, unpacked + i * length * PANEL);
    for (int row = 0; row < rows; row += TALL)
      short_tile(rows - row < TALL ? rows - row : TALL, count * length,
                 x + (size_t)row * matrix->inputs + b * length * TALL, 1, TALL, numbers, PANEL,
                 out + row * PANEL, PANEL);
  }
}

static void sum_blocks(int rows, int inputs, const float *x, float *sums) {
  for (int r = 0; r < rows; r++, x += inputs)
    for (int k = 0; k < inputs; k += BLOCK) {
      V sum = {0};
      for (int i = 0; i < BLOCK; i += LANES) sum += load(x + k + i);
      *sums++ = total(sum);
    }
}

/* Round to the nearest half-precision number, which is what GGUF's scales are. */
static float half_precision(float value) {
  if (fabsf(value) < 0x1p-14f) return rintf(value * 0x1p24f) * 0x1p-24f;
  float split = value * 8193.0f;
  return split - (split - value);
}

/* Return the scale and the low that a block's numbers would have. */
static void numbers_of(int bits, const float *from, float *scale, float *low) {
  float least = from[0], most = from[0];
  for (int k = 1; k < BLOCK; k++) {
    least = from[k] < least ? from[k] : least;
    most = from[k] > most ? from[k] : most;
  }
  *low = bits == 4 ? half_precision(least) : 0;
  if (bits == 4) *scale = half_precision((most - *low) / 15);
  else *scale = half_precision((-least > most ? -least : most) / 127);
}

/* Write the codes of a block's numbers; return how many are further than error from them. */
INLINE int codes_of(const int bits, const float *from, float scale, float low, float error,
                    uint32_t *codes) {
  float inverse = scale ? 1 / scale : 0, most = bits == 4 ? 15 : 127;
  int num_off = 0;
  for (int k = 0; k < length_of(bits); k++) {
    float again = from[k];
    if (bits < 16) {
      float level = (from[k] - low) * inverse + ROUNDER - ROUNDER, least = bits == 4 ? 0 : -127;
      level = level < least ? least : level;
      level = level > most ? most : level;
      again = level * scale + low;
      codes[k] = (uint32_t)(int32_t)level & (bits == 4 ? 15u : 255u);
    } else {
      uint32_t all_bits;
      memcpy(&all_bits, from + k, 4);
      if (bits == 16) all_bits = (all_bits + 0x7fffu + ((all_bits >> 16) & 1)) & 0xffff0000u;
      memcpy(&again, &all_bits, 4);
      codes[k] = all_bits >> (32 - bits);
    }
    num_off += !(fabsf(again - from[k]) <= error);
  }
  return num_off;
}

/* Write one output's codes of a block; return 0 where they are further than error from it. */
INLINE int encode_block(const int bits, const float *from, float error, int lane, uint8_t *block) {
  float scale = 1, low = 0, *numbers = (float *)block;
  uint32_t codes[BLOCK], *words = (uint32_t *)words_of(bits, block) + lane;
  if (bits < 16) {
    numbers_of(bits, from, &scale, &low);
    numbers[lane] = scale;
    if (bits == 4) numbers[PANEL + lane] = low;
  }
  if (codes_of(bits, from, scale, low, error, codes)) return 0;
  for (int g = 0; g < words_in(bits); g++) {
    uint32_t word = 0;
    for (int place = 0; place < 32 / bits; place++)
      word |= codes[g * (32 / bits) + place] << (place * bits);
    words[g * PANEL] = word;
  }
  return 1;
}

INLINE int encode(const int bits, const float *from, int outputs, int inputs, float error,
                  uint8_t *data) {
  int length = length_of(bits), blocks = inputs / length;
  for (int n = 0; n < outputs; n++)
    for (int b = 0; b < blocks; b++) {
      uint8_t *block = data + ((size_t)(n / PANEL) * blocks + b) * block_bytes(bits);
      if (!encode_block(bits, from + (size_t)n * inputs + b * length, error, n % PANEL, block))
        return 0;
    }
  return 1;
}

/*
Encode a matrix [outputs, inputs] of which no number may change by more than error; return how many
bytes data takes, or 0 where this form does not hold the matrix. Data is zeros before, or NULL.
*/
size_t fim_encode(const float *from, int32_t outputs, int32_t inputs, int32_t bits, float error,
                  uint8_t *data) {
  size_t blocks = inputs / length_of(bits), panels = (outputs + PANEL - 1) / PANEL;
  size_t bytes = panels * blocks * block_bytes(bits);
  if (!data) return bytes;
  int is_exact;
  switch (bits) {
    case 4: is_exact = encode(4, from, outputs, inputs, error, data); break;
    case 8: is_exact = encode(8, from, outputs, inputs, error, data); break;
    case 16: is_exact = encode(16, from, outputs, inputs, error, data); break;
    default: is_exact = encode(32, from, outputs, inputs, error, data);
  }
  return is_exact ? bytes : 0;
}
