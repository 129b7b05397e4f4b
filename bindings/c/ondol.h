// Ondol: runs quantized GGUF models on the device itself.
//
// Written by cbindgen from bindings/c/src; a test holds it to the source.
//
// A model is made once and serves any number of engines and sessions, from any
// threads. An engine has the threads and the memory of a pass, for any number of
// sessions. A session is one conversation, and one call at a time uses it.
//
// Handles are freed by the function of their type, in any order, and keep what they
// need of each other; text and structs are the caller's. No function is for signal
// handlers. A function works on the thread that calls it, with the engine's threads,
// and calls back on it.
//
// Structs with `struct_size` may grow in later versions: set it to the struct's sizeof,
// and all else to zero. Options are then filled in by the `_defaults` function of their
// type, and every value means what it says; NULL for options takes the defaults. Every
// function that can fail returns a status, and fills in an ondol_error if it is given
// one.
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

// Stands for a token that the vocabulary does not have.
#define ONDOL_NO_TOKEN UINT32_MAX

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
    // Another call or a generation uses the handle at this moment, or a call on it
    // panicked.
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
    // A saved session can't be written or taken up: the message says why.
    ONDOL_STATUS_SNAPSHOT = 38,
    // The host said that memory is critically short: no session is made.
    ONDOL_STATUS_MEMORY_PRESSURE = 39,
    // More sessions than the batch has rows: `needed` and `allowed` sessions.
    ONDOL_STATUS_BATCH_FULL = 40,
    // A session of another engine than the batch, or an offload of another model.
    ONDOL_STATUS_OTHER_OWNER = 41,
    // A delegate failed, or can't run the model.
    ONDOL_STATUS_DELEGATE = 42,
    // There can be no packed copy of the model: the message says why.
    ONDOL_STATUS_STORE = 43,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ondol_status ondol_status;
#else
typedef int32_t ondol_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a step brought.
enum ondol_event_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Nothing: the generation has ended, and `finish` says why.
    ONDOL_EVENT_KIND_END = 0,
    // Tokens of the prompt were run: `prompt_done` of `prompt_total`.
    ONDOL_EVENT_KIND_PROMPT = 1,
    // A token was chosen: `token`, `text`, `logprob` and `top`.
    ONDOL_EVENT_KIND_TOKEN = 2,
    // Text that was held back until the end: `text`.
    ONDOL_EVENT_KIND_REST = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ondol_event_kind ondol_event_kind;
#else
typedef int32_t ondol_event_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Why a generation ended.
enum ondol_finish
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It did not yet, or an error came.
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

// How hot the device is.
enum ondol_thermal
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // All threads work.
    ONDOL_THERMAL_NOMINAL = 0,
    // Three quarters of the threads.
    ONDOL_THERMAL_FAIR = 1,
    // Half of the threads.
    ONDOL_THERMAL_SERIOUS = 2,
    // The thread that asks.
    ONDOL_THERMAL_CRITICAL = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ondol_thermal ondol_thermal;
#else
typedef int32_t ondol_thermal;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How much the system wants for memory.
enum ondol_pressure
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // There is enough.
    ONDOL_PRESSURE_NORMAL = 0,
    // Sessions give back what they do not use, and the weights leave the process.
    ONDOL_PRESSURE_LOW = 1,
    // As at low; the weights leave the file cache too where the system allows it, and
    // no session can be made: `ONDOL_STATUS_MEMORY_PRESSURE`.
    ONDOL_PRESSURE_CRITICAL = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ondol_pressure ondol_pressure;
#else
typedef int32_t ondol_pressure;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a store does that takes time, or bytes of the disk.
enum ondol_store_event_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Something that this version has no name for.
    ONDOL_STORE_EVENT_KIND_OTHER = 0,
    // Another process or thread makes or removes copies; the store waits for it.
    ONDOL_STORE_EVENT_KIND_WAITING = 1,
    // The files of `path` are hashed: `work` bytes.
    ONDOL_STORE_EVENT_KIND_VERIFYING = 2,
    // The copy `path` is damaged; it is made again.
    ONDOL_STORE_EVENT_KIND_DAMAGED = 3,
    // The copy `path` of `bytes` bytes is written: `work` bytes are read and written.
    ONDOL_STORE_EVENT_KIND_PACKING = 4,
    // So many more `bytes` of the work that was told last are done.
    ONDOL_STORE_EVENT_KIND_ADVANCED = 5,
    // The copy `path` of `bytes` bytes was removed, to keep the limit.
    ONDOL_STORE_EVENT_KIND_EVICTED = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ondol_store_event_kind ondol_store_event_kind;
