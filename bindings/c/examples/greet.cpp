// Greets in Korean and in English, in C++17: greet MODEL
//
//     c++ -std=c++17 greet.cpp $(pkg-config --cflags --libs ondol) -o greet
#include <ondol.h>

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <vector>

template <auto free_handle>
struct Free {
    template <class Handle>
    void operator()(Handle *handle) const { free_handle(handle); }
};
using Model = std::unique_ptr<ondol_model, Free<ondol_model_free>>;
using Session = std::unique_ptr<ondol_session, Free<ondol_session_free>>;

// Makes a struct of Ondol: all zeros, except its size.
template <class Struct>
Struct sized()
{
    Struct made{};
    made.struct_size = sizeof made;
    return made;
}

// Calls a function of Ondol; throws an exception with the error's message if it fails.
template <class Function, class... Arguments>
void call(Function function, Arguments... arguments)
{
    auto error = sized<ondol_error>();
    if (function(arguments..., &error) != ONDOL_STATUS_OK)
        throw std::runtime_error(error.message);
}

Model open(const char *path)
{
    ondol_model *model = nullptr;
    call(ondol_model_open, path, &model);
    return Model(model);
}

Session begin(const Model &model)
{
    ondol_session *session = nullptr;
    call(ondol_session_new, model.get(), nullptr, &session);
    return Session(session);
}

std::vector<uint32_t> encode(const Model &model, const char *question)
{
    auto message = sized<ondol_message>();
    message.role = "user";
    message.content = question;
    std::vector<uint32_t> ids(4096);
    size_t count = 0;
    call(ondol_model_encode_chat, model.get(), &message, 1, ids.data(), ids.size(), &count);
    ids.resize(count);
    return ids;
}

// Prints a piece of the answer. No exception may leave this function; by default streams
// throw none.
int print(void *, const char *text, size_t length)
{
    std::cout << std::string_view(text, length) << std::flush;
    return !std::cout;
}

void answer(const Model &model, const Session &session, const char *question)
{
    auto options = sized<ondol_generate_options>();
    call(ondol_generate_defaults, &options);
    options.temperature = 0;
    auto ids = encode(model, question);
    std::cout << question << '\n';
    call(ondol_session_generate_ids, session.get(), ids.data(), ids.size(), &options, print, nullptr,
         nullptr);
    std::cout << '\n';
}

int main(int argc, char **argv)
try {
    if (argc != 2)
        throw std::runtime_error("greet MODEL");
    auto model = open(argv[1]);
    auto session = begin(model);
    for (auto question : {"안녕하세요", "Hello"})
        answer(model, session, question);
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
