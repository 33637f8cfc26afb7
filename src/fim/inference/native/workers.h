/*
A model, the state of one pass through it, and linear layers shared among threads.

All threads do the same steps, each its share, and meet between steps. Every number is computed by
one thread in one order, so results do not depend on how many threads there are.
*/

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "matrices.h"

enum { CHUNK = 96, MOST_TASKS = 3, SPINS = 4000 };

typedef struct {
  Matrix weight, down, up;
  const float *bias;
} Linear;

enum { QUERY, KEY, VALUE, OUT, GATE, UP, DOWN, LINEARS };

typedef struct {
  const float *norm_in, *norm_mlp, *q_norm, *k_norm;
  Linear linears[LINEARS];
} Layer;

typedef struct {
  int32_t layers, hidden, heads, groups, head_dim, inner, vocabulary, low;
  float eps;
  const float *embeddings, *norm;
  Linear head;
  const Layer *layer;
} Model;

typedef struct {
  int32_t row, start, count;
} Part;

typedef struct {
  int32_t row, position;
} Place;

typedef struct {
  int32_t rows, capacity;
  float *keys, *values;
  const float *cosines, *sines;
} Cache;

typedef struct {
  const Model *model;
  const Cache *cache;
  const Part *parts;
  const int64_t *ids, *wanted;
  float *logits;
  int32_t num_parts, num_ids, num_wanted, most_keys;
  float *hidden, *normed, *joined, *attended, *both, *inner, *low, *rest;
  Place *places;
  atomic_int arrived, threads;
} Run;

typedef struct {
  Run *run;
  int32_t id, of, steps;
  float *sums, *scores, *packed, *packed_low;
} Worker;

typedef struct {
  const Matrix *weight, *up;
  const float *bias, *low;
  float *result;
  size_t ldy;
} Task;

/* Wait until every thread has done this step. */
static void meet(Worker *worker) {
  atomic_int *arrived = &worker->run->arrived;
  int all_of_them = ++worker->steps * worker->of;
  atomic_fetch_add(arrived, 1);
  for (int spins = 0; atomic_load_explicit(arrived, memory_order_acquire) < all_of_them; spins++)
    if (spins > SPINS) sched_yield();
}

static int panels_of(const Matrix *matrix) { return (matrix->outputs + PANEL - 1) / PANEL; }

static void copy_panel(const Task *task, int panel, int row, int rows, const float *out,
                       int is_sum) {
  float *to = task->result + row * task->ldy + panel * PANEL;
  int left = task->weight->outputs - panel * PANEL, width = left < PANEL ? left : PANEL;
  for (int r = 0; r < rows; r++, out += PANEL, to += task->ldy)
    if (is_sum)
      for (int i = 0; i < width; i++) to[i] += out[i];
    else
      memcpy(to, out, width * sizeof(float));
}

/* Return some rows as add_panel takes them. */
static const float *prepared(int rows, int inputs, const float *x, float *sums, float *packed) {
  if (rows > FEW) {
    interleave(rows, inputs, x, packed);
    return packed;
  }
  if (sums) sum_blocks(rows, inputs, x, sums);
  return x;
}

/* Multiply x [rows, K] by several matrices; results are written or added. */
static void multiply(Worker *worker, const Task *tasks, int count, int rows, const float *x,
                     int is_sum) {
  int panels = 0, inputs = tasks->weight->inputs;
  for (int i = 0; i < count; i++) panels += panels_of(tasks[i].weight);
  int first = (int64_t)panels * worker->id / worker->of;
  int end = (int64_t)panels * (worker->id + 1) / worker->of;
  float out[CHUNK * PANEL] ALIGNED;
  for (int row = 0; row < rows; row += CHUNK) {
    int some = rows - row < CHUNK ? rows - row : CHUNK, before = 0;
    const float *here = prepared(some, inputs, x + (size_t)row * inputs, worker->sums,
                                 worker->packed);
    for (const Task *task = tasks; task < tasks + count; before += panels_of(task++->weight)) {
      int from = first > before ? first - before : 0, to = end - before;
      if (to > panels_of(task->weight)) to = panels_of(task->weight);
      const float *low = NULL;
      if (task->up && from < to)
        low = prepared(some, task->up->inputs, task->low + (size_t)row * task->up->inputs, NULL,
                       worker->packed_low);
      for (int panel = from; panel < to; panel++) {
        for (int r = 0; r < some; r++)
          for (int half = 0; half < 2; half++)
            store(out + r * PANEL + half * LANES,
                  task->bias ? load(task->bias + panel * PANEL + half * LANES) : (V){0});
        add_panel(task->weight, panel, some, here, worker->sums, out);
        if (low) add_panel(task->up, panel, some, low, NULL, out);
        copy_panel(task, panel, row, some, out, is_sum);
      }
    }
  }
}

/*
Let x go through several linear layers, their adapters included, side by side into results. What an
adapter's first matrix returns lies in the room of low as [rows, R], one adapter after the other.
*/
static void project(Worker *worker, const Linear *linears, int count, int rows, const float *x,
                    float *results, size_t ldy, int is_sum) {
  float *low = worker->run->low;
  Task tasks[MOST_TASKS], downs[MOST_TASKS];
  int num_downs = 0;
  for (const Linear *linear = linears; linear < linears + count; linear++) {
    const Matrix *up = linear->down.data ? &linear->up : NULL;
    tasks[linear - linears] = (Task){&linear->weight, up, linear->bias, low, results, ldy};
    results += linear->weight.outputs;
    if (!up) continue;
    downs[num_downs++] = (Task){.weight = &linear->down, .result = low, .ldy = up->inputs};
    low += (size_t)rows * up->inputs;
  }
  if (num_downs) {
    multiply(worker, downs, num_downs, rows, x, 0);
    meet(worker);
  }
  multiply(worker, tasks, count, rows, x, is_sum);
  meet(worker);
}