#else
typedef int32_t ondol_store_event_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Whether a copy is of use, as far as can be seen at a glance.
enum ondol_copy_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It, or its source, can't be read.
    ONDOL_COPY_STATE_UNREADABLE = 0,
    // Its source is there.
    ONDOL_COPY_STATE_CURRENT = 1,
    // Its source has other bytes, or another version made it.
    ONDOL_COPY_STATE_STALE = 2,
    // Its source is gone.
    ONDOL_COPY_STATE_ORPHANED = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ondol_copy_state ondol_copy_state;
#else
typedef int32_t ondol_copy_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Where the threads of an engine run.
enum ondol_affinity
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Wherever the system puts them.
    ONDOL_AFFINITY_FREE = 0,
    // On the big cores that the process may use, on Linux and Android, unless the
    // system refuses. The thread that calls stays where it is.
    ONDOL_AFFINITY_BIG_CORES = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum ondol_affinity ondol_affinity;
#else
typedef uint32_t ondol_affinity;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Decodes a token of each of several sessions of one engine in one pass, which reads the
// weights once for all of them. Sessions may join and leave between passes. One call at
// a time may use it; another gets `ONDOL_STATUS_BUSY`. Not in firmware builds.
typedef struct ondol_batch ondol_batch;

// Cancels generations, prefill, and what a store or a delegate does, from any thread.
typedef struct ondol_cancel ondol_cancel;

// The threads and the memory that passes run in, for any number of sessions of one
// model. Any number of threads may use it and its sessions: passes run one after
// another, in the order in which they were asked for. Not in firmware builds.
typedef struct ondol_engine ondol_engine;

// A generation that goes on by `ondol_generation_step`. It has its session until it is
// freed. One call at a time may use it; another gets `ONDOL_STATUS_BUSY`. Not in
// firmware builds.
typedef struct ondol_generation ondol_generation;

// Tells all sessions of the engines that were made with it how the device is doing,
// from any thread, while they run. It changes when and by how many threads the work
// is done, never the result. No call of it is for signal handlers. Not in firmware
// builds.
typedef struct ondol_governor ondol_governor;

// A loaded model. Any number of threads may use one at the same time; sessions
// keep what they need of it.
typedef struct ondol_model ondol_model;

// What a plug-in's device does of a model, for any number of engines. Not in firmware
// builds.
typedef struct ondol_offload ondol_offload;

// One conversation: a key/value cache, and what it takes to run. One call or one
// generation at a time may use it; another call gets `ONDOL_STATUS_BUSY`.
typedef struct ondol_session ondol_session;

// A folder of packed copies, which decode faster than the models that they were made
// of and compute the same. It holds nothing open; any number of threads may use it, and
// any number of processes the folder. Not in firmware builds.
typedef struct ondol_store ondol_store;

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

// How an engine and its sessions run. `ondol_session_defaults` fills it in: change
// what you want after that. NULL for the whole takes the defaults.
typedef struct {
    // `sizeof(ondol_session_options)`.
    uint32_t struct_size;
    // Threads; 0, the default, takes as many as there are big cores. Firmware runs on
    // the caller's alone.
    uint32_t threads;
    // Tokens of context; 0, the default, takes what the model was trained for, at
    // most 4096.
    uint32_t context;
    // Tokens of one pass over the prompt, at least 1; by default 256. Fewer need less
    // memory.
    uint32_t prefill_chunk;
    // Refuse an engine and its sessions where they take more bytes than this, the
    // model's own included; 0, the default, sets no limit.
    uint64_t memory_limit;
    // Name of the kernels ("exact", "scalar", ...); NULL, the default, takes the best
    // that the CPU runs.
    const char *kernels;
    // What keys and values are kept as: "f16", which NULL stands for, or "q8_0" in
    // little more than half the bytes.
    const char *kv_type;
    // Tells the sessions how the device is doing; may be NULL. Not in firmware builds,
    // and neither are the fields after it.
    const ondol_governor *governor;
    // Runs parts of the model on a device; may be NULL. It must have been made for
    // this model.
    const ondol_offload *offload;
    // Where the threads run: a value of `ondol_affinity`.
    uint32_t affinity;
    // Tokens that are guessed ahead and checked in one pass, at most; 0 is off, 7 the
    // default. Guesses save time and never change the tokens.
    uint32_t drafts;
    // Sessions that are decoded in one pass (`ondol_engine_batch`), at most 32; by
    // default 1.
    uint32_t batch;
    // 1, the default, uses the screen of the head where the file has one; 0 does not.
    uint32_t screen;
    // Standard deviations of the screen's error that are allowed for; by default 6.
    float screen_margin;
    // The screen is checked once in so many tokens; 0 checks never, 256 is the default.
    uint32_t screen_audit_every;
} ondol_session_options;

