/*
A forward pass of Llama-like models on the CPU, in float32.

Keys lie in panels of PANEL positions, [D, PANEL] each, so that scores of many positions are one
product; values lie as [T, D].

Source of the exponential: Cephes, expf.
*/

#include "workers.h"

enum { MOST_HEAD_DIM = 512, MOST_THREADS = 64 };

int32_t fim_panel(void) { return PANEL; }

static void norm(const float *from, const float *weight, int size, float eps, float *to) {
  V squares = {0};
  for (int i = 0; i < size; i += LANES) squares += load(from + i) * load(from + i);
  float scale = 1 / sqrtf(total(squares) / size + eps);
  for (int i = 0; i < size; i += LANES) store(to + i, load(from + i) * scale * load(weight + i));
}

static void norm_rows(Worker *worker, const float *weight, int rows) {
  Run *run = worker->run;
  size_t size = run->model->hidden;
  for (int r = worker->id; r < rows; r += worker->of)
    norm(run->hidden + r * size, weight, size, run->model->eps, run->normed + r * size);
  meet(worker);
}

INLINE V chosen(I is_first, V first, V second) {
  return (V)(((I)first & is_first) | ((I)second & ~is_first));
}

INLINE V exponential(V x) {
  V rounder = all(ROUNDER), least = all(-87.0f), most = all(88.0f);
  x = chosen(x > least, x, least);
  x = chosen(x < most, x, most);
  V whole = x * 1.44269504088896341f + rounder - rounder;
  V rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
  V sum = all(1.9875691500e-4f);
  sum = sum * rest + 1.3981999507e-3f;
  sum = sum * rest + 8.3334519073e-3f;
  sum = sum * rest + 4.1665795894e-2f;
  sum = sum * rest + 1.6666665459e-1f;
  sum = sum * rest + 5.0000001201e-1f;
  sum = sum * rest * rest + rest + 1.0f;
  return (V)((I)sum + (__builtin_convertvector(whole, I) << 23));
}

static void rotate(const float *from, const float *cosines, const float *sines, int half,
                   float *to) {
  for (int i = 0; i < half; i += LANES) {
    V first = load(from + i), second = load(from + half + i);
    V cosine = load(cosines + i), sine = load(sines + i);
    store(to + i, first * cosine - second * sine);
    store(to + half + i, second * cosine + first * sine);
  }
}

static size_t key_place(const Cache *cache, const Model *model, int layer, int row, int group) {
  size_t heads = ((size_t)layer * cache->rows + row) * model->groups + group;
  return heads * cache->capacity * model->head_dim;
}

/* Rotate queries in place; keep keys and values of one id. */
static void keep(const Run *run, int layer, Place place, float *joined) {
  const Model *model = run->model;
  const Cache *cache = run->cache;
  const Layer *weights = model->layer + layer;
  int dim = model->head_dim, half = dim / 2;
  const float *cosines = cache->cosines + (size_t)place.position * half;
  const float *sines = cache->sines + (size_t)place.position * half;
  float rotated[MOST_HEAD_DIM] ALIGNED;
  for (int head = 0; head < model->heads + model->groups; head++, joined += dim) {
    int is_query = head < model->heads;
    const float *weight = is_query ? weights->q_norm : weights->k_norm;
    if (weight) norm(joined, weight, dim, model->eps, joined);
    rotate(joined, cosines, sines, half, rotated);
    if (is_query) {
      memcpy(joined, rotated, dim * sizeof(float));
      continue;
    }
    float *keys = cache->keys + key_place(cache, model, layer, place.row, head - model->heads);
    keys += (size_t)(place.position / PANEL) * dim * PANEL + place.position % PANEL;
    for (int i = 0; i < dim; i++) keys[i * PANEL] = rotated[i];
  }
  for (int group = 0; group < model->groups; group++, joined += dim) {
    float *values = cache->values + key_place(cache, model, layer, place.row, group);
    memcpy(values + (size_t)place.position * dim, joined, dim * sizeof(float));
  }
}

/* Turn scores of the first positions into shares; later ones, up to end, get none. */
static void soften(float *scores, int seen, int end, float scale) {
  float most = scores[0], sum = 0;
  for (int i = 1; i < seen; i++) most = scores[i] > most ? scores[i] : most;
  for (int i = 0; i < seen; i += LANES)
    store(scores + i, exponential((load(scores + i) - most) * scale));
  for (int i = 0; i < seen; i++) sum += scores[i];
  sum = 1 / sum;
  for (int i = 0; i < seen; i++) scores[i] *= sum;
  for (int i = seen; i < end; i++) scores[i] = 0;
}

