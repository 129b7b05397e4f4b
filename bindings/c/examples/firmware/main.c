/* Answers two questions on a board without an operating system: one in Korean,
 * one in English. The model lies in flash and is read in place; everything that
 * the library needs comes from one static array. */
#include "board.h"
#include "ondol.h"

/* `model.S` puts the GGUF file here. */
extern const unsigned char model_start[], model_end[];

/* All of the library's memory: the bytes of `ondol_model_memory`, and those of
 * the vocabulary and the graph. `heap` below prints how much was used. */
static _Alignas(64) unsigned char arena[ARENA_BYTES];

static void print_number(const char *name, size_t number)
{
    char digits[24];
    char *at = digits + sizeof digits;
    *--at = 0;
    *--at = '\n';
    do {
        *--at = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    board_print(name);
    board_print(at);
}

/* Feeds the watchdog on a real board; the library calls it many times in a pass. */
static size_t feeds;

static void feed_watchdog(void)
{
    feeds++;
}

static void on_panic(const char *message)
{
    board_print(message);
    board_print("\n");
    board_exit(2);
}

/* Ends the program where a call failed. */
static void check(ondol_status status, const ondol_error *error)
{
    if (status == ONDOL_STATUS_OK)
        return;
    print_number("status ", (size_t)status);
    board_print(error->message);
    board_print("\n");
    board_exit(1);
}

static int print_piece(void *user, const char *text, size_t length)
{
    (void)user;
    (void)length;
    board_print(text);
    return 0;
}

static void answer(ondol_session *session, const char *prompt, size_t length)
{
    ondol_error error = {.struct_size = sizeof error};
    ondol_generate_options options = {.struct_size = sizeof options};
    size_t fed = feeds;
    check(ondol_generate_defaults(&options, &error), &error);
    options.temperature = 0; /* always the likeliest token */
    board_print("answer: ");
    check(ondol_session_generate(session, prompt, length, &options, print_piece, NULL, NULL, &error),
          &error);
    board_print("\n");
    if (feeds == fed) {
        board_print("the watchdog starved\n");
        board_exit(1);
    }
}

/* A session that is allowed less than it needs is refused before it takes anything. */
static void refuse(const ondol_model *model, ondol_session_options options)
{
    ondol_error error = {.struct_size = sizeof error};
    ondol_session *session = NULL;
    size_t used = ondol_heap_used();
    options.context = 512;
    options.memory_limit = 1000;
    ondol_status limit = ondol_session_new(model, &options, &session, &error);
    options.memory_limit = 0;
    options.context = 1 << 16;
    ondol_status arena_full = ondol_session_new(model, &options, &session, &error);
    if (limit == ONDOL_STATUS_DOES_NOT_FIT && arena_full == ONDOL_STATUS_DOES_NOT_FIT &&
        session == NULL && ondol_heap_used() == used)
        board_print("refused what does not fit\n");
}

#define ANSWER(session, prompt) answer(session, prompt, sizeof(prompt) - 1)

int main(void)
{
    ondol_error error = {.struct_size = sizeof error};
    ondol_session_options options = {.struct_size = sizeof options};
    ondol_memory memory = {.struct_size = sizeof memory};
    ondol_model *model = NULL;
    ondol_session *session = NULL;

    check(ondol_init(arena, sizeof arena, on_panic), &error);
    ondol_on_step(feed_watchdog);
    check(ondol_session_defaults(&options, &error), &error);
    options.context = 128;
    options.prefill_chunk = 8;
    check(ondol_model_from_memory(model_start, (size_t)(model_end - model_start), &model, &error),
          &error);
    size_t model_bytes = ondol_heap_used();
    refuse(model, options);
    check(ondol_model_memory(model, &options, &memory, &error), &error);
    check(ondol_session_new(model, &options, &session, &error), &error);

    ANSWER(session, "<|im_start|>user\n안녕하세요<|im_end|>\n<|im_start|>assistant\n");
    ondol_session_clear(session, NULL);
    ANSWER(session, "<|im_start|>user\nWhat is ondol?<|im_end|>\n<|im_start|>assistant\n");

    print_number("ram.model ", model_bytes);
    print_number("ram.session ", (size_t)(memory.total - memory.model));
    print_number("ram.peak ", ondol_heap_peak());
    print_number("ram.stack ", board_stack_peak());
    ondol_session_free(session);
    ondol_model_free(model);
    print_number("ram.left ", ondol_heap_used());
    board_exit(0);
}
