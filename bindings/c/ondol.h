// Ondol: runs quantized GGUF models on the device itself.
//
// Written by cbindgen from bindings/c/src; a test holds it to the source.
//
// A model is made once and serves any number of sessions, from any threads. A
// session is one conversation, and one call at a time uses it. Handles are freed
// by the function of their type; text and structs are the caller's. Structs with
// `struct_size` may grow in later versions: set it to the struct's sizeof, and
// all that is not used to zero. Every function that can fail returns a status,
// and fills in an ondol_error if it is given one.
//
//     ondol_error error = {.struct_size = sizeof error};
//     ondol_model *model;
//     ondol_session *session;
//     ondol_message question = {.struct_size = sizeof question, .role = "user", .content = text};
//     uint32_t ids[4096];
//     size_t count;
//     if (ondol_model_open("model.gguf", &model, &error) != ONDOL_STATUS_OK ||
//         ondol_session_new(model, NULL, &session, &error) != ONDOL_STATUS_OK ||
//         ondol_model_encode_chat(model, &question, 1, ids, 4096, &count, &error) != ONDOL_STATUS_OK ||
//         ondol_session_generate_ids(session, ids, count, NULL, on_text,
//                                    NULL, NULL, &error) != ONDOL_STATUS_OK)
//         fprintf(stderr, "%s\n", error.message);


#ifndef ONDOL_H
#define ONDOL_H

#include <stddef.h>
#include <stdint.h>

// Bytes of the message in `ondol_error`.
#define ONDOL_MESSAGE_BYTES 256

// What came of a call: 0 is success, and every kind of error has a number of its own.
enum ondol_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It worked.
    ONDOL_STATUS_OK = 0,
    // A pointer that is needed is NULL, text is not UTF-8, or an option is unknown.
    ONDOL_STATUS_INVALID_ARGUMENT = 1,
    // The buffer is too short; the length that is needed was returned.
    ONDOL_STATUS_BUFFER_TOO_SMALL = 2,
    // Another call uses the session at this moment, or a call on it panicked.
    ONDOL_STATUS_BUSY = 3,
    // The library panicked: a bug in Ondol. The handles of the call can only be freed.
    ONDOL_STATUS_PANICKED = 4,
    // Another error; the message says which.
    ONDOL_STATUS_OTHER = 5,
    // The operating system refused the file.
    ONDOL_STATUS_IO = 10,
    // The file is no GGUF file.
    ONDOL_STATUS_NOT_GGUF = 11,
    // The file ends before what its header promises.
    ONDOL_STATUS_TRUNCATED = 12,
    // The version or byte order of GGUF is not supported.
    ONDOL_STATUS_UNSUPPORTED_VERSION = 13,
    // A quantization type is not supported by this build.
    ONDOL_STATUS_UNSUPPORTED_TYPE = 14,
    // The file was packed in another version of the packed layout.
    ONDOL_STATUS_UNSUPPORTED_PACKING = 15,
    // The architecture is not known to this build.
    ONDOL_STATUS_UNKNOWN_ARCHITECTURE = 16,
    // A metadata key is missing.
    ONDOL_STATUS_MISSING_KEY = 17,
    // A metadata key has a value of the wrong type or out of range.
    ONDOL_STATUS_BAD_VALUE = 18,
    // A tensor is missing.
    ONDOL_STATUS_MISSING_TENSOR = 19,
    // A tensor has other dimensions than it must have.
    ONDOL_STATUS_BAD_SHAPE = 20,
    // The file contradicts the rules of its format.
    ONDOL_STATUS_MALFORMED = 21,
    // The vocabulary can't be used.
    ONDOL_STATUS_TOKENIZER = 22,
    // The chat template can't be compiled or rendered.
    ONDOL_STATUS_TEMPLATE = 23,
    // The session or the model needs more memory than it may take: `needed` and
    // `allowed` bytes; `allowed` is 0 where the system had no more.
    ONDOL_STATUS_DOES_NOT_FIT = 30,
    // The tokens do not fit in the context: `needed` and `allowed` tokens.
    ONDOL_STATUS_CONTEXT_FULL = 31,
    // A token is outside the vocabulary.
    ONDOL_STATUS_BAD_TOKEN = 32,
    // The prompt has no tokens.
    ONDOL_STATUS_EMPTY_PROMPT = 33,
    // The call was cancelled. Text that came before is good, and stays in the cache.
    ONDOL_STATUS_CANCELLED = 34,
    // The kernels that were asked for can't run on this CPU, or have no such name.
    ONDOL_STATUS_UNSUPPORTED_KERNELS = 35,
    // An option of the sampler is out of range, or no token can be chosen.
    ONDOL_STATUS_SAMPLER = 36,
    // This build or this model can't have the type of cache that was asked for, or
    // there is no such type.
    ONDOL_STATUS_UNSUPPORTED_KV_TYPE = 37,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ondol_status ondol_status;