/* Attend from some queries of a part, which share keys: the heads of a group, id by id. */
static void attend_some(Worker *worker, int layer, const Part *part, int id, int group, int first,
                        int rows) {
  Run *run = worker->run;
  const Model *model = run->model;
  int dim = model->head_dim, per = model->heads / model->groups, most = run->most_keys;
  size_t width = (size_t)(model->heads + 2 * model->groups) * dim;
  size_t place = key_place(run->cache, model, layer, part->row, group);
  const float *keys = run->cache->keys + place, *values = run->cache->values + place;
  float queries[TALL * MOST_HEAD_DIM] ALIGNED, found[TALL * MOST_HEAD_DIM] ALIGNED;
  int end = part->start + (first + rows - 1) / per + 1;
  for (int r = 0; r < rows; r++)
    memcpy(queries + r * dim,
           run->joined + (id + (first + r) / per) * width + (group * per + (first + r) % per) * dim,
           dim * sizeof(float));
  for (int r = 0; r < rows; r++)
    memset(worker->scores + r * most, 0, (size_t)(end + PANEL - 1) / PANEL * PANEL * sizeof(float));
  for (int at = 0; at < end; at += PANEL)
    short_tile(rows, dim, queries, dim, 1, keys + (size_t)at * dim, PANEL, worker->scores + at,
               most);
  for (int r = 0; r < rows; r++)
    soften(worker->scores + r * most, part->start + (first + r) / per + 1, end,
           1 / sqrtf((float)dim));
  memset(found, 0, rows * dim * sizeof(float));
  for (int i = 0; i < dim; i += PANEL)
    short_tile(rows, end, worker->scores, most, 1, values + i, dim, found + i, dim);
  for (int r = 0; r < rows; r++)
    memcpy(run->attended + ((size_t)(id + (first + r) / per) * model->heads + group * per +
                            (first + r) % per) * dim,
           found + r * dim, dim * sizeof(float));
}

static void attend(Worker *worker, int layer) {
  Run *run = worker->run;
  int per = run->model->heads / run->model->groups, id = 0, unit = 0;
  for (const Part *part = run->parts; part < run->parts + run->num_parts; id += part++->count)
    for (int first = 0; first < part->count * per; first += TALL)
      for (int group = 0; group < run->model->groups; group++) {
        int left = part->count * per - first;
        if (unit++ % worker->of == worker->id)
          attend_some(worker, layer, part, id, group, first, left < TALL ? left : TALL);
      }
  meet(worker);
}

static void activate(Worker *worker, int rows) {
  Run *run = worker->run;
  size_t inner = run->model->inner;
  for (int r = worker->id; r < rows; r += worker->of)
    for (size_t i = 0; i < inner; i += LANES) {
      float *gate = run->both + r * 2 * inner + i, *to = run->inner + r * inner + i;
      store(to, load(gate) / (1.0f + exponential(-load(gate))) * load(gate + inner));
    }
  meet(worker);
}

/* Keep only what the wanted logits need; one thread does it, in place. */
static int keep_wanted(Worker *worker) {
  Run *run = worker->run;
  size_t hidden = run->model->hidden, width = (size_t)run->model->heads * run->model->head_dim;
  if (worker->id == 0)
    for (int i = 0; i < run->num_wanted; i++) {
      memmove(run->hidden + i * hidden, run->hidden + run->wanted[i] * hidden,
              hidden * sizeof(float));
      memmove(run->attended + i * width, run->attended + run->wanted[i] * width,
              width * sizeof(float));
    }
  meet(worker);
  return run->num_wanted;
}

static void pass(Worker *worker) {
  Run *run = worker->run;
  const Model *model = run->model;
  size_t hidden = model->hidden;
  size_t width = (size_t)(model->heads + 2 * model->groups) * model->head_dim;
  int rows = run->num_ids;
  for (int r = worker->id; r < rows; r += worker->of)
    memcpy(run->hidden + r * hidden, model->embeddings + run->ids[r] * hidden,
           hidden * sizeof(float));
  meet(worker);
  for (int number = 0; number < model->layers; number++) {
    const Layer *layer = model->layer + number;
    norm_rows(worker, layer->norm_in, rows);
    project(worker, layer->linears + QUERY, 3, rows, run->normed, run->joined, width, 0);
    for (int r = worker->id; r < rows; r += worker->of)
      keep(run, number, run->places[r], run->joined + r * width);
    meet(worker);
    attend(worker, number);
    if (number == model->layers - 1) rows = keep_wanted(worker);
    project(worker, layer->linears + OUT, 1, rows, run->attended, run->hidden, hidden, 1);
    norm_rows(worker, layer->norm_mlp, rows);
    project(worker, layer->linears + GATE, 2, rows, run->normed, run->both, 2 * model->inner, 0);
    activate(worker, rows);
    project(worker, layer->linears + DOWN, 1, rows, run->inner, run->hidden, hidden, 1);
  }
  norm_rows(worker, model->norm, rows);
  project(worker, &model->head, 1, rows, run->normed, run->logits, model->vocabulary, 0);
}

