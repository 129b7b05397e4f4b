/* Two conversations of one engine: in two threads, and then in one batch, which reads
 * the model's weights once for both. The answers are the same: two MODEL
 *
 *     cargo build --release -p ondol-c
 *     cc -Ibindings/c bindings/c/examples/two.c target/release/libondol.a -lpthread -ldl -lm
 */
#include "ondol.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *question;
    ondol_generation *generation;
    char answer[4096];
    size_t length;
    int ended;
} talk;

static void check(ondol_status status, const ondol_error *error)
{
    if (status == ONDOL_STATUS_OK)
        return;
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

/* Begins the answer to a question in a session of the engine. */
static ondol_session *begin(const ondol_model *model, const ondol_engine *engine, talk *talk)
{
    ondol_error error = {.struct_size = sizeof error};
    ondol_message message = {.struct_size = sizeof message, .role = "user", .content = talk->question};
    ondol_generate_options options = {.struct_size = sizeof options};
    ondol_session *session = NULL;
    uint32_t prompt[4096];
    size_t count = 0;
    check(ondol_model_encode_chat(model, &message, 1, prompt, 4096, &count, &error), &error);
    check(ondol_engine_session(engine, &session, &error), &error);
    check(ondol_generate_defaults(&options, &error), &error);
    options.temperature = 0;
    check(ondol_generation_new(session, prompt, count, &options, &talk->generation, &error), &error);
    talk->length = 0;
    talk->ended = 0;
    return session;
}

/* Runs one step, and handles its event. */
static void step(talk *talk)
{
    ondol_error error = {.struct_size = sizeof error};
    ondol_event event = {.struct_size = sizeof event};
    check(ondol_generation_step(talk->generation, &event, &error), &error);
    talk->ended = event.kind == ONDOL_EVENT_KIND_END;
    if (talk->length + event.text_length < sizeof talk->answer) {
        memcpy(talk->answer + talk->length, event.text, event.text_length + 1);
        talk->length += event.text_length;
    }
}

static void *run(void *user)
{
    talk *talk = user;
    while (!talk->ended)
        step(talk);
    return NULL;
}

static void in_threads(talk talks[2])
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, run, &talks[i]) != 0)
            exit(1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* Runs the prompts one after another, and decodes the tokens of both together. */
static void in_a_batch(const ondol_engine *engine, talk talks[2])
{
    ondol_error error = {.struct_size = sizeof error};
    const ondol_generation *both[2] = {talks[0].generation, talks[1].generation};
    ondol_batch *batch = NULL;
    check(ondol_engine_batch(engine, 2, &batch, &error), &error);
    while (!talks[0].ended || !talks[1].ended) {
        check(ondol_batch_advance(batch, both, 2, &error), &error);
        for (int i = 0; i < 2; i++)
            if (!talks[i].ended)
                step(&talks[i]);
    }
    ondol_batch_free(batch);
}

/* Generates both answers, in threads or in a batch. */
static void answer(const ondol_model *model, const ondol_engine *engine, talk talks[2], int batched)
{
    ondol_session *sessions[2];
    for (int i = 0; i < 2; i++)
        sessions[i] = begin(model, engine, &talks[i]);
    if (batched)
        in_a_batch(engine, talks);
    else
        in_threads(talks);
    for (int i = 0; i < 2; i++) {
        ondol_generation_free(talks[i].generation);
        ondol_session_free(sessions[i]);
    }
}

int main(int argc, char **argv)
{
    ondol_error error = {.struct_size = sizeof error};
    ondol_session_options options = {.struct_size = sizeof options};
    ondol_model *model = NULL;
    ondol_engine *engine = NULL;
    static talk apart[2] = {{.question = "안녕하세요"}, {.question = "What is ondol?"}}, together[2];
    if (argc != 2) {
        fprintf(stderr, "two MODEL\n");
        return 2;
    }
    memcpy(together, apart, sizeof apart);
    check(ondol_model_open(argv[1], &model, &error), &error);
    check(ondol_session_defaults(&options, &error), &error);
    options.batch = 2;
    check(ondol_engine_new(model, &options, &engine, &error), &error);
    answer(model, engine, apart, 0);
    answer(model, engine, together, 1);
    for (int i = 0; i < 2; i++) {
        printf("%s\n%s\n", apart[i].question, apart[i].answer);
        if (strcmp(apart[i].answer, together[i].answer) != 0) {
            fprintf(stderr, "in a batch: %s\n", together[i].answer);
            return 1;
        }
    }
    ondol_engine_free(engine);
    ondol_model_free(model);
    return 0;
}