#else
typedef int32_t ondol_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a generation ended.
enum ondol_finish
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It did not: an error came.
    ONDOL_FINISH_FAILED = 0,
    // The model said so.
    ONDOL_FINISH_END = 1,
    // A stop string came.
    ONDOL_FINISH_STOP = 2,
    // `max_tokens` were generated.
    ONDOL_FINISH_MAX_TOKENS = 3,
    // The context is full.
    ONDOL_FINISH_CONTEXT_FULL = 4,
    // It was cancelled.
    ONDOL_FINISH_CANCELLED = 5,
    // The callback said so.
    ONDOL_FINISH_CALLBACK = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ondol_finish ondol_finish;
#else
typedef int32_t ondol_finish;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Cancels generations from any thread.
typedef struct ondol_cancel ondol_cancel;

// A loaded model. Any number of threads may use one at the same time; sessions
// keep what they need of it.
typedef struct ondol_model ondol_model;

// One conversation: a key/value cache, and all the memory to run in. One call
// at a time may use it; another gets `ONDOL_STATUS_BUSY`.
typedef struct ondol_session ondol_session;

// One message of a conversation.
typedef struct {
    // `sizeof(ondol_message)`, in each message of an array.
    uint32_t struct_size;
    // Who speaks: "system", "user", "assistant".
    const char *role;
    // What is said.
    const char *content;
    // The tokens of an assistant's message, as `ondol_session_answer_ids` gives
    // them; may be NULL. The session then finds in its cache what it said.
    const uint32_t *ids;
    // Number of these tokens.
    size_t id_count;
} ondol_message;

// What went wrong, in a struct that the caller owns. Set `struct_size` before
// the call; a call that fails fills in the rest. Where a function takes one,
// NULL is allowed.
typedef struct {
    // `sizeof(ondol_error)`.
    uint32_t struct_size;
    // What the call returned.
    ondol_status status;
    // Bytes or tokens that are needed, where the status says so.
    uint64_t needed;
    // Bytes or tokens that are allowed, where the status says so.
    uint64_t allowed;
    // The error in English, UTF-8, ended by a zero.
    char message[ONDOL_MESSAGE_BYTES];
} ondol_error;

// Is told of a panic: a bug in Ondol, or a heap that is too small for the
// model. It must not return, and not call the library: reset, or stop. The
// message is English, ended by a zero.
typedef void (*ondol_panic_fn)(const char *message);

// How a session runs. Zero in a field, and NULL for the whole, take the default.
typedef struct {
    // `sizeof(ondol_session_options)`.
    uint32_t struct_size;
    // Threads; by default the cores of the machine. Firmware runs on the caller's alone.
    uint32_t threads;
    // Tokens of context; by default what the model was trained for, at most 4096.
    uint32_t context;
    // Tokens of one pass over the prompt, by default 256. Fewer need less memory.
    uint32_t prefill_chunk;
    // Refuse a session that takes more bytes than this, its model's own included;
    // by default there is no limit.
    uint64_t memory_limit;
    // Name of the kernels ("exact", "scalar", ...); by default the best that the CPU runs.
    const char *kernels;
    // What keys and values are kept as: "f16", the default, or "q8_0" in little
    // more than half the bytes.
    const char *kv_type;
} ondol_session_options;

// The exact memory of a session and its model in bytes.
typedef struct {
    // `sizeof(ondol_memory)`.
    uint32_t struct_size;
    // The bytes of the model that are read where they lie.
    uint64_t weights_mapped;
    // The key/value cache.
    uint64_t kv_cache;
    // Values between steps.
    uint64_t activations;
    // Rows of logits.
    uint64_t logits;
    // Scratch of the threads.
    uint64_t scratch;
    // Norm weights and biases.
    uint64_t vectors;
    // All but `weights_mapped`.
    uint64_t total;
    // Bounds and lists of a screened head.
    uint64_t screen;
    // The list of steps, and the ids of the tokens in the context.
    uint64_t steps;
    // What the model itself holds, its vocabulary above all. All sessions of a
    // model share it.
    uint64_t model;
} ondol_memory;

