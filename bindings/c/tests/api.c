/* The C API from the outside: `cargo xtask c` links this against the static and
 * the shared library and runs it, also under valgrind if that is installed.
 * `engine.c` tests the functions other than text from a prompt.
 * Arguments: the model `hello`, and a file that is not a model. */
#include "ondol.h"
#include "utf8.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
            fprintf(stderr, "last error: %s\n", error.message);               \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

/* A question in the form of the model's chat template. */
#define QUESTION "<|im_start|>user\nWhat is ondol?<|im_end|>\n<|im_start|>assistant\n"

static ondol_error error = {.struct_size = sizeof error};

/* Text that a callback collects, and what it does besides. */
typedef struct {
    char text[4096];
    size_t length;
    int pieces;
    int stop_after;
    const ondol_session *reenter;
    ondol_status reentered;
    ondol_cancel *cancel;
} answer;

static void *request_cancel(void *cancel)
{
    ondol_cancel_request(cancel);
    return NULL;
}

static int collect(void *user, const char *text, size_t length)
{
    answer *a = user;
    CHECK(length > 0 && text[length] == 0 && is_whole_utf8(text, length));
    CHECK(a->length + length < sizeof a->text);
    memcpy(a->text + a->length, text, length + 1);
    a->length += length;
    a->pieces++;
    if (a->reenter)
        a->reentered = ondol_session_clear(a->reenter, NULL);
    if (a->cancel) {
        pthread_t other;
        CHECK(pthread_create(&other, NULL, request_cancel, a->cancel) == 0);
        CHECK(pthread_join(other, NULL) == 0);
    }
    return a->stop_after != 0 && a->pieces >= a->stop_after;
}

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    CHECK(file && fseek(file, 0, SEEK_END) == 0);
    *length = (size_t)ftell(file);
    char *bytes = malloc(*length);
    rewind(file);
    CHECK(bytes && fread(bytes, 1, *length, file) == *length);
    fclose(file);
    return bytes;
}

