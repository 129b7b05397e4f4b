/* Answers one question, always with the likeliest token: answer MODEL QUESTION
 *
 *     cargo build --release -p ondol-c
 *     cc -Ibindings/c bindings/c/examples/answer.c target/release/libondol.a -lpthread -ldl -lm
 */
#include "ondol.h"
#include <stdio.h>
#include <string.h>

static int print_piece(void *user, const char *text, size_t length)
{
    (void)user;
    fwrite(text, 1, length, stdout);
    return fflush(stdout);
}

int main(int argc, char **argv)
{
    ondol_error error = {.struct_size = sizeof error};
    ondol_model *model = NULL;
    ondol_session *session = NULL;
    uint32_t prompt[4096];
    size_t count = 0;
    if (argc != 3) {
        fprintf(stderr, "answer MODEL QUESTION\n");
        return 2;
    }
    ondol_message message = {.struct_size = sizeof message, .role = "user", .content = argv[2]};
    ondol_generate_options options = {.struct_size = sizeof options};
    ondol_generate_defaults(&options, &error);
    options.temperature = 0;
    if (ondol_model_open(argv[1], &model, &error) != ONDOL_STATUS_OK ||
        ondol_model_encode_chat(model, &message, 1, prompt, 4096, &count, &error) != ONDOL_STATUS_OK ||
        ondol_session_new(model, NULL, &session, &error) != ONDOL_STATUS_OK ||
        ondol_session_generate_ids(session, prompt, count, &options, print_piece, NULL, NULL, &error) != ONDOL_STATUS_OK)
        fprintf(stderr, "%s\n", error.message);
    else
        putchar('\n');
    ondol_session_free(session);
    ondol_model_free(model);
    return error.status != ONDOL_STATUS_OK;
}
