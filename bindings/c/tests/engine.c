/* The parts of the C API other than text from a prompt: engines, steps, batches, states,
 * governor, store, delegates. `cargo xtask c` runs it as it runs `api.c`. Arguments: the
 * model `hello`, a file that is not a model, and the plug-in `softnpu`. */
#include "ondol.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
            fprintf(stderr, "last error: %s\n", error.message);               \
            exit(1);                                                          \
        }                                                                     \
    } while (0)
#define IS(call, wanted) CHECK((call) == ONDOL_STATUS_##wanted)

static ondol_error error = {.struct_size = sizeof error};

/* `QUESTION` of `api.c`, as ids. */
static uint32_t prompt[64];
static size_t prompt_count;
static size_t vocabulary;

static ondol_generate_options greedy(uint32_t max_tokens)
{
    ondol_generate_options options = {.struct_size = sizeof options};
    IS(ondol_generate_defaults(&options, &error), OK);
    options.temperature = 0;
    options.max_tokens = max_tokens;
    return options;
}

static ondol_session_options small(void)
{
    ondol_session_options options = {.struct_size = sizeof options};
    IS(ondol_session_defaults(&options, &error), OK);
    options.threads = 2;
    options.context = 256;
    options.prefill_chunk = 8;
    options.batch = 2;
    return options;
}

static float *logits_of(const ondol_session *session)
{
    size_t count = 0;
    float *logits = malloc(vocabulary * sizeof *logits);
    CHECK(logits);
    IS(ondol_session_logits(session, logits, vocabulary, &count, &error), OK);
    CHECK(count == vocabulary);
    return logits;
}