static void null_handles_are_refused(void)
{
    ondol_model *model = NULL;
    ondol_session *session = NULL;
    CHECK(ondol_model_open(NULL, &model, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(error.status == ONDOL_STATUS_INVALID_ARGUMENT && strstr(error.message, "path"));
    CHECK(ondol_model_open("x", NULL, NULL) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_model_from_memory(NULL, 5, &model, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_model_memory(NULL, NULL, NULL, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_model_encode(NULL, "a", 1, NULL, 0, NULL, NULL) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_model_encode_chat(NULL, NULL, 0, NULL, 0, NULL, NULL) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_session_answer_ids(NULL, NULL, 0, NULL, NULL) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_model_render_chat(NULL, NULL, 0, NULL, 0, NULL, NULL) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_session_new(NULL, NULL, &session, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_session_clear(NULL, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_session_generate(NULL, "a", 1, NULL, collect, NULL, NULL, NULL) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(model == NULL && session == NULL);
    ondol_model_free(NULL);
    ondol_session_free(NULL);
    ondol_cancel_free(NULL);
    ondol_cancel_request(NULL);
}

static void bad_files_have_their_own_status(const char *hello, const char *no_model)
{
    ondol_model *model = NULL;
    size_t length;
    CHECK(ondol_model_open("no/such/file.gguf", &model, &error) == ONDOL_STATUS_IO);
    CHECK(ondol_model_open(no_model, &model, &error) == ONDOL_STATUS_NOT_GGUF);
    char *bytes = read_file(hello, &length);
    CHECK(ondol_model_from_memory(bytes, length / 2, &model, &error) == ONDOL_STATUS_TRUNCATED);
    CHECK(model == NULL);
    free(bytes);
}

/* Always the likeliest token. */
static ondol_generate_options greedy(uint32_t max_tokens)
{
    ondol_generate_options options = {.struct_size = sizeof options};
    CHECK(ondol_generate_defaults(&options, &error) == ONDOL_STATUS_OK);
    options.temperature = 0;
    options.max_tokens = max_tokens;
    return options;
}

static ondol_session_options session_options(uint32_t threads, uint32_t context)
{
    ondol_session_options options = {.struct_size = sizeof options};
    CHECK(ondol_session_defaults(&options, &error) == ONDOL_STATUS_OK);
    options.threads = threads;
    options.context = context;
    return options;
}

/* The numbers are those that the documentation of Rust's types promises. */
static void defaults_are_those_of_rust(void)
{
    ondol_generate_options g = {.struct_size = sizeof g};
    CHECK(ondol_generate_defaults(&g, &error) == ONDOL_STATUS_OK);
    CHECK(g.struct_size == sizeof g && g.max_tokens == 0 && g.top_k == 40 && g.penalty_window == 64 && g.seed == 0);
    CHECK(g.temperature == 0.7f && g.top_p == 0.95f && g.min_p == 0.05f && g.repetition_penalty == 1.0f);
    CHECK(g.frequency_penalty == 0 && g.presence_penalty == 0 && g.stop_count == 0 && !g.cancel && g.top_logprobs == -1);
    ondol_session_options s = {.struct_size = sizeof s};
    CHECK(ondol_session_defaults(&s, &error) == ONDOL_STATUS_OK);
    CHECK(s.threads == 0 && s.context == 0 && s.prefill_chunk == 256 && s.memory_limit == 0);
    CHECK(!s.kernels && !s.kv_type && !s.governor && !s.offload && s.affinity == ONDOL_AFFINITY_FREE);
    CHECK(s.drafts == 7 && s.batch == 1 && s.screen == 1 && s.screen_margin == 6 && s.screen_audit_every == 256);
    ondol_store_options store = {.struct_size = sizeof store};
    CHECK(ondol_store_defaults(&store, &error) == ONDOL_STATUS_OK);
    CHECK(store.check_all == 0 && store.limit == 0 && store.reserve == 256 << 20);
    ondol_offload_options o = {.struct_size = sizeof o};
    CHECK(ondol_offload_defaults(&o, &error) == ONDOL_STATUS_OK);
    CHECK(o.rows == 256 && !o.decode && !o.strict && o.deadline_ms == 5000 && !o.cache);
    /* A caller of a version that ends after `temperature`. */
    ondol_generate_options old = {.struct_size = offsetof(ondol_generate_options, top_k)};
    CHECK(ondol_generate_defaults(&old, &error) == ONDOL_STATUS_OK && old.temperature == 0.7f && old.top_k == 0);
    CHECK(ondol_generate_defaults(NULL, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
}

static void memory_is_known_and_kept_to(const ondol_model *model)
{
    ondol_session *session = NULL;
    ondol_memory memory = {.struct_size = sizeof memory};
    ondol_session_options options = session_options(1, 128);
    CHECK(ondol_model_memory(model, &options, &memory, &error) == ONDOL_STATUS_OK);
    CHECK(memory.total == memory.kv_cache + memory.activations + memory.logits + memory.scratch + memory.vectors
                          + memory.screen + memory.steps + memory.model + memory.delegate);
    options.memory_limit = memory.total - 1;
    CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_DOES_NOT_FIT);
    CHECK(error.needed == memory.total && error.allowed == memory.total - 1 && session == NULL);
    options.memory_limit = memory.total;
    CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_OK);
    ondol_session_free(session);
}

static void a_cache_of_eight_bits_is_smaller(const ondol_model *model)
{
    ondol_session *session = NULL;
    ondol_memory f16 = {.struct_size = sizeof f16}, q8_0 = f16;
    ondol_session_options options = session_options(0, 256);
    options.kv_type = "f16";
    CHECK(ondol_model_memory(model, &options, &f16, &error) == ONDOL_STATUS_OK);
    options.kv_type = "q8_0";
    CHECK(ondol_model_memory(model, &options, &q8_0, &error) == ONDOL_STATUS_OK);
    CHECK(q8_0.kv_cache * 64 == f16.kv_cache * 34);
    CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_OK);
    ondol_session_free(session);
    options.kv_type = "q9";
    CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_UNSUPPORTED_KV_TYPE);
    /* A caller of the version without the field. */
    options.struct_size = offsetof(ondol_session_options, kv_type);
    CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_OK);
    ondol_session_free(session);
}

static void options_of_other_versions(const ondol_model *model)
{
    struct { ondol_session_options known; uint64_t later; } newer = {session_options(1, 256), 0};
    ondol_session *session = NULL;
    newer.known.struct_size = sizeof newer;
    CHECK(ondol_session_new(model, &newer.known, &session, &error) == ONDOL_STATUS_OK);
    ondol_session_free(session);
    newer.later = 1;
    CHECK(ondol_session_new(model, &newer.known, &session, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    ondol_session_options options = {0};
    CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    options.struct_size = sizeof options;
    /* The defaults were not filled in. */
    CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(strstr(error.message, "prefill_chunk"));
    options = session_options(1, 256);
    options.kernels = "abacus";
    CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_UNSUPPORTED_KERNELS);
}

/* The prompt for one question, by the model's template. */
static size_t render(const ondol_model *model, const char *question, char *text, size_t capacity)
{
    ondol_message message = {.struct_size = sizeof message, .role = "user", .content = question};
    size_t length = 0, again = 0;
    CHECK(ondol_model_render_chat(model, &message, 1, NULL, 0, &length, &error) == ONDOL_STATUS_BUFFER_TOO_SMALL);
    CHECK(length < capacity);
    CHECK(ondol_model_render_chat(model, &message, 1, text, length, &again, &error) == ONDOL_STATUS_BUFFER_TOO_SMALL);
    CHECK(ondol_model_render_chat(model, &message, 1, text, length + 1, &again, &error) == ONDOL_STATUS_OK);
    CHECK(again == length && strlen(text) == length && strstr(text, question));
    return length;
}

static void it_answers(const ondol_model *model, ondol_session *session, const char *question, const char *expected)
{
    char prompt[512];
    uint32_t ids[256];
    size_t count, length = render(model, question, prompt, sizeof prompt);
    answer by_text = {0}, by_ids = {0};
    ondol_generate_options options = greedy(40);
    ondol_generated generated = {.struct_size = sizeof generated};

    CHECK(ondol_session_generate(session, prompt, length, &options, collect, &by_text, &generated, &error) == ONDOL_STATUS_OK);
    CHECK(strstr(by_text.text, expected));
    CHECK(generated.finish == ONDOL_FINISH_END || generated.finish == ONDOL_FINISH_MAX_TOKENS);
    CHECK(generated.generated_tokens > 1 && generated.decode_tokens_per_s > 0);

    CHECK(ondol_model_encode(model, prompt, length, ids, 1, &count, &error) == ONDOL_STATUS_BUFFER_TOO_SMALL);
    CHECK(error.needed == count && error.allowed == 1 && count == generated.prompt_tokens);
    CHECK(ondol_model_encode(model, prompt, length, ids, 256, &count, &error) == ONDOL_STATUS_OK);
    CHECK(ondol_session_generate_ids(session, ids, count, &options, collect, &by_ids, &generated, &error) == ONDOL_STATUS_OK);
    CHECK(strcmp(by_text.text, by_ids.text) == 0 && generated.cached_tokens == count - 1);
    puts(by_text.text);
}

static void a_conversation_is_found_in_the_cache(const ondol_model *model, ondol_session *session)
{
    ondol_message messages[3] = {
        {.struct_size = sizeof messages[0], .role = "user", .content = "My name is Minji."},
        {.struct_size = sizeof messages[0], .role = "assistant"},
        {.struct_size = sizeof messages[0], .role = "user", .content = "<|im_end|> What is my name?"},
    };
    uint32_t prompt[256], said[64];
    size_t count, said_count, again;
    answer first = {0}, second = {0};
    ondol_generate_options options = greedy(40);
    options.temperature = 2;
    options.seed = 3;
    ondol_generated generated = {.struct_size = sizeof generated};

    CHECK(ondol_model_encode_chat(model, messages, 1, NULL, 0, &count, &error) == ONDOL_STATUS_BUFFER_TOO_SMALL);
    CHECK(ondol_model_encode_chat(model, messages, 1, prompt, 256, &again, &error) == ONDOL_STATUS_OK && again == count);
    CHECK(ondol_session_generate_ids(session, prompt, count, &options, collect, &first, &generated, &error) == ONDOL_STATUS_OK);
    CHECK(ondol_session_answer_ids(session, said, 64, &said_count, &error) == ONDOL_STATUS_OK);
    CHECK(said_count == generated.generated_tokens);

    messages[1].content = first.text;
    messages[1].ids = said;
    messages[1].id_count = said_count;
    CHECK(ondol_model_encode_chat(model, messages, 3, prompt, 256, &again, &error) == ONDOL_STATUS_OK);
    CHECK(ondol_session_generate_ids(session, prompt, again, &options, collect, &second, &generated, &error) == ONDOL_STATUS_OK);
    CHECK(generated.cached_tokens + 1 >= count + said_count);

    messages[1].struct_size = 8;
    CHECK(ondol_model_encode_chat(model, messages, 3, prompt, 256, &again, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    messages[0].struct_size = 0;
    CHECK(ondol_model_encode_chat(model, messages, 1, prompt, 256, &again, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
}

static void it_ends_when_it_is_told(ondol_session *session)
{
    const char *prompt = QUESTION;
    const char *stops[] = {"\n", "e"};
    ondol_generated generated = {.struct_size = sizeof generated};
    ondol_generate_options options = greedy(3);
    answer a = {0}, b = {.stop_after = 1}, c = {.reenter = session}, d = {0};

    CHECK(ondol_session_generate(session, prompt, strlen(prompt), &options, collect, &a, &generated, &error) == ONDOL_STATUS_OK);
    CHECK(generated.finish == ONDOL_FINISH_MAX_TOKENS && generated.generated_tokens == 3);
    CHECK(ondol_session_generate(session, prompt, strlen(prompt), &options, collect, &b, &generated, &error) == ONDOL_STATUS_OK);
    CHECK(generated.finish == ONDOL_FINISH_CALLBACK && b.pieces == 1);
    CHECK(ondol_session_generate(session, prompt, strlen(prompt), &options, collect, &c, NULL, &error) == ONDOL_STATUS_OK);
    CHECK(c.reentered == ONDOL_STATUS_BUSY);
    options.max_tokens = 0;
    options.stop = stops;
    options.stop_count = 2;
    CHECK(ondol_session_generate(session, prompt, strlen(prompt), &options, collect, &d, &generated, &error) == ONDOL_STATUS_OK);
    CHECK(generated.finish == ONDOL_FINISH_STOP && !strchr(d.text, 'e'));
    options.temperature = -1;
    CHECK(ondol_session_generate(session, prompt, strlen(prompt), &options, collect, &d, NULL, &error) == ONDOL_STATUS_SAMPLER);
    CHECK(ondol_session_generate(session, prompt, strlen(prompt), NULL, NULL, NULL, NULL, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_session_generate(session, "\xff", 1, NULL, collect, &d, NULL, &error) == ONDOL_STATUS_INVALID_ARGUMENT);
    CHECK(ondol_session_generate(session, "", 0, NULL, collect, &d, NULL, &error) == ONDOL_STATUS_EMPTY_PROMPT);
}

static void another_thread_cancels(ondol_session *session)
{
    const char *prompt = QUESTION;
    ondol_cancel *cancel = ondol_cancel_new();
    ondol_generated generated = {.struct_size = sizeof generated};
    ondol_generate_options options = greedy(0);
    options.cancel = cancel;
    answer a = {.cancel = cancel}, b = {.stop_after = 1};
    CHECK(ondol_session_generate(session, prompt, strlen(prompt), &options, collect, &a, &generated, &error) == ONDOL_STATUS_OK);
    CHECK(generated.finish == ONDOL_FINISH_CANCELLED && a.pieces == 1);
    CHECK(ondol_session_clear(session, &error) == ONDOL_STATUS_OK);
    CHECK(ondol_session_generate(session, prompt, strlen(prompt), &options, collect, &b, &generated, &error) == ONDOL_STATUS_OK);
    CHECK(generated.finish == ONDOL_FINISH_CANCELLED && b.pieces == 0);
    ondol_cancel_reset(cancel);
    CHECK(ondol_session_generate(session, prompt, strlen(prompt), &options, collect, &b, NULL, &error) == ONDOL_STATUS_OK);
    ondol_cancel_free(cancel);
}

/* Lines of the log by level, on the heap so that a call after the end is found. */
typedef struct {
    atomic_int lines[ONDOL_LOG_LEVEL_DEBUG + 1];
    atomic_int repairs;
} lines;

static void count_line(void *user, ondol_log_level level, const char *text, size_t length)
{
    lines *to = user;
    CHECK(strlen(text) == length && is_whole_utf8(text, length) && !strchr(text, '\n'));
    atomic_fetch_add(&to->lines[level], 1);
    atomic_fetch_add(&to->repairs, strstr(text, "tokenizer.ggml.pre") != NULL);
}

static atomic_int stop_logging;

static void *replace_callbacks(void *unused)
{
    while (!atomic_load(&stop_logging)) {
        lines *to = calloc(1, sizeof *to);
        CHECK(ondol_log_set(count_line, to, ONDOL_LOG_LEVEL_WARN, NULL) == ONDOL_STATUS_OK);
        sched_yield();
        CHECK(ondol_log_set(NULL, NULL, 0, NULL) == ONDOL_STATUS_OK);
        free(to);
    }
    return unused;
}

/* Finds the key that names the pre-tokenizer, and gives it another name. */
static void damage(char *bytes, size_t length)
{
    const char key[] = "tokenizer.ggml.pre";
    for (size_t at = 0; at + strlen(key) <= length; at++)
        if (memcmp(bytes + at, key, strlen(key)) == 0) {
            bytes[at + strlen(key) - 1] = 'x';
            return;
        }
    CHECK(!"the key");
}

static void load(const char *bytes, size_t length, int with_session)
{
    ondol_session_options options = session_options(1, 64);
    ondol_model *model = NULL;
    ondol_session *session = NULL;
    CHECK(ondol_model_from_memory(bytes, length, &model, &error) == ONDOL_STATUS_OK);
    if (with_session)
        CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_OK);
    ondol_session_free(session);
    ondol_model_free(model);
}

static void the_log_is_told(const char *hello)
{
    size_t length;
    char *bytes = read_file(hello, &length);
    lines got = {0}, fewer = {0};
    damage(bytes, length);
    CHECK(ondol_log_set(count_line, &got, ONDOL_LOG_LEVEL_INFO, &error) == ONDOL_STATUS_OK);
    load(bytes, length, 1);
    CHECK(ondol_log_set(count_line, &fewer, ONDOL_LOG_LEVEL_WARN, &error) == ONDOL_STATUS_OK);
    load(bytes, length, 1);
    CHECK(ondol_log_set(NULL, NULL, 0, &error) == ONDOL_STATUS_OK);
    load(bytes, length, 1);
    CHECK(got.lines[ONDOL_LOG_LEVEL_WARN] == 1 && got.lines[ONDOL_LOG_LEVEL_INFO] == 1 && got.repairs == 1);
    CHECK(fewer.lines[ONDOL_LOG_LEVEL_WARN] == 1 && fewer.lines[ONDOL_LOG_LEVEL_INFO] == 0);
    CHECK(ondol_log_set(count_line, &got, 0, &error) == ONDOL_STATUS_INVALID_ARGUMENT);

    pthread_t other;
    CHECK(pthread_create(&other, NULL, replace_callbacks, NULL) == 0);
    for (int i = 0; i < 20; i++)
        load(bytes, length, 0);
    atomic_store(&stop_logging, 1);
    CHECK(pthread_join(other, NULL) == 0);
    free(bytes);
}

int main(int argc, char **argv)
{
    ondol_model *model = NULL;
    ondol_session *session = NULL;
    ondol_session_options options = session_options(2, 256);
    if (argc != 3)
        return 2;
    CHECK(strlen(ondol_version()) >= 5);
    null_handles_are_refused();
    defaults_are_those_of_rust();
    bad_files_have_their_own_status(argv[1], argv[2]);
    the_log_is_told(argv[1]);
    CHECK(ondol_model_open(argv[1], &model, &error) == ONDOL_STATUS_OK);
    memory_is_known_and_kept_to(model);
    a_cache_of_eight_bits_is_smaller(model);
    options_of_other_versions(model);
    CHECK(ondol_session_new(model, &options, &session, &error) == ONDOL_STATUS_OK);
    it_answers(model, session, "안녕하세요", "안녕하세요!");
    it_answers(model, session, "What is ondol?", "floor");
    a_conversation_is_found_in_the_cache(model, session);
    ondol_model_free(model); /* the session keeps what it needs */
    it_ends_when_it_is_told(session);
    another_thread_cancels(session);
    ondol_session_free(session);
    puts("C API: all passed");
    return 0;
}