// What an engine is.
typedef struct {
    // `sizeof(ondol_engine_info)`.
    uint32_t struct_size;
    // Threads that run the steps, the caller's included.
    uint32_t threads;
    // Threads that are kept on big cores.
    uint32_t pinned_threads;
    // Tokens that a session holds at most.
    uint32_t context;
    // Name of the kernels; it lives as long as the program.
    const char *kernels;
    // The memory with one session, as `ondol_model_memory` says: all but the weights.
    uint64_t memory_bytes;
} ondol_engine_info;

// The exact memory of an engine with one session, and of its model, in bytes.
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
    // Bytes between an engine and its delegate.
    uint64_t delegate;
    // What each further session of the engine takes.
    uint64_t further_session;
} ondol_memory;

// Is told of a panic: a bug in Ondol, or a heap that is too small for the
// model. It must not return, and not call the library: reset, or stop. The
// message is English, ended by a zero.
typedef void (*ondol_panic_fn)(const char *message);

// Is called between two steps of a pass: many times a layer. It must not call the
// library, but for `ondol_cancel_request`.
typedef void (*ondol_step_fn)(void);

// How to generate. `ondol_generate_defaults` fills it in: change what you want after
// that, for every value means what it says. NULL for the whole takes the defaults.
typedef struct {
    // `sizeof(ondol_generate_options)`.
    uint32_t struct_size;
    // Tokens to generate at most; 0, the default, sets no limit.
    uint32_t max_tokens;
    // Logits are divided by it; 0 always takes the likeliest token. By default 0.7.
    float temperature;
    // Keep this many of the likeliest tokens; 0 keeps all. By default 40.
    uint32_t top_k;
    // Keep the fewest likeliest tokens whose probabilities add up to this; 1 keeps all.
    // By default 0.95.
    float top_p;
    // Keep tokens at least this times as likely as the likeliest; 0 keeps all. By default
    // 0.05.
    float min_p;
    // Divides the positive and multiplies the negative logits of recent tokens; 1, the
    // default, does nothing.
    float repetition_penalty;
    // Taken from a recent token's logit for each time it occurs.
    float frequency_penalty;
    // Taken once from the logit of each recent token.
    float presence_penalty;
    // How many of the last tokens are recent, at most 4096. By default 64.
    uint32_t penalty_window;
    // Seed of the draws: the same seed gives the same text.
    uint64_t seed;
    // The text ends before the first of these strings, each ended by a zero.
    const char *const *stop;
    // Number of stop strings.
    size_t stop_count;
    // Cancels the generation; may be NULL.
    const ondol_cancel *cancel;
    // Tell the log-probabilities of each token and of so many of the likeliest, in
    // `ondol_event`; less than 0, the default, tells none. Not in firmware builds.
    int32_t top_logprobs;
} ondol_generate_options;

// A token, and how likely the model found it. It never grows.
typedef struct {
    // The token's id.
    uint32_t id;
    // The natural logarithm of its probability among all tokens.
    float logprob;
} ondol_candidate;

// What a step brought. Set `struct_size` before the call. Text and candidates are the
// generation's, until the next call that uses it.
typedef struct {
    // `sizeof(ondol_event)`.
    uint32_t struct_size;
    // What it is.
    ondol_event_kind kind;
    // Why the generation ended, at its end.
    ondol_finish finish;
    // The id of the token that was chosen.
    uint32_t token;
    // Its log-probability by the model, with `top_logprobs`; else 0.
    float logprob;
    // Tokens of the prompt that are run by now, those that the session had included.
    size_t prompt_done;
    // Tokens of the prompt.
    size_t prompt_total;
    // Complete UTF-8, often empty, with a zero after it.
    const char *text;
    // Bytes of the text.
    size_t text_length;
    // The likeliest tokens, likeliest first, with `top_logprobs`.
    const ondol_candidate *top;
    // Number of these.
    size_t top_count;
} ondol_event;

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
    // Tokens guessed ahead and run beside one that was certain.
    size_t drafted_tokens;
    // Of these, tokens that came, each without a pass of its own.
    size_t accepted_tokens;
    // The most bytes that the process held at once; 0 where the system does not tell.
    uint64_t peak_memory_bytes;
    // Tokens of the session whose likeliest successors the screen of the head found.
    uint64_t screened_tokens;
    // Of these, tokens that were checked with the whole head.
    uint64_t screen_audits;
    // Likeliest tokens that the screen missed; with the first one it goes off.
    uint64_t screen_missed;
} ondol_generated;

// What is known of a model.
typedef struct {
    // `sizeof(ondol_model_info)`.
    uint32_t struct_size;
    // 1 where its matrices lie interleaved, as in a packed copy.
    uint32_t is_packed;
    // 1 where its file has a screen of the head.
    uint32_t has_screen;
    // The token that begins a text, or `ONDOL_NO_TOKEN`.
    uint32_t bos;
    // The token that ends a text, or `ONDOL_NO_TOKEN`.
    uint32_t eos;
    // The file's name of it, or "unnamed". It lives as long as the model's handle.
    const char *name;
    // The architecture's name, which lives as long.
    const char *architecture;
    // Tokens of context that it was trained for.
    uint64_t trained_context;
    // Tokens of the vocabulary: as many logits are computed.
    uint64_t vocabulary;
    // Numbers of an embedding.
    uint64_t embedding_width;
    // Bytes of its files.
    uint64_t file_bytes;
    // Lines of `ondol_model_warnings`.
    uint64_t warnings;
} ondol_model_info;

