/*
Matrices in the smallest form that holds them exactly, and products with them in float32.

Forms are codes of 4 or 8 bits with numbers for each block of 32 inputs (GGUF's Q4_1 and Q8_0), the
upper half of float32 (bfloat16), and float32. All are multiplied as float32: what a small form
saves is the reading of memory.

A matrix [N, K] lies in panels of PANEL outputs. A panel is a run of blocks of 32 inputs; a block
holds its scales (4 and 8 bits) and its lows (4 bits), one for each output, and then words of 32
bits: word g of an output holds the codes of the inputs g * 32 / bits and behind.

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

static size_t block_bytes(int bits) {
  size_t numbers = bits == 4 ? 2 : bits == 8 ? 1 : 0;
  return PANEL * 4 * (numbers + bits);
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
  size_t ldx = (size_t)blocks * BLOCK;
  for (int b = 0; b < blocks; b++, block += block_bytes(bits), x += BLOCK) {
    const uint8_t *words = words_of(bits, block);
    V found[FEW][2];
    for (int r = 0; r < rows; r++) found[r][0] = found[r][1] = (V){0};
    for (int g = 0; g < bits; g++, words += PANEL * 4) {
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

/* Write a block as float32 [BLOCK, PANEL]. */
INLINE void unpack(const int bits, const uint8_t *block, float *to) {
  const uint8_t *words = words_of(bits, block);
  for (int g = 0; g < bits; g++, words += PANEL * 4) {
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
    case 16: unpack(16, block, to); break;
    default: unpack(32, block, to);
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
  int blocks = matrix->inputs / BLOCK, bits = matrix->bits;
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
    for (int i = 0; i < count; i++, block += block_bytes(bits))
      unpack_block(bits, block, unpacked + i * BLOCK * PANEL);
    for (int row = 0; row < rows; row += TALL)
      short_tile(rows - row < TALL ? rows - row : TALL, count * BLOCK,
                 x + (size_t)row * matrix->inputs + b * BLOCK * TALL, 1, TALL, unpacked, PANEL, out + row * PANEL,
                 PANEL);
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

static uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}

static float rounded_to_16(float value) {
  uint32_t bits = bits_of(value);
  bits = (bits + 0x7fffu + ((bits >> 16) & 1)) & 0xffff0000u;
  memcpy(&value, &bits, 4);
  return value;
}

/* Return the scale and the low that BLOCK numbers would have. */
static void numbers_of(int bits, const float *from, float *scale, float *low) {
  float least = from[0], most = from[0];
  for (int k = 1; k < BLOCK; k++) {
    if (from[k] < least) least = from[k];
    if (from[k] > most) most = from[k];
  }
  *low = bits == 4 ? half_precision(least) : 0;
  if (bits == 4) *scale = half_precision((most - *low) / 15);
  else *scale = half_precision((-least > most ? -least : most) / 127);
}

/* Write one output's codes of a block; return 0 where they are further than error from it. */
static int encode_block(int bits, const float *from, float error, int lane, uint8_t *block) {
  float scale = 1, low = 0, *numbers = (float *)block;
  uint32_t *words = (uint32_t *)words_of(bits, block) + lane;
  int places = 32 / bits, most = bits == 4 ? 15 : 127, least = bits == 4 ? 0 : -127;
  if (bits < 16) {
    numbers_of(bits, from, &scale, &low);
    numbers[lane] = scale;
    if (bits == 4) numbers[PANEL + lane] = low;
  }
  for (int k = 0; k < BLOCK; k++) {
    uint32_t *word = words + k / places * PANEL, bits_here;
    float again = from[k];
    if (bits < 16) {
      float nearest = scale ? rintf((from[k] - low) / scale) : 0;
      int level = nearest < least ? least : nearest > most ? most : (int)nearest;
      again = level * scale + low;
      bits_here = (uint32_t)level & (bits == 4 ? 15u : 255u);
    } else if (bits == 16) {
      again = rounded_to_16(from[k]);
      bits_here = bits_of(again) >> 16;
    } else {
      bits_here = bits_of(again);
    }
    if (!(fabsf(again - from[k]) <= error)) return 0;
    if (k % places == 0) *word = 0;
    *word |= bits_here << (k % places * bits);
  }
  return 1;
}

/*
Encode a matrix [outputs, inputs] of which no number may change by more than error; return how many
bytes data takes (it may be NULL), or 0 where this form does not hold the matrix.
*/
size_t fim_encode(const float *from, int32_t outputs, int32_t inputs, int32_t bits, float error,
                  uint8_t *data) {
  int blocks = inputs / BLOCK, panels = (outputs + PANEL - 1) / PANEL;
  size_t size = block_bytes(bits), bytes = (size_t)panels * blocks * size;
  if (!data) return bytes;
  memset(data, 0, bytes);
  for (int n = 0; n < outputs; n++)
    for (int b = 0; b < blocks; b++) {
      uint8_t *block = data + ((size_t)(n / PANEL) * blocks + b) * size;
      if (!encode_block(bits, from + (size_t)n * inputs + b * BLOCK, error, n % PANEL, block))
        return 0;
    }
  return bytes;
}