static void *work(void *pointer) {
  Worker *worker = pointer;
  while (!(worker->of = atomic_load(&worker->run->threads))) sched_yield();
  pass(worker);
  return NULL;
}

static size_t whole_lines(size_t floats) { return (floats + 15) / 16 * 16; }

static size_t largest(size_t a, size_t b) { return a > b ? a : b; }

/* Share room among the buffers of a run; return how many floats they take. */
static size_t lay_out(Run *run, float *room) {
  const Model *model = run->model;
  size_t heads = (size_t)model->heads * model->head_dim, inner = model->inner;
  size_t width = heads + 2 * (size_t)model->groups * model->head_dim;
  float **buffers[] = {&run->hidden, &run->normed, &run->joined, &run->attended,
                       &run->both,   &run->inner,  &run->low,    &run->rest};
  size_t widths[] = {model->hidden, model->hidden, width, heads, 2 * inner, inner, model->low, 2};
  size_t at = 0;
  for (int i = 0; i < 8; i++) {
    *buffers[i] = room + at;
    at += whole_lines(run->num_ids * widths[i]);
  }
  return at;
}

/* Share room among the buffers of a thread; return how many floats they take. */
static size_t lay_out_worker(const Run *run, Worker *worker, float *room) {
  const Model *model = run->model;
  size_t heads = (size_t)model->heads * model->head_dim;
  size_t inputs = largest(largest(model->hidden, model->inner), largest(heads, model->low));
  worker->sums = room;
  worker->scores = worker->sums + whole_lines(FEW * inputs / BLOCK);
  worker->packed = worker->scores + (size_t)TALL * run->most_keys;
  worker->packed_low = worker->packed + CHUNK * inputs;
  return worker->packed_low + whole_lines(CHUNK * model->low) - room;
}

static Run planned(const Model *model, const Part *parts, int num_parts) {
  Run run = {.model = model, .parts = parts, .num_parts = num_parts};
  int most = 0;
  for (const Part *part = parts; part < parts + num_parts; part++) {
    run.num_ids += part->count;
    if (part->start + part->count > most) most = part->start + part->count;
  }
  run.most_keys = (most + PANEL - 1) / PANEL * PANEL;
  return run;
}

/* Return how many floats a pass needs as room. */
size_t fim_room(const Model *model, const Part *parts, int32_t num_parts, int32_t num_threads) {
  Run run = planned(model, parts, num_parts);
  Worker worker;
  return lay_out(&run, NULL) + num_threads * lay_out_worker(&run, &worker, NULL);
}

/*
Read ids of some parts, one after the other, and write the logits [num_wanted, V] after the wanted
ones (rising numbers of ids). The room has as many floats as fim_room says.
*/
void fim_read(const Model *model, const Cache *cache, const Part *parts, int32_t num_parts,
              const int64_t *ids, const int64_t *wanted, int32_t num_wanted, float *logits,
              float *room, int32_t num_threads) {
  Run run = planned(model, parts, num_parts);
  run.cache = cache, run.ids = ids, run.wanted = wanted, run.num_wanted = num_wanted;
  run.logits = logits;
  room += lay_out(&run, room);
  run.places = (Place *)run.rest;
  for (int part = 0, id = 0; part < num_parts; part++)
    for (int i = 0; i < parts[part].count; i++, id++)
      run.places[id] = (Place){parts[part].row, parts[part].start + i};
  pthread_t threads[MOST_THREADS];
  Worker workers[MOST_THREADS];
  int started = 0, most = num_threads < MOST_THREADS ? num_threads : MOST_THREADS;
  for (int i = 0; i < most; i++) {
    workers[i] = (Worker){.run = &run, .id = started};
    room += lay_out_worker(&run, workers + i, room);
    if (i == 0 || !pthread_create(threads + started, NULL, work, workers + i)) started++;
  }
  atomic_store(&run.threads, started);
  work(workers);
  for (int i = 1; i < started; i++) pthread_join(threads[i], NULL);
}