// What is offloaded, and how. `ondol_offload_defaults` fills it in; NULL for the whole
// takes the defaults.
typedef struct {
    // `sizeof(ondol_offload_options)`.
    uint32_t struct_size;
    // Tokens of one call of prefill, at most; by default 256.
    uint32_t rows;
    // 1 runs decode on the device too; by default 0.
    uint32_t decode;
    // 1 makes a failure of the device an error; with 0, the default, the CPU does what
    // it did not.
    uint32_t strict;
    // How long a call of the device may take; by default 5,000 milliseconds.
    uint32_t deadline_ms;
    // A folder where compiled programs are kept for the next time; NULL, the default,
    // keeps none.
    const char *cache;
} ondol_offload_options;

// What an engine's device did so far, for all sessions.
typedef struct {
    // `sizeof(ondol_offload_stats)`.
    uint32_t struct_size;
    // 1 where the device is not used any more.
    uint32_t given_up;
    // Parts of passes that ran on the device.
    uint64_t on_device;
    // Parts that ran on the CPU since the device failed or is not used any more.
    uint64_t on_cpu;
    // Failures of the device.
    uint64_t failures;
    // Rows that the CPU computed again to check the device.
    uint64_t audits;
    // The largest difference found so: the squared distance over the squared length.
    double worst_audit;
    // Seconds on the device, with copies.
    double time_s;
    // Why the device failed the last time; empty where it did not.
    char last_failure[ONDOL_MESSAGE_BYTES];
} ondol_offload_stats;

// Takes a piece of text: complete UTF-8, `length` bytes and a zero after them,
// valid during the call. Returns 0 to go on, anything else to stop. It must
// return normally: no longjmp and no exception through the library.
typedef int (*ondol_text_fn)(void *user, const char *text, size_t length);

// What a store may do. `ondol_store_defaults` fills it in; NULL for the whole takes the
// defaults.
typedef struct {
    // `sizeof(ondol_store_options)`.
    uint32_t struct_size;
    // 1 hashes all files before a copy is used; 0, the default, where they do not look
    // as they did.
    uint32_t check_all;
    // Bytes that all copies together may take; 0, the default, sets no limit. Copies
    // that were not used for longest are removed to keep it.
    uint64_t limit;
    // Bytes that stay free on the disk when a copy is made; by default 256 MiB.
    uint64_t reserve;
} ondol_store_options;

// What a store does. It lives during the callback.
typedef struct {
    // `sizeof(ondol_store_event)` of the library.
    uint32_t struct_size;
    // What it is.
    ondol_store_event_kind kind;
    // A file, or NULL.
    const char *path;
    // Bytes, where the kind says so.
    uint64_t bytes;
    // Bytes of work, where the kind says so.
    uint64_t work;
} ondol_store_event;

// Hears what a store does. It must return normally.
typedef void (*ondol_store_fn)(void *user, const ondol_store_event *event);

// How a store opened a model.
typedef struct {
    // `sizeof(ondol_opened)`.
    uint32_t struct_size;
    // 1 where the model runs from a packed copy, 0 where it runs from its own file.
    uint32_t from_copy;
    // Why it runs from its own file though it would gain by a copy; empty where it
    // does not.
    char reason[ONDOL_MESSAGE_BYTES];
} ondol_opened;

// A copy in a store. It lives during the callback.
typedef struct {
    // `sizeof(ondol_copy)` of the library.
    uint32_t struct_size;
    // Whether it is of use.
    ondol_copy_state state;
    // Its file.
    const char *path;
    // The first file of the model that it was made of, or NULL.
    const char *source;
    // Bytes of its file.
    uint64_t bytes;
    // Seconds since 1970 when it was made or used last; 0 where that is not known.
    uint64_t used_s;
} ondol_copy;

// Is shown a copy. It must return normally.
typedef void (*ondol_copy_fn)(void *user, const ondol_copy *copy);

// What `ondol_store_prune` did.
typedef struct {
    // `sizeof(ondol_pruned)`.
    uint32_t struct_size;
    // Files that were removed.
    uint32_t removed;
    // Their bytes.
    uint64_t removed_bytes;
    // Files that stay since they could not be judged or removed.
    uint32_t kept;
} ondol_pruned;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The library's version ("0.1.0"), a string that lives as long as the program.
const char *ondol_version(void);

