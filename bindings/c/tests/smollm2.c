/* SmolLM2 answers in Korean and in English: `cargo xtask c`. Its vocabulary cuts Hangul
 * and emoji into several tokens, but the callback's pieces have whole characters.
 * Argument: the model. */
#include "ondol.h"
#include "utf8.h"
#include <stdio.h>
#include <string.h>

typedef struct {
    char text[4096];
    size_t length;
    int broken;
} answer;

static int collect(void *user, const char *text, size_t length)
{
    answer *to = user;
    to->broken |= !is_whole_utf8(text, length);
    if (to->length + length >= sizeof to->text)
        return 1;
    memcpy(to->text + to->length, text, length + 1);
    to->length += length;
    return 0;
}

static int answers(const ondol_model *model, ondol_session *session, const char *question, const char *expected)
{
    ondol_error error = {.struct_size = sizeof error};
    ondol_message message = {.struct_size = sizeof message, .role = "user", .content = question};
    ondol_generate_options options = {.struct_size = sizeof options};
    ondol_generated generated = {.struct_size = sizeof generated};
    uint32_t prompt[256];
    size_t count = 0;
    answer said = {0};
    ondol_generate_defaults(&options, &error);
    options.temperature = 0;
    options.max_tokens = 16;
    if (ondol_model_encode_chat(model, &message, 1, prompt, 256, &count, &error) != ONDOL_STATUS_OK ||
        ondol_session_generate_ids(session, prompt, count, &options, collect, &said, &generated, &error) != ONDOL_STATUS_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 0;
    }
    printf("%s\n%s\n", question, said.text);
    return !said.broken && generated.generated_tokens > 4 && strstr(said.text, expected) != NULL;
}

int main(int argc, char **argv)
{
    ondol_error error = {.struct_size = sizeof error};
    ondol_model *model = NULL;
    ondol_session *session = NULL;
    if (argc != 2)
        return 2;
    int passed = ondol_model_open(argv[1], &model, &error) == ONDOL_STATUS_OK &&
                 ondol_session_new(model, NULL, &session, &error) == ONDOL_STATUS_OK &&
                 answers(model, session, "Repeat this exactly: 안녕하세요 🙂 안녕하세요 🙂 안녕하세요 🙂", "안녕하세요 🙂") &&
                 answers(model, session, "Hello! Who are you?", "Hello!");
    ondol_session_free(session);
    ondol_model_free(model);
    return !passed;
}