static uint32_t likeliest(const float *logits)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocabulary; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static void null_handles_are_refused(void)
{
    IS(ondol_engine_new(NULL, NULL, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_engine_session(NULL, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_engine_batch(NULL, 1, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_engine_get_info(NULL, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_engine_offload_stats(NULL, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_session_prefill(NULL, prompt, 1, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_session_fork(NULL, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_session_save(NULL, "x", &error), INVALID_ARGUMENT);
    IS(ondol_generation_new(NULL, prompt, 1, NULL, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_generation_step(NULL, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_batch_decode(NULL, NULL, NULL, 0, &error), INVALID_ARGUMENT);
    IS(ondol_governor_set_thermal(NULL, ONDOL_THERMAL_FAIR, &error), INVALID_ARGUMENT);
    IS(ondol_store_new(NULL, NULL, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_store_open(NULL, "x", NULL, NULL, NULL, NULL, NULL, &error), INVALID_ARGUMENT);
    IS(ondol_offload_new(NULL, "x", NULL, NULL, NULL, &error), INVALID_ARGUMENT);
    ondol_engine_free(NULL);
    ondol_batch_free(NULL);
    ondol_generation_free(NULL);
    ondol_governor_free(NULL);
    ondol_governor_pause(NULL);
    ondol_governor_resume(NULL);
    ondol_store_free(NULL);
    ondol_offload_free(NULL);
}

static void a_model_tells_of_itself(const ondol_model *model)
{
    ondol_model_info info = {.struct_size = sizeof info};
    char text[256];
    uint32_t ids[64];
    size_t count, length = 1;
    IS(ondol_model_get_info(model, &info, &error), OK);
    CHECK(info.struct_size == sizeof info && strlen(info.name) > 0 && strcmp(info.architecture, "llama") == 0);
    CHECK(info.vocabulary > 100 && info.trained_context >= 256 && info.file_bytes > 100000 && info.embedding_width > 0);
    CHECK(info.is_packed == 0 && info.eos != ONDOL_NO_TOKEN && ondol_model_is_end(model, info.eos) == 1);
    vocabulary = info.vocabulary;
    IS(ondol_model_warnings(model, text, sizeof text, &length, &error), OK);
    CHECK((length == 0) == (info.warnings == 0));
    IS(ondol_model_encode(model, "안녕하세요, ondol!", strlen("안녕하세요, ondol!"), ids, 64, &count, &error), OK);
    IS(ondol_model_decode(model, ids, count, text, 4, &length, &error), BUFFER_TOO_SMALL);
    IS(ondol_model_decode(model, ids, count, text, sizeof text, &length, &error), OK);
    CHECK(strcmp(text, "안녕하세요, ondol!") == 0 && length == strlen(text));
    CHECK(ondol_model_is_end(model, ids[0]) == 0);
}

/* A generation loop in the caller's code gives the same tokens as a generation. */
static void logits_are_there_to_choose_from(const ondol_engine *engine)
{
    ondol_session *session = NULL;
    ondol_candidate top[3];
    uint32_t ids[256];
    size_t count, left;
    float logprob;
    IS(ondol_engine_session(engine, &session, &error), OK);
    IS(ondol_session_prefill(session, prompt, prompt_count, NULL, &error), OK);
    float *logits = logits_of(session);
    uint32_t best = likeliest(logits);
    IS(ondol_session_logprobs(session, best, &logprob, top, 3, &error), OK);
    CHECK(top[0].id == best && top[0].logprob == logprob && top[1].logprob <= logprob);
    double sum = 0;
    for (size_t i = 0; i < vocabulary; i++)
        sum += exp((double)(logits[i] - logits[best]));
    CHECK(fabs(logprob + log(sum)) < 1e-4);
    IS(ondol_session_logprobs(session, (uint32_t)vocabulary, &logprob, NULL, 0, &error), BAD_TOKEN);
    IS(ondol_session_decode(session, best, &error), OK);
    IS(ondol_session_tokens(session, ids, 256, &count, &error), OK);
    CHECK(count == prompt_count + 1 && ids[prompt_count] == best);
    float *after = logits_of(session);
    IS(ondol_session_rewind(session, prompt_count, &left, &error), OK);
    CHECK(left == prompt_count);
    IS(ondol_session_decode(session, best, &error), OK);
    float *again = logits_of(session);
    CHECK(memcmp(after, again, vocabulary * sizeof *after) == 0);
    float vector = 0;
    IS(ondol_session_prefill_vectors(session, &vector, 1, NULL, &error), INVALID_ARGUMENT);
    free(logits);
    free(after);
    free(again);
    ondol_session_free(session);
}

static void sessions_are_forked_and_saved(const ondol_engine *engine, const char *no_model)
{
    ondol_session *session = NULL, *fork = NULL, *restored = NULL;
    ondol_cancel *cancel = ondol_cancel_new();
    char path[] = P_tmpdir "/ondol-c-XXXXXX";
    int file = mkstemp(path);
    CHECK(file >= 0 && close(file) == 0);
    IS(ondol_engine_session(engine, &session, &error), OK);
    ondol_cancel_request(cancel);
    IS(ondol_session_prefill(session, prompt, prompt_count, cancel, &error), CANCELLED);
    IS(ondol_session_prefill(session, prompt, prompt_count, NULL, &error), OK);
    IS(ondol_session_fork(session, &fork, &error), OK);
    IS(ondol_session_save(session, path, &error), OK);
    IS(ondol_engine_session(engine, &restored, &error), OK);
    IS(ondol_session_restore(restored, no_model, &error), SNAPSHOT);
    IS(ondol_session_restore(restored, path, &error), OK);
    IS(ondol_session_save(session, "no/such/folder/file", &error), SNAPSHOT);
    ondol_session *three[3] = {session, fork, restored};
    float *logits[3];
    for (int i = 0; i < 3; i++) {
        IS(ondol_session_decode(three[i], prompt[0], &error), OK);
        logits[i] = logits_of(three[i]);
    }
    for (int i = 1; i < 3; i++)
        CHECK(memcmp(logits[0], logits[i], vocabulary * sizeof(float)) == 0);
    for (int i = 0; i < 3; i++) {
        IS(ondol_session_release_unused(three[i], &error), OK);
        ondol_session_free(three[i]);
        free(logits[i]);
    }
    ondol_cancel_free(cancel);
    CHECK(unlink(path) == 0);
}

static void a_generation_tells_its_steps(const ondol_engine *engine)
{
    ondol_session *session = NULL;
    ondol_generation *generation = NULL;
    ondol_generate_options options = greedy(12);
    ondol_event event = {.struct_size = sizeof event};
    ondol_generated stats = {.struct_size = sizeof stats};
    uint32_t ids[16], said[16];
    size_t tokens = 0, prompts = 0, count = 0;
    options.top_logprobs = 2;
    IS(ondol_engine_session(engine, &session, &error), OK);
    IS(ondol_generation_new(session, prompt, 0, &options, &generation, &error), EMPTY_PROMPT);
    IS(ondol_generation_new(session, prompt, prompt_count, &options, &generation, &error), OK);
    IS(ondol_session_clear(session, &error), BUSY);
    do {
        IS(ondol_generation_step(generation, &event, &error), OK);
        if (event.kind == ONDOL_EVENT_KIND_PROMPT) {
            CHECK(event.prompt_total == prompt_count && event.prompt_done <= prompt_count && tokens == 0);
            prompts++;
        }
        if (event.kind == ONDOL_EVENT_KIND_TOKEN) {
            CHECK(event.top_count == 2 && event.top[0].id == event.token && event.top[0].logprob == event.logprob);
            CHECK(event.logprob <= 0 && strlen(event.text) == event.text_length);
            ids[tokens++] = event.token;
        }
    } while (event.kind != ONDOL_EVENT_KIND_END);
    CHECK(prompts == (prompt_count + 7) / 8);
    CHECK(event.finish == ONDOL_FINISH_MAX_TOKENS || event.finish == ONDOL_FINISH_END);
    IS(ondol_generation_stats(generation, &stats, &error), OK);
    CHECK(stats.generated_tokens == tokens && stats.prompt_tokens == prompt_count && stats.finish == event.finish);
    IS(ondol_generation_tokens(generation, said, 16, &count, &error), OK);
    CHECK(count == tokens && memcmp(ids, said, count * sizeof *ids) == 0);
    ondol_generation_free(generation);
    IS(ondol_session_answer_ids(session, said, 16, &count, &error), OK);
    CHECK(count == tokens && memcmp(ids, said, count * sizeof *ids) == 0);

    /* A cancelled generation ends; and a generation outlives its session's handle. */
    options.cancel = ondol_cancel_new();
    ondol_cancel_request(options.cancel);
    IS(ondol_generation_new(session, prompt, prompt_count, &options, &generation, &error), OK);
    ondol_session_free(session);
    IS(ondol_generation_step(generation, &event, &error), OK);
    CHECK(event.kind == ONDOL_EVENT_KIND_END && event.finish == ONDOL_FINISH_CANCELLED);
    ondol_generation_free(generation);
    ondol_cancel_free((ondol_cancel *)options.cancel);
}

static void a_batch_decodes_as_each_alone(const ondol_engine *engine, const ondol_model *model)
{
    ondol_session *sessions[3] = {NULL}, *stranger = NULL;
    ondol_batch *batch = NULL;
    size_t count;
    float *alone[2], *row = malloc(vocabulary * sizeof *row);
    uint32_t ids[3] = {prompt[1], prompt[2], prompt[3]};
    ondol_session_options options = small();
    for (int i = 0; i < 3; i++) {
        IS(ondol_engine_session(engine, &sessions[i], &error), OK);
        IS(ondol_session_prefill(sessions[i], prompt, 5 + (size_t)i, NULL, &error), OK);
    }
    for (int i = 0; i < 2; i++) {
        IS(ondol_session_decode(sessions[i], ids[i], &error), OK);
        alone[i] = logits_of(sessions[i]);
        IS(ondol_session_rewind(sessions[i], 5 + (size_t)i, NULL, &error), OK);
    }
    IS(ondol_engine_batch(engine, 99, &batch, &error), OK);
    const ondol_session *const *all = (const ondol_session *const *)sessions;
    IS(ondol_batch_decode(batch, all, ids, 2, &error), OK);
    for (size_t i = 0; i < 2; i++) {
        IS(ondol_batch_logits(batch, i, row, vocabulary, &count, &error), OK);
        CHECK(count == vocabulary && memcmp(row, alone[i], count * sizeof *row) == 0);
        free(alone[i]);
    }
    IS(ondol_batch_logits(batch, 1000, row, vocabulary, &count, &error), INVALID_ARGUMENT);
    const ondol_session *twice[2] = {sessions[0], sessions[0]};
    IS(ondol_batch_decode(batch, twice, ids, 2, &error), BUSY);
    IS(ondol_session_new(model, &options, &stranger, &error), OK);
    const ondol_session *strange[1] = {stranger};
    IS(ondol_batch_decode(batch, strange, ids, 1, &error), OTHER_OWNER);
    ondol_session_free(stranger);
    for (int i = 0; i < 3; i++)
        ondol_session_free(sessions[i]);
    ondol_batch_free(batch);
    free(row);
}

static void *resume_later(void *governor)
{
    usleep(50000);
    ondol_governor_resume(governor);
    return NULL;
}

static void the_governor_is_heard(const ondol_model *model)
{
    ondol_governor *governor = ondol_governor_new();
    ondol_session_options options = small();
    ondol_session *session = NULL, *refused = NULL;
    pthread_t other;
    options.governor = governor;
    options.affinity = ONDOL_AFFINITY_BIG_CORES;
    IS(ondol_session_new(model, &options, &session, &error), OK);
    IS(ondol_governor_set_thermal(governor, ONDOL_THERMAL_SERIOUS, &error), OK);
    CHECK(ondol_governor_thermal(governor) == ONDOL_THERMAL_SERIOUS);
    IS(ondol_governor_set_thermal(governor, 4, &error), INVALID_ARGUMENT);
    CHECK(ondol_thermal_from_android(2) == ONDOL_THERMAL_FAIR && ondol_thermal_from_apple(3) == ONDOL_THERMAL_CRITICAL);
    IS(ondol_governor_set_memory_pressure(governor, ONDOL_PRESSURE_CRITICAL, &error), OK);
    CHECK(ondol_governor_memory_pressure(governor) == ONDOL_PRESSURE_CRITICAL);
    IS(ondol_session_new(model, &options, &refused, &error), MEMORY_PRESSURE);
    IS(ondol_governor_set_memory_pressure(governor, -1, &error), INVALID_ARGUMENT);
    ondol_governor_pause(governor);
    CHECK(ondol_governor_is_paused(governor) == 1);
    CHECK(pthread_create(&other, NULL, resume_later, governor) == 0);
    IS(ondol_session_prefill(session, prompt, prompt_count, NULL, &error), OK);
    CHECK(pthread_join(other, NULL) == 0 && ondol_governor_is_paused(governor) == 0);
    ondol_governor_free(governor); /* the session keeps what it needs */
    ondol_session_free(session);
    options = small();
    options.affinity = 7;
    IS(ondol_session_new(model, &options, &refused, &error), INVALID_ARGUMENT);
    options = small();
    options.screen_margin = -1;
    options.drafts = 0;
    IS(ondol_session_new(model, &options, &session, &error), OK); /* `hello` has no screen */
    ondol_session_free(session);
}

static void an_engine_tells_of_itself(const ondol_engine *engine, const ondol_model *model)
{
    ondol_engine_info info = {.struct_size = sizeof info};
    ondol_memory memory = {.struct_size = sizeof memory}, planned = memory;
    ondol_offload_stats stats = {.struct_size = sizeof stats};
    ondol_session_options options = small();
    ondol_engine *same = NULL;
    ondol_session *session = NULL;
    IS(ondol_engine_get_info(engine, &info, &error), OK);
    CHECK(info.threads == 2 && info.context == 256 && strlen(info.kernels) > 3);
    IS(ondol_engine_memory(engine, &memory, &error), OK);
    IS(ondol_model_memory(model, &options, &planned, &error), OK);
    CHECK(memcmp(&memory, &planned, sizeof memory) == 0 && info.memory_bytes == memory.total);
    CHECK(memory.further_session > 0 && memory.further_session < memory.total);
    IS(ondol_engine_offload_stats(engine, &stats, &error), INVALID_ARGUMENT);
    IS(ondol_engine_session(engine, &session, &error), OK);
    IS(ondol_session_engine(session, &same, &error), OK);
    IS(ondol_engine_release_unused(same, &error), OK);
    ondol_engine_free(same);
    ondol_session_free(session);
}

static void hear(void *user, const ondol_store_event *event)
{
    *(int *)user += event->kind == ONDOL_STORE_EVENT_KIND_PACKING;
}

static void see(void *user, const ondol_copy *copy)
{
    CHECK(copy->state == ONDOL_COPY_STATE_CURRENT && copy->source && copy->bytes > 100000 && copy->used_s > 0);
    ++*(int *)user;
}

static void a_store_keeps_packed_copies(const char *hello)
{
    char folder[] = P_tmpdir "/ondol-c-store-XXXXXX", reason[ONDOL_MESSAGE_BYTES] = {0};
    ondol_store_options options = {.struct_size = sizeof options};
    ondol_store *store = NULL;
    ondol_model *model = NULL;
    ondol_model_info info = {.struct_size = sizeof info};
    ondol_opened opened = {.struct_size = sizeof opened};
    ondol_pruned pruned = {.struct_size = sizeof pruned};
    int packings = 0, copies = 0;
    uint64_t freed = 0;
    CHECK(mkdtemp(folder));
    IS(ondol_store_defaults(&options, &error), OK);
    IS(ondol_store_new(folder, &options, &store, &error), OK);
    IS(ondol_store_open(store, "no/such/file.gguf", NULL, hear, &packings, &model, &opened, &error), IO);
    IS(ondol_store_open(store, hello, NULL, hear, &packings, &model, &opened, &error), OK);
    memcpy(reason, opened.reason, sizeof reason);
    CHECK(reason[0] == 0 && packings == 1 && opened.from_copy == 1);
    IS(ondol_model_get_info(model, &info, &error), OK);
    CHECK(info.is_packed == 1);
    ondol_model_free(model);
    IS(ondol_store_list(store, see, &copies, &error), OK);
    CHECK(copies == 1);
    IS(ondol_store_prune(store, NULL, NULL, NULL, &pruned, &error), OK);
    CHECK(pruned.removed == 0 && pruned.kept == 0);
    IS(ondol_store_remove(store, hello, NULL, &freed, &error), OK);
    CHECK(freed > 100000);
    IS(ondol_store_remove(store, hello, NULL, &freed, &error), OK);
    CHECK(freed == 0);
    ondol_store_free(store);
    /* A copy that alone exceeds the limit of all copies is not made. */
    options.limit = 1000;
    IS(ondol_store_new(folder, &options, &store, &error), OK);
    IS(ondol_store_open(store, hello, NULL, NULL, NULL, &model, &opened, &error), OK);
    CHECK(opened.from_copy == 0 && strstr(opened.reason, "1000"));
    ondol_model_free(model);
    ondol_store_free(store);
    snprintf(reason, sizeof reason, "rm -r '%s'", folder);
    CHECK(system(reason) == 0);
}

/* The logits are near those of the CPU, and parts of the passes ran on the device. */
static void a_plug_in_runs_parts(const ondol_model *model, const ondol_model *other, const char *path)
{
    ondol_offload_options how = {.struct_size = sizeof how};
    ondol_session_options options = small();
    ondol_offload *offload = NULL;
    ondol_engine *engine = NULL;
    ondol_session *session = NULL, *cpu = NULL;
    ondol_offload_stats stats = {.struct_size = sizeof stats};
    ondol_cancel *cancel = ondol_cancel_new();
    char report[4096];
    size_t length = 0;
    IS(ondol_offload_defaults(&how, &error), OK);
    how.rows = 8;
    how.deadline_ms = 60000;
    ondol_cancel_request(cancel);
    IS(ondol_offload_new(model, path, &how, cancel, &offload, &error), CANCELLED);
    ondol_cancel_free(cancel);
    IS(ondol_offload_new(model, path, &how, NULL, &offload, &error), OK);
    IS(ondol_offload_report(offload, report, sizeof report, &length, &error), OK);
    CHECK(strstr(report, "on the device: ") && length == strlen(report));
    IS(ondol_session_new(model, &options, &cpu, &error), OK);
    options.offload = offload;
    IS(ondol_engine_new(other, &options, &engine, &error), OTHER_OWNER);
    IS(ondol_engine_new(model, &options, &engine, &error), OK);
    ondol_offload_free(offload); /* the engine keeps what it needs */
    IS(ondol_engine_session(engine, &session, &error), OK);
    IS(ondol_session_prefill(session, prompt, prompt_count, NULL, &error), OK);
    IS(ondol_session_prefill(cpu, prompt, prompt_count, NULL, &error), OK);
    float *here = logits_of(cpu), *there = logits_of(session);
    CHECK(likeliest(here) == likeliest(there));
    free(here);
    free(there);
    IS(ondol_engine_offload_stats(engine, &stats, &error), OK);
    CHECK(stats.on_device > 0 && stats.failures == 0 && stats.given_up == 0 && stats.last_failure[0] == 0);
    ondol_session_free(cpu);
    ondol_session_free(session);
    ondol_engine_free(engine);
}

int main(int argc, char **argv)
{
    const char *question = "<|im_start|>user\nWhat is ondol?<|im_end|>\n<|im_start|>assistant\n";
    ondol_model *model = NULL, *other = NULL;
    ondol_engine *engine = NULL;
    ondol_offload *offload = NULL;
    ondol_session_options options = small();
    if (argc != 4)
        return 2;
    null_handles_are_refused();
    IS(ondol_model_open(argv[1], &model, &error), OK);
    IS(ondol_model_encode(model, question, strlen(question), prompt, 64, &prompt_count, &error), OK);
    a_model_tells_of_itself(model);
    IS(ondol_engine_new(model, &options, &engine, &error), OK);
    an_engine_tells_of_itself(engine, model);
    logits_are_there_to_choose_from(engine);
    sessions_are_forked_and_saved(engine, argv[2]);
    a_generation_tells_its_steps(engine);
    a_batch_decodes_as_each_alone(engine, model);
    the_governor_is_heard(model);
    a_store_keeps_packed_copies(argv[1]);
    IS(ondol_offload_new(model, argv[2], NULL, NULL, &offload, &error), DELEGATE);
    CHECK(offload == NULL);
    IS(ondol_model_open(argv[1], &other, &error), OK);
    a_plug_in_runs_parts(model, other, argv[3]);
    ondol_model_free(other);
    ondol_engine_free(engine);
    ondol_model_free(model);
    puts("C engine: all passed");
    return 0;
}