// Room for passes of up to `rows` sessions; at most as many as `batch` of the engine's
// options.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_engine_batch(const ondol_engine *engine,
                                size_t rows,
                                ondol_batch **batch,
                                ondol_error *error);

// Frees a batch, or does nothing for NULL. Sessions go on.
//
// # Safety
// The batch was made by this library and no call uses it any more.
void ondol_batch_free(ondol_batch *batch);

// Runs `ids[i]` in `sessions[i]`, for `count` different sessions. The logits after each
// are `ondol_batch_logits`, bit for bit those of `ondol_session_decode`. Before anything
// is run: `ONDOL_STATUS_BATCH_FULL`, `ONDOL_STATUS_OTHER_OWNER`, `ONDOL_STATUS_BUSY` for
// a session that is in use or there twice.
//
// # Safety
// `sessions` and `ids` have `count` elements; the other pointers are NULL or point to
// what their types say.
ondol_status ondol_batch_decode(const ondol_batch *batch,
                                const ondol_session *const *sessions,
                                const uint32_t *ids,
                                size_t count,
                                ondol_error *error);

// Runs the tokens of all generations that wait for one in one pass: the next
// `ondol_generation_step` of each tells what came of it. Those that have something else
// to do, such as their prompt, are left to their own step, and so are those that there
// is no room for.
//
// # Safety
// `generations` has `count` handles; the other pointers are NULL or point to what their
// types say.
ondol_status ondol_batch_advance(const ondol_batch *batch,
                                 const ondol_generation *const *generations,
                                 size_t count,
                                 ondol_error *error);

// The logits of one row of the last pass. `count` gets their number, even where they do
// not fit in `logits`.
//
// # Safety
// `logits` has room for `capacity` numbers; the other pointers are NULL or point to what
// their types say.
ondol_status ondol_batch_logits(const ondol_batch *batch,
                                size_t row,
                                float *logits,
                                size_t capacity,
                                size_t *count,
                                ondol_error *error);

// A handle to cancel with, or NULL after a panic.
ondol_cancel *ondol_cancel_new(void);

// Asks all that has this handle to stop, from any thread, at any time. A generation
// ends before its next token, or the next layer of its prompt, with
// `ONDOL_FINISH_CANCELLED`; any other call returns `ONDOL_STATUS_CANCELLED`.
//
// Not from a signal handler: it may take a lock to wake a session that is paused. In
// firmware builds nothing is paused, it is one atomic store, and an interrupt may
// call it.
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

// Makes an engine; NULL for `options` takes the defaults. Where it does not fit, the
// status is `ONDOL_STATUS_DOES_NOT_FIT`. It keeps what it needs of the model, the
// governor and the offload. Not in firmware builds.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_engine_new(const ondol_model *model,
                              const ondol_session_options *options,
                              ondol_engine **engine,
                              ondol_error *error);

// Frees the handle, or does nothing for NULL. Sessions and batches of the engine go on.
//
// # Safety
// The engine was made by this library and no call uses it any more.
void ondol_engine_free(ondol_engine *engine);

// Makes a session of the engine. Where it does not fit, the status is
// `ONDOL_STATUS_DOES_NOT_FIT`; while the governor says so,
// `ONDOL_STATUS_MEMORY_PRESSURE`.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_engine_session(const ondol_engine *engine,
                                  ondol_session **session,
                                  ondol_error *error);

// What the engine is.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_engine_get_info(const ondol_engine *engine,
                                   ondol_engine_info *info,
                                   ondol_error *error);

// The engine's memory with one session, by its parts.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_engine_memory(const ondol_engine *engine,
                                 ondol_memory *memory,
                                 ondol_error *error);

// Gives back to the system the memory that only a pass uses, until the next one. Waits
// for one that runs.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_engine_release_unused(const ondol_engine *engine, ondol_error *error);

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

// Firmware builds only. Sets what is called between two steps of every pass, to feed a
// watchdog for example; NULL for nothing.
void ondol_on_step(ondol_step_fn on_step);

// Firmware builds only. Bytes of the arena in use.
size_t ondol_heap_used(void);

// Firmware builds only. The most bytes of the arena that were in use at once.
size_t ondol_heap_peak(void);

// Fills in the defaults, as far as the caller's struct goes: set its `struct_size`
// first, and all else to zero.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_generate_defaults(ondol_generate_options *options, ondol_error *error);

// Begins a generation after token ids, as `ondol_session_generate_ids` does. Nothing is
// run before the first step. Other calls on the session get `ONDOL_STATUS_BUSY` until
// the generation is freed.
//
// # Safety
// `ids` has `count` ids; the other pointers are NULL or point to what their types say.
ondol_status ondol_generation_new(const ondol_session *session,
                                  const uint32_t *ids,
                                  size_t count,
                                  const ondol_generate_options *options,
                                  ondol_generation **generation,
                                  ondol_error *error);