// How to generate. Zero in a field, and NULL for the whole, are neutral: always
// the likeliest token, until the model ends or the context is full.
typedef struct {
    // `sizeof(ondol_generate_options)`.
    uint32_t struct_size;
    // Tokens to generate at most; 0 sets no limit.
    uint32_t max_tokens;
    // Logits are divided by it; 0 always takes the likeliest token.
    float temperature;
    // Keep this many of the likeliest tokens; 0 keeps all.
    uint32_t top_k;
    // Keep the fewest likeliest tokens whose probabilities add up to this; 0 keeps all.
    float top_p;
    // Keep tokens at least this times as likely as the likeliest; 0 keeps all.
    float min_p;
    // Divides the positive and multiplies the negative logits of recent tokens; 0 does nothing.
    float repetition_penalty;
    // Taken from a recent token's logit for each time it occurs.
    float frequency_penalty;
    // Taken once from the logit of each recent token.
    float presence_penalty;
    // How many of the last tokens are recent; 0 takes 64.
    uint32_t penalty_window;
    // Seed of the draws: the same seed gives the same text.
    uint64_t seed;
    // The text ends before the first of these strings, each ended by a zero.
    const char *const *stop;
    // Number of stop strings.
    size_t stop_count;
    // Cancels the generation; may be NULL.
    const ondol_cancel *cancel;
} ondol_generate_options;

// Takes a piece of text: complete UTF-8, `length` bytes and a zero after them,
// valid during the call. Returns 0 to go on, anything else to stop. It must
// return normally: no longjmp and no exception through the library.
typedef int (*ondol_text_fn)(void *user, const char *text, size_t length);

// What a generation took.
typedef struct {
    // `sizeof(ondol_generated)`.
    uint32_t struct_size;
    // Why it ended.
    ondol_finish finish;
    // Tokens of the prompt.
    size_t prompt_tokens;
    // Of these, tokens that the cache already held.
    size_t cached_tokens;
    // Tokens generated, the end token included.
    size_t generated_tokens;
    // Seconds to the first token's choice; all times are 0 in firmware builds, which have no clock.
    double first_token_s;
    // Computed prompt tokens per second.
    double prefill_tokens_per_s;
    // Tokens per second after the first.
    double decode_tokens_per_s;
} ondol_generated;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version ("0.1.0"), a string that lives as long as the program.
const char *ondol_version(void);

// The token ids of a conversation, ready for the model's answer, by the file's
// template. Control tokens are those of the template: what a user wrote is text,
// whatever it spells. `count` gets their number, even where they do not fit in
// `ids`. Not in firmware builds: a template needs an engine that is larger than
// the rest of the library.
//
// # Safety
// `messages` has `message_count` messages, `ids` has room for `capacity` ids.
ondol_status ondol_model_encode_chat(const ondol_model *model,
                                     const ondol_message *messages,
                                     size_t message_count,
                                     uint32_t *ids,
                                     size_t capacity,
                                     size_t *count,
                                     ondol_error *error);

// A conversation as text, to show it. It is no prompt: control tokens that a
// user spelled can't be told from the template's any more, so give what
// `ondol_model_encode_chat` makes to `ondol_session_generate_ids`. `length` gets
// the bytes of the text without the zero that ends it, even where they do not
// fit in `text`; a `capacity` of `length + 1` is enough. Not in firmware builds.
//
// # Safety
// `messages` has `count` messages, `text` has room for `capacity` bytes.
ondol_status ondol_model_render_chat(const ondol_model *model,
                                     const ondol_message *messages,
                                     size_t count,
                                     char *text,
                                     size_t capacity,
                                     size_t *length,
                                     ondol_error *error);

// Firmware builds only. Gives the library the memory that everything it needs
// comes from, and somebody to tell of a panic (NULL: it stops in a loop). To be
// called once, first of all; the memory is the library's from then on.
//
// Firmware builds have one thread of control: no function of the library may
// run while another does, in an interrupt or on another core, but for
// `ondol_cancel_request`.
//
// # Safety
// `arena` has `bytes` bytes that nothing else uses.
ondol_status ondol_init(void *arena, size_t bytes, ondol_panic_fn on_panic);

// Firmware builds only. Bytes of the arena in use.
size_t ondol_heap_used(void);

// Firmware builds only. The most bytes of the arena that were in use at once.
size_t ondol_heap_peak(void);

// A handle to cancel with, or NULL after a panic.
ondol_cancel *ondol_cancel_new(void);

// Asks the generations that have this handle to stop. From any thread, at any
// time, even from a signal handler; they return `ONDOL_STATUS_CANCELLED` before
// the next token, or the next layer of the prompt.
//
// # Safety
// `cancel` is NULL or was made by this library.
void ondol_cancel_request(const ondol_cancel *cancel);