// Ends the generation and gives its session back, with what was generated; or does
// nothing for NULL.
//
// # Safety
// The generation was made by this library and no call uses it any more.
void ondol_generation_free(ondol_generation *generation);

// Goes one step on, which runs at most one pass, and tells in `event` what it brought:
// the prompt's progress, then a token a step, then the end. A cancel is an end, no error.
// After an error the next step is the end.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_generation_step(const ondol_generation *generation,
                                   ondol_event *event,
                                   ondol_error *error);

// What the generation took so far.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_generation_stats(const ondol_generation *generation,
                                    ondol_generated *stats,
                                    ondol_error *error);

// The tokens generated so far, the end token included. `count` gets their number, even
// where they do not fit in `ids`.
//
// # Safety
// `ids` has room for `capacity` ids; the other pointers are NULL or point to what
// their types say.
ondol_status ondol_generation_tokens(const ondol_generation *generation,
                                     uint32_t *ids,
                                     size_t capacity,
                                     size_t *count,
                                     ondol_error *error);

// A governor that was told nothing, or NULL after a panic. It goes into
// `ondol_session_options`. Engines keep what they need of it.
ondol_governor *ondol_governor_new(void);

// Frees the handle, or does nothing for NULL. A paused governor is resumed first, since
// nobody else could.
//
// # Safety
// The handle was made by this library and no call uses it any more.
void ondol_governor_free(ondol_governor *governor);

// The device is so hot: a value of `ondol_thermal`. Sessions heed it from their next
// step on. Another value is `ONDOL_STATUS_INVALID_ARGUMENT`.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_governor_set_thermal(const ondol_governor *governor,
                                        int32_t level,
                                        ondol_error *error);

// The level for a status of Android's `AThermal_getCurrentThermalStatus`.
ondol_thermal ondol_thermal_from_android(int32_t status);

// The level for the raw value of Apple's `ProcessInfo.thermalState`.
ondol_thermal ondol_thermal_from_apple(int32_t state);

// What `ondol_governor_set_thermal` said last; nominal for NULL.
//
// # Safety
// `governor` is NULL or was made by this library.
ondol_thermal ondol_governor_thermal(const ondol_governor *governor);

// The system wants memory: a value of `ondol_pressure`. The weights are dropped before
// this returns, and come back from the file as they are used; running and paused
// sessions give back what they do not use at their next step, idle ones by
// `ondol_session_release_unused`. Another value is `ONDOL_STATUS_INVALID_ARGUMENT`.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_governor_set_memory_pressure(const ondol_governor *governor,
                                                int32_t level,
                                                ondol_error *error);

// What `ondol_governor_set_memory_pressure` said last; normal for NULL.
//
// # Safety
// `governor` is NULL or was made by this library.
ondol_pressure ondol_governor_memory_pressure(const ondol_governor *governor);

// Stops all sessions: prefill at its next step, a generation before its next token.
// Their calls wait there and use no CPU until `ondol_governor_resume`. Nothing is
// lost, and a cancel is heard meanwhile. Does nothing for NULL.
//
// # Safety
// `governor` is NULL or was made by this library.
void ondol_governor_pause(const ondol_governor *governor);

// Lets the sessions go on. Does nothing for NULL.
//
// # Safety
// `governor` is NULL or was made by this library.
void ondol_governor_resume(const ondol_governor *governor);

// 1 while sessions are stopped, else 0; 0 for NULL.
//
// # Safety
// `governor` is NULL or was made by this library.
uint32_t ondol_governor_is_paused(const ondol_governor *governor);

// What is known of a model. Not in firmware builds.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_model_get_info(const ondol_model *model,
                                  ondol_model_info *info,
                                  ondol_error *error);

// What was wrong with the model's file where its meaning is plain, and what was done
// instead: a line for each, to tell the user once. `length` gets the bytes without the
// zero that ends it, even where they do not fit in `text`. Not in firmware builds.
//
// # Safety
// `text` has room for `capacity` bytes; the other pointers are NULL or point to what
// their types say.
ondol_status ondol_model_warnings(const ondol_model *model,
                                  char *text,
                                  size_t capacity,
                                  size_t *length,
                                  ondol_error *error);

// The text of token ids. Bytes that are no UTF-8 become U+FFFD. `length` gets the bytes
// without the zero that ends it, even where they do not fit in `text`. Not in firmware
// builds.
//
// # Safety
// `ids` has `count` ids, `text` has room for `capacity` bytes.
ondol_status ondol_model_decode(const ondol_model *model,
                                const uint32_t *ids,
                                size_t count,
                                char *text,
                                size_t capacity,
                                size_t *length,
                                ondol_error *error);

// 1 where the token ends an answer, else 0; 0 for NULL. Not in firmware builds.
//
// # Safety
// `model` is NULL or was made by this library.
uint32_t ondol_model_is_end(const ondol_model *model, uint32_t id);

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

// The exact memory that an engine with these options takes with its first session,
// before any of it is allocated; what the model itself holds, and what each further
// session takes.
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

// Fills in the defaults, as far as the caller's struct goes: set its `struct_size`
// first, and all else to zero.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_offload_defaults(ondol_offload_options *options, ondol_error *error);

// Loads the plug-in at `path`, opens its first device, and compiles what it can run of
// the model. That may take long: `cancel`, which may be NULL, ends it between two
// programs. `ONDOL_STATUS_DELEGATE` where the plug-in can't be used, or can run nothing
// of the model. The result goes into `ondol_session_options`. Not in firmware builds.
//
// # Safety
// The plug-in is code that is trusted to keep the contract of `ondol_npu.h`; the
// pointers are NULL or point to what their types say.
ondol_status ondol_offload_new(const ondol_model *model,
                               const char *path,
                               const ondol_offload_options *options,
                               const ondol_cancel *cancel,
                               ondol_offload **offload,
                               ondol_error *error);

// Frees the handle, or does nothing for NULL. Engines that have it go on.
//
// # Safety
// The offload was made by this library and no call uses it any more.
void ondol_offload_free(ondol_offload *offload);

// What runs on the device and what it refused, as lines of English. `length` gets the
// bytes without the zero that ends it, even where they do not fit in `text`.
//
// # Safety
// `text` has room for `capacity` bytes; the other pointers are NULL or point to what
// their types say.
ondol_status ondol_offload_report(const ondol_offload *offload,
                                  char *text,
                                  size_t capacity,
                                  size_t *length,
                                  ondol_error *error);

// What the engine's device did so far; `ONDOL_STATUS_INVALID_ARGUMENT` for an engine
// without one. Waits for a pass that runs.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_engine_offload_stats(const ondol_engine *engine,
                                        ondol_offload_stats *stats,
                                        ondol_error *error);

// Fills in the defaults, as far as the caller's struct goes: set its `struct_size`
// first, and all else to zero.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_session_defaults(ondol_session_options *options, ondol_error *error);

// Makes the only session of an engine of its own. Nothing is allocated for a model's
// arithmetic after this; where it does not fit, the status is
// `ONDOL_STATUS_DOES_NOT_FIT`. Sessions that share an engine are made by
// `ondol_engine_session`.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_session_new(const ondol_model *model,
                               const ondol_session_options *options,
                               ondol_session **session,
                               ondol_error *error);

// Frees a session, or does nothing for NULL. No call may use it meanwhile: a
// callback must not free its own session. A generation that has it goes on.
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
// `generated` may be NULL; it is filled in whenever text was generated, even where the
// call failed later. A cancel is no failure: `ONDOL_FINISH_CANCELLED` tells it. The
// calling thread does the work, with those of the engine, and calls `on_text`.
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

// Runs tokens after those that are there; the logits are then those after the last.
// `ondol_session_rewind` can go back to their end. After a cancel the session has the
// passes that were finished. Not in firmware builds.
//
// # Safety
// `ids` has `count` ids; the other pointers are NULL or point to what their types say.
ondol_status ondol_session_prefill(const ondol_session *session,
                                   const uint32_t *ids,
                                   size_t count,
                                   const ondol_cancel *cancel,
                                   ondol_error *error);

// The same with `rows` vectors in the place of tokens: what an embedding would give, of
// an image or of sound. `vectors` has `rows` times `embedding_width` numbers, `count` in
// all. Not in firmware builds.
//
// # Safety
// `vectors` has `count` numbers; the other pointers are NULL or point to what their
// types say.
ondol_status ondol_session_prefill_vectors(const ondol_session *session,
                                           const float *vectors,
                                           size_t count,
                                           const ondol_cancel *cancel,
                                           ondol_error *error);

// Runs one token; the logits are then those after it. Not in firmware builds.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_session_decode(const ondol_session *session, uint32_t id, ondol_error *error);

// The logits of the last prefill or decode, one for each token of the vocabulary;
// after a generation only those that it computed. `count` gets their number, even where
// they do not fit in `logits`. Not in firmware builds.
//
// # Safety
// `logits` has room for `capacity` numbers; the other pointers are NULL or point to
// what their types say.
ondol_status ondol_session_logits(const ondol_session *session,
                                  float *logits,
                                  size_t capacity,
                                  size_t *count,
                                  ondol_error *error);

// The log-probabilities of the token `id`, into `logprob`, and of the `count` likeliest
// tokens, likeliest first, into `top`: by the logits of the last prefill or decode.
// Either may be NULL, `top` with a `count` of 0. Not in firmware builds.
//
// # Safety
// `top` has room for `count` candidates; the other pointers are NULL or point to what
// their types say.
ondol_status ondol_session_logprobs(const ondol_session *session,
                                    uint32_t id,
                                    float *logprob,
                                    ondol_candidate *top,
                                    size_t count,
                                    ondol_error *error);