// Makes the handle usable again after a request.
//
// # Safety
// `cancel` is NULL or was made by this library.
void ondol_cancel_reset(const ondol_cancel *cancel);

// Frees the handle, or does nothing for NULL.
//
// # Safety
// The handle was made by this library and no call uses it any more.
void ondol_cancel_free(ondol_cancel *cancel);

// Opens a GGUF file and maps it; nothing is copied. A split file is opened by
// the name of its first part. Not in firmware builds.
//
// No other program may truncate or rewrite the file while the model lives.
//
// # Safety
// `path` is a string that ends with a zero.
ondol_status ondol_model_open(const char *path, ondol_model **model, ondol_error *error);

// A model from the bytes of a GGUF file that are in memory already, in flash
// for example. They are read in place, never copied, so they must stay there,
// unchanged, until the model and all its sessions are freed.
//
// # Safety
// `bytes` points to `length` bytes that outlive the model and its sessions.
ondol_status ondol_model_from_memory(const void *bytes,
                                     size_t length,
                                     ondol_model **model,
                                     ondol_error *error);

// Frees a model, or does nothing for NULL. Sessions made from it go on.
//
// # Safety
// The model was made by this library and is not used any more.
void ondol_model_free(ondol_model *model);

// The exact memory that a session with these options takes, before any of it
// is allocated, and what the model itself holds.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_model_memory(const ondol_model *model,
                                const ondol_session_options *options,
                                ondol_memory *memory,
                                ondol_error *error);

// The token ids of raw text: control tokens that it spells are parsed, and the
// file's first token is added as the file says. For what users wrote there is
// `ondol_model_encode_chat`. `count` gets their number, even where they
// do not fit in `ids`.
//
// # Safety
// `text` has `length` bytes, `ids` has room for `capacity` ids.
ondol_status ondol_model_encode(const ondol_model *model,
                                const char *text,
                                size_t length,
                                uint32_t *ids,
                                size_t capacity,
                                size_t *count,
                                ondol_error *error);

// Makes a session. Nothing is allocated for a model's arithmetic after this;
// where it does not fit, the status is `ONDOL_STATUS_DOES_NOT_FIT`.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_session_new(const ondol_model *model,
                               const ondol_session_options *options,
                               ondol_session **session,
                               ondol_error *error);

// Frees a session, or does nothing for NULL. No call may use it meanwhile: a
// callback must not free its own session.
//
// # Safety
// The session was made by this library and is not used any more.
void ondol_session_free(ondol_session *session);

// Forgets the conversation, so that the next prompt starts anew.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_session_clear(const ondol_session *session, ondol_error *error);

// Generates text after a raw prompt, and gives it to `on_text` piece by piece.
// Control tokens that the prompt spells are parsed: for what users wrote there is
// `ondol_model_encode_chat` with `ondol_session_generate_ids`.
//
// `generated` may be NULL; it is filled in whenever text was generated, even
// where the call was cancelled or failed later.
//
// # Safety
// `prompt` has `length` bytes; the other pointers are NULL or point to what
// their types say.
ondol_status ondol_session_generate(const ondol_session *session,
                                    const char *prompt,
                                    size_t length,
                                    const ondol_generate_options *options,
                                    ondol_text_fn on_text,
                                    void *user,
                                    ondol_generated *generated,
                                    ondol_error *error);

// The same after token ids, as `ondol_model_encode_chat` and `ondol_model_encode`
// give them. What the session's cache already holds of them is not computed
// again, so the whole conversation can be given each time.
//
// # Safety
// `ids` has `count` ids; the other pointers are NULL or point to what their
// types say.
ondol_status ondol_session_generate_ids(const ondol_session *session,
                                        const uint32_t *ids,
                                        size_t count,
                                        const ondol_generate_options *options,
                                        ondol_text_fn on_text,
                                        void *user,
                                        ondol_generated *generated,
                                        ondol_error *error);

// The token ids of the last answer that the session generated, its end token
// included: `ids` of the message that tells it in the next prompt. `count` gets
// their number, even where they do not fit in `ids`. Not in firmware builds.
//
// # Safety
// `ids` has room for `capacity` ids; the other pointers are NULL or point to what
// their types say.
ondol_status ondol_session_answer_ids(const ondol_session *session,
                                      uint32_t *ids,
                                      size_t capacity,
                                      size_t *count,
                                      ondol_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ONDOL_H */