// The tokens that the session has run; `ONDOL_NO_TOKEN` for each vector. `count` gets
// their number, even where they do not fit in `ids`. Not in firmware builds.
//
// # Safety
// `ids` has room for `capacity` ids; the other pointers are NULL or point to what
// their types say.
ondol_status ondol_session_tokens(const ondol_session *session,
                                  uint32_t *ids,
                                  size_t capacity,
                                  size_t *count,
                                  ondol_error *error);

// Goes back to the first `length` tokens, or as close below as can be: `left` gets how
// many are left, and may be NULL. States of a sliding window, a convolution or a
// recurrence are there only at the end, and at the end of the last prompt. Not in
// firmware builds.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_session_rewind(const ondol_session *session,
                                  size_t length,
                                  size_t *left,
                                  ondol_error *error);

// Another session of the same engine that goes on from where this one is. Not in
// firmware builds.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_session_fork(const ondol_session *session,
                                ondol_session **fork,
                                ondol_error *error);

// The session's engine, as a handle of its own that is to be freed. Not in firmware
// builds.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_session_engine(const ondol_session *session,
                                  ondol_engine **engine,
                                  ondol_error *error);

// Gives back to the system all memory that the session and its engine can do without
// until they run next. Not in firmware builds.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_session_release_unused(const ondol_session *session, ondol_error *error);

// Writes the session's tokens and their states to a file, as many bytes as the
// cache holds of them: the whole file, or none where the status is `ONDOL_STATUS_SNAPSHOT`. What had
// the name is replaced. Not in firmware builds.
//
// # Safety
// `path` is a string; the other pointers are NULL or point to what their types say.
ondol_status ondol_session_save(const ondol_session *session,
                                const char *path,
                                ondol_error *error);

// Takes up what `ondol_session_save` wrote, in the place of what the session has. The
// context may be another, as long as the tokens fit. Where the status is
// `ONDOL_STATUS_SNAPSHOT` for a file that was read, the session is empty. Not in
// firmware builds.
//
// # Safety
// `path` is a string; the other pointers are NULL or point to what their types say.
ondol_status ondol_session_restore(const ondol_session *session,
                                   const char *path,
                                   ondol_error *error);

// Fills in the defaults, as far as the caller's struct goes: set its `struct_size`
// first, and all else to zero.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_store_defaults(ondol_store_options *options, ondol_error *error);

// The store in a folder, which is made when the first copy is. Not in firmware builds.
//
// # Safety
// `folder` is a string; the other pointers are NULL or point to what their types say.
ondol_status ondol_store_new(const char *folder,
                             const ondol_store_options *options,
                             ondol_store **store,
                             ondol_error *error);

// Frees the handle, or does nothing for NULL. The folder and its models stay.
//
// # Safety
// The store was made by this library and no call uses it any more.
void ondol_store_free(ondol_store *store);

// Opens a model by its packed copy, which is made first if it is not there or not to be
// trusted: that reads and writes the whole model, and `on_event` hears of it. Where there
// can be no copy, the model's own file is opened, and `opened` says why. `cancel`,
// `on_event` and `opened` may be NULL. What `ondol_model_open` asks holds for both files.
//
// # Safety
// `path` is a string; the other pointers are NULL or point to what their types say.
ondol_status ondol_store_open(const ondol_store *store,
                              const char *path,
                              const ondol_cancel *cancel,
                              ondol_store_fn on_event,
                              void *user,
                              ondol_model **model,
                              ondol_opened *opened,
                              ondol_error *error);

// Shows `on_copy` all copies, by name.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_store_list(const ondol_store *store,
                              ondol_copy_fn on_copy,
                              void *user,
                              ondol_error *error);

// Removes the copy of the model at `path`, which may be gone, or the copy at `path`.
// `freed` gets its bytes, 0 if there was none, and may be NULL. Waits for another process
// that makes or removes copies, unless `cancel`, which may be NULL, ends that.
//
// # Safety
// `path` is a string; the other pointers are NULL or point to what their types say.
ondol_status ondol_store_remove(const ondol_store *store,
                                const char *path,
                                const ondol_cancel *cancel,
                                uint64_t *freed,
                                ondol_error *error);

// Removes copies whose source is gone or has other bytes, what older versions and killed
// processes left, and copies beyond the limit. `cancel`, `on_event` and `pruned` may be
// NULL.
//
// # Safety
// The pointers are NULL or point to what their types say.
ondol_status ondol_store_prune(const ondol_store *store,
                               const ondol_cancel *cancel,
                               ondol_store_fn on_event,
                               void *user,
                               ondol_pruned *pruned,
                               ondol_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ONDOL_H */
